"""Asks the check of a database, and breaks one row of it in a transaction that never ends well."""

import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from exchange.errors import LedgerFault
from exchange.fsck.check import Checked, check
from exchange.fsck.logs import Mark
from exchange.ledger.note import Policy
from exchange.ledger.publisher import Anchors
from exchange.store.postgres_scan import PostgresScan, postgres_scan
from exchange.store.postgres_session import Server
from exchange.store.scan import Scan, SqliteScan, sqlite_scan
from tests.places import Place


async def fsck(place: Place, policies: Mapping[str, Policy], anchors: Path) -> Checked:
    opened = sqlite_scan(place) if isinstance(place, Path) else postgres_scan(Server(place))
    async with opened as scan:
        return await asked(scan, policies, anchors)


async def asked(scan: Scan, policies: Mapping[str, Policy], anchors: Path) -> Checked:
    def mark(log: str) -> Mark | None:
        try:
            anchor = Anchors(anchors).read(log)
        except LedgerFault:
            return None
        return Mark(anchor.size, anchor.root)

    return await check(scan, policies, mark)


class Refused(Exception):
    """The database itself does not let such a row in."""


class Hand(Protocol):
    """Somebody who writes to the tables past the hub."""

    scan: Scan

    async def ask(self, sql: str) -> list[tuple[Any, ...]]: ...

    async def do(self, sql: str, values: Sequence[Any]) -> None:
        """With `?` for each value. Raises Refused."""
        ...


class _Sqlite:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.scan = SqliteScan(db)

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._db.execute(sql).fetchall()

    async def do(self, sql: str, values: Sequence[Any]) -> None:
        try:
            self._db.execute(sql, values)
        except sqlite3.IntegrityError as error:
            raise Refused from error


class _Postgres:
    def __init__(self, db: Any) -> None:
        self._db = db
        self.scan = PostgresScan(db)

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._db.fetch(sql)]

    async def do(self, sql: str, values: Sequence[Any]) -> None:
        numbers = iter(range(1, 1000))
        try:
            await self._db.execute(re.sub("[?]", lambda _: f"${next(numbers)}", sql), *values)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            raise Refused from error


@contextlib.asynccontextmanager
async def hand(place: Place) -> AsyncIterator[Hand]:
    """What it writes is undone at the end."""
    if isinstance(place, Path):
        with contextlib.closing(sqlite3.connect(place, isolation_level=None, check_same_thread=False)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield _Sqlite(db)
            db.execute("ROLLBACK")
        return
    connection = await asyncpg.connect(place)
    try:
        undone = connection.transaction()
        await undone.start()
        await connection.execute("SET LOCAL session_replication_role = replica")  # no foreign keys
        yield _Postgres(connection)
        await undone.rollback()
    finally:
        await connection.close()
