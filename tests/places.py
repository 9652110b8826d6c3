"""A database of either engine, for tests that ask the same of both: a file, or the URL of a server's database."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg

from exchange.clock import Clock, FixedClock
from exchange.store.contract import Store
from exchange.store.postgres import PostgresStore
from exchange.store.postgres_session import Server
from exchange.store.sqlite import SqliteStore

Place = Path | str


def knobs_of(place: Place) -> dict[str, Any]:
    """What the settings of a hub say, for its database to be there. A hub's own file lies in its home."""
    return {"database_url": place} if isinstance(place, str) else {}


async def open_at(place: Place, clock: Clock | None = None) -> Store:
    """The store at a place, at a fixed time unless told otherwise; several may be open at once."""
    if isinstance(place, Path):
        return SqliteStore(place, clock or FixedClock())
    return await PostgresStore.open(Server(place), clock or FixedClock())


async def ask(place: Place, sql: str) -> Any:
    """One value, past the store."""
    if isinstance(place, Path):
        with contextlib.closing(sqlite3.connect(place)) as db:
            return db.execute(sql).fetchone()[0]
    connection = await asyncpg.connect(place)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def order(place: Place, sql: str) -> None:
    """Change something past the store."""
    if isinstance(place, Path):
        with contextlib.closing(sqlite3.connect(place)) as db, db:
            db.execute(sql)
        return
    connection = await asyncpg.connect(place)
    await connection.execute(sql)
    await connection.close()


async def emptied(place: Place) -> Place:
    """A place like a new one, quicker than a new one: for tests that need a hundred."""
    if isinstance(place, Path):
        for file in place.parent.glob(f"{place.name}*"):
            file.unlink()
        return place
    connection = await asyncpg.connect(place)
    await connection.execute("DELETE FROM leaf; DELETE FROM leaf_private; DELETE FROM label; DELETE FROM object;"
                             "DELETE FROM placement; DELETE FROM run; DELETE FROM status; DELETE FROM member_view;"
                             "DELETE FROM view_label; DELETE FROM late_run; DELETE FROM agreement; DELETE FROM member;"
                             "DELETE FROM collection; DELETE FROM recall; DELETE FROM relabelled; DELETE FROM draft;"
                             "DELETE FROM approval; DELETE FROM schedule; DELETE FROM statement; DELETE FROM feed_run;"
                             "DELETE FROM trust_list; DELETE FROM log_key; DELETE FROM held_value; DELETE FROM released_value; DELETE FROM reference;"
                             "UPDATE head SET state = 'open', last_tick = 0, last_time = 0, seq = 0, agreement = 0, pol = '', registry = 0,"
                             " revision = 0, views = 0, moves = 0, citing = 0;"
                             "UPDATE tree SET size = 0, root = sha256(''), frontier = ''")  # fmt: skip
    await connection.close()
    return place
