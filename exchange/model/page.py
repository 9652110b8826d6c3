"""What a reader asks of a collection, and what one page of the answer holds."""

from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Filter:
    """TAXII 2.1, 3.4: the part of a request that decides which versions match. Empty tuples do not filter."""

    added_after_us: int | None = None
    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    versions: tuple[str, ...] = ("last",)
    """"first", "last", "all", or instants (the sortable form of `exchange.model.instant`)."""
    spec_versions: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Of all its words: a request may name some hundred ids."""
        return sum(map(len, (*self.ids, *self.types, *self.versions, *self.spec_versions)))

    def only(self, object_id: str) -> "Filter":
        """The same filter for a single object: on its endpoints no other id or type applies (5.6)."""
        return replace(self, ids=(object_id,), types=())


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in one member's walk of one collection: everything up to and including `tick` was seen."""

    member: str
    collection: str
    filter: Filter
    tick: int


class Row(NamedTuple):
    """One object version as it lies in a collection. `tick` is its `date_added` in microseconds, in the view it is read in."""

    tick: int
    label: int
    id: str
    version: str
    item: bytes
    run: int
    """The tick at which the run begins that holds its bytes: known to the store alone."""
    position: int
    """Its place in that run."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in ascending tick order. `more` says that others match behind the last one."""

    rows: tuple[Row, ...]
    more: bool
    low_us: int
    """The effective lower bound: what an empty page reports as its date-added headers."""


class Span(NamedTuple):
    """Neighbouring versions of one label with their bytes: ticks first_tick, first_tick + 1, … as many as `size`."""

    first_tick: int
    size: int
    label: int
    items: bytes
    """Their item hashes, 32 bytes each."""
    content: bytes
    """Their canonical bytes, joined by commas."""

    @property
    def last_tick(self) -> int:
        return self.first_tick + self.size - 1


@dataclass(frozen=True, slots=True)
class Spans:
    """The same page as bytes: spans in ascending tick order."""

    spans: tuple[Span, ...]
    more: bool
    low_us: int
