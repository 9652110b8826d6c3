"""The ledger by itself: entries appended by 64 clients on both stores, proofs out of what they wrote, and what recording a page adds to it.

Run as a program it is one process of a hub that does nothing but append: where to, and for how many seconds.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median

import uvloop

from bench.activation import COLLECTION, Hub, in_process, member_of
from bench.load import Measured
from bench.packs import release_entry
from bench.policy import label_range, recipient_range
from bench.processes import Server
from exchange.cli.setup import sample_agreement
from exchange.clock import Clock, SystemClock
from exchange.ledger.merkle import inclusion_proof
from exchange.ledger.rounds import Asking, Rounds
from exchange.ledger.sequencer import Sequencer
from exchange.ledger.signing import Signing, no_other
from exchange.model.page import Filter
from exchange.rules import Caller, agreement_of
from exchange.store.acts import Act, Done, Record, Stamp
from exchange.store.contract import Store
from exchange.store.sqlite import SqliteStore
from exchange.taxii.resources import OBJECTS
from exchange.times import as_text
from policies.decide import decide

CLIENTS = 64
SECONDS = 5.0
ROUNDS = 3
PROOFS = 500
PAGE_OBJECTS = 100
PAGES = 60
"""Asked for by each client, in each round."""
PACES = {"asking as soon as they were answered": 0.0, "asking ten times a second each": 0.1}
SYNCS = 200


@dataclass(frozen=True, slots=True)
class Appended:
    """Entries that clients appended one by one, each of them waiting until its own was durable: the median of some rounds."""

    leaves: int
    per_second: float
    per_cpu_second: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """Pages of a hub asked for by clients side by side, with their entries and, in turns, without any."""

    page_ms: float
    bare_ms: float
    """Without the entry."""
    wait_ms: float
    """From when the page was ready until its entry was durable."""
    wait_p99_ms: float
    adds_ms: float
    """The difference of the medians, round by round."""
    adds_cpu_ms: float


@dataclass(slots=True)
class Ledger:
    """What was measured."""

    sync_ms: float
    """An fdatasync of 16 kB where the databases lie, the median: the yardstick for what is by the clock."""
    appended: dict[str, Appended] = field(default_factory=dict)
    log_leaves: int = 0
    proof_ms: float = 0.0
    proof_cpu_ms: float = 0.0
    recorded: dict[str, Recorded] = field(default_factory=dict)


def measure(directory: Path, less: int, clock: Clock, say: Callable[[str], None]) -> Ledger:
    """On SQLite; a tenth of it all with `less` 10."""
    directory.mkdir()
    found = Ledger(_sync_ms(directory))
    file = directory / "ledger.sqlite"
    say(f"ledger: {CLIENTS} clients append, SQLite")
    found.appended["SQLite, 1 process"] = append(str(file), 1, less)
    say("ledger: proofs")
    found.log_leaves, found.proof_ms, found.proof_cpu_ms = asyncio.run(_proofs(file, clock, PROOFS // less))
    for pace, seconds in PACES.items():
        say(f"ledger: pages with and without their entries, {CLIENTS} clients {pace}")
        found.recorded[pace] = uvloop.run(_recorded(directory / f"pages-{seconds}.sqlite", clock, less, seconds))
    return found


# --- appending ---


def append(place: str, processes: int, less: int, database: int | None = None) -> Appended:
    """Some rounds of it. `database` is a server's first process, whose CPU time counts."""
    rounds = [_append(place, processes, SECONDS / less, database) for _ in range(1 if less > 1 else ROUNDS)]
    return Appended(
        sum(one.done for one in rounds),
        median(one.done / one.wall_seconds for one in rounds),
        median(one.per_cpu_second for one in rounds),
        median(one.milliseconds(0.5) for one in rounds),
        median(one.milliseconds(0.99) for one in rounds),
    )


def _append(place: str, processes: int, seconds: float, database: int | None) -> Measured:
    command = [sys.executable, "-m", "bench.ledger", place, str(seconds)]
    total, began, ended = Measured(), [], []
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_child(command)) for _ in range(processes)]
        for child in children:
            child.readline("ready")
        before = _cpu(database)
        for child in children:
            child.go()
        for child in children:
            one = json.loads(child.readline("{"))
            began.append(one["began"])
            ended.append(one["ended"])
            total.done += len(one["latencies"])
            total.cpu_seconds += one["cpu_seconds"]
            total.latencies += one["latencies"]
        total.cpu_seconds += _cpu(database) - before
    total.wall_seconds = max(ended) - min(began)
    return total


def _cpu(pid: int | None) -> float:
    return Server(pid).cpu_seconds() if pid is not None else 0.0


@dataclass(frozen=True, slots=True)
class _Child:
    process: "subprocess.Popen[str]"

    def readline(self, beginning: str) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(beginning):
            raise RuntimeError(f"a process that appends ended: {line[:200]}")
        return line

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@contextlib.contextmanager
def _child(command: list[str]) -> Iterator[_Child]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _Child(process)
        finally:
            process.kill()


async def _child_appends(place: str, seconds: float) -> None:
    store = await _opened(place)
    sequencer = Sequencer(store, SystemClock())
    running = asyncio.get_running_loop().create_task(sequencer.run())
    latencies: list[float] = []

    async def client() -> None:
        while (began := time.perf_counter()) < until:
            entry = release_entry(len(latencies))
            await sequencer.append(Act(str(uuid.uuid4()), lambda _: Record((entry,))))  # noqa: B023
            latencies.append(time.perf_counter() - began)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began, cpu = time.perf_counter(), time.process_time()
    until = began + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
    found = {
        "began": began,
        "ended": time.perf_counter(),
        "cpu_seconds": time.process_time() - cpu,
        "latencies": latencies,
    }
    sequencer.close()
    await running
    await store.close()
    sys.stdout.write(json.dumps(found) + "\n")


async def _opened(place: str) -> Store:
    if place.startswith("/"):
        return SqliteStore(Path(place), SystemClock())
    from exchange.store.postgres import PostgresStore  # its driver is an extra
    from exchange.store.postgres_session import Server as Place

    return await PostgresStore.open(Place(place), None)


def _sync_ms(directory: Path) -> float:
    took = []
    with (directory / "sync").open("wb") as file:
        for _ in range(SYNCS):
            file.write(bytes(16_384))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took) * 1_000


# --- proving ---


async def _proofs(file: Path, clock: Clock, count: int) -> tuple[int, float, float]:
    async def halt(fault: Exception) -> None:
        raise fault

    store = SqliteStore(file, clock)
    try:
        rounds, size, took = (
            Rounds(store, clock, Asking(Signing(store, {}, no_other, {}), {}, {}, 1, 1), halt),
            (await store.trees())["both"].size,
            [],
        )
        for index in random.Random(1).choices(range(size), k=count):
            began, cpu = time.perf_counter(), time.process_time()
            inclusion_proof(index, size, await rounds.reader("both", inclusion_proof, index, size))
            took.append((time.perf_counter() - began, time.process_time() - cpu))
    finally:
        await store.close()
    wall, cpu_times = zip(*took, strict=True)
    return size, median(wall) * 1_000, median(cpu_times) * 1_000


# --- recording ---


class _Timed(Sequencer):
    """Takes down how long each entry took, or writes none at all and says that it did: what a page costs without."""

    waits: list[float]
    writes = True

    async def append(self, act: Act, *, patient: bool = False) -> Done:
        if not self.writes:
            return Done(Stamp(0), ())
        began = time.perf_counter()
        done = await super().append(act, patient=patient)
        self.waits.append(time.perf_counter() - began)
        return done


async def _recorded(file: Path, clock: Clock, less: int, pause: float) -> Recorded:
    async with in_process(file, clock, _Timed) as hub:
        sequencer = hub.sequencer
        assert isinstance(sequencer, _Timed)
        sequencer.waits = []
        caller = await _reader(hub)
        pages: dict[bool, list[list[float]]] = {True: [], False: []}
        cpu: dict[bool, list[float]] = {True: [], False: []}
        await _ask(hub, caller, 1, 0)
        sequencer.waits.clear()
        for _ in range(1 if less > 1 else ROUNDS):
            for writes in (True, False):
                sequencer.writes = writes
                began = time.process_time()
                pages[writes].append(await _ask(hub, caller, PAGES // less, pause))
                cpu[writes].append((time.process_time() - began) / len(pages[writes][-1]))
        sequencer.writes = True
        waits = Measured(latencies=sequencer.waits)
        both = list(zip(pages[True], pages[False], strict=True))
        return Recorded(
            page_ms=median(median(one) for one in pages[True]) * 1_000,
            bare_ms=median(median(one) for one in pages[False]) * 1_000,
            wait_ms=waits.milliseconds(0.5),
            wait_p99_ms=waits.milliseconds(0.99),
            adds_ms=median(median(one) - median(other) for one, other in both) * 1_000,
            adds_cpu_ms=median(one - other for one, other in zip(cpu[True], cpu[False], strict=True)) * 1_000,
        )


async def _reader(hub: Hub) -> Caller:
    """Somebody who is given what was placed across the border: a page of it."""
    agreement, now = agreement_of(sample_agreement()), as_text(hub.clock.now_us())
    label, recipient = next(
        (label, one)
        for label, one in product(label_range()[:100], recipient_range())
        if one.country != label.country
        and (decided := decide(agreement, label, one, now=now)).effect == "permit"
        and decided.view == "full"
    )
    member = member_of(recipient)
    await hub.found([member], [label] * PAGE_OBJECTS)
    await hub.adopt(sample_agreement())
    await hub.settle()
    return Caller(member, "acct")


async def _page(hub: Hub, caller: Caller) -> int:
    glance = await hub.rulebook.glance()
    return (await hub.release.page(caller, glance, COLLECTION, Filter(), 0, PAGE_OBJECTS, OBJECTS)).sheet.count


async def _ask(hub: Hub, caller: Caller, pages: int, pause: float) -> list[float]:
    """How long each page took, of all clients."""
    took: list[float] = []

    async def client(number: int) -> None:
        await asyncio.sleep(pause * number / CLIENTS)
        for _ in range(pages):
            began = time.perf_counter()
            # A request is read in the loop's next round, behind all that is due before it: so clients that never pause wait for one
            # another's pages whether these are recorded or not.
            await asyncio.sleep(0)
            if await _page(hub, caller) != PAGE_OBJECTS:
                raise RuntimeError("a page that is short")
            took.append(time.perf_counter() - began)
            if pause:
                await asyncio.sleep(max(0, pause - took[-1]))

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
    return took


if __name__ == "__main__":
    uvloop.run(_child_appends(sys.argv[1], float(sys.argv[2])))
