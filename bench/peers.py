"""The other TAXII 2.1 servers that can be had from PyPI, each as its own documents start it, over plain HTTP on loopback."""

import base64
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from bench.processes import free_ports, serving
from bench.taxii import PAGE_OBJECTS, Place, Running

ROOT = Path(__file__).resolve().parents[1]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
BODY_LIMIT_BYTES = 10_000_000
WORKERS = 2
_COLLECTION = "472c94ae-3113-4e3e-a4dd-a9f4ac7471d4"
_STIX = "application/stix+json;version=2.1"


class NotInstalled(RuntimeError):
    """A peer that is not there; the text says what is missing."""


@contextlib.contextmanager
def medallion(directory: Path) -> Iterator[Running]:
    """OASIS's medallion with its memory backend: one process, a thread for each connection, HTTP basic."""
    directory.mkdir()
    password = secrets.token_urlsafe(16)
    (directory / "data.json").write_bytes(orjson.dumps(_medallion_data()))
    backend = {
        "module": "medallion.backends.memory_backend",
        "module_class": "MemoryBackend",
        "filename": str(directory / "data.json"),
        "session_timeout": 3600,  # a walk over its pages outlasts the usual half minute
    }
    configuration = {"users": {"bench": password}, "taxii": {"max_page_size": PAGE_OBJECTS}, "backend": backend}
    (directory / "medallion.json").write_bytes(orjson.dumps(configuration))
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "medallion.scripts.run", "--port", str(port), str(directory / "medallion.json")]
    credentials = "Basic " + base64.b64encode(f"bench:{password}".encode()).decode()
    with serving(command, f"http://127.0.0.1:{port}/", directory / "server.log") as server:
        place = Place(f"http://127.0.0.1:{port}/bench/collections/{_COLLECTION}/", credentials, (credentials,))
        yield Running(server, place)


def version_of(package: str, python: Path) -> str:
    """The release of a package in the environment of that interpreter. Raises NotInstalled."""
    if not python.exists():
        raise NotInstalled(f"{package} is not installed: {python.parents[1].name}, made by ./dev bench, is missing")
    question = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    answer = subprocess.run([python, "-c", question], capture_output=True, check=False)
    if answer.returncode:
        raise NotInstalled(f"{package} is not installed in {python.parents[1].name}")
    return answer.stdout.decode().strip()


def _medallion_data() -> dict[str, object]:
    collection = {
        "id": _COLLECTION,
        "title": "bench",
        "can_read": True,
        "can_write": True,
        "media_types": [_STIX],
        "manifest": [],
        "objects": [],
    }
    information = {
        "title": "bench",
        "versions": ["application/taxii+json;version=2.1"],
        "max_content_length": BODY_LIMIT_BYTES,
    }
    return {
        "/discovery": {"title": "bench", "default": "/bench/", "api_roots": ["/bench/"]},
        "bench": {"information": information, "status": [], "collections": [collection]},
    }


@contextlib.contextmanager
def opentaxii(directory: Path) -> Iterator[Running]:
    """OpenTAXII behind gunicorn with two sync workers, as its image has it, over SQLite; bearer token."""
    directory.mkdir()
    (directory / "opentaxii.json").write_bytes(orjson.dumps(_opentaxii_configuration(directory)))
    env = {"OPENTAXII_CONFIG": str(directory / "opentaxii.json")}
    made = subprocess.run(
        [PEERS_PYTHON, "-m", "bench.opentaxii_app"], cwd=ROOT, env={**os.environ, **env}, capture_output=True, check=False
    )  # fmt: skip
    if made.returncode:
        raise NotInstalled(f"OpenTAXII's database could not be made: {made.stderr.decode(errors='replace')[-2000:]}")
    known = orjson.loads(made.stdout.splitlines()[-1])
    (port,) = free_ports(1)
    command = [
        str(PEERS_PYTHON), "-m", "gunicorn", "--workers", str(WORKERS), "--bind", f"127.0.0.1:{port}",
        "--chdir", str(ROOT), "bench.opentaxii_app:app",
    ]  # fmt: skip
    token = f"Bearer {known['token']}"
    with serving(command, f"http://127.0.0.1:{port}/", directory / "server.log", env=env) as server:
        yield Running(server, Place(f"http://127.0.0.1:{port}/{known['path']}", token, (token,)))


def _opentaxii_configuration(directory: Path) -> dict[str, object]:
    # JSON is YAML enough. Each API has a database of its own, as in OpenTAXII's defaults.
    def sqlite(name: str) -> dict[str, object]:
        return {"db_connection": f"sqlite:///{directory / name}", "create_tables": True}

    return {
        "domain": "localhost",
        "auth_api": {
            "class": "opentaxii.auth.sqldb.SQLDatabaseAPI",
            "parameters": {**sqlite("auth.db"), "secret": secrets.token_urlsafe(32)},
        },
        "taxii1": None,
        "taxii2": {
            "title": "bench",
            "max_content_length": BODY_LIMIT_BYTES,
            "public_discovery": True,
            "persistence_api": {
                "class": "opentaxii.persistence.sqldb.Taxii2SQLDatabaseAPI",
                "parameters": sqlite("data.db"),
            },
        },
    }
