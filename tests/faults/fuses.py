"""Connections that fail at the n-th statement: before it is done, or after. Stores are given them when they are opened."""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from exchange.store.postgres_session import Server
from exchange.store.sqlite import connect


@dataclass
class Fuse:
    """Blows once, at the statement `at` of those that are sent while it is armed."""

    done: bool
    """Whether the statement is carried out all the same: "failed, but done"."""
    error: Callable[[str], Exception]
    at: int = 0
    armed: bool = False
    blown: str = ""
    _sent: int = 0

    def arm(self, at: int) -> None:
        self.at, self.armed, self.blown, self._sent = at, True, "", 0

    def _strikes(self, what: str) -> bool:
        if not self.armed:
            return False
        self._sent += 1
        if self._sent == self.at:
            self.blown = what
        return self._sent == self.at

    def send(self, what: str, work: Callable[[], Any]) -> Any:
        strikes = self._strikes(what)
        if strikes and not self.done:
            raise self.error(what)
        result = work()
        if strikes:
            raise self.error(what)
        return result

    async def send_and_wait(self, what: str, work: Callable[[], Awaitable[Any]]) -> Any:
        strikes = self._strikes(what)
        if strikes and not self.done:
            raise self.error(what)
        result = await work()
        if strikes:
            raise self.error(what)
        return result


# --- SQLite ---


def fused_sqlite(fuse: Fuse, path: Path) -> sqlite3.Connection:
    class Fused(sqlite3.Connection):
        def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
            return fuse.send(sql, partial(super().execute, sql, *more))  # type: ignore[no-any-return]

        def executemany(self, sql: str, *more: Any) -> sqlite3.Cursor:
            return fuse.send(sql, partial(super().executemany, sql, *more))  # type: ignore[no-any-return]

    return connect(path, factory=Fused)


# --- PostgreSQL ---


class _Transaction:
    def __init__(self, fuse: Fuse, real: Any) -> None:
        self._fuse = fuse
        self._real = real

    async def __aenter__(self) -> None:
        await self._fuse.send_and_wait("BEGIN", self._real.__aenter__)

    async def __aexit__(self, *error: Any) -> Any:
        what = "COMMIT" if error[0] is None else "ROLLBACK"
        return await self._fuse.send_and_wait(what, partial(self._real.__aexit__, *error))


class _Connection:
    """A connection that breaks where the fuse says: the session is lost with it, as with its network."""

    def __init__(self, fuse: Fuse, real: Any) -> None:
        self._fuse = fuse
        self._real = real

    def transaction(self, **more: Any) -> _Transaction:
        return _Transaction(self._fuse, self._real.transaction(**more))

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in ("execute", "executemany", "fetch", "fetchrow", "fetchval"):
            return real

        async def send(sql: str, *more: Any) -> Any:
            return await self._fuse.send_and_wait(sql, partial(real, sql, *more))

        return send


@dataclass(frozen=True)
class FusedServer(Server):
    """Its writers' connections are fused; readers' come from a pool, which is not."""

    fuse: Fuse = field(default_factory=lambda: Fuse(done=False, error=OSError))

    async def connect(self) -> Any:
        return _Connection(self.fuse, await super().connect())
