"""What was shown to whom and what was not, as ledger entries: one per page and log, and one a minute for what comes too often."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from exchange.errors import Unavailable
from exchange.ledger.entry import HUB, Entry, label_name, national, route
from exchange.ledger.merkle import HASH_BYTES, root_of_joined, root_of_lines
from exchange.model.member import Collection
from exchange.rules import Caller
from exchange.store.answers import LabelRow
from exchange.store.graph import alone
from exchange.times import as_text

K = TypeVar("K")

ROOTS_KEPT = 4096
"""Of as many pages, in some 800 kB: so four million objects pulled in full are hashed once, by whomever and however often they are
pulled. A page's root is a sixth of what a page costs that is read from the disk."""

SHORT_ITEMS = 20 * HASH_BYTES
"""What is no longer than this is hashed anew: it is the answer to a question after single objects, which push nothing out."""

_roots: OrderedDict[bytes, str] = OrderedDict()
"""By the SHA-256 of the items: it is a page's, wherever the page came from."""


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
        "count": len(items) // HASH_BYTES,
        "items_root": root_of_joined(items).hex() if len(items) <= SHORT_ITEMS else _known_root(items),
    }
    return Part(country, pub, tick_runs(pieces))


def _known_root(items: bytes) -> str:
    digest = sha256(items).digest()
    known = _roots.get(digest)
    if known is None:
        known = _roots[digest] = root_of_joined(items).hex()
        if len(_roots) > ROOTS_KEPT:
            _roots.popitem(last=False)
    return known


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


def tick_runs(pieces: Sequence[Piece]) -> list[list[int]]:
    """The rows' ticks as [first, count] runs of consecutive microseconds: a batch is one run."""
    runs: list[list[int]] = []
    for piece in pieces:
        if runs and piece.first_tick == sum(runs[-1]):
            runs[-1][1] += piece.size
        else:
            runs.append([piece.first_tick, piece.size])
    return runs


class _Sum(NamedTuple):
    """What is counted together."""

    log: str
    t: str
    actor: str
    on: str
    pub: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Counted:
    count: int
    first_us: int
    last_us: int


Counts = dict[_Sum, _Counted]


class Given(NamedTuple):
    """A member was given something of a country in a collection: its own country is another."""

    member: str
    collection: str
    country: str


class Sums:
    """What comes too often for an entry each is counted, per account and thing, until it is flushed: once a minute."""

    def __init__(self) -> None:
        self._counted: Counts = {}
        self._told: set[_Sum] = set()
        self._given: dict[Given, _Counted] = {}
        self._withheld: dict[Given, str] = {}
        """What was last written to have been withheld beside it: the same is written once."""

    def poll(self, caller: Caller, collection: Collection, now_us: int) -> None:
        """A poll that found nothing."""
        log = national(caller.member.country)
        _add(self._counted, _Sum(log, "poll.sum", caller.actor, f"coll:{collection.id}", ()), now_us)

    def given(self, caller: Caller, collection: Collection, given: Sequence[Part], now_us: int) -> None:
        """A page or list that leaves: what else of these countries there was is looked at when the minute is over."""
        for part in given:
            if part.country != caller.member.country:
                _add(self._given, Given(caller.member.slug, collection.id, part.country), now_us)

    def withheld(self, given: Given, counted: _Counted, rows: Sequence[LabelRow]) -> Entry | None:
        """A `withhold` entry in the log of the owners' country, of what the labels in `rows` held; None for what was said
        before, and for nothing."""
        lines = _lines(rows)
        digest = root_of_lines([" ".join(map(str, line)) for line in lines]).hex()
        if not lines or self._withheld.get(given) == digest:
            return None
        self._withheld[given] = digest
        pub = {
            "to": given.member,
            "count": sum(row.placements for row in rows),
            "root": digest,
            "pages": counted.count,
            "first": as_text(counted.first_us),
            "last": as_text(counted.last_us),
        }
        return Entry(
            national(given.country), "withhold", HUB, f"coll:{given.collection}", pub, private={"labels": lines}
        )

    def take_given(self) -> dict[Given, _Counted]:
        given, self._given = self._given, {}
        return given

    def stranger(self, log: str, actor: str, code: str, now_us: int) -> None:
        """A credential that is not valid."""
        _add(self._counted, _Sum(log, "auth.fail.sum", actor, "hub", (("code", code),)), now_us)

    def denial(self, caller: Caller, on: str, code: str, resource: str, now_us: int, **private: str) -> Entry | None:
        """A refusal: an entry for the first of its kind since the last flush, which is to be written now; then counted.

        It goes to the log of the caller's own country: what was asked and not answered, and why.
        """
        log, pub = national(caller.member.country), {"code": code, "resource": resource}
        key = _Sum(log, "deny.sum", caller.actor, on, tuple(pub.items()))
        if key in self._told:
            _add(self._counted, key, now_us)
            return None
        self._told.add(key)
        return Entry(log, "deny", caller.actor, on, pub, out="refused", private={**caller.private, **private})

    def take(self) -> Counts:
        """What was counted so far; counting starts anew."""
        counted, self._counted, self._told = self._counted, {}, set()
        return counted

    def put_back(self, counts: Counts) -> None:
        """They could not be written: they are counted with the next."""
        for key, one in counts.items():
            newer = self._counted.get(key)
            if newer is not None:
                one = _Counted(one.count + newer.count, one.first_us, newer.last_us)
            self._counted[key] = one
        self._withheld.clear()


def _lines(rows: Sequence[LabelRow]) -> list[list[Any]]:
    """What lies under labels, by what these say of the objects themselves: their ends may be the other country's affair."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        name = label_name(alone(row.facets))
        count, last_tick = found.get(name, (0, 0))
        found[name] = count + row.placements, max(last_tick, row.last_tick)
    return sorted([name, count, as_text(last_tick)] for name, (count, last_tick) in found.items())


def _add(counts: dict[K, _Counted], key: K, now_us: int) -> None:
    found = counts.get(key)
    if found is None:
        counts[key] = _Counted(1, now_us, now_us)
    else:
        found.count += 1
        found.last_us = now_us


def sum_entries(counts: Counts) -> tuple[Entry, ...]:
    """One entry for each thing that was counted."""
    return tuple(
        Entry(
            key.log, key.t, key.actor, key.on,
            {**dict(key.pub), "count": one.count, "first": as_text(one.first_us), "last": as_text(one.last_us)},
            "ok" if key.t == "poll.sum" else "refused",
        )
        for key, one in sorted(counts.items(), key=lambda pair: pair[0])
    )  # fmt: skip
