"""Runs of feeds, and values held and released, on PostgreSQL (store/feed_rows.py says what is promised)."""

from collections.abc import Sequence
from dataclasses import astuple, replace

from exchange.store.contract import Outdated
from exchange.store.feed_rows import HELD_KEPT, RUNS_KEPT, FeedRunRow, HeldRow, ReleaseRow
from exchange.store.postgres_session import Connection

_COLUMNS = "member, feed, run, ended_us, good_us, sha256, body"
_NEWEST = "ORDER BY ended_us DESC, run DESC"


async def record(db: Connection, row: FeedRunRow) -> None:
    """Raises Outdated for a run that is known, or older than all that are kept."""
    put = await db.execute(
        f"INSERT INTO feed_run ({_COLUMNS})"
        " SELECT $1, $2, $3, $4, greatest($5, (SELECT max(good_us) FROM feed_run WHERE member = $1 AND feed = $2)), $6, $7"
        " ON CONFLICT DO NOTHING",
        *astuple(row),
    )
    if put != "INSERT 0 1":
        raise Outdated
    oldest = await db.fetchval(
        f"SELECT run FROM feed_run WHERE member = $1 AND feed = $2 {_NEWEST} LIMIT 1 OFFSET {RUNS_KEPT}",
        row.member, row.feed,
    )  # fmt: skip
    if oldest == row.run:
        raise Outdated
    if oldest is not None:
        await db.execute(
            "DELETE FROM feed_run WHERE member = $1 AND feed = $2 AND run = $3", row.member, row.feed, oldest
        )


async def feeds(db: Connection, members: Sequence[str]) -> list[FeedRunRow]:
    found = await db.fetch(
        "SELECT DISTINCT ON (member, feed) member, feed, run, ended_us, max(good_us) OVER (PARTITION BY member, feed), sha256, body"
        " FROM feed_run WHERE member = ANY($1)"
        " ORDER BY member, feed, ended_us DESC, run DESC",
        list(members),
    )
    return [FeedRunRow(*row) for row in found]


async def feed_runs(db: Connection, member: str, feed: str) -> list[FeedRunRow]:
    found = await db.fetch(f"SELECT {_COLUMNS} FROM feed_run WHERE member = $1 AND feed = $2 {_NEWEST}", member, feed)
    return [FeedRunRow(*row) for row in found]


async def note(db: Connection, rows: Sequence[HeldRow], time_us: int) -> None:
    """Of one member. Forgets the oldest beyond HELD_KEPT."""
    await db.executemany(
        "INSERT INTO held_value (member, value, list_name, asset, object_id, held_us) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (member, value) DO UPDATE SET list_name = excluded.list_name, asset = excluded.asset,"
        " object_id = excluded.object_id, held_us = excluded.held_us",
        [astuple(replace(row, held_us=time_us)) for row in rows],
    )
    await db.execute(
        "DELETE FROM held_value WHERE member = $1 AND held_us <="
        f" (SELECT held_us FROM held_value WHERE member = $1 ORDER BY held_us DESC LIMIT 1 OFFSET {HELD_KEPT})",
        rows[0].member,
    )


async def put_release(db: Connection, row: ReleaseRow) -> None:
    """What has lapsed is forgotten."""
    await db.execute("DELETE FROM released_value WHERE until_us <= (SELECT last_time FROM head)")
    await db.execute(
        "INSERT INTO released_value (audience, value, until_us) VALUES ($1, $2, $3)"
        " ON CONFLICT (audience, value) DO UPDATE SET until_us = excluded.until_us",
        *astuple(row),
    )


async def releases(db: Connection) -> tuple[ReleaseRow, ...]:
    found = await db.fetch("SELECT audience, value, until_us FROM released_value ORDER BY audience, value")
    return tuple(ReleaseRow(*row) for row in found)


async def held_values(db: Connection, members: Sequence[str]) -> list[HeldRow]:
    found = await db.fetch(
        "SELECT member, value, list_name, asset, object_id, held_us FROM held_value"
        " WHERE member = ANY($1) ORDER BY held_us DESC, member, value",
        list(members),
    )
    return [HeldRow(*row) for row in found]
