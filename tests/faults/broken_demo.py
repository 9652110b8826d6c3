"""Runs the demo with a part that is broken from outside: `python -m tests.faults.broken_demo PART HOME`."""

import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from exchange.cli import demo
from exchange.cli.stage import free_ports
from exchange.cli.upstream import Upstream, run_medallion


@contextlib.contextmanager
def refusing(objects: Sequence[dict[str, Any]]) -> Iterator[Upstream]:
    """A partner's server that does not know us."""
    with run_medallion(objects) as upstream:
        yield replace(upstream, password="not the password")


def broken(part: str, plan: demo.Plan) -> demo.Plan:
    sources = tuple(demo._sources(small=True))
    match part:
        case "witness":
            taken = socket.socket()
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            KEPT.append(taken)
            return replace(plan, ports=(*free_ports(5), taken.getsockname()[1]), sources=sources)
        case "feeds":
            missing = sources[0][1].model_copy(update={"location": str(plan.home / "no-such-file.json")})
            return replace(plan, sources=(("us-cyber", missing), *sources[1:]), upstream=refusing)
    raise ValueError(part)


KEPT: list[socket.socket] = []

if __name__ == "__main__":
    sys.exit(demo.play(broken(sys.argv[1], demo.Plan(Path(sys.argv[2])))))
