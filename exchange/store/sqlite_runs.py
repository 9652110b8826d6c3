"""Runs on SQLite: the bodies of up to RUN_OBJECTS neighbours of one label, joined once when they are placed.

A page is a few slices of runs instead of a thousand rows. What a run holds never changes, except that an object taken
out leaves a hole. `odd` says that some of a run's rows cannot be taken unseen: one has a rival version, or went; then,
and for every filter but the usual one, the rows are asked first (sqlite_read.rows) and cut out one by one.
"""

import heapq
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol, TypeVar

from exchange.model.page import Filter, Row, Span, Spans
from exchange.model.stix import StixObject
from exchange.store.contract import HeldObject
from exchange.store.sqlite_read import RUN_OBJECTS, PageQuery, is_dense, rows

RUN_BYTES = 500_000


class NewRun(NamedTuple):
    """Neighbours to be placed: same label, consecutive ticks from `first_tick`."""

    collection: str
    first_tick: int
    label: int
    odd: int
    objects: Sequence[StixObject]


class _Bodied(Protocol):
    @property
    def body(self) -> bytes: ...


Bodied = TypeVar("Bodied", bound=_Bodied)


def cut(objects: Sequence[Bodied]) -> Iterator[Sequence[Bodied]]:
    """Objects of one label, cut into what becomes one run each."""
    start = size = 0
    for end, one in enumerate(objects):
        length = len(one.body)
        if end - start == RUN_OBJECTS or (end > start and size + length > RUN_BYTES):
            yield objects[start:end]
            start, size = end, 0
        size += length
    yield objects[start:]


def insert(db: sqlite3.Connection, runs: Iterable[NewRun]) -> None:
    db.executemany(
        "INSERT INTO run (first_tick, collection, label, count, odd, ends, items, bodies) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                run.first_tick, run.collection, run.label, len(run.objects), run.odd,
                _packed(_ends([obj.body for obj in run.objects])),
                b"".join([obj.item for obj in run.objects]),
                b",".join([obj.body for obj in run.objects]),
            )
            for run in runs
        ],
    )  # fmt: skip


def _ends(bodies: Sequence[bytes]) -> list[int]:
    """Where each body ends in the joined form, before its comma."""
    ends, position = [], -1
    for body in bodies:
        position += 1 + len(body)
        ends.append(position)
    return ends


def _packed(ends: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(ends)}I", *ends)


class _Run(NamedTuple):
    ends: tuple[int, ...]
    items: bytes
    bodies: bytes

    def content(self, start: int, stop: int) -> bytes:
        """The bodies of rows start..stop-1, commas between them."""
        begin = self.ends[start - 1] + 1 if start else 0
        return self.bodies[begin : self.ends[stop - 1]]


def _load(db: sqlite3.Connection, first_tick: int) -> _Run:
    ends, items, bodies = db.execute(
        "SELECT ends, items, bodies FROM run WHERE first_tick = ?", (first_tick,)
    ).fetchone()
    return _Run(struct.unpack(f"<{len(ends) // 4}I", ends), items, bodies)


def body(db: sqlite3.Connection, first_tick: int, tick: int) -> bytes:
    """One object's canonical bytes."""
    position = tick - first_tick
    return _load(db, first_tick).content(position, position + 1)


def blank(db: sqlite3.Connection, first_tick: int, tick: int) -> None:
    """Take the bytes of one object out of its run: what is deleted is not kept. Its place stays, empty."""
    run = _load(db, first_tick)
    bodies = [run.content(n, n + 1) for n in range(len(run.ends))]
    bodies[tick - first_tick] = b""
    db.execute(
        "UPDATE run SET odd = 1, ends = ?, bodies = ? WHERE first_tick = ?",
        (_packed(_ends(bodies)), b",".join(bodies), first_tick),
    )


def held(db: sqlite3.Connection, object_id: str) -> list[HeldObject]:
    """See Store.held."""
    versions = db.execute(
        "SELECT vid, version, type, owner, sha256 FROM object WHERE id = ?"
        " AND EXISTS (SELECT 1 FROM placement WHERE placement.vid = object.vid) ORDER BY instant, holder",
        (object_id,),
    ).fetchall()
    return [_held(db, object_id, *version) for version in versions]


def _held(
    db: sqlite3.Connection, object_id: str, vid: int, version: str, kind: str, owner: str, digest: bytes
) -> HeldObject:
    places = db.execute("SELECT tick, label, run FROM placement WHERE vid = ? ORDER BY tick", (vid,)).fetchall()
    content = body(db, places[0][2], places[0][0])  # of a deleted one only the row is kept
    return HeldObject(object_id, version, kind, owner, digest, content, tuple(place[:2] for place in places))


# --- pages ---


def spans(db: sqlite3.Connection, query: PageQuery) -> Spans:
    """See Store.spans."""
    low = max(query.match.added_after_us or 0, query.after_us)
    if not query.labels:
        return Spans((), False, low)
    db.execute("BEGIN")  # one snapshot for the plan, the rows and the bodies
    try:
        if _is_usual(query.match):
            return _walk(db, query, low)
        found = rows(db, query, low, query.limit + 1)
        return Spans(tuple(_spans_of(db, found[: query.limit])), len(found) > query.limit, low)
    finally:
        db.execute("COMMIT")


def _is_usual(match: Filter) -> bool:
    """Whether a run without oddities answers with all its rows: no filter, and all versions or the latest."""
    latest = match.versions == ("last",) or "all" in match.versions
    return latest and not match.ids and not match.types and not match.spec_versions


def _walk(db: sqlite3.Connection, query: PageQuery, low: int) -> Spans:
    found: list[Span] = []
    wanted = query.limit
    for first_tick, count, label, odd in _in_order(db, query, low):
        start = max(0, low + 1 - first_tick)
        if start >= count:
            continue
        if odd:
            kept = rows(db, query, low, wanted + 1, between=(first_tick + start, first_tick + count - 1))
            found += _spans_of(db, kept[:wanted])
            rest = len(kept) - wanted
        elif wanted:
            run, stop = _load(db, first_tick), min(count, start + wanted)
            items = run.items[32 * start : 32 * stop]
            found.append(Span(first_tick + start, stop - start, label, items, run.content(start, stop)))
            rest = count - start - wanted
        else:
            rest = 1
        if rest > 0:
            return Spans(tuple(found), True, low)
        wanted = -rest
    return Spans(tuple(found), False, low)


def _in_order(db: sqlite3.Connection, query: PageQuery, low: int) -> Iterator[tuple[int, int, int, int]]:
    """(first tick, count, label, odd) of the runs that may hold ticks above `low`, by the same two plans as rows."""
    begin = low - RUN_OBJECTS  # the run that holds `low` begins after this
    if is_dense(db, query):
        allowed = set(query.labels)
        scan = db.execute(
            "SELECT first_tick, count, label, odd FROM run INDEXED BY run_collection"
            " WHERE collection = ? AND first_tick > ? ORDER BY first_tick",
            (query.collection, begin),
        )
        return (run for run in scan if run[2] in allowed)
    sql = (
        "SELECT first_tick, count, label, odd FROM run INDEXED BY run_label"
        " WHERE label = ? AND first_tick > ? ORDER BY first_tick"
    )
    return heapq.merge(*[db.execute(sql, (label, begin)) for label in query.labels])


def _spans_of(db: sqlite3.Connection, found: Sequence[Row]) -> Iterator[Span]:
    """Rows with their bodies: neighbours of one run in one piece."""
    for first_tick, group in groupby(found, key=lambda row: row.run):
        run = _load(db, first_tick)
        for piece in _neighbours(list(group)):
            start = piece[0].tick - first_tick
            stop = start + len(piece)
            items = run.items[32 * start : 32 * stop]
            yield Span(piece[0].tick, len(piece), piece[0].label, items, run.content(start, stop))


def _neighbours(group: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    for n in range(1, len(group) + 1):
        if n == len(group) or group[n].tick != group[n - 1].tick + 1:
            yield group[start:n]
            start = n
