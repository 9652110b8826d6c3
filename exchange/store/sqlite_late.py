"""Members' views on SQLite: read, and taken a step further inside the append transaction."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from typing import Any

import orjson

from exchange.model.recall import RELABELLED_AT_ONCE, UNNOTICED_AT_ONCE, RecallRow, Relabelled
from exchange.model.view import LateRun, View, Window
from exchange.store.acts import Stepped, ViewChange
from exchange.store.contract import Outdated
from exchange.store.late import (
    Kept,
    Ripe,
    closed_and_anew,
    first,
    follows,
    forgotten,
    fresh,
    opened,
    released,
    until_of,
    view_of,
)
from exchange.store.scope import Owed, settled
from exchange.store.sqlite_rows import in_one_step

_RECALLS = (
    "SELECT id, member, collection, cause, term, reveals, countries, what, scope, opened_us, due_us, required, seen_us,"
    " acknowledged_us, account, noticed, owes FROM recall"
)
_OWES = "EXISTS (SELECT 1 FROM recall INDEXED BY recall_owes WHERE owes = 1 AND recall.member = v.member)"
VIEW = f"v.number, v.states, v.floor, v.last_tick, v.born, v.changes, v.until_us, v.elsewhere, {_OWES}"
"""What `view_of` reads, of member_view v."""


def view(db: sqlite3.Connection, member: str) -> View | None:
    """See Store.view."""
    db.execute("BEGIN")  # one snapshot for the view and its labels
    try:
        return _view(db, member)
    finally:
        db.execute("COMMIT")


def _view(db: sqlite3.Connection, member: str) -> View | None:
    row = db.execute(f"SELECT {VIEW} FROM member_view v WHERE v.member = ?", (member,)).fetchone()
    return view_of(member, row, _kept(db, member)) if row else None


def views(db: sqlite3.Connection) -> dict[str, int]:
    """See Store.views."""
    return dict(db.execute("SELECT member, number FROM member_view"))


def late(db: sqlite3.Connection, member: str, collection: str) -> list[LateRun]:
    """See Store.late."""
    sql = "SELECT tick, run, count, label FROM late_run WHERE member = ? AND collection = ? ORDER BY run"
    return list(map(LateRun._make, db.execute(sql, (member, collection))))


def recalls(db: sqlite3.Connection, member: str | None) -> list[RecallRow]:
    """See Store.recalls."""
    return _recalls(db.execute(f"{_RECALLS} WHERE ? IS NULL OR member = ? ORDER BY opened_us, id", (member, member)))


def unnoticed(db: sqlite3.Connection) -> list[RecallRow]:
    """See Store.unnoticed."""
    return _recalls(
        db.execute(f"{_RECALLS} WHERE noticed = 0 AND owes = 0 ORDER BY opened_us, id LIMIT ?", (UNNOTICED_AT_ONCE,))
    )


def _recalls(rows: Iterable[Sequence[Any]]) -> list[RecallRow]:
    made = (RecallRow(*row) for row in rows)
    return [replace(one, required=bool(one.required), noticed=bool(one.noticed), owes=bool(one.owes)) for one in made]


def relabelled(db: sqlite3.Connection) -> list[Relabelled]:
    """See Store.relabelled."""
    rows = db.execute(
        "SELECT tick, collection, id, label, former, placed, again FROM relabelled ORDER BY tick LIMIT ?",
        (RELABELLED_AT_ONCE,),
    )
    return [Relabelled(*row)._replace(again=bool(row[-1])) for row in rows]


def ripe(db: sqlite3.Connection, after: Sequence[tuple[int, int]]) -> dict[int, int]:
    """See Store.ripe."""
    sql = (
        "SELECT first_tick FROM run INDEXED BY run_label WHERE label = ? AND first_tick > ? ORDER BY first_tick LIMIT 1"
    )
    found = ((label, db.execute(sql, (label, tick)).fetchone()) for label, tick in after)
    return {label: row[0] for label, row in found if row is not None}


def step(db: sqlite3.Connection, change: ViewChange, last_tick: int, changes: int) -> Stepped:
    """Take a view a step further. What becomes visible late has its ticks behind `last_tick`, one after the other."""
    row = db.execute(
        f"SELECT v.number, v.until_us, {_OWES} FROM member_view v WHERE v.member = ?", (change.member,)
    ).fetchone()
    number, until_us, owes = row or (0, 0, 0)
    if not follows(change, number, owes):
        raise Outdated
    kept, settled = opened(change, last_tick)
    gone = _forget(db, change)
    keep(db, change.member, settled)
    given, done = _release(db, change, kept, last_tick)
    db.execute(
        "INSERT INTO member_view (member, number, states, floor, last_tick, born, changes, until_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (member) DO UPDATE SET number = excluded.number, states = excluded.states, floor = excluded.floor,"
        " last_tick = max(last_tick, excluded.last_tick), changes = excluded.changes, until_us = excluded.until_us",
        (
            change.member,
            change.number + 1,
            change.states,
            change.floor,
            _last(given),
            last_tick,
            changes,
            change.until_us,
        ),
    )
    return Stepped(changes, until_us, last_tick, (*settled, *done), tuple(given), gone)


def settle(db: sqlite3.Connection, member: str) -> bool:
    """Have the member's recalls say where what closed lay, and forget it. False when they say it all."""
    rows = db.execute("SELECT id, scope FROM recall INDEXED BY recall_owes WHERE member = ? AND owes = 1", (member,))
    recalls = [Owed.of(*row) for row in rows]
    view = _view(db, member) if recalls else None
    if view is None:
        return False
    labels = [label for one in recalls for label in one.labels]
    _unkeep(db, member, labels)
    said = settled(view, recalls, _unrelease(db, member, labels))
    db.executemany("UPDATE recall SET scope = ?, owes = 0 WHERE id = ?", said)
    db.execute("UPDATE member_view SET number = number + 1 WHERE member = ?", (member,))
    return True


def owing(db: sqlite3.Connection, labels: Set[int]) -> list[str]:
    """The members that still have recalls to say something of one of these labels."""
    rows = db.execute("SELECT id, scope, member FROM recall INDEXED BY recall_owes WHERE owes = 1 ORDER BY member")
    found = {member: None for recall, scope, member in rows if not labels.isdisjoint(Owed.of(recall, scope).labels)}
    return list(found)


def overtaken(db: sqlite3.Connection, tick: int) -> None:
    """The rules changed: by those that views were written by, nothing behind the tick is shown."""
    db.execute("UPDATE member_view SET until_us = ? WHERE until_us > ?", (tick, tick))


def _last(given: Sequence[LateRun]) -> int:
    return given[-1].last_tick if given else 0


def _forget(db: sqlite3.Connection, change: ViewChange) -> tuple[LateRun, ...]:
    closed, anew = closed_and_anew(change)
    if closed:
        _unkeep(db, change.member, closed)
    return forgotten(_unrelease(db, change.member, [*closed, *anew]), anew)


_THEIRS = "member = ? AND label IN (SELECT value FROM json_each(?))"


def _unkeep(db: sqlite3.Connection, member: str, labels: Sequence[int]) -> None:
    db.execute(f"DELETE FROM view_label WHERE {_THEIRS}", (member, _listed(labels)))


def _unrelease(db: sqlite3.Connection, member: str, labels: Sequence[int]) -> list[LateRun]:
    """Take out what was released late under these labels. All at once: no index leads to a member's late runs by label, so each
    look goes over all of them."""
    if not labels:
        return []
    theirs = member, _listed(labels)
    columns = ("tick", "run", "count", "label")
    rows = in_one_step(db, columns, f"SELECT tick, run, count, label FROM late_run WHERE {_THEIRS}", theirs)
    if rows:
        db.execute(f"DELETE FROM late_run WHERE {_THEIRS}", theirs)
    return list(map(LateRun._make, rows))


def _release(
    db: sqlite3.Connection, change: ViewChange, kept: dict[int, Kept], last_tick: int
) -> tuple[list[LateRun], list[Kept]]:
    if not change.waiting:
        return [], []
    if any(one.label not in kept for one in change.waiting):
        kept = {**{one.label: one for one in _kept(db, change.member)}, **kept}
    found = _waiting(db, change, kept, last_tick)
    going, cut = first(found, change.runs_at_most)
    done = [released(one, kept[one.label], last_tick, going, cut=cut) for one in change.waiting]
    keep(db, change.member, done)
    given = fresh(going, last_tick + 1)
    rows = [(run.collection, *one) for run, one in zip(going, given, strict=True)]
    db.execute(
        "INSERT INTO late_run (member, collection, tick, run, count, label)"
        " SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)",
        (change.member, _listed(rows)),
    )
    return given, done


# In one statement for all: who waits for the interpreter meanwhile does not wait for each row.


def _waiting(db: sqlite3.Connection, change: ViewChange, kept: dict[int, Kept], last_tick: int) -> list[Ripe]:
    """The first runs of those that wait, one more than may go, and perhaps more. Not what is shown where it was before."""
    alike: dict[tuple[int, int, str], list[int]] = defaultdict(list)
    for one in change.waiting:
        for gap in kept[one.label].gaps(until_of(one, last_tick)):
            alike[(*gap, one.collection)].append(one.label)
    found: list[Ripe] = []
    for (after, until, collection), labels in alike.items():
        rows = in_one_step(
            db,
            ("first_tick", "count", "label"),
            "SELECT r.first_tick, r.count, r.label FROM json_each(?) l CROSS JOIN run r INDEXED BY run_label"
            " ON r.label = l.value WHERE r.first_tick > ? AND r.first_tick <= ? AND NOT EXISTS (SELECT 1 FROM late_run e"
            " INDEXED BY late_run_run WHERE e.member = ? AND e.run = r.first_tick) ORDER BY r.first_tick LIMIT ?",
            (_listed(labels), after, until, change.member, change.runs_at_most + 1),
        )
        found += [Ripe(run, size, label, collection) for run, size, label in rows]
    return found


def _kept(db: sqlite3.Connection, member: str) -> list[Kept]:
    columns = ("label", "windows", "done")
    sql = "SELECT label, windows, done FROM view_label WHERE member = ? ORDER BY label"
    return [Kept.of(*row) for row in in_one_step(db, columns, sql, (member,))]


def keep(db: sqlite3.Connection, member: str, kept: Sequence[Kept]) -> None:
    alike: dict[tuple[tuple[Window, ...], int], list[Kept]] = defaultdict(list)
    for one in kept:
        alike[one.windows, one.done].append(one)
    for several in alike.values():
        _, windows, done = several[0].columns
        db.execute(
            "INSERT INTO view_label (member, label, windows, done) SELECT ?, value, ?, ? FROM json_each(?) WHERE true"
            " ON CONFLICT (member, label) DO UPDATE SET windows = excluded.windows, done = excluded.done",
            (member, windows, done, _listed([one.label for one in several])),
        )


def _listed(values: Sequence[object]) -> str:
    return orjson.dumps(values).decode()
