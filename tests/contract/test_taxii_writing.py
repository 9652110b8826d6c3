"""Writing over TAXII 2.1 on a whole hub: envelopes, statuses, deletion, and what of it outlives a restart."""

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

from certs.jcs import canonical
from exchange.client.envelopes import Provenance, pack
from exchange.clock import FixedClock
from exchange.hub import running
from exchange.model.stix import SCO_TYPES, UNVERSIONED
from exchange.settings import Settings
from exchange.times import as_millis_text, parse_us
from tests.places import Place, knobs_of
from tests.stix_examples import EXAMPLES
from tests.taxii import add, call, collection, get, ids, leaves, times, version
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 200_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    knobs = {"body_limit_bytes": LIMIT, "envelope_limit_objects": 60}
    async with make_world(tmp_path_factory.mktemp("writing"), **knobs, **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    """An empty collection that everybody may read and write; its id."""
    return await collection(world, ("all",), ("all",))


@pytest.mark.rule("ADD-01", "ADD-03", "ADD-09", "ADD-11", "ADD-20", "STA-01", "STA-02", "STA-03", "STA-04")
@pytest.mark.rule("STA-05", "STA-06", "STA-07", "STA-09", "STA-12", "STA-13", "STA-14", "STA-15", "STA-16")
@pytest.mark.rule("STA-17", "STA-18", "STA-19", "SER-05", "SER-06", "SER-08", "EP-07", "INT-3.10", "INT-3.11")
@pytest.mark.rule("EP-06", "INT-3.15")
@pytest.mark.rule("CNF-05")
@pytest.mark.peer("MED-8b", "ARA-3", "OCT-2")
async def test_a_status_adds_up_and_is_its_submitters_and_auditors(world: World, fresh: str) -> None:
    good = world.signed("us-cyber")
    envelope = orjson.dumps({"objects": [good, good, {"type": "indicator"}], "x_more": 1})
    status, body, headers = await call(world, "us-cyber", "POST", f"collections/{fresh}/objects/", envelope)
    assert status == 202
    assert (body["status"], body["total_count"], body["success_count"], body["failure_count"]) == ("complete", 3, 2, 1)
    assert (len(body["successes"]), len(body["failures"]), body["pending_count"]) == (2, 1, 0)
    assert "pendings" not in body
    assert body["failures"][0]["message"]
    added = body["failures"][0].keys() - {"id", "version", "message"}
    assert added == {"x_code", "x_field", "x_message_es"}, "EP-06: our own properties are named as such"
    assert body["successes"][0] == {"id": good["id"], "version": good["modified"]}
    assert uuid.UUID(body["id"]).version == 4
    assert headers["X-Audit-Leaf"].startswith("puente.hub.example/audit/")
    assert ids(await get(world, f"collections/{fresh}/objects/")) == [good["id"]]
    for slug in ("us-cyber", "aud-us"):
        assert await get(world, f"status/{body['id']}/", slug) == body, "STA-16: and its own country's auditors"
    near = abs(parse_us(body["request_timestamp"]) - world.clock.now_us())
    assert near < 60_000_000 and len(body["request_timestamp"]) == 27, "STA-12"
    for slug, status_id in (
        ("mx-ciber", body["id"]),
        ("us-customs", body["id"]),
        ("aud-mx", body["id"]),
        ("us-cyber", str(uuid.uuid4())),
        ("us-cyber", "..%2e"),
        ("us-cyber", "x"),
    ):
        assert (await call(world, slug, "GET", f"status/{status_id}/"))[0] == 404


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400,)),
        (b"junk", (400,)),
        (b"\xff\xfe", (400,)),
        (b'{"objects":[{"a":1,"a":2}]}', (400,)),
        (b'{"objects":[{"a":NaN}]}', (400,)),
        (b"[]", (422,)),
        (b"{}", (422,)),
        (b'{"objects":[]}', (422,)),
        (b'{"objects":{}}', (422,)),
        (b'{"objects":[' + b",".join([b"{}"] * 61) + b"]}", (422,)),
        (b'{"objects":' + b"[" * 500 + b"]" * 500 + b"}", (400, 422)),
        (b" " * (LIMIT + 1), (413,)),
        (b'{"objects":[' + b" " * (LIMIT - 14) + b"]}", (422,)),
    ],
    ids=str,
)
@pytest.mark.rule("ADD-05", "ADD-06", "ADD-10", "ADD-19", "ADD-21", "SER-13", "SER-14", "SER-15", "ROOT-08", "ROOT-09")
@pytest.mark.rule("JSN-01", "JSN-02", "JSN-09")
async def test_bodies_that_are_no_envelopes(world: World, fresh: str, body: bytes, expected: tuple[int, ...]) -> None:
    assert (await call(world, "us-cyber", "POST", f"collections/{fresh}/objects/", body))[0] in expected


@pytest.mark.rule("ADD-07", "NEG-13")
@pytest.mark.rule("IDN-09")
async def test_a_bundle_and_a_bare_object_are_taken(world: World, fresh: str) -> None:
    """What Splunk's and OpenCTI's exporters post."""
    sent = [world.signed("us-cyber") for _ in range(2)]
    bundle = orjson.dumps({"type": "bundle", "id": f"bundle--{uuid.uuid4()}", "objects": sent[:1]})
    url = f"{world.root}collections/{fresh}/objects/"
    for body in (bundle, orjson.dumps(sent[1])):
        headers = world.headers("us-cyber", **{"Content-Type": "application/stix+json; version=2.1"})
        async with world.session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
    assert ids(await get(world, f"collections/{fresh}/objects/")) == [one["id"] for one in sent]


@pytest.mark.rule("DEL-01", "DEL-02", "DEL-03", "DEL-07", "DEL-08", "DEL-09", "DEL-12", "DEL-14", "INT-3.12")
@pytest.mark.peer("DAR-1")
async def test_deleting(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    early, late = times(obj, 2)
    others = [
        version(world, obj, name) for name in (early, late)
    ]  # signed once: in another second they would be others
    await world.post("us-cyber", *others, to=fresh)
    one = f"collections/{fresh}/objects/{obj['id']}/"

    async def delete(query: str = "", slug: str = "us-cyber") -> int:
        status, _, _ = await call(world, slug, "DELETE", f"{one}{query}")
        return status

    assert await delete("?match[version]=2001-01-01T00:00:00Z") == 404
    assert await delete("?match[spec_version]=2.0") == 404
    assert await delete(slug="us-customs") in (403, 404), "another's object is not theirs to delete"
    assert await delete(f"?match[version]={late}") == 200
    assert [o["modified"] for o in (await get(world, one))["objects"]] == [early]
    assert await delete("?match[version]=first") == 200
    assert (await get(world, f"{one}versions/"))["versions"] == [early]
    await world.post("us-cyber", others[1], to=fresh)
    assert await delete() == 200, "DEL-09: without a version, all of them"
    for path in (one, f"{one}versions/"):
        assert (await call(world, "us-cyber", "GET", path))[0] == 404
    assert ids(await get(world, f"collections/{fresh}/objects/")) == []
    assert ids(await get(world, f"collections/{fresh}/manifest/")) == []
    assert await delete() == 404
    await world.post("us-cyber", obj, to=fresh)
    assert len((await get(world, f"collections/{fresh}/manifest/"))["objects"]) == 1, "DEL-12"
    for query, left in (("last", [obj["modified"], early]), ("all", [])):
        status = await world.post("us-cyber", *others, to=fresh)
        assert status["success_count"] == 2
        assert await delete(f"?match[version]={query}") == 200
        listed = await get(world, f"collections/{fresh}/manifest/?match[version]=all")
        assert [row["version"] for row in listed.get("objects", [])] == left, "DEL-08, DEL-14"


@pytest.mark.rule("DEL-13", "DEL-12", "ADD-13", "SRT-06")
async def test_what_a_deletion_leaves_behind(world: World, fresh: str) -> None:
    """An entry in the log that the object itself was in; the object elsewhere; and whose the id is."""
    [obj] = await add(world, fresh, 1)
    other = await collection(world, ("all",), ("all",))
    await world.post("us-cyber", obj, to=other)
    one = f"objects/{obj['id']}/"
    added = (await get(world, f"collections/{fresh}/manifest/"))["objects"][0]["date_added"]
    assert (await call(world, "us-cyber", "DELETE", f"collections/{fresh}/{one}"))[0] == 200
    assert ids(await get(world, f"collections/{other}/{one}")) == [obj["id"]]
    withdrawn = (await leaves(world, "both", "withdraw"))[-1]
    assert withdrawn["pub"] == {"object": obj["id"], "versions": [obj["modified"]], "count": 1, "cause": "delete"}
    assert withdrawn["actor"].startswith("us:us-cyber:acct:")
    assert (await call(world, "us-cyber", "DELETE", f"collections/{other}/{one}"))[0] == 200

    plain = {key: value for key, value in obj.items() if key != "extensions"}
    foreign = world.sign("mx-ciber", plain | {"created_by_ref": world.members["mx-ciber"].identity_id})
    status = await world.post("mx-ciber", foreign, to=fresh)
    assert status["failures"][0]["x_code"] == "id-owned-by-another", "an erased object's id stays its owner's"
    status = await world.post("us-cyber", world.sign("us-cyber", plain | {"name": "other"}), to=fresh)
    assert status["failures"][0]["x_code"] == "version-conflict"
    await world.post("us-cyber", obj, to=fresh)
    again = (await get(world, f"collections/{fresh}/manifest/"))["objects"]
    assert [row["id"] for row in again] == [obj["id"]]
    assert again[0]["date_added"] > added
    assert (await get(world, f"collections/{fresh}/{one}", "mx-ciber"))["objects"] == [obj]


async def test_a_domestic_deletion_is_told_at_home_only(world: World) -> None:
    [obj] = await add(world, "us-domestic", 1)
    path = f"collections/{world.collections['us-domestic']}/objects/{obj['id']}/"
    assert (await call(world, "us-cyber", "DELETE", path))[0] == 200
    assert obj["id"] not in str(await leaves(world, "both", "withdraw"))
    assert obj["id"] in str(await leaves(world, "us", "withdraw"))


@pytest.mark.rule("DEL-08", "DEL-10")
async def test_deleting_hundreds_of_versions_by_name(world: World, fresh: str) -> None:
    """More than one log entry could name."""
    [obj] = await add(world, fresh, 1)
    named = [text for text in times(obj, 150) if not text.endswith("0Z")]  # a form that signers refuse
    for start in range(0, len(named), 50):
        await world.post("us-cyber", *(version(world, obj, name) for name in named[start : start + 50]), to=fresh)
    one = f"collections/{fresh}/objects/{obj['id']}/"
    assert (await call(world, "us-cyber", "DELETE", f"{one}?match[version]={','.join(named)}"))[0] == 200
    assert (await get(world, f"{one}versions/"))["versions"] == [obj["modified"]]
    assert (await leaves(world, "both", "withdraw"))[-1]["pub"]["count"] == len(named) == 135


# --- what may be added ---


@pytest.mark.rule("ADD-14", "ADD-15", "OBJ-05", "SER-11", "FLT-36", "VER-02", "MAN-02", "MAN-03", "STA-08")
@pytest.mark.rule("STA-07", "SER-16", "FLT-24", "CNF-01")
async def test_every_type_is_taken_and_comes_back_as_it_was(world: World, fresh: str) -> None:
    """Also those without `modified`, which go by `created`, and those without either, which have one fixed version."""
    provenance = Provenance("vendor", "https://feed.example/", "2026-11-01T00:00:00Z")
    signer = world.home.signer("us-cyber", world.members["us-cyber"].identity_id)
    numbers = {"latitude": 19.432_607_700_000_001, "longitude": -99.0, "precision": 1e-7}
    size = {"size": 2**53 - 1}
    objects = [
        one | (numbers if name == "location" else size if name == "file" else {}) for name, one in EXAMPLES.items()
    ]
    [envelope] = pack(objects, signer, now_us=world.clock.now_us(), provenance=provenance)
    status, body, _ = await call(world, "us-cyber", "POST", f"collections/{fresh}/objects/", envelope.body)
    assert (status, body["failure_count"]) == (202, 0), body.get("failures")
    sent = {one.id: one.version for one in envelope.contents}
    succeeded = {one["id"]: one["version"] for one in body["successes"]}
    assert sent.items() <= succeeded.items(), "and the attestation"

    manifest = {row["id"]: row["version"] for row in (await get(world, f"collections/{fresh}/manifest/"))["objects"]}
    assert manifest == sent
    for obj in objects:
        version_text = obj.get("modified") or obj.get("created") or UNVERSIONED
        assert sent[obj["id"]] == version_text
        assert (version_text == UNVERSIONED) == (obj["type"] in SCO_TYPES)
        one = f"collections/{fresh}/objects/{obj['id']}/"
        assert (await get(world, f"{one}versions/"))["versions"] == [version_text]
        url = f"{world.root}{one}?match[version]={version_text}"
        async with world.session.get(url, headers=world.headers("us-cyber")) as answer:
            assert await answer.read() == b'{"more":false,"objects":[' + canonical(obj) + b"]}"
        assert ids(await get(world, f"collections/{fresh}/objects/?match[type]={obj['type']}")) == [obj["id"]]


@pytest.mark.rule("ADD-08", "ADD-09", "ADD-16", "STA-13", "STA-19")
@pytest.mark.peer("MED-5a", "MED-5b", "OTX-6c")
async def test_one_objects_fault_is_its_own(world: World, fresh: str) -> None:
    good = world.indicator("us-cyber")
    bad = {
        "no id": {key: value for key, value in good.items() if key != "id"},
        "no type": {key: value for key, value in good.items() if key != "type"},
        "id": good | {"id": "indicator--1"},
        "text": good | {"id": "not-a-stix-id"},
        "spec": good | {"spec_version": "2.0"},
        "type": good | {"type": "x-unknown", "id": "x-unknown--" + good["id"][11:]},
        "order": good | {"modified": "2001-01-01T00:00:00Z"},
        "future": good | {"modified": "2100-01-01T00:00:00Z"},
    }
    fine = world.signed("us-cyber")
    status = await world.post("us-cyber", *bad.values(), "no object", 7, None, fine, to=fresh)  # type: ignore[arg-type]
    assert (status["total_count"], status["success_count"], status["failure_count"]) == (12, 1, 11)
    assert all(one["message"] and one["x_code"] and one["id"] and one["version"] for one in status["failures"])
    assert ids(await get(world, f"collections/{fresh}/objects/")) == [fine["id"]]


@pytest.mark.rule("ADD-04", "ADD-22", "ADD-23")
@pytest.mark.peer("OTX-5a")
async def test_many_writers_of_one_object_all_succeed_and_store_it_once(world: World, fresh: str) -> None:
    obj = world.signed("us-cyber")
    others = [world.signed("us-cyber") for _ in range(8)]
    statuses = await asyncio.gather(*(world.post("us-cyber", obj, other, to=fresh) for other in others))
    assert all(status["success_count"] == 2 for status in statuses)
    before = (await get(world, f"collections/{fresh}/manifest/"))["objects"]
    assert sorted(row["id"] for row in before) == sorted(one["id"] for one in [obj, *others])
    await world.post("us-cyber", obj, to=fresh)
    assert (await get(world, f"collections/{fresh}/manifest/"))["objects"] == before


@pytest.mark.rule("SRT-06", "SRT-08")
async def test_no_date_added_lies_before_its_objects_modified(world: World, fresh: str) -> None:
    """Cortex XSOAR's cursor is the greatest `modified` it saw: an author whose clock runs ahead must not blind it."""
    ahead = as_millis_text(world.clock.now_us() + 120_000_000)
    [fast] = await add(world, fresh, 1, created=ahead, modified=ahead)
    [slow] = await add(world, fresh, 1)
    assert ids(await get(world, f"collections/{fresh}/objects/?added_after={ahead}")) == [fast["id"], slow["id"]]
    [first, last] = (await get(world, f"collections/{fresh}/manifest/"))["objects"]
    assert parse_us(ahead) < parse_us(first["date_added"])
    assert first["date_added"] < last["date_added"]


# --- restarts ---


@pytest.mark.rule("PAG-20", "ADD-24", "STA-10", "STA-11", "STA-20", "ADD-11")
async def test_cursors_statuses_and_objects_outlive_the_process(tmp_path: Path, place: Place) -> None:
    """A walk begun before a restart ends after it; a status reads the same a day later."""
    clock = FixedClock()
    async with make_world(tmp_path, clock=clock, **knobs_of(place)) as world:
        sent = [world.signed("us-cyber") for _ in range(5)]
        status = await world.post("us-cyber", *sent)
        path = f"collections/{world.collections['indicators']}"
        page = await get(world, f"{path}/objects/?limit=2")
        listed = await get(world, f"{path}/manifest/?limit=3")
        settings: Settings = world.hub.services.settings
    clock.advance(seconds=25 * 3600)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(world.home.ca_file)))
    async with running(settings, clock) as hub, aiohttp.ClientSession(connector=connector) as session:
        again = replace(world, hub=hub, session=session)
        assert await get(again, f"status/{status['id']}/") == status
        rest = await get(again, f"{path}/objects/?limit=9&next={page['next']}")
        assert ids(page) + ids(rest) == [one["id"] for one in sent]
        rest = await get(again, f"{path}/manifest/?limit=9&next={listed['next']}")
        assert ids(listed) + ids(rest) == [one["id"] for one in sent]
