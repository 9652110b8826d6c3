"""The store for several processes on several machines: PostgreSQL, durable when a commit returns."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import asyncpg

from exchange.clock import Clock
from exchange.errors import LedgerFault
from exchange.model.page import Filter, Page, Spans
from exchange.model.recall import RecallRow, Relabelled
from exchange.model.statement import Statement
from exchange.model.view import LateRun, View
from exchange.store import (
    postgres_append,
    postgres_feeds,
    postgres_late,
    postgres_read,
    postgres_recover,
    postgres_runs,
)
from exchange.store.acts import Act, Done, StatusRow
from exchange.store.answers import (
    CheckpointRow,
    CitingRow,
    Epochs,
    HeldObject,
    LabelRow,
    LogKeyRow,
    Opening,
    Proposals,
    Publication,
    Registry,
    Sample,
    TreeRow,
)
from exchange.store.changes import AgreementRow
from exchange.store.contract import Floor, Succession
from exchange.store.feed_rows import FeedRunRow, HeldRow
from exchange.store.leaves import must_be_open
from exchange.store.postgres_session import BROKEN, END_FROZEN, LOCK_WAITS, Connection, Server, away, prepare
from exchange.store.runs import PageQuery

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

_READERS = 6
"""Connections of one process at most, beside its writer's."""


class _Writer:
    """One connection, in a thread with a loop of its own: whatever else this process does, it does not do it while the
    others wait for the head."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._db: Connection | None = None
        self._free = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres-writer", daemon=True)
        self._thread.start()

    async def transact(self, work: Work[T]) -> T:
        """Run work in one transaction: all of it commits, or none. When this raises because the connection broke, nobody
        knows which."""
        return await self._in_thread(self._transact(work))

    async def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        # Shielded: a caller that goes away does not undo what is on its way.
        return await asyncio.shield(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop)))

    async def _transact(self, work: Work[T]) -> T:
        async with self._free:
            db = self._db
            if db is None or db.is_closed():
                db = self._db = await self._server.connect()
            try:
                for _ in range(LOCK_WAITS - 1):
                    try:
                        return await _committed(db, work)
                    except asyncpg.LockNotAvailableError:  # before anything was done
                        await db.execute(END_FROZEN)
                return await _committed(db, work)
            except BROKEN:
                db.terminate()
                raise

    async def close(self) -> None:
        async def end() -> None:
            async with self._free:
                if self._db is not None and not self._db.is_closed():
                    await self._db.close()

        await self._in_thread(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()


class PostgresStore:
    """Any number of processes append under one row's lock; readers see every commit that returned before.

    Pages may come from a hot standby, under one rule: it must have replayed everything that this process ever told of in
    `epochs`. Who decided a page, or who walks from one process to the next, asked for epochs first, so no walk goes back.
    All else is asked of the primary.
    """

    def __init__(self, pool: Any, standby: Any, writer: _Writer, clock: Clock | None) -> None:
        self._pool = pool
        self._standby = standby
        self._writer = writer
        self._clock = clock
        self.turn = threading.Lock()  # the writer seldom computes for long here: it waits for the server
        self._told = (0, 0)
        """The greatest last tick and revision that `epochs` answered."""

    @classmethod
    async def open(
        cls, server: Server, clock: Clock | None = None, *, standby: Server | None = None
    ) -> "PostgresStore":
        """Check the server, migrate, connect. The time is the server's own, one clock for all machines; a `clock` takes its
        place where time must be what somebody says: in tests."""
        await prepare(server)
        pool = await _pool(server)
        replica = await _pool(standby) if standby is not None else None
        return cls(pool, replica, _Writer(server), clock)

    async def close(self) -> None:
        await self._writer.close()
        await self._pool.close()
        if self._standby is not None:
            await self._standby.close()

    # --- writes ---

    async def extend(
        self, batch: Sequence[Act], *, until_us: int | None = None, logs: frozenset[str] | None = None
    ) -> list[Done | Exception]:
        return await self._writer.transact(lambda db: postgres_append.extend(db, batch, self._clock, until_us, logs))

    async def add_checkpoint(self, row: CheckpointRow) -> None:
        async def work(db: Connection) -> None:
            must_be_open(row.log, closed=await db.fetchval("SELECT closed FROM tree WHERE log = $1 FOR SHARE", row.log))
            await db.execute(
                "INSERT INTO checkpoint (log, size, root, note, signed_us) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                row.log, row.size, row.root, row.note, row.signed_us,
            )  # fmt: skip
            held = await db.fetchval("SELECT root FROM checkpoint WHERE log = $1 AND size = $2", row.log, row.size)
            if held != row.root:
                raise LedgerFault("fork", f"log {row.log}: another root is signed for size {row.size}")

        await self._writer.transact(work)

    async def add_cosignature(self, log: str, size: int, witness: str, line: str) -> None:
        await self._writer.transact(
            lambda db: db.execute(
                "INSERT INTO cosignature (log, size, witness, line) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (log, size, witness) DO UPDATE SET line = excluded.line",
                log, size, witness, line,
            )
        )  # fmt: skip

    async def halt(self, reason: str) -> None:
        await self._writer.transact(
            lambda db: db.execute("UPDATE head SET state = $1 WHERE k = 0 AND state IN ('open', 'degraded')", reason)
        )

    async def scrub(self) -> None:
        """The server's business: VACUUM FULL leaf_private, which takes rights that a hub has not, and its WAL archive's age."""

    async def recovering(self, state: str) -> str:
        return await self._writer.transact(lambda db: postgres_recover.recovering(db, state))

    async def restore(self, log: str, start: int, entries: Sequence[bytes]) -> None:
        await self._writer.transact(lambda db: postgres_recover.restore(db, log, start, entries))

    async def reopen(self, floor: Floor, act: Act, successions: Sequence[Succession] = ()) -> Done:
        return await self._writer.transact(lambda db: postgres_recover.reopen(db, floor, act, successions, self._clock))

    # --- reads ---

    async def epochs(self) -> Epochs:
        row = await self._read(
            lambda db: db.fetchrow(
                "SELECT state, last_tick, agreement, registry, revision, views, moves, citing FROM head WHERE k = 0"
            )
        )
        epochs = Epochs(*row)
        self._told = max(self._told[0], epochs.last_tick), max(self._told[1], epochs.revision)
        return epochs

    async def registry(self) -> Registry:
        return await self._snapshot(postgres_read.registry)

    async def agreement(self, number: int | None = None) -> AgreementRow | None:
        return await self._read(lambda db: postgres_read.agreement(db, number))

    async def agreements(self) -> list[AgreementRow]:
        return await self._read(postgres_read.agreements)

    async def proposals(self, *, sha256: str | None = None, version: tuple[str, int] | None = None) -> Proposals:
        return await self._snapshot(lambda db: postgres_read.proposals(db, sha256, version))

    async def statements(self) -> list[Statement]:
        return await self._read(postgres_read.statements)

    async def labels(self, since: int = -1) -> list[LabelRow]:
        return await self._read(lambda db: postgres_read.labels(db, since))

    async def citing(self, known: int = 0) -> tuple[int, list[CitingRow]]:
        return await self._read(lambda db: postgres_read.citing(db, known))

    async def samples(self, since_us: int) -> list[Sample]:
        return await self._read(lambda db: postgres_read.samples(db, since_us))

    async def page(
        self,
        collection: str,
        labels: Sequence[int],
        match: Filter,
        after_us: int,
        limit: int,
        *,
        until_us: int,
        view: View | None = None,
    ) -> Page:
        query = PageQuery(collection, tuple(labels), match, after_us, limit, until_us, view)
        if not labels:
            return Page((), False, query.low_us)
        return await self._anywhere(lambda db: postgres_read.page(db, query))

    async def spans(
        self,
        collection: str,
        labels: Sequence[int],
        match: Filter,
        after_us: int,
        limit: int,
        *,
        until_us: int,
        view: View | None = None,
    ) -> Spans:
        query = PageQuery(collection, tuple(labels), match, after_us, limit, until_us, view)
        if not labels:
            return Spans((), False, query.low_us)
        return await self._anywhere(lambda db: postgres_runs.spans(db, query))

    async def view(self, member: str) -> View | None:
        return await self._snapshot(lambda db: postgres_late.view(db, member))

    async def views(self) -> dict[str, int]:
        return await self._read(postgres_late.views)

    async def late(self, member: str, collection: str) -> list[LateRun]:
        return await self._read(lambda db: postgres_late.late(db, member, collection))

    async def ripe(self, after: Sequence[tuple[int, int]]) -> dict[int, int]:
        return await self._read(lambda db: postgres_late.ripe(db, after))

    async def held(self, object_id: str) -> list[HeldObject]:
        return await self._snapshot(lambda db: postgres_runs.held(db, object_id))

    async def status(self, status_id: str) -> StatusRow | None:
        return await self._read(lambda db: postgres_read.status(db, status_id))

    async def recalls(self, member: str | None = None) -> list[RecallRow]:
        return await self._read(lambda db: postgres_late.recalls(db, member))

    async def unnoticed(self) -> list[RecallRow]:
        return await self._read(postgres_late.unnoticed)

    async def relabelled(self) -> list[Relabelled]:
        return await self._read(postgres_late.relabelled)

    async def list_sizes(self, member: str, collection: str) -> dict[str, int]:
        return await self._read(lambda db: postgres_read.list_sizes(db, member, collection))

    async def feeds(self, members: list[str]) -> list[FeedRunRow]:
        return await self._read(lambda db: postgres_feeds.feeds(db, members))

    async def feed_runs(self, member: str, feed: str) -> list[FeedRunRow]:
        return await self._read(lambda db: postgres_feeds.feed_runs(db, member, feed))

    async def held_values(self, members: list[str]) -> list[HeldRow]:
        return await self._read(lambda db: postgres_feeds.held_values(db, members))

    # --- the ledger ---

    async def trees(self) -> dict[str, TreeRow]:
        return await self._read(postgres_read.trees)

    async def log_keys(self, log: str) -> list[LogKeyRow]:
        return await self._read(lambda db: postgres_read.log_keys(db, log))

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return await self._read(lambda db: postgres_read.leaves(db, log, start, end))

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        return await self._read(lambda db: postgres_read.openings(db, log, start, end))

    async def publications(self, ticks: Sequence[int]) -> list[list[Publication]]:
        return await self._read(lambda db: postgres_read.publications(db, ticks))

    async def opening(self, log: str, index: int) -> Opening | None:
        return await self._read(lambda db: postgres_read.opening(db, log, index))

    async def subtree_hashes(self, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        return await self._snapshot(lambda db: postgres_read.subtree_hashes(db, log, wanted))

    async def tile(self, log: str, level: int, n: int, width: int) -> bytes:
        return await self._read(lambda db: postgres_read.tile(db, log, level, n, width))

    async def checkpoint(self, log: str, size: int | None = None) -> CheckpointRow | None:
        return await self._read(lambda db: postgres_read.checkpoint(db, log, size))

    async def checkpoints(self, log: str, from_size: int, limit: int | None = None) -> list[CheckpointRow]:
        return await self._read(lambda db: postgres_read.checkpoints(db, log, from_size, limit))

    # --- connections ---

    async def _read(self, work: Work[T]) -> T:
        """On the primary. A connection that broke is replaced once: the server may only have been restarted.

        Raises Unavailable when it stays away.
        """
        for last in (False, True):
            try:
                async with self._pool.acquire() as db:
                    return await work(db)
            except BROKEN as error:
                if last:
                    raise away(error) from error
        raise AssertionError("unreachable")

    async def _snapshot(self, work: Work[T]) -> T:
        """The same, with all questions of the work answered from one moment."""
        return await self._read(lambda db: _at_once(db, work))

    async def _anywhere(self, work: Work[T]) -> T:
        """In one snapshot of the standby, if there is one that has caught up, else of the primary."""
        if self._standby is not None:
            try:
                async with self._standby.acquire() as db:
                    return await _at_once(db, lambda db: self._if_caught_up(db, work))
            except (*BROKEN, asyncpg.SerializationError, _Behind):
                pass  # replaying may end a standby's questions
        return await self._snapshot(work)

    async def _if_caught_up(self, db: Connection, work: Work[T]) -> T:
        tick, revision = await db.fetchrow("SELECT last_tick, revision FROM head WHERE k = 0")
        if tick < self._told[0] or revision < self._told[1]:
            raise _Behind
        return await work(db)


class _Behind(Exception):
    """The standby has not replayed what this process told of."""


async def _committed(db: Connection, work: Work[T]) -> T:
    # READ COMMITTED: each statement sees what was committed before it, so all that follow the head's lock see all that its last
    # holder did. A stricter level would fail after every wait.
    async with db.transaction(isolation="read_committed"):
        return await work(db)


async def _at_once(db: Connection, work: Work[T]) -> T:
    async with db.transaction(isolation="repeatable_read", readonly=True):
        return await work(db)


async def _pool(server: Server) -> Any:
    async def nothing(_: Connection) -> None:
        """No session of ours changes its settings, so none is reset: that would double the round trips."""

    return await asyncpg.create_pool(min_size=1, max_size=_READERS, reset=nothing, **server.arguments)
