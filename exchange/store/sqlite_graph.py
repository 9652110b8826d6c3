"""What connects objects, on SQLite: the answers that store/graph.py asks for, and what comes under another label.

Runs inside the append transaction; a crash in here is its rollback.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from exchange.model.view import LateRun, View
from exchange.store.graph import End, EndsOf, Lain, Moving, PlacementsOf, ReferringTo, still_named
from exchange.store.late import Kept, view_of
from exchange.store.placing import Laid
from exchange.store.relabel import Relabelling, pieces
from exchange.store.runs import Run
from exchange.store.sqlite_late import VIEW, keep, owing, settle
from exchange.store.sqlite_read import id_key, number_list

_AT_ONCE = 500
_REFS = "(SELECT json_group_array(id) FROM reference WHERE reference.vid = o.vid)"

Made = TypeVar("Made")


def drive(db: sqlite3.Connection, questions: Generator[Any, Any, Made]) -> Made:
    """Answer what the generator asks, until it has what it makes."""
    try:
        asked = next(questions)
        while True:
            asked = questions.send(list(_answers(db, asked)))
    except StopIteration as done:
        made: Made = done.value
        return made


def _answers(db: sqlite3.Connection, asked: EndsOf | ReferringTo | PlacementsOf) -> Iterator[tuple[Any, ...]]:
    if isinstance(asked, PlacementsOf):
        for row in db.execute(
            f"SELECT o.vid, o.id, o.version, o.sha256, o.item, p.collection, p.tick, p.label, l.facets, l.country, p.newer, p.run, {_REFS}"
            " FROM object o CROSS JOIN placement p INDEXED BY placement_vid ON p.vid = o.vid JOIN label l ON l.id = p.label"
            f" WHERE o.vid IN ({number_list(asked.vids)})"
        ):
            yield Lain._make((*row[:-1], tuple(orjson.loads(row[-1]))))
        return
    for start in range(0, len(asked.ids), _AT_ONCE):
        part = asked.ids[start : start + _AT_ONCE]
        marks, values = ",".join(["(?, ?)"] * len(part)), [value for one in part for value in (id_key(one), one)]
        if isinstance(asked, ReferringTo):
            yield from db.execute(
                f"WITH asked (id_key, id) AS (VALUES {marks}) SELECT o.id, o.vid FROM asked a"
                " CROSS JOIN reference r ON r.id_key = a.id_key AND r.id = a.id CROSS JOIN object o ON o.vid = r.vid",
                values,
            )
        else:
            found = db.execute(
                f"WITH asked (id_key, id) AS (VALUES {marks})"
                f" SELECT o.id, o.holder, p.collection, o.instant, l.facets, {_REFS} FROM asked a"
                " CROSS JOIN object o INDEXED BY object_key ON o.id_key = a.id_key AND o.id = a.id"
                " CROSS JOIN placement p INDEXED BY placement_vid ON p.vid = o.vid CROSS JOIN label l ON l.id = p.label",
                values,
            )
            for row in found:
                yield End._make((*row[:-1], tuple(orjson.loads(row[-1]))))


def relabel(
    db: sqlite3.Connection, laid: Laid, time_us: int, labels: Mapping[str, int], moving: Sequence[Moving]
) -> Relabelling:
    """Put what is placed under other labels, where it lies. `labels`: the numbers of those."""
    by_run: dict[int, list[Moving]] = defaultdict(list)
    for one in moving:
        by_run[one.lain.run].append(one)
    made = _begun(db, moving, by_run, {labels[one.facets] for one in moving}, (time_us, laid.last_tick))
    for run in sorted(by_run):
        _turn(db, run, by_run[run], labels, made)
    laid.last_tick = made.last_tick
    _write(db, made)
    return made


def _begun(
    db: sqlite3.Connection, moving: Sequence[Moving], runs: Iterable[int], labels: set[int], since: tuple[int, int]
) -> Relabelling:
    views, countries, concerned = {}, {}, labels | {one.lain.label for one in moving}
    settled = sum([settle(db, member) for member in owing(db, concerned)])
    for country, view in _views(db, concerned):
        views[view.member], countries[view.member] = view, country
    late: dict[int, dict[str, LateRun]] = {run: {} for run in runs}
    members = ",".join("?" * len(views))
    for member, *row in db.execute(
        "SELECT member, tick, run, count, label FROM late_run INDEXED BY late_run_run"
        f" WHERE member IN ({members}) AND run IN ({number_list(sorted(late))})",
        list(views),
    ):
        late[row[1]][member] = LateRun(*row)
    ticks = number_list(sorted(one.lain.tick for one in moving))
    pending = db.execute(f"SELECT placed FROM relabelled WHERE again = 1 AND placed IN ({ticks})")
    return Relabelling(views, countries, late, settled, frozenset([row[0] for row in pending]), *since)


def _turn(
    db: sqlite3.Connection, run: int, rows: Sequence[Moving], labels: Mapping[str, int], made: Relabelling
) -> None:
    collection, former = rows[0].lain.collection, rows[0].lain.label
    count, odd, *content = db.execute(
        "SELECT count, odd, ends, items, bodies FROM run WHERE first_tick = ?", (run,)
    ).fetchone()
    whole = Run(*content)
    db.execute("DELETE FROM run WHERE first_tick = ?", (run,))
    db.executemany("DELETE FROM late_run WHERE member = ? AND run = ?", [(member, run) for member in made.late[run]])
    for one in pieces(count, rows, run):
        first, last, label = run + one.start, run + one.stop - 1, former
        if one.moving:
            label = labels[one.moving[0].facets]
            made.turn(run, one, label)
            db.execute("UPDATE label SET placements = placements - ? WHERE id = ?", (len(one.moving), former))
            db.execute(
                "UPDATE label SET placements = placements + ?, last_tick = max(last_tick, ?), joined = ? WHERE id = ?",
                (len(one.moving), last, made.last_tick, label),
            )
            db.execute("UPDATE relabelled SET label = ? WHERE tick BETWEEN ? AND ? AND again = 0", (label, first, last))
            db.execute(
                "UPDATE relabelled SET label = ? WHERE placed BETWEEN ? AND ? AND again = 1", (label, first, last)
            )
            db.execute(
                "UPDATE relabelled SET former = ? WHERE placed BETWEEN ? AND ? AND again = 0", (label, first, last)
            )
        else:
            made.stay(run, one, label, collection)
        db.execute(
            "INSERT INTO run (first_tick, collection, label, count, odd, ends, items, bodies) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (first, collection, label, one.stop - one.start, odd, *whole.part(one.start, one.stop)),
        )
        db.execute(
            "UPDATE placement SET run = ?, label = ? WHERE collection = ? AND tick BETWEEN ? AND ?",
            (first, label, collection, first, last),
        )


def _write(db: sqlite3.Connection, made: Relabelling) -> None:
    db.executemany(
        "INSERT INTO late_run (member, collection, tick, run, count, label) VALUES (?, ?, ?, ?, ?, ?)", made.late_rows
    )
    db.executemany(
        "INSERT INTO relabelled (tick, collection, id, label, former, placed, again) VALUES (?, ?, ?, ?, ?, ?, 1)",
        made.relabelled,
    )
    for (member, _), kept in made.kept.items():
        keep(db, member, [kept])
    db.executemany(
        "UPDATE member_view SET number = number + 1, states = ?2, last_tick = max(last_tick, ?4), elsewhere = ?3"
        " WHERE member = ?1",
        [(*row, made.last_tick) for row in made.rows],
    )
    _name_again(db, made)


def _name_again(db: sqlite3.Connection, made: Relabelling) -> None:
    """Notices that are still to be made name what closed, under whatever label it lies by then."""
    unnoticed = db.execute(
        "SELECT id, member, scope FROM recall WHERE noticed = 0 AND owes = 0 AND scope <> X''"
    ).fetchall()
    for recall, member, scope in unnoticed:
        told = still_named(scope, made.again, made.states(member))
        if told is not None:
            db.execute("UPDATE recall SET scope = ? WHERE id = ?", (told, recall))


def _views(db: sqlite3.Connection, labels: set[int]) -> Iterator[tuple[str, View]]:
    """Every member's country and view, as far as these labels are concerned."""
    kept: dict[str, list[Kept]] = defaultdict(list)
    for member, *row in db.execute(
        f"SELECT member, label, windows, done FROM view_label WHERE label IN ({number_list(sorted(labels))})"
    ):
        kept[member].append(Kept.of(*row))
    for country, member, *row in db.execute(
        f"SELECT m.country, v.member, {VIEW} FROM member_view v JOIN member m ON m.slug = v.member"
    ):
        yield country, view_of(member, tuple(row), kept[member])
