"""Many rows in few statements, on SQLite."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

ROWS_AT_ONCE = 128
"""Python's sqlite3 gives the interpreter's lock away at every step and waits for it again: with a thread beside it that
examines objects, `executemany` waits once a row. So many rows are one step, and what is left half as many, and so on: the texts of
these few statements are such as the connection has prepared already, which takes longer than a dozen rows."""


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
