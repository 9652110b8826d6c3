"""MISP, OTX, posts, CSAF and STIX 2.0 over real documents: what is counted, and that everybody takes what is made."""

import json
from collections import Counter
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.intake.pattern import check_pattern
from feeds.adapter import Cursor, Fetched, Part, load_adapter
from feeds.bulletins import tlp_of
from feeds.catalogue import Source, packaged
from feeds.faults import FeedFault
from tests.data import shared
from tests.fake_hub import serving
from tests.feed_objects import everybody_takes, objects_of
from tests.pki import US_PORT

# Adapter, folder or file, objects by type, what is left out by code.
REAL = [
    ("misp", "misp/infoblox-feed", {"indicator": 38_426, "report": 24}, {"item-value": 2}),
    ("misp", "misp/eset", {"indicator": 441, "report": 6}, {"misp-context": 1_555, "misp-kind": 24}),
    ("misp", "mexico-latam/citizenlab/201706_RecklessExploit", {"indicator": 125, "report": 1}, {"misp-context": 1}),
    ("otx", "intelmq-feed-samples/alienvault/test_parser_otx.data", {"indicator": 93, "report": 5}, {"otx-kind": 1, "item-value": 1}),
    ("csaf", "cisa-csaf/advisories", {"vulnerability": 486, "course-of-action": 1_515, "relationship": 1_515, "report": 120}, {}),
    ("csaf", "csaf-oasis/csaf", {"vulnerability": 59, "course-of-action": 15, "relationship": 15, "report": 18}, {}),
    ("stix20", "mexico-latam/talos", {"indicator": 439, "attack-pattern": 41, "identity": 2, "report": 2, "observed-data": 2, "url": 2}, {"tlp-definition": 2, "stix-2.0-custom": 1}),
    ("stix20", "vendor-stix/talos-stix20", {"indicator": 1_313, "attack-pattern": 161, "identity": 19, "report": 19, "relationship": 13, "malware": 7, "threat-actor": 5, "tool": 1, "observed-data": 20, "url": 20}, {"tlp-definition": 13, "stix-2.0-custom": 36, "record-form": 2}),
]  # fmt: skip


def source(adapter: str, location: object, **more: Any) -> Source:
    return packaged()["kev"].model_copy(
        update={
            "name": "feed",
            "adapter": adapter,
            "location": str(location),
            "plain_http": True,
            "loopback": True,
            **more,
        }
    )


async def everything(found: Source, cursor: Cursor | None = None) -> tuple[list[dict[str, Any]], Counter[str], Cursor]:
    """All objects of a source from a cursor on, dated; what was left out, by code; and the cursor after it."""
    adapter, made, left, place = load_adapter(found, US_PORT), list[dict[str, Any]](), Counter[str](), cursor or {}
    while (fetched := await adapter.fetch(found, place)) is not None:
        some, told = objects_of(adapter, fetched)
        made, left, place = made + some, left + told, fetched.cursor
        if not fetched.more:
            break
    return made, left, place


@pytest.mark.parametrize(("adapter", "path", "kinds", "left"), REAL)
async def test_real_documents(adapter: str, path: str, kinds: dict[str, int], left: dict[str, int]) -> None:
    made, told, _ = await everything(source(adapter, shared(path)))
    assert Counter(one["type"] for one in made) == kinds
    assert told == left
    everybody_takes(made)
    ids = {one["id"] for one in made}
    if adapter != "stix20":  # real bundles share objects, and refer to what they do not hold
        assert len(ids) == len(made)
        assert ids.issuperset(ref for one in made for ref in one.get("object_refs", ()))


async def test_the_whole_of_enterprise_attack_is_read_and_a_part_of_it_raised() -> None:
    made, _, _ = await everything(source("stix", shared("mitre-attack/ics-attack-18.1.json.xz")))
    assert len(made) > 1_500
    raised, left, _ = await everything(
        source("stix20", shared("mitre-attack/enterprise-attack-18.1.stix20-sample.json.xz"))
    )
    assert Counter(one["type"] for one in raised)["attack-pattern"] >= 40
    everybody_takes(raised)
    assert set(left) <= {"stix-2.0-custom", "tlp-definition"}


# --- MISP ---

EVENT: dict[str, Any] = {
    "uuid": "6f1b2a34-0000-4000-8000-00000000000a", "info": "Facturas CFDI falsas", "timestamp": "1746481329", "date": "2025-05-05",
    "Orgc": {"name": "CSIRT"}, "Tag": [{"name": "tlp:amber"}, {"name": "TimbreStealer"}],
    "Attribute": [
        {"uuid": "a1", "type": "domain", "value": "cfdi.example", "to_ids": True, "timestamp": 1746480000, "first_seen": "2025-05-01T00:00:00+00:00"},
        {"uuid": "a2", "type": "ip-dst|port", "value": "192.0.2.7|443", "to_ids": True, "timestamp": "1746480000"},
        {"uuid": "a3", "type": "filename|sha1", "value": "x.exe|" + "a" * 40, "to_ids": True, "timestamp": "1746480000"},
        {"uuid": "a4", "type": "url", "value": "hXXps[:]//cfdi.example/'x", "to_ids": True, "timestamp": "1746480000"},
        {"uuid": "a5", "type": "domain", "value": "victim.example", "to_ids": False, "timestamp": "1746480000"},
        {"uuid": "a6", "type": "btc", "value": "1x", "to_ids": True, "timestamp": "1746480000"},
        {"uuid": "a7", "type": "domain", "value": "old.example", "to_ids": True, "timestamp": "1746480000", "deleted": True},
        {"uuid": "a8", "type": "yara", "value": "rule a { condition: true }", "to_ids": True, "timestamp": "1746480000"},
        {"uuid": "a9", "type": "ip-dst", "value": "not an address", "to_ids": True, "timestamp": "1746480000"},
    ],
    "Object": [{"uuid": "o1", "name": "file", "timestamp": "1746480000", "Attribute": [
        {"uuid": "f1", "type": "md5", "value": "B" * 32, "to_ids": True}, {"uuid": "f2", "type": "sha256", "value": "c" * 64, "to_ids": True},
        {"uuid": "f3", "type": "filename", "value": "x.exe", "to_ids": False},
    ]}],
}  # fmt: skip


def in_one(adapter: str, value: object) -> tuple[list[dict[str, Any]], Counter[str]]:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return objects_of(load_adapter(source(adapter, "x"), US_PORT), Fetched("x", (Part.of("x.json", data),), {}))


@pytest.mark.parametrize(
    "root", [{"Event": EVENT}, {"response": [{"Event": EVENT}]}, [{"Event": EVENT}]], ids=str.split("event answer list")
)
def test_a_misp_event(root: Any) -> None:
    made, left = in_one("misp", root)
    assert left == {"misp-context": 2, "misp-kind": 1, "item-value": 1}
    *indicators, report = made
    assert [one["pattern"] for one in indicators] == [
        "[domain-name:value = 'cfdi.example']",
        "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.7' AND network-traffic:dst_port = 443]",
        f"[file:hashes.'SHA-1' = '{'a' * 40}']",
        "[url:value = 'https://cfdi.example/\\'x']",
        "[domain-name:value = 'old.example']",
        "rule a { condition: true }",
        f"[file:hashes.'SHA-256' = '{'c' * 64}' OR file:hashes.MD5 = '{'b' * 32}']",
    ]
    assert [one.get("revoked") for one in indicators] == [None] * 4 + [True] + [None] * 2
    assert indicators[0]["valid_from"] == "2025-05-01T00:00:00Z"
    assert indicators[0]["labels"] == ["feed:TimbreStealer"]
    assert report["object_refs"] == [one["id"] for one in indicators if not one.get("revoked")]
    assert (report["name"], report["published"]) == ("Facturas CFDI falsas", "2025-05-05T21:42:09Z")
    assert {mark for one in made for mark in one["object_marking_refs"]} == {
        packaged()["kev"].model_copy(update={"tlp": "amber"}).marking
    }


def test_red_and_odd_markings_stay_out_and_the_strictest_counts() -> None:
    for tag in ("tlp:red", "TLP:RED", "tlp:ex:chr", "tlp:unclear"):
        made, left = in_one("misp", {"Event": {**EVENT, "Tag": [{"name": "tlp:white"}, {"name": tag}]}})
        assert (made, left) == ([], {"tlp-red": 1})
    assert tlp_of(["tlp:white", "TLP:GREEN"]) == "green"
    assert tlp_of(["tlp:amber+strict", "tlp:amber"]) == "amber+strict"
    assert tlp_of([]) == ""


@pytest.mark.parametrize(
    "value", [5, {}, {"Event": {}}, {"Event": {"uuid": "a", "info": 5, "timestamp": "x"}}, [7], {"response": 5}, b"{"]
)
def test_what_is_no_event_is_told(value: object) -> None:
    made, left = in_one("misp", value)
    assert made == []
    assert set(left) <= {"misp-form", "json-syntax"}
    assert left


@given(
    st.dictionaries(
        st.sampled_from(["uuid", "info", "timestamp", "Tag", "Attribute", "Object", "Orgc"]),
        st.none() | st.text(max_size=5) | st.integers() | st.lists(st.none() | st.dictionaries(st.sampled_from(["type", "value", "uuid", "to_ids", "Tag", "Attribute", "first_seen"]), st.text(max_size=5) | st.booleans() | st.integers(), max_size=4), max_size=2),
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_a_broken_event_is_told(broken: dict[str, Any]) -> None:
    in_one("misp", {"Event": {**EVENT, **broken}})


async def test_a_misp_feed_goes_on_where_it_was_and_checks_what_it_gets(tmp_path: Path) -> None:
    bodies = {}
    for number in range(45):
        event = {
            **EVENT,
            "uuid": f"e{number}",
            "Object": [],
            "Attribute": [{**EVENT["Attribute"][0], "uuid": f"a{number}"}],
        }
        bodies[f"/feed/e{number}.json"] = json.dumps({"Event": event}).encode()
    manifest = {
        name.rpartition("/")[2][:-5]: {"timestamp": str(1_000 + number), "integrity:sha256": sha256(body).hexdigest()}
        for number, (name, body) in enumerate(bodies.items())
    }
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/feed/manifest.json":
            tag = f'"{len(manifest)}-{sum(int(one["timestamp"]) for one in manifest.values())}"'
            if request.headers.get("If-None-Match") == tag:
                asked.append("not modified")
                return web.Response(status=304)
            return web.json_response(manifest, headers={"ETag": tag})
        return web.Response(body=bodies[request.path])

    async with serving(answer) as url:
        found = source("misp", f"{url}/feed/manifest.json")
        made, left, cursor = await everything(found)
        assert (len(made), left, len(asked)) == (90, {}, 48)
        asked.clear()
        assert (await everything(found, cursor))[0] == []
        assert asked == ["/feed/manifest.json", "not modified"]
        manifest["e7"] = {"timestamp": 2_000}
        assert len((await everything(found, cursor))[0]) == 2
        manifest["e8"] = {"timestamp": 3_000, "integrity:sha256": "0" * 64}
        with pytest.raises(FeedFault, match="e8"):
            await everything(found, cursor)
        manifest["../../etc/passwd"] = {"timestamp": 4_000}
        with pytest.raises(FeedFault, match="e8"):
            await everything(found, cursor)


async def test_a_misp_instance_is_asked_page_by_page(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    key = tmp_path / "key"
    key.write_text("k1\n")
    key.chmod(0o600)

    async def answer(request: web.Request) -> web.Response:
        assert (request.method, request.path, request.headers["Authorization"]) == ("POST", "/events/restSearch", "k1")
        asked.append(await request.json())
        count = (
            20
            if asked[-1]["page"] == 1 and asked[-1]["since" if "since" in asked[-1] else "publish_timestamp"] == "0"
            else 1
        )
        events = [
            {"Event": {**EVENT, "uuid": f"{asked[-1]['page']}-{n}", "publish_timestamp": "1746481400"}}
            for n in range(count)
        ]
        return web.json_response({"response": events})

    async with serving(answer) as url:
        found = source("misp-rest", url, secret_in="header:Authorization", password_file=str(key))
        made, _, cursor = await everything(found)
    assert len(made) == 21 * 8
    assert [one["page"] for one in asked] == [1, 2]
    assert cursor == {"since": "1746481400"}


# --- OTX ---


async def test_pulses_are_paged_and_asked_again_a_little_before_the_last(tmp_path: Path) -> None:
    pulse = {
        "id": "5a", "name": "P", "created": "2026-01-01T00:00:00", "modified": "2026-01-02T00:10:00.5", "TLP": "green",
        "indicators": [{"type": "domain", "indicator": "e.example", "created": "2026-01-01T00:00:00", "is_active": 1}],
    }  # fmt: skip
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        page = int(request.query["page"])
        return web.json_response({"results": [{**pulse, "id": f"5a{page}"}], "next": "x" if page < 3 else None})

    async with serving(answer) as url:
        made, _, cursor = await everything(source("otx", f"{url}/api/v1/pulses/subscribed"))
        assert len(made) == 6
        await everything(source("otx", f"{url}/api/v1/pulses/subscribed"), cursor)
    assert [one["page"] for one in asked[:3]] == ["1", "2", "3"]
    assert asked[3]["modified_since"] == "2026-01-02T00:00:00"


# --- posts ---

RSS = """<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>Blog</title>
<item><title>CFDI lures</title><link>https://team.example/cfdi</link><guid>1</guid><pubDate>Fri, 01 May 2026 10:00:00 +0200</pubDate>
<description>Short</description><content:encoded><![CDATA[<p>It calls hxxps://cfdi[.]example/a and <b>192[.]0[.]2[.]9</b>; see
<a href="https://team.example/x">team.example</a> &amp; setup.exe</p>]]></content:encoded></item>
<item><title>News</title><guid>2</guid><pubDate>Fri, 01 May 2026 10:00:00 GMT</pubDate><description>nothing to block</description></item>
<item><title>Undated</title><description>e[.]example</description></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>urn:1</id><title>T</title><link rel="alternate" href="https://team.example/t"/>
<updated>2026-05-01T08:00:00Z</updated><content type="html">&lt;p&gt;e[.]example&lt;/p&gt;</content></entry></feed>"""


def test_posts_become_reports_of_what_was_made_harmless() -> None:
    made, left = in_one("posts", RSS.encode())
    assert [one.get("pattern", one["name"]) for one in made] == [
        "[url:value = 'https://cfdi.example/a']", "[ipv4-addr:value = '192.0.2.9']", "CFDI lures",
    ]  # fmt: skip
    assert left == {"post-form": 1}
    assert made[-1]["published"] == "2026-05-01T08:00:00Z"
    assert made[-1]["external_references"][0]["url"] == "https://team.example/cfdi"
    [indicator, report] = in_one("posts", ATOM.encode())[0]
    assert (indicator["pattern"], report["created"]) == (
        "[domain-name:value = 'e.example']",
        "2026-05-01T08:00:00.000Z",
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "<html><item/></html>", "<rss>", "<rss>" * 100_000, '<!DOCTYPE x [<!ENTITY a "b">]><rss>&a;</rss>',
        "<rss>&lol;</rss>", "<?xml version='1.0' encoding='utf-7'?><rss/>",
    ],
)  # fmt: skip
def test_what_is_no_feed_of_posts_is_a_fault(text: str) -> None:
    with pytest.raises(FeedFault, match="RSS"):
        in_one("posts", text.encode())


# --- CSAF ---


async def test_advisories_are_read_from_their_feed_each_as_its_sum_says() -> None:
    document = json.loads(ADVISORY)
    answers: dict[str, bytes] = {
        "/a.json": ADVISORY,
        "/a.json.sha512": f"{sha512(ADVISORY).hexdigest()}  a.json".encode(),
    }

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=answers[request.path])

    async with serving(answer) as url:
        entry = {"id": "X-1", "updated": "2026-01-01T00:00:00Z", "content": {"src": f"{url}/a.json"}, "link": [{"rel": "hash", "href": f"{url}/a.json.sha512"}]}  # fmt: skip
        answers["/rolie.json"] = json.dumps({"feed": {"entry": [entry]}}).encode()
        made, left, cursor = await everything(source("csaf", f"{url}/rolie.json"))
        assert [one["type"] for one in made] == ["vulnerability", "course-of-action", "relationship", "report"]
        assert left == {}
        assert (await everything(source("csaf", f"{url}/rolie.json"), cursor))[0] == []
        answers["/a.json"] = json.dumps({**document, "changed": 1}).encode()
        with pytest.raises(FeedFault, match="sum"):
            await everything(source("csaf", f"{url}/rolie.json"))
    document["document"]["distribution"] = {"tlp": {"label": "RED"}}
    assert in_one("csaf", document) == ([], {"tlp-red": 1})
    for wrong in ({}, [], {"document": {"csaf_version": "1.2", "tracking": {"id": "x"}}}):
        assert in_one("csaf", wrong) == ([], {"csaf-form": 1})


ADVISORY = json.dumps({
    "document": {
        "csaf_version": "2.0", "title": "Crane controller", "distribution": {"tlp": {"label": "WHITE"}},
        "notes": [{"category": "other", "title": "Critical infrastructure sectors", "text": " Transportation Systems, and Energy"}],
        "tracking": {"id": "X-1", "version": "1", "initial_release_date": "2026-01-01T00:00:00Z", "current_release_date": "2026-01-02T00:00:00Z"},
    },
    "product_tree": {"branches": [{"category": "vendor", "name": "V", "branches": [{"product": {"product_id": "P1", "name": "V Crane 1"}}]}]},
    "vulnerabilities": [{
        "cve": "CVE-2026-0001", "cwe": {"id": "CWE-79"}, "product_status": {"known_affected": ["P1"]},
        "scores": [{"cvss_v3": {"version": "3.1", "baseScore": 9.8, "vectorString": "CVSS:3.1/AV:N"}}],
        "remediations": [{"category": "vendor_fix", "details": "Update."}, {"category": "vendor_fix", "details": "Update."}, {"category": "none_available", "details": "-"}],
    }],
}).encode()  # fmt: skip


def test_an_advisory_says_what_is_affected_and_for_whom() -> None:
    vulnerability, _, link, report = in_one("csaf", ADVISORY)[0]
    assert vulnerability["description"] == "Affected: V Crane 1\n\nCVSS 3.1: 9.8 (CVSS:3.1/AV:N)"
    assert {"source_name": "cve", "external_id": "CVE-2026-0001"} in vulnerability["external_references"]
    assert link["target_ref"] == vulnerability["id"]
    assert report["labels"] == ["feed:sector:Transportation Systems", "feed:sector:Energy"]
    assert (report["created"], report["modified"]) == ("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")


# --- STIX 2.0 ---


def test_stix_2_0_is_raised_to_objects_of_ones_own() -> None:
    indicator = {
        "type": "indicator", "id": "indicator--1", "created": "2017-01-01T00:00:00.000Z", "modified": "2017-01-02T00:00:00.000Z",
        "labels": ["malicious-activity", "own word"], "valid_from": "2017-01-01T00:00:00Z", "created_by_ref": "identity--9",
        "pattern": "[url:value = 'https://e.example/'] START '2017-01-01T00:00:00Z' STOP '2017-01-02T00:00:00Z'",
    }  # fmt: skip
    malware = {
        "type": "malware",
        "id": "malware--2",
        "created": "2017-01-01T00:00:00Z",
        "modified": "2017-01-01T00:00:00Z",
        "labels": ["ransomware"],
        "name": "m",
    }
    report = {
        "type": "report", "id": "report--3", "created": "2017-01-01T00:00:00Z", "modified": "2017-01-01T00:00:00Z", "name": "r",
        "labels": ["threat-report"], "published": "2017-01-01T00:00:00Z", "object_refs": ["indicator--1", "x-odd--1", "malware--2"],
    }  # fmt: skip
    link = {
        "type": "relationship",
        "id": "relationship--4",
        "created": "2017-01-01T00:00:00Z",
        "modified": "2017-01-01T00:00:00Z",
        "relationship_type": "indicates",
        "source_ref": "indicator--1",
        "target_ref": "malware--2",
    }
    older = {**indicator, "modified": "2017-01-01T00:00:00.000Z", "valid_from": "2016-01-01T00:00:00Z"}
    bundle = {"type": "bundle", "id": "bundle--1", "spec_version": "2.0", "objects": [indicator, older, malware, report, link, {"type": "x-odd", "id": "x-odd--1"}]}  # fmt: skip
    made, left = in_one("stix20", bundle)
    assert left == {"stix-2.0-custom": 1}
    raised = {one["type"]: one for one in made}
    assert raised["indicator"]["indicator_types"] == ["malicious-activity"]
    assert raised["indicator"]["labels"] == ["own word"]
    assert raised["indicator"]["valid_from"] == "2017-01-01T00:00:00Z"
    assert check_pattern(raised["indicator"]["pattern"]) == ()
    assert raised["malware"]["malware_types"] == ["ransomware"]
    assert raised["report"]["object_refs"] == [raised["indicator"]["id"], raised["malware"]["id"]]
    assert (raised["relationship"]["source_ref"], raised["relationship"]["target_ref"]) == (
        raised["indicator"]["id"],
        raised["malware"]["id"],
    )
    everybody_takes(made)
    assert {one["created_by_ref"] for one in made} == {US_PORT}
    assert raised["indicator"]["external_references"][0]["external_id"] == "indicator--1"


async def test_a_taxii_2_0_server_is_walked_by_ranges() -> None:
    objects = [
        {
            "type": "indicator", "id": f"indicator--{n}", "created": "2017-01-01T00:00:00Z", "modified": "2017-01-01T00:00:00Z",
            "labels": ["malicious-activity"], "valid_from": "2017-01-01T00:00:00Z", "pattern": f"[url:value = 'https://e.example/{n}']",
        }
        for n in range(7)
    ]  # fmt: skip
    asked = []

    async def answer(request: web.Request) -> web.Response:
        first = int(request.headers["Range"].partition("=")[2].partition("-")[0])
        asked.append((first, request.query.get("added_after", "")))
        some = objects[first : first + 3]
        return web.json_response(
            {"type": "bundle", "id": "bundle--1", "spec_version": "2.0", "objects": some}, status=206,
            headers={"Content-Range": f"items {first}-{first + len(some) - 1}/7", "X-TAXII-Date-Added-Last": f"2026-01-01T00:00:0{first}.000Z"},
        )  # fmt: skip

    async with serving(answer) as url:
        found = source("taxii20", f"{url}/api/collections/472c94ae-3113-4e3e-a4dd-a9f4ac7471d4/")
        made, left, cursor = await everything(found)
        assert (len(made), left) == (7, {})
        await everything(found, cursor)
    assert asked[:3] == [(0, ""), (3, ""), (6, "")]
    assert asked[3] == (0, "2026-01-01T00:00:05.000000Z")
