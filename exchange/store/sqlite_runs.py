"""Runs on SQLite: kept, blanked, and read as the pages they make (store/runs.py says what a run is)."""

import heapq
import sqlite3
from collections.abc import Collection, Iterable, Iterator

import orjson

from exchange.model.page import Spans
from exchange.store.answers import HeldObject
from exchange.store.runs import RUN_OBJECTS, Head, NewRun, PageQuery, Run, RunPiece, is_usual, pieces_of
from exchange.store.sqlite_read import elsewhere, id_key, is_dense, rows, rows_between
from exchange.store.sqlite_rows import in_one_step

FEW_RUNS = 100
"""A page of 1,000 has fewer than 20 runs of 64 objects, and of large ones the bytes are better not copied twice."""
RUNS_IN_ONE_STEP = 500
_ALL = (
    "SELECT json_group_array(json_array(r.count, length(r.bodies))), group_concat(hex(r.ends), ''), group_concat(hex(r.items), ''),"
    " CAST(group_concat(CAST(r.bodies AS TEXT), '') AS BLOB)"
    " FROM json_each(?) l CROSS JOIN run r ON r.first_tick = l.value"
)


def insert(db: sqlite3.Connection, runs: Iterable[NewRun]) -> None:
    db.executemany(
        "INSERT INTO run (first_tick, collection, label, count, odd, ends, items, bodies) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [run.columns for run in runs],
    )


def _load(db: sqlite3.Connection, first_tick: int) -> Run:
    """A run, whole. To read one body of 64 through a blob takes as long, and for small runs twice as long; and Python 3.11 keeps a
    reference to every blob that was ever opened (`Connection.blobopen`) for as long as the connection lives."""
    return Run(*db.execute("SELECT ends, items, bodies FROM run WHERE first_tick = ?", (first_tick,)).fetchone())


def body(db: sqlite3.Connection, first_tick: int, tick: int) -> bytes:
    """One object's canonical bytes."""
    position = tick - first_tick
    return _load(db, first_tick).content(position, position + 1)


def blank(db: sqlite3.Connection, first_tick: int, tick: int) -> None:
    """Take the bytes of one object out of its run: what is deleted is not kept. Its place stays, empty."""
    whole = _load(db, first_tick)
    ends, bodies = whole.without(tick - first_tick)
    db.execute("UPDATE run SET odd = 1, ends = ?, bodies = ? WHERE first_tick = ?", (ends, bodies, first_tick))


def held(db: sqlite3.Connection, object_id: str) -> list[HeldObject]:
    """See Store.held."""
    db.execute("BEGIN")  # one snapshot for the rows and the bodies
    try:
        versions = db.execute(
            "SELECT vid, version, type, owner, sha256 FROM object INDEXED BY object_key WHERE id_key = ? AND id = ?"
            " AND EXISTS (SELECT 1 FROM placement WHERE placement.vid = object.vid) ORDER BY instant, holder",
            (id_key(object_id), object_id),
        ).fetchall()
        return [_held(db, object_id, *version) for version in versions]
    finally:
        db.execute("COMMIT")


def _held(
    db: sqlite3.Connection, object_id: str, vid: int, version: str, kind: str, owner: str, digest: bytes
) -> HeldObject:
    places = db.execute("SELECT tick, label, run FROM placement WHERE vid = ? ORDER BY tick", (vid,)).fetchall()
    content = body(db, places[0][2], places[0][0])  # of a deleted one only the row is kept
    return HeldObject(object_id, version, kind, owner, digest, content, tuple(place[:2] for place in places))


# --- pages ---


def spans(db: sqlite3.Connection, query: PageQuery) -> Spans:
    """See Store.spans."""
    low = query.low_us
    if not query.labels:
        return Spans((), False, low)
    db.execute("BEGIN")  # one snapshot for the plan, the rows and the bodies
    try:
        if is_usual(query.match):
            pieces, more = _walk(db, query, low)
        else:
            found = rows(db, query, low, query.limit + 1)
            pieces, more = pieces_of(found[: query.limit]), len(found) > query.limit
        runs = _load_all(db, {piece.run for piece in pieces})
        return Spans(tuple([piece.of(runs[piece.run]) for piece in pieces]), more, low)
    finally:
        db.execute("COMMIT")


def _load_all(db: sqlite3.Connection, runs: Collection[int]) -> dict[int, Run]:
    """Few, one by one. Many, as small ones are, hundreds in one step, the bytes of all in one: while others want the interpreter
    (sqlite_rows.py), the slowest page of them was read in a third of the time."""
    if len(runs) <= FEW_RUNS:
        return {one: _load(db, one) for one in runs}
    found: dict[int, Run] = {}
    ticks = sorted(runs)
    for start in range(0, len(ticks), RUNS_IN_ONE_STEP):
        part = ticks[start : start + RUNS_IN_ONE_STEP]
        sizes, *texts, bodies = db.execute(_ALL, (orjson.dumps(part).decode(),)).fetchone()
        ends, items = map(bytes.fromhex, texts)
        row = begin = 0
        for tick, (count, size) in zip(part, orjson.loads(sizes), strict=True):
            last, stop = row + count, begin + size
            found[tick] = Run(ends[4 * row : 4 * last], items[32 * row : 32 * last], bodies[begin:stop])
            row, begin = last, stop
    return found


def _walk(db: sqlite3.Connection, query: PageQuery, low: int) -> tuple[list[RunPiece], bool]:
    """What the page takes of each run, and whether there is more behind it."""
    pieces: list[RunPiece] = []
    wanted = query.limit
    for head in _in_order(db, query, low):
        start, stop = head.within(low, query.until_us)
        if start >= stop:
            continue
        if head.odd:
            kept = rows_between(db, query, head.run + start, head.run + stop - 1, wanted + 1)
            pieces += pieces_of(list(map(head.seen, kept[:wanted])))
            rest = len(kept) - wanted
        elif wanted:
            end = min(stop, start + wanted)
            pieces.append(RunPiece(head.run, start, end, head.label, head.tick + start))
            rest = stop - start - wanted
        else:
            rest = 1
        if rest > 0:
            return pieces, True
        wanted = -rest
    return pieces, False


def _in_order(db: sqlite3.Connection, query: PageQuery, low: int) -> Iterator[Head]:
    """The runs that may hold ticks above `low`, in the order of the view."""
    native = _native(db, query, low)
    if query.view is None:
        return native
    return heapq.merge(
        (head for head in native if query.shows(head.label, head.run)), _late(db, query, query.view.member, low)
    )


def _late(db: sqlite3.Connection, query: PageQuery, member: str, low: int) -> Iterator[Head]:
    """The same of what was released late to the member: as many as a page can have, and then more if it had none of some."""
    allowed, begin, at_once = set(query.labels), low - RUN_OBJECTS, query.limit + 1
    while True:
        found = in_one_step(
            db,
            ("tick", "count", "label", "odd", "run"),
            "SELECT l.tick, l.count, l.label, r.odd, l.run FROM late_run l NOT INDEXED CROSS JOIN run r ON r.first_tick = l.run"
            " WHERE l.member = ? AND l.collection = ? AND l.tick > ? ORDER BY l.tick LIMIT ?",
            (member, query.collection, begin, at_once),
        )
        yield from [head for head in map(Head._make, found) if head.label in allowed]
        if len(found) < at_once:
            return
        begin = found[-1][0]


def _native(db: sqlite3.Connection, query: PageQuery, low: int) -> Iterator[Head]:
    """The same of those that lie where they were placed, by the same two plans as rows."""
    begin = max(low - RUN_OBJECTS, query.begins)  # the run that holds `low` begins after this
    if is_dense(db, query):
        allowed = set(query.labels)
        scan = db.execute(
            "SELECT first_tick, count, label, odd, first_tick FROM run INDEXED BY run_collection"
            f" WHERE collection = ? AND first_tick > ?{elsewhere(query, 'first_tick')} ORDER BY first_tick",
            (query.collection, begin),
        )
        return (head for head in map(Head._make, scan) if head.label in allowed)
    sql = (
        "SELECT first_tick, count, label, odd, first_tick FROM run INDEXED BY run_label"
        f" WHERE label = ? AND first_tick > ?{elsewhere(query, 'first_tick')} ORDER BY first_tick"
    )
    return map(Head._make, heapq.merge(*[db.execute(sql, (label, begin)) for label in query.labels]))
