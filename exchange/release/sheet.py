"""Pages as they leave: the bytes between the brackets, and what the log says of them; kept while others may ask the same.

Most pulls are alike: the members that may see the same labels walk a collection in the same steps. A sheet holds nothing
of the member that asked for it, so whoever asks the same question under the same grants is given the same bytes, and
only the entry that records it is new. What is compressed is kept so, and not as it was: products that poll take gzip.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from exchange.model.page import Page, Row, Spans
from exchange.release.disclosure import Part, Piece, parts
from exchange.release.packing import Packed, Packing, pack

PACKED_BYTES = 1_400
"""Smaller pages fit into one packet as they are."""

LONG_BYTES = 100_000
"""To compress as much takes a tenth of a millisecond: more is not for the event loop."""

KEEPING_BYTES = 3_000
"""What a sheet takes beside its content, with its question: for one object more than the object, for nothing all there is."""

Write = Callable[[Sequence[Row]], bytes]


@dataclass(frozen=True, slots=True)
class View:
    """What is sent of the rows: "objects", "manifest" or "versions"."""

    name: str
    write: Write | None = None
    """How rows are written, commas between; None for the objects themselves, whose stored bytes are joined."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page. `first_us` and `last_us` are ticks; an empty page has its lower bound there."""

    content: bytes = field(repr=False)
    """Its items, commas between; nothing once they are in `packed`."""
    count: int
    first_us: int
    last_us: int
    more: bool
    parts: tuple[Part, ...]

    packed: Packed | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """In bytes, as it is kept."""
        return KEEPING_BYTES + len(self.content) + (len(self.packed.data) if self.packed else 0)

    async def as_sent(self, packing: Packing | None) -> "Sheet":
        """The sheet, compressed if it is to be sent so: whether it is depends on what is on it and on nothing else."""
        if packing is None or not self.content or (len(self.content) < PACKED_BYTES and not packing.demanded):
            return self
        if len(self.content) < LONG_BYTES:
            packed = pack(packing.coding, self.content)
        else:
            packed = await asyncio.to_thread(pack, packing.coding, self.content)
        return replace(self, content=b"", packed=packed)

    @classmethod
    def empty(cls, low_us: int) -> "Sheet":
        return cls(b"", 0, low_us, low_us, False, ())

    @classmethod
    def of_rows(cls, page: Page, write: Write, countries: Mapping[int, str]) -> "Sheet":
        """`countries` maps label ids to the originators' countries."""
        if not page.rows:
            return cls.empty(page.low_us)
        pieces = [Piece(countries[row.label], row.tick, 1, row.item) for row in page.rows]
        return cls._of(write(page.rows), pieces, page.more)

    @classmethod
    def of_spans(cls, found: Spans, countries: Mapping[int, str]) -> "Sheet":
        """The same for objects. Whatever was signed leaves as it came: the stored bytes, joined."""
        if not found.spans:
            return cls.empty(found.low_us)
        content = b",".join([span.content for span in found.spans])
        pieces = [Piece(countries[span.label], span.first_tick, span.size, span.items) for span in found.spans]
        return cls._of(content, pieces, found.more)

    @classmethod
    def _of(cls, content: bytes, pieces: Sequence[Piece], more: bool) -> "Sheet":
        last = pieces[-1].last_tick
        return cls(content, sum([one.size for one in pieces]), pieces[0].first_tick, last, more, parts(pieces))


@dataclass(frozen=True, slots=True)
class _Kept:
    sheet: Sheet
    tick: int
    """The hub's last tick when it was made: what may still be appended to a page that is not full."""
    revision: int
    """The store's, when it was made."""


class Sheets:
    """The sheets asked for lately, as they were sent: as many as fit into `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._making: dict[Hashable, asyncio.Event] = {}

    async def get(
        self, question: Hashable, last_tick: int, revision: int, make: Callable[[], Awaitable[Sheet]]
    ) -> Sheet:
        """The sheet that is kept, or one made now: once for all who ask for the same at the same time. Raises what `make` does."""
        asked = (question, last_tick, revision)
        kept = self.find(*asked)
        if kept is None and asked in self._making:
            await self._making[asked].wait()
            kept = self.find(*asked)  # none if that failed, was given up or is not kept: then each makes its own
        if kept is not None:
            return kept
        self._making[asked] = done = asyncio.Event()
        try:
            sheet = await make()
            self.keep(question, sheet, last_tick, revision)
        finally:
            done.set()
            if self._making.get(asked) is done:
                del self._making[asked]
        return sheet

    def find(self, question: Hashable, last_tick: int, revision: int) -> Sheet | None:
        """The sheet that answers the question still. A full page is not changed by what comes after it; the store's revision
        changes with everything else that could."""
        kept = self._kept.get(question)
        if kept is None or kept.revision != revision or not (kept.sheet.more or kept.tick == last_tick):
            return None
        self._kept.move_to_end(question)
        return kept.sheet

    def keep(self, question: Hashable, sheet: Sheet, last_tick: int, revision: int) -> None:
        if sheet.size > self._limit // 8:
            return  # a few giants would push out everything
        before = self._kept.pop(question, None)
        self._kept[question] = _Kept(sheet, last_tick, revision)
        self._size += sheet.size - (before.sheet.size if before else 0)
        while self._size > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.sheet.size
