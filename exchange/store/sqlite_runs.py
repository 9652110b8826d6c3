"""Runs on SQLite: kept, blanked, and read as the pages they make (store/runs.py says what a run is)."""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from exchange.model.page import Row, Span, Spans
from exchange.store.answers import HeldObject
from exchange.store.runs import RUN_OBJECTS, Head, NewRun, PageQuery, Run, is_usual, neighbours
from exchange.store.sqlite_read import elsewhere, id_key, is_dense, rows, rows_between


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
            return _walk(db, query, low)
        found = rows(db, query, low, query.limit + 1)
        return Spans(tuple(_spans_of(db, found[: query.limit])), len(found) > query.limit, low)
    finally:
        db.execute("COMMIT")


def _walk(db: sqlite3.Connection, query: PageQuery, low: int) -> Spans:
    found: list[Span] = []
    wanted = query.limit
    for head in _in_order(db, query, low):
        start, stop = head.within(low, query.until_us)
        if start >= stop:
            continue
        if head.odd:
            kept = rows_between(db, query, head.run + start, head.run + stop - 1, wanted + 1)
            found += _spans_of(db, list(map(head.seen, kept[:wanted])))
            rest = len(kept) - wanted
        elif wanted:
            end = min(stop, start + wanted)
            found.append(_span(_load(db, head.run), head.tick + start, start, end, head.label))
            rest = stop - start - wanted
        else:
            rest = 1
        if rest > 0:
            return Spans(tuple(found), True, low)
        wanted = -rest
    return Spans(tuple(found), False, low)


def _in_order(db: sqlite3.Connection, query: PageQuery, low: int) -> Iterator[Head]:
    """The runs that may hold ticks above `low`, in the order of the view."""
    native = _native(db, query, low)
    if query.view is None:
        return native
    allowed = set(query.labels)
    late = db.execute(
        "SELECT l.tick, l.count, l.label, r.odd, l.run FROM late_run l NOT INDEXED CROSS JOIN run r ON r.first_tick = l.run"
        " WHERE l.member = ? AND l.collection = ? AND l.tick > ? ORDER BY l.tick",
        (query.view.member, query.collection, low - RUN_OBJECTS),
    )
    return heapq.merge(
        (head for head in native if query.shows(head.label, head.run)),
        (head for head in map(Head._make, late) if head.label in allowed),
    )


def _native(db: sqlite3.Connection, query: PageQuery, low: int) -> Iterator[Head]:
    """The same of those that lie where they were placed, by the same two plans as rows."""
    begin = low - RUN_OBJECTS  # the run that holds `low` begins after this
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


def _spans_of(db: sqlite3.Connection, found: Sequence[Row]) -> Iterator[Span]:
    """Rows with their bodies: neighbours of one run in one piece."""
    for first_tick, group in groupby(found, key=lambda row: row.run):
        part = list(group)
        run = _load(db, first_tick)
        for piece in neighbours(part):
            start = piece[0].position
            yield _span(run, piece[0].tick, start, start + len(piece), piece[0].label)


def _span(run: Run, tick: int, start: int, stop: int, label: int) -> Span:
    """Rows start..stop-1 of a run, shown from that tick on."""
    return Span(tick, stop - start, label, run.hashes(start, stop), run.content(start, stop))
