"""Every label there is, as this process knows them: read whole once, and from then on only what was placed under since."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from exchange.store.answers import Epochs, LabelRow
from exchange.store.contract import Store
from policies.label import Label

CHANGES_KEPT = 50_000
"""Of placements, by label. Who looked last before these looks at everything again."""


@dataclass(slots=True)
class Shelf:
    """The labels of one collection, in the order of their ids, and the last tick under each."""

    ids: list[int] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    _pick: Callable[[bytes], tuple[int, ...]] = itemgetter(0, 0)
    _picked: int = 0

    def of(self, by_label: bytes) -> tuple[int, ...]:
        """What is said of each of them, by a byte for each label from 0 on. What comes behind their number is nothing."""
        if self._picked != len(self.ids):
            self._pick, self._picked = itemgetter(*self.ids, 0, 0), len(self.ids)
        return self._pick(by_label)


class Labels:
    """Labels are never forgotten, and their ids rise: what was seen of them once stays where it was."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tick = -1
        self._revision = -1
        self._places: dict[int, int] = {}
        self._decoded: dict[int, Label] = {}
        self._reading = asyncio.Lock()
        self.rows: dict[int, LabelRow] = {}
        """By id, in the order of ids."""
        self.order: list[LabelRow] = []
        """As they were when they came up."""
        self.shelves: dict[str, Shelf] = defaultdict(Shelf)
        self.owned: dict[str, list[LabelRow]] = defaultdict(list)
        """By originator, its own or an end's."""
        self.countries: dict[int, str] = {}
        """The originators'."""
        self.changes: list[tuple[int, int]] = []
        """(label, last tick) of what was placed, the newest last."""
        self.dropped = 0
        """How many changes are no longer kept."""

    @property
    def last_id(self) -> int:
        return self.order[-1].id if self.order else 0

    @property
    def changed(self) -> int:
        """How many changes there have been."""
        return self.dropped + len(self.changes)

    async def refresh(self, epochs: Epochs, *, counts: bool = False) -> Mapping[int, LabelRow]:
        """All that there is up to the hub's last tick; with `counts` also how much lies under each since something was taken out."""
        if self._knows(epochs, counts=counts):
            return self.rows
        async with self._reading:
            if not self._knows(epochs, counts=counts):
                since = -1 if counts and epochs.revision > self._revision else self._tick
                self._learn(await self._store.labels(since))
                self._tick = max(self._tick, epochs.last_tick)
                if since < 0:
                    self._revision = epochs.revision
        return self.rows

    def _knows(self, epochs: Epochs, *, counts: bool) -> bool:
        # No placement, no new label: the last tick says whether anything could have come.
        return epochs.last_tick <= self._tick and (not counts or epochs.revision <= self._revision)

    def label(self, row: LabelRow) -> Label:
        known = self._decoded.get(row.id)
        if known is None:
            known = self._decoded[row.id] = Label.decode(row.facets)
        return known

    def _learn(self, rows: Sequence[LabelRow]) -> None:
        if self._tick >= 0 and len(self.changes) > CHANGES_KEPT:
            self.dropped += len(self.changes)
            self.changes.clear()
        for row in rows:
            known = self.rows.get(row.id)
            shelf = self.shelves[row.collection]
            if known is None:
                self.order.append(row)
                self.countries[row.id] = row.country
                for member in self.label(row).originators:
                    self.owned[member].append(row)
                self._places[row.id] = len(shelf.ids)
                shelf.ids.append(row.id)
                shelf.ticks.append(row.last_tick)
            elif row.last_tick > known.last_tick:
                shelf.ticks[self._places[row.id]] = row.last_tick
                self.changes.append((row.id, row.last_tick))
            self.rows[row.id] = row
