"""Servers as processes of their own, and what they cost: CPU seconds and memory of the whole process tree (Linux)."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60


class DidNotStart(RuntimeError):
    """A server that did not answer in time; the text has the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds (user and system) of a process tree so far, and its proportional set size now, in megabytes."""

    cpu_seconds: float
    pss_mb: float


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, known by its first process, and that of a database server that works for it alone."""

    pid: int
    database: int | None = None

    def usage(self) -> Usage:
        pids = self._pids()
        return Usage(sum(map(_cpu, pids)), sum(map(_pss, pids)) / 1000)

    def cpu_seconds(self) -> float:
        return sum(map(_cpu, self._pids()))

    def _pids(self) -> list[int]:
        return [*_tree(self.pid), *(_tree(self.database) if self.database else ())]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing listens on, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def serving(command: Sequence[str], url: str, log: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server, wait until something listens where `url` says, and stop it at the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, start_new_session=True
        )
    try:
        _wait(url, process, log)
        yield Server(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    place = urlsplit(url)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((place.hostname or "", place.port or 0), 1):
            return
        time.sleep(0.05)
    raise DidNotStart(log.read_text(errors="replace")[-2000:])


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A process's own CPU clock as clock_getcpuclockid(3) numbers it: nanoseconds, where stat counts hundredths.
        own = time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0
    return own + sum(map(int, fields[13:15])) / _TICKS  # and that of children that ended


def _pss(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    return 0.0
