"""Which labels cite which definitions and identities: read from the labels there are, and kept with the rules.

A pair is a label and an id that what lies under it cites. Pairs come and go with what is placed and taken out; the store
counts how often they did (`Epochs.citing`), so that whoever judges knows when to look again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from exchange.store.contract import CitingRow, Store
from policies.cited import NOTHING, Cited
from policies.label import Label

PAIRS_AT_MOST: Final = 1_000
"""Of one originator, so that nobody makes the judgement of the others' labels dear: a thousand are some three milliseconds for
each kind of member."""
NAMED_AT_MOST: Final = 200
"""Definitions and identities of one originator that may be opened: each has labels of its own."""


@dataclass(frozen=True)
class Citing:
    """What the rules know of citing, as of one moment."""

    epoch: int = 0
    pairs: Cited = field(default_factory=lambda: NOTHING)
    places: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
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
        self._seen.add(label)
        self._pairs[who] += len(cites)
        if named:
            self._named[who].add(named)
        counted = replace(label, cites=cites, named=named, marked=label.marked and bool(named))
        return counted, counted != label


class CitingBook:
    """Reads what came since; labels are never forgotten, and say what they said."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._labels: dict[int, Label] = {}
        self._last = 0
        self._current = Citing()

    async def current(self, epoch: int) -> Citing:
        """As it is at `epoch`, or later."""
        if self._current.epoch < epoch:
            epoch, rows = await self._store.citing(self._last)
            self._current = self._made(epoch, rows)
        return self._current

    def _pairs(self, live: Sequence[int], named: Mapping[str, set[str]]) -> dict[tuple[str, str], list[int]]:
        """As many of each originator as count: what refers to others comes last, for of that no intake knows the labels."""
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        counts: Counter[str] = Counter()
        for number in sorted(live, key=lambda one: bool(self._labels[one].ends)):
            label = self._labels[number]
            cites = named.get(label.originator, set()).intersection(label.cites)
            if counts[label.originator] + len(cites) <= PAIRS_AT_MOST:
                counts[label.originator] += len(cites)
                for one in cites:
                    found[label.originator, one].append(number)
        return found

    def _made(self, epoch: int, rows: Iterable[CitingRow]) -> Citing:
        live = []
        for row in rows:
            if row.facets:
                self._labels[row.label] = Label.decode(row.facets)
                self._last = max(self._last, row.label)
            if row.live:
                live.append(row.label)
        counts: Counter[str] = Counter()
        named: defaultdict[str, set[str]] = defaultdict(set)
        known = {label.alone for label in self._labels.values()}
        for label in known:
            counts[label.originator] += len(label.cites)
            if label.named:
                named[label.originator].add(label.named)
        places = {key: tuple(numbers) for key, numbers in self._pairs(live, named).items()}
        owned: defaultdict[str, set[int]] = defaultdict(set)
        for number, label in self._labels.items():
            for one in places.get((label.originator, label.named), ()):
                for member in self._labels[one].originators - {label.originator}:
                    owned[member].add(number)
        before = self._current
        return Citing(
            epoch,
            {
                key: before.pairs[key] if before.places.get(key) == numbers else tuple([self._labels[n] for n in numbers])
                for key, numbers in places.items()
            },
            places,
            frozenset(known),
            counts,
            {who: frozenset(ids) for who, ids in named.items()},
            {who: frozenset(numbers) for who, numbers in owned.items()},
        )  # fmt: skip
