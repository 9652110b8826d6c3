"""Putting a log's lost leaves back, and closing one whose leaves nobody has any more, on SQLite."""

import sqlite3
from collections.abc import Sequence

from exchange.ledger.generations import following
from exchange.ledger.merkle import EMPTY_ROOT
from exchange.store.acts import Act, Done
from exchange.store.contract import RECOVERING, Floor, Succession
from exchange.store.leaves import must_be_open, put_back
from exchange.store.sqlite_append import extend, grow
from exchange.store.sqlite_rows import insert_rows


def recovering(db: sqlite3.Connection, state: str) -> str:
    db.execute(f"UPDATE head SET state = ? WHERE state NOT LIKE '{RECOVERING}%'", (state,))
    return str(db.execute("SELECT state FROM head").fetchone()[0])


def restore(db: sqlite3.Connection, log: str, start: int, entries: Sequence[bytes]) -> None:
    state = db.execute("SELECT state FROM head").fetchone()[0]
    tree = db.execute("SELECT log, size, frontier, closed FROM tree WHERE log = ?", (log,)).fetchone()
    rows, grown = put_back(state, tree, start, entries)
    insert_rows(db, "leaf (log, idx, data, hash)", rows)
    grow(db, grown)


def reopen(db: sqlite3.Connection, floor: Floor, act: Act, successions: Sequence[Succession], now_us: int) -> Done:
    db.execute(
        "UPDATE head SET state = 'open', last_tick = max(last_tick, ?), last_time = max(last_time, ?), seq = max(seq, ?)",
        floor,
    )
    for one in successions:
        closed = db.execute("UPDATE tree SET closed = 1 WHERE log = ? AND closed = 0", (one.log,))
        must_be_open(one.log, closed=closed.rowcount != 1)
        db.execute(
            "INSERT INTO tree (log, size, root, frontier, before, closed) VALUES (?, 0, ?, X'', ?, 0)",
            (following(one.log), EMPTY_ROOT, one.before),
        )
    [result] = extend(db, [act], now_us)
    if isinstance(result, Exception):
        raise result
    return result
