"""A new version of the agreement while members poll: how long anybody waits for it, by requests answered in this process.

Every member is a recipient class of its own. One version closes the border for what one clause lets over, the next opens it
again, and a third closes it again: what closed is recalled, what opened is released late, for every member that it concerns; and to close
what opened late is more than to close what was never closed.
"""

import asyncio
import contextlib
import gc
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bench.policy import TICK_SECONDS, label_range, recipient_range
from certs.jcs import canonical
from exchange.cli.admin import GC_THRESHOLDS, SWITCH_SECONDS
from exchange.cli.setup import sample_agreement
from exchange.clock import Clock
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Collection, Country, Member
from exchange.model.page import Filter
from exchange.model.stix import StixObject
from exchange.model.view import turned
from exchange.release.page import Release
from exchange.rules import Caller, RuleBook, agreement_of
from exchange.store.acts import Act, NewObject, Record
from exchange.store.changes import AgreementRow, Change
from exchange.store.contract import Store
from exchange.store.sqlite import SqliteStore
from exchange.taxii.resources import OBJECTS
from exchange.times import as_millis_text
from policies.label import Label, Recipient

CLAUSE, BOTH_WAYS, ONE_WAY = b'id = "P-AUTHORITY-TO-AUTHORITY"', b'"US>MX", "MX>US"', b'"MX>US"'
POLL_SECONDS = 1.0
"""How often each member asks what is new."""
PLACE_SECONDS = 0.25
"""How often somebody places an object meanwhile."""
QUIET_SECONDS = 5.0
LIMIT = 1_000
NOTHING, PREPARED = "is none: what was there before", "is being prepared for"
PLACED_AT_ONCE = 1_000

COLLECTION = Collection("91a7b528-80eb-42ed-a74d-c6fbd5a26116", "indicators", "Indicators", "", ("all",), ("all",))


@dataclass(slots=True)
class Watch:
    """What was seen while one thing went on."""

    waits_ms: list[float] = field(default_factory=list)
    """Of polls that were answered with nothing or with what is new."""
    held_ms: float = 0.0
    """The longest that the event loop was kept from its turn."""
    held_cpu_ms: float = 0.0
    """The most CPU time that this process took between two turns of it: what neighbours on the machine do not add to."""
    pairs: int = 0
    """Of a label and a member, that became something else."""
    seconds: float = 0.0
    """Until every member's view was of the new version, and all of it given."""

    def at(self, share: float) -> float:
        """The wait that this share of the polls did not exceed."""
        return sorted(self.waits_ms)[min(len(self.waits_ms) - 1, int(len(self.waits_ms) * share))]

    def told(self) -> dict[str, float]:
        """What is recorded of the waits."""
        return {"polls": len(self.waits_ms), "p50_ms": self.at(0.5), "p99_ms": self.at(0.99), "longest_ms": self.at(1)}


@dataclass(frozen=True, slots=True)
class Activation:
    """What was measured."""

    labels: int
    members: int
    phases: dict[str, Watch]


def measure(place: Path | str, labels: int, clock: Clock) -> Activation:
    """`place`: a new file for SQLite, or the URL of an empty database of PostgreSQL."""
    return asyncio.run(_measure(place, labels, clock))


async def _measure(place: Path | str, count: int, clock: Clock) -> Activation:
    labels = list(islice(label_range(), count))
    members = [member_of(one) for one in recipient_range()]
    async with in_process(place, clock) as hub:
        await hub.found(members, labels)
        open_ = sample_agreement()
        head, clause, tail = open_.partition(CLAUSE)
        closed = head + clause + tail.replace(BOTH_WAYS, ONE_WAY, 1)
        await hub.adopt(open_)
        await hub.settle()
        gc.set_threshold(*GC_THRESHOLDS)  # as a hub does
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.freeze()
        hub.release.grants.when_judged = gc.freeze
        phases = {NOTHING: Watch(), PREPARED: Watch()}
        for name, document in (("closes", closed), ("opens", open_), ("closes again", closed)):
            phases[name] = Watch()
            async with hub.polling(phases, members):
                hub.phase = phases[PREPARED]
                await hub.prepare(document)
                hub.phase = phases[name]
                began = time.perf_counter()
                await hub.adopt(document)
                before = await hub.states()
                await hub.settle()
                hub.phase.seconds = time.perf_counter() - began
                hub.phase.pairs = sum(
                    len(list(turned(before[slug], states))) for slug, states in (await hub.states()).items()
                )
                await asyncio.sleep(2 * POLL_SECONDS)
        return Activation(len(labels), len(members), phases)


class Hub:
    """The parts of one that answer a reader, in this process, and how to fill it."""

    def __init__(self, store: Store, sequencer: Sequencer, clock: Clock) -> None:
        self.store = store
        self.sequencer = sequencer
        self.clock = clock
        self.rulebook = RuleBook(store, clock)
        self.release = Release(store, sequencer, self.rulebook, clock, cache_bytes=64_000_000)
        self.number = 0
        self.phase = Watch()
        self.fresh = self._objects()
        self.label = label_range()[0]

    async def found(self, members: list[Member], labels: list[Label]) -> None:
        changes: list[Change] = [*members, COLLECTION]
        for change in changes:
            await self._append(Act(str(uuid.uuid4()), lambda _: Record(()), changes=(change,)))
        for start in range(0, len(labels), PLACED_AT_ONCE):
            await self.place(labels[start : start + PLACED_AT_ONCE])

    async def place(self, labels: list[Label]) -> None:
        objects = tuple(
            NewObject(next(self.fresh), one.originator, "", COLLECTION.id, one.encode(), one.country) for one in labels
        )
        await self._append(Act(str(uuid.uuid4()), lambda _: Record(()), objects=objects))

    def _objects(self) -> Iterator[StixObject]:
        while True:
            now = as_millis_text(self.clock.now_us())
            value = {"type": "indicator", "id": f"indicator--{uuid.uuid4()}", "created": now, "modified": now}
            yield StixObject.of(value, canonical(value))

    async def prepare(self, document: bytes) -> None:
        rules = await self.rulebook.current()
        await self.release.grants.prepare(rules.under(agreement_of(document), ()))

    async def adopt(self, document: bytes) -> None:
        """As an activation does, in one act."""
        row = AgreementRow(self.number + 1, "us-mx-trade-cyber", self.number + 1, document, b"{}", 0)
        await self._append(Act(str(uuid.uuid4()), lambda _: Record(()), changes=(row,), agreement=self.number))
        self.number += 1

    async def _append(self, act: Act) -> None:
        await self.sequencer.append(act)

    async def states(self) -> dict[str, bytes]:
        return {slug: view.states for slug in await self.store.views() if (view := await self.store.view(slug))}

    async def settle(self) -> None:
        await self.release.views.catch_up()

    @contextlib.asynccontextmanager
    async def polling(self, phases: dict[str, Watch], members: list[Member]) -> AsyncIterator[None]:
        """Pollers, somebody who places, and a watch on the loop, first for a quiet while."""
        self.phase = phases[NOTHING]
        tasks = [asyncio.create_task(self._poll(one, n / len(members))) for n, one in enumerate(members)]
        tasks += [asyncio.create_task(one) for one in (self._place(self.label), self._watch())]
        try:
            await asyncio.sleep(QUIET_SECONDS)
            yield
        finally:
            for one in tasks:
                one.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _poll(self, member: Member, share: float) -> None:
        glance = await self.rulebook.glance()
        place = glance.epochs.last_tick
        await asyncio.sleep(share * POLL_SECONDS)
        while True:
            began, watch = time.perf_counter(), self.phase
            glance = await self.rulebook.glance()
            caller = Caller(glance.rules.registry.members[member.slug], "acct")
            released = await self.release.page(caller, glance, COLLECTION, Filter(), place, LIMIT, OBJECTS)
            place = max(place, released.sheet.last_us)
            took = time.perf_counter() - began
            watch.waits_ms.append(took * 1_000)
            if not released.sheet.more:
                await asyncio.sleep(max(0, POLL_SECONDS - took))

    async def _place(self, label: Label) -> None:
        while True:
            await self.place([label])
            await asyncio.sleep(PLACE_SECONDS)

    async def _watch(self) -> None:
        while True:
            turn, cpu, watch = time.perf_counter(), time.process_time(), self.phase
            await asyncio.sleep(TICK_SECONDS)
            watch.held_cpu_ms = max(watch.held_cpu_ms, (time.process_time() - cpu) * 1_000)
            watch.held_ms = max(watch.held_ms, (time.perf_counter() - turn - TICK_SECONDS) * 1_000)


@contextlib.asynccontextmanager
async def in_process(place: Path | str, clock: Clock, kind: type[Sequencer] = Sequencer) -> AsyncIterator[Hub]:
    store: Store
    if isinstance(place, Path):
        store = SqliteStore(place, clock)
    else:
        from exchange.store.postgres import PostgresStore  # its driver is an extra
        from exchange.store.postgres_session import Server

        store = await PostgresStore.open(Server(place))
    sequencer = kind(store)
    running = asyncio.get_running_loop().create_task(sequencer.run())
    try:
        yield Hub(store, sequencer, clock)
    finally:
        sequencer.close()
        await running
        await store.close()


def member_of(one: Recipient) -> Member:
    identity = f"identity--{uuid.uuid5(uuid.NAMESPACE_DNS, one.member)}"
    return Member(
        one.member, identity, Country(one.country), one.roles[0], one.roles, one.sectors, one.member, one.member
    )
