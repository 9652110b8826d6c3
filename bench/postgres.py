"""A PostgreSQL server of the benchmark's own: as durable as it comes, reached over a Unix socket, gone at the end."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.postgres import Cluster, cluster


@dataclass
class Postgres:
    """The server and its first process."""

    cluster: Cluster
    pid: int
    _numbers: Iterator[int] = field(default_factory=count)

    def empty(self) -> str:
        """The URL of a new database."""
        return self.copy(self._url("template0"))

    def copy(self, of: str) -> str:
        """The URL of a new database with the content of that one, which nobody may be using."""
        name = f"bench_{next(self._numbers)}"
        asyncio.run(self._order(f'CREATE DATABASE "{name}" TEMPLATE "{urlsplit(of).path[1:]}"'))
        return self._url(name)

    def _url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.cluster.url)._replace(path=f"/{name}"))

    async def _order(self, statement: str) -> None:
        db = await asyncpg.connect(self.cluster.url)
        await db.execute(statement)
        await db.close()


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """One, running until the block ends. Raises NoPostgres."""
    with cluster() as running:
        yield Postgres(running, _first_process(running.data))


def _first_process(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().splitlines()[0])


def version(server: Postgres) -> str:
    """What the server calls itself."""

    async def ask() -> str:
        db = await asyncpg.connect(server.cluster.url)
        try:
            return str(await db.fetchval("SHOW server_version")).partition(" ")[0]
        finally:
            await db.close()

    return asyncio.run(ask())
