"""Runs of feeds on PostgreSQL (store/feed_rows.py says what is promised)."""

from collections.abc import Sequence
from dataclasses import astuple

from exchange.store.contract import Outdated
from exchange.store.feed_rows import RUNS_KEPT, FeedRunRow
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
