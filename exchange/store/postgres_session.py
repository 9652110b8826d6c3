"""Connections to PostgreSQL: the settings that order and durability rest on, what a server must be, and its schema.

Nothing here is a knob. A server that could forget a commit whose checkpoint has left the machine would sign a fork after
its next crash, so such a server is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from exchange.errors import LedgerFault, Malformed, Unavailable

_MIGRATIONS = Path(__file__).parent / "migrations" / "postgres"
_MIGRATING = 0x70756E  # an advisory lock of this number is held by the process that brings the schema up to date
_OLDEST_SERVER = 14
_COMMAND_SECONDS = 10
"""Above the server's own limit: by then it is gone, or the network is."""

Connection = Any
"""asyncpg publishes no types: a connection, or a pool's proxy of one."""

_SESSION = {
    "application_name": "puente",
    "lock_timeout": "1s",
    "statement_timeout": "5s",
    # A process that is frozen while it holds the head loses it, and its transaction, to the others (see END_FROZEN).
    "idle_in_transaction_session_timeout": "2s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    # Keepalives rest while an answer is not acknowledged: the session of a machine that was cut off with one on its way would
    # stay for a quarter of an hour, and the server runs out of them.
    "tcp_user_timeout": "11s",
    "jit": "off",  # 300 ms for a page that takes one
    "max_parallel_workers_per_gather": "0",  # 6 ms to begin, for one row of a table without statistics
    # The planner is not left the choice: on a young table it has no statistics, and the wrong plan costs a hundred times the
    # right one. Every question is written for nested loops over the indices it needs.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

LOCK_WAITS = 4
"""How often a writer waits for a lock, each time for `lock_timeout`, before its work fails. After each it looks for a holder that
is frozen: one that was not for two seconds at one look is at a later one, so the others go on after three."""

# Who waited in vain for the head ends the session that holds it, if that has been waiting for its client for two seconds: a
# process frozen, or a machine lost, in the middle of a message is not "idle in transaction", and no time-out of the server's
# reaches it there. Only sessions of the same role; a hub that works, however slowly, is not one that waits for its client.
END_FROZEN = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user"
    " AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL AND wait_event = 'ClientRead'"
    " AND state_change < clock_timestamp() - interval '2 seconds'"
)

# What a connection that broke or was ended by the server looks like. The work may have been done or not.
BROKEN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a database is. The password is no part of the URL: URLs are shown, logged and passed around."""

    url: str = field(repr=False)
    password: str | None = field(default=None, repr=False)
    """None leaves it to PGPASSFILE, PGPASSWORD, or a certificate named in the URL."""

    @property
    def arguments(self) -> dict[str, Any]:
        """For asyncpg.connect and asyncpg.create_pool."""
        return {
            "dsn": self.url,
            "password": self.password,
            "server_settings": _SESSION,
            "command_timeout": _COMMAND_SECONDS,
            "timeout": _COMMAND_SECONDS,
        }

    async def connect(self) -> Connection:
        return await asyncpg.connect(**self.arguments)


def askable(text: str) -> str:
    """A text from outside as PostgreSQL can be asked for it. It holds no NUL, and refuses a question with one together with
    everything else in its transaction; no id, type or instant holds what stands for it here."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def arrays(rows: Sequence[tuple[object, ...]], width: int) -> list[Sequence[object]]:
    """Rows as arrays for unnest."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def away(error: BaseException) -> Unavailable:
    """What a caller is told while the database does not answer."""
    refusal = Unavailable(
        "The database does not answer now. Try again shortly.",
        "La base de datos no responde ahora. Intente de nuevo en breve.",
        code="database-away",
    )
    refusal.__cause__ = error
    return refusal


async def prepare(server: Server, migrations: Path = _MIGRATIONS) -> None:
    """Check the server and bring its schema up to date.

    Raises Malformed (`database_url`) for a server that cannot be reached or must not be used, and LedgerFault when its
    schema is newer than this program.
    """
    try:
        db = await server.connect()
    except (*BROKEN, asyncpg.PostgresError, ValueError) as error:
        raise _unusable(f"cannot be used: {error}", f"no puede usarse: {error}") from None
    try:
        await _check(db)
        await migrate(db, migrations)
    finally:
        await db.close()


async def _check(db: Connection) -> None:
    version = db.get_server_version()
    if version.major < _OLDEST_SERVER:
        raise _unusable(f"is PostgreSQL {version.major}, older than {_OLDEST_SERVER}",
                        f"es PostgreSQL {version.major}, anterior a {_OLDEST_SERVER}")  # fmt: skip
    if await db.fetchval("SELECT pg_is_in_recovery()"):
        raise _unusable("is a standby: name the primary", "es una réplica: indique el servidor primario")
    for name, wanted in (
        ("fsync", ("on",)),
        ("full_page_writes", ("on",)),
        ("synchronous_commit", ("on", "remote_apply")),
    ):
        value = await db.fetchval("SELECT current_setting($1)", name)
        if value not in wanted:
            raise _unusable(f"has {name} = {value}: after a crash it could forget what was acknowledged and signed",
                            f"tiene {name} = {value}: tras una caída podría olvidar lo confirmado y firmado")  # fmt: skip


def _unusable(en: str, es: str) -> Malformed:
    return Malformed(
        f"The server of database_url {en}.",
        f"El servidor de database_url {es}.",
        code="database-unusable",
        field="database_url",
    )


async def migrate(db: Connection, migrations: Path = _MIGRATIONS) -> None:
    """Apply the numbered .sql files that are still missing, in order, all in one transaction.

    Of several processes that start at once, one does it and the others wait. Where nothing is missing nothing is locked
    and no right to create tables is needed.
    """
    scripts = _scripts(migrations)
    if await _version(db) == len(scripts):
        return
    async with db.transaction():
        await db.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        await db.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATING)
        await db.execute("CREATE TABLE IF NOT EXISTS schema_version (version int NOT NULL)")
        have = await _version(db)
        if have > len(scripts):
            raise LedgerFault("schema-newer", f"the database is at schema {have}, this program knows {len(scripts)}")
        for script in scripts[have:]:
            await db.execute(script)
        await db.execute("DELETE FROM schema_version")
        await db.execute("INSERT INTO schema_version VALUES ($1)", len(scripts))


def _scripts(migrations: Path) -> list[str]:
    return [file.read_text() for file in sorted(migrations.glob("*.sql"))]


async def _version(db: Connection) -> int:
    if await db.fetchval("SELECT to_regclass('schema_version') IS NULL"):
        return 0
    return await db.fetchval("SELECT version FROM schema_version") or 0
