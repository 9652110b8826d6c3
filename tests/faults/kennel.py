"""Starts and kills hubs on command: `puente serve`, forked from a process that has done the two seconds of imports once.

Reads lines from standard input, "start", "kill PID" (SIGKILL) or "stop PID" (SIGTERM), and answers each with one number:
the new process's id, or the exit status of the one that ended.
"""

import os
import signal
import sys
from pathlib import Path

from exchange.cli.__main__ import main


def start(home: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        output = os.open(home / "hub.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.argv = ["puente", "serve", "--home", str(home)]
        main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(status)


def end(pid: int, how: signal.Signals) -> int:
    os.kill(pid, how)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work(home: Path) -> None:
    for line in sys.stdin:
        match line.split():
            case ["start"]:
                answer = start(home)
            case ["kill", pid]:
                answer = end(int(pid), signal.SIGKILL)
            case ["stop", pid]:
                answer = end(int(pid), signal.SIGTERM)
            case _:
                raise ValueError(line)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
