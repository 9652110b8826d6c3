"""The nine TAXII 2.1 endpoints on a whole hub: permissions, pages, filters, versions, deletion."""

import asyncio
import ssl
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

from certs.jcs import canonical, load
from exchange.cli.setup import OPERATOR
from exchange.model.member import Collection
from exchange.times import as_text, parse_us
from tests.world import TAXII, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 200_000
UNKNOWN = "indicator--00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    knobs = {
        "body_limit_bytes": LIMIT,
        "page_default_objects": 7,
        "page_limit_objects": 9,
        "envelope_limit_objects": 60,
    }
    async with make_world(tmp_path_factory.mktemp("taxii"), **knobs) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    """An empty collection that everybody may read and write; its id."""
    return await collection(world, ("all",), ("all",))


async def collection(world: World, readers: tuple[str, ...], writers: tuple[str, ...]) -> str:
    identity = str(uuid.uuid4())
    alias = f"c-{identity[:8]}"
    found = Collection(identity, alias, f"Collection {alias}", "", readers, writers)
    await world.hub.services.governance.put_collection(OPERATOR, found)
    world.collections[alias] = world.collections[identity] = identity
    return identity


async def call(
    world: World, slug: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, Any], Any]:
    """One request below the API root; every answer with a body is TAXII (NEG-03, NEG-04)."""
    sent = world.headers(slug, **({"Content-Type": TAXII} if body is not None else {}), **headers)
    async with world.session.request(method, world.root + path, headers=sent, data=body) as answer:
        data = await answer.read()
        assert answer.headers["Content-Type"] == TAXII
        found = load(data, max_bytes=10_000_000) if data else {}
        if answer.status >= 400:
            assert found["http_status"] == str(answer.status)
            assert found["error_code"] and found["error_id"]
        return answer.status, found, answer.headers


async def get(world: World, path: str, slug: str = "us-cyber") -> dict[str, Any]:
    status, body, _ = await call(world, slug, "GET", path)
    assert status == 200, body
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [one["id"] for one in body.get("objects", [])]


async def add(world: World, to: str, count: int = 1, **more: Any) -> list[dict[str, Any]]:
    sent = [world.signed("us-cyber", **more) for _ in range(count)]
    status = await world.post("us-cyber", *sent, to=to)
    assert status["success_count"] == count, status
    return sent


def version(world: World, obj: dict[str, Any], modified: str) -> dict[str, Any]:
    """Another version of a signed object."""
    plain = {key: value for key, value in obj.items() if key != "extensions"} | {"modified": modified}
    return world.sign("us-cyber", plain)


def times(obj: dict[str, Any], count: int) -> list[str]:
    """Moments after an object's creation, a microsecond apart."""
    created = parse_us(obj["created"])
    return [as_text(created + n) for n in range(1, count + 1)]


# --- what is there ---


async def test_discovery_and_root(world: World) -> None:
    async with world.session.get(f"{world.hub.url}/taxii2/", headers=world.headers("us-cyber")) as answer:
        body = await answer.json(content_type=None)
    assert body["default"] in body["api_roots"]
    assert body["default"].endswith("/taxii2/us-mx/")
    root = await get(world, "")
    assert root["versions"] == [TAXII]
    assert root["max_content_length"] == LIMIT
    async with world.session.get(f"{world.hub.url}/taxii2/other/", headers=world.headers("us-cyber")) as answer:
        assert answer.status == 404, "ROOT-07"


async def test_collections_are_as_their_own_resources(world: World) -> None:
    """COL-03, COL-07, COL-15: the same by alias, and always with the real id."""
    listed = (await get(world, "collections/"))["collections"]
    assert listed == (await get(world, "collections/"))["collections"]
    for one in listed:
        assert await get(world, f"collections/{one['id']}/") == one
        assert await get(world, f"collections/{one['alias']}") == one
    assert await get(world, "collections/", "aud-us") == {}, "auditors read the ledger, not collections"


PATHS = ("", "manifest/", "objects/", f"objects/{UNKNOWN}/", f"objects/{UNKNOWN}/versions/")


async def test_the_permission_table(world: World) -> None:
    """COL-08..10, AUT-16, AUT-17, DEL-04..06, INT-3.5.2, for each of the four kinds of collection."""
    mine = ("member:us-cyber",)
    kinds = {
        "both": await collection(world, mine, mine),
        "read": await collection(world, mine, ()),
        "write": await collection(world, (), mine),
        "none": await collection(world, ("country:MX",), ("country:MX",)),
        "unknown": "00000000-0000-4000-8000-000000000000",
        "not an id": "..%2e",
    }
    expected = {
        # collection, manifest, objects, object, versions, POST, DELETE
        "both": (200, 200, 200, 404, 404, 202, 404),
        "read": (200, 200, 200, 404, 404, 403, 403),
        "write": (200, 403, 403, 403, 403, 202, 403),
        "none": (404, 404, 404, 404, 404, 404, 404),
        "unknown": (404, 404, 404, 404, 404, 404, 404),
        "not an id": (404, 404, 404, 404, 404, 404, 404),
    }
    envelope = b'{"objects":[%s]}' % orjson.dumps(world.signed("us-cyber"))
    for kind, identity in kinds.items():
        found = [(await call(world, "us-cyber", "GET", f"collections/{identity}/{path}"))[0] for path in PATHS]
        found.append((await call(world, "us-cyber", "POST", f"collections/{identity}/objects/", envelope))[0])
        found.append((await call(world, "us-cyber", "DELETE", f"collections/{identity}/objects/{UNKNOWN}/"))[0])
        assert tuple(found) == expected[kind], kind
    rights = {
        one["id"]: (one["can_read"], one["can_write"]) for one in (await get(world, "collections/"))["collections"]
    }
    assert [rights.get(kinds[kind]) for kind in ("both", "read", "write", "none")] == [
        (True, True), (True, False), (False, True), None,
    ]  # fmt: skip


# --- pages ---


async def walk(world: World, path: str, query: str, limit: int, *, keep: bool) -> tuple[list[str], list[int]]:
    """Follow `next`; the ids and the page sizes. `keep` says whether the filters are repeated, as some clients do."""
    found: list[str] = []
    sizes: list[int] = []
    body = await get(world, f"{path}?limit={limit}&{query}")
    while True:
        found += ids(body)
        sizes.append(len(ids(body)))
        assert ("next" in body) == bool(body.get("more")), "PAG-06, PAG-07"
        if not body.get("more"):
            return found, sizes
        body = await get(world, f"{path}?limit={limit}&next={body['next']}{'&' + query if keep else ''}")


@pytest.mark.parametrize("kind", ["objects", "manifest"])
@pytest.mark.parametrize("keep", [True, False])
async def test_walks_are_whole_and_in_order(world: World, fresh: str, kind: str, keep: bool) -> None:
    """PAG-01..04, 11, 12, 15, 22; SRT-01; MAN-09; FLT-10, 12, 14."""
    sent = [one["id"] for one in await add(world, fresh, 20)]
    path = f"collections/{fresh}/{kind}/"
    for limit, pages in ((1, 20), (3, 7), (7, 3), (9, 3), (20, 3), (10**30, 3)):
        found, sizes = await walk(world, path, "match[type]=indicator", limit, keep=keep)
        assert found == sent
        assert len(sizes) == pages, "the server's own limit is 9; pages are full but the last"
        assert all(size == min(limit, 9) for size in sizes[:-1])
    assert len(ids(await get(world, path))) == 7, "PAG-16"


async def test_headers_page_without_loss(world: World, fresh: str) -> None:
    """SRT-02..05, 07; PAG-05; FLT-01, 02."""
    sent = [one["id"] for one in await add(world, fresh, 10)]
    path = f"collections/{fresh}/objects/"
    found: list[str] = []
    after = "1970-01-01T00:00:00.000000Z"
    while True:
        status, body, headers = await call(world, "us-cyber", "GET", f"{path}?limit=4&added_after={after}")
        assert status == 200
        if not ids(body):
            assert (headers["X-TAXII-Date-Added-First"], headers["X-TAXII-Date-Added-Last"]) == (after, after)
            assert body == {}
            break
        found += ids(body)
        manifest = (await get(world, f"collections/{fresh}/manifest/?limit=4&added_after={after}"))["objects"]
        assert headers["X-TAXII-Date-Added-First"] == manifest[0]["date_added"]
        assert headers["X-TAXII-Date-Added-Last"] == manifest[-1]["date_added"]
        after = headers["X-TAXII-Date-Added-Last"]
    assert found == sent
    just_before = as_text(parse_us(after) - 1)
    assert ids(await get(world, f"{path}?added_after={just_before}")) == sent[-1:]
    _, body, headers = await call(world, "us-cyber", "GET", f"{path}?added_after=2100-01-01T00:00:00Z")
    assert (body, headers["X-TAXII-Date-Added-Last"]) == ({}, "2100-01-01T00:00:00.000000Z"), "FLT-07"
    _, body, headers = await call(
        world, "us-cyber", "GET", f"collections/{await collection(world, ('all',), ())}/objects/"
    )
    assert (body, headers["X-TAXII-Date-Added-First"]) == ({}, "1970-01-01T00:00:00.000000Z")


async def test_deleting_and_adding_while_paging(world: World, fresh: str) -> None:
    """PAG-08, 09, 10, 14, 20."""
    sent = [one["id"] for one in await add(world, fresh, 6)]
    path = f"collections/{fresh}/objects/"
    first = await get(world, f"{path}?limit=2")
    again = await get(world, f"{path}?limit=2&next={first['next']}")
    assert await get(world, f"{path}?limit=2&next={first['next']}") == again
    for gone in (sent[0], sent[2]):
        assert (await call(world, "us-cyber", "DELETE", f"{path}{gone}/"))[0] == 200
    late = [one["id"] for one in await add(world, fresh, 2)]
    found = ids(await get(world, f"{path}?limit=9&next={first['next']}"))
    assert found == [sent[3], sent[4], sent[5], *late]


async def test_misused_tokens(world: World, fresh: str) -> None:
    """PAG-13, PAG-19, FLT-17, and clients.md 1.3."""
    sent = [one["id"] for one in await add(world, fresh, 4)]
    other = await collection(world, ("all",), ("all",))
    here, there = f"collections/{fresh}/objects/", f"collections/{other}/objects/"
    token = (await get(world, f"{here}?limit=2"))["next"]
    for query, slug in (
        (f"next={token[:-2]}xx", "us-cyber"),
        ("next=1", "us-cyber"),
        (f"next={token}", "mx-ciber"),
        (f"next={token}&match[type]=malware", "us-cyber"),
    ):
        status, body, _ = await call(world, slug, "GET", f"{here}?{query}")
        assert (status, body["details"]["field"]) == (400, "next")
    moved = await add(world, other, 1)
    assert ids(await get(world, f"{there}?next={token}")) == [moved[0]["id"]], (
        "another collection: page one of this one"
    )
    begun_anew = await get(world, f"{here}?next={token}&added_after=2020-01-01T00:00:00Z")
    assert ids(begun_anew) == sent, "another added_after: page one"
    assert ids(await get(world, f"{here}{sent[0]}/?next={token}")) == [sent[0]], "ONE-08"


async def test_a_poller_sees_everything_once_while_others_write(world: World, fresh: str) -> None:
    """PAG-21, SRT-08, ADD-23."""
    path = f"collections/{fresh}/objects/"
    sent: list[str] = []
    writing = True

    async def write() -> None:
        for _ in range(6):
            sent.extend(one["id"] for one in await add(world, fresh, 3))

    async def poll() -> list[str]:
        found: list[str] = []
        after = "1970-01-01T00:00:00Z"
        while True:
            last_round = not writing
            _, body, headers = await call(world, "us-cyber", "GET", f"{path}?limit=4&added_after={after}")
            found += ids(body)
            after = headers["X-TAXII-Date-Added-Last"]
            if last_round and not ids(body):
                return found

    async with asyncio.TaskGroup() as tasks:
        polling = tasks.create_task(poll())
        async with asyncio.TaskGroup() as writers:
            for _ in range(3):
                writers.create_task(write())
        writing = False
    assert sorted(polling.result()) == sorted(sent)
    assert len(sent) == 54


# --- filters and versions ---


async def test_filters(world: World, fresh: str) -> None:
    """FLT-20..27, 39, 41, 44, 45; EP-09."""
    first, second, third = await add(world, fresh, 3)
    path = f"collections/{fresh}/objects/"
    for query, expected in (
        (f"match[id]={second['id']}", [second]),
        (f"match%5Bid%5D={third['id']},{first['id']}", [first, third]),
        (f"match[id]={UNKNOWN}", []),
        ("match[type]=indicator", [first, second, third]),
        ("match[type]=malware,indicator&match[colour]=red&x=1&x=2", [first, second, third]),
        ("match[type]=x-unheard-of", []),
        ("match[spec_version]=2.1,2.0", [first, second, third]),
        ("match[spec_version]=2.0", []),
        (f"match[type]=malware&match[id]={first['id']}", []),
        (f"match[id]={first['id']}&added_after=2100-01-01T00:00:00Z", []),
    ):
        assert ids(await get(world, f"{path}?{query}")) == [one["id"] for one in expected], query
        manifest = await get(world, path.replace("/objects/", "/manifest/") + f"?{query}")
        assert ids(manifest) == [one["id"] for one in expected], query
    alone = await get(world, f"{path}{first['id']}/?match[type]=malware&match[id]={second['id']}")
    assert ids(alone) == [first["id"]], "FLT-44: on its own endpoint an object's id and type are settled"


@pytest.mark.parametrize(
    "query",
    [
        "added_after=x",
        "limit=0",
        "match[version]=all,last",
        "match[type]=",
        "match[id]=a&match[id]=b",
        "next=x",
        "limit=2&limit=2",
    ],
)
async def test_malformed_queries_are_400_everywhere(world: World, fresh: str, query: str) -> None:
    """ERR-04."""
    [obj] = await add(world, fresh, 1)
    for path in ("objects/", "manifest/", f"objects/{obj['id']}/", f"objects/{obj['id']}/versions/"):
        assert (await call(world, "us-cyber", "GET", f"collections/{fresh}/{path}?{query}"))[0] == 400
    if "version" in query:
        assert (await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/?{query}"))[0] == 400
        assert ids(await get(world, f"collections/{fresh}/objects/")) == [obj["id"]], "DEL-10"


@pytest.mark.rule("TIM-07", "TIM-08")
async def test_versions(world: World, fresh: str) -> None:
    """FLT-28..33, 38, 43, 46; ONE-01..05, 08; VER-01..08; ADD-12; MAN-07; SER-10, SER-16."""
    [first] = await add(world, fresh, 1)
    early, middle, late = times(first, 3)
    others = {name: version(world, first, name) for name in (late, early, middle)}
    for other in others.values():  # the latest arrives before older ones
        await world.post("us-cyber", other, to=fresh)
    one = f"collections/{fresh}/objects/{first['id']}/"

    async def versions(query: str) -> list[str]:
        return [obj["modified"] for obj in (await get(world, f"{one}?{query}")).get("objects", [])]

    created = first["modified"]
    assert await versions("") == [late]
    assert await versions("match[version]=last") == [late]
    assert await versions("match[version]=first") == [created]
    assert await versions("match[version]=all") == [created, late, early, middle], "in the order they were added"
    assert await versions(f"match[version]={middle}") == [middle]
    assert await versions(f"match[version]=first,{early},last") == [created, late, early]
    assert await versions(f"match[version]={created.replace('Z', '000Z')}") == [created], "FLT-38"
    assert await versions("match[version]=2001-01-01T00:00:00Z") == [], "ONE-04: known id, nothing matches"
    assert await versions("match[version]=all&limit=2") == [created, late]
    assert ids(await get(world, f"collections/{fresh}/objects/")) == [first["id"]], "FLT-28"
    manifest = (await get(world, f"collections/{fresh}/manifest/?match[version]=all"))["objects"]
    assert [row["version"] for row in manifest] == [created, late, early, middle]
    added = [row["date_added"] for row in manifest]
    assert added == sorted(set(added))

    assert await get(world, f"{one}versions/") == {"more": False, "versions": [created, late, early, middle]}
    page = await get(world, f"{one}versions/?limit=3")
    assert page["versions"] == [created, late, early]
    assert (await get(world, f"{one}versions/?limit=3&next={page['next']}"))["versions"] == [middle], "PAG-18"
    assert (await get(world, f"{one}versions/?added_after={added[1]}"))["versions"] == [early, middle], "VER-05"
    assert await get(world, f"{one}versions/?added_after={added[3]}") == {}, "VER-04"
    assert await get(world, f"{one}versions/?match[spec_version]=2.0") == {}
    for path in ("", "versions/"):
        for strange in (UNKNOWN, "x", "%00", "a" * 3000, "indicator--%27%3B"):
            status, _, _ = await call(world, "us-cyber", "GET", f"collections/{fresh}/objects/{strange}/{path}")
            assert status == 404, "ONE-02, ONE-07, VER-03, EP-10"


@pytest.mark.rule("TIM-15", "COM-13")
async def test_objects_come_back_byte_for_byte(world: World, fresh: str) -> None:
    """OBJ-02, SER-09, SER-10, OBJ-07: the RFC 8785 form of what was signed."""
    [obj] = await add(world, fresh, 1, name="señal \U0001f6a2 e\u0301", valid_from="2026-01-01T00:00:00.125Z")
    for slug in ("us-cyber", "mx-ciber"):
        url = f"{world.root}collections/{fresh}/objects/"
        async with world.session.get(url, headers=world.headers(slug)) as answer:
            assert await answer.read() == b'{"more":false,"objects":[' + canonical(obj) + b"]}"


# --- writing ---


@pytest.mark.rule("CNF-05")
async def test_a_status_adds_up_and_is_its_submitters(world: World, fresh: str) -> None:
    """ADD-01, 03, 09, 11; STA-01..19."""
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
@pytest.mark.rule("JSN-01", "JSN-02", "JSN-09")
async def test_bodies_that_are_no_envelopes(world: World, fresh: str, body: bytes, expected: tuple[int, ...]) -> None:
    """ADD-05, 06, 10, 19; SER-13..15; ROOT-08, 09."""
    assert (await call(world, "us-cyber", "POST", f"collections/{fresh}/objects/", body))[0] in expected


@pytest.mark.rule("IDN-09")
async def test_a_bundle_and_a_bare_object_are_taken(world: World, fresh: str) -> None:
    """ADD-07, NEG-11, NEG-13: what Splunk's and OpenCTI's exporters post."""
    sent = [world.signed("us-cyber") for _ in range(2)]
    bundle = orjson.dumps({"type": "bundle", "id": f"bundle--{uuid.uuid4()}", "objects": sent[:1]})
    url = f"{world.root}collections/{fresh}/objects/"
    for body in (bundle, orjson.dumps(sent[1])):
        headers = world.headers("us-cyber", **{"Content-Type": "application/stix+json; version=2.1"})
        async with world.session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
    assert ids(await get(world, f"collections/{fresh}/objects/")) == [one["id"] for one in sent]


async def test_deleting(world: World, fresh: str) -> None:
    """DEL-01..14."""
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


# --- the wire ---


async def test_head_alias_and_slashes(world: World, fresh: str) -> None:
    """TRN-15, COL-15, EP-01, EP-02, MISP's `//`."""
    await add(world, fresh, 1)
    alias = f"c-{fresh[:8]}"
    for path in (
        f"collections/{alias}/objects",
        f"/collections//{fresh}///objects//",
        f"collections/{alias}/objects/?limit=",
    ):
        assert len(ids(await get(world, path))) == 1
    async with world.session.head(
        f"{world.root}collections/{fresh}/objects/", headers=world.headers("us-cyber")
    ) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert "X-TAXII-Date-Added-Last" in answer.headers


async def test_basic_with_any_user(world: World) -> None:
    """AUT-04, CLI-13."""
    for user in ("", "anyone", "señor"):
        basic = b64encode(f"{user}:{world.tokens['us-cyber']}".encode()).decode()
        headers = {"Accept": TAXII, "Authorization": f"Basic {basic}"}
        async with world.session.get(world.root, headers=headers) as answer:
            assert answer.status == 200


async def test_a_certificate_and_a_token_must_be_of_one_member(world: World) -> None:
    """AUT-07, TRN-06: else one member's proxy could act with another's token."""
    context = ssl.create_default_context(cafile=str(world.home.ca_file))
    directory = world.home.member("mx-ciber")
    context.load_cert_chain(directory / "tls.pem", directory / "tls.key")
    url = f"https://localhost:{world.hub.mtls_port}/taxii2/us-mx/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        for headers, expected in (
            ({"Accept": TAXII}, 200),
            (world.headers("mx-ciber"), 200),
            (world.headers("us-cyber"), 401),
            ({"Accept": TAXII, "Authorization": "Bearer no"}, 401),
        ):
            async with session.get(url, headers=headers) as answer:
                assert answer.status == expected
