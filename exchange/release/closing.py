"""What is told of labels that close: to the logs, to the member that loses them, and to its notice.

When an agreement narrows, all members of one kind lose the same. What does not differ between them is worked out for the first.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress
from typing import NamedTuple

import orjson

from certs.jcs import canonical
from exchange.model.view import EVER, LateRun, View, Window
from exchange.release.grants import SHOWN, Grants
from exchange.store.graph import alone
from policies.label import NOTICE

KEPT = 64
"""What so many different kinds of members lose at once is worked out once each."""
ALL = Window(0, EVER)

Place = tuple[str, str]
"""Of a label: its originator's country, and the collection."""


class Told(NamedTuple):
    """What labels are called by whoever has them, and by the logs."""

    what: dict[str, list[dict[str, str]]]
    """What tells the objects apart, in words that the member has them by: it was shown their originators."""
    countries: frozenset[str]
    originators: frozenset[frozenset[str]]
    private: bytes
    """Of the entry: of labels what they say of the objects themselves, for their ends may be the other country's affair."""


class Closing:
    """Of labels by their ids: those say the same for ever."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants
        self.places = lru_cache(KEPT)(self._places)
        """The labels under which lies what a member can be asked to drop: its own notices, where it may not look any more, are
        nothing to drop."""
        self.told = lru_cache(KEPT)(self._told)
        self.open = lru_cache(KEPT)(self._open)
        """Of the first labels of a collection those that a view had not closed."""

    def _places(self, labels: tuple[int, ...]) -> dict[Place, tuple[int, ...]]:
        found: dict[Place, list[int]] = defaultdict(list)
        for row in map(self._grants.row, labels):
            if self._grants.label(row).object_class != NOTICE:
                found[row.country, row.collection].append(row.id)
        return {place: tuple(ids) for place, ids in sorted(found.items())}

    def _told(self, ids: tuple[int, ...]) -> Told:
        rows = list(map(self._grants.row, ids))
        labels = list(map(self._grants.label, rows))
        what = sorted({(label.originator, label.object_class, label.tlp) for label in labels})
        told = {"labels": [{"originator": who, "class": kind, "tlp": tlp} for who, kind, tlp in what]}
        return Told(
            told,
            frozenset([row.country for row in rows]),
            frozenset([label.originators for label in labels]),
            canonical({"labels": [alone(row.facets) for row in rows]}),
        )

    def _open(self, states: bytes, collection: str, size: int) -> list[int]:
        there = self._grants.ids(collection)[:size]
        shown = b"\0" + states.translate(SHOWN).ljust(there[-1] if there else 0, b"\1")
        return list(compress(there, map(shown.__getitem__, there)))


@dataclass
class Scope:
    """Where what closes lay in a view, for its notice to name: native ticks, since what became visible late has them too."""

    view: View
    until_us: int
    """The last tick that was shown by the rules that the view was written by: nothing behind it was given under what closes."""
    late: dict[int, list[LateRun]]
    """What was released late under the labels that close, in the order of placement."""

    _placed: dict[tuple[Window, ...], list[list[int]]] = field(default_factory=dict)

    def of(self, labels: Iterable[int], open_then: Sequence[int]) -> bytes:
        shown = {label: self._shown(label) for label in labels}
        ends = [until for windows in shown.values() for _, until in windows] if self.view.elsewhere else []
        told = {"until": max([self.until_us, *ends]), "labels": shown, "open": open_then}
        return orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS)

    def _shown(self, label: int) -> list[list[int]]:
        native, late = self.view.windows.get(label), self.late.get(label)
        if native is None:
            # It has late runs and no windows only if it came under the label when others were not to be seen.
            native = (ALL,)
        placed = self._placed.get(native)
        if placed is None:
            placed = self._placed[native] = list(self._cut(native))
        return [*placed, *self._late(late)] if late else placed

    # Lists as they are told, and no windows: of thousands of labels at once they cost an eighth of what a step takes.

    def _cut(self, windows: Iterable[Window]) -> Iterator[list[int]]:
        """Not before the view begins, nor behind what was shown."""
        for after, until in windows:
            begin, end = max(after, self.view.floor), min(until, self.until_us)
            if begin < end:
                yield [begin, end]

    def _late(self, late: Sequence[LateRun]) -> list[list[int]]:
        if self.view.elsewhere:  # what came under the label when others that lie around it were not to be seen
            return [[run.run - 1, run.run + run.size - 1] for run in late if run.tick <= self.until_us]
        # Released in order and without a gap, but for what a window shows.
        begin, end = late[0].run - 1, min(late[-1].run + late[-1].size - 1, self.until_us)
        return [[begin, end]] if begin < end else []
