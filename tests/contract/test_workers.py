"""`puente serve --workers`: processes that share two ports, told to stop together, and stopping together when one falls."""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from exchange.cli import setup
from exchange.clock import SystemClock
from exchange.ledger.publisher import Anchor, Anchors
from tests.places import Place, knobs_of
from tests.world import free_port

ROOT = Path(__file__).resolve().parents[2]


def made(tmp_path: Path, place: Place) -> setup.Home:
    ports = (free_port(), free_port())
    nobody = {"us-a": f"http://127.0.0.1:{free_port()}", "mx-a": f"http://127.0.0.1:{free_port()}"}
    return setup.create(tmp_path / "home", SystemClock(), ports=ports, witness_urls=nobody, database=knobs_of(place))


@pytest.fixture
def home(tmp_path: Path) -> setup.Home:
    return made(tmp_path, tmp_path)


@contextmanager
def serving(home: setup.Home, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange.cli", "serve", "--home", str(home.root), *words],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def workers_of(process: subprocess.Popen[str], count: int) -> list[int]:
    """The workers' ids, as each says that it serves."""
    assert process.stdout is not None
    found: list[int] = []
    while len(found) < count:
        line = process.stdout.readline()
        assert line, "it ended"
        if match := re.search(r"Serving TAXII 2\.1 at https://localhost:\d+/taxii2/ \((\d+)\)", line):
            found.append(int(match[1]))
    return found


def ready(home: setup.Home) -> int:
    context = ssl.create_default_context(cafile=str(home.ca_file))
    connection = HTTPSConnection("localhost", home.settings().port, context=context)
    connection.request("GET", "/readyz")
    status = connection.getresponse().status
    connection.close()
    return status


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_serve_together_and_stop_together(tmp_path: Path, place: Place) -> None:
    home = made(tmp_path, place)
    with serving(home, "--workers", "2") as process:
        workers = workers_of(process, 2)
        assert len(set(workers)) == 2
        assert [ready(home) for _ in range(12)] == [200] * 12
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0
        assert all(map(gone, workers))


def test_a_worker_that_dies_is_not_replaced_in_silence(home: setup.Home) -> None:
    with serving(home, "--workers", "2") as process:
        first, second = workers_of(process, 2)
        os.kill(first, signal.SIGKILL)
        said, _ = process.communicate()
        assert process.returncode == 1
        assert f"Worker {first} ended with status -9; all stop." in said
        assert gone(second)


def test_workers_end_with_a_parent_that_is_killed(home: setup.Home) -> None:
    with serving(home, "--workers", "2") as process:
        workers = workers_of(process, 2)
        process.kill()
        while not all(map(gone, workers)):
            time.sleep(0.05)


def test_a_ledger_that_will_not_go_on_ends_all_with_its_status(home: setup.Home) -> None:
    Anchors(home.settings().anchors).write("both", Anchor(1000, b"a" * 32))
    with serving(home, "--workers", "2") as process:
        said, _ = process.communicate()
    assert process.returncode == 3, said
    assert "rollback: log both has 0 leaves" in said


def test_ports_must_be_fixed(home: setup.Home) -> None:
    text = home.settings_file.read_text()
    home.settings_file.write_text(re.sub(r"mtls_port = \d+", "mtls_port = 0", text))
    with serving(home, "--workers", "2") as process:
        said, _ = process.communicate()
    assert process.returncode == 1
    assert "settings [port]" in said
