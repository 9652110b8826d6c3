"""The measurements that every TAXII server is put through alike, and what they cost it."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.load import Measured
from bench.taxii import FIRST_PAGE, NOTHING_NEW, Running, ask, load, packed_page, poll, pull, pull_gzip

Fresh = Callable[[Path], AbstractContextManager[Running]]
"""Starts a server with nothing in it, keeping its files in the directory named."""

Say = Callable[[str], None]

ROWS = {
    "in-1000": ("objects in, 1,000 in an envelope, 4 clients", "objects"),
    "in-100": ("objects in, 100 in an envelope, 4 clients", "objects"),
    "in-1": ("objects in, one by one, 16 clients", "objects"),
    "pull-1-cold": ("everything out, 1 client, first time", "objects"),
    "pull-1": ("everything out, 1 client, again", "objects"),
    "pull-8-cold": ("everything out, 8 clients, after a restart", "objects"),
    "pull-8": ("everything out, 8 clients, again", "objects"),
    "pull-gzip-1-cold": ("everything out in gzip, 1 client, first time", "objects"),
    "pull-gzip-1": ("everything out in gzip, 1 client, again", "objects"),
    "pull-gzip-8-cold": ("everything out in gzip, 8 clients, after a restart", "objects"),
    "pull-gzip-8": ("everything out in gzip, 8 clients, again", "objects"),
    "pull-part": ("what a reader of about half may see, 1 client", "objects"),
    "poll-1": ("poll that finds nothing, 1 connection", "polls"),
    "poll-8": ("poll that finds nothing, 8 connections", "polls"),
    "poll-64": ("poll that finds nothing, 64 connections, 10 a second each", "polls"),
    "page": ("first page of 1,000 by match[type], 8 connections", "pages"),
    "page-gzip": ("the same in gzip", "pages"),
    "page-zstd": ("the same in zstd", "pages"),
    "id-1": ("match[id] with 1 id, 8 connections", "requests"),
    "id-20": ("match[id] with 20 ids, 8 connections", "requests"),
    "object": ("objects/{id}/, 8 connections", "requests"),
}

LOADERS = {1000: 4, 100: 4, 1: 16}
"""Clients that load side by side, by the size of their envelopes."""

OURS = "puente"
SAMPLES_FOR_P99 = 100


FAULTS = (OSError, RuntimeError, LookupError, ValueError, ExceptionGroup)
"""What keeps a server from being measured: it does not start, does not answer, or answers something else."""


def cause(fault: BaseException) -> str:
    """Why, in words; of several clients the first that failed."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return str(fault) or type(fault).__name__


@dataclass(frozen=True, slots=True)
class Effort:
    """How often is asked: a slow server must be done in time, a fast one must burn enough CPU to be measured."""

    polls: int
    pages: int
    lookups: int
    pulls: int

    def less(self, divisor: int) -> "Effort":
        polls, pages, lookups = (max(min(one, 8), one // divisor) for one in (self.polls, self.pages, self.lookups))
        return Effort(polls, pages, lookups, 1)


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement as it is recorded. Rates are of done things; times are of single requests."""

    per_cpu_second: float
    per_second: float
    cpu_seconds: float
    requests: int
    p50_ms: float
    p99_ms: float | None

    @classmethod
    def of(cls, measured: Measured) -> "Cell":
        samples = len(measured.latencies)
        return cls(
            _short(measured.per_cpu_second),
            _short(measured.done / measured.wall_seconds),
            round(measured.cpu_seconds, 4),
            samples,
            round(measured.milliseconds(0.5), 3),
            round(measured.milliseconds(0.99), 3) if samples >= SAMPLES_FOR_P99 else None,
        )


@dataclass(slots=True)
class Run:
    """What one server did with so many objects."""

    subject: str
    version: str
    objects: int
    cells: dict[str, Cell] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """What a peer could not do, and how that ended. Puente failing at anything ends the benchmark."""

    def take(self, row: str, work: Coroutine[None, None, Measured], expected: int) -> None:
        """Do what a row measures."""
        try:
            self.cells[row] = counted(asyncio.run(work), expected)
        except FAULTS as fault:
            if self.subject == OURS:
                raise
            self.failed[row] = cause(fault)

    def remember(self, when: str, running: Running) -> None:
        self.memory_mb[when] = round(running.server.usage().pss_mb, 1)


def loads(run: Run, fresh: Fresh, directory: Path, objects: Sequence[bytes], say: Say) -> None:
    """Small envelopes, each size into a server of its own; the large ones are loaded where they are then read."""
    for batch in (100, 1):
        say(f"{run.subject}: {len(objects):,} objects, {batch} in an envelope")
        with fresh(directory / f"{run.subject}-{run.objects}-in-{batch}") as running:
            run.take(f"in-{batch}", load(running.server, running.place, objects, batch, LOADERS[batch]), len(objects))


def fill(run: Run, running: Running, objects: Sequence[bytes], say: Say) -> None:
    """Load everything in large envelopes, weighing the server empty, with a tenth, and full."""
    run.remember("start", running)
    tenth = len(objects) // 10
    total = Measured()
    for when, part in (("tenth", objects[:tenth]), ("full", objects[tenth:])):
        say(f"{run.subject}: {len(part):,} objects, 1,000 in an envelope")
        total.add(asyncio.run(load(running.server, running.place, part, 1000, LOADERS[1000])))
        run.remember(when, running)
    run.cells["in-1000"] = counted(total, len(objects))


def reads(run: Run, running: Running, objects: Sequence[bytes], effort: Effort, say: Say) -> None:
    """Everything that is asked of a server once it is full."""
    server, place, count = running.server, running.place, len(objects)
    for row, clients, rounds in (("pull-1-cold", 1, 1), ("pull-1", 1, effort.pulls), ("pull-8", 8, 1)):
        say(f"{run.subject}: {ROWS[row][0]}")
        run.take(row, pull(server, place, clients, rounds), clients * rounds * count)
    draw = random.Random(len(objects))
    ids = [orjson.loads(one)["id"] for one in draw.sample(objects, k=min(len(objects), 2_000))]
    questions = {
        "poll-1": ([NOTHING_NEW] * (effort.polls // 4 or 1), 1),
        "poll-8": ([NOTHING_NEW] * effort.polls, 8),
        "page": ([FIRST_PAGE] * effort.pages, 8),
        "id-1": ([f"objects/?match[id]={draw.choice(ids)}" for _ in range(effort.lookups)], 8),
        "id-20": ([f"objects/?match[id]={','.join(draw.sample(ids, 20))}" for _ in range(effort.lookups)], 8),
        "object": ([f"objects/{draw.choice(ids)}/" for _ in range(effort.lookups)], 8),
    }
    for row, (paths, clients) in questions.items():
        say(f"{run.subject}: {ROWS[row][0]}")
        run.take(row, ask(server, place, paths, clients), len(paths))
    run.remember("after reads", running)


def ours(run: Run, running: Running, effort: Effort, say: Say) -> None:
    """What only the hub is asked: peers compress nothing, and could not bear so many pollers."""
    server, place = running.server, running.place
    for row, clients, rounds in (("pull-gzip-1-cold", 1, 1), ("pull-gzip-1", 1, effort.pulls), ("pull-gzip-8", 8, 1)):
        say(f"{run.subject}: {ROWS[row][0]}")
        run.take(row, pull_gzip(server, place, clients, rounds), clients * rounds * run.objects)
    for coding in ("gzip", "zstd"):
        row = f"page-{coding}"
        say(f"{run.subject}: {ROWS[row][0]}")
        asyncio.run(packed_page(server, place, coding))
        run.take(row, ask(server, place, [FIRST_PAGE] * effort.pages, 8, coding=coding), effort.pages)
    say(f"{run.subject}: {ROWS['poll-64'][0]}")
    rounds = effort.polls // 160
    run.take("poll-64", poll(server, place, 64, rounds, 0.1), 64 * rounds)


def whole(run: Run, fresh: Fresh, directory: Path, objects: Sequence[bytes], effort: Effort, say: Say) -> None:
    """The loads, then the reads, of a server at a size it can bear."""
    loads(run, fresh, directory, objects, say)
    with fresh(directory / f"{run.subject}-{run.objects}") as running:
        fill(run, running, objects, say)
        reads(run, running, objects, effort, say)


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def counted(measured: Measured, expected: int) -> Cell:
    # Speed at the price of objects is none: what was loaded must be there, and what is there must come out.
    if measured.done != expected:
        raise RuntimeError(f"{measured.done:,} instead of {expected:,}")
    return Cell.of(measured)
