"""What other TAXII servers were seen to do wrong, tried on ours: whoever changes over from one of them must not meet it again.

tests/vectors/peers/requirements.txt lists what was published of each, and `@pytest.mark.peer("MED-2a")` names the test
that holds a row; where another file had it already, its test bears the mark. tests/unit/test_requirements.py sees that
none is left out.
"""

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from exchange.cli import setup
from exchange.cli.setup import OPERATOR
from exchange.client.envelopes import Provenance, pack
from exchange.clock import FixedClock, SystemClock
from exchange.hub import running
from exchange.times import as_text, parse_us
from feeds.faults import FeedFault
from feeds.fetch import Caps, fetch
from feeds.guard import Reach
from feeds.taxii import TaxiiAdapter
from tests.places import ask
from tests.stix_examples import EXAMPLES
from tests.taxii import UNKNOWN, add, call, collection, get, ids, leaves, version
from tests.unit.test_feed_taxii import source
from tests.world import TAXII, World, free_port, make_world

LIMIT = 900_000


pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = (
    "SELECT string_agg(query_to_xml(format('SELECT * FROM %I', tablename), true, true, '')::text, '')"
    " FROM pg_tables WHERE schemaname = 'public'"
)
"""Of a PostgreSQL database, as text."""


@dataclass(frozen=True)
class Hubs:
    """One exchange as a client finds it at each of two hubs on one database, and the clock of both."""

    here: World
    there: World
    clock: FixedClock


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hubs(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Hubs]:
    clock = FixedClock()
    async with make_world(tmp_path_factory.mktemp("peers"), clock=clock, body_limit_bytes=LIMIT, **database) as world:
        port = free_port()
        settings = world.settings.model_copy(update={"port": port, "public_url": f"https://localhost:{port}"})
        async with running(settings, clock) as hub:
            yield Hubs(world, replace(world, settings=settings, hub=hub), clock)


@pytest.fixture
def world(hubs: Hubs) -> World:
    return hubs.here


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    """An empty collection that everybody may read and write; its id."""
    return await collection(world, ("all",), ("all",))


async def written(world: World) -> list[bytes]:
    """All entries of the ledger, and their private parts."""
    store = world.hub.services.store
    found = []
    for log, tree in (await store.trees()).items():
        found += await store.leaves(log, 0, tree.size)
        found += [one.payload for one in await store.openings(log, 0, tree.size)]
    return found


# --- pages ---


@pytest.mark.peer("MED-2a", "MED-2b", "AWB-2", "OTX-1c")
@pytest.mark.rule("PAG-14", "PAG-20")
async def test_a_walk_goes_on_at_any_hub_at_any_time_and_each_page_can_be_had_again(hubs: Hubs, fresh: str) -> None:
    """Each page from the other hub than the one before, an hour later and twice; what comes in meanwhile is at the end."""
    path = f"collections/{fresh}/objects/?limit=2"
    sent = [one["id"] for one in await add(hubs.here, fresh, 6)]
    found: list[str] = []
    following = ""
    for hub in (hubs.here, hubs.there, hubs.here, hubs.there):
        page = await get(hub, path + following)
        assert await get(hub, path + following) == page
        found += ids(page)
        following = f"&next={page['next']}" if page["more"] else ""
        hubs.clock.advance(seconds=3600)
        if hub is hubs.here:
            sent += [one["id"] for one in await add(hubs.there, fresh, 1)]
    assert (found, following) == (sent, "")


@pytest.mark.peer("MED-3a")
async def test_a_token_needs_nothing_beside_it(world: World, fresh: str) -> None:
    sent = [one["id"] for one in await add(world, fresh, 3)]
    for path in ("objects/", "manifest/"):
        first = await get(world, f"collections/{fresh}/{path}?limit=1")
        assert ids(first) + ids(await get(world, f"collections/{fresh}/{path}?next={first['next']}")) == sent


@pytest.mark.peer("AWB-1a", "AWB-1b", "OCT-1")
@pytest.mark.rule("FLT-03", "SRT-04", "SRT-06")
async def test_what_is_old_is_new_to_who_polls(world: World, fresh: str) -> None:
    """Years after it was made; and its next version is too, which dates nothing else anew."""
    old = {"created": "2015-03-01T12:00:00.000Z", "modified": "2015-03-01T12:00:00.000Z"}
    path = f"collections/{fresh}"
    [first] = await add(world, fresh, 1, **old, valid_from="2015-03-01T12:00:00Z")
    [before] = (await get(world, f"{path}/manifest/"))["objects"]
    second = version(world, first, "2016-03-01T12:00:00.000Z")
    await world.post("us-cyber", second, to=fresh)
    poll = f"{path}/objects/?added_after={before['date_added']}"
    _, body, headers = await call(world, "us-cyber", "GET", poll)
    assert body["objects"] == [second]
    kept, added = (await get(world, f"{path}/manifest/?match[version]=all"))["objects"]
    assert kept == before
    assert (kept["version"], added["version"]) == (first["modified"], second["modified"])
    last = headers["X-TAXII-Date-Added-Last"]
    assert last == headers["X-TAXII-Date-Added-First"] == added["date_added"] > before["date_added"]
    assert abs(parse_us(last) - world.clock.now_us()) < 60_000_000


@pytest.mark.peer("FRE-1")
async def test_answers_do_not_cross(world: World) -> None:
    """Many at once, of members who each may see another collection: everybody gets the own."""
    slugs = [slug for slug, member in world.members.items() if not member.auditor]
    own: dict[str, tuple[str, str]] = {}
    for slug in slugs:
        place = await collection(world, (f"member:{slug}",), ("member:us-cyber",))
        [sent] = await add(world, place, 1)
        own[slug] = (place, sent["id"])

    async def read(slug: str) -> None:
        place, sent = own[slug]
        assert ids(await get(world, f"collections/{place}/objects/", slug)) == [sent]
        shown = {one["id"] for one in (await get(world, "collections/", slug))["collections"] if one["can_read"]}
        assert shown & {place for place, _ in own.values()} == {place}

    await asyncio.gather(*(read(slug) for _ in range(12) for slug in slugs))


@pytest.mark.peer("ANY-1")
@pytest.mark.rule("SRT-02", "SRT-05", "FLT-07")
async def test_empty_answers_are_dated_too(world: World, fresh: str) -> None:
    """All four endpoints of objects: a client that keeps the header keeps its place."""
    [obj] = await add(world, fresh, 1)
    late = "2100-01-01T00:00:00.000000Z"
    for path in ("objects/", "manifest/", f"objects/{obj['id']}/", f"objects/{obj['id']}/versions/"):
        for method in ("GET", "HEAD"):
            url = f"collections/{fresh}/{path}?added_after={late}"
            status, body, headers = await call(world, "us-cyber", method, url)
            dates = headers["X-TAXII-Date-Added-First"], headers["X-TAXII-Date-Added-Last"]
            assert (status, body, dates) == (200, {}, (late, late))


# --- what is taken in ---


@pytest.mark.peer("OTX-2a", "OTX-2b")
@pytest.mark.rule("ADD-15")
async def test_no_valid_stix_is_a_fault(world: World, fresh: str) -> None:
    """An observable need not say its spec_version. A `modified` without fraction is not as precise as 3.2 asks: it is a
    failure that says so, beside a success; where 2.1 lets it pass, in a marking-definition's `created`, it is taken."""
    coarse = world.indicator("us-cyber", modified=as_text(world.clock.now_us())[:19] + "Z")
    good = world.signed("us-cyber")
    status = await world.post("us-cyber", coarse, good, to=fresh)
    assert [one["id"] for one in status["successes"]] == [good["id"]]
    assert (status["failures"][0]["x_code"], status["failures"][0]["x_field"]) == (
        "stix-timestamp-precision", "modified",
    )  # fmt: skip

    signer = world.home.signer("us-cyber", world.members["us-cyber"].identity_id)
    provenance = Provenance("vendor", "https://feed.example/", "2026-11-01T00:00:00Z")
    bare = {key: value for key, value in EXAMPLES["domain-name"].items() if key != "spec_version"}
    marking = EXAMPLES["marking-definition"] | {"created": "2026-03-01T12:00:00Z"}
    [envelope] = pack([bare, marking], signer, now_us=world.clock.now_us(), provenance=provenance)
    answered, body, _ = await call(world, "us-cyber", "POST", f"collections/{fresh}/objects/", envelope.body)
    assert (answered, body["failure_count"]) == (202, 0), body
    assert (await get(world, f"collections/{fresh}/objects/{bare['id']}/"))["objects"] == [bare]


@pytest.mark.peer("OTX-5a")
@pytest.mark.rule("ADD-22", "ADD-23")
async def test_two_hubs_given_one_object_at_once_store_it_once(hubs: Hubs, fresh: str) -> None:
    sent = [hubs.here.signed("us-cyber") for _ in range(10)]
    posts = (hub.post("us-cyber", one, to=fresh) for one in sent for hub in (hubs.here, hubs.there) * 2)
    statuses = await asyncio.gather(*posts)
    assert {status["success_count"] for status in statuses} == {1}
    assert sorted(await hubs.there.pull("mx-ciber", fresh)) == sorted(one["id"] for one in sent)


@pytest.mark.peer("OTX-5b")
async def test_what_is_refused_leaves_no_status_behind(world: World, fresh: str) -> None:
    """And none is ever pending: a status is written with what it tells of."""
    place = world.settings.database_url or world.settings.database
    before = await ask(place, "SELECT count(*) FROM status")
    status = await world.post("us-cyber", world.signed("us-cyber"), {"type": "indicator"}, to=fresh)
    assert (await get(world, f"status/{status['id']}/"))["pending_count"] == 0
    url = f"collections/{fresh}/objects/"
    for body in (b"junk", b"{}", b'{"objects":[]}', b'{"objects":{}}', b'{"objects":[{"a":1,"a":2}]}'):
        assert (await call(world, "us-cyber", "POST", url, body))[0] in (400, 422)
    assert (await call(world, "mx-ciber", "POST", "collections/us-domestic/objects/", b'{"objects":[{}]}'))[0] == 404
    assert await ask(place, "SELECT count(*) FROM status") == before + 1


@pytest.mark.peer("MSP-1", "MSP-4a")
async def test_nobody_is_spared_the_signature(world: World) -> None:
    """Whatever the role: a changed version of a stored object is refused, and the one that is stored stays."""
    for slug, member in world.members.items():
        place = await collection(world, ("all",), (f"member:{slug}",))
        signed = world.signed(slug)
        url = f"collections/{place}/objects/"
        status, body, _ = await call(world, slug, "POST", url, orjson.dumps({"objects": [signed]}))
        if member.auditor:
            assert status == 404, "to auditors there are no collections"
            continue
        assert (status, body["success_count"]) == (202, 1)
        changed = signed | {"modified": as_text(world.clock.now_us()), "name": "changed"}
        unsigned = {key: value for key, value in changed.items() if key != "extensions"}
        for sent, code in ((changed, "signature-invalid"), (unsigned, "signature-missing")):
            failure = (await world.post(slug, sent, to=place))["failures"][0]
            assert failure["x_code"] == code
        assert (await get(world, url, slug))["objects"] == [signed]


# --- errors ---


@pytest.mark.peer("OTX-6a", "OTX-2c", "OTX-2d", "OTX-2e", "OTX-3b", "OCT-3", "OCT-4", "MED-3b")
@pytest.mark.rule("ERR-01", "ERR-02", "ERR-03", "ERR-04", "NEG-04", "EP-04", "ADD-21", "FLT-37", "ROOT-07")
async def test_every_refusal_is_an_error_with_a_title(world: World, fresh: str) -> None:
    """TAXII 2.1, 3.6.1, with the status that the tables name, in either language."""
    objects = f"collections/{fresh}/objects/"
    json = {"Content-Type": TAXII}
    for method, path, expected, headers, body in (
        ("GET", f"{objects}?added_after=yesterday", 400, {}, None),
        ("GET", f"{objects}?limit=0", 400, {}, None),
        ("GET", f"{objects}?limit=-1", 400, {}, None),
        ("GET", f"{objects}?match[version]=garbage", 400, {}, None),
        ("POST", objects, 400, json, b"junk"),
        ("GET", objects, 401, {"Authorization": "Bearer no"}, None),
        ("DELETE", f"{objects}{UNKNOWN}/", 404, {}, None),
        ("GET", f"collections/{UNKNOWN[11:]}/objects/", 404, {}, None),
        ("POST", f"collections/{UNKNOWN[11:]}/objects/", 404, json, b'{"objects":[{}]}'),
        ("GET", "../not-a-uuid/", 404, {}, None),
        ("GET", "../not-a-uuid/collections/", 404, {}, None),
        ("PUT", objects, 405, {}, None),
        ("GET", objects, 406, {"Accept": "text/html"}, None),
        ("POST", objects, 413, json, b" " * (LIMIT + 1)),
        ("POST", objects, 415, {"Content-Type": "text/plain"}, b"{}"),
        ("POST", objects, 422, json, b"{}"),
    ):
        for language in ("en", "es"):
            sent = world.headers("us-cyber") | {"Accept-Language": language} | headers
            async with world.session.request(method, world.root + path, headers=sent, data=body) as answer:
                error = orjson.loads(await answer.read())
            assert answer.status == expected, (method, path, error)
            assert answer.headers["Content-Type"] == TAXII
            assert error["http_status"] == str(expected)
            texts = ("title", "description", "error_id", "error_code")
            assert all(isinstance(error[name], str) and error[name] for name in texts), (method, path)
            assert not error.keys() - {*texts, "http_status", "details"}


# --- credentials ---


@pytest.mark.peer("OTX-1a", "OTX-1c")
@pytest.mark.rule("AUT-03")
async def test_a_token_ends_at_its_second_or_when_it_is_ended(hubs: Hubs) -> None:
    """At every hub, from the next request on."""
    governance = hubs.here.hub.services.governance

    async def statuses(token: str) -> list[int]:
        headers = {"Accept": TAXII, "Authorization": f"Bearer {token}"}
        found = []
        for hub in (hubs.here, hubs.there):
            async with hub.session.get(f"{hub.root}collections/", headers=headers) as answer:
                found.append(answer.status)
        return found

    _, day = await governance.create_token(OPERATOR, "us-cyber", days=1)
    hubs.clock.advance(seconds=86_400 - 0.000_001)
    assert await statuses(day) == [200, 200]
    hubs.clock.advance(seconds=0.000_001)
    assert await statuses(day) == [401, 401]

    credential, other = await governance.create_token(OPERATOR, "us-cyber", days=1)
    assert await statuses(other) == [200, 200]
    await governance.end_credential(OPERATOR, credential.id)
    assert await statuses(other) == [401, 401]


@pytest.mark.peer("OTX-1b", "ARA-2a", "ARA-2b")
async def test_no_token_is_written_down(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """Valid ones and others, in any of the headers: not in a log, not in the ledger, not in the database."""
    tokens = [*world.tokens.values(), "puente_0123456789abcdef_NotTheSecretOfAnybody"]
    for token in tokens:
        for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": f"Tokn {token}"}, {"X-API-Key": token}):
            async with world.session.get(f"{world.root}?next={token}", headers=headers) as answer:
                assert token not in await answer.text()
    said = capfd.readouterr()
    if world.settings.database_url:
        stored = [(await ask(world.settings.database_url, EVERYTHING)).encode()]
    else:
        stored = [file.read_bytes() for file in world.settings.database.parent.glob(f"{world.settings.database.name}*")]
    places = [said.out.encode(), said.err.encode(), *stored, *await written(world)]
    assert b"request" in places[0] + places[1] and any(b"us-cyber" in text for text in stored)
    for token in tokens:
        secret = token.split("_", 2)[2].encode()
        assert not any(secret in text for text in places)


@pytest.mark.peer("OTX-1d")
async def test_no_two_hubs_have_a_secret_in_common(tmp_path: Path) -> None:
    """Nor is any of them for others to read."""

    def secrets(name: str) -> Iterator[bytes]:
        home = setup.create(tmp_path / name, SystemClock())
        for path in home.root.rglob("*"):
            if path.is_file() and (path.suffix == ".key" or ("key" in path.parent.name and path.suffix != ".pem")):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
                yield path.read_bytes()

    one, other = list(secrets("one")), list(secrets("other"))
    assert len(one) == len(other) > 6
    assert len({*one, *other}) == 2 * len(one)


@pytest.mark.peer("DAR-5")
async def test_where_a_request_comes_from_is_not_for_it_to_say(world: World, fresh: str) -> None:
    """The private part of an entry holds the address of the connection."""
    await add(world, fresh, 1)
    claimed = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Client-IP"), "203.0.113.9")
    path = f"collections/{fresh}/objects/"
    await call(world, "us-cyber", "GET", path, **claimed, Forwarded="for=203.0.113.9")
    assert (await call(world, "us-cyber", "GET", f"{path}?next=x", **claimed))[0] == 400
    assert await leaves(world, "us", "deny")
    private = [text for text in await written(world) if b'"address"' in text]
    assert private and all(orjson.loads(text)["address"] in ("127.0.0.1", "::1") for text in private)
    assert not any(b"203.0.113.9" in text for text in private)


# --- feeds ---


@pytest.mark.peer("OCT-6")
async def test_no_feed_believes_an_unknown_certificate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own hub is the source, whose authority no feed was told of. The password is never sent."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    url = f"{world.root}collections/{world.collections['indicators']}/"
    with pytest.raises(FeedFault) as refused:
        await fetch(url, caps=Caps(), reach=Reach(loopback=True))
    assert refused.value.code == "feed-certificate"
    unknown = source(url, plain_http=False)
    with pytest.raises(FeedFault) as refused:
        await TaxiiAdapter(world.members["us-cyber"].identity_id, unknown).fetch(unknown, {})
    assert refused.value.code == "feed-unreachable"
