"""Late release on a whole hub: what opens is told to pollers, in every face of the hub, and in the log."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.times import parse_us
from tests.taxii import add, call, collection, get, ids, leaves, private_part
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLUG = "mx-aduanas"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("late"), clock=FixedClock(), **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    return await collection(world, ("all",), ("role:agency",))


async def authority(world: World, *, is_one: bool) -> None:
    """Whether the member has a role to which the agreement gives anything."""
    world.clock.advance(seconds=60)  # type: ignore[attr-defined]
    member = world.members[SLUG]
    await world.hub.services.governance.put_member(OPERATOR, member if is_one else replace(member, roles=("feed",)))


async def test_a_poller_is_told_what_opened_behind_its_place(world: World, fresh: str) -> None:
    path = f"collections/{fresh}/objects/"
    sent = await add(world, fresh, 3)
    _, body, headers = await call(world, SLUG, "GET", path)
    assert ids(body) == [one["id"] for one in sent]
    await authority(world, is_one=False)
    sent += await add(world, fresh, 2)
    place = headers["X-TAXII-Date-Added-Last"]
    status, body, headers = await call(world, SLUG, "GET", f"{path}?added_after={place}")
    assert (status, body, headers["X-TAXII-Date-Added-Last"]) == (200, {}, place)
    await authority(world, is_one=True)
    _, body, headers = await call(world, SLUG, "GET", f"{path}?added_after={place}&limit=4")
    assert ids(body) == [one["id"] for one in sent[:4]] and body["more"], (
        "what closed had to be dropped, so it comes again"
    )
    _, rest, _ = await call(world, SLUG, "GET", f"{path}?limit=4&next={body['next']}")
    assert ids(rest) == [sent[4]["id"]] and not rest.get("more")
    sent += await add(world, fresh, 1)
    assert ids(await get(world, path, SLUG)) == [one["id"] for one in sent], "and what comes now comes behind it"


async def test_every_face_of_the_hub_tells_the_same_date_added(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    path = f"collections/{fresh}"
    [before] = (await get(world, f"{path}/manifest/", SLUG))["objects"]
    await authority(world, is_one=False)
    assert (await call(world, SLUG, "GET", f"{path}/objects/{obj['id']}/"))[0] == 404
    await authority(world, is_one=True)
    [row] = (await get(world, f"{path}/manifest/", SLUG))["objects"]
    assert parse_us(row["date_added"]) >= parse_us(before["date_added"]) + 120_000_000
    for place in (
        "objects/",
        f"objects/{obj['id']}/",
        f"objects/{obj['id']}/versions/",
        f"objects/?match[id]={obj['id']}",
    ):
        status, _, headers = await call(world, SLUG, "GET", f"{path}/{place}")
        assert (status, headers["X-TAXII-Date-Added-First"]) == (200, row["date_added"]), place
    async with world.session.get(
        f"{world.hub.url}/api/v1/explain?object={obj['id']}&to={SLUG}", headers={**world.headers(SLUG), "Accept": "*/*"}
    ) as answer:
        [told] = (await answer.json())["placements"]
    assert (told["visible"], told["date_added"]) == (True, row["date_added"])
    [other] = (await get(world, f"{path}/manifest/", "mx-ciber"))["objects"]
    assert other["date_added"] == before["date_added"], "to others nothing happened"
    list_path = f"{world.hub.url}/edl/v1/{fresh}/ipv4.txt"
    async with world.session.get(list_path, headers={"Authorization": f"Bearer {world.tokens[SLUG]}"}) as answer:
        assert (answer.status, await answer.text()) == (200, "198.51.100.7\n")


async def test_the_log_says_what_opened_and_closed_and_for_whom(world: World, fresh: str) -> None:
    sent = await add(world, fresh, 3)
    await get(world, f"collections/{fresh}/objects/", SLUG)
    await authority(world, is_one=False)
    await world.hub.services.release.views.catch_up()
    await authority(world, is_one=True)
    await world.hub.services.release.views.catch_up()
    entries = [
        leaf
        for kind in ("withdraw", "publish")
        for leaf in await leaves(world, "both", kind)
        if leaf["on"] == f"coll:{fresh}" and leaf["pub"].get("to") == SLUG
    ]
    told = [leaf["pub"] for leaf in entries]
    assert [(one["cause"], one["count"]) for one in told] == [("grant", 3), ("grant", 3)]
    given = {one["id"] for one in sent}
    named = {one["pub"]["label"] for one in await leaves(world, "us", "submit") if one["pub"]["object"] in given}
    closed = await private_part(world, "both", entries[0])
    assert closed == {
        "labels": sorted(named),
        "what": [{"originator": "us-cyber", "class": "indicator", "tlp": "amber"}],
    }
    [row, *_] = (await get(world, f"collections/{fresh}/manifest/", SLUG))["objects"]
    assert told[1]["first"] == row["date_added"]
