"""What an answer consists of: rows that each name the entry they rest on; and what narrows them, which never adds any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappush, heappushpop

from exchange.auditing.facts import Fact
from exchange.errors import Malformed, Text
from exchange.ledger.generations import kind
from exchange.times import as_text, parse_us

PLACE = ("time", "log", "entry")
"""The columns of every row: anybody who has the log finds the entry again."""


@dataclass(frozen=True, slots=True)
class Row:
    time: str
    log: str
    entry: int
    member: str
    """Whom it is about, which is not always who acted."""
    collection: str
    cells: Mapping[str, str]

    @classmethod
    def of(cls, fact: Fact, cells: Mapping[str, str], *, member: str = "") -> "Row":
        return cls(fact.time, fact.log, fact.index, member or fact.member, fact.collection, cells)

    def told(self, columns: Sequence[str], collections: Mapping[str, str]) -> dict[str, str | int]:
        """The row as an answer gives it. Collections are called by their alias where the log tells it."""
        common = {"member": self.member, "collection": collections.get(self.collection, self.collection)}
        place: dict[str, str | int] = {"time": self.time, "log": self.log, "entry": self.entry}
        return place | {name: self.cells.get(name, common.get(name, "")) for name in columns}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question with all that narrows it. Times are texts of six fraction digits, so that they compare as texts."""

    question: str
    object: str = ""
    to: str = ""
    since: str = ""
    until: str = ""
    log: str = ""
    member: str = ""
    collection: str = ""
    sample: int = 0
    """So many rows at most; 0 for all."""
    seed: str = ""

    @property
    def told(self) -> dict[str, str | int]:
        """What was given, for the answer's head and the entry about the asking."""
        names = ("object", "to", "since", "until", "log", "member", "collection", "sample", "seed")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def admits(self, row: Row, collections: Mapping[str, str]) -> bool:
        """Whether a row passes every filter. since <= time < until."""
        return (
            (not self.since or row.time >= self.since)
            and (not self.until or row.time < self.until)
            and self.log in ("", row.log, kind(row.log))
            and self.member in ("", row.member)
            and self.collection in ("", row.collection, collections.get(row.collection))
        )


def moment(text: str, field: str) -> str:
    """An RFC 3339 time in UTC, in the form that leaves have. Raises Malformed."""
    try:
        return as_text(parse_us(text))
    except (ValueError, OverflowError):
        raise Malformed(
            f"{field} takes a time such as 2026-11-24T12:00:00Z.",
            f"{field} admite una fecha y hora como 2026-11-24T12:00:00Z.",
            code="query-malformed",
            field=field,
        ) from None


class Sample:
    """`size` rows drawn by the seed alone: those whose SHA-256 of "seed LF log LF entry LF n" is smallest.

    `n` is the row's number in the whole answer, from 0. Whoever asks the same of the same logs with the same seed draws
    the same rows, on any machine; and a seed agreed upon before the copy was taken cannot be chosen to please.
    """

    def __init__(self, size: int, seed: str) -> None:
        self._size = size
        self._seed = seed
        self._drawn: list[tuple[int, int, Row]] = []

    def offer(self, number: int, row: Row) -> None:
        digest = sha256(f"{self._seed}\n{row.log}\n{row.entry}\n{number}".encode()).digest()
        lot = (-int.from_bytes(digest), number, row)  # the heap's first is the largest digest drawn so far
        if len(self._drawn) < self._size:
            heappush(self._drawn, lot)
        else:
            heappushpop(self._drawn, lot)

    @property
    def rows(self) -> list[Row]:
        """In the order of the whole answer."""
        return [row for _, _, row in sorted(self._drawn, key=lambda lot: lot[1])]


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence that belongs to an answer: what could not be told, or what the rows add up to."""

    code: str
    text: Text

    @property
    def told(self) -> dict[str, str]:
        return {"code": self.code, "en": self.text.en, "es": self.text.es}
