"""What members are asked to drop: shown to them, acknowledged by them, and who has not yet.

What was delivered cannot be taken back. So each recall says what to drop and until when, and the log says who saw it and
who acknowledged it (agreements design, A6.10).
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from exchange.clock import Clock
from exchange.errors import NotFound
from exchange.ledger.entry import Entry, route
from exchange.ledger.sequencer import Sequencer
from exchange.rules import Caller
from exchange.store.contract import Act, LeafRef, RecallMark, RecallRow, Record, Store
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
            "cause": row.cause,
            "what": orjson.loads(row.what),
            "opened": as_text(row.opened_us),
            "due": _text(row.due_us),
            "acknowledgement": "required" if row.required else "asked",
            "state": self.state,
            "seen": _text(row.seen_us),
            "acknowledged": _text(row.acknowledged_us),
        }


def _text(us: int | None) -> str | None:
    return None if us is None else as_text(us)


class Recalls:
    """Every member's recalls."""

    def __init__(self, store: Store, sequencer: Sequencer, clock: Clock) -> None:
        self._store = store
        self._sequencer = sequencer
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
