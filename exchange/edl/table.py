"""The indicators of one collection as block lists need them: read once for all members, then only what is new."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from exchange.edl.values import Reason, Value, values_of
from exchange.intake.warninglists import Warninglists
from exchange.model.instant import instant
from exchange.model.page import Filter, Span
from exchange.model.stix import UNVERSIONED
from exchange.model.view import LateRun, View, late_tick
from exchange.store.answers import Epochs, LabelRow
from exchange.store.contract import Store
from exchange.times import parse_us
from policies.label import Label

ROWS_AT_ONCE: Final = 1_000
EVERY: Final = Filter(versions=("all",))
FOREVER: Final = 2**62


class Indicator(NamedTuple):
    """One version, as it lies in the collection, with what it names."""

    tick: int
    label: int
    item: bytes
    id: str
    instant: str
    name: str
    confidence: int
    revoked: bool
    from_us: int
    until_us: int
    values: tuple[Value, ...]
    left: tuple[Reason, ...]


class Table:
    """The newest version of each indicator by each originator, whoever may see it.

    The newest of all, not of what a member may see: when an originator tightens a marking or withdraws, nobody's device
    goes on blocking by the version before. And of each originator by itself: what one member imports never supersedes
    what another did.
    """

    def __init__(self, collection: str, store: Store, known: Warninglists) -> None:
        self.version = 0
        """Rises when the content may have changed."""
        self.newest: dict[tuple[str, str], Indicator] = {}
        self._collection = collection
        self._store = store
        self._known = known
        self._seen_tick = 0
        self._rows = 0
        self._epochs: tuple[int, int] | None = None
        self._labels: dict[int, Label] = {}
        self._remembered: dict[bytes, Indicator] = {}

    def fits(self, epochs: Epochs) -> bool:
        return self._epochs == (epochs.last_tick, epochs.revision)

    async def renew(self, epochs: Epochs) -> None:
        """Read what was added up to `epochs`, and all anew when something was taken out: then fewer rows are left than read."""
        await self._read_on(epochs.last_tick)
        rows = await self._labelled()
        if sum(row.placements for row in rows) < self._rows:
            self.newest, self._seen_tick, self._rows = {}, 0, 0
            self.version += 1
            await self._read_on(epochs.last_tick)
            self._remembered = {one.item: one for one in self.newest.values()}
        self._epochs = (epochs.last_tick, epochs.revision)

    async def _read_on(self, last_tick: int) -> None:
        """What lies beyond `last_tick` may be under labels that were not known when it began, and waits for next time."""
        labels = [row.id for row in await self._labelled() if row.last_tick > self._seen_tick]
        more = bool(labels)
        while more and self._seen_tick < last_tick:
            spans = await self._store.spans(
                self._collection, labels, EVERY, self._seen_tick, ROWS_AT_ONCE, until_us=last_tick
            )
            read = await asyncio.to_thread(self._indicators, spans.spans)
            self._take(read)
            self.version += bool(read)
            more = spans.more
            self._seen_tick = read[-1].tick if read else last_tick
        self._seen_tick = max(self._seen_tick, last_tick)

    async def _labelled(self) -> list[LabelRow]:
        """The labels of this collection's indicators."""
        rows = [row for row in await self._store.labels() if row.collection == self._collection]
        for row in rows:
            if row.id not in self._labels:
                self._labels[row.id] = Label.decode(row.facets)
        return [row for row in rows if self._labels[row.id].object_class == "indicator"]

    def _take(self, read: Sequence[Indicator]) -> None:
        self._rows += len(read)
        for one in read:
            key = (one.id, self._labels[one.label].originator)
            before = self.newest.get(key)
            if before is None or one.instant >= before.instant:
                self.newest[key] = self._remembered[one.item] = one
                if before is not None and before.item != one.item:
                    self._remembered.pop(before.item, None)

    def _indicators(self, spans: Sequence[Span]) -> list[Indicator]:
        found = []
        for span in spans:
            for number, obj in enumerate(orjson.loads(b"[%b]" % span.content)):
                item = span.items[32 * number : 32 * number + 32]
                tick = span.first_tick + number
                before = self._remembered.get(item)
                if before is not None:
                    found.append(before._replace(tick=tick, label=span.label))
                else:
                    found.append(_indicator(obj, tick, span.label, item, self._known))
        return found


def seen(newest: Sequence[Indicator], view: View, late: Sequence[LateRun]) -> tuple[Indicator, ...]:
    """Those that a member is shown, with the ticks they have in its view. `late` is by the ticks of placement."""
    found = []
    for one in newest:
        tick = one.tick if view.native(one.label, one.tick) else late_tick(late, one.tick)
        if tick is not None:
            found.append(one._replace(tick=tick))
    return tuple(found)


def _indicator(obj: Mapping[str, Any], tick: int, label: int, item: bytes, known: Warninglists) -> Indicator:
    values, left = values_of(obj, known)
    return Indicator(
        tick=tick,
        label=label,
        item=item,
        id=obj["id"],
        instant=instant(obj.get("modified", UNVERSIONED)),
        name=obj.get("name", ""),
        confidence=obj.get("confidence", 0),
        revoked=obj.get("revoked", False),
        from_us=parse_us(obj["valid_from"]),
        until_us=parse_us(obj["valid_until"]) if "valid_until" in obj else FOREVER,
        values=values,
        left=left,
    )
