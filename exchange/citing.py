"""Which labels cite which definitions and identities: read from the labels there are, and kept with the rules.

A pair is a label and an id that what lies under it cites. Pairs come and go with what is placed and taken out; the store
counts how often they did (`Epochs.citing`), so that whoever judges knows when to look again.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from exchange.store.contract import Store
from policies.cited import NOTHING, Cited
from policies.label import Label

PAIRS_AT_MOST: Final = 1_000
"""Of one originator, so that nobody makes the judgement of the others' labels dear: a thousand are some three milliseconds for
each kind of member."""
NAMED_AT_MOST: Final = 200
"""Definitions and identities of one originator that may be opened: each has labels of its own."""

Key = tuple[str, str]
"""An originator, and the id of what it cites or has here."""


@dataclass(frozen=True)
class Citing:
    """What the rules know of citing, as of one moment."""

    epoch: int = 0
    pairs: Cited = field(default_factory=lambda: NOTHING)
    places: Mapping[Key, tuple[int, ...]] = field(default_factory=dict)
    """By the same, the numbers of the labels."""
    known: frozenset[Label] = frozenset()
    """Labels that were counted, whether anything lies under them now or not."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Pairs, by originator."""
    named: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What may be opened, by originator."""
    owned: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """By member, the labels of what may be opened to it alone, since something that cites it leads to what is the member's own."""

    def of(self, label: Label) -> Sequence[Label]:
        """By what something is cited that may be opened."""
        return self.pairs.get((label.originator, label.named), ()) if label.named else ()

    def places_of(self, label: Label) -> Sequence[int]:
        """The numbers of those labels."""
        return self.places.get((label.originator, label.named), ()) if label.named else ()


class Counting:
    """How much of citing an originator may bring: what it brought before stays, what is too much counts for nothing."""

    def __init__(self, citing: Citing) -> None:
        self._citing = citing
        self._pairs: Counter[str] = Counter()
        self._named: defaultdict[str, set[str]] = defaultdict(set)
        self._seen: set[Label] = set()

    def within(self, label: Label) -> tuple[Label, bool]:
        """The label, without what is too much; and whether anything was."""
        cites, named, who = label.cites, label.named, label.originator
        if label.alone in self._citing.known or label in self._seen or not (cites or named):
            return label, False
        if self._citing.counts.get(who, 0) + self._pairs[who] + len(cites) > PAIRS_AT_MOST:
            cites = ()
        ids = self._citing.named.get(who, frozenset())
        if named and named not in ids and len(ids | self._named[who] | {named}) > NAMED_AT_MOST:
            named = ""
        self._pairs[who] += len(cites)
        if named:
            self._named[who].add(named)
        counted = replace(label, cites=cites, named=named, marked=label.marked and bool(named))
        if counted == label:
            self._seen.add(label)
        return counted, counted != label


class CitingBook:
    """Reads what came since: labels are never forgotten, and say what they said."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = 0
        self._labels: dict[int, Label] = {}
        self._citing: defaultdict[Key, list[int]] = defaultdict(list)
        """Labels, by what they cite."""
        self._named: defaultdict[Key, list[int]] = defaultdict(list)
        """And of what may be opened."""
        self._known: set[Label] = set()
        self._counts: Counter[str] = Counter()
        self._current = Citing()

    async def current(self, epoch: int) -> Citing:
        """As it is at `epoch`, or later."""
        if self._current.epoch < epoch:
            epoch, rows = await self._store.citing(self._last)
            for row in rows:
                if row.facets:
                    self._learn(row.label, Label.decode(row.facets))
            self._current = self._made(epoch, {row.label for row in rows if not row.live})
        return self._current

    def _learn(self, number: int, label: Label) -> None:
        self._labels[number], self._last = label, max(self._last, number)
        for one in label.cites:
            self._citing[label.originator, one].append(number)
        if label.named:
            self._named[label.originator, label.named].append(number)
        if label.alone not in self._known:
            self._known.add(label.alone)
            self._counts[label.originator] += len(label.cites)

    def _made(self, epoch: int, dead: Collection[int]) -> Citing:
        before, places = self._current, self._places(dead)
        named: defaultdict[str, set[str]] = defaultdict(set)
        owned: defaultdict[str, set[int]] = defaultdict(set)
        for who, one in self._named:
            named[who].add(one)
            for member in {
                member for number in places.get((who, one), ()) for member in self._labels[number].originators
            }:
                owned[member].update(self._named[who, one] if member != who else ())
        pairs = {
            key: before.pairs[key] if before.places.get(key) == numbers else tuple([self._labels[n] for n in numbers])
            for key, numbers in places.items()
        }
        return Citing(epoch, pairs, places, frozenset(self._known), dict(self._counts),
                      {who: frozenset(ids) for who, ids in named.items()},
                      {who: frozenset(numbers) for who, numbers in owned.items()})  # fmt: skip

    def _places(self, dead: Collection[int]) -> dict[Key, tuple[int, ...]]:
        """As many of each originator as count. What refers to others comes last, for intake knows no such labels and lets them in."""
        live = [(key, number) for key in self._named for number in self._citing.get(key, ()) if number not in dead]
        found: defaultdict[Key, list[int]] = defaultdict(list)
        room: Counter[str] = Counter()
        for key, number in sorted(live, key=lambda one: (bool(self._labels[one[1]].ends), one[1])):
            room[key[0]] += 1
            if room[key[0]] <= PAIRS_AT_MOST:
                found[key].append(number)
        return {key: tuple(numbers) for key, numbers in found.items()}
