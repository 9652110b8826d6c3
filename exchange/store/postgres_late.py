"""Members' views on PostgreSQL: read, and taken a step further inside the append transaction."""

from collections.abc import Sequence, Set

from exchange.model.recall import RELABELLED_AT_ONCE, UNNOTICED_AT_ONCE, RecallRow, Relabelled
from exchange.model.view import LateRun, View
from exchange.store.acts import Stepped, ViewChange, Waiting
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
from exchange.store.postgres_session import Connection, arrays
from exchange.store.scope import Owed, settled

_RECALLS = (
    "SELECT id, member, collection, cause, term, reveals, countries, what, scope, opened_us, due_us, required, seen_us,"
    " acknowledged_us, account, noticed, owes FROM recall"
)
_OWES = "EXISTS (SELECT 1 FROM recall WHERE owes AND recall.member = v.member)"
VIEW = f"v.number, v.states, v.floor, v.last_tick, v.born, v.changes, v.until_us, v.elsewhere, {_OWES}"
"""What `view_of` reads, of member_view v."""


async def view(db: Connection, member: str) -> View | None:
    """See Store.view. All of it in the caller's snapshot."""
    row = await db.fetchrow(f"SELECT {VIEW} FROM member_view v WHERE v.member = $1", member)
    return view_of(member, tuple(row), await _kept(db, member)) if row else None


async def views(db: Connection) -> dict[str, int]:
    """See Store.views."""
    return {row[0]: row[1] for row in await db.fetch("SELECT member, number FROM member_view")}


async def late(db: Connection, member: str, collection: str) -> list[LateRun]:
    """See Store.late."""
    sql = "SELECT tick, run, count, label FROM late_run WHERE member = $1 AND collection = $2 ORDER BY run"
    return list(map(LateRun._make, await db.fetch(sql, member, collection)))


async def recalls(db: Connection, member: str | None) -> list[RecallRow]:
    """See Store.recalls."""
    sql = f"{_RECALLS} WHERE $1::text IS NULL OR member = $1 ORDER BY opened_us, id"
    return [RecallRow(*row) for row in await db.fetch(sql, member)]


async def unnoticed(db: Connection) -> list[RecallRow]:
    """See Store.unnoticed."""
    sql = f"{_RECALLS} WHERE NOT noticed AND NOT owes ORDER BY opened_us, id LIMIT $1"
    return [RecallRow(*row) for row in await db.fetch(sql, UNNOTICED_AT_ONCE)]


async def relabelled(db: Connection) -> list[Relabelled]:
    """See Store.relabelled."""
    sql = "SELECT tick, collection, id, label, former, placed, again FROM relabelled ORDER BY tick LIMIT $1"
    return [Relabelled(*row) for row in await db.fetch(sql, RELABELLED_AT_ONCE)]


async def ripe(db: Connection, after: Sequence[tuple[int, int]]) -> dict[int, int]:
    """See Store.ripe."""
    found = await db.fetch(
        "SELECT a.label, r.first_tick FROM unnest($1::bigint[], $2::bigint[]) AS a (label, tick) CROSS JOIN LATERAL"
        " (SELECT first_tick FROM run WHERE run.label = a.label AND first_tick > a.tick ORDER BY first_tick LIMIT 1) r",
        *arrays(after, 2),
    )
    return {row[0]: row[1] for row in found}


async def step(db: Connection, change: ViewChange, last_tick: int, changes: int) -> Stepped:
    """Take a view a step further. What becomes visible late has its ticks behind `last_tick`, one after the other."""
    row = await db.fetchrow(
        f"SELECT v.number, v.until_us, {_OWES} FROM member_view v WHERE v.member = $1", change.member
    )
    number, until_us, owes = row or (0, 0, False)
    if not follows(change, number, owes):
        raise Outdated
    kept, settled = opened(change, last_tick)
    gone = await _forget(db, change)
    await keep(db, change.member, settled)
    given, done = await _release(db, change, kept, last_tick)
    await db.execute(
        "INSERT INTO member_view AS v (member, number, states, floor, last_tick, born, changes, until_us)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        " ON CONFLICT (member) DO UPDATE SET number = excluded.number, states = excluded.states, floor = excluded.floor,"
        " last_tick = greatest(v.last_tick, excluded.last_tick), changes = excluded.changes, until_us = excluded.until_us",
        change.member, change.number + 1, change.states, change.floor, given[-1].last_tick if given else 0,
        last_tick, changes, change.until_us,
    )  # fmt: skip
    return Stepped(changes, until_us, last_tick, (*settled, *done), tuple(given), gone)


async def settle(db: Connection, member: str) -> bool:
    """Have the member's recalls say where what closed lay, and forget it. False when they say it all."""
    recalls = [
        Owed.of(*row) for row in await db.fetch("SELECT id, scope FROM recall WHERE member = $1 AND owes", member)
    ]
    before = await view(db, member) if recalls else None
    if before is None:
        return False
    labels = [label for one in recalls for label in one.labels]
    await _unkeep(db, member, labels)
    said = settled(before, recalls, await _unrelease(db, member, labels))
    await db.executemany("UPDATE recall SET scope = $1, owes = false WHERE id = $2", said)
    await db.execute("UPDATE member_view SET number = number + 1 WHERE member = $1", member)
    return True


async def owing(db: Connection, labels: Set[int]) -> list[str]:
    """The members that still have recalls to say something of one of these labels."""
    rows = await db.fetch("SELECT id, scope, member FROM recall WHERE owes ORDER BY member")
    found = {member: None for recall, scope, member in rows if not labels.isdisjoint(Owed.of(recall, scope).labels)}
    return list(found)


async def overtaken(db: Connection, tick: int) -> None:
    """The rules changed: by those that views were written by, nothing behind the tick is shown."""
    await db.execute("UPDATE member_view SET until_us = $1 WHERE until_us > $1", tick)


async def _forget(db: Connection, change: ViewChange) -> tuple[LateRun, ...]:
    closed, anew = closed_and_anew(change)
    if closed:
        await _unkeep(db, change.member, closed)
    return forgotten(await _unrelease(db, change.member, [*closed, *anew]), anew)


async def _unkeep(db: Connection, member: str, labels: Sequence[int]) -> None:
    await db.execute("DELETE FROM view_label WHERE member = $1 AND label = ANY($2)", member, labels)


async def _unrelease(db: Connection, member: str, labels: Sequence[int]) -> list[LateRun]:
    """Take out what was released late under these labels."""
    if not labels:
        return []
    rows = await db.fetch(
        "DELETE FROM late_run WHERE member = $1 AND label = ANY($2) RETURNING tick, run, count, label", member, labels
    )
    return list(map(LateRun._make, rows))


async def _release(
    db: Connection, change: ViewChange, kept: dict[int, Kept], last_tick: int
) -> tuple[list[LateRun], list[Kept]]:
    if not change.waiting:
        return [], []
    if any(one.label not in kept for one in change.waiting):
        kept = {**{one.label: one for one in await _kept(db, change.member)}, **kept}
    found = await waiting_runs(db, change.member, change.waiting, kept, last_tick, change.runs_at_most + 1)
    going, cut = first(found, change.runs_at_most)
    done = [released(one, kept[one.label], last_tick, going, cut=cut) for one in change.waiting]
    await keep(db, change.member, done)
    given = fresh(going, last_tick + 1)
    rows = [(change.member, run.collection, *one) for run, one in zip(going, given, strict=True)]
    columns = ("member", "collection", "tick", "run", "count", "label")
    await db.copy_records_to_table("late_run", records=rows, columns=columns)
    return given, done


async def waiting_runs(
    db: Connection, member: str, waiting: Sequence[Waiting], kept: dict[int, Kept], last_tick: int, at_most: int
) -> list[Ripe]:
    """The first runs under each label that waits, so many at most. Not what is shown where it was before."""
    asked = [
        (one.label, one.collection, *gap) for one in waiting for gap in kept[one.label].gaps(until_of(one, last_tick))
    ]
    found = await db.fetch(
        "SELECT r.first_tick, r.count, a.label, a.collection"
        " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS a (label, collection, after, until)"
        " CROSS JOIN LATERAL (SELECT first_tick, count FROM run WHERE run.label = a.label AND first_tick > a.after"
        " AND first_tick <= a.until AND NOT EXISTS (SELECT 1 FROM late_run WHERE member = $6 AND run = first_tick OFFSET 0)"
        " ORDER BY first_tick LIMIT $5) r",
        *arrays(asked, 4),
        at_most,
        member,
    )
    return list(map(Ripe._make, found))


async def _kept(db: Connection, member: str) -> list[Kept]:
    rows = await db.fetch("SELECT label, windows, done FROM view_label WHERE member = $1 ORDER BY label", member)
    return [Kept.of(*row) for row in rows]


async def keep(db: Connection, member: str, labels: Sequence[Kept]) -> None:
    if labels:
        await db.execute(
            "INSERT INTO view_label (member, label, windows, done)"
            " SELECT $1, u.* FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS u"
            " ON CONFLICT (member, label) DO UPDATE SET windows = excluded.windows, done = excluded.done",
            member,
            *arrays([one.columns for one in labels], 3),
        )
