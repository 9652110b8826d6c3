"""Two hubs on two machines over one PostgreSQL on a third: either is killed, frozen or cut off while it holds the head, and the
server is started anew. What anybody was told stays true, and the other hub goes on.

Network namespaces stand for the machines. How soon a hub answers again is printed; no time decides the verdict but _PATIENCE.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import asyncpg
import pytest

from certs.keys import save_secret
from exchange.cli.setup import Home
from exchange.settings import Settings
from tests.faults.hubs import Kennel, another_machine, kennel, write_settings
from tests.faults.judging import SEES, everything_cosigned, judge
from tests.faults.load import Members, at_work, envelope
from tests.faults.pollers import ByHeader, ByNext, Key, Poller, in_order, was_given_all
from tests.faults.racers import Racer, Version, go_on, permitted, racing
from tests.netns import Machine, Network, NoNamespaces, may_make_them, network
from tests.postgres import Cluster, Databases, NoPostgres, cluster
from tests.world import found

SEED = 20261126
WRITERS = ("us-cyber", "us-maritime", "mx-ciber", "mx-marina")
READERS = ("us-customs", "mx-aduanas")
PROBER = "us-customs"

_PATIENCE = 60
"""Seconds within which a hub must answer again. It takes less than five; ten times that is a hub that does not come back, however
slow the machine."""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """Two machines; where they cannot be made this is skipped, but not by a CI that has the rights to make them."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(network(2))
        except NoNamespaces as reason:
            if os.environ.get("CI") and may_make_them():
                pytest.fail(f"{reason}, though this machine has the rights to")
            pytest.skip(f"TWO MACHINES ARE NOT TESTED: {reason}")
        yield made


@pytest.fixture(scope="module")
def distant(net: Network) -> Iterator[Cluster]:
    """A PostgreSQL that both machines reach over the bridge."""
    try:
        with cluster(net.address, net.subnet) as made:
            yield made
    except NoPostgres as reason:
        pytest.skip(str(reason))


@dataclass
class Hub:
    machine: Machine
    home: Home
    kennel: Kennel
    pid: int

    @classmethod
    async def start(cls, stack: AsyncExitStack, machine: Machine, home: Home, settings: Settings) -> "Hub":
        """Serve there until the stack is closed."""
        here = {"host": machine.address, "public_url": f"https://{machine.address}:8443"}
        write_settings(home, settings.model_copy(update=here))
        hounds = await stack.enter_async_context(kennel(*machine.prefix))
        return cls(machine, home, hounds, await hounds.order("start", home.root))

    @property
    def url(self) -> str:
        return f"https://{self.machine.address}:8443"

    async def kill(self) -> None:
        await self.kennel.order("kill", self.pid)

    async def start_again(self) -> None:
        self.pid = await self.kennel.order("start", self.home.root)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@dataclass
class Scene:
    """Both hubs under load, and what anybody was told until now."""

    members: Members
    hubs: tuple[Hub, Hub]
    server: Cluster
    writers: list[Racer]
    probed: list[Version] = field(default_factory=list)
    orders: dict[str, list[Key]] = field(default_factory=dict)

    async def answers(self, hub: Hub, what: str, begun: float) -> None:
        """Wait until the hub has taken a new object and gives it out."""
        only = self.members.only(hub.url)
        sent = only.founded.signed(PROBER, tlp="green")
        async with asyncio.timeout(_PATIENCE):
            await only.send(PROBER, envelope([sent]))
            found, _ = await only.ask(PROBER, f"{only.collection}/objects/{sent['id']}/")
        assert sent["id"].encode() in found
        self.probed.append(Version(sent["id"], sent["modified"], PROBER, home=False))
        print(f"{what}: {time.perf_counter() - begun:.2f} s")

    async def holds_true(self) -> None:
        """Nothing acknowledged is lost, nothing moved, and both hubs' checkpoints are of one history (judged at the end)."""
        told = [version for writer in self.writers for version in writer.written()] + self.probed
        for slug in READERS:
            before, now = self.orders.get(slug, []), await in_order(self.members, slug)
            assert now[: len(before)] == before
            assert permitted(told, self.members.founded, slug) <= set(now)
            self.orders[slug] = now
        for hub in self.hubs:
            for log, slug in SEES.items():
                await self.members.only(hub.url).look_at_checkpoint(slug, log)


async def strike_under_lock(scene: Scene, hub: Hub, strike: Callable[[], None], undo: Callable[[], None]) -> int:
    """Strike the hub while it holds the head. Its session, which then waits for a client that is not there.

    Little luck is needed: a lock of ours on the leaves stops whoever has the head, until it is the one.
    """
    url = Databases(scene.server.url).at("puente")
    ours, watching = await asyncpg.connect(url), await asyncpg.connect(url)
    held = None
    while held is None:
        async with ours.transaction():
            await ours.execute("LOCK TABLE leaf IN SHARE MODE")
            session, address = await _holder(watching, ours.get_server_pid())
            if address != hub.machine.address:
                continue
            strike()
        if await _waits_with_the_head(watching, session):
            held = session
        else:
            undo()  # it was just giving up
    for one in (ours, watching):
        await one.close()
    return held


async def _waits_with_the_head(db: asyncpg.Connection, session: int) -> bool:
    asked = "SELECT state FROM pg_stat_activity WHERE pid = $1"
    while (state := await db.fetchval(asked, session)) == "active":
        await asyncio.sleep(0.005)
    return bool(state == "idle in transaction")


async def _holder(db: asyncpg.Connection, locker: int) -> tuple[int, str]:
    """Who has the head and cannot write its leaves."""
    while True:
        found = await db.fetchrow(
            "SELECT pid, host(client_addr) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
            " AND query LIKE '%INSERT INTO leaf%'",
            locker,
        )
        if found:
            return found[0], found[1]
        await asyncio.sleep(0.005)


async def has_ended(scene: Scene, session: int) -> None:
    """Wait until the server keeps that session no longer: it lets go of the head a moment before."""
    db = await asyncpg.connect(scene.server.url)
    async with asyncio.timeout(_PATIENCE):
        while await db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", session):
            await asyncio.sleep(0.005)
    await db.close()


@asynccontextmanager
async def _scene(directory: Path, net: Network, server: Cluster) -> AsyncIterator[tuple[Scene, list[Poller]]]:
    """When the block ends the writers get their last answers, the pollers come to the end, and all is cosigned."""
    knobs = {"host": net.machines[0].address, "port": 8443, "mtls_port": 8444, **await _database(directory, server)}
    quick = {"checkpoint_interval_seconds": 0.05, "witness_interval_seconds": 0.5}
    async with AsyncExitStack() as stack:
        founded = await stack.enter_async_context(found(directory / "home", witnesses_at=net.address, **knobs, **quick))
        machines = zip(
            net.machines, ((founded.home, founded.settings), another_machine(founded, directory / "b")), strict=True
        )
        hubs = [await Hub.start(stack, machine, home, settings) for machine, (home, settings) in list(machines)]
        urls = [hub.url for hub in hubs]
        members = await stack.enter_async_context(at_work(founded, *urls, patience_seconds=4))
        writers = await stack.enter_async_context(racing(founded, WRITERS, SEED, urls))
        scene = Scene(members, (hubs[0], hubs[1]), server, writers)
        pollers = [habit(members, slug, SEED) for habit in (ByHeader, ByNext) for slug in READERS]
        async with asyncio.TaskGroup() as tasks:
            for poller in pollers:
                tasks.create_task(poller.poll())
            await go_on(writers, 1)
            yield scene, pollers
            await asyncio.gather(*(writer.finish() for writer in writers))
            members.complete.set()
        await scene.holds_true()
        await everything_cosigned(members)
        for hub in hubs:
            assert await hub.kennel.order("stop", hub.pid) == 0


async def _database(directory: Path, server: Cluster) -> dict[str, Any]:
    """A database that a role owns which has to give its password."""
    password = token_hex(16)
    db = await asyncpg.connect(server.url)
    await db.execute(f"CREATE ROLE puente LOGIN PASSWORD '{password}'")
    await db.execute("CREATE DATABASE puente OWNER puente")
    await db.close()
    save_secret(password.encode(), directory / "password")
    url = f"postgresql://puente@{server.address}/puente"
    return {"database_url": url, "database_password_file": directory / "password"}


# --- what befalls them ---


async def killed(scene: Scene, hub: Hub, other: Hub, name: str) -> None:
    begun = time.perf_counter()
    await hub.kill()
    await scene.answers(other, f"{name} killed, the other answers", begun)
    begun = time.perf_counter()
    await hub.start_again()
    await scene.answers(hub, f"{name} started again, it answers", begun)


async def frozen(scene: Scene, hub: Hub, other: Hub, name: str) -> None:
    """What it was writing is gone before it wakes, so it cannot be committed then."""
    session = await strike_under_lock(scene, hub, hub.freeze, hub.thaw)
    begun = time.perf_counter()
    await scene.answers(other, f"{name} frozen with the head, the other answers", begun)
    await has_ended(scene, session)
    begun = time.perf_counter()
    hub.thaw()
    await scene.answers(hub, f"{name} woken, it answers", begun)


async def cut_off(scene: Scene, hub: Hub, other: Hub, name: str) -> None:
    session = await strike_under_lock(scene, hub, hub.machine.pull, hub.machine.plug)
    begun = time.perf_counter()
    await scene.answers(other, f"{name} cut off with the head, the other answers", begun)
    await has_ended(scene, session)
    begun = time.perf_counter()
    hub.machine.plug()
    await scene.answers(hub, f"{name} connected again, it answers", begun)


async def lost(scene: Scene, hub: Hub, other: Hub, name: str) -> None:
    """As long as it takes until the server keeps no session for it: answers that nobody acknowledged were on their way."""
    begun = time.perf_counter()
    hub.machine.pull()
    await scene.answers(other, f"{name} cut off at any moment, the other answers", begun)
    db = await asyncpg.connect(scene.server.url)
    async with asyncio.timeout(_PATIENCE):
        while await db.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE host(client_addr) = $1", hub.machine.address
        ):
            await asyncio.sleep(0.1)
    await db.close()
    print(f"{name} cut off, the server has forgotten it: {time.perf_counter() - begun:.2f} s")
    begun = time.perf_counter()
    hub.machine.plug()
    await scene.answers(hub, f"{name} connected again, it answers", begun)


async def restarted(scene: Scene, name: str, stop: Callable[[], None]) -> None:
    await asyncio.to_thread(stop)
    await asyncio.to_thread(scene.server.start)
    begun = time.perf_counter()
    for hub, which in zip(scene.hubs, "AB", strict=True):
        await scene.answers(hub, f"PostgreSQL restarted ({name}), {which} answers", begun)


@pytest.mark.timeout(300, method="signal")
async def test_one_hub_goes_on_whatever_befalls_the_other(tmp_path: Path, net: Network, distant: Cluster) -> None:
    print(f"seed {SEED}")
    async with _scene(tmp_path, net, distant) as (scene, pollers):
        a, b = scene.hubs
        for befalls in (killed, frozen, cut_off):
            for hub, other, name in ((a, b, "A"), (b, a, "B")):
                await befalls(scene, hub, other, name)
                await scene.holds_true()
        await lost(scene, a, b, "A")
        for name, stop in (("fast", distant.stop), ("immediate", distant.fall)):
            await restarted(scene, name, stop)
            await scene.holds_true()
    versions = scene.probed + [version for writer in scene.writers for version in writer.written()]
    for slug in READERS:
        assert set(scene.orders[slug]) == permitted(versions, scene.members.founded, slug)
    for poller in pollers:
        was_given_all(poller, scene.orders[poller.slug])
    await judge(scene.members.founded, scene.members, tmp_path / "copy")
    print(f"{len(versions)} versions")
