"""Many rows in few steps, on SQLite: Python gives the interpreter's lock away at every step, and waits for it again."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson

ROWS_AT_ONCE = 128
"""With a thread beside it that examines objects, `executemany` waits once a row. So many rows are one step, and what is left half
as many, and so on: the texts of these few statements are such as the connection has prepared already, which takes longer than a
dozen rows."""


def in_one_step(
    db: sqlite3.Connection, columns: Sequence[str], sql: str, values: Sequence[Any] = ()
) -> list[list[Any]]:
    """What a question answers, its numbers and texts, as one row. With threads beside it that want the interpreter, hundreds of
    rows that are taken one by one take several times as long as SQLite needs for them."""
    row = db.execute(f"SELECT json_group_array(json_array({', '.join(columns)})) FROM ({sql})", values).fetchone()
    found: list[list[Any]] = orjson.loads(row[0])
    return found


def insert_rows(db: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """`into` is the table with its columns, as many as each row has values: "leaf (log, idx, data, hash)"."""
    start = 0
    while start < len(rows):
        count = min(ROWS_AT_ONCE, 1 << (len(rows) - start).bit_length() - 1)
        db.execute(_statement(into, len(rows[0]), count), list(chain.from_iterable(rows[start : start + count])))
        start += count


@lru_cache(maxsize=128)
def _statement(into: str, columns: int, count: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {','.join([row] * count)}"
