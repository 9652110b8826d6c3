"""Two hub processes on one database, killed a hundred times under load: what anybody was told stays true.

EXCHANGE_TEST_KILLS is how often on each store instead, for a night with time to spare.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.hubs import ROOT, Kennel, kennel, write_settings
from tests.faults.judging import SEES, everything_cosigned, judge
from tests.faults.load import History, Members, at_work
from tests.postgres import Cluster, Databases
from tests.world import found

_MORE = os.environ.get("EXCHANGE_TEST_KILLS")
KILLS, KILLS_WITH_FALLS = (int(_MORE), int(_MORE)) if _MORE else (100, 20)
FALLS_EVERY = 7
LIMIT_SECONDS = 400 + (4 * KILLS if _MORE else 0)


@pytest.mark.timeout(LIMIT_SECONDS)
@pytest.mark.rule("ADD-24", "PAG-20", "SRT-06", "SRT-08")
async def test_a_hundred_kills(tmp_path: Path) -> None:
    """Invariants I1 to I9 of the ledger design as they look from outside. Kills strike at any moment, start-up included."""
    await _play(tmp_path, KILLS)


@pytest.mark.timeout(LIMIT_SECONDS)
@pytest.mark.rule("ADD-24", "PAG-20", "SRT-06", "SRT-08")
async def test_kills_of_hubs_and_falls_of_postgresql(tmp_path: Path, server: Cluster) -> None:
    """The same on PostgreSQL, whose server falls from time to time as if its power was cut."""
    await _play(tmp_path, KILLS_WITH_FALLS, server)


async def _play(directory: Path, kills: int, server: Cluster | None = None) -> None:
    knobs: dict[str, Any] = {"checkpoint_interval_seconds": 0.02, "witness_interval_seconds": 0.5}
    if server is not None:
        knobs["database_url"] = await Databases(server.url).fresh(empty=True)
    async with found(directory / "home", **knobs) as founded, kennel() as hubs:
        write_settings(founded.home, founded.settings)
        real = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exchange.cli", "serve", "--home", str(founded.home.root),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        async with at_work(founded) as members:
            alive = await _under_load(members, hubs, real, kills, server)
            await everything_cosigned(members)
            for pid in alive:
                assert await hubs.order("stop", pid) == 0
        await judge(founded, members, directory / "copy")
        _nothing_is_lost(members.history)


async def _under_load(
    members: Members, hubs: Kennel, real: asyncio.subprocess.Process, kills: int, server: Cluster | None
) -> list[int]:
    chance = random.Random(20261124)
    home = members.founded.home.root
    async with asyncio.TaskGroup() as work:
        writers = [work.create_task(members.submit(slug)) for slug in ("us-customs", "us-cyber", "mx-marina")]
        for reader in (members.pull("mx-aduanas"), members.pull("us-maritime"), members.read_manifests("mx-ciber")):
            work.create_task(reader)
        old = await _old_page(members)
        alive = [await hubs.order("start", home), await hubs.order("start", home)]
        real.kill()
        await real.wait()
        for number in range(1, kills):
            # Half of them strike while the hub that was started last is still starting.
            await asyncio.sleep(chance.choice((chance.uniform(0.0, 0.1), chance.uniform(0.2, 0.8))))
            await hubs.order("kill", alive.pop(chance.randrange(2)))
            if server is not None and number % FALLS_EVERY == 0:
                await asyncio.to_thread(server.fall)
                await asyncio.to_thread(server.start)
            alive.append(await hubs.order("start", home))
            log = chance.choice(list(SEES))
            await members.look_at_checkpoint(SEES[log], log)
        assert (await _objects(members, old[0]))["objects"] == old[1]
        members.enough.set()
        await asyncio.wait(writers)
        members.complete.set()
    return alive


async def _objects(members: Members, path: str) -> dict[str, Any]:
    found, _ = await members.ask("mx-aduanas", f"{members.collection}/objects/?limit=3{path}")
    body: dict[str, Any] = json.loads(found)
    return body


async def _old_page(members: Members) -> tuple[str, list[Any]]:
    """The second page of a walk, by the `next` that the first hub gave out before it was killed."""
    while not (first := await _objects(members, "")).get("more"):
        await asyncio.sleep(0.05)
    cursor = f"&next={first['next']}"
    while len(second := (await _objects(members, cursor))["objects"]) < 3:
        await asyncio.sleep(0.05)
    return cursor, second


def _nothing_is_lost(history: History) -> None:
    """Every acknowledged object is there, under the one date it ever had; every reader got each once, in order."""
    assert len(history.acknowledged) > 100
    in_order = sorted(history.dates, key=lambda one: history.dates[one])
    assert set(in_order) == set(history.acknowledged)
    assert len(set(history.dates.values())) == len(in_order)
    for slug, walk in history.walks.items():
        assert walk == in_order, f"{slug} was not shown every object once, in order"
