"""What a run is, for every engine: the bodies of up to RUN_OBJECTS neighbours of one label, joined once when placed.

A page is a few slices of runs instead of a thousand rows. What a run holds never changes, except that an object taken
out leaves a hole. `odd` says that some of a run's rows cannot be taken unseen: one has a rival version, or went; then,
and for every filter but the usual one, the rows are asked first and cut out one by one.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from exchange.model.page import Filter, Row, Span
from exchange.model.stix import StixObject
from exchange.model.view import EVER, View, Window

RUN_OBJECTS = 64
"""Enough that a page is made of few pieces, few enough that one object is cut out of 100 kB."""
RUN_BYTES = 500_000


class NewRun(NamedTuple):
    """Neighbours to be placed: same label, consecutive ticks from `first_tick`."""

    collection: str
    first_tick: int
    label: int
    odd: int
    objects: Sequence[StixObject]

    @property
    def columns(self) -> tuple[int, str, int, int, int, bytes, bytes, bytes]:
        """first_tick, collection, label, count, odd, ends, items, bodies."""
        content = Run.of([obj.body for obj in self.objects], [obj.item for obj in self.objects])
        return (self.first_tick, self.collection, self.label, len(self.objects), self.odd, *content)


class _Bodied(Protocol):
    @property
    def body(self) -> bytes: ...


Bodied = TypeVar("Bodied", bound=_Bodied)


def cut(objects: Sequence[Bodied]) -> Iterator[Sequence[Bodied]]:
    """Objects of one label, cut into what becomes one run each."""
    start = size = 0
    for end, one in enumerate(objects):
        length = len(one.body)
        if end - start == RUN_OBJECTS or (end > start and size + length > RUN_BYTES):
            yield objects[start:end]
            start, size = end, 0
        size += length
    yield objects[start:]


def _ends(bodies: Sequence[bytes]) -> list[int]:
    """Where each body ends in the joined form, before its comma."""
    ends, position = [], -1
    for body in bodies:
        position += 1 + len(body)
        ends.append(position)
    return ends


def _packed(ends: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(ends)}I", *ends)


def extent(ends: bytes, start: int, stop: int) -> tuple[int, int]:
    """Where in the joined form the bodies of rows start..stop-1 begin and end, with the commas between them."""
    return _end(ends, start) + 1 if start else 0, _end(ends, stop)


def _end(ends: bytes, count: int) -> int:
    return int.from_bytes(ends[4 * count - 4 : 4 * count], "little")


Content = tuple[bytes, bytes, bytes]
"""`ends`, `items` and `bodies` of a run."""


class Run(NamedTuple):
    """A run as it was stored, or that part of its bodies which was read."""

    ends: bytes
    items: bytes
    bodies: bytes
    skipped: int = 0
    """How many bytes of the joined form stand before those in `bodies`."""

    def content(self, start: int, stop: int) -> bytes:
        """The bodies of rows start..stop-1, commas between them."""
        begin, end = extent(self.ends, start, stop)
        return self.bodies[begin - self.skipped : end - self.skipped]

    def hashes(self, start: int, stop: int) -> bytes:
        return self.items[32 * start : 32 * stop]

    @classmethod
    def of(cls, bodies: Sequence[bytes], items: Sequence[bytes]) -> "Content":
        """What is kept of a run that is made of these."""
        return _packed(_ends(bodies)), b"".join(items), b",".join(bodies)

    def part(self, start: int, stop: int) -> "Content":
        """The same of one that is made of these rows alone."""
        return self.of([self.content(n, n + 1) for n in range(start, stop)], [self.hashes(start, stop)])

    def without(self, position: int) -> tuple[bytes, bytes]:
        """`ends` and `bodies` with one row's bytes gone: its place stays, empty."""
        bodies = [self.content(n, n + 1) for n in range(len(self.ends) // 4)]
        bodies[position] = b""
        return _packed(_ends(bodies)), b",".join(bodies)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What `Store.page` and `Store.spans` are asked."""

    collection: str
    labels: tuple[int, ...]
    match: Filter
    after_us: int
    limit: int
    until_us: int
    view: View | None = None

    def shows(self, label: int, run: int) -> bool:
        """Whether a run is shown where it was placed."""
        return self.view is None or self.view.native(label, run)

    @property
    def begins(self) -> int:
        """Nothing that was placed up to here is shown where it was placed."""
        if self.view is None:
            return 0
        if not self.windows.keys() >= set(self.labels):
            return self.view.floor
        return max(self.view.floor, min([min(shown).after for shown in self.alike if shown], default=EVER))

    @property
    def covering_us(self) -> int:
        """Versions that came later cover none of before."""
        return EVER if self.view is None else self.view.until_us

    @property
    def windows(self) -> Mapping[int, tuple[Window, ...]]:
        """Of the labels that are not simply shown where they were placed."""
        return {} if self.view is None else self.view.windows

    @property
    def alike(self) -> dict[tuple[Window, ...], list[int]]:
        """The allowed labels among those, by their windows: what opened in one step has the same."""
        found: dict[tuple[Window, ...], list[int]] = {}
        allowed = set(self.labels)
        for label, shown in self.windows.items():
            if label in allowed:
                found.setdefault(shown, []).append(label)
        return found

    @property
    def low_us(self) -> int:
        """Ticks up to here are not asked for."""
        return max(self.match.added_after_us or 0, self.after_us)


MANY_LABELS = 200
"""To seek in so many ranges costs more than to look first how little lies behind a place."""


def is_usual(match: Filter) -> bool:
    """Whether a run without oddities answers with all its rows: no filter, and all versions or the latest."""
    latest = match.versions == ("last",) or "all" in match.versions
    return latest and not match.ids and not match.types and not match.spec_versions


def neighbours(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Rows in tick order, cut into pieces that lie side by side in one run."""
    start = 0
    for n in range(1, len(rows) + 1):
        if n == len(rows) or rows[n].position != rows[n - 1].position + 1 or rows[n].run != rows[start].run:
            yield rows[start:n]
            start = n


class RunPiece(NamedTuple):
    """Rows start..stop-1 of a run, in the view that is asked from `tick` on."""

    run: int
    start: int
    stop: int
    label: int
    tick: int

    def of(self, run: Run) -> Span:
        """With the bytes."""
        items, content = run.hashes(self.start, self.stop), run.content(self.start, self.stop)
        return Span(self.tick, self.stop - self.start, self.label, items, content)


def pieces_of(found: Sequence[Row]) -> list[RunPiece]:
    """Rows in tick order: neighbours of one run in one piece."""
    return [
        RunPiece(part[0].run, part[0].position, part[-1].position + 1, part[0].label, part[0].tick)
        for part in neighbours(found)
    ]


class Head(NamedTuple):
    """A run as it lies in the view that is asked, without its bytes."""

    tick: int
    """Of its first object."""
    size: int
    label: int
    odd: int
    run: int
    """The tick it was placed at."""

    @property
    def last_tick(self) -> int:
        return self.tick + self.size - 1

    def within(self, low: int, until: int) -> tuple[int, int]:
        """Which of its rows, from and to, have low < tick <= until."""
        return max(0, low + 1 - self.tick), min(self.size, until + 1 - self.tick)

    def seen(self, row: Row) -> Row:
        """A row of it, asked for by the tick it was placed at, with the tick it has in the view."""
        return row._replace(tick=row.tick - self.run + self.tick)
