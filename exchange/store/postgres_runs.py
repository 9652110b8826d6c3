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

HEADS_AT_ONCE = 4_000
"""So many rows are made of an answer while everybody else waits: more are asked for again."""


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
    dense: bool | None = None
    while True:
        # Most ask for what has just come: the first step finds all of that, whoever may see however much of it.
        found, end = await (_sought if dense is False else _scanned)(db, query, begin, at_once)
        heads = [head for head in found if head.last_tick > low and head.tick <= query.until_us]
        for key, stretch in groupby(
            heads, key=lambda head: (bool(head.odd), head.tick if head.odd and query.view else 0)
        ):
            yield key[0], list(stretch)
        if end is None or end > query.until_us:
            return
        begin, at_once = end, min(at_once * 4, max(at_once, HEADS_AT_ONCE))  # small runs: it takes many
        if dense is None:
            dense = await is_dense(db, query)


async def _scanned(db: Connection, query: PageQuery, begin: int, at_once: int) -> tuple[list[Head], int | None]:
    """The runs of the view after `begin`, and up to where these are all of them (None: there are no more), found along the
    collection. By which labels they lie for the reader, and in which windows, is looked at here: PostgreSQL would look through thousands
    of them for each run, and plan the question anew for each view."""
    sql = "SELECT first_tick, count, label, odd, first_tick AS run, false FROM run WHERE collection = $1 AND first_tick > $2"
    if query.view is None:
        found = await db.fetch(f"{sql} ORDER BY first_tick LIMIT $3", query.collection, begin, at_once)
    else:
        if query.view.elsewhere:
            sql += " AND NOT EXISTS (SELECT 1 FROM late_run WHERE member = $5 AND late_run.run = first_tick OFFSET 0)"
        found = await db.fetch(
            f"({sql} ORDER BY first_tick LIMIT $3) UNION ALL {_LATE.format(labels='')}",
            query.collection, max(begin, query.begins), at_once, begin, query.view.member,
        )  # fmt: skip
    placed, late = [sorted([Head(*row[:5]) for row in found if row[5] is kind]) for kind in (False, True)]
    end = min([of_kind[-1].tick for of_kind in (placed, late) if len(of_kind) == at_once], default=None)
    allowed = set(query.labels)
    heads = [head for head in placed if head.label in allowed and query.shows(head.label, head.run)]
    heads += [head for head in late if head.label in allowed]
    return sorted([head for head in heads if end is None or head.tick <= end]), end


_LATE = (
    "SELECT l.tick, l.count, l.label, r.odd, l.run, true FROM (SELECT * FROM late_run WHERE member = $5 AND collection = $1"
    " AND tick > $4{labels} ORDER BY tick LIMIT $3) l"
    " CROSS JOIN LATERAL (SELECT odd FROM run WHERE first_tick = l.run OFFSET 0) r"
)
"""What was released late to a member: collection $1, as many as $3, after $4."""


async def _sought(db: Connection, query: PageQuery, begin: int, at_once: int) -> tuple[list[Head], int | None]:
    """The same, found label by label: of those that may be seen there is little among the rest."""
    shown = f" AND {shown_where_placed(query, 'run', 'first_tick')}" if query.view is not None else ""
    labels = list(query.labels)
    sql = (
        "SELECT r.* FROM unnest($4::bigint[]) AS l (id) CROSS JOIN LATERAL (SELECT first_tick, count, label, odd,"
        f" first_tick AS run FROM run WHERE label = l.id AND first_tick > $2 AND collection || '' = $1{shown}"
        " ORDER BY first_tick LIMIT $3) r ORDER BY r.first_tick LIMIT $3"
    )
    found = list(map(Head._make, await db.fetch(sql, query.collection, max(begin, query.begins), at_once, labels)))
    if query.view is not None:
        sql = _LATE.format(labels=" AND label = ANY($2)")
        late = await db.fetch(sql, query.collection, labels, at_once, begin, query.view.member)
        found = sorted([*found, *[Head(*row[:5]) for row in late]])[:at_once]
    return found, found[-1].tick if len(found) == at_once else None


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
