"""Many rows in few statements, on SQLite."""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

ROWS_AT_ONCE = 100
"""Python's sqlite3 gives the interpreter's lock away at every step and waits for it again: with a thread beside it that
examines objects, `executemany` waits once a row. So many rows are one step; and the text of a full statement is one that the
connection has prepared already."""


def insert_rows(db: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """`into` is the table with its columns, as many as each row has values: "leaf (log, idx, data, hash)"."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        marks = f"({','.join('?' * len(part[0]))})"
        db.execute(f"INSERT INTO {into} VALUES {','.join([marks] * len(part))}", list(chain.from_iterable(part)))
