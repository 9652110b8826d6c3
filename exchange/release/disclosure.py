"""What was shown to whom, as ledger entries: one per page and log, and one a minute for polls that found nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from exchange.errors import Unavailable
from exchange.ledger.entry import Entry, national, route
from exchange.ledger.merkle import root
from exchange.model.member import Collection
from exchange.rules import Caller
from exchange.times import as_text


class Piece(NamedTuple):
    """Neighbouring rows of a page with one originating country: ticks from `first_tick` on, item hashes of 32 bytes."""

    country: str
    first_tick: int
    size: int
    items: bytes

    @property
    def last_tick(self) -> int:
        return self.first_tick + self.size - 1


@dataclass(frozen=True, slots=True)
class Part:
    """What a page gives of one originating country: what its `release` entry says, whoever asked."""

    country: str
    pub: Mapping[str, Any]
    ticks: list[list[int]]


def parts(pieces: Sequence[Piece]) -> tuple[Part, ...]:
    """The parts of a page, by country.

    `items_root` is the RFC 6962 root over the part's item lines, so that a single object's release can be proved.
    """
    by_country: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_country.setdefault(piece.country, []).append(piece)
    return tuple(_part(country, part) for country, part in sorted(by_country.items()))


def _part(country: str, pieces: Sequence[Piece]) -> Part:
    items = b"".join([piece.items for piece in pieces])
    pub = {
        "first": as_text(pieces[0].first_tick),
        "last": as_text(pieces[-1].last_tick),
        "count": len(items) // 32,
        "items_root": root([items[n : n + 32] for n in range(0, len(items), 32)]).hex(),
    }
    return Part(country, pub, tick_runs(pieces))


def first_abroad(caller: Caller, given: Sequence[Part]) -> int | None:
    """The tick of the first row that the border lies before."""
    return min((part.ticks[0][0] for part in given if part.country != caller.member.country), default=None)


def border_closed() -> Unavailable:
    """What is answered for what would cross while a country's witnesses are silent (ledger design, 2.6)."""
    return Unavailable(
        "The witnesses of one country are silent, so nothing crosses the border now. Domestic exchange goes on. Try again later.",
        "Los testigos de un país no responden, por lo que nada cruza la frontera por ahora. El intercambio nacional continúa. Intente más tarde.",
        code="border-closed",
        retry_after_seconds=10,
    )  # fmt: skip


def release_entries(
    caller: Caller, collection: Collection, kind: str, given: Sequence[Part], **private: str
) -> tuple[Entry, ...]:
    """One `release` entry for each log that a page touches.

    A page that mixes own and foreign objects gives two entries with the same request id. The private part lists the
    ticks, which name the rows, and what else is given as `private`.
    """
    return tuple(
        Entry(
            log=route(caller.member.country, (part.country,)),
            t="release",
            actor=caller.actor,
            on=f"coll:{collection.id}",
            pub={"kind": kind, **part.pub},
            private={**caller.private, **private, "ticks": part.ticks},
        )
        for part in sorted(given, key=lambda part: part.country != caller.member.country)
    )


def denial(caller: Caller, collection: Collection, code: str) -> Entry:
    """A `deny` entry, in the log of the caller's own country: what was asked and not answered, and why."""
    on, pub = f"coll:{collection.id}", {"code": code, "resource": "collection"}
    return Entry(national(caller.member.country), "deny", caller.actor, on, pub, out="refused", private=caller.private)


def tick_runs(pieces: Sequence[Piece]) -> list[list[int]]:
    """The rows' ticks as [first, count] runs of consecutive microseconds: a batch is one run."""
    runs: list[list[int]] = []
    for piece in pieces:
        if runs and piece.first_tick == sum(runs[-1]):
            runs[-1][1] += piece.size
        else:
            runs.append([piece.first_tick, piece.size])
    return runs


@dataclass(slots=True)
class PollSums:
    """Polls that found nothing write no entry of their own; they are counted per account and collection until flushed."""

    _counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _since_us: int = 0

    def count(self, caller: Caller, collection: Collection, now_us: int) -> None:
        self._since_us = self._since_us or now_us
        self._counts[national(caller.member.country), caller.actor, collection.id] += 1

    def drain(self, now_us: int) -> tuple[Entry, ...]:
        """The entries for what was counted so far; counting starts anew."""
        entries = tuple(
            Entry(
                log=log,
                t="poll.sum",
                actor=who,
                on=f"coll:{collection}",
                pub={"count": count, "first": as_text(self._since_us), "last": as_text(now_us)},
            )
            for (log, who, collection), count in sorted(self._counts.items())
        )
        self._counts.clear()
        self._since_us = 0
        return entries
