"""A PostgreSQL for tests, without Docker: a cluster of our own, and fresh databases on it or on a server that is given.

It is as durable as a real one: the store refuses any other.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from exchange.store.postgres_session import Server, prepare

_TEMPLATE = "puente_template"
_NEITHER = (
    "no PostgreSQL: EXCHANGE_TEST_POSTGRES is not set and no pg_ctl is on this machine (Debian: apt install postgresql)"
)


class NoPostgres(Exception):
    """There is none here."""

    def __str__(self) -> str:
        return "no pg_ctl on this machine (Debian: apt install postgresql), so PostgreSQL is not tested"


def programs() -> Path:
    """Where initdb and pg_ctl are. Raises NoPostgres."""
    found = shutil.which("pg_ctl")
    candidates = [Path(found).resolve()] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not candidates:
        raise NoPostgres
    return candidates[-1].parent


@dataclass
class Cluster:
    """A server of our own under a short path: a socket's may not be longer than 107 bytes."""

    base: Path
    programs: Path = field(default_factory=programs)
    address: str = ""
    """Where it listens beside its socket, and asks for a password."""

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def url(self) -> str:
        return f"postgresql://hub@/postgres?host={quote(str(self.base), safe='')}"

    def call(self, program: str, *arguments: str | Path) -> None:
        """As user postgres when we are root: PostgreSQL refuses to run as root."""
        user = "postgres" if os.getuid() == 0 else None
        subprocess.run(
            [self.programs / program, *arguments], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, user=user, group=user, cwd="/",
        )  # fmt: skip

    def create(self) -> None:
        self.call("initdb", "-D", self.data, "-Uhub", "-Atrust", "-EUTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        options = f"-k {self.base} -c listen_addresses='{self.address}' -c max_connections=200 -c recovery_init_sync_method=syncfs"
        self.call("pg_ctl", "-D", self.data, "-w", "-o", options, "-l", self.base / "log", "start")

    def stop(self) -> None:
        """In order: it ends its clients' sessions and writes what it has."""
        self.call("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")

    def fall(self) -> None:
        """As if its power was cut: nothing is written any more, and the next start recovers."""
        self.call("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    @contextmanager
    def standby(self) -> Iterator["Cluster"]:
        """A hot standby that follows this one."""
        with _place() as base:
            made = Cluster(base, self.programs)
            self.call("pg_basebackup", "-h", self.base, "-U", "hub", "-D", made.data, "-R", "-c", "fast")
            made.start()
            try:
                yield made
            finally:
                made.fall()


@contextmanager
def _place() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="pg"))
    base.chmod(0o777)
    yield base
    shutil.rmtree(base, ignore_errors=True)


@contextmanager
def cluster(address: str = "", subnet: str = "") -> Iterator[Cluster]:
    """A fresh one, running until the block ends; at an address too, for those who are in `subnet`. Raises NoPostgres."""
    found = programs()
    with _place() as base:
        made = Cluster(base, found, address)
        made.create()
        if address:
            with (made.data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {subnet} scram-sha-256\n")
        made.start()
        try:
            yield made
        finally:
            made.fall()


@dataclass
class Databases:
    """Fresh databases on one server, each a copy of one that was migrated once."""

    url: str
    _numbers: Iterator[int] = field(default_factory=count)
    _prefix: str = field(default_factory=lambda: f"puente_{uuid.uuid4().hex[:8]}")

    def at(self, name: str) -> str:
        """The URL of a database by name."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    async def template(self) -> None:
        await self._order(f'CREATE DATABASE "{self._prefix}_{_TEMPLATE}"')
        await prepare(Server(self.at(f"{self._prefix}_{_TEMPLATE}")))

    async def copy(self, url: str) -> str:
        """The URL of a copy of a database of ours to which nobody is connected."""
        name = f"{self._prefix}_{next(self._numbers)}"
        await self._order(f'CREATE DATABASE "{name}" TEMPLATE "{urlsplit(url).path[1:]}"')
        return self.at(name)

    async def fresh(self, *, empty: bool = False) -> str:
        """The URL of a new database, with the schema or `empty`."""
        name = f"{self._prefix}_{next(self._numbers)}"
        await self._order(
            f'CREATE DATABASE "{name}" TEMPLATE "{"template0" if empty else f"{self._prefix}_{_TEMPLATE}"}"'
        )
        return self.at(name)

    async def drop(self) -> None:
        """All that were made: a server that was given must be left as it was found."""
        db = await asyncpg.connect(self.url)
        names = await db.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", f"{self._prefix}_")
        for row in names:
            await db.execute(f'DROP DATABASE "{row[0]}" WITH (FORCE)')
        await db.close()

    async def _order(self, statement: str) -> None:
        db = await asyncpg.connect(self.url)
        await db.execute(statement)
        await db.close()
