"""nginx from Debian serving one same page over TLS: what the machine can do when nothing has to be decided."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.load import Measured, Wire, measure
from bench.processes import Server, serving

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type application/taxii+json;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        root {directory}/files;
    }}
}}
"""


def installed() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def version() -> str:
    """What nginx calls itself, or nothing where there is none."""
    program = installed()
    if program is None:
        return ""
    return subprocess.run([program, "-v"], capture_output=True, check=False).stderr.decode().strip().rpartition("/")[2]


@contextlib.contextmanager
def nginx(directory: Path, port: int, certificate: Path, key: Path, files: dict[str, bytes]) -> Iterator[Server]:
    """nginx with one worker and the hub's own certificate, serving these files."""
    program = installed()
    if program is None:
        raise FileNotFoundError("nginx is not installed")
    (directory / "files").mkdir(parents=True)
    directory.chmod(0o755)
    for name, content in files.items():
        (directory / "files" / name).write_bytes(content)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, certificate=certificate, key=key).replace(
            "worker_processes", "user root;\nworker_processes", 1
        )
    )
    command = [program, "-c", str(configuration), "-p", str(directory)]
    with serving(command, f"https://localhost:{port}/", directory / "nginx.log") as server:
        yield server


async def fetch(server: Server, url: str, ca_file: str, clients: int, requests: int) -> Measured:
    """One file again and again, `requests` times by each client. Done is requests."""

    async def work(wire: Wire) -> int:
        for _ in range(requests):
            await wire.ask("GET", url, headers={})
        return requests

    return await measure(server, [work] * clients, ca_file=ca_file)
