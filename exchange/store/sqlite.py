"""The embedded store: one SQLite file, one writer thread, a few readers, durable when a commit returns."""

import asyncio
import math
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from exchange.clock import Clock
from exchange.errors import LedgerFault
from exchange.model.page import Filter, Page, Spans
from exchange.model.recall import RecallRow, Relabelled
from exchange.model.statement import Statement
from exchange.model.view import LateRun, View
from exchange.store import sqlite_append, sqlite_feeds, sqlite_late, sqlite_read, sqlite_recover, sqlite_runs
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
from exchange.store.runs import PageQuery
from exchange.store.sqlite_wal import Journal

T = TypeVar("T")

_MIGRATIONS = Path(__file__).parent / "migrations" / "sqlite"
_READERS = 2
_WAIT_SECONDS = 10

AT_ONCE_IDS = 20
"""A question about no more objects than these, by their ids, is answered on the loop's own thread: it takes 50 µs, and handing
it to a reader's thread and back takes 200."""
AT_ONCE_SECONDS = 0.02
"""But for no longer than this, whatever there is of an object or on a cold disk: then it is a reader's after all. To begin anew
costs milliseconds, so a busy machine that takes the processor away for some must not be taken for either."""
_STEPS = 500
"""Of SQLite's machine, between two looks at the time."""

PAGE_BYTES = 16_384
"""Of a new database. Ids are random, so each new one soils a page of their index, and a page is written twice whatever its size:
large ones are fewer, and a run is read in six. With 100,000 objects appending costs a quarter less than with 4,096."""


def connect(
    path: Path, *, read_only: bool = False, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """A connection with the settings that durability rests on. `synchronous=NORMAL` is not allowed: a power cut could
    drop the last commits after their checkpoint left the machine, and the next start would sign a fork."""
    target = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False, factory=factory)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute(f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000}")
    if not read_only:
        _write_ahead(connection)
        # What a statement or a savepoint may have to take back; a crash takes back the whole transaction, without it.
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{4_000 if read_only else 16_000}")  # in KiB
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """A neighbour that opens the file first, or closes it last, has it for itself for a moment, and here SQLite does not
    wait as `busy_timeout` says, but fails at once."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def migrate(connection: sqlite3.Connection, migrations: Path = _MIGRATIONS) -> None:
    """Apply the numbered .sql files that are still missing, in order, all in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        have = connection.execute("PRAGMA user_version").fetchone()[0]
        files = sorted(migrations.glob("*.sql"))
        if have > len(files):
            raise LedgerFault("schema-newer", f"the database is at schema {have}, this program knows {len(files)}")
        for number, file in enumerate(files[have:], start=have + 1):
            for statement in _statements(file.read_text()):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    plain = "\n".join(line.split("--")[0] for line in script.splitlines())
    return [statement for statement in plain.split(";") if statement.strip()]


class SqliteStore:
    """SQLite allows one writer, so there is one writer thread; readers see every commit that returned before."""

    def __init__(
        self, path: Path, clock: Clock, *, writing: Callable[[Path], sqlite3.Connection] | None = None
    ) -> None:
        """`writing` opens the connection that writes, where it is not `connect`."""
        self._path = path
        self._clock = clock
        self.turn = threading.Lock()
        existed = path.exists()
        if not existed:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._write = (writing or connect)(path)
        migrate(self._write)
        self._write.execute("PRAGMA wal_autocheckpoint = 0")
        self._journal = Journal(path, lambda: connect(path))
        # Used on the loop's own thread: WAL readers never wait for the writer.
        self._glance = self._connect_glance()
        self._epochs: Epochs | None = None
        self._writer = ThreadPoolExecutor(1, "sqlite-writer")
        self._readers = ThreadPoolExecutor(_READERS, "sqlite-reader")
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(_READERS):
            self._idle.put(connect(path, read_only=True))

    def _connect_glance(self) -> sqlite3.Connection:
        self._until = math.inf
        connection = connect(self._path, read_only=True)
        connection.set_progress_handler(lambda: time.monotonic() > self._until, _STEPS)
        return connection

    async def close(self) -> None:
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        while not self._idle.empty():
            self._idle.get_nowait().close()
        self._glance.close()
        self._journal.close()
        self._write.close()

    # --- writes ---

    async def extend(
        self, batch: Sequence[Act], *, until_us: int | None = None, logs: frozenset[str] | None = None
    ) -> list[Done | Exception]:
        return await self._transact(lambda db: sqlite_append.extend(db, batch, self._clock.now_us(), until_us, logs))

    async def add_checkpoint(self, row: CheckpointRow) -> None:
        def work(db: sqlite3.Connection) -> None:
            tree = db.execute("SELECT closed FROM tree WHERE log = ?", (row.log,)).fetchone()
            must_be_open(row.log, closed=tree and bool(tree[0]))
            held = db.execute("SELECT root FROM checkpoint WHERE log = ? AND size = ?", (row.log, row.size)).fetchone()
            if held is not None and held[0] != row.root:
                raise LedgerFault("fork", f"log {row.log}: another root is signed for size {row.size}")
            db.execute(
                "INSERT INTO checkpoint (log, size, root, note, signed_us) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (log, size) DO UPDATE SET note = excluded.note, signed_us = excluded.signed_us",
                (row.log, row.size, row.root, row.note, row.signed_us),
            )

        await self._transact(work)

    async def add_cosignature(self, log: str, size: int, witness: str, line: str) -> None:
        await self._transact(
            lambda db: db.execute(
                "INSERT INTO cosignature (log, size, witness, line) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (log, size, witness) DO UPDATE SET line = excluded.line",
                (log, size, witness, line),
            )
        )

    async def halt(self, reason: str) -> None:
        await self._transact(
            lambda db: db.execute("UPDATE head SET state = ? WHERE state IN ('open', 'degraded')", (reason,))
        )

    async def scrub(self) -> None:
        """SQLite overwrote what was deleted; the journal, which still has the pages from before, is emptied."""

        def run() -> None:
            until = time.monotonic() + _WAIT_SECONDS
            while self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > until:
                    raise LedgerFault(
                        "not-scrubbed", "a reader keeps the journal; erase is done, its traces are not gone yet"
                    )
                time.sleep(0.05)

        await asyncio.get_running_loop().run_in_executor(self._writer, run)

    async def recovering(self, state: str) -> str:
        return await self._transact(lambda db: sqlite_recover.recovering(db, state))

    async def restore(self, log: str, start: int, entries: Sequence[bytes]) -> None:
        await self._transact(lambda db: sqlite_recover.restore(db, log, start, entries))

    async def reopen(self, floor: Floor, act: Act, successions: Sequence[Succession] = ()) -> Done:
        return await self._transact(lambda db: sqlite_recover.reopen(db, floor, act, successions, self._clock.now_us()))

    # --- reads ---

    async def epochs(self) -> Epochs:
        # Whatever has its turn in the same round of the loop was due before that began, so that one look serves all of it:
        # a request that was sent when something had been committed is read in a later round, and looks after that.
        if self._epochs is None:
            row = self._glance.execute(
                "SELECT state, last_tick, agreement, registry, revision, views, moves, citing FROM head"
            ).fetchone()
            self._epochs = Epochs(*row)
            asyncio.get_running_loop().call_soon(self._look_again)
        return self._epochs

    def _look_again(self) -> None:
        self._epochs = None

    async def registry(self) -> Registry:
        return await self._read(sqlite_read.registry)

    async def agreement(self, number: int | None = None) -> AgreementRow | None:
        return await self._read(lambda db: sqlite_read.agreement(db, number))

    async def agreements(self) -> list[AgreementRow]:
        return await self._read(sqlite_read.agreements)

    async def proposals(self, *, sha256: str | None = None, version: tuple[str, int] | None = None) -> Proposals:
        return await self._read(lambda db: sqlite_read.proposals(db, sha256, version))

    async def statements(self) -> list[Statement]:
        return await self._read(sqlite_read.statements)

    async def labels(self, since: int = -1) -> list[LabelRow]:
        if since >= 0:  # of few, and every answer waits for it
            return await self._at_once(lambda db: sqlite_read.labels(db, since))
        return await self._read(lambda db: sqlite_read.labels(db, since))

    async def citing(self, known: int = 0) -> tuple[int, list[CitingRow]]:
        return await self._read(lambda db: sqlite_read.citing(db, known))

    async def samples(self, since_us: int) -> list[Sample]:
        return await self._read(lambda db: sqlite_read.samples(db, since_us))

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
        return await self._about(match, lambda db: sqlite_read.page(db, query))

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
        return await self._about(match, lambda db: sqlite_runs.spans(db, query))

    async def view(self, member: str) -> View | None:
        return await self._read(lambda db: sqlite_late.view(db, member))

    async def views(self) -> dict[str, int]:
        return await self._at_once(sqlite_late.views)

    async def late(self, member: str, collection: str) -> list[LateRun]:
        return await self._read(lambda db: sqlite_late.late(db, member, collection))

    async def ripe(self, after: Sequence[tuple[int, int]]) -> dict[int, int]:
        return await self._read(lambda db: sqlite_late.ripe(db, after))

    async def held(self, object_id: str) -> list[HeldObject]:
        return await self._read(lambda db: sqlite_runs.held(db, object_id))

    async def status(self, status_id: str) -> StatusRow | None:
        return await self._at_once(lambda db: sqlite_read.status(db, status_id))

    async def recalls(self, member: str | None = None) -> list[RecallRow]:
        return await self._read(lambda db: sqlite_late.recalls(db, member))

    async def unnoticed(self) -> list[RecallRow]:
        return await self._read(sqlite_late.unnoticed)

    async def relabelled(self) -> list[Relabelled]:
        return await self._read(sqlite_late.relabelled)

    async def list_sizes(self, member: str, collection: str) -> dict[str, int]:
        return await self._read(lambda db: sqlite_read.list_sizes(db, member, collection))

    async def feeds(self, members: list[str]) -> list[FeedRunRow]:
        return await self._read(lambda db: sqlite_feeds.feeds(db, members))

    async def feed_runs(self, member: str, feed: str) -> list[FeedRunRow]:
        return await self._read(lambda db: sqlite_feeds.feed_runs(db, member, feed))

    async def held_values(self, members: list[str]) -> list[HeldRow]:
        return await self._read(lambda db: sqlite_feeds.held_values(db, members))

    # --- the ledger ---

    async def trees(self) -> dict[str, TreeRow]:
        return await self._read(sqlite_read.trees)

    async def log_keys(self, log: str) -> list[LogKeyRow]:
        return await self._read(lambda db: sqlite_read.log_keys(db, log))

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return await self._read(lambda db: sqlite_read.leaves(db, log, start, end))

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        return await self._read(lambda db: sqlite_read.openings(db, log, start, end))

    async def publications(self, ticks: Sequence[int]) -> list[list[Publication]]:
        return await self._read(lambda db: sqlite_read.publications(db, ticks))

    async def opening(self, log: str, index: int) -> Opening | None:
        return await self._read(lambda db: sqlite_read.opening(db, log, index))

    async def subtree_hashes(self, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        return await self._read(lambda db: sqlite_read.subtree_hashes(db, log, wanted))

    async def tile(self, log: str, level: int, n: int, width: int) -> bytes:
        return await self._read(lambda db: sqlite_read.tile(db, log, level, n, width))

    async def checkpoint(self, log: str, size: int | None = None) -> CheckpointRow | None:
        return await self._read(lambda db: sqlite_read.checkpoint(db, log, size))

    async def checkpoints(self, log: str, from_size: int, limit: int | None = None) -> list[CheckpointRow]:
        return await self._read(lambda db: sqlite_read.checkpoints(db, log, from_size, limit))

    # --- threads ---

    async def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work in one IMMEDIATE transaction: all of it commits, or none."""

        def run() -> T:
            self._write.execute("BEGIN IMMEDIATE")
            try:
                with self.turn:
                    result = work(self._write)
                self._write.execute("COMMIT")
            except BaseException:
                if self._write.in_transaction:
                    self._write.execute("ROLLBACK")
                raise
            self._journal.tidy(self._write)
            return result

        return await asyncio.get_running_loop().run_in_executor(self._writer, run)

    async def _about(self, match: Filter, work: Callable[[sqlite3.Connection], T]) -> T:
        return await (self._at_once(work) if 0 < len(match.ids) <= AT_ONCE_IDS else self._read(work))

    async def _at_once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Answer what takes microseconds here and now; the rest, a reader. What is asked must only read."""
        self._until = time.monotonic() + AT_ONCE_SECONDS
        try:
            return work(self._glance)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            # Python takes an interrupted statement for one in use, and would prepare it anew each time from now on.
            self._glance.close()
            self._glance = self._connect_glance()
        finally:
            self._until = math.inf
        return await self._read(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            db = self._idle.get()
            try:
                return work(db)
            finally:
                self._idle.put(db)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)
