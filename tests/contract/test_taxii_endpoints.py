"""Reading over TAXII 2.1 on a whole hub: permissions, pages, filters, versions, and the wire."""

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

from certs.jcs import canonical
from exchange.cli.setup import OPERATOR
from exchange.errors import Conflict, Malformed
from exchange.model.member import Collection
from exchange.model.product import PRODUCTS
from exchange.times import as_text, parse_us
from policies.markings import CAVEAT_MARKINGS
from tests.taxii import UNKNOWN, add, call, collection, get, ids, leaves, times, version, walk
from tests.world import TAXII, TLP2, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 200_000
NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    knobs = {
        "body_limit_bytes": LIMIT,
        "page_default_objects": 7,
        "page_limit_objects": 9,
        "envelope_limit_objects": 60,
    }
    async with make_world(tmp_path_factory.mktemp("taxii"), **knobs, **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    """An empty collection that everybody may read and write; its id."""
    return await collection(world, ("all",), ("all",))


# --- what is there ---


@pytest.mark.rule("DSC-01", "DSC-07", "DSC-10", "DSC-11", "DSC-12", "ROOT-01", "ROOT-02", "ROOT-07", "INT-3.2")
@pytest.mark.rule("INT-3.3")
async def test_discovery_and_root(world: World) -> None:
    async with world.session.get(f"{world.hub.url}/taxii2/", headers=world.headers("us-cyber")) as answer:
        body = await answer.json(content_type=None)
    assert body["default"] in body["api_roots"]
    assert body["default"].endswith("/taxii2/us-mx/")
    for url in body["api_roots"]:
        async with world.session.get(url, headers=world.headers("us-cyber")) as answer:
            assert answer.status == 200, "DSC-10"
    root = await get(world, "")
    assert root["versions"] == [TAXII]
    assert root["max_content_length"] == LIMIT
    async with world.session.get(f"{world.hub.url}/taxii2/other/", headers=world.headers("us-cyber")) as answer:
        assert answer.status == 404, "ROOT-07"


@pytest.mark.rule("COL-01", "COL-02", "COL-03", "COL-06", "COL-07", "COL-13", "COL-15", "INT-3.4", "INT-3.4.2")
@pytest.mark.rule("SER-02", "SER-06")
async def test_collections_are_as_their_own_resources(world: World) -> None:
    """The same by alias, always with the real id, and sorted by it."""
    listed = (await get(world, "collections/"))["collections"]
    assert listed == sorted(listed, key=lambda one: one["id"])
    assert listed == (await get(world, "collections/"))["collections"]
    for one in listed:
        assert uuid.UUID(one["id"]).version == 4
        assert {type(one[name]) for name in one.keys() & {"title", "description", "alias"}} == {str}
        assert type(one["can_read"]) is type(one["can_write"]) is bool
        assert one["media_types"] == ["application/stix+json;version=2.1"]
    for one in listed:
        assert await get(world, f"collections/{one['id']}/") == one
        assert await get(world, f"collections/{one['alias']}") == one
    assert await get(world, "collections/", "aud-us") == {}, "auditors read the ledger, not collections"


@pytest.mark.rule("COL-05", "COL-14")
async def test_no_two_collections_have_a_title_or_alias_in_common(world: World, fresh: str) -> None:
    """Clients choose by title, and a URL may name an alias."""
    taken = (await get(world, f"collections/{fresh}/"))["title"]
    for alias, title in (("mine", taken), ("mine", f"  {taken.upper()} "), (f"c-{fresh[:8]}", "Mine"), (fresh, "Mine")):
        with pytest.raises(Conflict):
            await world.hub.services.governance.put_collection(
                OPERATOR, Collection("00000000-0000-4000-8000-000000000001", alias, title, "", (), ())
            )


@pytest.mark.rule("NEG-01", "NEG-02", "NEG-03", "NEG-05", "NEG-10", "NEG-22", "SER-01", "SER-03", "EP-03", "DSC-09")
@pytest.mark.peer("MED-6a", "MED-6b", "MED-6c")
@pytest.mark.rule("SER-04")
async def test_every_endpoint_negotiates_alike(world: World, fresh: str) -> None:
    """No version, `*/*` and no Accept at all get TAXII 2.1, labelled so; only what it is not gets 406."""
    [obj] = await add(world, fresh, 1)
    status = await world.post("us-cyber", obj, to=fresh)
    object_path = f"collections/{fresh}/objects/{obj['id']}/"
    required = {
        "": {"title", "versions", "max_content_length"},
        f"status/{status['id']}/": {"id", "status", "total_count", "success_count", "failure_count", "pending_count"},
        "collections/": {"collections"},
        f"collections/{fresh}/": {"id", "title", "can_read", "can_write"},
        f"collections/{fresh}/manifest/": {"more", "objects"},
        f"collections/{fresh}/objects/": {"more", "objects"},
        object_path: {"more", "objects"},
        f"{object_path}versions/": {"more", "versions"},
        f"{world.hub.url}/taxii2/": {"title", "default", "api_roots"},
    }
    for path, names in required.items():
        url = path if path.startswith("https:") else world.root + path
        both = f"{TAXII},application/stix+json;version=2.1"
        for accept in (TAXII, "application/taxii+json", "*/*", both, f"{TAXII};q=0.9", ""):
            headers = world.headers("us-cyber", Accept=accept)
            async with world.session.get(url, headers=headers) as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (200, TAXII), (path, accept)
                assert names <= orjson.loads(await answer.read()).keys()
        async with world.session.get(url, headers=world.headers("us-cyber", Accept="text/html")) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (406, TAXII)
        async with world.session.get(url, headers={"Accept": TAXII}) as answer:
            assert answer.status == 401


PATHS = ("", "manifest/", "objects/", f"objects/{UNKNOWN}/", f"objects/{UNKNOWN}/versions/")


@pytest.mark.rule("COL-08", "COL-09", "COL-10", "AUT-16", "AUT-17", "ADD-02", "ADD-18", "OBJ-04", "MAN-08")
@pytest.mark.rule("ONE-06", "VER-06", "DEL-04", "DEL-05", "DEL-06", "INT-3.5.2", "INT-3.5.3")
@pytest.mark.peer("MED-8a", "OTX-6b")
@pytest.mark.rule("COL-12")
async def test_the_permission_table(world: World) -> None:
    """For each of the four kinds of collection."""
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


@pytest.mark.parametrize("kind", ["objects", "manifest"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.rule("PAG-01", "PAG-02", "PAG-03", "PAG-04", "PAG-06", "PAG-07", "PAG-11", "PAG-12", "PAG-15")
@pytest.mark.rule("PAG-16", "PAG-18", "PAG-22", "SRT-01", "MAN-09", "FLT-10", "FLT-12", "FLT-14", "INT-3.14")
@pytest.mark.rule("CLI-14")
@pytest.mark.peer("OTX-3a", "OTX-7", "ARA-1")
async def test_walks_are_whole_and_in_order(world: World, fresh: str, kind: str, keep: bool) -> None:
    sent = [one["id"] for one in await add(world, fresh, 20)]
    path = f"collections/{fresh}/{kind}/"
    for limit, pages in ((1, 20), (3, 7), (7, 3), (9, 3), (20, 3), (10**30, 3)):
        found, sizes = await walk(world, path, "match[type]=indicator", limit, keep=keep)
        assert found == sent
        assert len(sizes) == pages, "the server's own limit is 9; pages are full but the last"
        assert all(size == min(limit, 9) for size in sizes[:-1])
    assert len(ids(await get(world, path))) == 7, "PAG-16"


@pytest.mark.rule("SRT-02", "SRT-03", "SRT-04", "SRT-05", "SRT-07", "PAG-05", "FLT-01", "FLT-02", "FLT-03")
@pytest.mark.rule("FLT-07", "OBJ-03", "INT-3.7", "MAN-09")
@pytest.mark.peer("ARA-1")
async def test_headers_page_without_loss(world: World, fresh: str) -> None:
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
        listing = f"collections/{fresh}/manifest/?limit=4&added_after={after}"
        _, listed, beside = await call(world, "us-cyber", "GET", listing)
        manifest = listed["objects"]
        assert ids(listed) == ids(body)
        for name in ("X-TAXII-Date-Added-First", "X-TAXII-Date-Added-Last"):
            assert beside[name] == headers[name], "MAN-09"
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


@pytest.mark.rule("PAG-08", "PAG-09", "PAG-10", "PAG-11", "PAG-14")
@pytest.mark.peer("MED-2a", "MED-4b", "AWB-2")
async def test_deleting_and_adding_while_paging(world: World, fresh: str) -> None:
    sent = [one["id"] for one in await add(world, fresh, 6)]
    path = f"collections/{fresh}/objects/"
    first = await get(world, f"{path}?limit=2")
    again = await get(world, f"{path}?limit=2&next={first['next']}")
    assert await get(world, f"{path}?limit=2&next={first['next']}") == again
    for gone in (sent[0], sent[2]):
        assert (await call(world, "us-cyber", "DELETE", f"{path}{gone}/"))[0] == 200
    late = [one["id"] for one in await add(world, fresh, 2)]
    found = ids(await get(world, f"{path}?limit=9&next={first['next']}"))
    assert found == [sent[3], sent[4], sent[5], *late], "PAG-11: with another limit than before"
    for gone in (sent[1], *found):
        assert (await call(world, "us-cyber", "DELETE", f"{path}{gone}/"))[0] == 200
    assert await get(world, f"{path}?limit=2&next={first['next']}") == {}, "PAG-08: there was more, and it is gone"


@pytest.mark.rule("PAG-13", "PAG-19", "FLT-17", "ONE-08")
@pytest.mark.peer("DAR-2")
async def test_misused_tokens(world: World, fresh: str) -> None:
    """Every row of the table “never lose”."""
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
    await world.hub.services.release.flush_sums()
    kinds = [(log, kind) for log in ("us", "mx") for kind in ("deny", "deny.sum")]
    entries = [leaf for log, kind in kinds for leaf in await leaves(world, log, kind) if leaf["on"] == f"coll:{fresh}"]
    denied = [(one["actor"].split(":")[1], one["pub"]["code"], one["pub"].get("count")) for one in entries]
    assert denied == [
        ("us-cyber", "cursor-foreign", None), ("us-cyber", "cursor-foreign", 1), ("mx-ciber", "cursor-foreign", None),
    ]  # fmt: skip
    moved = await add(world, other, 1)
    assert ids(await get(world, f"{there}?next={token}")) == [moved[0]["id"]], (
        "another collection: page one of this one"
    )
    again = await get(world, f"{here}?limit=2&next={token}&added_after=2020-01-01T00:00:00Z")
    assert ids(await get(world, f"{there}?next={again['next']}")) == [moved[0]["id"]]
    late = await get(world, f"{there}?next={again['next']}&added_after=2100-01-01T00:00:00Z")
    assert late == {}, "its own added_after stands against the token's"
    begun_anew = await get(world, f"{here}?next={token}&added_after=2020-01-01T00:00:00Z")
    assert ids(begun_anew) == sent, "another added_after: page one"
    assert ids(await get(world, f"{here}{sent[0]}/?next={token}")) == [sent[0]], "ONE-08"


@pytest.mark.rule("PAG-21", "SRT-08", "ADD-23")
@pytest.mark.peer("MED-4b", "OTX-4")
async def test_a_poller_sees_everything_once_while_others_write(world: World, fresh: str) -> None:
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


@pytest.mark.rule("FLT-20", "FLT-21", "FLT-22", "FLT-23", "FLT-24", "FLT-25", "FLT-26", "FLT-27", "FLT-39")
@pytest.mark.rule("FLT-41", "FLT-44", "FLT-45", "EP-08", "EP-09", "MAN-06", "INT-3.13")
async def test_filters(world: World, fresh: str) -> None:
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
@pytest.mark.rule("ERR-04", "FLT-04", "FLT-11", "FLT-16", "FLT-17", "FLT-34", "FLT-40", "FLT-42", "DEL-10")
async def test_malformed_queries_are_400_everywhere(world: World, fresh: str, query: str) -> None:
    [obj] = await add(world, fresh, 1)
    for path in ("objects/", "manifest/", f"objects/{obj['id']}/", f"objects/{obj['id']}/versions/"):
        assert (await call(world, "us-cyber", "GET", f"collections/{fresh}/{path}?{query}"))[0] == 400
    if "version" in query:
        assert (await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/?{query}"))[0] == 400
        assert ids(await get(world, f"collections/{fresh}/objects/")) == [obj["id"]], "DEL-10"


@pytest.mark.rule("TIM-07", "TIM-08", "CNF-02")
@pytest.mark.rule("FLT-28", "FLT-29", "FLT-30", "FLT-31", "FLT-32", "FLT-33", "FLT-38", "FLT-43", "FLT-46")
@pytest.mark.rule("ONE-01", "ONE-02", "ONE-03", "ONE-04", "ONE-05", "ONE-07", "ONE-08", "VER-01", "VER-03")
@pytest.mark.rule("VER-04", "VER-05", "VER-07", "VER-08", "ADD-12", "MAN-07", "SER-16", "PAG-18", "EP-10")
@pytest.mark.rule("INT-3.8", "INT-3.9")
@pytest.mark.peer("OTX-7", "DAR-3")
async def test_versions(world: World, fresh: str) -> None:
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
    half = await get(world, f"{one}?match[version]=all&limit=2")
    assert await versions(f"limit=2&next={half['next']}") == [early, middle], "ONE-05"
    assert await versions("match[version]=all&match[spec_version]=2.1") == [created, late, early, middle]
    assert await versions("match[spec_version]=2.0") == []
    assert ids(await get(world, f"collections/{fresh}/objects/")) == [first["id"]], "FLT-28"
    manifest = (await get(world, f"collections/{fresh}/manifest/?match[version]=all"))["objects"]
    assert [row["version"] for row in manifest] == [created, late, early, middle]
    added = [row["date_added"] for row in manifest]
    assert added == sorted(set(added))
    assert await versions(f"match[version]=all&added_after={added[1]}") == [early, middle], "ONE-05"
    assert await versions(f"added_after={added[1]}") == [middle], "FLT-43: the latest of those that were added after it"

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


@pytest.mark.rule("AUT-09", "FLT-28", "FLT-29", "FLT-30", "FLT-31", "ONE-01", "MAN-09")
async def test_the_latest_is_the_latest_that_this_member_may_see(world: World, fresh: str) -> None:
    """On objects, object, manifest and versions alike; and the version that is hidden is as if it were not there."""
    [obj] = await add(world, fresh, 1)
    middle, late = times(obj, 2)
    for modified, marking in ((late, None), (middle, NOFORN)):
        refs = [TLP2["amber"], *([marking] if marking else [])]
        await world.post("us-cyber", version(world, obj | {"object_marking_refs": refs}, modified), to=fresh)
    created = obj["modified"]
    seen = {
        "us-customs": {
            "last": [late],
            "first": [created],
            "all": [created, late, middle],
            "first,last": [created, late],
        },
        "mx-ciber": {"last": [late], "first": [created], "all": [created, late], "first,last": [created, late]},
    }
    one = f"collections/{fresh}/objects/{obj['id']}/"
    for slug, expected in seen.items():
        for words, texts in {**expected, "": expected["last"]}.items():
            query = f"?match[version]={words}" if words else ""
            for path in (f"collections/{fresh}/objects/", one):
                found = (await get(world, f"{path}{query}", slug))["objects"]
                assert [row["modified"] for row in found] == texts, (slug, path, words)
            found = (await get(world, f"collections/{fresh}/manifest/{query}", slug))["objects"]
            assert [row["version"] for row in found] == texts, (slug, words)
        assert (await get(world, f"{one}versions/", slug))["versions"] == expected["all"]
    assert await get(world, f"{one}?match[version]={middle}", "mx-ciber") == {}


@pytest.mark.rule("FLT-43")
async def test_who_tightens_a_marking_tightens_it_for_what_was_before(world: World, fresh: str) -> None:
    """The label of the newest version covers the others: to whom it is hidden, the object is as if it were not there."""
    [obj] = await add(world, fresh, 1)
    one, everything = f"collections/{fresh}/objects/{obj['id']}/", f"collections/{fresh}/objects/?match[version]=all"
    strict, loose = times(obj, 2)
    marked = obj | {"object_marking_refs": [TLP2["amber"], NOFORN]}
    await world.post("us-cyber", version(world, marked, strict), to=fresh)
    assert len((await get(world, everything, "us-customs"))["objects"]) == 2
    assert await get(world, everything, "mx-ciber") == {}
    for path in (one, f"{one}versions/", f"{one}?match[version]=first"):
        assert (await call(world, "mx-ciber", "GET", path))[0] == 404
    await world.post("us-cyber", version(world, obj, loose), to=fresh)
    found = (await get(world, everything, "mx-ciber"))["objects"]
    assert [row["modified"] for row in found] == [obj["modified"], loose]


@pytest.mark.rule("OBJ-06")
async def test_a_credential_made_for_a_product_meets_its_habits_and_shows_no_more(world: World, fresh: str) -> None:
    """Elastic's empty lists; FortiGate's media type and one whole page, as OpenCTI's a tick. Objects are the same for all."""
    governance = world.hub.services.governance
    url = f"{world.root}collections/{fresh}/objects/"
    tokens = {name: (await governance.create_token(OPERATOR, "mx-ciber", days=1, product=name))[1] for name in PRODUCTS}

    async def read(name: str, accept: str = TAXII, query: str = "") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {tokens[name]}", "Accept": accept}
        async with world.session.get(url + query, headers=headers) as answer:
            return answer.status, await answer.read()

    for name in PRODUCTS:
        expected = b'{"more":false,"objects":[]}' if name == "elastic" else b"{}"
        assert await read(name) == (200, expected), name
        assert (await read(name, "application/vnd.oasis.stix+json; version=2.0"))[0] == (
            200 if name == "fortigate" else 406
        )
    sent = await add(world, fresh, 12)
    await add(world, fresh, 1, object_marking_refs=[TLP2["amber"], NOFORN])
    for name in PRODUCTS:
        first = ids(orjson.loads((await read(name))[1]))
        assert len(first) == (9 if name in ("opencti", "fortigate") else 7), name
        seen, page = list(first), orjson.loads((await read(name))[1])
        while page["more"]:
            page = orjson.loads((await read(name, query=f"?next={page['next']}"))[1])
            seen += ids(page)
        assert seen == ids({"objects": sent}), name
    with pytest.raises(Malformed):
        await governance.create_token(OPERATOR, "mx-ciber", days=1, product="nothing")


@pytest.mark.rule("OBJ-02", "OBJ-07", "SER-09", "SER-10", "TIM-15", "COM-13")
@pytest.mark.peer("MED-7")
async def test_objects_come_back_byte_for_byte(world: World, fresh: str) -> None:
    """The RFC 8785 form of what was signed."""
    [obj] = await add(world, fresh, 1, name="señal \U0001f6a2 e\u0301", valid_from="2026-01-01T00:00:00.125Z")
    for slug in ("us-cyber", "mx-ciber"):
        url = f"{world.root}collections/{fresh}/objects/"
        async with world.session.get(url, headers=world.headers(slug)) as answer:
            assert await answer.read() == b'{"more":false,"objects":[' + canonical(obj) + b"]}"


# --- the wire ---


@pytest.mark.rule("TRN-15", "COL-15", "EP-01", "EP-02")
async def test_head_alias_and_slashes(world: World, fresh: str) -> None:
    """And MISP's `//`."""
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


@pytest.mark.rule("AUT-04")
async def test_basic_with_any_user(world: World) -> None:
    for user in ("", "anyone", "señor"):
        basic = b64encode(f"{user}:{world.tokens['us-cyber']}".encode()).decode()
        headers = {"Accept": TAXII, "Authorization": f"Basic {basic}"}
        async with world.session.get(world.root, headers=headers) as answer:
            assert answer.status == 200


@pytest.mark.rule("AUT-07", "TRN-06")
async def test_a_certificate_and_a_token_must_be_of_one_member(world: World) -> None:
    """Else one member's proxy could act with another's token."""
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
