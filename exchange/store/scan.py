"""Whole tables read in order from one moment, by either engine, without writing and with few rows in memory: for those who
check everything there is."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from exchange.store.sqlite import connect

ROWS_AT_ONCE = 256

Cells = tuple[Any, ...]


def literal(text: str) -> str:
    """A text in a question: scans have no parameters, for the two engines write them differently."""
    return "'" + text.replace("\0", "").replace("'", "''") + "'"


class Scan(Protocol):
    """Any number of questions may be under way at once; all are answered from the moment the scan was opened."""

    keyed: bool
    """Whether objects are found by a key of their id, kept beside it."""

    def rows(self, sql: str) -> AsyncIterator[Cells]:
        """The rows of a question that both engines understand, a few hundred at a time."""
        ...


class SqliteScan:
    """On a connection with a transaction under way."""

    keyed = True

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    async def rows(self, sql: str) -> AsyncIterator[Cells]:
        cursor = await asyncio.to_thread(self._db.execute, sql)
        while part := await asyncio.to_thread(cursor.fetchmany, ROWS_AT_ONCE):
            for row in part:
                yield row


@contextlib.asynccontextmanager
async def sqlite_scan(path: Path) -> AsyncIterator[Scan]:
    """Raises OSError when there is no such file: a check makes none."""
    db = await asyncio.to_thread(_reading, path)
    with contextlib.closing(db):
        yield SqliteScan(db)


def _reading(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise FileNotFoundError(2, "no database / no hay base de datos", str(path))
    db = connect(path, read_only=True)
    db.execute("BEGIN")
    db.execute("SELECT state FROM head").fetchall()  # the moment is that of the first question
    return db
