"""Which labels a recipient may see under the agreement in force: judged once per label and recipient, never per object."""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from typing import NamedTuple

from exchange.model.member import Collection, Member
from exchange.model.view import CLOSED, DELAYED, EVER, View, turned
from exchange.release.judged import Judged, Table, Terms, hour
from exchange.release.labels import Labels, Shelf
from exchange.rules import Rules
from exchange.store.answers import Epochs, LabelRow
from exchange.store.contract import Store
from policies.decide import Decision
from policies.label import Label, Recipient


@dataclass(frozen=True)
class Standing:
    """What each label is to a member by the rules: see `model.view.View.states`."""

    states: bytes
    delays: Mapping[int, int]
    """Of the delayed labels, in seconds."""
    kinds: Sequence[int]
    """By label id, from 1 on, where they are not the member's own: which of `terms`."""
    own: Mapping[int, int]
    terms: Sequence[Terms]
    citing: int
    """As of which `Citing`."""

    def blocking(self, labels: Sequence[int]) -> dict[int, int | None]:
        kinds = [self.own.get(label, self.kinds[label - 1]) for label in labels]
        return {
            label: self.terms[kind].expires_after_seconds
            for label, kind in zip(labels, kinds, strict=True)
            if self.terms[kind].may_block
        }


@dataclass(frozen=True)
class Allowed:
    """The labels of one collection that a member may see, and where. Equal ones are equal questions to the store."""

    collection: str
    labels: tuple[int, ...]
    last_tick: int
    """No object lies behind it."""
    countries: Mapping[int, str] = field(repr=False, compare=False)
    """The originators' countries, by label."""
    standing: Standing = field(repr=False, compare=False)
    view: View | None = None
    """How they lie for the member; None where all were placed."""

    @cached_property
    def blocking(self) -> dict[int, int | None]:
        """The labels that devices may block by, and for how many seconds after an object was added; None without end."""
        return self.standing.blocking(self.labels)


class _Kept(NamedTuple):
    """An answer, and what it was made of."""

    allowed: Allowed
    labels: int
    """How many there were in the collection."""
    changes: int
    """How many there had been."""
    citing: int


class _Last(NamedTuple):
    """What a member was answered last: nothing that an answer hangs on changes in its place, so the same things give the same."""

    rules: Rules
    member: Member
    view: View
    labels: int
    """The last one's id."""
    kept: _Kept
    key: "Key"


Key = tuple[Member | Recipient, str, int, str]
"""Whose, of which collection, by which view of the member alone, and of which hour."""

SHOWN = bytes(state != CLOSED for state in range(256))
"""By what a label is to a member, whether anything under it is shown: all labels are looked at in one go."""

DECISIONS_AT_ONCE = 500
"""How many labels are judged before others have their turn: some five milliseconds, when all of them are new."""


class Grants:
    """The labels there are, and what is judged of them: by the rules in force, and by those that are about to be."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._labels = Labels(store)
        self._judged = Judged(None)
        self._next = Judged(None)
        self.when_judged: Callable[[], None] = lambda: None
        """Called when everything was judged by rules that are about to hold."""
        self._hour = ""
        """Embargoes end on the hour: what was made of decisions in another is not kept."""
        self._forget()
        self._judging = asyncio.Lock()

    async def allowed(
        self, rules: Rules, epochs: Epochs, member: Member, collection: Collection, view: View
    ) -> Allowed:
        """The labels of the collection whose objects this member may have, in full, now, or some time after they were placed,
        of those that are not written down as closed."""
        await self.rows(epochs)
        last = self._last.get((member.slug, collection.id))
        if (
            last is not None
            and (last.rules is rules and last.member is member and last.view is view)
            and (last.labels, last.kept.changes) == (self._labels.last_id, self._labels.changed)
        ):
            return last.kept.allowed
        standing = await self.standing(rules, epochs, member)
        shelf = self._labels.shelves[collection.id]
        waiting = standing.states[: len(view.states)] != view.states
        plain = not (standing.delays or view.floor or view.windows or view.elsewhere)
        # Where all lies as it was placed, peers have the same.
        alone = waiting or not plain or standing.own
        peer, number = (member, view.number) if alone else (self._judged.peer(rules, member), 0)
        key = (peer, collection.id, number, hour(rules))
        kept = self._allowed.get(key)
        made = (len(shelf.ids), standing.citing)
        if kept is None or made != (kept.labels, kept.citing) or kept.changes < self._labels.dropped:
            states = _opened(standing.states, view.states) if waiting else standing.states
            kept = self._made(collection.id, shelf, states, standing, None if plain else view)
        elif kept.changes < self._labels.changed:
            kept = self._later(kept)
        if last is not None and last.key != key and last.key[2]:
            self._allowed.pop(last.key, None)  # of a view of its own that is no more: each step makes one
        self._allowed[key] = kept
        self._last[member.slug, collection.id] = _Last(rules, member, view, self._labels.last_id, kept, key)
        return kept.allowed

    def _made(self, collection: str, shelf: Shelf, states: bytes, standing: Standing, view: View | None) -> _Kept:
        by_label = b"\0" + states.translate(SHOWN)
        shown = shelf.of(by_label)
        labels = tuple(compress(shelf.ids, shown))
        seen = None if view is None else _seen(view, labels, standing.delays)
        last_tick = max(compress(shelf.ticks, shown), default=0)
        allowed = Allowed(
            collection, labels, max(last_tick, seen.last_tick if seen else 0), self._labels.countries, standing, seen
        )
        return _Kept(allowed, len(shelf.ids), self._labels.changed, standing.citing)

    def _later(self, kept: _Kept) -> _Kept:
        """The same after more was placed under labels that there were."""
        news = self._labels.changes[kept.changes - self._labels.dropped :]
        shown = kept.allowed.labels
        ticks = [tick for label, tick in news if bisect_left(shown, label) < bisect_right(shown, label)]
        last_tick = max([kept.allowed.last_tick, *ticks])
        allowed = kept.allowed if last_tick == kept.allowed.last_tick else replace(kept.allowed, last_tick=last_tick)
        return kept._replace(allowed=allowed, changes=kept.changes + len(news))

    async def standing(self, rules: Rules, epochs: Epochs, member: Member) -> Standing:
        """What each label is to the member."""
        await self.rows(epochs)
        self._under(rules)
        readable = frozenset([one.id for one in rules.registry.collections if one.can_read(member)])
        owns = member.slug in self._labels.owned or member.slug in rules.citing.owned
        judged, key = self._judged, (member if owns else self._judged.peer(rules, member), readable, hour(rules))
        found = self._standings.get(key)
        if found is None or (len(found.kinds), found.citing) != (self._labels.last_id, rules.citing.epoch):
            table = await self._table(judged, rules, member)
            found = self._stand(judged, rules, member, table, readable)
            if judged is self._judged:
                self._standings[key] = found
        return found

    async def _table(self, judged: Judged, rules: Rules, member: Member) -> Table:
        """Of the member's peers, with every label in it."""
        async with self._judging:  # the first of the peers that come at once does it for all
            table = judged.table(rules, member)
            while part := self._labels.order[table.known : table.known + DECISIONS_AT_ONCE]:
                judged.judge(rules, [(row.id, self.label(row)) for row in part], member)
                if table.known < len(self._labels.order):
                    await asyncio.sleep(0)
            judged.renew(rules, member)
            return table

    def _stand(self, judged: Judged, rules: Rules, member: Member, table: Table, readable: frozenset[str]) -> Standing:
        states, delays = bytearray(table.states), dict(table.delays)
        cited = [row for one in rules.citing.owned.get(member.slug, ()) if (row := self._labels.rows.get(one))]
        own = {
            row.id: judged.own(rules, row.id, self.label(row), member)
            for row in (*self._labels.owned.get(member.slug, ()), *cited)
        }
        for label, kind in own.items():
            states[label - 1] = judged.terms[kind].state
            delays.pop(label, None)
            if states[label - 1] == DELAYED:
                delays[label] = judged.terms[kind].delay_seconds
        for name, shelf in self._labels.shelves.items():
            if name not in readable:
                for label in shelf.ids:
                    states[label - 1] = CLOSED
                    delays.pop(label, None)
        return Standing(bytes(states), delays, table.kinds[:], own, judged.terms, rules.citing.epoch)

    async def decision(self, rules: Rules, epochs: Epochs, member: Member, label_id: int) -> Decision | None:
        """The decision for one interned label, with its reasons."""
        row = (await self.rows(epochs)).get(label_id)
        return rules.decide(self.label(row), member) if row else None

    def label(self, row: LabelRow) -> Label:
        return self._labels.label(row)

    def row(self, label_id: int) -> LabelRow:
        """One that is known."""
        return self._labels.rows[label_id]

    def last_tick(self, label_id: int) -> int:
        """Of what lies under one; 0 for one that is not known yet."""
        row = self._labels.rows.get(label_id)
        return row.last_tick if row is not None else 0

    def ids(self, collection: str) -> Sequence[int]:
        """The labels of a collection, as far as they are known."""
        return self._labels.shelves[collection].ids

    async def rows(self, epochs: Epochs, *, counts: bool = False) -> Mapping[int, LabelRow]:
        """Every label there is, by id. With `counts` how much lies under each is known to the last removal."""
        return await self._labels.refresh(epochs, counts=counts)

    async def prepare(self, rules: Rules) -> None:
        """Judge everything by rules that are about to hold, on a thread: when they do, no reader waits for it."""
        if rules.basis not in (self._judged.basis, self._next.basis):
            await self.rows(await self._store.epochs())
            labels = [(row.id, self.label(row)) for row in self._labels.order]
            self._next = await asyncio.to_thread(Judged.ahead, rules, labels)
            self.when_judged()

    def _under(self, rules: Rules) -> None:
        if rules.basis != self._judged.basis:
            self._judged = self._next if self._next.basis == rules.basis else Judged(rules.basis)
            self._forget()
        if hour(rules) != self._hour:
            self._hour = hour(rules)
            self._forget()

    def _forget(self) -> None:
        """What was made of other rules."""
        self._standings: dict[tuple[Member | Recipient, frozenset[str], str], Standing] = {}
        self._allowed: dict[Key, _Kept] = {}
        self._last: dict[tuple[str, str], _Last] = {}


def _opened(ruled: bytes, written: bytes) -> bytes:
    """By the rules, but for what was not written down as open yet."""
    states = bytearray(ruled)
    for label in turned(written, ruled):
        if written[label - 1] == CLOSED:
            states[label - 1] = CLOSED
    return bytes(states)


def _seen(view: View, labels: Sequence[int], delays: Mapping[int, int]) -> View | None:
    """What a question about these labels need know of the view: nothing, where all lies as it was placed."""
    apart = delays.keys() | view.windows.keys()
    windows = {label: view.windows.get(label, ()) for label in labels if label in apart}
    placed_alike = not (windows or view.floor or view.elsewhere)
    return None if placed_alike else replace(view, states=b"", until_us=EVER, windows=windows, done={})
