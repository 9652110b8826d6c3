"""Pages as they leave: the bytes between the brackets, and what the log says of them; kept while others may ask the same.

Most pulls are alike: the members that may see the same labels walk a collection in the same steps. A sheet holds nothing
of the member that asked for it, so whoever asks the same question under the same grants is given the same bytes, and
only the entry that records it is new.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from exchange.model.page import Page, Row, Spans
from exchange.release.disclosure import Part, Piece, parts
from exchange.release.packing import Coding, Packed, Packing, pack

PACKED_BYTES = 1_400
"""Smaller pages fit into one packet as they are."""

KEEPING_BYTES = 3_000
"""What a sheet takes beside its content, with its question: for one object more than the object, for nothing all there is."""

ASKED_AT_MOST = 20_000
"""Pages of which it is known how often they were asked for: some two megabytes."""

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
    count: int
    first_us: int
    last_us: int
    more: bool
    parts: tuple[Part, ...]

    @property
    def mark(self) -> Hashable:
        """Equal ones hold the same, at the same ticks."""
        return tuple([(part.country, part.pub["items_root"], str(part.ticks)) for part in self.parts])

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


@dataclass(slots=True)
class _Kept:
    sheet: Sheet
    tick: int
    """The hub's last tick when it was made: what may still be appended to a page that is not full."""
    revision: int
    """The store's, when it was made."""
    known: int = 0
    """What `Sheets` counts by how often its like was asked for."""
    packed: dict[Coding, Packed] = field(default_factory=dict)
    packing: set[Coding] = field(default_factory=set)

    @property
    def size(self) -> int:
        return KEEPING_BYTES + len(self.sheet.content) + sum([len(one.data) for one in self.packed.values()])


class Sheets:
    """The sheets asked for lately, as many as fit into `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._asked: OrderedDict[int, int] = OrderedDict()

    def find(self, question: Hashable, last_tick: int, revision: int) -> Sheet | None:
        """The sheet that answers the question still. A full page is not changed by what comes after it; the store's revision
        changes with everything else that could."""
        kept = self._kept.get(question)
        if kept is None or kept.revision != revision or not (kept.sheet.more or kept.tick == last_tick):
            return None
        self._kept.move_to_end(question)
        self._ask(kept.known)
        return kept.sheet

    def keep(self, question: Hashable, sheet: Sheet, last_tick: int, revision: int, words: Hashable = "") -> None:
        """`words`: of the question what its asker said, without what it may see."""
        if len(sheet.content) > self._limit // 8:
            return  # a few giants would push out everything
        before = self._kept.pop(question, None)
        # Whatever was placed or taken out since that the page does not show, or what came under another label: whether it leaves compressed must
        # not tell of that. So what counts is how often this was the answer to these words.
        self._kept[question] = kept = _Kept(sheet, last_tick, revision, hash((words, sheet.mark)))
        self._ask(kept.known)
        if before is not None and before.sheet.content == sheet.content:
            kept.packed = dict(before.packed)
        self._grow(kept.size - (before.size if before else 0))

    async def packed(self, question: Hashable, sheet: Sheet, packing: Packing | None) -> Packed | None:
        """The sheet's content compressed, if it is to be sent so.

        To compress costs more than to send some times over, so it is done for what is asked for again, and kept with it.
        Whoever asks meanwhile is sent the page as it is.
        """
        if packing is None or not sheet.count:
            return None
        coding = packing.coding
        kept = self._kept.get(question)
        if kept is None or kept.sheet is not sheet:
            kept = _Kept(sheet, 0, 0)
        if coding not in kept.packed and (packing.demanded or self._pays(kept, coding)):
            kept.packing.add(coding)
            try:
                made = await asyncio.to_thread(pack, coding, sheet.content)
            finally:
                kept.packing.discard(coding)
            if coding not in kept.packed:
                kept.packed[coding] = made
                if self._kept.get(question) is kept:
                    self._grow(len(made.data))
        return kept.packed.get(coding)

    def _pays(self, kept: _Kept, coding: Coding) -> bool:
        return (
            self._asked.get(kept.known, 0) > 1
            and coding not in kept.packing
            and len(kept.sheet.content) >= PACKED_BYTES
        )

    def _ask(self, known: int) -> None:
        self._asked[known] = self._asked.pop(known, 0) + 1
        if len(self._asked) > ASKED_AT_MOST:
            self._asked.popitem(last=False)

    def _grow(self, size: int) -> None:
        self._size += size
        while self._size > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size
