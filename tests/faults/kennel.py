"""Starts and kills hubs on command: `puente serve`, forked from a process that has done the two seconds of imports once.

Reads lines from standard input, "start HOME", "kill PID" (SIGKILL) or "stop PID" (SIGTERM, once it is listened for), and answers each
with one number: the new process's id, or the exit status of the one that ended. A hub in whose home lies a file `clock` goes by `Stepped`.
"""

import os
import re
import signal
import sys
import time
from pathlib import Path

import uvloop

from exchange import observe
from exchange.cli.__main__ import main
from exchange.cli.admin import serve_until_told
from exchange.cli.setup import Home
from exchange.clock import SystemClock


class Stepped:
    """The machine's time and what a file adds to it, in microseconds: a clock that a test may step under a hub that runs."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def step(self, *, seconds: float) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(str(round(seconds * 1_000_000)))
        new.replace(self._file)  # whoever reads finds the old step or the new one

    def now_us(self) -> int:
        return SystemClock().now_us() + int(self._file.read_text())

    def steady_us(self) -> int:
        return SystemClock().steady_us()


def serve(home: Path) -> None:
    if not (home / "clock").exists():
        sys.argv = ["puente", "serve", "--home", str(home)]
        main()
        return
    observe.configure()
    uvloop.run(serve_until_told(Home(home).settings(), Stepped(home / "clock")))


def start(home: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        output = os.open(home / "hub.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
        serve(home)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait_until_it_hears(pid: int) -> None:
    """A hub that is still starting would be ended by SIGTERM as any process is, and could not tell how it stopped."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
        if re.search(r"^State:\s*Z", status, re.MULTILINE) or (
            caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1
        ):
            return
        time.sleep(0.01)


def end(pid: int, how: signal.Signals) -> int:
    if how is signal.SIGTERM:
        wait_until_it_hears(pid)
    os.kill(pid, how)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work() -> None:
    alive: set[int] = set()
    for line in sys.stdin:
        match line.split():
            case ["start", home]:
                answer = start(Path(home))
                alive.add(answer)
            case ["kill" | "stop" as how, pid]:
                alive.remove(int(pid))
                answer = end(int(pid), signal.SIGKILL if how == "kill" else signal.SIGTERM)
            case _:
                raise ValueError(line)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    for pid in alive:  # a test that failed leaves them behind
        end(pid, signal.SIGKILL)


if __name__ == "__main__":
    work()
