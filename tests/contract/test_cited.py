"""Definitions, and identities of creators, on a whole hub: given to whoever is given what their originator cites them by."""

import uuid
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio

from certs.jcs import canonical
from certs.signature import attestation
from exchange.clock import FixedClock
from exchange.times import as_millis_text
from tests.agreeing import amended, enact, in_force
from tests.contract.test_graphs import NOFORN, Poller, indicator, made, newer, related, send
from tests.late_scene import AUTHORS, MARKS, READERS, scene
from tests.places import Place
from tests.taxii import collection, leaves
from tests.world import TLP2, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABROAD = "mx-puerto-pac"
"""An operator: what bears no level is for none across the border."""
HOME = "us-customs"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("cited"), clock=FixedClock(), **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def both(world: World) -> str:
    """A collection that operators read too."""
    everybody = ("role:agency", "role:operator")
    return await collection(world, everybody, everybody)


def statement(world: World, *marks: str, slug: str = "us-cyber") -> dict[str, Any]:
    """A marking that bears no level."""
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    return world.sign(slug, {
        "type": "marking-definition", "spec_version": "2.1", "id": f"marking-definition--{uuid.uuid4()}",
        "created_by_ref": world.members[slug].identity_id, "created": as_millis_text(world.clock.now_us()),
        "definition_type": "statement", "definition": {"statement": "As it is."},
    } | ({"object_marking_refs": list(marks)} if marks else {}))  # fmt: skip


def identity(world: World, slug: str = "us-cyber") -> dict[str, Any]:
    """A member's own, as it stands now."""
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    now = as_millis_text(world.clock.now_us())
    return world.sign(slug, {
        "type": "identity", "spec_version": "2.1", "id": world.members[slug].identity_id, "name": slug,
        "created_by_ref": world.members[slug].identity_id, "created": "2026-11-01T00:00:00.000Z", "modified": now,
        "identity_class": "organization",
    })  # fmt: skip


async def explained(world: World, obj: dict[str, Any], to: str, language: str = "en") -> dict[str, Any]:
    headers = {**world.headers("us-cyber"), "Accept": "application/json", "Accept-Language": language}
    path = f"{world.hub.url}/api/v1/explain?object={obj['id']}&to={to}"
    async with world.session.get(path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return dict((await answer.json())["placements"][-1])


async def delete(world: World, of: str, obj: dict[str, Any], which: str = "") -> None:
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    path = f"{world.root}collections/{of}/objects/{obj['id']}/{which}"
    async with world.session.delete(path, headers=world.headers("us-cyber")) as answer:
        assert answer.status == 200, await answer.text()


async def test_the_identity_of_a_creator_comes_with_what_it_made(world: World, both: str) -> None:
    """The first of all here: whoever was given anything of a member's, in any collection, may have its identity."""
    mine, hidden, shown = identity(world), indicator(world, "us-cyber", NOFORN), indicator(world)
    reader = Poller(world, ABROAD, both)
    for one in (mine, hidden):
        await send(world, both, one)
        assert await reader.poll() == []
    await send(world, both, shown)
    assert set(await reader.poll()) == {mine["id"], shown["id"]}


async def test_a_definition_comes_with_what_cites_it_and_not_with_what_is_hidden(world: World, both: str) -> None:
    definition, other = statement(world), statement(world)
    citing, hidden = indicator(world, "us-cyber", definition["id"]), indicator(world, "us-cyber", other["id"], NOFORN)
    await send(world, both, citing, hidden, other, definition)
    assert set(await world.pull(ABROAD, both)) == {definition["id"], citing["id"]}
    told = await explained(world, definition, ABROAD)
    assert (told["effect"], told["clause"], told["visible"]) == ("permit", "CITED", True)
    assert "cita en él" in (await explained(world, definition, ABROAD, "es"))["reason"]
    told = await explained(world, other, ABROAD)
    assert (told["effect"], told["visible"]) == ("deny", False)
    headers = {**world.headers(ABROAD), "Accept": "application/json", "Accept-Language": "es"}
    async with world.session.get(f"{world.hub.url}/api/v1/access", headers=headers) as answer:
        clauses = [one for part in (await answer.json())["collections"] for one in part["clauses"]]
    [cited] = {one["text"] for one in clauses if one["clause"] == "CITED"}
    assert "identidad de su creador" in cited


async def test_what_is_cited_later_is_news_to_those_who_gain_and_to_nobody_else(world: World, both: str) -> None:
    definition, first = statement(world), indicator(world)
    reader, compatriot = Poller(world, ABROAD, both), Poller(world, HOME, both)
    await send(world, both, definition, first)
    assert (await reader.poll(), set(await compatriot.poll())) == ([first["id"]], {definition["id"], first["id"]})
    before = len(await leaves(world, "both", "publish"))
    hidden = indicator(world, "us-cyber", definition["id"], NOFORN)
    await send(world, both, hidden)
    assert (await reader.poll(), await compatriot.poll()) == ([], [hidden["id"]])
    assert len(await leaves(world, "both", "publish")) == before
    citing = indicator(world, "us-cyber", definition["id"])
    await send(world, both, citing)
    assert set(await reader.poll()) == {definition["id"], citing["id"]}
    assert await compatriot.poll() == [citing["id"]]
    late = [one["pub"] for one in (await leaves(world, "both", "publish"))[before:] if one["pub"]["cause"] == "grant"]
    assert [(one["to"], one["count"]) for one in late] == [(ABROAD, 1)]
    again = indicator(world, "us-cyber", definition["id"])
    await send(world, both, again)
    assert await reader.poll() == [again["id"]], "nothing twice"


async def test_nobody_opens_anothers_by_citing_it(world: World, both: str) -> None:
    definition = statement(world)
    await send(world, both, definition)
    theirs = indicator(world, HOME, definition["id"])
    await send(world, both, theirs, slug=HOME)
    assert await world.pull(ABROAD, both) == [theirs["id"]]


@pytest.mark.parametrize("mark", [NOFORN, TLP2["amber+strict"]])
async def test_what_its_originator_restricts_stays_restricted(world: World, both: str, mark: str) -> None:
    definition = statement(world, mark)
    citing = indicator(world, "us-cyber", definition["id"])
    await send(world, both, definition, citing)
    assert await world.pull(ABROAD, both) == [citing["id"]]
    assert (await explained(world, definition, ABROAD))["effect"] == "deny"


async def test_a_collection_that_one_may_not_read_opens_nothing(world: World, both: str) -> None:
    narrow = await collection(world, ("role:agency",), ("role:agency",))
    definition, first = statement(world), indicator(world)
    await send(world, both, definition, first)
    await send(world, narrow, indicator(world, "us-cyber", definition["id"]))
    assert await world.pull(ABROAD, both) == [first["id"]]


@pytest.mark.parametrize("way", ["deleted", "marked"])
async def test_when_nothing_cites_it_any_more_it_is_asked_back(world: World, both: str, way: str) -> None:
    definition = statement(world)
    citing, second = indicator(world, "us-cyber", definition["id"]), indicator(world, "us-cyber", definition["id"])
    await send(world, both, definition, citing, second)
    reader = Poller(world, ABROAD, both)
    assert set(await reader.poll()) == {definition["id"], citing["id"], second["id"]}
    stricter = newer(world, citing, definition["id"], NOFORN)
    for one in (second, citing):
        assert definition["id"] in await world.pull(ABROAD, both)
        if way == "deleted":
            await delete(world, both, one)
        else:
            await send(world, both, stricter if one is citing else newer(world, one, definition["id"], NOFORN))
    assert await world.pull(ABROAD, both) == []
    await world.hub.services.recalls.follow_markings()
    assert "us-cyber context amber+strict" in await recalled(world)
    if way == "marked":  # the version before speaks again when the newest goes
        await delete(world, both, stricter, f"?match[version]={stricter['modified']}")
        assert await reader.poll() == [definition["id"]]
        assert set(await world.pull(ABROAD, both)) == {definition["id"], citing["id"]}


async def recalled(world: World) -> set[str]:
    """What the labels that closed to the operator are said to be."""
    headers = {**world.headers(ABROAD), "Accept": "application/json"}
    async with world.session.get(f"{world.hub.url}/api/v1/recalls", headers=headers) as answer:
        told = await answer.json()
    return {
        f"{one['originator']} {one['class']} {one['tlp']}"
        for recall in told["recalls"]
        for one in recall["what"].get("labels", ())
    }


async def test_a_relationship_opens_what_it_cites_only_where_it_is_given(world: World, both: str) -> None:
    definition, hidden = statement(world), indicator(world, "us-cyber", NOFORN)
    relation = related(world, hidden, hidden)
    plain = {name: value for name, value in relation.items() if name != "extensions"}
    relation = world.sign("us-cyber", plain | {"object_marking_refs": [TLP2["amber"], definition["id"]]})
    await send(world, both, definition, hidden, relation)
    assert await world.pull(ABROAD, both) == []
    await send(world, both, newer(world, hidden))
    assert set(await world.pull(ABROAD, both)) == {hidden["id"], relation["id"], definition["id"]}


async def test_an_extension_is_cited_by_its_key(world: World, both: str) -> None:
    extension = f"extension-definition--{uuid.uuid4()}"
    described = made(world, "extension-definition", id=extension, name="e", schema="https://example.com/e.json",
                     version="1.0", extension_types=["property-extension"])  # fmt: skip
    plain = {k: v for k, v in described.items() if k not in ("extensions", "object_marking_refs", "confidence")}
    described = world.sign("us-cyber", plain)
    bearing = world.signed("us-cyber", confidence=85, object_marking_refs=[TLP2["amber"]],
                           extensions={extension: {"extension_type": "property-extension", "rating": 1}})  # fmt: skip
    await send(world, both, described)
    assert await world.pull(ABROAD, both) == []
    await send(world, both, bearing)
    assert set(await world.pull(ABROAD, both)) == {extension, bearing["id"]}


async def test_who_imports_both_is_the_one_that_cites(world: World, both: str) -> None:
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    now, maker = as_millis_text(world.clock.now_us()), f"identity--{uuid.uuid4()}"
    common = {"spec_version": "2.1", "created": now, "modified": now}
    theirs = {
        **common,
        "type": "identity",
        "id": maker,
        "name": "A maker of elsewhere",
        "identity_class": "organization",
    }
    theirs_too = world.indicator("us-cyber", tlp="green", created_by_ref=maker)

    def imported(obj: dict[str, Any]) -> list[dict[str, Any]]:
        digest = sha256(canonical(obj)).hexdigest()
        made = attestation(
            id=f"object-attestation--{uuid.uuid4()}", created_by_ref=world.members["us-cyber"].identity_id, created=now,
            covers=[{"id": obj["id"], "version": obj["modified"], "sha256": digest}], attestation_type="imported-from",
            source={"source_name": "elsewhere", "source_url": "https://example.com/", "retrieved_at": now},
        )  # fmt: skip
        return [world.sign("us-cyber", made), obj]

    await send(world, both, *imported(theirs))
    assert await world.pull("us-port-gulf", both) == []
    await send(world, both, *imported(theirs_too))
    assert set(await world.pull("us-port-gulf", both)) == {maker, theirs_too["id"]}


@pytest.mark.parametrize("days", [10, 40])
async def test_it_comes_however_old_it_is(place: Place, days: int) -> None:
    """With what cites it now. The agreement bounds how far back an opening reaches, not how old what belongs to it may be."""
    async with scene(place) as made:
        made.backfill = "30d"
        await made.rule(READERS[0], (AUTHORS[0], MARKS[0]), "open")
        await made.define(0)
        await made.poll(1, 10)
        await made.wait(days * 86_400)
        await made.cite((AUTHORS[0], MARKS[1]), {0}, 1)
        await made.poll(1, 10)
        assert not made.clients[1].had
        await made.cite((AUTHORS[0], MARKS[0]), {0}, 1)
        await made.poll(1, 10)
        assert len(made.clients[1].had) == 2
        await made.rule(READERS[0], (AUTHORS[0], MARKS[0]), "closed")
        await made.poll(1, 10)
        assert not made.clients[1].had
        await made.wait(40 * 86_400)  # now all that cites it is too old to come
        await made.rule(READERS[0], (AUTHORS[0], MARKS[0]), "open")
        await made.poll(1, 10)
        assert not made.clients[1].had


async def test_what_an_act_opens_is_published_where_it_goes(world: World, both: str) -> None:
    """The last here: by an agreement in which no clause speaks of definitions across the border. What crosses is told in both
    countries' log, what stays in its own."""
    document, _ = await in_force(world.hub.services)
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    await enact(world.hub.services, world.home, amended(document, "P-RELATIONS", '"relation", "context"', '"relation"'))
    definition, other = statement(world), statement(world)
    before = {log: len(await leaves(world, log, "publish")) for log in ("both", "us")}
    shown, hidden = indicator(world, "us-cyber", definition["id"]), indicator(world, "us-cyber", other["id"], NOFORN)
    await send(world, both, definition, other, shown, hidden)
    for log in before:
        [entry] = (await leaves(world, log, "publish"))[before[log] :]
        assert (entry["pub"]["cause"], entry["pub"]["count"]) == ("new", 2)
    assert set(await world.pull("mx-ciber", both)) == {definition["id"], shown["id"]}
    assert set(await world.pull(HOME, both)) == {one["id"] for one in (definition, other, shown, hidden)}
