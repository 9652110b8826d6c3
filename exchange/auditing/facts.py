"""Entries as the questions read them: the leaves of several logs decoded and put in the one order they were written in."""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson

from exchange.ledger.generations import kind, number
from exchange.store.answers import Opening

BUNDLE = 256
"""Leaves read at a time: some 3 ms of work between two turns of the event loop."""

_KINDS = ("us", "mx", "both")
"""Entries of one act have one time. A submission, in its country's own log, is told before its publication."""


class Leaves(Protocol):
    """Where entries come from. Openings that this auditor may not see, or that are gone, are left out."""

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]: ...

    async def openings(self, log: str, start: int, end: int) -> list[Opening]: ...


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry. Every value may be missing or odd in a log of another version of the hub: nothing here insists."""

    log: str
    index: int
    t: str
    time: str
    req: str
    actor: str
    on: str
    out: str
    pol: str
    pub: Mapping[str, Any]
    private: Mapping[str, Any] | None
    """What the commitment opens to; None when there is none to see."""
    sealed: bool
    """Whether the leaf commits to a private part."""
    bound: bool = True
    """Whether it committed to what is in `private`; not so to a list from a pack's `pages`, which its root must prove."""

    @classmethod
    def of(cls, log: str, index: int, data: bytes, opening: Opening | None = None) -> "Fact":
        leaf = orjson.loads(data)
        return cls(
            log, index, leaf["t"], leaf["time"], leaf["req"], leaf["actor"], leaf["on"], leaf["out"], leaf["pol"],
            leaf["pub"], orjson.loads(opening.payload) if opening else None, "c" in leaf,
            opening is None or bool(opening.salt),
        )  # fmt: skip

    @property
    def kind(self) -> str:
        """Whose log it is in, of whatever generation."""
        return kind(self.log)

    @property
    def member(self) -> str:
        """The organisation that acted; "hub" for the hub itself and its operators."""
        words = self.actor.split(":")
        return words[1] if len(words) > 1 and words[0] in ("us", "mx") else "hub"

    @property
    def collection(self) -> str:
        return self.on[5:] if self.on.startswith("coll:") else ""

    def text(self, name: str) -> str:
        """A value of the clear part as people read it; "" when it is not there."""
        return plain(self.pub.get(name, ""))

    @property
    def count(self) -> int:
        """How many things the entry speaks of."""
        found = self.pub.get("count", 1)
        return found if isinstance(found, int) else 1

    @property
    def agreement(self) -> int:
        """The adoption number it was written under; 0 for none."""
        number = self.pol.rpartition("@")[2]
        return int(number) if number.isdecimal() else 0


def plain(value: Any) -> str:
    """A JSON value in a cell."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def tick_of(value: object) -> int:
    """A leaf's time in microseconds: what `times.parse_us` says of it, ten times as fast. Raises ValueError."""
    if not (isinstance(value, str) and value.endswith("Z")):
        raise ValueError("not a leaf's time")
    return (datetime.fromisoformat(value) - _EPOCH) // _MICROSECOND


class _Reader:
    def __init__(self, source: Leaves, log: str, size: int, *, private: bool) -> None:
        self._source, self._log, self._size, self._private = source, log, size, private
        self._read = 0
        self.facts: deque[Fact] = deque()

    async def fill(self) -> None:
        start, end = self._read, min(self._read + BUNDLE, self._size)
        if start >= end:
            return
        leaves = await self._source.leaves(self._log, start, end)
        if len(leaves) != end - start:
            raise LookupError(f"log {self._log} has {len(leaves)} of the leaves {start} to {end}")
        found = await self._source.openings(self._log, start, end) if self._private else []
        openings = {one.index: one for one in found}
        self._read = end
        self.facts.extend(
            Fact.of(self._log, index, data, openings.get(index)) for index, data in enumerate(leaves, start)
        )


async def walk(source: Leaves, sizes: Mapping[str, int], *, private: bool) -> AsyncIterator[Fact]:
    """The first `sizes` leaves of each log, merged by time; within a log they keep its order.

    Acts that were committed together have one time, and a page may have left in the same microsecond in which its
    objects were placed: of one time, what was placed comes first.
    """
    logs = sorted(sizes, key=lambda log: (_KINDS.index(kind(log)), number(log)))
    readers = [_Reader(source, log, sizes[log], private=private) for log in logs]
    for one in readers:
        await one.fill()
    together: list[Fact] = []
    while ready := [one for one in readers if one.facts]:
        first = min(ready, key=lambda one: one.facts[0].time)
        fact = first.facts.popleft()
        if together and together[0].time != fact.time:
            for known in _placed_first(together):
                yield known
            together = []
        together.append(fact)
        if not first.facts:
            await first.fill()
    for known in _placed_first(together):
        yield known


def _placed_first(together: list[Fact]) -> list[Fact]:
    return together if len(together) == 1 else sorted(together, key=lambda fact: fact.t != "publish")
