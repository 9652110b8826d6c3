"""Agreements that change a hundred times a minute under readers and writers: what the log then says, and it alone."""

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle, pairwise
from typing import Any

import orjson
import pytest
import pytest_asyncio

from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy
from exchange.cli.setup import OPERATOR
from exchange.hub import working
from exchange.ledger.audit import verify_copy, write_copy
from tests.agreeing import amended, approvals, enact, in_force
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLIPS = 100
PERIOD_SECONDS = 0.6
"""A hundred flips a minute, where the machine keeps up."""
WALKS, WRITES = 10, 2
"""Beside each flip: a thousand walks over all there is, and two hundred envelopes, in all."""

READERS = ("mx-ciber", "mx-aduanas", "mx-marina", "us-customs", "us-maritime")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    knobs = {"witness_interval_seconds": 0.2, "checkpoint_interval_seconds": 0.05, "agreement_notice_seconds": 0}
    async with make_world(tmp_path_factory.mktemp("flips"), notices=False, **knobs, **database) as made:
        yield made


@pytest.mark.timeout(400)
async def test_each_release_names_the_one_version_in_force_at_its_place(world: World, tmp_path: Any) -> None:
    """Every other version closes the border from the US to Mexico. Two processes flip in turn; readers walk all the while."""
    await world.post("us-cyber", *(world.signed("us-cyber") for _ in range(20)))
    load = Load()
    async with asyncio.TaskGroup() as tasks:
        for slug in READERS:
            tasks.create_task(read(world, slug, load))
        tasks.create_task(write(world, load))
        tasks.create_task(flip(world, load))

    store = world.hub.services.store
    both = [orjson.loads(one) for one in await store.leaves("both", 0, 100_000)]
    adopted = [one for one in both if one["t"] == "policy.activate"]
    assert [number(one) for one in adopted] == list(range(1, FLIPS + 2))
    crossing = {number(one) for one in both if one["t"] == "release" and one["actor"].startswith("mx:")}
    assert crossing and all(version % 2 for version in crossing), "a closed border was crossed"
    in_turn = 0
    for one in both:
        in_turn = number(one) if one["t"] == "policy.activate" else in_turn
        assert number(one) == in_turn, one

    # At home the numbers rise, and each is that of a version in force at the entry's time.
    begins = {number(one): (one["time"], then["time"]) for one, then in pairwise([*adopted, {"time": "9999"}])}
    for log in ("us", "mx"):
        leaves = [orjson.loads(one) for one in await store.leaves(log, 0, 100_000)]
        released = [one for one in leaves if one["t"] == "release"]
        assert released and all(number(one) <= number(then) for one, then in pairwise(released))
        for one in released:
            start, end = begins[number(one)]
            assert start <= one["time"] <= end, one

    await world.cosigned()
    await write_copy(tmp_path / "copy", HubCopy(world.hub.services, ("both", "us", "mx"), countries=("us", "mx")))
    report = verify_copy(tmp_path / "copy", read_policies(world.home.root / "hub" / "witness-policy"))
    assert report.ok, report.findings


class Load:
    """What readers and writers are allowed: so much with each flip, however long it takes."""

    def __init__(self) -> None:
        self.walks, self.writes = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.over = False

    def more(self, walks: int, writes: int) -> None:
        for _ in range(walks):
            self.walks.release()
        for _ in range(writes):
            self.writes.release()

    def end(self) -> None:
        self.over = True
        self.more(len(READERS), 1)


async def read(world: World, slug: str, load: Load) -> None:
    while await load.walks.acquire() and not load.over:
        await world.pull(slug, query="limit=20")


async def write(world: World, load: Load) -> None:
    for slug in cycle(("us-cyber", "mx-ciber")):
        if not await load.writes.acquire() or load.over:
            return
        await world.post(slug, world.signed(slug))


async def flip(world: World, load: Load) -> None:
    ways = cycle([('"US>MX", "MX>US"', '"MX>US"'), ('"MX>US"', '"US>MX", "MX>US"')])
    loop = asyncio.get_running_loop()
    try:
        async with working(world.settings, world.clock) as other:
            for number, (old, new) in zip(range(FLIPS), ways, strict=False):
                following = loop.time() + PERIOD_SECONDS
                acting = (world.hub.services, other)[number % 2]
                document, _ = await in_force(acting)
                load.more(WALKS, WRITES)
                await enact(acting, world.home, amended(document, "P-AUTHORITY-TO-AUTHORITY", old, new))
                await asyncio.sleep(max(0, following - loop.time()))
    finally:
        load.end()


async def test_a_flip_in_the_middle_of_a_walk_loses_nobody_their_place(world: World) -> None:
    document, agreement = await in_force(world.hub.services)
    assert agreement.version % 2, "the last flip opened the border again"
    seen = await world.pull("mx-ciber", query="limit=5")
    draft = await world.hub.services.agreements.propose(
        OPERATOR, amended(document, "P-AUTHORITY-TO-AUTHORITY", '"US>MX", "MX>US"', '"MX>US", "US>MX"')
    )
    walked: list[str] = []
    path, following = f"collections/{world.collections['indicators']}/objects/?limit=5", ""
    while True:
        status, body, _ = await world.get("mx-ciber", path + following)
        assert status == 200
        walked += [one["id"] for one in body.get("objects", [])]
        if len(walked) == 10:
            await world.hub.services.agreements.approve(OPERATOR, draft.row.sha256, approvals(world.home, draft))
        if not body.get("more"):
            break
        following = f"&next={body['next']}"
    assert walked == seen


def number(leaf: dict[str, Any]) -> int:
    """Of the adoption that an entry names; 0 before the first."""
    return int(leaf["pol"].rpartition("@")[2] or 0)
