"""What connects objects, on SQLite: the answers that store/graph.py asks for, and what is placed again.

Runs inside the append transaction; a crash in here is its rollback.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol, TypeVar

import orjson

from exchange.model.view import LateRun, View
from exchange.store.contract import MovedRun
from exchange.store.graph import (
    Again,
    End,
    EndsOf,
    Lain,
    Moved,
    Moving,
    PlacementsOf,
    ReferringTo,
    still_named,
    stretches,
    together,
)
from exchange.store.late import Kept, shown_at, view_of
from exchange.store.runs import Content, Run
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


class Home(Protocol):
    """What a Mover needs of the transaction that it is part of."""

    last_tick: int
    label_news: dict[int, list[int]]

    @property
    def time_us(self) -> int: ...

    def label(self, name: str, collection: str, country: str) -> int: ...


class Mover:
    """Places again what must lie under another label, and keeps it where it was for those who were shown it."""

    def __init__(self, db: sqlite3.Connection, home: Home, moving: Sequence[Moving]) -> None:
        self._db = db
        self._home = home
        self._moving = moving
        self.touched = set[str]()
        """Members in whose views something lies elsewhere now than where it was placed."""
        self._again: list[Again] = []
        self._runs = sorted({one.lain.run for one in moving})
        self._views = list(_views(db, {one.lain.label for one in moving}))
        self._late: dict[int, dict[str, LateRun]] = {run: {} for run in self._runs}
        members = ",".join("?" * len(self._views))
        for member, *row in db.execute(
            "SELECT member, tick, run, count, label FROM late_run INDEXED BY late_run_run"
            f" WHERE member IN ({members}) AND run IN ({number_list(self._runs)})",
            [view.member for view in self._views],
        ):
            self._late[row[1]][member] = LateRun(*row)

    def move(self) -> list[MovedRun]:
        groups: dict[tuple[str, str, str], list[Moved]] = defaultdict(list)
        ordered = sorted(self._moving, key=lambda one: (one.lain.run, one.lain.tick))
        for run, rows in groupby(ordered, key=lambda one: one.lain.run):
            for one, moved in self._taken(run, list(rows)):
                groups[one.lain.collection, one.facets, one.lain.country].append(moved)
        made = [
            self._placed(self._home.label(name, collection, country), name, country, part)
            for (collection, name, country), moved in groups.items()
            for part in together(moved, lambda lain: any(True for _ in self._shown(lain)))
        ]
        self._db.executemany(
            "UPDATE member_view SET number = number + 1, last_tick = max(last_tick, ?1), elsewhere = ?1 WHERE member = ?2",
            [(self._home.last_tick, member) for member in sorted(self.touched)],
        )
        self._name_again()
        return made

    def _name_again(self) -> None:
        """Notices that are still to be made name what closed, wherever it lies by then."""
        states = {view.member: view.states for view in self._views}
        unnoticed = self._db.execute(
            "SELECT id, member, scope FROM recall WHERE noticed = 0 AND scope <> X''"
        ).fetchall()
        for recall, member, scope in unnoticed:
            told = still_named(scope, self._again, states.get(member, b""))
            if told is not None:
                self._db.execute("UPDATE recall SET scope = ? WHERE id = ?", (told, recall))

    def _taken(self, run: int, rows: Sequence[Moving]) -> Iterator[tuple[Moving, Moved]]:
        """Take rows out of a run, and cut it where they were."""
        first = rows[0].lain
        count, odd, *content = self._db.execute(
            "SELECT count, odd, ends, items, bodies FROM run WHERE first_tick = ?", (run,)
        ).fetchone()
        whole = Run(*content)
        positions = {one.lain.tick - run for one in rows}
        for one in rows:
            position = one.lain.tick - run
            yield one, Moved(one.lain, whole.content(position, position + 1))
        late = self._late[run]
        self._db.execute("DELETE FROM run WHERE first_tick = ?", (run,))
        self._db.executemany("DELETE FROM late_run WHERE member = ? AND run = ?", [(member, run) for member in late])
        self._db.executemany(
            "DELETE FROM placement WHERE collection = ? AND tick = ?",
            [(first.collection, one.lain.tick) for one in rows],
        )
        self._db.execute("UPDATE label SET placements = placements - ? WHERE id = ?", (len(rows), first.label))
        for start, stop in stretches(set(range(count)) - positions):
            self._put_run(first.collection, run + start, first.label, stop - start, odd, whole.part(start, stop))
            if start:
                self._db.execute(
                    "UPDATE placement SET run = ? WHERE collection = ? AND tick BETWEEN ? AND ?",
                    (run + start, first.collection, run + start, run + stop - 1),
                )
            self._put_late(first.collection, ((member, one.tick + start) for member, one in late.items()),
                           run + start, stop - start, first.label)  # fmt: skip

    def _placed(self, label: int, name: str, country: str, part: Sequence[Moved]) -> MovedRun:
        collection, before = part[0].lain.collection, part[0].lain
        first = max(self._home.time_us, self._home.last_tick + 1)
        self._home.last_tick = first + len(part) - 1
        run = Run.of([one.body for one in part], [one.lain.item for one in part])
        self._put_run(collection, first, label, len(part), max(one.lain.newer for one in part), run)
        self._db.executemany(
            "INSERT INTO placement (collection, tick, label, vid, newer, run) VALUES (?, ?, ?, ?, ?, ?)",
            [(collection, tick, label, one.lain.vid, one.lain.newer, first) for tick, one in enumerate(part, first)],
        )
        news = self._home.label_news.setdefault(label, [0, 0])
        news[0] += len(part)
        news[1] = self._home.last_tick
        self._again += [Again(one.lain.label, one.lain.tick, label, tick) for tick, one in enumerate(part, first)]
        shown = dict(self._shown(before))
        self.touched.update(shown)
        self._put_late(collection, shown.items(), first, len(part), label)
        if shown:
            self._db.executemany(
                "INSERT INTO relabelled (tick, collection, id, label, former, placed) VALUES (?1, ?2, ?3, ?4, ?5, ?1)",
                [(tick, collection, one.lain.id, label, one.lain.label) for tick, one in enumerate(part, first)],
            )
        return MovedRun(name, collection, country, first, tuple([one.lain.object for one in part]))

    def _shown(self, lain: Lain) -> Iterator[tuple[str, int]]:
        """Who was shown a placement, and at which tick. All of a run was, or nothing of it."""
        late = self._late[lain.run]
        for view in self._views:
            tick = shown_at(view, lain.label, lain.run, lain.tick, late.get(view.member))
            if tick is not None:
                yield view.member, tick

    def _put_run(self, collection: str, first: int, label: int, count: int, odd: int, content: Content) -> None:
        self._db.execute(
            "INSERT INTO run (first_tick, collection, label, count, odd, ends, items, bodies) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (first, collection, label, count, odd, *content),
        )

    def _put_late(self, collection: str, shown: Iterable[tuple[str, int]], run: int, count: int, label: int) -> None:
        self._db.executemany(
            "INSERT INTO late_run (member, collection, tick, run, count, label) VALUES (?, ?, ?, ?, ?, ?)",
            [(member, collection, tick, run, count, label) for member, tick in shown],
        )


def _views(db: sqlite3.Connection, labels: set[int]) -> Iterator[View]:
    """Every member's view, as far as these labels are concerned."""
    kept: dict[str, list[Kept]] = defaultdict(list)
    for member, *row in db.execute(
        f"SELECT member, label, windows, done FROM view_label WHERE label IN ({number_list(sorted(labels))})"
    ):
        kept[member].append(Kept.of(*row))
    for member, *row in db.execute(
        "SELECT member, number, states, floor, last_tick, born, changes, until_us, elsewhere FROM member_view"
    ):
        yield view_of(member, tuple(row), kept[member])
