"""What can happen between a hub and its database when several share one: races, frozen and cut-off writers, a server that
falls, a standby that lags, rights that are missing."""

import asyncio
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from exchange.clock import FixedClock, SystemClock
from exchange.errors import LedgerFault, Malformed, Unavailable
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.sequencer import Sequencer
from exchange.model.page import Filter
from exchange.model.stix import listed
from exchange.model.versions import Verdict
from exchange.model.view import View
from exchange.store.acts import Act, Record, Removal, Stamp, Waiting
from exchange.store.answers import PUBLICATIONS_NEAR, CheckpointRow, TreeRow
from exchange.store.contract import Halted
from exchange.store.late import Kept
from exchange.store.postgres import PostgresStore
from exchange.store.postgres_late import waiting_runs
from exchange.store.postgres_read import publications, rows
from exchange.store.postgres_runs import spans
from exchange.store.postgres_session import Server, migrate, prepare
from exchange.store.runs import PageQuery
from tests.contract.test_store import COLLECTION, FOREVER, act, check_log, done, made, new
from tests.faults.logs import Logs, new_pens
from tests.places import Place, open_at
from tests.postgres import Cluster, Databases

ROOT = Path(__file__).resolve().parents[2]
ALL = Filter(versions=("all",))


async def process(*words: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.writer", *map(str, words), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )


async def output(writer: asyncio.subprocess.Process) -> list[list[str]]:
    out, _ = await writer.communicate()
    assert writer.returncode == 0
    return [line.split() for line in out.decode().splitlines()]


# --- the lost-object race ---


@pytest.mark.timeout(120)
@pytest.mark.peer("OTX-4")
async def test_a_tight_poller_misses_nothing_of_several_writers(place: Place) -> None:
    """OpenTAXII on PostgreSQL lost 41 of 4,000 so: `date_added` taken before the commit. Here 0 may be lost."""
    store = await open_at(place, SystemClock())
    writers = [await process("load", place, 10_000 * n, 400) for n in range(1, 4)]
    seen: list[tuple[str, int]] = []
    over = asyncio.Event()

    async def poll() -> None:
        last = 0
        while True:
            ended = over.is_set()
            until = (await store.epochs()).last_tick
            labels = [row.id for row in await store.labels()]
            page = await store.page(COLLECTION, labels, ALL, last, 50, until_us=until)
            seen.extend((row.id, row.tick) for row in page.rows)
            last = seen[-1][1] if seen else 0
            if ended and not page.rows:
                return

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(poll())
        told = [line for lines in await asyncio.gather(*map(output, writers)) for line in lines]
        over.set()
    acknowledged = sorted((int(tick), id_) for id_, tick in told)
    assert len(acknowledged) >= 1200
    assert [(tick, id_) for id_, tick in seen] == acknowledged
    await check_log(store)
    await store.close()


# --- writers that stop in the middle ---


@pytest.mark.timeout(60)
async def test_a_frozen_holder_of_the_head_loses_it(databases: Databases) -> None:
    """SIGSTOP under the lock: the others go on after two seconds, and the woken process has written nothing."""
    url = await databases.fresh()
    store = await PostgresStore.open(Server(url))
    frozen = await process("freeze", url)
    assert frozen.stdout is not None
    assert await frozen.stdout.readline() == b"holding\n"
    await done(store, act(new(made(1))))
    frozen.send_signal(signal.SIGCONT)
    [[word, *_]] = await output(frozen)
    assert word == "refused"
    assert (await store.trees())["us"].size == 1
    await check_log(store)
    await store.close()


async def test_a_holder_that_stops_in_the_middle_of_a_message_loses_it(server: Cluster) -> None:
    """No time-out of PostgreSQL 15 ends such a session: the one that waits for the head does."""
    url = await Databases(server.url).fresh(empty=True)
    store = await PostgresStore.open(Server(url))
    async with road(server) as (way, port):
        other = await PostgresStore.open(Server(f"postgresql://hub@127.0.0.1:{port}{urlsplit(url).path}"))
        way.stall_at = b"INSERT INTO leaf"
        lost = asyncio.get_running_loop().create_task(other.extend([act(new(made(1)))]))
        await way.struck.wait()
        await done(store, act(new(made(2))))
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await lost
        assert await store.held(made(1).id) == []
        await done(other, act(new(made(3))))
        await check_log(store)
        await other.close()
    await store.close()


async def test_a_holder_that_stops_while_another_waits_loses_it(server: Cluster) -> None:
    """Between preparing a statement and running it, a moment after the other began to wait: at the first look it has not waited
    for its client for two seconds, and no time-out of PostgreSQL's would ever end it."""
    url = await Databases(server.url).fresh(empty=True)
    store = await PostgresStore.open(Server(url))
    async with road(server) as (way, port):
        other = await PostgresStore.open(Server(f"postgresql://hub@127.0.0.1:{port}{urlsplit(url).path}"))
        await done(store, act(new(made(1))))  # it is connected
        holding = threading.Event()

        def slow(stamp: Stamp) -> Record:
            holding.set()
            time.sleep(0.7)
            return Record((Entry("us", "admin", "hub:puente:acct:test", "x", {"command": "test"}),))

        way.stall_after = b"UPDATE label"
        lost = asyncio.get_running_loop().create_task(other.extend([Act(str(uuid.uuid4()), slow)]))
        await asyncio.to_thread(holding.wait)
        await done(store, act(new(made(2))))
        assert way.struck.is_set()
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await lost
        await check_log(store)
        await other.close()
    await store.close()


class Road:
    """A TCP road to a server's socket, where a connection can be cut between a COMMIT and its answer, or stall."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.cut_at = self.stall_at = self.stall_after = b""
        self.struck = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(str(self._socket))
        async with asyncio.TaskGroup() as tasks:
            answers = tasks.create_task(self._answer(back, writer))
            while data := await reader.read(65536):
                if self.cut_at and self.cut_at in data:
                    self.cut_at = b""
                    answers.cancel()
                    await asyncio.wait([answers])
                    forth.write(data)
                    await back.read(65536)  # it is done, and nobody is told
                    self.struck.set()
                    break
                if self.stall_at and self.stall_at in data:
                    self.stall_at = b""
                    data = data[: len(data) // 2]
                    self.struck.set()
                if self.stall_after and self.stall_after in data:
                    self.stall_after, self.stall_at = b"", b"B"  # what comes next binds what this prepares
                forth.write(data)
            answers.cancel()
        for end in (writer, forth):
            end.close()

    async def _answer(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(65536):
            writer.write(data)
        writer.close()


@asynccontextmanager
async def road(server: Cluster) -> AsyncIterator[tuple[Road, int]]:
    way = Road(server.base / ".s.PGSQL.5432")
    listening = await asyncio.start_server(way.carry, "127.0.0.1", 0)
    yield way, listening.sockets[0].getsockname()[1]
    listening.close()
    await asyncio.sleep(0.05)  # transports close on the loop's next turns


async def test_a_connection_cut_between_commit_and_its_answer(server: Cluster) -> None:
    """Nobody is told success, and whoever tries again gets what was done the first time, once."""
    url = await Databases(server.url).fresh(empty=True)
    async with road(server) as (way, port):
        store = await PostgresStore.open(Server(f"postgresql://hub@127.0.0.1:{port}{urlsplit(url).path}"))
        sequencer = Sequencer(store)
        running = asyncio.get_running_loop().create_task(sequencer.run())
        await sequencer.append(act(new(made(0))))
        for number in range(1, 6):
            sent = act(new(made(number)), new(made(100 + number)))
            way.cut_at = b"COMMIT;"
            with pytest.raises(Unavailable):
                await sequencer.append(sent)
            again = await sequencer.append(sent)
            assert [placed.verdict for placed in again.stamp.placed] == [Verdict.DUPLICATE] * 2
            assert again.leaves == ()
            assert way.struck.is_set()
            way.struck.clear()
        assert (await store.trees())["us"].size == 11
        labels = [row.id for row in await store.labels()]
        assert len((await store.page(COLLECTION, labels, ALL, 0, 100, until_us=FOREVER)).rows) == 11
        await check_log(store)
        sequencer.close()
        await running
        await store.close()


@pytest.mark.timeout(60)
async def test_a_server_that_falls_keeps_what_it_acknowledged(server: Cluster) -> None:
    store = await PostgresStore.open(Server(await Databases(server.url).fresh(empty=True)))
    before = await done(store, act(new(made(1))))
    await asyncio.to_thread(server.fall)
    with pytest.raises(Unavailable):
        await store.trees()
    with pytest.raises(OSError):
        await store.extend([act(new(made(2)))])
    await asyncio.to_thread(server.start)
    assert (await store.held(made(1).id))[0].placements[0][0] == before.stamp.placed[0].tick
    await done(store, act(new(made(2))))
    await check_log(store)
    await store.close()


@pytest.mark.timeout(60)
async def test_publishers_of_two_machines_agree(databases: Databases, tmp_path: Path) -> None:
    """Each has anchors and turns of its own, so they overtake each other: no size gets two roots, and neither halts."""
    url = await databases.fresh()
    pens = new_pens()
    machines = [Logs.over(await PostgresStore.open(Server(url)), tmp_path / name, pens) for name in "ab"]

    async def work(machine: Logs, log: str) -> None:
        for number in range(20):
            await machine.append(log, 1 + number % 3)
            await machine.publisher.publish_once()

    for machine in machines:
        await machine.publisher.start()
    async with asyncio.TaskGroup() as tasks:
        for machine in machines:
            for log in LOGS:
                tasks.create_task(work(machine, log))
    for machine in machines:
        assert machine.publisher.halted is None
        await machine.append()
        await machine.publisher.publish_once()
        await machine.check(alone=False)
        await machine.publisher.start()
    await machines[0].store.halt("fork")
    assert [(await machine.store.epochs()).state for machine in machines] == ["fork", "fork"]
    [refused] = await asyncio.gather(machines[1].append(), return_exceptions=True)
    assert isinstance(refused, Halted)
    for machine in machines:
        await machine.store.close()


class Interrupted(PostgresStore):
    """Lets something else happen right after it was asked for the trees."""

    then: Callable[[], Awaitable[None]] | None = None

    async def trees(self) -> dict[str, TreeRow]:
        found = await super().trees()
        if self.then is not None:
            then, self.then = self.then, None
            await then()
        return found


async def test_a_publisher_that_is_overtaken_does_not_take_it_for_a_rollback(
    databases: Databases, tmp_path: Path
) -> None:
    url = await databases.fresh()
    pens = new_pens()
    store = await Interrupted.open(Server(url))
    slow = Logs.over(store, tmp_path / "a", pens)
    quick = Logs.over(await PostgresStore.open(Server(url)), tmp_path / "b", pens)
    for machine in (slow, quick):
        await machine.publisher.start()

    async def overtake() -> None:
        await quick.append()
        await quick.publisher.publish_once()

    await slow.append()
    store.then = overtake
    await slow.publisher.publish_once()
    assert slow.publisher.halted is None
    assert [row.size for row in await store.checkpoints("both", 1)] == [1, 2]
    for machine in (slow, quick):
        await machine.check(alone=False)
        await machine.store.close()


# --- reading from a standby ---


@pytest.mark.timeout(60)
async def test_a_walk_over_a_standby_never_goes_back(server: Cluster) -> None:
    """It answers when it has replayed what was told of, and is passed over while it has not, or is away."""
    url = await Databases(server.url).fresh(empty=True)
    writer = await PostgresStore.open(Server(url))
    await done(writer, act(*[new(made(n)) for n in range(3)]))
    labels = [row.id for row in await writer.labels()]

    async def ticks(store: PostgresStore) -> list[int]:
        rows = [row.tick for row in (await store.page(COLLECTION, labels, ALL, 0, 100, until_us=FOREVER)).rows]
        found = await store.spans(COLLECTION, labels, ALL, 0, 100, until_us=FOREVER)
        assert [tick for span in found.spans for tick in range(span.first_tick, span.last_tick + 1)] == rows
        return rows

    with server.standby() as replica:
        there = Databases(replica.url).at(urlsplit(url).path[1:])
        replaying = await asyncpg.connect(there)
        store = await PostgresStore.open(Server(url), standby=Server(there))
        await replaying.execute("SELECT pg_wal_replay_pause()")
        [placed] = (await done(writer, act(new(made(3))))).stamp.placed
        assert len(await ticks(store)) == 3, "nobody was told of more: the standby's answer will do"
        assert (await store.epochs()).last_tick == placed.tick
        assert (await ticks(store))[-1] == placed.tick
        await done(writer, act(removals=(Removal(COLLECTION, made(3).id, "us-cyber"),)))
        await store.epochs()
        assert len(await ticks(store)) == 3, "a deletion is told of by the revision"
        await replaying.execute("SELECT pg_wal_replay_resume()")
        await replaying.close()
    assert len(await ticks(store)) == 3
    await store.close()
    await writer.close()


# --- plans ---


class Explaining:
    """A connection that notes the plan of each question that it passes on."""

    def __init__(self, db: asyncpg.Connection) -> None:
        self._db = db
        self.plan = ""

    async def fetchrow(self, sql: str, *values: object) -> object:
        return await self._db.fetchrow(sql, *values)

    async def fetch(self, sql: str, *values: object) -> object:
        self.plan += "\n".join(row[0] for row in await self._db.fetch(f"EXPLAIN {sql}", *values))
        return await self._db.fetch(sql, *values)


@asynccontextmanager
async def explained(url: str) -> AsyncIterator[tuple[PostgresStore, Explaining]]:
    store, db = await PostgresStore.open(Server(url)), await Server(url).connect()
    try:
        yield store, Explaining(db)
    finally:
        await db.close()
        await store.close()


@pytest.mark.parametrize(
    ("match", "labels", "ways"),
    [
        (Filter(ids=(made(5).id,)), 8, {"object_version", "placement_vid"}),
        (Filter(ids=(made(5).id,), versions=("first", "last")), 1, {"object_version", "placement_vid"}),
        (Filter(types=("indicator",)), 8, {"placement_pkey", "object_pkey", "object_version", "placement_vid"}),
        (Filter(versions=("first",)), 1, {"placement_label", "object_pkey", "object_version", "placement_vid"}),
    ],
)
async def test_plans_do_not_hang_on_statistics(
    databases: Databases, match: Filter, labels: int, ways: set[str]
) -> None:
    """A table that grew in a minute has none. Left to itself the planner walked the collection until an id came by."""
    async with explained(await databases.fresh()) as (store, db):
        for part in range(8):
            await done(store, act(*(new(made(1000 * part + n), label=f"{part}") for n in range(400))))
        allowed = tuple([row.id for row in await store.labels()][:labels])
        assert await rows(db, PageQuery(COLLECTION, allowed, match, 0, 100, FOREVER), 0, 101)
        assert set(re.findall(r"(?:using|on) (\w+_(?:version|vid|pkey|label|revoked))", db.plan)) == ways
        assert not re.search(r"Seq Scan|Hash|Merge|Bitmap", db.plan), db.plan


@pytest.mark.parametrize("match", [Filter(), Filter(types=("indicator",))])
@pytest.mark.parametrize("labels", [1, 8])
async def test_what_came_late_is_sought_run_by_run(databases: Databases, match: Filter, labels: int) -> None:
    """Left to itself the planner joined each run to all that the member had been given late: to give 100,000 runs took a minute."""
    async with explained(await databases.fresh()) as (store, db):
        for part in range(8):
            await done(store, act(*(new(made(1000 * part + n), label=f"{part}") for n in range(40))))
        allowed = tuple([row.id for row in await store.labels()][:labels])
        view = View("mx-reader", 1, b"o" * 8, 0, 1, 1, elsewhere=1)
        assert (await spans(db, PageQuery(COLLECTION, allowed, match, 0, 1_000, FOREVER, view))).spans
        waiting, kept = zip(*[(Waiting(one, COLLECTION, FOREVER), Kept(one, (), 0)) for one in allowed], strict=True)
        assert await waiting_runs(db, view.member, waiting, dict(zip(allowed, kept, strict=True)), FOREVER, 100)
        assert db.plan.count("late_run_run") >= 2
        assert "Anti Join" not in db.plan


async def test_what_lists_objects_is_found_by_their_places(databases: Databases) -> None:
    """By two indexes that look into private parts: of what else there is, nothing is read."""
    url = await databases.fresh()
    store = await PostgresStore.open(Server(url))
    entries = [
        Entry("us", t, "us:us-cyber:acct:1", f"coll:{COLLECTION}", pub, private=private)
        for n in range(300)
        for t, pub, private in (
            ("publish", {"cause": "new", "first": "", "last": "", "count": 1}, {"items": [listed(10**15 + 10 * n, "x--1", "", b"")]}),
            ("publish", {"cause": "grant", "first": "", "last": "", "count": 1}, {"runs": [[10**15 + 10 * n + 5, 1, 1]], "under": {}}),
            ("release", {"kind": "objects", "first": "", "last": "", "count": 1, "items_root": ""}, {"ticks": [[10**15 + 10 * n, 1]]}),
        )
    ]  # fmt: skip
    await done(store, Act("lists", lambda _: Record(tuple(entries))))
    db = Explaining(await Server(url).connect())
    found = await publications(db, [10**15 + 1005, 10**15 - 1])  # type: ignore[arg-type]
    near = range(101 - PUBLICATIONS_NEAR, 101)
    assert [sorted(one.index for one in part) for part in found] == [
        sorted(3 * n + late for n in near for late in (0, 1)),
        [],
    ]
    assert {"leaf_private_items", "leaf_private_runs"} <= set(re.findall(r"(?:using|on) (\w+)", db.plan)), db.plan
    assert not re.search(r"Seq Scan|Hash|Merge", db.plan), db.plan
    await db._db.close()
    await store.close()


# --- what a server must be ---


async def test_several_processes_may_bring_the_schema_up_to_date_at_once(databases: Databases) -> None:
    url = await databases.fresh(empty=True)
    await asyncio.gather(*(prepare(Server(url)) for _ in range(8)))
    await prepare(Server(url))
    store = await open_at(url)
    await done(store, act(new(made(1))))
    await store.close()


async def test_a_migration_is_whole_or_not_there(databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE one (x int);")
    (tmp_path / "2.sql").write_text("CREATE TABLE two (x int); SELECT no_such_function();")
    db = await Server(await databases.fresh(empty=True)).connect()
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await migrate(db, tmp_path)
    assert await db.fetchval("SELECT to_regclass('one') IS NULL")
    (tmp_path / "2.sql").write_text("CREATE TABLE two (x int);")
    await migrate(db, tmp_path)
    (tmp_path / "2.sql").unlink()
    with pytest.raises(LedgerFault, match="schema-newer"):
        await migrate(db, tmp_path)
    await db.close()


async def test_a_server_that_may_forget_is_refused(databases: Databases) -> None:
    url = await databases.fresh()
    db = await asyncpg.connect(url)
    await db.execute(f'ALTER DATABASE "{urlsplit(url).path[1:]}" SET synchronous_commit = off')
    await db.close()
    with pytest.raises(Malformed, match="synchronous_commit = off") as refused:
        await PostgresStore.open(Server(url))
    assert refused.value.field == "database_url"
    assert "synchronous_commit" in refused.value.text.es


async def test_a_server_that_is_not_there_is_named_without_a_secret(tmp_path: Path) -> None:
    server = Server(f"postgresql://hub@/x?host={tmp_path}", password="hunter2")
    with pytest.raises(Malformed) as refused:
        await PostgresStore.open(server)
    assert refused.value.field == "database_url"
    assert "hunter2" not in f"{refused.value} {server!r}"


async def test_time_is_the_servers_unless_a_clock_says_otherwise(place: Place, databases: Databases) -> None:
    """One clock for all machines; and a test's clock is obeyed by both stores."""
    store = await open_at(place, FixedClock("2030-01-01T00:00:00Z"))
    assert (await done(store, act(new(made(1))))).stamp.time_us == FixedClock("2030-01-01T00:00:00Z").now_us()
    await store.close()
    real = await PostgresStore.open(Server(await databases.fresh()))
    assert abs((await done(real, act(new(made(1))))).stamp.time_us - SystemClock().now_us()) < 5_000_000
    await real.close()


async def test_the_hubs_role_may_append_and_not_rewrite(databases: Databases) -> None:
    """docs/deploy/postgres-roles.sql: everything a store does works, and its log cannot be edited with its password."""
    url = await databases.fresh()
    role = f"hub_{urlsplit(url).path[1:]}"
    db = await asyncpg.connect(url)
    await db.execute(f'CREATE ROLE "{role}" LOGIN')
    script = (ROOT / "docs/deploy/postgres-roles.sql").read_text()
    await db.execute(script.replace("puente_hub", f'"{role}"'))
    await db.close()
    own = urlsplit(url)
    as_hub = own._replace(netloc=f"{role}@{own.netloc.rpartition('@')[2]}").geturl()
    store = await PostgresStore.open(Server(as_hub), FixedClock())
    for start in range(0, 600, 200):
        await done(store, act(*(new(made(n)) for n in range(start, start + 200))))
    await done(store, act(new(made(1, 5))))
    await done(store, act(removals=(Removal(COLLECTION, made(2).id, "us-cyber"),)))
    await store.add_checkpoint(CheckpointRow("us", 4, b"a" * 32, b"note", 1))
    await store.add_cosignature("us", 4, "us-a", "line")
    await check_log(store)
    await store.close()
    db = await asyncpg.connect(as_hub)
    for statement in (
        "UPDATE leaf SET data = ''", "DELETE FROM leaf", "UPDATE tile SET data = ''", "DELETE FROM tile", "TRUNCATE leaf",
        "UPDATE checkpoint SET root = ''", "DELETE FROM checkpoint", "DROP TABLE leaf", "CREATE TABLE x (y int)",
        "UPDATE leaf_private SET salt = ''", "UPDATE leaf_private SET payload = ''", "DELETE FROM agreement", "DELETE FROM head",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(statement)
    await db.close()
    db = await asyncpg.connect(url)
    await db.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
    await db.close()
