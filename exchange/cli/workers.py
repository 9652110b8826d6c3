"""Several hub processes on one machine, behind one pair of ports: the kernel hands each connection to one of them.

The parent serves nobody. It passes on what it is told, and when one of its workers ends unasked it says so and stops the
others: whatever supervises it shall know, and decide.
"""

import ctypes
import os
import signal
import sys

from exchange.cli.output import say
from exchange.errors import Malformed
from exchange.settings import Settings

_HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1
LEDGER_FAULT = 3
"""Exit status of a process whose ledger cannot go on."""


def share(count: int, settings: Settings) -> None:
    """Return in each of `count` new processes; the calling one never returns, but exits when they have ended.

    Raises Malformed (`port`) when the processes could not listen on the same ports.
    """
    if 0 in (settings.port, settings.mtls_port):
        raise Malformed(
            "Several workers share fixed ports; port and mtls_port may not be 0.",
            "Varios procesos comparten puertos fijos; port y mtls_port no pueden ser 0.",
            code="settings",
            field="port",
        )
    # Blocked, not handled: what arrives while the workers are being made waits until there is somebody to tell.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    parent = os.getpid()
    workers: set[int] = set()
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            _die_with(parent)
            return
        workers.add(pid)
    sys.exit(_watch(workers))


def _die_with(parent: int) -> None:
    """Nobody would stop a worker whose parent was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


def _watch(workers: set[int]) -> int:
    """The parent's exit status: 0 when all ended because it was told to end."""
    asked = False
    status = 0
    while workers:
        heard = signal.sigwait(_HEARD)
        if heard != signal.SIGCHLD:
            asked = True
            _tell(workers)
            continue
        for pid, ended in _ended(workers):
            workers.discard(pid)
            if asked and ended in (0, -signal.SIGTERM):
                continue
            say(f"Worker {pid} ended with status {ended}; all stop.", f"El proceso {pid} terminó con estado {ended}; todos se detienen.", err=True)  # fmt: skip
            status = LEDGER_FAULT if LEDGER_FAULT in (ended, status) else 1
            asked = True
            _tell(workers)
    return status


def _tell(workers: set[int]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGTERM)


def _ended(workers: set[int]) -> list[tuple[int, int]]:
    found = []
    for pid in workers:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found
