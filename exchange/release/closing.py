"""What is told of labels that close: to the logs, to the member that loses them, and to its notice.

When an agreement narrows, all members of one kind lose the same. What does not differ between them is worked out for the first.
"""

from collections import defaultdict
from functools import lru_cache
from itertools import compress
from typing import NamedTuple

from certs.jcs import canonical
from exchange.ledger.entry import label_name
from exchange.release.grants import SHOWN, Grants
from exchange.store.graph import alone
from policies.label import NOTICE

KEPT = 64
"""What so many different kinds of members lose at once is worked out once each."""

Place = tuple[str, str]
"""Of a label: its originator's country, and the collection."""


class Told(NamedTuple):
    """What labels are called by whoever has them, and by the logs."""

    what: dict[str, list[dict[str, str]]]
    """What tells the objects apart, in words that the member has them by: it was shown their originators."""
    countries: frozenset[str]
    originators: frozenset[frozenset[str]]
    private: bytes
    """Of the entry: `what`, and the labels' names. Those are of what labels say of the objects themselves, for their ends may be the
    other country's affair; an agreement closes thousands at once to each of a hundred members, and facets are ten times as long."""


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
        told = [{"originator": who, "class": kind, "tlp": tlp} for who, kind, tlp in what]
        names = sorted({label_name(alone(row.facets)) for row in rows})
        return Told(
            {"labels": told},
            frozenset([row.country for row in rows]),
            frozenset([label.originators for label in labels]),
            canonical({"labels": names, "what": told}),
        )

    def _open(self, states: bytes, collection: str, size: int) -> list[int]:
        there = self._grants.ids(collection)[:size]
        shown = b"\0" + states.translate(SHOWN).ljust(there[-1] if there else 0, b"\1")
        return list(compress(there, map(shown.__getitem__, there)))
