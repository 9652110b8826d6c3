"""Block lists on a whole hub: who is given what, what never is, and what is told of it in the log."""

import asyncio
import csv
import io
import random
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import structlog

from certs.jcs import canonical
from exchange.cli.products import Place, fields
from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.edl.lists import Lists
from exchange.edl.text import KINDS_OF, Wanted
from exchange.errors import Unavailable
from exchange.ledger.merkle import root
from exchange.model.product import PRODUCTS
from exchange.model.stix import StixObject
from exchange.rules import Caller
from exchange.times import as_millis_text
from policies.markings import PAP_EXTENSION
from tests.places import order
from tests.taxii import call, collection, leaves
from tests.world import TLP2, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_US = 86_400_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    knobs: dict[str, Any] = {"assets": {"us-port-gulf": ["203.0.113.64/26", "puerto.example.org"]}}
    async with make_world(tmp_path_factory.mktemp("edl"), clock=FixedClock(), **knobs, **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    """The alias of a collection that all read and agencies and operators write."""
    identity = await collection(world, ("all",), ("role:agency", "role:operator"))
    return f"c-{identity[:8]}"


async def fetch(world: World, slug: str, path: str, **headers: str) -> tuple[int, bytes, Any]:
    sent = {"Authorization": f"Bearer {world.tokens[slug]}", **headers}
    async with world.session.get(f"{world.hub.url}/edl/v1/{path}", headers=sent) as answer:
        return answer.status, await answer.read(), answer.headers


async def listed(world: World, slug: str, path: str) -> list[str]:
    status, body, _ = await fetch(world, slug, path)
    assert status == 200, body
    return body.decode().splitlines()


async def put(world: World, slug: str, to: str, pattern: str, **more: Any) -> dict[str, Any]:
    obj = world.signed(slug, pattern=pattern, **more)
    status = await world.post(slug, obj, to=to)
    assert status["success_count"] == 1, status
    return obj


async def revise(world: World, slug: str, to: str, obj: dict[str, Any], **more: Any) -> dict[str, Any]:
    world.clock.advance(seconds=1)  # type: ignore[attr-defined]
    plain = {key: value for key, value in obj.items() if key != "extensions"} | more
    signed = world.sign(slug, plain | {"modified": as_millis_text(world.clock.now_us())})
    status = await world.post(slug, signed, to=to)
    assert status["success_count"] == 1, status
    return signed


def ip(number: int) -> str:
    return f"[ipv4-addr:value = '198.51.{100 + number // 250}.{number % 250}']"


# --- what is in them ---


async def test_every_kind_has_its_file(world: World, fresh: str) -> None:
    sha = "a" * 64
    for pattern in (
        "[ipv4-addr:value = '198.51.100.9' OR ipv4-addr:value = '198.51.100.10/32']",
        "[ipv4-addr:value ISSUBSET '192.0.2.0/28'] OR [ipv6-addr:value = '2001:DB8:0:0::1']",
        "[domain-name:value IN ('Bad.Example.', 'aduanas-m\u00e9xico.example')]",
        "[url:value = 'HTTP://Evil.example/Pay?x=1#top']",
        f"[file:hashes.'SHA-256' = '{sha.upper()}'] OR [file:hashes.MD5 = '{'b' * 32}'] OR [file:hashes.'SHA-1' = '{'c' * 40}']",
    ):
        await put(world, "us-cyber", fresh, pattern, name="=cmd|' /C calc'!A0", valid_until="2027-06-01T00:00:00Z")
    expected = {
        "ipv4.txt": ["192.0.2.0/28", "198.51.100.10", "198.51.100.9"],
        "ipv6.txt": ["2001:db8::1"],
        "domains.txt": ["bad.example", "xn--aduanas-mxico-jhb.example"],
        "urls.txt": ["http://evil.example/Pay?x=1"],
        "sha256.txt": [sha], "sha1.txt": ["c" * 40], "md5.txt": ["b" * 32],
    }  # fmt: skip
    for file, lines in expected.items():
        assert await listed(world, "mx-ciber", f"{fresh}/{file}") == lines, file
    assert await listed(world, "mx-ciber", f"{fresh}/urls.txt?scheme=strip") == ["evil.example/Pay?x=1"]
    assert await listed(world, "mx-ciber", f"{fresh}/md5.txt?comments=1") == [f"# {fresh} md5.txt: 1", "b" * 32]
    assert "*.bad.example" in await listed(world, "mx-ciber", f"{fresh}/domains.txt?wildcard=1")

    zeek = [line.split("\t") for line in await listed(world, "mx-ciber", f"{fresh}/zeek.intel")]
    assert {len(row) for row in zeek[1:]} == {len(zeek[0]) - 1} == {4}
    assert {(row[0], row[1]) for row in zeek[1:]} >= {
        ("192.0.2.0/28", "Intel::SUBNET"), ("198.51.100.9", "Intel::ADDR"), ("2001:db8::1", "Intel::ADDR"),
        ("bad.example", "Intel::DOMAIN"), ("evil.example/Pay?x=1", "Intel::URL"), (sha, "Intel::FILE_HASH"),
    }  # fmt: skip
    status, body, headers = await fetch(world, "mx-ciber", f"{fresh}/indicators.csv")
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8; header=present")
    assert [row["value"] for row in rows] == [line for lines in expected.values() for line in lines]
    assert {(row["confidence"], row["valid_until"][:10], row["name"][:2]) for row in rows} == {
        ("80", "2027-06-01", "'=")
    }
    assert (headers["X-Puente-Entries"], body.count(b"\r\n")) == ("10", 11)

    status, body, _ = await fetch(world, "mx-ciber", f"{fresh}/indicators.ndjson")
    assert {orjson.loads(line)["id"] for line in body.splitlines()} == set(await world.pull("mx-ciber", fresh))


async def test_lines_of_ndjson_are_what_was_signed(world: World, fresh: str) -> None:
    obj = await put(world, "us-cyber", fresh, ip(1), name="señal")
    assert (await fetch(world, "mx-ciber", f"{fresh}/indicators.ndjson"))[1] == canonical(obj) + b"\n"


async def test_the_surest_and_newest_of_a_long_list(world: World, fresh: str) -> None:
    for number, confidence in ((1, 80), (2, 95), (3, 80), (4, 71)):
        await put(world, "us-cyber", fresh, ip(number), confidence=confidence)
    assert await listed(world, "mx-ciber", f"{fresh}/ipv4.txt?top=2") == ["198.51.100.2", "198.51.100.3"]
    assert len(await listed(world, "mx-ciber", f"{fresh}/ipv4.txt?top=9")) == 4


# --- what never is ---


async def test_members_are_listed_what_each_may_see(world: World, fresh: str) -> None:
    await put(world, "us-cyber", fresh, ip(1), tlp="amber+strict")  # authorities of both, no operator
    await put(world, "us-cyber", fresh, ip(2), confidence=40)  # authorities of both, operators of the US
    await put(world, "mx-puerto-pac", fresh, ip(3), confidence=10)  # too doubtful to cross
    await put(world, "us-cyber", "us-domestic", "[ipv4-addr:value = '198.51.100.99']")
    seen = {
        slug: [line.rpartition(".")[2] for line in await listed(world, slug, f"{fresh}/ipv4.txt")]
        for slug in ("us-cyber", "us-customs", "mx-ciber", "us-port-gulf", "mx-puerto-pac")
    }
    assert seen == {
        "us-cyber": ["1", "2"], "us-customs": ["1", "2"], "mx-ciber": ["1", "2", "3"], "us-port-gulf": ["2"],
        "mx-puerto-pac": ["3"],
    }  # fmt: skip
    assert await listed(world, "us-customs", "us-domestic/ipv4.txt") == ["198.51.100.99"]
    hidden, absent = [await fetch(world, "mx-ciber", f"{name}/ipv4.txt") for name in ("us-domestic", "nothing")]
    assert hidden[0] == absent[0] == 404
    assert orjson.loads(hidden[1])["error_code"] == orjson.loads(absent[1])["error_code"] == "no-such-list"
    for slug, path, expected in (
        ("aud-us", f"{fresh}/ipv4.txt", 404), ("us-cyber", f"{fresh}/ipv5.txt", 404), ("us-cyber", f"{fresh}/ipv4.txt?top=0", 400),
        ("us-cyber", f"{fresh}/urls.txt?scheme=drop", 400), ("us-cyber", f"{fresh}/ipv4.txt?comments=yes", 400),
    ):  # fmt: skip
        assert (await fetch(world, slug, path))[0] == expected, path
    async with world.session.get(f"{world.hub.url}/edl/v1/{fresh}/ipv4.txt") as answer:
        assert answer.status == 401


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_a_list_is_within_what_its_member_can_pull(world: World, fresh: str, seed: int) -> None:
    """Random submissions, versions, revocations and deletions by all who may write; every list checked against TAXII."""
    chance = random.Random(seed)
    writers = ("us-cyber", "us-port-gulf", "mx-ciber", "mx-puerto-pac")
    held: list[tuple[str, dict[str, Any]]] = []
    for number in range(40):
        what = chance.random()
        if what < 0.6 or not held:
            slug = chance.choice(writers)
            marks = {"tlp": chance.choice(["clear", "green", "amber", "amber+strict"])}
            obj = await put(world, slug, fresh, ip(number % 25), confidence=chance.choice([5, 50, 75, 95]), **marks)
            held.append((slug, obj))
        elif what < 0.85:
            slug, obj = held.pop(chance.randrange(len(held)))
            more = chance.choice(
                [{"revoked": True}, {"pattern": ip(number + 100)}, {"object_marking_refs": [TLP2["amber+strict"]]}]
            )
            changed = await revise(world, slug, fresh, obj, **more)
            if not changed.get("revoked"):
                held.append((slug, changed))
        else:
            slug, obj = held.pop(chance.randrange(len(held)))
            await call(world, slug, "DELETE", f"collections/{world.collections[fresh]}/objects/{obj['id']}/")
        if number % 8 == 7:
            for slug in (*writers, "us-customs", "mx-aduanas"):
                status, body, _ = await world.get(slug, f"collections/{world.collections[fresh]}/objects/")
                assert status == 200
                shown = [
                    one for one in body.get("objects", ()) if one["type"] == "indicator"
                ]  # and notices, which come when they come
                permitted = {one["pattern"][20:-2] for one in shown if not one.get("revoked")}
                found = await listed(world, slug, f"{fresh}/ipv4.txt")
                assert set(found) <= permitted, slug
                assert found == sorted(set(found))


async def test_nothing_is_blocked_that_nobody_allowed_to_block(world: World, fresh: str) -> None:
    """PAP:AMBER forbids any act that the adversary could notice, and imported material has no clause that lets it block."""
    pap = world.sign("us-cyber", {
        "type": "marking-definition", "spec_version": "2.1", "id": "marking-definition--60f8932b-e51e-4458-b265-a2e8be9a80ab",
        "created_by_ref": world.members["us-cyber"].identity_id, "created": "2026-01-01T00:00:00.000Z", "name": "PAP:AMBER",
        "extensions": {PAP_EXTENSION: {"extension_type": "property-extension", "pap": "amber"}},
    })  # fmt: skip
    tlp = world.indicator("us-cyber")["object_marking_refs"]
    marked = world.signed("us-cyber", pattern=ip(1), object_marking_refs=[*tlp, pap["id"]])
    assert (await world.post("us-cyber", pap, marked, to=fresh))["failure_count"] == 0
    assert marked["id"] in await world.pull("mx-ciber", fresh)
    assert await listed(world, "mx-ciber", f"{fresh}/ipv4.txt") == []
    found = (await world.hub.services.rulebook.current()).collection(fresh)
    assert found is not None
    shown = await world.hub.services.lists.show(world.members["mx-ciber"], found)
    assert dict(shown.left) == {"not-for-blocking": 1}


async def test_only_what_alone_would_match_is_taken(world: World, fresh: str) -> None:
    for pattern in (
        "[ipv4-addr:value = '198.51.100.1' AND ipv4-addr:belongs_to_refs[0].number = 64496]",
        "[ipv4-addr:value != '198.51.100.2']",
        "[ipv4-addr:value NOT = '198.51.100.3']",
        "[ipv4-addr:value = '198.51.100.4'] FOLLOWEDBY [ipv4-addr:value = '198.51.100.5']",
        "[ipv4-addr:value = '198.51.100.6'] AND [domain-name:value = 'a.example']",
        "([ipv4-addr:value = '198.51.100.7'] OR [ipv4-addr:value = '198.51.100.8']) WITHIN 5 SECONDS",
        "[domain-name:value LIKE '%.example']",
        "[file:name = 'x.exe']",
    ):
        await put(world, "us-cyber", fresh, pattern)
    assert (await fetch(world, "mx-ciber", f"{fresh}/indicators.csv"))[1].count(b"\n") == 1
    found = (await world.hub.services.rulebook.current()).collection(fresh)
    assert found is not None
    shown = await world.hub.services.lists.show(world.members["mx-ciber"], found)
    assert dict(shown.left) == {"pattern-compound": 7, "property": 1}


async def test_revoked_expired_not_yet_and_deleted_are_gone(world: World, fresh: str) -> None:
    now = world.clock.now_us()
    revoked = await put(world, "us-cyber", fresh, ip(1))
    deleted = await put(world, "us-cyber", fresh, ip(2))
    await put(world, "us-cyber", fresh, ip(3), valid_until=as_millis_text(now + 60_000_000)[:19] + "Z")
    await put(world, "us-cyber", fresh, ip(4), valid_from=as_millis_text(now + 120_000_000)[:19] + "Z")
    tightened = await put(world, "us-cyber", fresh, ip(5))
    path = f"{fresh}/ipv4.txt"
    assert [one[-1] for one in await listed(world, "mx-puerto-pac", path)] == ["1", "2", "3", "5"]

    await revise(world, "us-cyber", fresh, revoked, revoked=True)
    assert [one[-1] for one in await listed(world, "mx-puerto-pac", path)] == ["2", "3", "5"]
    gone = f"collections/{world.collections[fresh]}/objects/{deleted['id']}/"
    assert (await call(world, "us-cyber", "DELETE", gone))[0] == 200
    assert [one[-1] for one in await listed(world, "mx-puerto-pac", path)] == ["3", "5"]
    # The port may not see the version that its author tightened; its device must not go on by the one before.
    strict = world.indicator("us-cyber", tlp="amber+strict")["object_marking_refs"]
    await revise(world, "us-cyber", fresh, tightened, object_marking_refs=strict)
    assert tightened["id"] not in await world.pull("mx-puerto-pac", fresh), "nor its analysts"
    assert [one[-1] for one in await listed(world, "mx-puerto-pac", path)] == ["3"]
    world.clock.advance(seconds=60)  # type: ignore[attr-defined]
    assert await listed(world, "mx-puerto-pac", path) == []
    world.clock.advance(seconds=60)  # type: ignore[attr-defined]
    assert [one[-1] for one in await listed(world, "mx-puerto-pac", path)] == ["4"]


async def test_a_members_own_are_taken_in_by_nobody(world: World, fresh: str) -> None:
    for pattern in ("[ipv4-addr:value = '203.0.113.70']", "[domain-name:value = 'vpn.puerto.example.org']"):
        status = await world.post("us-cyber", world.signed("us-cyber", pattern=pattern), to=fresh)
        assert status["failures"][0]["x_code"] == "warninglist-held"
    # Many devices block all that is below a domain, so one that has a member's below it is not listed either.
    await put(world, "us-cyber", fresh, "[domain-name:value = 'example.org']")
    await put(world, "us-cyber", fresh, "[domain-name:value = 'puerta.example.org']")
    assert await listed(world, "us-cyber", f"{fresh}/domains.txt") == ["puerta.example.org"]


# --- ETags, and what the log says ---


async def test_a_device_that_has_the_list_costs_a_304(world: World, fresh: str) -> None:
    await put(world, "us-cyber", fresh, ip(1))
    path = f"{fresh}/ipv4.txt"
    status, body, headers = await fetch(world, "mx-ciber", path)
    assert (status, body, headers["Cache-Control"]) == (200, b"198.51.100.1\n", "private, no-cache")
    before = len(await leaves(world, "both", "release"))
    for known in (
        {"If-None-Match": headers["ETag"]}, {"If-None-Match": f'"x", W/{headers["ETag"]}'}, {"If-None-Match": "*"},
        {"If-Modified-Since": headers["Last-Modified"]},
    ):  # fmt: skip
        status, nothing, again = await fetch(world, "mx-ciber", path, **known)
        assert (status, nothing) == (304, b""), known
        assert {one: again[one] for one in ("ETag", "Last-Modified")} == {
            one: headers[one] for one in ("ETag", "Last-Modified")
        }
    # The very same to the very same account is no news either, and names the entry that there is.
    assert (await fetch(world, "mx-ciber", path))[2]["X-Audit-Leaf"] == headers["X-Audit-Leaf"]
    assert len(await leaves(world, "both", "release")) == before
    await put(world, "us-cyber", fresh, ip(1), name="another of the same")
    assert (await fetch(world, "mx-ciber", path, **{"If-None-Match": headers["ETag"]}))[0] == 304, "equal content"
    await put(world, "us-cyber", fresh, ip(2))
    for known in ({"If-None-Match": headers["ETag"]}, {"If-Modified-Since": headers["Last-Modified"]}):
        status, body, changed = await fetch(world, "mx-ciber", path, **known)
        assert (status, body) == (200, b"198.51.100.1\n198.51.100.2\n"), "though the clock stands still"
    assert changed["ETag"] != headers["ETag"]
    assert (await fetch(world, "mx-ciber", path, **{"If-Modified-Since": "yesterday"}))[0] == 200


async def test_a_long_list_is_packed_for_who_asks(world: World, fresh: str) -> None:
    await many(world, fresh, 240)
    plain, packed = [
        await fetch(world, "mx-ciber", f"{fresh}/ipv4.txt", **{"Accept-Encoding": coding})
        for coding in ("identity", "gzip")
    ]
    assert plain[1] == packed[1] and plain[1].count(b"\n") == 240
    assert (plain[2].get("Content-Encoding"), packed[2]["Content-Encoding"]) == (None, "gzip")
    assert int(packed[2]["Content-Length"]) < int(plain[2]["Content-Length"]) / 2
    assert plain[2]["ETag"] != packed[2]["ETag"]
    for known in (plain[2]["ETag"], packed[2]["ETag"]):
        assert (await fetch(world, "mx-ciber", f"{fresh}/ipv4.txt", **{"If-None-Match": known}))[0] == 304


async def test_each_build_is_recorded_before_it_leaves(world: World, fresh: str) -> None:
    mine = await put(world, "mx-ciber", fresh, "[ipv4-addr:value = '198.51.100.1']")
    theirs = [await put(world, "us-cyber", fresh, ip(number)) for number in (2, 3)]
    await put(world, "us-cyber", fresh, "[domain-name:value = 'not-in-this.example']")
    _, _, headers = await fetch(world, "mx-ciber", f"{fresh}/ipv4.txt")
    cited = [one.rpartition("/") for one in headers["X-Audit-Leaf"].split(", ")]
    assert [origin.rpartition("/")[2] for origin, _, _ in cited] == ["both", "mx"]
    for (origin, _, index), objects in zip(cited, (theirs, [mine]), strict=True):
        log = origin.rpartition("/")[2]
        [data] = await world.hub.services.store.leaves(log, int(index), int(index) + 1)
        leaf = orjson.loads(data)
        items = [StixObject.of(obj, canonical(obj)).item for obj in objects]
        assert (leaf["t"], leaf["pub"]["kind"], leaf["pub"]["count"]) == ("release", "edl", len(objects))
        assert leaf["pub"]["items_root"] == root(items).hex()
        [opening] = await world.hub.services.store.openings(log, int(index), int(index) + 1)
        private = orjson.loads(opening.payload)
        assert (private["file"], private["sha256"]) == ("ipv4.txt", headers["ETag"].strip('"'))
    # Each account by itself: who saw what is true for devices, too.
    governance = world.hub.services.governance
    kept = world.tokens["mx-ciber"]
    before = len(await leaves(world, "both", "release"))
    try:
        second, world.tokens["mx-ciber"] = await governance.create_token(OPERATOR, "mx-ciber", days=1)
        _, _, again = await fetch(world, "mx-ciber", f"{fresh}/ipv4.txt")
    finally:
        world.tokens["mx-ciber"] = kept
    entries = await leaves(world, "both", "release")
    assert (len(entries), entries[-1]["actor"].endswith(second.id)) == (before + 1, True)
    assert again["ETag"] == headers["ETag"]


async def test_what_cannot_be_recorded_does_not_leave(world: World, fresh: str) -> None:
    await put(world, "us-cyber", fresh, ip(1))
    place = world.settings.database_url or world.settings.database
    await order(place, "UPDATE head SET state = 'halted'")
    try:
        status, body, _ = await fetch(world, "mx-ciber", f"{fresh}/ipv4.txt")
    finally:
        await order(place, "UPDATE head SET state = 'open'")
    assert (status, orjson.loads(body)["error_code"]) == (503, "ledger-halted")


async def test_a_fault_is_503_and_never_an_empty_list(world: World, fresh: str) -> None:
    """What is stored can no longer be read: no file of the list comes, and none of them is empty."""
    await put(world, "us-cyber", fresh, ip(1))
    assert await listed(world, "mx-ciber", f"{fresh}/ipv4.txt")
    await put(world, "us-cyber", fresh, ip(2))
    place = world.settings.database_url or world.settings.database
    await order(place, "CREATE TABLE kept AS SELECT first_tick, bodies FROM run")
    await order(place, "UPDATE run SET bodies = substr(bodies, 1, length(bodies) - 9) WHERE length(bodies) > 9")
    for file in KINDS_OF:
        status, body, headers = await fetch(world, "mx-ciber", f"{fresh}/{file}")
        assert (status, orjson.loads(body)["error_code"]) == (503, "list-fault"), file
        assert int(headers["Retry-After"]) > 0
    await order(place, "UPDATE run SET bodies = (SELECT bodies FROM kept WHERE kept.first_tick = run.first_tick)")
    await order(place, "DROP TABLE kept")
    assert len(await listed(world, "mx-ciber", f"{fresh}/ipv4.txt")) == 2


# --- the guard ---


async def many(world: World, to: str, count: int, start: int = 0) -> list[dict[str, Any]]:
    objects = [world.signed("us-cyber", pattern=ip(start + number)) for number in range(count)]
    assert (await world.post("us-cyber", *objects, to=to))["success_count"] == count
    return objects


async def drop(world: World, to: str, objects: list[dict[str, Any]]) -> None:
    for obj in objects:
        await call(world, "us-cyber", "DELETE", f"collections/{world.collections[to]}/objects/{obj['id']}/")


def another(world: World) -> Lists:
    """As another process of the hub has it."""
    services = world.hub.services
    return Lists(
        services.store,
        services.sequencer,
        services.rulebook,
        services.release,
        services.lists._known,
        services.clock,
        services.settings,
    )


@pytest.mark.parametrize(
    ("before", "now", "fell"),
    [(20, 10, False), (20, 9, True), (9, 0, False), (10, 4, True), (5000, 4000, False), (5000, 3999, True), (0, 0, False),
     (20, 30, False)],
)  # fmt: skip
async def test_what_is_a_fall(world: World, before: int, now: int, fell: bool) -> None:
    """More than half of it, or more than a thousand entries; a list of a few may empty."""
    assert another(world)._fell(before, now) is fell


async def test_half_of_a_list_may_go_and_who_never_had_it_has_nothing_to_lose(world: World, fresh: str) -> None:
    objects = await many(world, fresh, 20)
    path = f"{fresh}/ipv4.txt"
    assert len(await listed(world, "mx-ciber", path)) == 20
    await drop(world, fresh, objects[:10])
    assert len(await listed(world, "mx-ciber", path)) == 10
    await drop(world, fresh, objects[10:18])
    assert len(await listed(world, "us-customs", path)) == 2
    assert len(await listed(world, "mx-ciber", path)) == 10, "held: the last one had ten"


async def test_the_alarm_the_old_list_and_its_release(world: World, fresh: str) -> None:
    objects = await many(world, fresh, 20)
    path = f"{fresh}/ipv4.txt"
    full = await listed(world, "mx-ciber", path)
    await drop(world, fresh, objects[:11])
    await put(world, "us-cyber", fresh, "[domain-name:value = 'b.example']")
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            assert await listed(world, "mx-ciber", path) == full, "the old one is kept"
    [alarm] = [one for one in logged if one["event"] == "block list held"]
    assert {key: alarm[key] for key in ("member", "list", "kind", "had", "has", "log_level")} == {
        "member": "mx-ciber", "list": fresh, "kind": "ipv4", "had": 20, "has": 9, "log_level": "error",
    }  # fmt: skip
    assert await listed(world, "mx-ciber", f"{fresh}/domains.txt") == ["b.example"], "other kinds go on"
    assert (await fetch(world, "mx-ciber", f"{fresh}/indicators.csv"))[1].count(b"198.51") == 20

    # A process that never saw the old one has nothing to give: devices keep what they have.
    found = (await world.hub.services.rulebook.current()).collection(fresh)
    assert found is not None
    other = another(world)
    shown = await other.show(world.members["mx-ciber"], found)
    assert (dict(shown.held), shown.lost) == ({"ipv4": 9}, {"ipv4"})

    await other.let_fall(OPERATOR, world.members["mx-ciber"], found)
    assert len(await listed(world, "mx-ciber", path)) == 9
    [entry] = [one for one in await leaves(world, "mx", "edl.release") if one["on"] == f"coll:{found.id}"]
    assert entry["pub"] == {"member": "mx-ciber"}


async def test_two_processes_watch_one_list(world: World, fresh: str) -> None:
    """What the one delivered the other knows of: a fall from there is a fall, and what it never saw it does not make up."""
    one, other = another(world), another(world)
    found = (await world.hub.services.rulebook.current()).collection(fresh)
    assert found is not None
    caller, ipv4 = Caller(world.members["mx-ciber"], "device"), Wanted("ipv4.txt")

    async def read(lists: Lists) -> int:
        return (await lists.give(caller, found, ipv4, lambda *_: False)).file.count

    objects = await many(world, fresh, 20)
    assert await read(one) == 20
    more = await many(world, fresh, 20, start=20)
    assert await read(other) == 40
    await drop(world, fresh, [*objects, *more[:2]])
    assert await read(other) == 40, "held"
    with pytest.raises(Unavailable) as refused:
        await read(one)
    assert refused.value.code == "list-held"
    await one.let_fall(OPERATOR, caller.member, found)
    assert (await read(one), await read(other)) == (18, 18)


async def test_what_the_agreement_takes_away_goes_at_once_even_from_a_held_list(world: World, fresh: str) -> None:
    objects = await many(world, fresh, 20)
    path = f"{fresh}/ipv4.txt"
    assert len(await listed(world, "mx-aduanas", path)) == 20
    await drop(world, fresh, objects[:15])
    assert len(await listed(world, "mx-aduanas", path)) == 20, "held"
    governance, member = world.hub.services.governance, world.members["mx-aduanas"]
    await governance.put_member(OPERATOR, replace(member, roles=("feed",)))
    try:
        assert await listed(world, "mx-aduanas", path) == []
    finally:
        await governance.put_member(OPERATOR, member)
    # What the other tests placed opens to it again too: more than one answer gives.
    await world.hub.services.release.views.catch_up()
    assert len(await listed(world, "mx-aduanas", path)) == 5


# --- credentials, many devices ---


async def test_a_device_is_told_before_its_credential_ends(world: World, fresh: str) -> None:
    governance, kept = world.hub.services.governance, world.tokens["us-maritime"]
    path = f"{world.hub.url}/edl/v1/{fresh}/ipv4.txt"
    try:
        for days, warned in ((31, None), (30, "30d"), (14, "14d"), (3, "3d"), (1, "1d")):
            _, world.tokens["us-maritime"] = await governance.create_token(
                OPERATOR, "us-maritime", days=days, product="fortigate"
            )
            async with world.session.get(path, headers=world.headers("us-maritime")) as answer:
                assert answer.status == 200
                assert answer.headers.get("X-Puente-Credential-Warning") == warned
                assert answer.headers["X-Puente-Credential-Expires"].endswith("Z")
            async with world.session.get(f"{world.hub.url}/api/v1/me", headers=world.headers("us-maritime")) as answer:
                me = await answer.json()
            assert me["warning_days"] == (None if warned is None else int(warned[:-1]))
            assert me["product"] == "fortigate"
    finally:
        world.tokens["us-maritime"] = kept
    assert (await fetch(world, "us-maritime", f"{fresh}/ipv4.txt"))[0] == 200, "the first one is good beside the others"


async def test_many_devices_at_once_are_given_one_build(world: World, fresh: str, tmp_path: Path) -> None:
    await many(world, fresh, 30)
    lists = world.hub.services.lists
    answers = await asyncio.gather(*[fetch(world, "mx-ciber", f"{fresh}/ipv4.txt") for _ in range(40)])
    assert {status for status, _, _ in answers} == {200}
    assert len({headers["ETag"] for _, _, headers in answers}) == 1
    kept = [question for question in lists._files._kept if question[0] == world.collections[fresh]]  # type: ignore[index]
    assert len(kept) == 1
    # Two members with the same grants share it, too.
    assert await listed(world, "mx-aduanas", f"{fresh}/ipv4.txt") == await listed(
        world, "mx-ciber", f"{fresh}/ipv4.txt"
    )
    assert len([question for question in lists._files._kept if question[0] == world.collections[fresh]]) == 1  # type: ignore[index]
    assert Wanted("ipv4.txt") in {question[1] for question in kept}  # type: ignore[index]


@pytest.mark.parametrize("name", PRODUCTS)
async def test_what_is_printed_for_a_product_leads_to_answers(world: World, fresh: str, name: str) -> None:
    """Each URL, by the user name and password or the header that stand beside it."""
    await put(world, "us-cyber", fresh, ip(1))
    services = world.hub.services
    _, token = await services.governance.create_token(OPERATOR, "mx-ciber", days=90, product=name)
    settings = services.settings
    found = (await services.rulebook.current()).collection(fresh)
    assert found is not None
    at = Place(
        settings.public_url, settings.api_root, found.id, found.alias, found.title, token, str(world.home.ca_file)
    )
    lines = fields(name, at, "en")
    told = dict(lines)
    headers = [value for field, value in lines if "header" in field.lower()]
    if not headers and "Token" in told:
        headers = [f"Authorization: {told['Authentication']} {told['Token']}"]
    if not headers:
        user, password = told.get("User name", told.get("Username")), told["Password"]
        if name == "xsoar":  # says by this name that the password goes behind the scheme Token
            assert user == "_api_token_key"
            headers = [f"Authorization: Token {password}"]
        else:
            headers = ["Authorization: Basic " + b64encode(f"{user}:{password}".encode()).decode()]
    urls = [value.replace("stix://", "https://") for _, value in lines if "://" in value]
    if name == "misp":
        urls.append(f"{told['Base URL']}//{told['API root']}//collections/{told['Collection']}/objects/")
        urls.remove(told["Base URL"])
    assert urls
    for url in urls:
        for header in headers:
            key, _, value = header.partition(": ")
            for one in (url, url.rstrip("/")):
                async with world.session.get(one, headers={key: value}, allow_redirects=False) as answer:
                    assert answer.status == 200, (one, key)
    if name not in ("xsoar", "generic"):
        objects = f"{at.root}collections/{found.id}/objects/"
        assert found.id in told.values() or any(objects in url or at.lists in url for url in urls)
