"""Runs on PostgreSQL, read as the pages they make (store/runs.py says what a run is).

First the heads of the runs, from an index; then, in one question, the bytes of those that the page needs.
"""

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import NamedTuple

from exchange.model.page import Row, Span, Spans
from exchange.store.contract import HeldObject
from exchange.store.postgres_read import is_dense, rows
from exchange.store.postgres_session import Connection, askable
from exchange.store.runs import RUN_OBJECTS, PageQuery, Run, is_usual, neighbours


class _Head(NamedTuple):
    first_tick: int
    size: int
    label: int
    odd: int

    @property
    def last_tick(self) -> int:
        return self.first_tick + self.size - 1


class _Piece(NamedTuple):
    """Rows start..stop-1 of a run."""

    run: int
    start: int
    stop: int
    label: int


async def spans(db: Connection, query: PageQuery) -> Spans:
    """See Store.spans. All of it in the caller's snapshot."""
    low = query.low_us
    if is_usual(query.match):
        pieces, more = await _walk(db, query, low)
    else:
        found = await rows(db, query, low, query.limit + 1)
        pieces, more = _pieces(found[: query.limit]), len(found) > query.limit
    runs = await _load(db, {piece.run for piece in pieces})
    return Spans(tuple([_span(runs[piece.run], piece) for piece in pieces]), more, low)


async def _walk(db: Connection, query: PageQuery, low: int) -> tuple[list[_Piece], bool]:
    """What the page takes of each run, and whether there is more behind it."""
    pieces: list[_Piece] = []
    wanted = query.limit
    async for odd, stretch in _stretches(db, query, low):
        if odd:
            between = (max(low + 1, stretch[0].first_tick), min(stretch[-1].last_tick, query.until_us))
            found = await rows(db, query, low, wanted + 1, between=between)
            pieces += _pieces(found[:wanted])
            wanted -= len(found)
        else:
            for head in stretch:
                start, stop = max(0, low + 1 - head.first_tick), min(head.size, query.until_us + 1 - head.first_tick)
                if wanted > 0:
                    pieces.append(_Piece(head.first_tick, start, min(stop, start + wanted), head.label))
                wanted -= stop - start
        if wanted < 0:
            return pieces, True
    return pieces, False


async def _stretches(db: Connection, query: PageQuery, low: int) -> AsyncIterator[tuple[bool, list[_Head]]]:
    """The runs that may hold ticks above `low`, in order, by the same two plans as rows; neighbours that are odd together."""
    begin = low - RUN_OBJECTS  # the run that holds `low` begins after this
    if await is_dense(db, query):
        sql = (
            "SELECT first_tick, count, label, odd FROM run"
            " WHERE collection = $1 AND first_tick > $2 AND label + 0 = ANY($3) ORDER BY first_tick LIMIT $4"
        )
    else:
        sql = (
            "SELECT r.* FROM unnest($3::bigint[]) AS l (id) CROSS JOIN LATERAL (SELECT first_tick, count, label, odd FROM run"
            " WHERE label = l.id AND first_tick > $2 AND collection || '' = $1 ORDER BY first_tick LIMIT $4) r"
            " ORDER BY r.first_tick LIMIT $4"
        )
    at_once = query.limit // RUN_OBJECTS + 2
    while True:
        found = await db.fetch(sql, query.collection, begin, list(query.labels), at_once)
        heads = [head for head in map(_Head._make, found) if head.last_tick > low and head.first_tick <= query.until_us]
        for odd, stretch in groupby(heads, key=lambda head: bool(head.odd)):
            yield odd, list(stretch)
        if len(found) < at_once or found[-1][0] > query.until_us:
            return
        begin, at_once = found[-1][0], at_once * 4  # small runs: it takes many


def _pieces(found: Sequence[Row]) -> list[_Piece]:
    return [
        _Piece(part[0].run, part[0].tick - part[0].run, part[-1].tick - part[0].run + 1, part[0].label)
        for part in neighbours(found)
    ]


def _span(run: Run, piece: _Piece) -> Span:
    size = piece.stop - piece.start
    items, content = run.hashes(piece.start, piece.stop), run.content(piece.start, piece.stop)
    return Span(piece.run + piece.start, size, piece.label, items, content)


async def _load(db: Connection, first_ticks: set[int]) -> dict[int, Run]:
    if not first_ticks:
        return {}
    found = await db.fetch(
        "SELECT first_tick, ends, items, bodies FROM run WHERE first_tick = ANY($1)", list(first_ticks)
    )
    return {row[0]: Run.of(*row[1:]) for row in found}


async def held(db: Connection, object_id: str) -> list[HeldObject]:
    """See Store.held. All of it in the caller's snapshot."""
    found = await db.fetch(
        "SELECT o.vid, o.version, o.type, o.owner, o.sha256, p.tick, p.label, p.run"
        " FROM (SELECT * FROM object WHERE id = $1 OFFSET 0) o"
        " CROSS JOIN LATERAL (SELECT tick, label, run FROM placement WHERE vid = o.vid OFFSET 0) p"
        " ORDER BY o.instant, o.holder, p.tick",
        askable(object_id),
    )
    runs = await _load(db, {row["run"] for row in found})
    versions = []
    for _, group in groupby(found, key=lambda row: row["vid"]):
        places = list(group)
        _, version, kind, owner, digest, tick, _, run = places[0]
        body = runs[run].content(tick - run, tick - run + 1)
        placements = tuple((place["tick"], place["label"]) for place in places)
        versions.append(HeldObject(object_id, version, kind, owner, digest, body, placements))
    return versions
