"""What members are asked to drop, on a whole hub: told to those that had it and to nobody else, acknowledged, and counted."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from exchange.cli.__main__ import puente
from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.model.member import Country, Member, Status
from policies.markings import CAVEAT_MARKINGS
from tests.agreeing import enact, in_force, successor
from tests.faults.hubs import write_settings
from tests.taxii import add, call, collection, get, leaves, times, version
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBER = "mx-aduanas"
NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")
DAY_US = 86_400_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("recall"), clock=FixedClock(), **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    return await collection(world, ("role:agency",), ("role:agency",))


async def recalls(world: World, slug: str, of: str) -> list[dict[str, Any]]:
    headers = {**world.headers(slug), "Accept": "application/json"}
    async with world.session.get(f"{world.hub.url}/api/v1/recalls", headers=headers) as answer:
        assert answer.status == 200
        return [one for one in (await answer.json())["recalls"] if one["collection"] == of]


async def acknowledge(world: World, slug: str, recall: str) -> tuple[int, dict[str, Any]]:
    url = f"{world.hub.url}/api/v1/recalls/{recall}/acknowledgements"
    async with world.session.post(url, headers={**world.headers(slug), "Accept": "application/json"}) as answer:
        return answer.status, await answer.json()


async def test_who_could_read_what_is_deleted_is_asked_to_drop_it(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1, tlp="amber+strict")
    [later] = times(obj, 1)
    await world.post("us-cyber", version(world, obj, later), to=fresh)
    status, _, _ = await call(
        world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/?match[version]=last"
    )
    assert status == 200
    [told] = await recalls(world, MEMBER, fresh)
    assert told["what"] == {"objects": [{"id": obj["id"], "versions": [later]}]}
    assert (told["class"], told["acknowledgement"], told["state"]) == ("error", "asked", "seen")
    assert "cause" not in told, "the agreement lets the class be told, and no more"
    assert [one["what"] for one in await recalls(world, "us-customs", fresh)] == [told["what"]]
    assert await recalls(world, "us-cyber", fresh) == [], "its author knows"
    assert await recalls(world, "mx-puerto-pac", fresh) == [], "who could not read it hears nothing"


async def test_an_acknowledgement_is_recorded_once_and_by_its_own_member_only(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/")
    [told] = await recalls(world, MEMBER, fresh)
    assert (await acknowledge(world, "mx-ciber", told["id"]))[0] == 404
    for _ in range(2):
        status, answer = await acknowledge(world, MEMBER, told["id"])
        assert (status, answer["state"]) == (202, "acknowledged")
    assert [one["on"] for one in await leaves(world, "both", "recall.ack") if one["on"].endswith(told["id"])] == [
        f"recall:{told['id']}"
    ]
    assert [
        one["pub"]["to"] for one in await leaves(world, "both", "recall") if one["pub"]["recall"] == told["id"]
    ] == [MEMBER]


async def test_what_the_agreement_gives_no_more_is_recalled_by_what_tells_it_apart(world: World, fresh: str) -> None:
    """And the days that the agreement allows run from then on."""
    await add(world, fresh, 2)
    await get(world, f"collections/{fresh}/objects/", MEMBER)
    governance, member = world.hub.services.governance, world.members[MEMBER]
    try:
        await governance.put_member(OPERATOR, replace(member, roles=("feed", "operator"), sectors=("energy.grid",)))
        await world.hub.services.release.views.catch_up()
        [row] = [one for one in await world.hub.services.recalls.everybodys() if one.row.collection == fresh]
        assert (row.row.member, row.state, row.row.cause) == (MEMBER, "open", "grant")
        assert row.told["what"] == {"labels": [{"originator": "us-cyber", "class": "indicator", "tlp": "amber"}]}
        assert (row.told["acknowledgement"], row.row.due_us) == ("required", world.clock.now_us() + DAY_US)
        [told] = await recalls(world, MEMBER, fresh)
        assert told["state"] == "seen"
        assert not {"class", "cause"} & told.keys(), "of law the agreement lets nothing be told"
        world.clock.advance(seconds=86_401)  # type: ignore[attr-defined]
        assert [one["state"] for one in await recalls(world, MEMBER, fresh)] == ["overdue"]
        assert (await acknowledge(world, MEMBER, told["id"]))[1]["state"] == "acknowledged", "late is better than never"
    finally:
        await governance.put_member(OPERATOR, member)


async def test_operators_see_who_has_seen_and_who_is_late(world: World, fresh: str) -> None:
    """`puente recall status`, beside the running hub."""
    write_settings(world.home, world.settings)  # on PostgreSQL they are not those that the home was made with
    [obj] = await add(world, fresh, 1)
    await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/")
    [told] = await recalls(world, MEMBER, fresh)
    await acknowledge(world, MEMBER, told["id"])

    async def status(*words: str, lang: str = "C.UTF-8") -> str:
        args = ["recall", "status", "--home", str(world.home.root), *words]
        result = await asyncio.to_thread(CliRunner(env={"LC_ALL": lang}).invoke, puente, args)
        assert result.exit_code == 0, result.output
        return str(result.output)

    [mine] = [one for one in json.loads(await status("--json")) if one["recall"] == told["id"]]
    assert (mine["member"], mine["state"], mine["cause"]) == (MEMBER, "acknowledged", "delete")
    rows = json.loads(await status("--json", "--to", "us-customs", "--open"))
    assert rows and {one["member"] for one in rows} == {"us-customs"}
    assert "acknowledged" in await status("--to", MEMBER)
    assert "confirmado" in await status("--to", MEMBER, lang="es_MX.UTF-8")


async def test_who_loses_sight_of_an_object_by_its_marking_is_asked_to_drop_it(world: World, fresh: str) -> None:
    """And nobody else: not who may have the stricter version, not who came when the looser one was gone already."""
    views = world.hub.services.release.views
    await views.catch_up()
    first, second = await add(world, fresh, 2)
    [later, last] = times(first, 2)
    await world.post("us-cyber", version(world, first | {"name": "new"}, later), to=fresh)
    for obj, moment in ((first, last), (second, later)):
        marked = obj | {"object_marking_refs": [*obj["object_marking_refs"], NOFORN]}
        marked |= {"revoked": True} if obj is second else {}
        await world.post("us-cyber", version(world, marked, moment), to=fresh)
    newcomer = Member(
        "mx-nuevo", "identity--5b5c7c2c-2f6e-4d5c-9c3a-3a8c8b0a6f11", Country.MX, "agency", ("agency",), (), "N", "N"
    )
    await world.hub.services.governance.put_member(OPERATOR, newcomer)
    try:
        await views.catch_up()
        await world.hub.services.recalls.follow_markings()
        told = await recalls(world, MEMBER, fresh)
        assert {one["what"]["objects"][0]["id"] for one in told} == {first["id"], second["id"]}
        assert {one["class"] for one in told} == {"error"}
        everybody = [one.row for one in await world.hub.services.recalls.everybodys() if one.row.collection == fresh]
        assert {row.member for row in everybody} == {"mx-ciber", "mx-aduanas", "mx-marina"}
        await world.hub.services.recalls.follow_markings()
        assert len(
            [one for one in await world.hub.services.recalls.everybodys() if one.row.collection == fresh]
        ) == len(everybody)
    finally:
        await world.hub.services.governance.set_status(OPERATOR, "mx-nuevo", Status.WITHDRAWN)


async def test_who_had_what_its_originator_revokes_says_so_where_the_agreement_requires_it(
    world: World, fresh: str
) -> None:
    """The revoked version itself goes to everybody who had one; it is followed by a recall only where one is to be answered."""
    services = world.hub.services
    first, second, third = await add(world, fresh, 3)
    newcomer = Member(
        "mx-otro", "identity--5b5c7c2c-2f6e-4d5c-9c3a-3a8c8b0a6f12", Country.MX, "agency", ("agency",), (), "O", "O"
    )

    async def revoke(obj: dict[str, Any], *, joins: bool = False) -> list[Any]:
        [_, last] = times(obj, 2)
        await world.post("us-cyber", version(world, obj | {"revoked": True}, last), to=fresh)
        if joins:
            await services.governance.put_member(OPERATOR, newcomer)
        await services.release.views.catch_up()
        await services.recalls.follow_markings()
        return [one for one in await services.recalls.everybodys() if one.row.collection == fresh]

    await services.release.views.catch_up()
    assert await revoke(first) == [], "the sample asks for no acknowledgement of an error"
    document, _ = await in_force(services)
    required = successor(document, ('error = { act_within = "24h"', 'error = { ack = "required", act_within = "24h"'))
    await enact(services, world.home, required)
    try:
        [later, _] = times(second, 2)
        await world.post("us-cyber", version(world, second, later), to=fresh)
        had = {"mx-ciber", "mx-aduanas", "mx-marina", "us-customs", "us-maritime"}
        made = await revoke(second)
        assert {one.row.member for one in made} == had, "and neither its author, nor who never saw it"
        assert {one.row.id for one in await revoke(second)} == {one.row.id for one in made}, "once"
        [told] = await recalls(world, MEMBER, fresh)
        assert told["what"] == {"objects": [{"id": second["id"], "versions": [second["modified"], later]}]}
        assert (told["class"], told["acknowledgement"]) == ("error", "required")
        assert (await acknowledge(world, MEMBER, told["id"]))[1]["state"] == "acknowledged"
        made = await revoke(third, joins=True)
        assert {one.row.member for one in made if third["id"].encode() in one.row.what} == had, (
            "who came after had nothing"
        )
    finally:
        await services.governance.set_status(OPERATOR, "mx-otro", Status.WITHDRAWN)
        await enact(services, world.home, successor(required, ('error = { ack = "required", ', "error = { ")))
