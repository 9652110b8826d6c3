"""Which labels a recipient may see under the agreement in force: judged once per label and recipient, never per object."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exchange.model.member import Collection, Member
from exchange.model.view import CLOSED, DELAYED, OPEN, View
from exchange.rules import Rules
from exchange.store.contract import Epochs, LabelRow, Store
from policies.decide import Decision
from policies.label import Label


@dataclass(frozen=True, slots=True)
class Allowed:
    """The labels of one collection that a member may see, and where. Equal ones are equal questions to the store."""

    collection: str
    labels: tuple[int, ...]
    last_tick: int
    """No object lies behind it."""
    countries: dict[int, str]
    """The originators' countries, by label."""
    blocking: dict[int, int | None]
    """The labels that devices may block by, and for how many seconds after an object was added; None without end."""
    view: View | None = None
    """How they lie for the member; None where all were placed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What each label is to a member: see `model.view.View.states`."""

    states: bytes
    delays: dict[int, int]
    """Of the delayed labels, in seconds."""


DECISIONS_AT_ONCE = 500
"""How many labels are judged before others have their turn: some five milliseconds, when all of them are new."""


class Grants:
    """Decisions of one snapshot of the rules, filled as they are asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[LabelRow] = []
        self._rows_tick = -1
        self._rules: Rules | None = None
        self._decisions: dict[tuple[int, Member], Decision] = {}
        self._allowed: dict[tuple[Member, str, int], Allowed] = {}
        self._labels: dict[int, Label] = {}

    async def allowed(
        self, rules: Rules, epochs: Epochs, member: Member, collection: Collection, view: View
    ) -> Allowed:
        """The labels of the collection whose objects this member may have, in full, now, or some time after they were placed."""
        rows = await self.rows(epochs)
        self._under(rules)
        key = (member, collection.id, view.number)
        found = self._allowed.get(key)
        if found is None:
            decided = [(row, self._decide(rules, row, member)) for row in rows if row.collection == collection.id]
            shown = [(row, decision) for row, decision in decided if permitted(decision)]
            seen = _seen(view, shown)
            late = seen.last_tick if seen is not None else 0
            found = self._allowed[key] = Allowed(
                collection.id,
                tuple([row.id for row, _ in shown]),
                max([late, *[row.last_tick for row, _ in shown]]),
                {row.id: row.country for row, _ in shown},
                {row.id: decision.expires_after_seconds for row, decision in shown if decision.may_block},
                seen,
            )
        return found

    async def standing(self, rules: Rules, epochs: Epochs, member: Member) -> Standing:
        """What each label is to the member."""
        rows = await self.rows(epochs)
        readable = {one.id for one in rules.registry.collections if one.can_read(member)}
        states = bytearray([CLOSED]) * max([row.id for row in rows], default=0)
        delays: dict[int, int] = {}
        for number, row in enumerate(rows):
            if number % DECISIONS_AT_ONCE == DECISIONS_AT_ONCE - 1:
                await asyncio.sleep(0)
            if row.collection not in readable:
                continue
            decision = self._decide(rules, row, member)
            if permitted(decision):
                states[row.id - 1] = OPEN
                if decision.delay_seconds:
                    states[row.id - 1], delays[row.id] = DELAYED, decision.delay_seconds
        return Standing(bytes(states), delays)

    async def decision(self, rules: Rules, epochs: Epochs, member: Member, label_id: int) -> Decision | None:
        """The decision for one interned label, with its reasons."""
        row = next((row for row in await self.rows(epochs) if row.id == label_id), None)
        return self._decide(rules, row, member) if row else None

    def label(self, row: LabelRow) -> Label:
        known = self._labels.get(row.id)
        if known is None:
            known = self._labels[row.id] = Label.decode(row.facets)
        return known

    async def rows(self, epochs: Epochs) -> list[LabelRow]:
        """Every label there is."""
        # No placement, no new label: the last tick says whether the list could have grown.
        if epochs.last_tick != self._rows_tick:
            self._rows = await self._store.labels()
            self._rows_tick = epochs.last_tick
            self._allowed.clear()
        return self._rows

    def _under(self, rules: Rules) -> None:
        if rules is not self._rules:
            self._rules, self._decisions, self._allowed = rules, {}, {}

    def _decide(self, rules: Rules, row: LabelRow, member: Member) -> Decision:
        self._under(rules)
        key = (row.id, member)  # not its name: a request may still hold the member as it was before a change
        found = self._decisions.get(key)
        if found is None:
            found = self._decisions[key] = rules.decide(self.label(row), member)
        return found


def permitted(decision: Decision) -> bool:
    """Permitted, now or later, and the object itself is the form that is permitted.

    A permit for an anonymised view gives nothing here: redaction makes a new object with a new id, and nothing is
    ever edited on its way out. Under a permit with a delay objects are released late, each in its time.
    """
    return decision.effect == "permit" and decision.view == "full"


def _seen(view: View, shown: Sequence[tuple[LabelRow, Decision]]) -> View | None:
    """What a question about these labels need know of the view: nothing, where all lies as it was placed."""
    windows = tuple([
        (row.id, view.by_label.get(row.id, ()))
        for row, decision in shown
        if decision.delay_seconds or row.id in view.by_label
    ])  # fmt: skip
    return replace(view, states=b"", windows=windows, done=()) if windows or view.floor else None
