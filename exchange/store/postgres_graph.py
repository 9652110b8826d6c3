"""What connects objects, on PostgreSQL: the answers that store/graph.py asks for, and what is placed again.

Runs inside the append transaction; a crash in here is its rollback.
"""

from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

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
from exchange.store.placing import Laid
from exchange.store.postgres_session import Connection, arrays, askable
from exchange.store.runs import Run

_REFS = "ARRAY(SELECT id FROM reference WHERE reference.vid = o.vid)"
_PLACES = (
    "CROSS JOIN LATERAL (SELECT * FROM placement WHERE vid = o.vid OFFSET 0) p"
    " CROSS JOIN LATERAL (SELECT facets, country FROM label WHERE id = p.label OFFSET 0) l"
)

Made = TypeVar("Made")


async def drive(db: Connection, questions: Generator[Any, Any, Made]) -> Made:
    """Answer what the generator asks, until it has what it makes."""
    try:
        asked = next(questions)
        while True:
            asked = questions.send(await _answers(db, asked))
    except StopIteration as done:
        made: Made = done.value
        return made


async def _answers(db: Connection, asked: EndsOf | ReferringTo | PlacementsOf) -> list[Any]:
    if isinstance(asked, PlacementsOf):
        found = await db.fetch(
            f"SELECT o.vid, o.id, o.version, o.sha256, o.item, p.collection, p.tick, p.label, l.facets, l.country, p.newer, p.run, {_REFS}"
            " FROM unnest($1::bigint[]) AS a (vid)"
            f" CROSS JOIN LATERAL (SELECT * FROM object WHERE vid = a.vid OFFSET 0) o {_PLACES}",
            asked.vids,
        )
        return [Lain._make((*tuple(row)[:-1], tuple(row[-1]))) for row in found]
    ids = list(map(askable, asked.ids))
    if isinstance(asked, ReferringTo):
        found = await db.fetch(
            "SELECT o.id, o.vid FROM unnest($1::text[]) AS a (id)"
            " CROSS JOIN LATERAL (SELECT vid FROM reference WHERE reference.id = a.id OFFSET 0) r"
            " CROSS JOIN LATERAL (SELECT id, vid FROM object WHERE vid = r.vid OFFSET 0) o",
            ids,
        )
        return [tuple(row) for row in found]
    found = await db.fetch(
        f"SELECT o.id, o.holder, p.collection, o.instant, l.facets, {_REFS} FROM unnest($1::text[]) AS a (id)"
        f" CROSS JOIN LATERAL (SELECT * FROM object WHERE object.id = a.id OFFSET 0) o {_PLACES}",
        ids,
    )
    return [End._make((*tuple(row)[:-1], tuple(row[-1]))) for row in found]


class Mover:
    """Places again what must lie under another label, and keeps it where it was for those who were shown it."""

    def __init__(
        self, db: Connection, laid: Laid, time_us: int, labels: Mapping[str, int], moving: Sequence[Moving]
    ) -> None:
        self._db = db
        self._laid = laid
        self._time_us = time_us
        self._labels = labels
        self._moving = moving
        self.touched = set[str]()
        """Members in whose views something lies elsewhere now than where it was placed."""
        self._again: list[Again] = []
        self._views: list[View] = []
        self._late: dict[int, dict[str, LateRun]] = {}
        self._runs: list[tuple[Any, ...]] = []
        """Rows to be written: runs, late runs, placements, what moved for somebody."""
        self._late_runs: list[tuple[Any, ...]] = []
        self._placements: list[tuple[Any, ...]] = []
        self._relabelled: list[tuple[Any, ...]] = []

    async def move(self) -> list[MovedRun]:
        runs = sorted({one.lain.run for one in self._moving})
        self._views = await _views(self._db, {one.lain.label for one in self._moving})
        self._late = {run: {} for run in runs}
        sql = "SELECT member, tick, run, count, label FROM late_run WHERE member = ANY($1) AND run = ANY($2)"
        for member, *row in await self._db.fetch(sql, [view.member for view in self._views], runs):
            self._late[row[1]][member] = LateRun(*row)
        groups: dict[tuple[str, str, str], list[Moved]] = defaultdict(list)
        ordered = sorted(self._moving, key=lambda one: (one.lain.run, one.lain.tick))
        for run, rows in groupby(ordered, key=lambda one: one.lain.run):
            for one, moved in await self._taken(run, list(rows)):
                groups[one.lain.collection, one.facets, one.lain.country].append(moved)
        made = [
            self._placed(name, country, part)
            for (_, name, country), moved in groups.items()
            for part in together(moved, lambda lain: any(True for _ in self._shown(lain)))
        ]
        await self._write()
        return made

    async def _taken(self, run: int, rows: Sequence[Moving]) -> list[tuple[Moving, Moved]]:
        """Take rows out of a run, and cut it where they were."""
        first = rows[0].lain
        row = await self._db.fetchrow(
            "DELETE FROM run WHERE first_tick = $1 RETURNING count, odd, ends, items, bodies", run
        )
        count, odd, *content = row
        whole, late = Run(*content), self._late[run]
        ticks = [one.lain.tick for one in rows]
        await self._db.execute("DELETE FROM late_run WHERE member = ANY($1) AND run = $2", list(late), run)
        await self._db.execute(
            "DELETE FROM placement WHERE collection = $1 AND tick = ANY($2)", first.collection, ticks
        )
        await self._db.execute("UPDATE label SET placements = placements - $1 WHERE id = $2", len(rows), first.label)
        for start, stop in stretches(set(range(count)) - {tick - run for tick in ticks}):
            self._runs.append((run + start, first.collection, first.label, stop - start, odd, *whole.part(start, stop)))
            if start:
                await self._db.execute(
                    "UPDATE placement SET run = $1 WHERE collection = $2 AND tick BETWEEN $1 AND $3",
                    run + start, first.collection, run + stop - 1,
                )  # fmt: skip
            self._late_runs += [
                (member, first.collection, one.tick + start, run + start, stop - start, first.label)
                for member, one in late.items()
            ]
        return [(one, Moved(one.lain, whole.content(one.lain.tick - run, one.lain.tick - run + 1))) for one in rows]

    def _placed(self, name: str, country: str, part: Sequence[Moved]) -> MovedRun:
        label, before = self._labels[name], part[0].lain
        collection = before.collection
        first = max(self._time_us, self._laid.last_tick + 1)
        self._laid.last_tick = first + len(part) - 1
        content = Run.of([one.body for one in part], [one.lain.item for one in part])
        self._runs.append((first, collection, label, len(part), max(one.lain.newer for one in part), *content))
        self._placements += [
            (collection, tick, label, one.lain.vid, one.lain.newer, first) for tick, one in enumerate(part, first)
        ]
        news = self._laid.label_news.setdefault(label, [0, 0])
        news[0] += len(part)
        news[1] = self._laid.last_tick
        self._again += [Again(one.lain.label, one.lain.tick, label, tick) for tick, one in enumerate(part, first)]
        shown = dict(self._shown(before))
        self.touched.update(shown)
        self._late_runs += [(member, collection, tick, first, len(part), label) for member, tick in shown.items()]
        if shown:
            self._relabelled += [
                (tick, collection, one.lain.id, label, one.lain.label) for tick, one in enumerate(part, first)
            ]
        return MovedRun(name, collection, country, first, tuple([one.lain.object for one in part]))

    def _shown(self, lain: Lain) -> Iterator[tuple[str, int]]:
        """Who was shown a placement, and at which tick. All of a run was, or nothing of it."""
        late = self._late[lain.run]
        for view in self._views:
            tick = shown_at(view, lain.label, lain.run, lain.tick, late.get(view.member))
            if tick is not None:
                yield view.member, tick

    async def _write(self) -> None:
        await self._db.execute(
            "INSERT INTO run (first_tick, collection, label, count, odd, ends, items, bodies) SELECT * FROM unnest("
            "$1::bigint[], $2::text[], $3::bigint[], $4::int[], $5::smallint[], $6::bytea[], $7::bytea[], $8::bytea[])",
            *arrays(self._runs, 8),
        )
        await self._db.execute(
            "INSERT INTO placement (collection, tick, label, vid, newer, run) SELECT * FROM unnest("
            "$1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[])",
            *arrays(self._placements, 6),
        )
        await self._db.execute(
            "INSERT INTO late_run (member, collection, tick, run, count, label) SELECT * FROM unnest("
            "$1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::int[], $6::bigint[])",
            *arrays(self._late_runs, 6),
        )
        await self._db.execute(
            "INSERT INTO relabelled (tick, collection, id, label, former, placed) SELECT u.*, u.tick FROM unnest("
            "$1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS u (tick, collection, id, label, former)",
            *arrays(self._relabelled, 5),
        )
        await self._db.execute(
            "UPDATE member_view SET number = number + 1, last_tick = greatest(last_tick, $1), elsewhere = $1 WHERE member = ANY($2)",
            self._laid.last_tick, sorted(self.touched),
        )  # fmt: skip
        await self._name_again()

    async def _name_again(self) -> None:
        """Notices that are still to be made name what closed, wherever it lies by then."""
        states = {view.member: view.states for view in self._views}
        unnoticed = await self._db.fetch("SELECT id, member, scope FROM recall WHERE NOT noticed AND scope <> ''")
        for recall, member, scope in unnoticed:
            told = still_named(scope, self._again, states.get(member, b""))
            if told is not None:
                await self._db.execute("UPDATE recall SET scope = $1 WHERE id = $2", told, recall)


async def _views(db: Connection, labels: set[int]) -> list[View]:
    """Every member's view, as far as these labels are concerned."""
    kept: dict[str, list[Kept]] = defaultdict(list)
    found = await db.fetch("SELECT member, label, windows, done FROM view_label WHERE label = ANY($1)", list(labels))
    for member, *row in found:
        kept[member].append(Kept.of(*row))
    views = await db.fetch(
        "SELECT member, number, states, floor, last_tick, born, changes, until_us, elsewhere FROM member_view"
    )
    return [view_of(member, tuple(row), kept[member]) for member, *row in views]
