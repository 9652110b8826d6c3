"""Which labels a recipient may see under the agreement in force: judged once per label and recipient, never per object."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from exchange.model.member import Collection, Member
from exchange.model.view import CLOSED, DELAYED, OPEN, View
from exchange.release.judged import Judged
from exchange.rules import Rules
from exchange.store.contract import Epochs, LabelRow, Store
from policies.decide import Decision
from policies.label import Label, Recipient


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


class _Shown(NamedTuple):
    """What may be seen of a collection."""

    pairs: list[tuple[LabelRow, Decision]]
    delayed: bool
    """Whether any of it is seen only some time after it was placed."""


HOUR = len("2026-11-24T12")
DECISIONS_AT_ONCE = 500
"""How many labels are judged before others have their turn: some five milliseconds, when all of them are new."""


class Grants:
    """The labels there are, and what is judged of them: by the rules in force, and by those that are about to be."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[LabelRow] = []
        self._rows_tick = -1
        self._owned: dict[str, list[LabelRow]] = {}
        self._labels: dict[int, Label] = {}
        self._judged = Judged(None)
        self._next = Judged(None)
        self._hour = ""
        """Embargoes end on the hour: what decisions added up to in another is not kept."""
        self._forget()
        self._standing = asyncio.Lock()

    async def allowed(
        self, rules: Rules, epochs: Epochs, member: Member, collection: Collection, view: View
    ) -> Allowed:
        """The labels of the collection whose objects this member may have, in full, now, or some time after they were placed."""
        rows = await self.rows(epochs)
        self._under(rules)
        own = [row for row in self._owned.get(member.slug, ()) if row.collection == collection.id]
        shown = self._shown(rules, rows, member, collection, own)
        plain = not (shown.delayed or view.floor or view.windows)
        # Where all lies as it was placed, peers have the same.
        who = self._judged.peer(rules, member) if plain and not own else member
        key = (who, collection.id, 0 if plain else view.number)
        found = self._allowed.get(key)
        if found is None:
            pairs = shown.pairs
            seen = None if plain else _seen(view, pairs)
            late = seen.last_tick if seen is not None else 0
            found = self._allowed[key] = Allowed(
                collection.id,
                tuple([row.id for row, _ in pairs]),
                max([late, *[row.last_tick for row, _ in pairs]]),
                {row.id: row.country for row, _ in pairs},
                {row.id: decision.expires_after_seconds for row, decision in pairs if decision.may_block},
                seen,
            )
        return found

    async def standing(self, rules: Rules, epochs: Epochs, member: Member) -> Standing:
        """What each label is to the member."""
        rows = await self.rows(epochs)
        self._under(rules)
        readable = frozenset([one.id for one in rules.registry.collections if one.can_read(member)])
        async with self._standing:  # the first of the peers that come at once does it for all
            judged, kept, key = self._judged, self._standings, (self._judged.peer(rules, member), readable)
            if key not in kept:
                kept[key] = await self._of_peers(judged, rules, rows, member, readable)
            found = kept[key]
        own = [row for row in self._owned.get(member.slug, ()) if row.collection in readable]
        if not own:
            return found
        states, delays = bytearray(found.states), dict(found.delays)
        for row in own:
            delays.pop(row.id, None)
            _stand(states, delays, row, judged.decide(rules, row.id, self.label(row), member))
        return Standing(bytes(states), delays)

    async def _of_peers(
        self, judged: Judged, rules: Rules, rows: Sequence[LabelRow], member: Member, readable: frozenset[str]
    ) -> Standing:
        states = bytearray([CLOSED]) * max([row.id for row in rows], default=0)
        delays: dict[int, int] = {}
        for number, row in enumerate(rows):
            if number % DECISIONS_AT_ONCE == DECISIONS_AT_ONCE - 1:
                await asyncio.sleep(0)
            if row.collection in readable:
                _stand(states, delays, row, judged.of_peers(rules, row.id, self.label(row), member))
        return Standing(bytes(states), delays)

    async def decision(self, rules: Rules, epochs: Epochs, member: Member, label_id: int) -> Decision | None:
        """The decision for one interned label, with its reasons."""
        row = next((row for row in await self.rows(epochs) if row.id == label_id), None)
        return rules.decide(self.label(row), member) if row else None

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
            owned = defaultdict(list)
            for row in self._rows:
                owned[self.label(row).originator].append(row)
            self._owned = owned
            self._forget()
        return self._rows

    async def prepare(self, rules: Rules) -> None:
        """Judge everything by rules that are about to hold, on a thread: when they do, no reader waits for it."""
        if rules.basis not in (self._judged.basis, self._next.basis):
            labels = [(row.id, self.label(row)) for row in await self._store.labels()]
            self._next = await asyncio.to_thread(Judged.ahead, rules, labels)

    def _under(self, rules: Rules) -> None:
        if rules.basis != self._judged.basis:
            self._judged = self._next if self._next.basis == rules.basis else Judged(rules.basis)
            self._forget()
        if rules.now[:HOUR] != self._hour:
            self._hour = rules.now[:HOUR]
            self._forget()

    def _forget(self) -> None:
        """What decisions added up to for other labels or other rules."""
        self._of_collection: dict[tuple[Recipient, str], _Shown] = {}
        self._standings: dict[tuple[Recipient, frozenset[str]], Standing] = {}
        self._allowed: dict[tuple[Member | Recipient, str, int], Allowed] = {}

    def _shown(
        self, rules: Rules, rows: Sequence[LabelRow], member: Member, collection: Collection, own: Sequence[LabelRow]
    ) -> _Shown:
        """The labels whose objects the member may have: what its peers may, save that its own are its own."""
        key = (self._judged.peer(rules, member), collection.id)
        shared = self._of_collection.get(key)
        if shared is None:
            judge = self._judged.of_peers
            decided = [
                (row, judge(rules, row.id, self.label(row), member)) for row in rows if row.collection == collection.id
            ]
            shared = self._of_collection[key] = _among(decided)
        if not own:
            return shared
        ids = {row.id for row in own}
        mine = [(row, self._judged.decide(rules, row.id, self.label(row), member)) for row in own]
        pairs = [*(pair for pair in shared.pairs if pair[0].id not in ids), *mine]
        return _among(sorted(pairs, key=lambda pair: pair[0].id))


def permitted(decision: Decision) -> bool:
    """Permitted, now or later, and the object itself is the form that is permitted.

    A permit for an anonymised view gives nothing here: redaction makes a new object with a new id, and nothing is
    ever edited on its way out. Under a permit with a delay objects are released late, each in its time.
    """
    return decision.effect == "permit" and decision.view == "full"


def _among(decided: Sequence[tuple[LabelRow, Decision]]) -> _Shown:
    pairs = [pair for pair in decided if permitted(pair[1])]
    return _Shown(pairs, any(decision.delay_seconds for _, decision in pairs))


def _stand(states: bytearray, delays: dict[int, int], row: LabelRow, decision: Decision) -> None:
    states[row.id - 1] = CLOSED
    if permitted(decision):
        states[row.id - 1] = OPEN
        if decision.delay_seconds:
            states[row.id - 1], delays[row.id] = DELAYED, decision.delay_seconds


def _seen(view: View, shown: Sequence[tuple[LabelRow, Decision]]) -> View | None:
    """What a question about these labels need know of the view: nothing, where all lies as it was placed."""
    windows = tuple([
        (row.id, view.by_label.get(row.id, ()))
        for row, decision in shown
        if decision.delay_seconds or row.id in view.by_label
    ])  # fmt: skip
    return replace(view, states=b"", windows=windows, done=()) if windows or view.floor else None
