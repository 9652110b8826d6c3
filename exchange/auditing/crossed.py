"""What crossed the border after it was published at home, by name.

Its publication is in its own country's log, which auditors of the other may not read; the pages of `both` that gave it afterwards name its
place alone. So whoever hands these pages to them, in a pack or in an answer, names all objects of the first that gave it. Such a list proves
itself: it hashes to the `items_root` of the page's entry, so it can tell of nothing but what their own members were given. It is put together
from the private parts of publications: what was blocked or erased of those is not told here either.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson

from exchange.auditing.facts import Leaves, tick_of
from exchange.ledger.generations import kind
from exchange.ledger.merkle import root
from exchange.ledger.opened import Page, places
from exchange.model.stix import item_hash
from exchange.store.answers import Opening, Publication

NAMED_AT_MOST = 8_000
"""Objects of one list, which has to be read as one line (OPENING_LIMIT_BYTES). A page has fewer; a block list may have more, and names none."""

Line = tuple[str, str, str]
"""id, version and SHA-256 of an object."""


class Private(Leaves, Protocol):
    """A store, past all that hides parts of it from an auditor."""

    async def publications(self, ticks: Sequence[int]) -> list[list[Publication]]: ...


class Crossed:
    """Follows the entries of `both` in their order, as whoever may read the logs of some kinds does."""

    def __init__(self, store: Private, kinds: Collection[str]) -> None:
        self._store = store
        self._kinds = kinds
        self._told = _Ticks()
        """Where that was placed which publications name to the reader."""
        self._named: dict[str, _Ticks] = defaultdict(_Ticks)
        """And what pages do, by log: generations of it are not always read one after the other."""
        self._late = _Late()

    async def page(self, log: str, index: int, private: Mapping[str, Any]) -> Page | None:
        """The objects of a page, where it gives something that nothing before it names. `private` is what an entry opens to."""
        if kind(log) in self._kinds:
            self._publish(private)
        ticks = private.get("ticks")
        if ticks is None or kind(log) != "both" or self._all_told(log, ticks):
            return None
        if sum(size for _, size in ticks) > NAMED_AT_MOST:
            return None
        found = await self._find([tick for first, size in ticks for tick in range(first, first + size)])
        if found is None or self._all_told(log, ticks):
            return None
        [leaf] = await self._store.leaves(log, index, index + 1)
        items = [item_hash(name, version, bytes.fromhex(digest)) for name, version, digest in found.values()]
        if root(items).hex() != orjson.loads(leaf)["pub"].get("items_root"):
            return None
        for first, size in ticks:
            for native, part in self._late.native(first, size):
                self._named[log].add(native, part)
        return Page(index, {"items": [" ".join((str(tick), *line)) for tick, line in found.items()]})

    def _publish(self, private: Mapping[str, Any]) -> None:
        for first, size in places(private.get("items", ())):
            self._told.add(first, size)
        self._late.add(private.get("runs", ()))

    def _all_told(self, log: str, ticks: Iterable[Sequence[int]]) -> bool:
        natives = (run for first, size in ticks for run in self._late.native(first, size))
        untold = (gap for run in natives for gap in self._told.lacking(*run))
        return not any(True for gap in untold for _ in self._named[log].lacking(*gap))

    async def _find(self, ticks: Sequence[int]) -> dict[int, Line] | None:
        """What lies at each; None where that cannot be told of all."""
        lines: dict[int, Line] = {}
        seen: set[tuple[str, int]] = set()
        while True:
            natives = [native for tick in ticks for native, _ in self._late.native(tick, 1)]
            missing = set(natives) - lines.keys()
            if not missing:
                return {tick: lines[native] for tick, native in zip(ticks, natives, strict=True)}
            if not await self._look(missing, lines, seen):
                return None

    async def _look(self, missing: Collection[int], lines: dict[int, Line], seen: set[tuple[str, int]]) -> bool:
        """Read the publications of some of the ticks; whether there was one that was not read before."""
        starts = sorted(tick for tick in missing if tick - 1 not in missing)
        before = len(seen)
        for tick, near in zip(starts, await self._store.publications(starts), strict=True):
            for log, index, leaf in near:
                if (log, index) not in seen and tick <= tick_of(orjson.loads(leaf)["pub"]["last"]):
                    seen.add((log, index))
                    for one in await self._store.openings(log, index, index + 1):
                        self._read(log, orjson.loads(one.payload), missing, lines)
        return len(seen) > before

    def _read(self, log: str, private: Mapping[str, Any], wanted: Collection[int], lines: dict[int, Line]) -> None:
        for line in private.get("items", ()):
            tick, name, version, digest = line.split(" ")
            if int(tick) in wanted:
                lines[int(tick)] = (name, version, digest)
        if kind(log) in self._kinds:
            self._publish(private)


class CrossedLeaves:
    """A hub's logs, as far as they are given, with the names of what crossed later."""

    def __init__(self, store: Private, logs: Iterable[str]) -> None:
        self._store = store
        self._crossed = Crossed(store, {kind(log) for log in logs})

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return await self._store.leaves(log, start, end)

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        found = []
        for one in await self._store.openings(log, start, end):
            page = await self._crossed.page(log, one.index, orjson.loads(one.payload))
            found.append(one if page is None else page.beside(one))
        return found


class _Ticks:
    """Many ticks, as few runs."""

    def __init__(self) -> None:
        self._first, self._end = array("q"), array("q")

    def add(self, first: int, size: int) -> None:
        end = first + size
        low, high = bisect_left(self._end, first), bisect_right(self._first, end)
        if low < high:  # those that it meets become one with it
            first, end = min(first, self._first[low]), max(end, self._end[high - 1])
        self._first[low:high], self._end[low:high] = array("q", [first]), array("q", [end])

    def lacking(self, first: int, size: int) -> Iterator[tuple[int, int]]:
        """What of some neighbours is not among them."""
        end, place = first + size, bisect_right(self._end, first)
        while first < end:
            known = self._first[place] if place < len(self._first) else end
            if first < known:
                yield first, min(known, end) - first
            first = self._end[place] if known < end else end
            place += 1


class _Late:
    """Where that was placed which stands at the ticks of late releases."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int, int]] = []

    def add(self, runs: Iterable[Sequence[int]]) -> None:
        for tick, native, size in runs:
            if not self._runs or (tick, native, size) > self._runs[-1]:
                self._runs.append((tick, native, size))
            elif (tick, native, size) != self._runs[bisect_right(self._runs, (tick, native, size)) - 1]:
                insort(self._runs, (tick, native, size))

    def native(self, first: int, size: int) -> Iterable[tuple[int, int]]:
        """Where neighbours were placed, as runs."""
        while size > 0:
            place = bisect_left(self._runs, (first + 1,))
            part, native = size, first
            if place and first < sum(self._runs[place - 1][::2]):
                tick, run, count = self._runs[place - 1]
                native, part = run + first - tick, min(size, tick + count - first)
            elif place < len(self._runs):
                part = min(size, self._runs[place][0] - first)
            yield native, part
            first, size = first + part, size - part
