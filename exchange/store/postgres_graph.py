"""What connects objects, on PostgreSQL: the answers that store/graph.py asks for, and what comes under another label.

Runs inside the append transaction; a crash in here is its rollback.
"""

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar

from exchange.model.view import LateRun, View
from exchange.store.graph import End, EndsOf, Lain, Moving, PlacementsOf, ReferringTo, still_named
from exchange.store.late import Kept, view_of
from exchange.store.placing import Laid
from exchange.store.postgres_late import VIEW, keep, owing, settle
from exchange.store.postgres_session import Connection, arrays, askable
from exchange.store.relabel import Relabelling, pieces
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


async def relabel(
    db: Connection, laid: Laid, time_us: int, labels: Mapping[str, int], moving: Sequence[Moving]
) -> Relabelling:
    """Put what is placed under other labels, where it lies. `labels`: the numbers of those."""
    by_run: dict[int, list[Moving]] = defaultdict(list)
    for one in moving:
        by_run[one.lain.run].append(one)
    made = await _begun(db, moving, sorted(by_run), {labels[one.facets] for one in moving}, (time_us, laid.last_tick))
    rows = _Rows()
    for run in sorted(by_run):
        found = await db.fetchrow(
            "DELETE FROM run WHERE first_tick = $1 RETURNING count, odd, ends, items, bodies", run
        )
        rows.turn(run, tuple(found), by_run[run], labels, made)
    laid.last_tick = made.last_tick
    await rows.write(db, made)
    await _write(db, made)
    return made


async def _begun(
    db: Connection, moving: Sequence[Moving], runs: Sequence[int], labels: set[int], since: tuple[int, int]
) -> Relabelling:
    views, countries, concerned = {}, {}, labels | {one.lain.label for one in moving}
    settled = sum([await settle(db, member) for member in await owing(db, concerned)])
    for country, view in await _views(db, concerned):
        views[view.member], countries[view.member] = view, country
    late: dict[int, dict[str, LateRun]] = {run: {} for run in runs}
    sql = "SELECT member, tick, run, count, label FROM late_run WHERE member = ANY($1) AND run = ANY($2)"
    for member, *row in await db.fetch(sql, list(views), runs):
        late[row[1]][member] = LateRun(*row)
    pending = await db.fetch(
        "SELECT placed FROM relabelled WHERE again AND placed = ANY($1)", [one.lain.tick for one in moving]
    )
    return Relabelling(views, countries, late, settled, frozenset([row[0] for row in pending]), *since)


class _Rows:
    """What is to be written of the runs."""

    def __init__(self) -> None:
        self._runs: list[tuple[Any, ...]] = []
        self._placements: list[tuple[str, int, int, int, int]] = []
        """collection, first tick, last, label, run."""
        self._counts: list[tuple[int, int, int, int]] = []
        """label, how many came under it, its last tick of those, and the hub's."""

    def turn(
        self, run: int, row: tuple[Any, ...], rows: Sequence[Moving], labels: Mapping[str, int], made: Relabelling
    ) -> None:
        collection, former = rows[0].lain.collection, rows[0].lain.label
        count, odd, *content = row
        whole = Run(*content)
        for one in pieces(count, rows, run):
            first, last, label = run + one.start, run + one.stop - 1, former
            if one.moving:
                label = labels[one.moving[0].facets]
                made.turn(run, one, label)
                self._counts.append((former, -len(one.moving), 0, 0))
                self._counts.append((label, len(one.moving), last, made.last_tick))
            else:
                made.stay(run, one, label, collection)
            self._placements.append((collection, first, last, label, first))
            self._runs.append((first, collection, label, one.stop - one.start, odd, *whole.part(one.start, one.stop)))

    async def write(self, db: Connection, made: Relabelling) -> None:
        await db.execute(
            "INSERT INTO run (first_tick, collection, label, count, odd, ends, items, bodies) SELECT * FROM unnest("
            "$1::bigint[], $2::text[], $3::bigint[], $4::int[], $5::smallint[], $6::bytea[], $7::bytea[], $8::bytea[])",
            *arrays(self._runs, 8),
        )
        turned = arrays(self._placements, 5)
        await db.execute(
            f"UPDATE placement p SET run = u.run, label = u.label FROM {_TURNED}"
            " WHERE p.collection = u.collection AND p.tick BETWEEN u.first AND u.last",
            *turned,
        )
        await db.execute(
            "UPDATE label l SET placements = l.placements + u.count, last_tick = greatest(l.last_tick, u.last),"
            " joined = greatest(l.joined, u.joined) FROM (SELECT id, sum(count) AS count, max(last) AS last,"
            " max(joined) AS joined FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])"
            " AS u (id, count, last, joined) GROUP BY id) u WHERE l.id = u.id",
            *arrays(self._counts, 4),
        )
        for column, place, again in (("label", "tick", False), ("label", "placed", True), ("former", "placed", False)):
            await db.execute(
                f"UPDATE relabelled r SET {column} = u.label FROM {_TURNED}"
                f" WHERE r.collection = u.collection AND r.{place} BETWEEN u.first AND u.last AND r.again = $6",
                *turned, again,
            )  # fmt: skip
        runs, members = list(made.late), sorted({member for late in made.late.values() for member in late})
        await db.execute("DELETE FROM late_run WHERE member = ANY($1) AND run = ANY($2)", members, runs)


_TURNED = "unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS u (collection, first, last, label, run)"


async def _write(db: Connection, made: Relabelling) -> None:
    await db.execute(
        "INSERT INTO late_run (member, collection, tick, run, count, label) SELECT * FROM unnest("
        "$1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::int[], $6::bigint[])",
        *arrays(made.late_rows, 6),
    )
    await db.execute(
        "INSERT INTO relabelled (tick, collection, id, label, former, placed, again) SELECT u.*, true FROM unnest("
        "$1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) AS u",
        *arrays(made.relabelled, 6),
    )
    for (member, _), kept in made.kept.items():
        await keep(db, member, [kept])
    await db.execute(
        "UPDATE member_view v SET number = v.number + 1, states = u.states, last_tick = greatest(v.last_tick, $4),"
        " elsewhere = u.elsewhere FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS u (member, states, elsewhere)"
        " WHERE v.member = u.member",
        *arrays(made.rows, 3), made.last_tick,
    )  # fmt: skip
    await _name_again(db, made)


async def _name_again(db: Connection, made: Relabelling) -> None:
    """Notices that are still to be made name what closed, under whatever label it lies by then."""
    unnoticed = await db.fetch("SELECT id, member, scope FROM recall WHERE NOT noticed AND NOT owes AND scope <> ''")
    for recall, member, scope in unnoticed:
        told = still_named(scope, made.again, made.states(member))
        if told is not None:
            await db.execute("UPDATE recall SET scope = $1 WHERE id = $2", told, recall)


async def _views(db: Connection, labels: set[int]) -> list[tuple[str, View]]:
    """Every member's country and view, as far as these labels are concerned."""
    kept: dict[str, list[Kept]] = defaultdict(list)
    found = await db.fetch("SELECT member, label, windows, done FROM view_label WHERE label = ANY($1)", list(labels))
    for member, *row in found:
        kept[member].append(Kept.of(*row))
    views = await db.fetch(f"SELECT m.country, v.member, {VIEW} FROM member_view v JOIN member m ON m.slug = v.member")
    return [(country, view_of(member, tuple(row), kept[member])) for country, member, *row in views]
