"""Writing over TAXII 2.1 on a whole hub: envelopes, statuses, deletion, and what of it outlives a restart."""

import uuid
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from tests.taxii import add, call, collection, get, ids, times, version
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 200_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    knobs = {"body_limit_bytes": LIMIT, "envelope_limit_objects": 60}
    async with make_world(tmp_path_factory.mktemp("writing"), **knobs) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    """An empty collection that everybody may read and write; its id."""
    return await collection(world, ("all",), ("all",))


@pytest.mark.rule("ADD-01", "ADD-03", "ADD-09", "ADD-11", "ADD-20", "STA-01", "STA-02", "STA-03", "STA-04")
@pytest.mark.rule("STA-05", "STA-06", "STA-07", "STA-09", "STA-12", "STA-13", "STA-14", "STA-15", "STA-16")
@pytest.mark.rule("STA-17", "STA-18", "STA-19", "SER-05", "SER-06", "SER-08", "EP-07", "INT-3.10", "INT-3.11")
async def test_a_status_adds_up_and_is_its_submitters(world: World, fresh: str) -> None:
    good = world.signed("us-cyber")
    envelope = orjson.dumps({"objects": [good, good, {"type": "indicator"}], "x_more": 1})
    status, body, headers = await call(world, "us-cyber", "POST", f"collections/{fresh}/objects/", envelope)
    assert status == 202
    assert (body["status"], body["total_count"], body["success_count"], body["failure_count"]) == ("complete", 3, 2, 1)
    assert (len(body["successes"]), len(body["failures"]), body["pending_count"]) == (2, 1, 0)
    assert "pendings" not in body
    assert body["failures"][0]["message"]
    assert body["successes"][0] == {"id": good["id"], "version": good["modified"]}
    assert uuid.UUID(body["id"]).version == 4
    assert headers["X-Audit-Leaf"].startswith("puente.hub.example/audit/")
    assert ids(await get(world, f"collections/{fresh}/objects/")) == [good["id"]]
    assert await get(world, f"status/{body['id']}/") == body
    for slug, status_id in (
        ("mx-ciber", body["id"]),
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
async def test_bodies_that_are_no_envelopes(world: World, fresh: str, body: bytes, expected: tuple[int, ...]) -> None:
    assert (await call(world, "us-cyber", "POST", f"collections/{fresh}/objects/", body))[0] in expected


@pytest.mark.rule("ADD-07", "NEG-13")
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
async def test_deleting(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    early, late = times(obj, 2)
    for name in (early, late):
        await world.post("us-cyber", version(world, obj, name), to=fresh)
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
    await world.post("us-cyber", version(world, obj, late), to=fresh)
    assert await delete() == 200, "DEL-09: without a version, all of them"
    for path in (one, f"{one}versions/"):
        assert (await call(world, "us-cyber", "GET", path))[0] == 404
    assert ids(await get(world, f"collections/{fresh}/objects/")) == []
    assert ids(await get(world, f"collections/{fresh}/manifest/")) == []
    assert await delete() == 404
    await world.post("us-cyber", obj, to=fresh)
    assert len((await get(world, f"collections/{fresh}/manifest/"))["objects"]) == 1, "DEL-12"
