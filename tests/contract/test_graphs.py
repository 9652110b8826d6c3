"""What connects objects, on a whole hub: it travels only with all that it connects, wherever one looks for it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from orjson import loads

from certs.keys import thumbprint
from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.model.member import Status
from exchange.times import as_datetime, as_millis_text
from policies.markings import CAVEAT_MARKINGS
from policies.terms import TERMS_EXTENSION
from tests.auditors import Story
from tests.contract.test_notices import notices
from tests.contract.test_originators_terms import marked
from tests.taxii import call, collection, leaves
from tests.world import TLP2, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")
READER = "mx-ciber"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("graphs"), clock=FixedClock(), **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    return await collection(world, ("role:agency",), ("role:agency",))


def indicator(world: World, slug: str = "us-cyber", *marks: str) -> dict[str, Any]:
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    return world.signed(slug, confidence=85, object_marking_refs=[TLP2["amber"], *marks])


def made(world: World, kind: str, slug: str = "us-cyber", **more: Any) -> dict[str, Any]:
    """Something signed that connects others."""
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    base = world.indicator(slug)
    kept = ("spec_version", "created_by_ref", "created", "modified")
    obj = {"type": kind, "id": f"{kind}{base['id'].removeprefix('indicator')}", "object_marking_refs": [TLP2["amber"]],
           "confidence": 85} | {name: base[name] for name in kept} | more  # fmt: skip
    return world.sign(slug, obj)


def related(world: World, source: dict[str, Any], target: dict[str, Any], slug: str = "us-cyber") -> dict[str, Any]:
    ends = {"source_ref": source["id"], "target_ref": target["id"]}
    return made(world, "relationship", slug, relationship_type="related-to", **ends)


def report(world: World, *members: dict[str, Any]) -> dict[str, Any]:
    refs = [one["id"] for one in members]
    return made(world, "report", name="r", published="2026-11-20T00:00:00Z", object_refs=refs)


def newer(world: World, obj: dict[str, Any], *marks: str) -> dict[str, Any]:
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    plain = {name: value for name, value in obj.items() if name != "extensions"}
    changed = {"modified": as_millis_text(world.clock.now_us()), "object_marking_refs": [TLP2["amber"], *marks]}
    return world.sign("us-cyber", plain | changed)


class Poller:
    """Asks for what was added since it last asked."""

    def __init__(self, world: World, slug: str, of: str) -> None:
        self._world = world
        self._slug = slug
        self._of = of
        self._place = ""

    async def poll(self) -> list[str]:
        after = f"added_after={self._place}" if self._place else ""
        _, body, headers = await self._world.get(self._slug, f"collections/{self._of}/objects/?{after}")
        self._place = headers.get("X-TAXII-Date-Added-Last", self._place)
        return [one["id"] for one in body.get("objects", [])]


async def send(world: World, of: str, *objects: dict[str, Any], slug: str = "us-cyber") -> None:
    status = await world.post(slug, *objects, to=of)
    assert status["failure_count"] == 0, status


async def test_a_relationship_travels_with_both_ends_and_by_every_way_of_asking(world: World, fresh: str) -> None:
    open_, hidden = indicator(world), indicator(world, "us-cyber", NOFORN)
    good, bad = related(world, open_, open_), related(world, open_, hidden)
    await send(world, fresh, bad, good, open_, hidden)  # in whatever order: one envelope is one act
    base = f"collections/{fresh}"
    for path in (f"{base}/objects/?match[id]={bad['id']}", f"{base}/manifest/?match[id]={bad['id']}",
                 f"{base}/objects/?match[version]=all&match[id]={bad['id']}"):  # fmt: skip
        assert (await world.get(READER, path))[1].get("objects", []) == []
    for path in (f"{base}/objects/{bad['id']}/", f"{base}/objects/{bad['id']}/versions/"):
        assert (await world.get(READER, path))[0] == 404
    assert set(await world.pull(READER, fresh)) == {open_["id"], good["id"]}
    assert set(await world.pull("us-customs", fresh)) == {open_["id"], hidden["id"], good["id"], bad["id"]}


async def test_what_comes_too_early_waits_for_what_it_refers_to(world: World, fresh: str) -> None:
    one, other = indicator(world), indicator(world)
    relation = related(world, one, other)
    author, reader = Poller(world, "us-cyber", fresh), Poller(world, READER, fresh)
    await send(world, fresh, relation)
    assert (await author.poll(), await reader.poll()) == ([relation["id"]], [])
    await send(world, fresh, one)
    assert (await author.poll(), await reader.poll()) == ([one["id"]], [one["id"]])
    await send(world, fresh, other)
    assert await reader.poll() == [other["id"], relation["id"]], "its end first"
    assert await author.poll() == [other["id"]], "its author had it all the time"
    assert await world.pull("us-cyber", fresh) == [relation["id"], one["id"], other["id"]]


async def test_an_end_that_is_marked_otherwise_takes_along_what_leads_to_it(world: World, fresh: str) -> None:
    end, other = indicator(world), indicator(world)
    relation, alone = related(world, end, other), related(world, other, other)
    whole = report(world, relation, other)
    await send(world, fresh, end, other, relation, alone, whole)
    reader, compatriot = Poller(world, READER, fresh), Poller(world, "us-customs", fresh)
    everything = {one["id"] for one in (end, other, relation, alone, whole)}
    assert set(await reader.poll()) == set(await compatriot.poll()) == everything
    stricter = newer(world, end, NOFORN)
    await send(world, fresh, stricter)
    assert await reader.poll() == []
    assert set(await world.pull(READER, fresh)) == {other["id"], alone["id"]}
    assert await compatriot.poll() == [end["id"]], "what it may still see comes to it no second time"
    assert set(await world.pull("us-customs", fresh)) == everything
    await world.hub.services.recalls.follow_markings()
    headers = {**world.headers(READER), "Accept": "application/json"}
    async with world.session.get(f"{world.hub.url}/api/v1/recalls", headers=headers) as answer:
        told = [
            one["what"]["objects"][0]["id"] for one in (await answer.json())["recalls"] if one["collection"] == fresh
        ]
    assert sorted(told) == sorted([end["id"], relation["id"], whole["id"]])
    await send(world, fresh, newer(world, stricter))
    assert set(await reader.poll()) == {end["id"], relation["id"], whole["id"]}
    assert await compatriot.poll() == [end["id"]]


async def test_what_refers_to_a_deleted_object_is_withheld(world: World, fresh: str) -> None:
    end, other = indicator(world), indicator(world)
    relation = related(world, end, other)
    await send(world, fresh, end, other, relation)
    assert relation["id"] in await world.pull(READER, fresh)
    url = f"{world.root}collections/{fresh}/objects/{end['id']}/"
    async with world.session.delete(url, headers=world.headers("us-cyber")) as answer:
        assert answer.status == 200
    assert await world.pull(READER, fresh) == [other["id"]]
    assert relation["id"] in await world.pull("us-cyber", fresh)


async def withdrawn(world: World, of: str, slug: str = READER) -> set[str]:
    return {one["id"] for notice in await notices(world, of, slug) for one in notice["withdraws"]}


async def test_what_closes_because_of_an_end_is_named_to_who_had_it(world: World, fresh: str) -> None:
    end, gone, other = (indicator(world) for _ in range(3))
    hidden = indicator(world, "us-cyber", NOFORN)
    relations = [related(world, one, other) for one in (end, gone, hidden)]
    await send(world, fresh, end, gone, hidden, other, *relations)
    assert relations[0]["id"] in await world.pull(READER, fresh)
    await send(world, fresh, newer(world, end, NOFORN))
    assert await withdrawn(world, fresh) == {end["id"], relations[0]["id"]}
    assert (await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{gone['id']}/"))[0] == 200
    told = {end["id"], gone["id"], relations[0]["id"], relations[1]["id"]}
    assert await withdrawn(world, fresh) == told, "and nothing of the one that it never had"
    assert await withdrawn(world, fresh, "us-customs") == {gone["id"], relations[1]["id"]}, (
        "who may have the stricter one keeps it"
    )


async def test_what_was_placed_again_is_named_when_the_rules_close_it(world: World, fresh: str) -> None:
    """It lies where it was for who had it, long before it came under the label that closes."""
    end, other, third = indicator(world, "us-customs"), indicator(world), indicator(world)
    third = world.sign(
        "us-cyber", {name: value for name, value in third.items() if name != "extensions"} | {"confidence": 60}
    )
    relations = [related(world, end, one) for one in (other, third)]
    await send(world, fresh, end, slug="us-customs")
    await send(world, fresh, other, third, *relations)
    everything = {one["id"] for one in (end, other, third, *relations)}
    assert set(await world.pull(READER, fresh)) == everything
    governance = world.hub.services.governance
    try:
        await governance.set_status(OPERATOR, "us-customs", Status.SUSPENDED)
        weaker = newer(world, other) | {"confidence": 60}  # under the label of the third: so come their relationships
        await send(world, fresh, world.sign("us-cyber", {k: v for k, v in weaker.items() if k != "extensions"}))
        assert await withdrawn(world, fresh) == {end["id"], *(one["id"] for one in relations)}
        found = [one.row for one in await world.hub.services.recalls.everybodys() if one.row.collection == fresh]
        assert {one.cause for one in found if one.member == READER} == {"suspension"}
    finally:
        await governance.set_status(OPERATOR, "us-customs", Status.ACTIVE)
    assert everything <= set(await world.pull(READER, fresh))


async def test_what_refers_to_what_a_lost_key_signed_goes_with_it_and_comes_to_nobody(world: World, fresh: str) -> None:
    world.clock.advance(seconds=60)  # type: ignore[attr-defined]
    since_us = world.clock.now_us()
    end, other = indicator(world, "us-maritime"), indicator(world)
    relation = related(world, end, other)
    await send(world, fresh, end, slug="us-maritime")
    await send(world, fresh, other, relation)
    assert relation["id"] in await world.pull(READER, fresh)
    before = len([one for one in await leaves(world, "us", "publish") if one["pub"]["cause"] == "ends"])
    certificate = world.home.signer("us-maritime", world.members["us-maritime"].identity_id).certificate
    await world.hub.services.governance.revoke_signing_cert(
        OPERATOR, thumbprint(certificate), reason="keyCompromise", compromised_since_us=since_us
    )
    assert end["id"] in await withdrawn(world, fresh)
    assert await withdrawn(world, fresh) == {end["id"], relation["id"]}, "the next time round"
    after = [one for one in await leaves(world, "us", "publish") if one["pub"]["cause"] == "ends"]
    assert len(after) == before, "to nobody is it news"


async def test_what_refers_to_something_embargoed_waits_for_its_hour(world: World, fresh: str) -> None:
    soon = as_datetime(world.clock.now_us()) + timedelta(hours=2)
    definition, end = marked(world, TERMS_EXTENSION, {"not_before": soon.strftime("%Y-%m-%dT%H:%M:%SZ")})
    relation = related(world, end, end)
    await send(world, fresh, definition, end, relation)
    assert await world.pull(READER, fresh) == [definition["id"]]
    world.clock.advance(seconds=3 * 3600)  # type: ignore[attr-defined]
    assert {end["id"], relation["id"]} <= set(await world.pull(READER, fresh))


async def test_an_end_in_a_collection_that_one_may_not_read_is_not_there(world: World, fresh: str) -> None:
    closed = await collection(world, ("member:us-cyber", "member:us-customs"), ("role:agency",))
    end = indicator(world)
    relation = related(world, end, end)
    await send(world, closed, end)
    await send(world, fresh, relation)
    assert await world.pull(READER, fresh) == await world.pull("us-maritime", fresh) == []
    assert await world.pull("us-customs", fresh) == [relation["id"]]
    await send(world, fresh, end)
    assert set(await world.pull(READER, fresh)) == {relation["id"], end["id"]}


async def seen(world: World, auditor: str, obj: dict[str, Any]) -> set[tuple[str, str]]:
    """Who had it, and how sure that is."""
    await world.cosigned()
    rows = (await Story(world).ask(auditor, "who-saw", object=obj["id"])).rows
    return {(row["member"], row["evidence"]) for row in rows}


async def test_a_second_copy_opens_once_what_leads_to_it(world: World, fresh: str) -> None:
    """For whoever may have that copy and had none; for the rest it neither comes nor goes."""
    reader, compatriot = Poller(world, READER, fresh), Poller(world, "us-maritime", fresh)
    strict = [world.observed("us-cyber", f"203.0.113.{n}", TLP2["amber"], NOFORN) for n in (7, 8)]
    copies = [world.observed("us-customs", f"203.0.113.{n}", TLP2["amber"]) for n in (7, 8)]
    relations = [related(world, one[0], one[0]) for one in strict]
    for one in (*strict, relations):
        await send(world, fresh, *one)
    assert await reader.poll() == []
    ids = [one["id"] for one in relations]
    assert set(await compatriot.poll()) == {strict[0][0]["id"], strict[1][0]["id"], *ids}

    for number, copy in enumerate(copies):  # under a label that nobody knew, and under one that is open
        before = len([one for one in await leaves(world, "both", "publish") if one["pub"]["cause"] == "ends"])
        await send(world, fresh, *copy, slug="us-customs")
        assert await reader.poll() == [copy[0]["id"], ids[number]]
        assert {*ids}.isdisjoint([*await compatriot.poll(), *await reader.poll()])
        told = [one["pub"] for one in await leaves(world, "both", "publish") if one["pub"]["cause"] == "ends"][before:]
        assert [one["count"] for one in told] == [1] * number, "a step of each view gave the first"
    assert {("us-maritime", "proved"), (READER, "proved")} == await seen(world, "aud-us", relations[1])
    assert {(READER, "proved")} == await seen(world, "aud-mx", relations[1])
    assert ("us-maritime", "proved") in await seen(world, "aud-us", relations[0])

    path = f"collections/{fresh}/objects/{copies[0][0]['id']}/"
    assert (await call(world, "us-customs", "DELETE", path))[0] == 200
    assert await withdrawn(world, fresh) == {copies[0][0]["id"], ids[0]}
    assert await withdrawn(world, fresh, "us-maritime") == set()
    assert {*ids}.isdisjoint([*await compatriot.poll(), *await reader.poll()])
    assert set(await world.pull(READER, fresh)) & {*ids} == {ids[1]}
    await send(world, fresh, *world.observed("us-customs", "203.0.113.7", TLP2["amber"]), slug="us-customs")
    assert await reader.poll() == [copies[0][0]["id"], ids[0]]
    assert {*ids}.isdisjoint([*await compatriot.poll(), *await reader.poll()])


async def test_who_gains_at_home_is_an_affair_of_home(world: World, fresh: str) -> None:
    """The other country has the relationship already, and hears nothing of a copy that gives it to a compatriot."""
    closed = await collection(world, ("role:agency",), ("member:us-cyber", "member:us-customs"))
    open_ = await collection(world, ("all",), ("role:agency",))
    [end, proof], [copy, other] = (
        world.observed(slug, "203.0.113.9", TLP2["amber"]) for slug in ("us-cyber", "us-customs")
    )
    relation = related(world, end, end)
    await send(world, closed, end, proof)
    await send(world, open_, relation)
    operator, reader = Poller(world, "us-port-gulf", open_), Poller(world, READER, open_)
    assert (await operator.poll(), await reader.poll()) == ([], [relation["id"]])
    sizes = {log: tree.size for log, tree in (await world.hub.services.store.trees()).items()}
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    await send(world, "us-domestic", copy, other, slug="us-customs")
    assert (await operator.poll(), await reader.poll()) == ([relation["id"]], [])
    trees = await world.hub.services.store.trees()
    added = [loads(one) for one in await world.hub.services.store.leaves("both", sizes["both"], trees["both"].size)]
    assert relation["id"] not in str(added) and not [one for one in added if one["on"] == f"coll:{open_}"]
    assert trees["mx"].size == sizes["mx"]
    assert ("us-port-gulf", "proved") in await seen(world, "aud-us", relation)
    assert {(READER, "proved")} == await seen(world, "aud-mx", relation)


@pytest.mark.parametrize(
    ("language", "withheld", "absent"),
    [
        ("en", "does not have it", "is none that you may ask about"),
        ("es", "no lo tiene", "por el que usted pueda preguntar"),
    ],
)
async def test_which_end_it_is_is_told_to_those_who_may_know_of_it(
    world: World, fresh: str, language: str, withheld: str, absent: str
) -> None:
    mine, theirs = indicator(world, "us-cyber", NOFORN), indicator(world, "mx-ciber", NOFORN)
    missing = indicator(world)
    await send(world, fresh, mine)
    await send(world, fresh, theirs, slug="mx-ciber")

    async def told(end: dict[str, Any], asker: str = "us-cyber", to: str = "mx-aduanas") -> dict[str, Any]:
        relation = related(world, end, end)
        await send(world, fresh, relation)
        headers = {**world.headers(asker), "Accept": "application/json", "Accept-Language": language}
        url = f"{world.hub.url}/api/v1/explain?object={relation['id']}&to={to}"
        async with world.session.get(url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            [placed] = (await answer.json())["placements"]
        return {name: value for name, value in placed.items() if name not in ("version", "date_added")}

    known = await told(mine)
    assert (known["effect"], known["clause"], known["visible"]) == ("deny", "ENDS", False)
    assert [(one["id"], one["state"]) for one in known["ends"]] == [(mine["id"], "withheld")]
    assert withheld in known["ends"][0]["text"]
    # mx-aduanas has what is Mexico's; the asker may not know that there is such a thing.
    hidden, gone = await told(theirs), await told(missing)
    assert hidden["effect"] == "deny"
    assert absent in hidden["ends"][0]["text"]
    assert hidden["ends"][0].pop("id") == theirs["id"]
    assert gone["ends"][0].pop("id") == missing["id"]
    assert hidden == gone
