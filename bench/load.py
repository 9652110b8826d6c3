"""The load: a bounded number of requests over a bounded number of connections, timed one by one, to loopback only."""

import asyncio
import contextlib
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp

from bench.processes import Server


@dataclass(slots=True)
class Measured:
    """One measurement: how much was done, in which time, at what cost to the server."""

    done: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_cpu_second(self) -> float:
        return self.done / self.cpu_seconds if self.cpu_seconds else 0.0

    def add(self, more: "Measured") -> None:
        """Take in a further part of the same measurement."""
        self.done += more.done
        self.wall_seconds += more.wall_seconds
        self.cpu_seconds += more.cpu_seconds
        self.latencies += more.latencies

    def milliseconds(self, share: float) -> float:
        """The time within which this share of the requests was answered (nearest rank)."""
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000 if ordered else 0.0


class Wire:
    """One connection of one client: answers are read to their end and timed."""

    def __init__(self, session: aiohttp.ClientSession, total: Measured) -> None:
        self._session = session
        self.total = total
        self.head_at = 0.0
        """When the head of the last answer was there."""

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, expect: int = 200
    ) -> tuple[bytes, Mapping[str, str]]:
        """The body and headers of an answer. Any other status than the expected one ends the benchmark."""
        began = time.perf_counter()
        async with self._session.request(method, url, headers=headers, data=body) as answer:
            self.head_at = time.perf_counter()
            content = await answer.read()
        self.total.latencies.append(time.perf_counter() - began)
        if answer.status != expect:
            raise RuntimeError(f"{answer.status} to {method} {url[:160]}: {content[:300]!r}")
        return content, answer.headers


Work = Callable[[Wire], Awaitable[int]]
"""What one client does, and how much it got done."""


async def measure(
    server: Server, works: Iterable[Work], *, ca_file: str | None = None, before: Work | None = None
) -> Measured:
    """Run the clients side by side, each over a connection of its own, and measure the server meanwhile. What each does
    `before`, one after the other, is not measured."""
    total = Measured()
    async with contextlib.AsyncExitStack() as stack:
        ready = [(await stack.enter_async_context(_session(ca_file)), work) for work in works]
        if before is not None:
            for session, _ in ready:
                await before(Wire(session, Measured()))
        cpu, began = server.cpu_seconds(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_coroutine(work, Wire(session, total))) for session, work in ready]
        total.wall_seconds = time.perf_counter() - began
        total.cpu_seconds = server.cpu_seconds() - cpu
    total.done = sum(task.result() for task in tasks)
    return total


async def _coroutine(work: Work, wire: Wire) -> int:
    return await work(wire)


def _session(ca_file: str | None) -> aiohttp.ClientSession:
    trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trusted, limit=1),
        timeout=aiohttp.ClientTimeout(total=600),
        headers={"Accept-Encoding": "identity"},  # servers that compress are compared with those that do not
        auto_decompress=False,
        read_bufsize=2**20,
    )
