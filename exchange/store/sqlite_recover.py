"""Putting a log's lost leaves back, on SQLite."""

import sqlite3
from collections.abc import Sequence

from exchange.store.contract import RECOVERING, Act, Done, Floor
from exchange.store.leaves import put_back
from exchange.store.sqlite_append import extend, grow
from exchange.store.sqlite_rows import insert_rows


def recovering(db: sqlite3.Connection, state: str) -> str:
    db.execute(f"UPDATE head SET state = ? WHERE state NOT LIKE '{RECOVERING}%'", (state,))
    return str(db.execute("SELECT state FROM head").fetchone()[0])


def restore(db: sqlite3.Connection, log: str, start: int, entries: Sequence[bytes]) -> None:
    state = db.execute("SELECT state FROM head").fetchone()[0]
    size, frontier = db.execute("SELECT size, frontier FROM tree WHERE log = ?", (log,)).fetchone()
    rows, grown = put_back(state, log, size, frontier, start, entries)
    insert_rows(db, "leaf (log, idx, data, hash)", rows)
    grow(db, grown)


def reopen(db: sqlite3.Connection, floor: Floor, act: Act, now_us: int) -> Done:
    db.execute(
        "UPDATE head SET state = 'open', last_tick = max(last_tick, ?), last_time = max(last_time, ?), seq = max(seq, ?)",
        floor,
    )
    [result] = extend(db, [act], now_us)
    if isinstance(result, Exception):
        raise result
    return result
