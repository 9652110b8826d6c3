"""Runs of feeds on SQLite (store/feed_rows.py says what is promised)."""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple

from exchange.store.contract import Outdated
from exchange.store.feed_rows import RUNS_KEPT, FeedRunRow

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
