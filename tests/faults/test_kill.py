"""Two hub processes on one database, killed a hundred times under load: what anybody was told stays true."""

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from certs.jcs import load
from exchange.cli.ledger import HubCopy, read_policies
from exchange.hub import working
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.entry import LOGS, national, route
from exchange.ledger.merkle import Frontier, leaf_hash
from tests.faults.load import History, Members, items_root
from tests.postgres import Cluster, Databases
from tests.world import Founded, found

KILLS = 100
FALLS_EVERY = 7
ROOT = Path(__file__).resolve().parents[2]
SEES = {"both": "aud-us", "us": "aud-us", "mx": "aud-mx"}


@dataclass
class Kennel:
    """The process that forks hubs and kills them."""

    process: asyncio.subprocess.Process

    async def order(self, *words: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        return int(await self.process.stdout.readline())


@contextlib.asynccontextmanager
async def kennel(home: Path) -> AsyncIterator[Kennel]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.kennel", str(home), stdin=pipe, stdout=pipe, cwd=ROOT
    )
    yield Kennel(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0


def write_settings(founded: Founded) -> None:
    """The settings that `found` chose, where `puente serve` reads them."""
    names = ("port", "mtls_port", "public_url", "checkpoint_interval_seconds", "witness_interval_seconds")
    lines = [f"{name} = {json.dumps(getattr(founded.settings, name))}" for name in (*names, "database_url")]
    witnesses = "\n".join(f"{name} = {json.dumps(url)}" for name, url in founded.settings.witnesses.items())
    founded.home.settings_file.write_text("\n".join([*lines, "[witnesses]", witnesses, ""]))


@pytest.mark.timeout(240)
@pytest.mark.rule("ADD-24", "PAG-20", "SRT-06", "SRT-08")
async def test_a_hundred_kills(tmp_path: Path) -> None:
    """Invariants I1 to I9 of the ledger design as they look from outside. Kills strike at any moment, start-up included."""
    await _play(tmp_path, KILLS)


@pytest.mark.timeout(240)
@pytest.mark.rule("ADD-24", "PAG-20", "SRT-06", "SRT-08")
async def test_kills_of_hubs_and_falls_of_postgresql(tmp_path: Path, server: Cluster) -> None:
    """The same on PostgreSQL, whose server falls from time to time as if its power was cut."""
    await _play(tmp_path, 20, server)


async def _play(directory: Path, kills: int, server: Cluster | None = None) -> None:
    knobs: dict[str, Any] = {"checkpoint_interval_seconds": 0.02, "witness_interval_seconds": 0.5}
    if server is not None:
        knobs["database_url"] = await Databases(server.url).fresh(empty=True)
    async with found(directory / "home", **knobs) as founded, kennel(founded.home.root) as hubs:
        write_settings(founded)
        real = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exchange.cli", "serve", "--home", str(founded.home.root),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        connector = aiohttp.TCPConnector(ssl=founded.trusting())
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:
            members = Members(founded, session)
            alive = await _under_load(members, hubs, real, kills, server)
            await _everything_cosigned(members)
            for pid in alive:
                assert await hubs.order("stop", pid) == 0
        assert not list(founded.home.root.glob("witness-*/refused/*")), "a witness was shown two histories"
        await _judge(founded, members, directory / "copy")
    await asyncio.sleep(0.1)  # transports close on the loop's next turns


async def _under_load(
    members: Members, hubs: Kennel, real: asyncio.subprocess.Process, kills: int, server: Cluster | None
) -> list[int]:
    chance = random.Random(20261124)
    async with asyncio.TaskGroup() as work:
        writers = [work.create_task(members.submit(slug)) for slug in ("us-customs", "us-cyber", "mx-marina")]
        for reader in (members.pull("mx-aduanas"), members.pull("us-maritime"), members.read_manifests("mx-ciber")):
            work.create_task(reader)
        old = await _old_page(members)
        alive = [await hubs.order("start"), await hubs.order("start")]
        real.kill()
        await real.wait()
        for number in range(1, kills):
            # Half of them strike while the hub that was started last is still starting.
            await asyncio.sleep(chance.choice((chance.uniform(0.0, 0.1), chance.uniform(0.2, 0.8))))
            await hubs.order("kill", alive.pop(chance.randrange(2)))
            if server is not None and number % FALLS_EVERY == 0:
                await asyncio.to_thread(server.fall)
                await asyncio.to_thread(server.start)
            alive.append(await hubs.order("start"))
            log = chance.choice(LOGS)
            await members.look_at_checkpoint(SEES[log], log)
        assert (await _objects(members, old[0]))["objects"] == old[1]
        members.enough.set()
        await asyncio.wait(writers)
        members.complete.set()
    return alive


async def _objects(members: Members, path: str) -> dict[str, Any]:
    base = f"collections/{members.founded.collections['indicators']}/objects/?limit=3"
    body: dict[str, Any] = json.loads((await members.ask("mx-aduanas", base + path))[0])
    return body


async def _old_page(members: Members) -> tuple[str, list[Any]]:
    """The second page of a walk, by the `next` that the first hub gave out before it was killed."""
    while not (first := await _objects(members, "")).get("more"):
        await asyncio.sleep(0.05)
    cursor = f"&next={first['next']}"
    while len(second := (await _objects(members, cursor))["objects"]) < 3:
        await asyncio.sleep(0.05)
    return cursor, second


async def _everything_cosigned(members: Members) -> None:
    """Until each log's newest checkpoint bears all the cosignatures that its policy asks for."""
    policies = read_policies(members.founded.settings.witness_policy)
    for log, slug in SEES.items():
        while True:
            await members.look_at_checkpoint(slug, log)
            with contextlib.suppress(ValueError):
                policies[log].check(members.history.notes[-1][1])
                break
            await asyncio.sleep(0.1)


async def _judge(founded: Founded, members: Members, copy: Path) -> None:
    async with working(founded.settings, founded.clock) as services:
        await write_copy(copy, HubCopy(services, LOGS))
        trees = await services.store.trees()
        leaves = {log: await services.store.leaves(log, 0, tree.size) for log, tree in trees.items()}
    history = members.history
    _nothing_is_lost(history)
    _what_left_was_logged(history, founded, leaves)
    _one_root_a_size(history, leaves)
    kept = dict(reversed(history.notes))  # the first that was seen of each log
    report = await asyncio.to_thread(verify_copy, copy, read_policies(founded.settings.witness_policy), kept)
    assert report.findings == ()
    cosigned = {log.name: set(log.cosigned) for log in report.logs}
    assert cosigned == {"both": {"us-a", "mx-a"}, "us": {"us-a"}, "mx": {"mx-a"}}
    for log in report.logs:
        assert log.size >= len(leaves[log.name]) - 10  # the hubs' last words came after the last cosignature


def _nothing_is_lost(history: History) -> None:
    """Every acknowledged object is there, under the one date it ever had; every reader got each once, in order."""
    assert len(history.acknowledged) > 100
    in_order = sorted(history.dates, key=lambda one: history.dates[one])
    assert set(in_order) == set(history.acknowledged)
    assert len(set(history.dates.values())) == len(in_order)
    for slug, walk in history.walks.items():
        assert walk == in_order, f"{slug} was not shown every object once, in order"


def _what_left_was_logged(history: History, founded: Founded, leaves: dict[str, list[bytes]]) -> None:
    logged = set()
    for log in LOGS:
        for leaf in leaves[log]:
            entry = load(leaf, max_bytes=70_000)
            if entry["t"] == "release":
                logged.add((log, entry["actor"].split(":")[1], entry["pub"]["count"], entry["pub"]["items_root"]))
    country = {member.identity_id: member.country for member in founded.members.values()}
    for slug, page in history.pages:
        reader = founded.members[slug].country
        for log in ("both", national(reader)):
            part = [one for one in page if route(reader, (country[one["created_by_ref"]],)) == log]
            assert not part or (log, slug, len(part), items_root(part)) in logged


def _one_root_a_size(history: History, leaves: dict[str, list[bytes]]) -> None:
    """Of all checkpoints that any hub ever showed, each is the root of the log as it is now."""
    assert len(history.roots) > 10
    roots = {}
    for log in LOGS:
        frontier = Frontier(0, ())
        roots[log, 0] = frontier.root()
        for leaf in leaves[log]:
            frontier = frontier.push(leaf_hash(leaf))
            roots[log, frontier.size] = frontier.root()
    for place, seen in history.roots.items():
        assert seen == {roots[place]}
