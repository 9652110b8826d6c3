"""What members are asked to drop: shown to them, acknowledged by them, and who has not yet.

What was delivered cannot be taken back. So each recall says what to drop and until when, and the log says who saw it and
who acknowledged it (agreements design, A6.10).
"""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from exchange.clock import Clock
from exchange.errors import NotFound
from exchange.ledger.entry import HUB, Entry, route
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Collection, Member, Status
from exchange.model.recall import RecallMark, RecallRow, Relabelled
from exchange.model.view import late_tick
from exchange.release.page import Release
from exchange.rules import Caller, RuleBook
from exchange.store.contract import Act, LeafRef, Outdated, Record, Stamp, Store
from exchange.times import as_text


@dataclass(frozen=True, slots=True)
class Recall:
    """A recall, and how it stands now: "open", "seen", "acknowledged", or "overdue"."""

    row: RecallRow
    state: str

    @classmethod
    def of(cls, row: RecallRow, now_us: int) -> "Recall":
        if row.acknowledged_us is not None:
            return cls(row, "acknowledged")
        if row.due_us is not None and row.due_us < now_us:
            return cls(row, "overdue")
        return cls(row, "open" if row.seen_us is None else "seen")

    @property
    def told(self) -> dict[str, Any]:
        row = self.row
        return {
            "id": row.id,
            "collection": row.collection,
            **reason(row),
            "what": orjson.loads(row.what),
            "opened": as_text(row.opened_us),
            "due": _text(row.due_us),
            "acknowledgement": "required" if row.required else "asked",
            "state": self.state,
            "seen": _text(row.seen_us),
            "acknowledged": _text(row.acknowledged_us),
        }


def reason(row: RecallRow) -> dict[str, str]:
    """As much of the reason as the agreement lets be told."""
    told = {"class": row.term, "cause": row.cause}
    return {"id": {}, "id-and-class": {"class": row.term}, "reason": told}[row.reveals]


def _text(us: int | None) -> str | None:
    return None if us is None else as_text(us)


class Recalls:
    """Every member's recalls."""

    def __init__(self, store: Store, sequencer: Sequencer, rulebook: RuleBook, release: Release, clock: Clock) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._release = release
        self._clock = clock

    async def everybodys(self) -> list[Recall]:
        return self._judged(await self._store.recalls())

    async def shown(self, caller: Caller) -> list[Recall]:
        """The caller's own. That it has seen them is recorded before they leave."""
        rows = await self._store.recalls(caller.member.slug)
        unseen = [row for row in rows if row.seen_us is None]
        if unseen:
            await self._mark(caller, "recall.seen", unseen, [RecallMark(row.id) for row in unseen])
            rows = await self._store.recalls(caller.member.slug)
        return self._judged(rows)

    async def acknowledge(self, caller: Caller, recall_id: str) -> tuple[Recall, tuple[LeafRef, ...]]:
        """Take the caller's word that what is recalled was dropped. Again is no error, and changes nothing.

        Raises NotFound for another's, as for one that is not there.
        """
        row = await self._own(caller, recall_id)
        leaves: tuple[LeafRef, ...] = ()
        if row.acknowledged_us is None:
            leaves = await self._mark(caller, "recall.ack", [row], [RecallMark(row.id, caller.account)])
            row = await self._own(caller, recall_id)
        return Recall.of(row, self._clock.now_us()), leaves

    # --- objects that were marked more strictly ---

    async def follow_markings(self) -> None:
        """Ask those to drop an object who lost sight of it because its originator marked it more strictly."""
        while rows := await self._store.relabelled():
            for one in rows:
                with contextlib.suppress(
                    Outdated
                ):  # another process was faster, or the agreement changed: it is looked at again
                    await self._follow(one)

    async def _follow(self, one: Relabelled) -> None:
        glance = await self._rulebook.glance()
        rules = glance.rules
        former = next(row for row in await self._release.grants.rows(glance.epochs) if row.id == one.former)
        collection = rules.collection(one.collection)
        lost = [
            member.slug
            for member in rules.registry.members.values()
            if collection is not None and member.status is Status.ACTIVE and await self._lost(one, member, collection)
        ]

        def record(stamp: Stamp) -> Record:
            what = {"objects": [{"id": one.id, "versions": []}]}
            made = [
                rules.recall(slug, one.collection, "marking", [former.country], what, stamp.time_us) for slug in lost
            ]
            return Record(tuple([rules.recall_entry(recall, HUB) for recall in made]), recalls=tuple(made))

        await self._sequencer.append(Act(str(uuid.uuid4()), record, agreement=rules.number, told=one.tick))

    async def _lost(self, one: Relabelled, member: Member, collection: Collection) -> bool:
        """Whether the member was shown the version before, and is shown none now."""
        if not collection.can_read(member):
            return False
        allowed, glance = await self._release.allowed(await self._rulebook.glance(), member, collection)
        if one.former not in allowed.labels or one.label in allowed.labels:
            return False
        if allowed.view is not None and not allowed.view.native(one.former, one.placed):
            seen = late_tick(await self._store.late(member.slug, collection.id), one.placed)
            if seen is None or seen > one.tick:
                return False
        view = (await self._release.views.ready(glance, member)).view
        return view.born < one.tick and not await self._release.holds(allowed, glance.epochs, one.id)

    async def _own(self, caller: Caller, recall_id: str) -> RecallRow:
        for row in await self._store.recalls(caller.member.slug):
            if row.id == recall_id:
                return row
        raise NotFound("There is no such recall.", "No existe ese retiro.", code="no-such-recall", field="recall")

    async def _mark(
        self, caller: Caller, kind: str, rows: Sequence[RecallRow], marks: Sequence[RecallMark]
    ) -> tuple[LeafRef, ...]:
        entries = tuple(
            Entry(
                route(caller.member.country, row.countries.split()), kind, caller.actor, f"recall:{row.id}",
                private=caller.private,
            )
            for row in rows
        )  # fmt: skip
        done = await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(entries), marks=tuple(marks)))
        return done.leaves

    def _judged(self, rows: Sequence[RecallRow]) -> list[Recall]:
        now_us = self._clock.now_us()
        return [Recall.of(row, now_us) for row in rows]
