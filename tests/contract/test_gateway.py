"""A national gateway at a whole hub: what an operator may not be named for crosses under the gateway's name, and no other way."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from certs.signature import KeyringEntry
from exchange.cli import setup
from exchange.client import keyring, verify_object
from exchange.gateway.relay import Gateway
from exchange.gateway.traces import Traces
from exchange.model.member import Status
from exchange.times import as_datetime, as_millis_text
from tests.gateways import ASSET, HOUR, client_of, gateway_world, gateways_of, got, ports, relay, standing_for
from tests.world import TLP2, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with gateway_world(tmp_path_factory.mktemp("gateway"), **database) as made:
        yield made


@pytest.mark.trap(15)
async def test_a_ports_indicator_crosses_as_the_gateways_and_no_trace_of_the_port_with_it(world: World) -> None:
    us_customs_before = {one["id"] for one in await got(world, "us-customs")}
    original = await ports(
        world,
        name="Seen at Port of Costa Brava",
        description="By mx-puerto-pac",
        labels=["mx-puerto-pac"],
        external_references=[
            {"source_name": "Puerto de Costa Brava", "url": f"https://{ASSET}/1"},
            {"source_name": "mitre-attack", "external_id": "T1071", "url": f"https://{ASSET}/2"},
        ],
        valid_until="2027-03-04T05:06:07.89Z",
        confidence=83,
    )
    run = await relay(world)
    assert (run.sent, run.held.total()) == (1, 0), run
    assert original["id"] not in await world.pull("us-customs"), "the original itself does not cross"
    (new,) = [one for one in await got(world, "us-customs") if one["id"] not in us_customs_before]
    assert new["created_by_ref"] == world.members["mx-gateway"].identity_id
    assert (new["pattern"], new["confidence"]) == (original["pattern"], 85)
    assert new["external_references"] == [{"source_name": "mitre-attack", "external_id": "T1071"}]
    assert new["valid_until"] == "2027-03-04T06:00:00Z"
    assert new["modified"][14:] == "00:00.000Z"
    assert new["object_marking_refs"] == original["object_marking_refs"]
    assert not {"name", "description", "labels"} & new.keys()
    port = world.members["mx-puerto-pac"]
    traces = Traces.of(original, [port.slug, port.name_en, port.name_es, port.identity_id], [ASSET])
    assert traces.found_in(new) is None
    (attested,) = [one for one in await got(world, "us-cyber", "attestations") if one["covers"][0]["id"] == new["id"]]
    assert traces.found_in(attested) is None
    assert attested["origin"] == {"country": "MX", "roles": ["operator"], "sectors": ["trade.port"]}
    assert [one["id"] for one in await gateways_of(world, "us-port-gulf")] == [new["id"]], "a port of the same sector"
    rules = await world.hub.services.rulebook.current()
    assert rules.trust is not None
    members = [KeyringEntry(row.certificate, world.members[row.member].identity_id, world.members[row.member].country) for row in rules.registry.signing]  # fmt: skip
    now = as_datetime(world.clock.now_us())
    for one in (new, attested):
        assert verify_object(one, keyring(rules.trust, members, at=now), at=now).purpose == "gateway"


async def test_the_other_countrys_auditors_learn_nothing_of_the_original(world: World) -> None:
    """Neither that it came, nor when, nor by whom: what may not cross as it is, is published at home."""
    original = await ports(world)
    services = world.hub.services
    size = (await services.store.trees())["both"].size
    entries = b"".join(await services.store.leaves("both", 0, size))
    assert b"acct.enrol" in entries
    published = [one for one in await services.store.leaves("both", 0, size) if b'"publish"' in one]
    assert not any(b"mx-puerto-pac" in one for one in published)
    url = f"{world.hub.url}/api/v1/explain?object={original['id']}&to=us-customs"
    async with world.session.get(url, headers=world.headers("aud-us")) as answer:
        assert answer.status == 404
    async with world.session.get(url, headers=world.headers("aud-mx")) as answer:
        assert answer.status == 200


async def test_only_what_a_period_that_is_over_has_brought_is_sent_once_a_period(world: World) -> None:
    await relay(world)
    original = await ports(world)
    run = await relay(world, wait=False)
    assert (run.read, run.sent) == (1, 0), "its period is not over"
    run = await relay(world)
    assert run.sent == 1
    later = await ports(world)
    run = await relay(world, wait=False)
    assert run.sent == 0
    run = await relay(world)
    assert run.sent == 1
    for one in (original, later):
        assert (await standing_for(world, one["id"]))["pattern"] == one["pattern"]


async def test_a_new_version_follows_under_the_same_id_and_a_revocation_too(world: World) -> None:
    first = await ports(world)
    await relay(world)
    before = await standing_for(world, first["id"])
    now = as_millis_text(world.clock.now_us())
    second = world.sign("mx-puerto-pac", first | {"modified": now, "pattern": "[ipv4-addr:value = '198.51.100.8']"})
    await world.post("mx-puerto-pac", second)
    await relay(world)
    after = await standing_for(world, first["id"])
    assert (after["id"], after["created"]) == (before["id"], before["created"])
    assert after["modified"] > before["modified"]
    assert "198.51.100.8" in after["pattern"]
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    ended = world.sign("mx-puerto-pac", second | {"modified": as_millis_text(world.clock.now_us()), "revoked": True})
    await world.post("mx-puerto-pac", ended)
    run = await relay(world)
    assert (run.sent, run.revoked) == (1, 1)
    last = await standing_for(world, first["id"])
    assert (last["id"], last["revoked"]) == (before["id"], True)


async def test_what_may_no_longer_cross_or_is_deleted_is_revoked(world: World) -> None:
    """NOFORN on a later version, and a deletion: both end what stands for them."""
    doubted, deleted = await ports(world), await ports(world)
    await relay(world)
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    now = as_millis_text(world.clock.now_us())
    lowered = world.sign("mx-puerto-pac", doubted | {"modified": now, "confidence": 10})
    await world.post("mx-puerto-pac", lowered)
    url = f"{world.root}collections/{world.collections['indicators']}/objects/{deleted['id']}/"
    async with world.session.delete(url, headers=world.headers("mx-puerto-pac")) as answer:
        assert answer.status == 200
    run = await relay(world)
    assert (run.sent, run.revoked) == (2, 2), run
    for one in (doubted, deleted):
        assert (await standing_for(world, one["id"]))["revoked"] is True


async def test_what_would_still_tell_of_its_sender_is_held(world: World) -> None:
    named = await ports(world, pattern="[url:value = 'https://198.51.100.7/?to=Puerto%20de%20Costa%20Brava']")
    yara = await ports(world, pattern_type="yara", pattern="rule a { meta: author = \"port\" condition: true }")  # fmt: skip
    run = await relay(world)
    assert (run.sent, dict(run.held)) == (0, {"trace": 1, "pattern-type": 1})
    async with client_of(world, "mx-gateway") as client:
        with Gateway(client, world.home.root / "mx-gateway-book", world.clock).book() as book:
            held = {row[1]: row[3] for row in book.held()}
    assert held == {named["id"]: "trace", yara["id"]: "pattern-type"}
    run = await relay(world, again=True)
    assert run.sent == 0, "what was sent is not sent again, what is held stays held"
    assert run.held.total() == 2


async def test_relations_follow_what_they_relate(world: World) -> None:
    source, other = await ports(world), await ports(world, confidence=10)
    good, half = (_relation(world, source["id"], target) for target in (source["id"], other["id"]))
    status = await world.post("mx-puerto-pac", good, half)
    assert status["success_count"] == 2, status
    run = await relay(world)
    assert (run.sent, run.waiting) == (2, 1), run
    (new,) = [one for one in await gateways_of(world, "us-maritime") if one["type"] == "relationship"]
    stand = await standing_for(world, source["id"])
    assert (new["source_ref"], new["target_ref"]) == (stand["id"], stand["id"])
    assert "description" not in new


async def test_a_sighting_of_the_other_countrys_object_goes_back_without_the_place(world: World) -> None:
    """The return that producers need: who sighted it is a port of Mexico, of which there are several that have it."""
    theirs = world.signed("us-cyber", confidence=85, pattern="[ipv4-addr:value = '198.51.100.44']")
    few = world.signed("us-cyber", confidence=10, pattern="[ipv4-addr:value = '198.51.100.45']")
    await world.post("us-cyber", theirs, few)
    now = as_millis_text(world.clock.now_us())
    seen = [
        world.sign("mx-puerto-pac", {
            "type": "sighting", "spec_version": "2.1", "id": f"sighting--00000000-0000-4000-8000-{number:012}",
            "created_by_ref": world.members["mx-puerto-pac"].identity_id, "created": now, "modified": now, "count": 3,
            "sighting_of_ref": one["id"], "where_sighted_refs": [world.members["mx-puerto-pac"].identity_id],
            "first_seen": "2026-11-20T03:04:05Z", "description": "on our cranes", "object_marking_refs": [TLP2["amber"]],
        })
        for number, one in enumerate((theirs, few))
    ]  # fmt: skip
    assert (await world.post("mx-puerto-pac", *seen))["success_count"] == 2
    run = await relay(world)
    assert run.sent == 1, "an authority's doubtful indicator reaches no port: to sight it would single its reader out"
    (new,) = [one for one in await gateways_of(world, "us-cyber") if one["type"] == "sighting"]
    assert (new["sighting_of_ref"], new["count"], new["first_seen"]) == (theirs["id"], 3, "2026-11-20T03:00:00Z")
    assert not {"where_sighted_refs", "description"} & new.keys()


def _relation(world: World, source: str, target: str) -> dict[str, Any]:
    now = as_millis_text(world.clock.now_us())
    obj = {
        "type": "relationship", "spec_version": "2.1", "id": f"relationship--{source[-36:-4]}{target[-4:]}",
        "created_by_ref": world.members["mx-puerto-pac"].identity_id, "created": now, "modified": now,
        "relationship_type": "related-to", "source_ref": source, "target_ref": target,
        "description": "both at the port of Costa Brava", "confidence": 80, "object_marking_refs": [TLP2["amber"]],
    }  # fmt: skip
    return world.sign("mx-puerto-pac", obj)


async def test_what_is_denied_today_is_asked_about_again_tomorrow(world: World) -> None:
    """The country's only other port is away, and comes back: no version of anything says so."""
    governance = world.hub.services.governance
    await governance.set_status(setup.OPERATOR, "mx-puerto-sur", Status.SUSPENDED)
    try:
        original = await ports(world)
        run = await relay(world)
        assert run.sent == 0 and run.left["crowd"] >= 1
    finally:
        await governance.set_status(setup.OPERATOR, "mx-puerto-sur", Status.ACTIVE)
    world.clock.advance(seconds=24 * HOUR)  # type: ignore[attr-defined]
    assert (await relay(world)).sent >= 1
    assert (await standing_for(world, original["id"]))["pattern"] == original["pattern"]
