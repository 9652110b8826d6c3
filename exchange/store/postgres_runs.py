"""Runs on PostgreSQL, read as the pages they make (store/runs.py says what a run is).

First the heads of the runs, from an index; then, in one question, the bytes of those that the page needs.
"""

from collections.abc import AsyncIterator, Sequence
from itertools import groupby

from exchange.model.page import Spans
from exchange.store.answers import HeldObject
from exchange.store.postgres_read import is_dense, rows, rows_between, shown_where_placed
from exchange.store.postgres_session import Connection, askable
from exchange.store.runs import RUN_OBJECTS, Head, PageQuery, Run, RunPiece, is_usual, pieces_of


async def spans(db: Connection, query: PageQuery) -> Spans:
    """See Store.spans. All of it in the caller's snapshot."""
    low = query.low_us
    if is_usual(query.match):
        pieces, more = await _walk(db, query, low)
    else:
        found = await rows(db, query, low, query.limit + 1)
        pieces, more = pieces_of(found[: query.limit]), len(found) > query.limit
    runs = await _load(db, pieces)
    return Spans(tuple([piece.of(runs[piece.run]) for piece in pieces]), more, low)


async def _walk(db: Connection, query: PageQuery, low: int) -> tuple[list[RunPiece], bool]:
    """What the page takes of each run, and whether there is more behind it."""
    pieces: list[RunPiece] = []
    wanted = query.limit
    async for odd, stretch in _stretches(db, query, low):
        if odd:
            start, _ = stretch[0].within(low, query.until_us)
            _, stop = stretch[-1].within(low, query.until_us)
            between = (stretch[0].run + start, stretch[-1].run + stop - 1)
            found = await rows_between(db, query, *between, wanted + 1)
            pieces += pieces_of(list(map(stretch[0].seen, found[:wanted])))
            wanted -= len(found)
        else:
            for head in stretch:
                start, stop = head.within(low, query.until_us)
                if start >= stop:
                    continue  # all that is asked for lies before it or behind it
                if wanted > 0:
                    end = min(stop, start + wanted)
                    pieces.append(RunPiece(head.run, start, end, head.label, head.tick + start))
                wanted -= stop - start
        if wanted < 0:
            return pieces, True
    return pieces, False


async def _stretches(db: Connection, query: PageQuery, low: int) -> AsyncIterator[tuple[bool, list[Head]]]:
    """The runs that may hold ticks above `low`, in the order of the view; neighbours that are odd together, where between them
    lies nothing that the view does not show."""
    begin = low - RUN_OBJECTS  # the run that holds `low` begins after this
    at_once = query.limit // RUN_OBJECTS + 2
    dense = await is_dense(db, query)
    while True:
        found = await _heads(db, query, begin, at_once, dense=dense)
        heads = [head for head in found if head.last_tick > low and head.tick <= query.until_us]
        for key, stretch in groupby(
            heads, key=lambda head: (bool(head.odd), head.tick if head.odd and query.view else 0)
        ):
            yield key[0], list(stretch)
        if len(found) < at_once or found[-1].tick > query.until_us:
            return
        begin, at_once = found[-1].tick, at_once * 4  # small runs: it takes many


async def _heads(db: Connection, query: PageQuery, begin: int, at_once: int, *, dense: bool) -> list[Head]:
    """The next runs of the view: `at_once`, or all that there are."""
    value = [query.collection, begin, list(query.labels), at_once]
    shown = f" AND {shown_where_placed(query, 'run', 'first_tick')}" if query.view is not None else ""
    if dense:
        sql = (
            "SELECT first_tick, count, label, odd, first_tick AS run FROM run"
            f" WHERE collection = $1 AND first_tick > $2 AND label + 0 = ANY($3){shown} ORDER BY first_tick LIMIT $4"
        )
    else:
        sql = (
            "SELECT r.* FROM unnest($3::bigint[]) AS l (id) CROSS JOIN LATERAL (SELECT first_tick, count, label, odd,"
            f" first_tick AS run FROM run WHERE label = l.id AND first_tick > $2 AND collection || '' = $1{shown}"
            " ORDER BY first_tick LIMIT $4) r ORDER BY r.first_tick LIMIT $4"
        )
    found = list(map(Head._make, await db.fetch(sql, *value)))
    if query.view is None:
        return found
    late = await db.fetch(
        "SELECT l.tick, l.count, l.label, r.odd, l.run FROM (SELECT * FROM late_run WHERE member = $5 AND collection = $1"
        " AND tick > $2 AND label = ANY($3) ORDER BY tick LIMIT $4) l"
        " CROSS JOIN LATERAL (SELECT odd FROM run WHERE first_tick = l.run OFFSET 0) r ORDER BY l.tick",
        *value,
        query.view.member,
    )
    return sorted([*found, *map(Head._make, late)])[:at_once]


def _end(row: str) -> str:
    """Where in the joined form the bodies up to that row end: four bytes, little-endian (store/runs.py)."""
    return "(" + " + ".join(f"get_byte(r.ends, 4 * {row} - {4 - n}) * {256**n}" for n in range(4)) + ")"


# Bodies are most of a run, and often one of them is asked for: substr reads no more of them than it gives.
_LOAD = (
    "SELECT r.first_tick, r.ends, r.items, substr(r.bodies, r.begin + 1, r.ends_at - r.begin), r.begin"
    " FROM unnest($1::bigint[], $2::int[], $3::int[]) AS a (first_tick, start, stop) CROSS JOIN LATERAL (SELECT r.*,"
    f" CASE WHEN a.start = 0 THEN 0 ELSE {_end('a.start')} + 1 END AS begin, {_end('a.stop')} AS ends_at"
    " FROM run r WHERE r.first_tick = a.first_tick OFFSET 0) r"
)


async def _load(db: Connection, pieces: Sequence[RunPiece]) -> dict[int, Run]:
    """The runs of these pieces, with their bodies from the first of a run's pieces to its last."""
    if not pieces:
        return {}
    wanted: dict[int, tuple[int, int]] = {}
    for piece in pieces:
        start, stop = wanted.get(piece.run, (piece.start, piece.stop))
        wanted[piece.run] = min(start, piece.start), max(stop, piece.stop)
    starts, stops = zip(*wanted.values(), strict=True)
    return {row[0]: Run(*row[1:]) for row in await db.fetch(_LOAD, list(wanted), starts, stops)}


async def held(db: Connection, object_id: str) -> list[HeldObject]:
    """See Store.held. All of it in the caller's snapshot."""
    found = await db.fetch(
        "SELECT o.vid, o.version, o.type, o.owner, o.sha256, p.tick, p.label, p.run"
        " FROM (SELECT * FROM object WHERE id = $1 OFFSET 0) o"
        " CROSS JOIN LATERAL (SELECT tick, label, run FROM placement WHERE vid = o.vid OFFSET 0) p"
        " ORDER BY o.instant, o.holder, p.tick",
        askable(object_id),
    )
    pieces = [
        RunPiece(row["run"], row["tick"] - row["run"], row["tick"] - row["run"] + 1, row["label"], row["tick"])
        for row in found
    ]
    runs = await _load(db, pieces)
    versions = []
    for _, group in groupby(found, key=lambda row: row["vid"]):
        places = list(group)
        _, version, kind, owner, digest, tick, _, run = places[0]
        body = runs[run].content(tick - run, tick - run + 1)
        placements = tuple((place["tick"], place["label"]) for place in places)
        versions.append(HeldObject(object_id, version, kind, owner, digest, body, placements))
    return versions
