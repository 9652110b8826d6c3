"""The border while a country's witnesses are silent: closed for what would cross it, and nothing else stops."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from exchange.cli import setup
from exchange.store.acts import Act, Record
from exchange.store.changes import StateChange
from exchange.store.contract import DEGRADED, OPEN, Outdated
from tests.places import Place, knobs_of
from tests.world import World, make_world


@pytest.fixture
async def world(tmp_path: Path, place: Place) -> AsyncIterator[World]:
    """One whose witnesses never answer, so that the test alone turns its state."""
    nobody = dict.fromkeys(setup.WITNESSES, "http://127.0.0.1:9")
    async with make_world(tmp_path, witnesses=nobody, **knobs_of(place)) as made:
        assert (await made.hub.services.store.epochs()).state == DEGRADED, "it began without an answer of each country"
        await turn(made, DEGRADED, OPEN)
        yield made


async def turn(world: World, old: str, new: str) -> None:
    act = Act(str(uuid.uuid4()), lambda _: Record(()), changes=(StateChange(old, new),))
    await world.hub.services.sequencer.append(act)


async def page(world: World, slug: str, collection: str, language: str = "en") -> tuple[int, Any, Any]:
    return await world.get(
        slug, f"collections/{world.collections[collection]}/objects/", **{"Accept-Language": language}
    )


async def entries(world: World, kind: str) -> int:
    store = world.hub.services.store
    leaves = [leaf for log in ("both", "us", "mx") for leaf in await store.leaves(log, 0, 10_000)]
    return sum(json.loads(leaf)["t"] == kind for leaf in leaves)


async def test_domestic_exchange_and_intake_go_on_and_nothing_crosses(world: World) -> None:
    ours = world.signed("us-cyber")
    await world.post("us-cyber", ours)
    await turn(world, OPEN, DEGRADED)
    theirs, late = world.signed("mx-ciber"), world.signed("us-cyber")
    assert (await world.post("mx-ciber", theirs))["success_count"] == 1
    assert (await world.post("us-cyber", late))["success_count"] == 1

    # What lies before the first foreign object is given; then the reader is told to come back, and keeps its place.
    status, body, headers = await page(world, "us-customs", "indicators")
    assert (status, [one["id"] for one in body["objects"]]) == (200, [ours["id"]])
    following = (
        f"collections/{world.collections['indicators']}/objects/?added_after={headers['X-TAXII-Date-Added-Last']}"
    )
    status, body, headers = await world.get("us-customs", following)
    assert (status, body["error_code"]) == (503, "border-closed")
    assert int(headers["Retry-After"]) > 0

    before = await entries(world, "release")
    for language, word in (("en", "witnesses"), ("es", "testigos")):
        status, body, _ = await page(world, "mx-aduanas", "indicators", language)
        assert (status, body["error_code"]) == (503, "border-closed")
        assert word in body["description"]
    assert await entries(world, "release") == before, "what was not given is not in the log as given"

    at_home = world.signed("mx-ciber")
    await world.post("mx-ciber", at_home, to="mx-domestic")
    assert await world.pull("mx-aduanas", "mx-domestic") == [at_home["id"]]
    async with world.session.get(f"{world.hub.url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "state": "degraded"})

    await turn(world, DEGRADED, OPEN)
    assert await world.pull("mx-aduanas") == [ours["id"], theirs["id"], late["id"]]
    _, body, _ = await world.get("us-customs", following)
    assert [one["id"] for one in body["objects"]] == [theirs["id"], late["id"]], "none was passed over"


async def test_one_object_and_a_manifest_do_not_cross_either(world: World) -> None:
    ours = world.signed("us-cyber")
    await world.post("us-cyber", ours)
    await turn(world, OPEN, DEGRADED)
    place = f"collections/{world.collections['indicators']}"
    for path in (f"objects/{ours['id']}/", f"objects/{ours['id']}/versions/", "manifest/"):
        assert (await world.get("us-customs", f"{place}/{path}"))[0] == 200
        assert (await world.get("mx-aduanas", f"{place}/{path}"))[0] == 503


async def test_devices_abroad_keep_the_list_they_have_and_those_at_home_get_theirs(world: World) -> None:
    await world.post("us-cyber", world.signed("us-cyber"))
    await turn(world, OPEN, DEGRADED)
    for slug, expected in (("us-customs", 200), ("mx-ciber", 503)):
        path = f"{world.hub.url}/edl/v1/indicators/ipv4.txt"
        async with world.session.get(path, headers={"Authorization": f"Bearer {world.tokens[slug]}"}) as answer:
            assert answer.status == expected, slug
            assert ("198.51.100.7" in await answer.text()) == (expected == 200)


async def test_only_one_process_turns_the_state_and_a_halt_wins(world: World) -> None:
    await turn(world, OPEN, DEGRADED)
    with pytest.raises(Outdated):
        await turn(world, OPEN, DEGRADED)
    store = world.hub.services.store
    await store.halt("fork")
    assert (await store.epochs()).state == "fork"
    await store.halt("rollback")
    assert (await store.epochs()).state == "fork", "the first fault is the one that is told"
    async with world.session.get(f"{world.hub.url}/readyz") as answer:
        assert answer.status == 503
