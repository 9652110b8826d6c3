"""Whole tables read in order from one moment, on PostgreSQL (store/scan.py)."""

import contextlib
from collections.abc import AsyncIterator

from exchange.store.postgres_session import Connection, Server
from exchange.store.scan import ROWS_AT_ONCE, Cells, Scan


class PostgresScan:
    """On a connection with a transaction under way."""

    keyed = False

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def rows(self, sql: str) -> AsyncIterator[Cells]:
        async for row in self._db.cursor(sql, prefetch=ROWS_AT_ONCE):
            yield tuple(row)


@contextlib.asynccontextmanager
async def postgres_scan(server: Server) -> AsyncIterator[Scan]:
    """One read-only transaction at one snapshot, with as much time as it takes."""
    db = await server.connect()
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            await db.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            yield PostgresScan(db)
    finally:
        await db.close()
