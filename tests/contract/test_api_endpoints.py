"""The hub's own API on a whole hub: who sees what of members, decisions and ledgers, and the document of it all."""

import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from certs.jcs import load
from exchange.api.routes import ROUTES as API_ROUTES
from exchange.cli.setup import OPERATOR
from exchange.ledger.merkle import leaf_hash, root
from exchange.ledger.receipt import Receipt
from exchange.ledger.tiles import Tile, bundles_of, tiles_of, unbundle
from exchange.model.member import Status
from exchange.taxii.routes import ROUTES as TAXII_ROUTES
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    knobs = {"witness_interval_seconds": 0.2, "checkpoint_interval_seconds": 0.05}
    async with make_world(tmp_path_factory.mktemp("api"), **knobs, **database) as made:
        yield made


async def raw(world: World, slug: str | None, path: str, **headers: str) -> tuple[int, bytes, Any]:
    sent = world.headers(slug, **headers) if slug else headers
    async with world.session.get(world.hub.url + path, headers=sent) as answer:
        return answer.status, await answer.read(), answer.headers


async def get(world: World, slug: str | None, path: str, **headers: str) -> Any:
    status, body, _ = await raw(world, slug, path, **headers)
    assert status == 200, body
    return load(body, max_bytes=1_000_000)


async def status(world: World, slug: str | None, path: str) -> int:
    return (await raw(world, slug, path))[0]


async def submit(world: World, slug: str, to: str = "indicators", **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A signed object, and the answer to its submission."""
    sent = world.signed(slug, **more)
    url = f"{world.hub.url}/api/v1/submissions?collection={to}"
    async with world.session.post(url, json={"objects": [sent]}, headers=world.headers(slug)) as answer:
        assert answer.status == 202, await answer.text()
        return sent, await answer.json(content_type=None)


# --- health and the document ---


async def test_health_needs_no_credential_and_tells_no_more(world: World) -> None:
    assert await get(world, None, "/healthz") == {"alive": True}
    assert await get(world, None, "/readyz") == {"ready": True, "state": "open"}


async def test_a_halted_publisher_is_not_ready(world: World) -> None:
    publisher = world.hub.services.publisher
    publisher.halted = "fork"
    try:
        found, body, headers = await raw(world, None, "/readyz")
    finally:
        publisher.halted = None
    assert (found, headers["Retry-After"]) == (503, "60")
    assert orjson.loads(body)["error_code"] == "ledger-halted"


async def test_the_document_has_every_route_and_nothing_else(world: World) -> None:
    document = await get(world, None, "/api/v1/openapi.json")
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    routes = (*TAXII_ROUTES, *API_ROUTES)
    assert described == {(route.method, route.path.replace("*}", "}")) for route in routes}
    assert len({route.path for route in routes if route.path.startswith("/taxii2")}) == 9
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{([a-z_]+)\}", path))
    for name in re.findall(rb'"#/components/schemas/(\w+)"', orjson.dumps(document)):
        assert name.decode() in document["components"]["schemas"]


# --- who ---


async def test_me_members_and_collections(world: World) -> None:
    me = await get(world, "mx-ciber", "/api/v1/me", **{"Accept-Language": "es"})
    assert (me["slug"], me["country"], me["status"]) == ("mx-ciber", "MX", "active")
    assert me["name"] == world.members["mx-ciber"].name_es
    assert me["account"] in world.tokens["mx-ciber"]
    assert me["expires"] > "2026"
    assert [one["slug"] for one in (await get(world, "us-cyber", "/api/v1/members"))["members"]] == ["us-cyber"]
    everybody = (await get(world, "aud-mx", "/api/v1/members"))["members"]
    assert {one["slug"] for one in everybody} == set(world.members)
    mine = (await get(world, "us-cyber", "/api/v1/collections"))["collections"]
    assert {one["alias"] for one in mine} >= {"indicators", "us-domestic"}
    assert "mx-domestic" not in {one["alias"] for one in mine}
    assert all(one["url"].endswith(f"/collections/{one['id']}/") for one in mine)


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/explain", "/ledger/both/checkpoint", "/api/v1/nothing"])
async def test_nobody_is_told_nothing(world: World, path: str) -> None:
    assert await status(world, None, path) == 401


# --- submissions ---


async def test_a_submission_tells_where_its_entries_lie(world: World) -> None:
    sent, body = await submit(world, "us-cyber")
    assert body["success_count"] == 1
    assert {leaf["log"] for leaf in body["leaves"]} == {"us", "both"}
    for leaf in body["leaves"]:
        assert leaf["origin"] == f"puente.hub.example/audit/{leaf['log']}"
        _, data, _ = await raw(world, "us-cyber", f"/ledger/{leaf['log']}/leaf/{leaf['index']}")
        assert leaf_hash(data).hex() == leaf["hash"]
    kept = {key: value for key, value in body.items() if key != "leaves"}
    assert await get(world, "us-cyber", f"/api/v1/status/{body['id']}") == kept
    assert await status(world, "us-customs", f"/api/v1/status/{body['id']}") == 404
    assert sent["id"] in str(await get(world, "us-cyber", f"/api/v1/explain?object={sent['id']}&to=mx-ciber"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", 400), ("?collection=", 400), ("?collection=nothing", 404), ("?collection=mx-domestic", 404),
     ("?collection=attestations", 403), ("?collection=indicators&collection=indicators", 400)],
)  # fmt: skip
async def test_submissions_that_have_no_place(world: World, query: str, expected: int) -> None:
    url = f"{world.hub.url}/api/v1/submissions{query}"
    async with world.session.post(url, json={}, headers=world.headers("us-cyber")) as answer:
        assert answer.status == expected


# --- why ---


async def test_who_may_ask_why(world: World) -> None:
    """Submitter, the recipient where it may see it, auditors of the countries it concerns; all others learn nothing."""
    shared, _ = await submit(world, "us-cyber")
    domestic, _ = await submit(world, "us-cyber", to="us-domestic")
    absent = f"indicator--{uuid.uuid4()}"

    def path(obj: dict[str, Any], to: str) -> str:
        return f"/api/v1/explain?object={obj['id']}&to={to}"

    may = [
        ("us-cyber", path(shared, "mx-ciber")),
        ("us-cyber", path(domestic, "mx-ciber")),
        ("mx-ciber", path(shared, "mx-ciber")),
        ("us-customs", path(domestic, "us-customs")),
        ("aud-us", path(shared, "mx-ciber")),
        ("aud-mx", path(shared, "mx-ciber")),
        ("aud-us", path(domestic, "us-customs")),
    ]
    may_not = [
        ("mx-ciber", path(shared, "mx-aduanas")),
        ("mx-ciber", path(shared, "us-cyber")),
        ("mx-ciber", path(domestic, "mx-ciber")),
        ("us-customs", path(domestic, "us-maritime")),
        ("aud-mx", path(domestic, "us-customs")),
        ("aud-mx", path(domestic, "mx-ciber")),
        ("us-cyber", path(shared, "nobody")),
        ("us-cyber", path({"id": absent}, "mx-ciber")),
        ("us-cyber", path(shared, "mx-ciber") + "&version=2001-01-01T00:00:00Z"),
    ]
    for slug, one in may:
        assert await status(world, slug, one) == 200, (slug, one)
    refusals = set()
    for slug, one in may_not:
        found, body, _ = await raw(world, slug, one)
        assert found == 404, (slug, one)
        refusals.add(tuple(sorted((k, v) for k, v in orjson.loads(body).items() if k != "error_id")))
    assert len(refusals) == 1, "hidden and absent look alike"
    assert await status(world, "us-cyber", path(shared, "mx-ciber") + "&version=x") == 400


async def test_an_explanation_names_the_clause_in_both_languages(world: World) -> None:
    domestic, _ = await submit(world, "us-cyber", to="us-domestic")
    path = f"/api/v1/explain?object={domestic['id']}&to=mx-ciber&version={domestic['modified']}"
    english = await get(world, "us-cyber", path)
    spanish = await get(world, "us-cyber", path, **{"Accept-Language": "es"})
    [one], [other] = english["placements"], spanish["placements"]
    assert (one["collection"], one["effect"], one["visible"], one["clause"]) == (
        "us-domestic",
        "deny",
        False,
        "F-DOMESTIC",
    )
    assert one["collection_readable"] is False
    assert one["reason"].startswith("not shared: ")
    assert other["reason"].startswith("no compartido: ")
    assert [step["rule"] for step in one["trace"]] == [step["rule"] for step in other["trace"]]
    assert any(step["matched"] and step["rule"] == "F-DOMESTIC" for step in one["trace"])


# --- the ledger ---

LEDGER = ("checkpoint", "leaf/0", "receipt/0", "tile/0/000.p/1", "tile/entries/000.p/1")


@pytest.mark.parametrize(
    ("slug", "log", "expected"),
    [
        # leaf 0 is the operator's: no member's own
        ("us-maritime", "both", (200, 404, 404, 403, 403)),
        ("us-maritime", "us", (200, 404, 404, 403, 403)),
        ("us-cyber", "mx", (404, 404, 404, 404, 404)),
        ("mx-ciber", "us", (404, 404, 404, 404, 404)),
        ("aud-us", "both", (200, 200, 200, 200, 200)),
        ("aud-mx", "both", (200, 200, 200, 200, 200)),
        ("aud-us", "us", (200, 200, 200, 200, 200)),
        ("aud-us", "mx", (404, 404, 404, 404, 404)),
        ("aud-mx", "us", (404, 404, 404, 404, 404)),
        ("aud-us", "other", (404, 404, 404, 404, 404)),
    ],
)
async def test_who_may_read_which_log(world: World, slug: str, log: str, expected: tuple[int, ...]) -> None:
    await submit(world, "us-customs")
    await world.cosigned()
    assert tuple([await status(world, slug, f"/ledger/{log}/{one}") for one in LEDGER]) == expected


async def test_members_prove_their_own_acts_and_no_others(world: World) -> None:
    _, body = await submit(world, "us-cyber")
    leaf = next(one for one in body["leaves"] if one["log"] == "us")
    at = f"/ledger/us/{{}}/{leaf['index']}"
    found, proof, headers = await raw(world, "us-cyber", at.format("receipt"), Prefer="respond-async, wait=20")
    assert (found, headers["Preference-Applied"]) == (200, "wait=20")
    data = await world.hub.services.store.leaves("us", leaf["index"], leaf["index"] + 1)
    assert (await raw(world, "us-cyber", at.format("leaf")))[1] == data[0]
    policies = world.hub.services.publisher._with.policies
    Receipt.parse(proof).verify(data[0], policies["us"])
    for slug in ("us-customs", "mx-ciber", "aud-mx"):
        assert await status(world, slug, at.format("receipt")) == 404
        assert await status(world, slug, at.format("leaf")) == 404
    for index in ("-1", "01", "x", "99999999", "9" * 30, "%D9%A1"):
        assert await status(world, "aud-us", f"/ledger/us/leaf/{index}") == 404


async def test_an_auditor_rebuilds_the_log_from_its_files(world: World) -> None:
    for _ in range(3):
        await submit(world, "us-cyber")
    tree = (await world.hub.services.store.trees())["us"]

    async def file(tile: Tile) -> bytes:
        found, data, headers = await raw(world, "aud-us", f"/ledger/us/{tile.path()}")
        assert found == 200, tile
        assert "immutable" in headers["Cache-Control"]
        return data

    hashes = [leaf_hash(entry) for one in bundles_of(tree.size) for entry in unbundle(await file(one))]
    assert root(hashes) == tree.root
    level_0 = b"".join([await file(one) for one in tiles_of(tree.size) if one.level == 0])
    assert level_0 == b"".join(hashes)
    beyond = Tile(0, tree.size // 256, tree.size % 256 + 1).path()
    for path in (beyond, "tile/0/0", "tile/0/000.p/0", "tile/0/x000/000", "tile/64/000", "tile/1/000", "tile/../000"):
        assert await status(world, "aud-us", f"/ledger/us/{path}") == 404


async def test_a_receipt_that_is_not_ready_says_when_to_ask_again(world: World) -> None:
    publisher = world.hub.services.publisher
    publisher.halted = "held for a test"  # nothing is signed meanwhile
    try:
        _, body = await submit(world, "us-cyber")
        leaf = body["leaves"][0]
        found, text, headers = await raw(world, "us-cyber", f"/ledger/{leaf['log']}/receipt/{leaf['index']}")
    finally:
        publisher.halted = None
    assert (found, orjson.loads(text)["error_code"]) == (404, "receipt-pending")
    assert int(headers["Retry-After"]) > 0


async def test_a_suspended_member_may_not_even_prove(world: World) -> None:
    governance = world.hub.services.governance
    await governance.set_status(OPERATOR, "mx-marina", Status.SUSPENDED)
    found, body, _ = await raw(world, "mx-marina", "/ledger/both/checkpoint")
    assert (found, orjson.loads(body)["error_code"]) == (403, "member-suspended")
    await governance.set_status(OPERATOR, "mx-marina", Status.ACTIVE)
