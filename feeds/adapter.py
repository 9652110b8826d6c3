"""The contract of a feed adapter: where to read, what a record is, and how one record becomes STIX. Nothing else.

An adapter is one file of at most some 150 lines. The runner owns time, retries, state, versions, batches, signing and
submission. Others add adapters as entry points of the group `puente.feeds`: a name, and a class that is called with the
operator's identity id and the source.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from io import BytesIO
from typing import Any, BinaryIO, Protocol

from exchange.errors import NotFound, Text
from feeds.catalogue import Source

GROUP = "puente.feeds"

Cursor = Mapping[str, str]
"""What an adapter wants to be given next time: validators, a date, a token."""

AGAIN = "again"
"""In a cursor: read the source even if it did not change, for what it lists is to be renewed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One document of a fetch. `open` gives its bytes, unpacked; it may raise FeedFault, and is called in a thread."""

    name: str
    open: Callable[[], BinaryIO] = field(repr=False)

    @classmethod
    def of(cls, name: str, data: bytes) -> "Part":
        return cls(name, lambda: BytesIO(data))

    def read(self) -> bytes:
        """All of it, for what is no longer than fits. Raises FeedFault."""
        with self.open() as stream:
            return stream.read()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one fetch brought. `cursor` is remembered once all of it is settled; with `more`, another fetch follows."""

    url: str
    parts: tuple[Part, ...]
    cursor: Cursor
    more: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One thing the source speaks of. `key` is its own name for it, `updated` when it says it changed (RFC 3339)."""

    key: str
    value: Any = field(repr=False)
    updated: str = ""
    epoch: int = 0
    """Set by the runner: rises when something that was withdrawn is listed again, for a revoked id cannot come back."""
    raw: bytes = field(default=b"", repr=False)
    """What it was read from, when that is at hand: a record is mapped again only when this, or else `value`, changed.
    Without it `value` is made of JSON's types."""
    lifetime_seconds: int = 0
    """For how long its indicators hold while it stays listed, for sources that give no times; 0: the objects say."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not brought in, and why. `count` is the number of objects it stands for.

    With the `key` of a record it says that the record is listed all the same; without one nobody knows what is missing.
    """

    name: str
    code: str
    text: Text
    count: int = 1
    key: str = ""


class Adapter(Protocol):
    converts: bool
    """True: it makes the operator's own objects of a foreign format, and the runner dates their versions.
    False: it passes on others' STIX objects, which nobody may change."""
    full_state: bool
    """True: what is no longer in a whole fetch has vanished, and the source's `vanished` says what becomes of it. Only
    for adapters that convert."""
    edition: int
    """Of the mapping of an adapter that converts: raised when it changes, so that what did not change is mapped anew."""

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        """Read the source; None when nothing changed since `cursor` was remembered. Raises FeedFault."""

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        """Its records, one by one; what cannot be read is told as Skipped. Raises FeedFault when none can be."""

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        """The STIX objects of one record: a pure mapping, the same objects for the same record. Raises ValueError,
        KeyError or TypeError for a record that is not what the source says it publishes.

        An object without `created` is given the time at which it was first seen, an indicator without `valid_from` too."""


Factory = Callable[[str, Source], Adapter]


def load_adapter(source: Source, operator: str) -> Adapter:
    """The adapter that the source names, made for the member with this identity id. Raises NotFound."""
    for point in entry_points(group=GROUP, name=source.adapter):
        factory: Factory = point.load()
        return factory(operator, source)
    raise NotFound(
        f"There is no feed adapter {source.adapter!r} installed.",
        f"No hay un adaptador de fuentes {source.adapter!r} instalado.",
        code="feed-adapter",
        field=source.name,
    )
