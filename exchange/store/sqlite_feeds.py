"""Runs of feeds, and values held and released, on SQLite (store/feed_rows.py says what is promised)."""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, replace

from exchange.store.contract import Outdated
from exchange.store.feed_rows import HELD_KEPT, RUNS_KEPT, FeedRunRow, HeldRow, ReleaseRow

_COLUMNS = "member, feed, run, ended_us, good_us, sha256, body"
_NEWEST = "ORDER BY ended_us DESC, run DESC"


def record(db: sqlite3.Connection, row: FeedRunRow) -> None:
    """Raises Outdated for a run that is known, or older than all that are kept."""
    put = db.execute(
        f"INSERT INTO feed_run ({_COLUMNS})"
        " SELECT ?1, ?2, ?3, ?4, max(?5, (SELECT coalesce(max(good_us), 0) FROM feed_run WHERE member = ?1 AND feed = ?2)),"
        " ?6, ?7 WHERE true ON CONFLICT DO NOTHING",
        astuple(row),
    )
    if not put.rowcount:
        raise Outdated
    oldest = db.execute(
        f"SELECT run FROM feed_run WHERE member = ? AND feed = ? {_NEWEST} LIMIT 1 OFFSET {RUNS_KEPT}",
        (row.member, row.feed),
    ).fetchone()
    if oldest is None:
        return
    if oldest[0] == row.run:
        raise Outdated
    db.execute("DELETE FROM feed_run WHERE member = ? AND feed = ? AND run = ?", (row.member, row.feed, oldest[0]))


def feeds(db: sqlite3.Connection, members: Sequence[str]) -> list[FeedRunRow]:
    found = db.execute(
        "SELECT member, feed, run, ended_us,"
        " (SELECT max(good_us) FROM feed_run n WHERE n.member = f.member AND n.feed = f.feed), sha256, body"
        f" FROM feed_run f WHERE member IN ({','.join('?' * len(members))}) AND run ="
        f" (SELECT run FROM feed_run n WHERE n.member = f.member AND n.feed = f.feed {_NEWEST} LIMIT 1) ORDER BY member, feed",
        tuple(members),
    )
    return [FeedRunRow(*values) for values in found]


def feed_runs(db: sqlite3.Connection, member: str, feed: str) -> list[FeedRunRow]:
    found = db.execute(f"SELECT {_COLUMNS} FROM feed_run WHERE member = ? AND feed = ? {_NEWEST}", (member, feed))
    return [FeedRunRow(*values) for values in found]


def note(db: sqlite3.Connection, rows: Sequence[HeldRow], time_us: int) -> None:
    """Of one member. Forgets the oldest beyond HELD_KEPT."""
    db.executemany(
        "INSERT INTO held_value (member, value, list_name, asset, object_id, held_us) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (member, value) DO UPDATE SET list_name = excluded.list_name, asset = excluded.asset,"
        " object_id = excluded.object_id, held_us = excluded.held_us",
        [astuple(replace(row, held_us=time_us)) for row in rows],
    )
    db.execute(
        "DELETE FROM held_value WHERE member = ?1 AND held_us <="
        f" (SELECT held_us FROM held_value WHERE member = ?1 ORDER BY held_us DESC LIMIT 1 OFFSET {HELD_KEPT})",
        (rows[0].member,),
    )


def put_release(db: sqlite3.Connection, row: ReleaseRow) -> None:
    """What has lapsed is forgotten."""
    db.execute("DELETE FROM released_value WHERE until_us <= (SELECT last_time FROM head)")
    db.execute(
        "INSERT INTO released_value (audience, value, until_us) VALUES (?, ?, ?)"
        " ON CONFLICT (audience, value) DO UPDATE SET until_us = excluded.until_us",
        astuple(row),
    )


def releases(db: sqlite3.Connection) -> tuple[ReleaseRow, ...]:
    found = db.execute("SELECT audience, value, until_us FROM released_value ORDER BY audience, value")
    return tuple(ReleaseRow(*row) for row in found)


def held_values(db: sqlite3.Connection, members: Sequence[str]) -> list[HeldRow]:
    found = db.execute(
        "SELECT member, value, list_name, asset, object_id, held_us FROM held_value"
        f" WHERE member IN ({','.join('?' * len(members))}) ORDER BY held_us DESC, member, value",
        tuple(members),
    )
    return [HeldRow(*row) for row in found]
