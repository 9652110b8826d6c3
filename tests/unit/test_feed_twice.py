"""Every adapter over its real sample, through the runner: what is read, made, left out and why; that everybody takes what is
made, and what a hub's lists would hold of it; and that a second run submits nothing."""

import json
import shutil
from collections import Counter
from html import escape
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from certs.signature import Signer
from exchange.intake.validate import validate
from exchange.intake.warninglists import Warninglists
from feeds.adapter import GROUP
from feeds.catalogue import Source, load, packaged
from feeds.report import Run
from feeds.runner import Job, run_once
from tests.data import VENDORED, read_shared, shared
from tests.fake_hub import serving
from tests.feed_bench import Bench, bench, no_pause
from tests.feed_objects import everybody_takes
from tests.pki import US_PORT, make_pki

# Source of the catalogue or adapter, its sample, records read, objects sent, what a hub refuses of them, what is left out by code.
SAMPLES: list[tuple[str, str, int, int, dict[str, int], dict[str, int]]] = [
    ("urlhaus", "abuse-ch/urlhaus/csv_recent-2022-09-13.csv", 151, 139, {}, {"record-form": 12}),  # that copy has dates with XX for digits
    ("threatfox", "abuse-ch/threatfox/json_recent-2026-07-24.json.xz", 4_581, 9_069, {"hold": 2, "refuse": 1}, {}),
    ("feodo", "abuse-ch/feodo/ipblocklist-2021-10-02.csv", 379, 754, {}, {}),
    ("sslbl", "abuse-ch/sslbl/sslblacklist-sample1.csv", 313, 598, {}, {}),
    ("malwarebazaar", "abuse-ch/malwarebazaar/full_dump-2026-02-26.csv", 51, 82, {}, {}),
    ("spamhaus-drop", "blocklists/spamhaus/drop_v4-2025-04-15.json", 1_407, 1_407, {"hold": 13}, {}),
    ("firehol-dshield", "blocklists/firehol/dshield.netset", 21, 21, {}, {}),
    ("ipsum", "blocklists/ipsum/level5.txt", 1_414, 1_414, {}, {}),
    ("openphish", "blocklists/openphish/feed-2026-08-17T0000Z.txt", 301, 301, {}, {}),
    ("kev", "cisa-kev/kev-2025-02-21.json.xz", 1_276, 3_828, {}, {}),
    ("kev-mirror", "cisa-kev/kev-2025-08-25.json.xz", 1_404, 4_212, {}, {}),
    ("cisa-ics", "csaf-oasis/csaf", 19, 107, {}, {}),
    ("infoblox", "misp/infoblox-feed/7706424f-51dd-4873-a103-af5dbcf42fbd.json", 269, 269, {}, {}),
    ("botvrij", "mexico-latam/citizenlab", 136, 136, {}, {"misp-context": 1}),
    ("circl-osint", "misp/eset", 447, 447, {}, {"misp-context": 1_555, "misp-kind": 24}),
    ("otx", "intelmq-feed-samples/alienvault/test_parser_otx.data", 98, 98, {}, {"otx-kind": 1, "item-value": 1}),
    ("stix20", "mexico-latam/talos", 486, 487, {}, {"tlp-definition": 2, "stix-2.0-custom": 1}),  # one identity is in both bundles
    ("stix", "vendor-stix/amnesty/novispy.stix2.json", 37, 37, {}, {}),
    ("stix", "vendor-stix/amnesty/pegasus.stix2.json.xz", 3_099, 3_099, {}, {}),
    ("stix", "oasis-stix-examples", 433, 419, {"refuse": 4, "hold": 4, "stix-id-uuid": 1, "stix-binary": 3, "stix-hex": 1}, {"tlp-definition": 1, "source-contradiction": 3, "stix-2.0": 1}),
    ("stix20", "vendor-stix/talos-stix20", 1_560, 1_502, {}, {"tlp-definition": 13, "stix-2.0-custom": 36, "record-form": 2}),
    ("cisa-ics", "cisa-csaf/advisories", 120, 3_636, {}, {}),
    ("attack-enterprise", "mitre-attack/enterprise-attack-18.1.derived21.json.xz", 24_771, 24_771, {"stix-missing": 696, "stix-property-suffix": 7}, {}),
    ("attack-ics", "mitre-attack/ics-attack-18.1.json.xz", 1_826, 1_826, {"stix-property-suffix": 5, "stix-empty-list": 4}, {}),
]  # fmt: skip
SHAPES: list[tuple[str, str, int, int, dict[str, int], dict[str, int]]] = [
    ("urlhaus-json", "abuse-ch/urlhaus/json-2026-02-02.json", 16, 16, {}, {}),
    ("feodo-json", "abuse-ch/feodo/ipblocklist-2026-07-24.json", 8, 13, {}, {}),
    ("threatfox-csv", "abuse-ch/threatfox/full_sha256-2025-12-04.csv.xz", 7_406, 14_608, {}, {}),
    ("jpcert-phishurl", "blocklists/jpcert-phishurl/202509.csv.xz", 2_784, 2_571, {}, {}),
    ("viriback", "blocklists/feeds2stix-samples/dump.csv", 13, 23, {}, {}),
    ("cins", "blocklists/feeds2stix-samples/cinsscore_sample.txt", 11, 11, {}, {}),
    ("vxvault", "blocklists/feeds2stix-samples/vxvault_sample.txt", 11, 11, {}, {}),
    ("spamhaus-drop-text", "blocklists/spamhaus/drop.txt", 1_407, 1_407, {"hold": 13}, {}),
    ("dataplane", "intelmq-feed-samples/dataplane/sshpwauth.txt", 4, 3, {}, {"record-value": 1}),
    ("sekoia", "free-text-iocs/sekoia/tycoon2fa_tycoon2fa_iocs_20240325.csv", 55, 55, {}, {}),
    ("sophos", "free-text-iocs/sophos/06082025-edrkiller-iocs.csv", 52, 52, {}, {}),
    ("volexity", "free-text-iocs/volexity/2024_2024-11-15_BrazenBamboo_iocs.csv", 98, 98, {}, {}),
]
"""Others' forms, each by a mapping that an operator would write (tests/vectors/feeds/shapes.toml)."""

PUBLISHED: dict[str, str] = {
    "spamhaus-drop-v6": '{"cidr":"2001:db8:100::/40","sblid":"SBL1","rir":"ripencc"}\n{"type":"metadata","timestamp":1784798042,"size":60,"records":1}\n',
    "spamhaus-asndrop": '{"asn":64496,"rir":"ripencc","domain":"as.example","cc":"NL","asname":"EXAMPLE-AS"}\n{"type":"metadata","timestamp":1784798042,"size":80,"records":1}\n',
    "phishtank": '[{"phish_id":9353620,"url":"https://login.example/a","phish_detail_url":"http://www.phishtank.com/phish_detail.php?phish_id=9353620","submission_time":"2026-02-25T11:12:28+00:00","verified":"yes","verification_time":"2026-02-25T11:20:00+00:00","online":"yes","details":[{"ip_address":"192.0.2.1"}],"target":"Other"}]',
    "cert-pl": "faktura-oplata.example\nb\u00fccher.example\n",
}
"""Sources of which no copy was to be had: in the form that they publish."""

SERVED = {"taxii", "taxii20", "misp-rest", "posts"}
"""Adapters whose sources are servers or were not to be had as files: below."""


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


def test_no_adapter_is_without_its_sample() -> None:
    known = packaged()
    assert {point.name for point in entry_points(group=GROUP)} == SERVED | {
        known[name].adapter if name in known else name for name, *_ in SAMPLES
    }


def test_no_source_is_without_a_sample() -> None:
    assert set(packaged()) == {"otx", *PUBLISHED, *(name for name, *_ in SAMPLES)} - {"stix", "stix20"}
    assert set(_shapes()) == {name for name, *_ in SHAPES}


def _shapes() -> dict[str, Source]:
    return load(VENDORED / "feeds" / "shapes.toml")


@pytest.mark.parametrize(
    ("name", "path", "records", "accepted", "judgement", "left"),
    SAMPLES + SHAPES,
    ids=[f"{one[0]}-{one[1]}" for one in SAMPLES + SHAPES],
)
async def test_everything_once(
    signer: Signer, tmp_path: Path, name: str, path: str, records: int, accepted: int, judgement: dict[str, int],
    left: dict[str, int],
) -> None:  # fmt: skip
    sample, place = shared(path), tmp_path / Path(path).name
    if sample.is_dir():
        shutil.copytree(sample, place)
    else:
        shutil.copy(sample, place)
    async with bench(signer, tmp_path) as b:
        first = await run(b, name, str(place))
        seen = (first.records, first.accepted, judged(b), dict(first.skipped))
        assert seen == (records, accepted, judgement, left)
        for file in (place, *place.rglob("*")):
            if file.is_file():  # the files are new to the feed; what they say is not
                with file.open("ab") as stream:
                    stream.write(b"\0\0\0\0" if file.suffix == ".xz" else b"\n")
        again = await run(b, name, str(place))
        assert (again.records, again.accepted) == (records, 0)
        assert len({json.dumps(one, sort_keys=True) for one in b.hub.objects}) == accepted


@pytest.mark.parametrize("name", PUBLISHED)
async def test_what_was_not_to_be_had_is_read_in_the_form_it_is_published_in(
    signer: Signer, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "source.txt"
    file.write_text(PUBLISHED[name])
    records, accepted, left = await twice(signer, tmp_path, name, str(file))
    assert (records, accepted, left) == (2 if name != "cert-pl" else 3, records, {})


async def run(b: Bench, name: str, location: str) -> Run:
    found = {**packaged(), **_shapes()}.get(name) or packaged()["kev"].model_copy(
        update={"adapter": name, "name": name}
    )
    here = {"location": location, "secret_in": "", "password_file": "", "plain_http": True, "loopback": True}
    source: Source = found.model_copy(update=here)
    done = await run_once(Job.of(source, b.client, b.directory / "state", b.clock), pause=no_pause)
    assert (done.fault, dict(done.refused)) == (None, {})
    b.clock.advance(seconds=3600)
    return done


def judged(b: Bench) -> dict[str, int]:
    """What a hub would refuse of all that was sent: by "hold" or "refuse" of its lists, or by code. What the feed made itself
    everybody takes; others' objects are passed on as they are, and judged by us alone."""
    lists, found, made = Warninglists.packaged(), Counter[str](), []
    for one in b.hub.objects:
        if one["type"] == "indicator" and one["pattern_type"] == "stix":
            found.update(sorted({hit.action for hit in lists.hits(one["pattern"])})[-1:])
        if one.get("created_by_ref") == US_PORT:
            made.append({key: value for key, value in one.items() if key != "extensions"})
        else:
            found.update([fault.code for fault in validate(one) if fault.level == "reject"][:1])
    everybody_takes(made)
    return dict(found)


# --- served ---


def _members(path: str, name: str) -> list[Any]:
    return list(json.loads(read_shared(path))[name])


async def twice(signer: Signer, directory: Path, adapter: str, location: str) -> tuple[int, int, dict[str, int]]:
    async with bench(signer, directory) as b:
        first = await run(b, adapter, location)
        judged(b)
        assert (await run(b, adapter, location)).accepted == 0
        return first.records, first.accepted, dict(first.skipped)


async def test_a_misp_instance(signer: Signer, tmp_path: Path) -> None:
    [event] = _members("mexico-latam/citizenlab/201706_RecklessExploit/misp.json", "response")
    events = [{"Event": {**event["Event"], "publish_timestamp": "1746481400"}}]

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        start = (asked["page"] - 1) * asked["limit"]
        return web.json_response({"response": events[start : start + asked["limit"]]})

    async with serving(answer) as url:
        assert await twice(signer, tmp_path, "misp-rest", url) == (126, 126, {"misp-context": 1})


async def test_a_taxii_2_0_server(signer: Signer, tmp_path: Path) -> None:
    objects = _members("mexico-latam/talos/new-horabot-targets-americas.json", "objects")

    async def answer(request: web.Request) -> web.Response:
        first = int(request.headers["Range"].partition("=")[2].partition("-")[0])
        some = objects[first : first + 100]
        told = {"Content-Range": f"items {first}-{first + len(some) - 1}/{len(objects)}"}
        bundle = {"type": "bundle", "id": "bundle--1", "spec_version": "2.0", "objects": some}
        return web.json_response(bundle, status=206, headers=told)

    async with serving(answer) as url:
        place = f"{url}/api/collections/472c94ae-3113-4e3e-a4dd-a9f4ac7471d4/"
        assert await twice(signer, tmp_path, "taxii20", place) == (
            105,
            106,
            {"tlp-definition": 1},
        )


async def test_a_taxii_2_1_server(signer: Signer, tmp_path: Path) -> None:
    objects = _members("vendor-stix/amnesty/novispy.stix2.json", "objects")

    async def answer(_: web.Request) -> web.Response:
        told = {"X-TAXII-Date-Added-First": "2026-01-01T00:00:00Z", "X-TAXII-Date-Added-Last": "2026-01-01T00:00:00Z"}
        return web.json_response({"objects": objects}, content_type="application/taxii+json", headers=told)

    async with serving(answer) as url:
        place = f"{url}/api/collections/472c94ae-3113-4e3e-a4dd-a9f4ac7471d4/"
        assert await twice(signer, tmp_path, "taxii", place) == (37, 37, {})


async def test_a_post_with_the_indicators_that_a_team_published(signer: Signer, tmp_path: Path) -> None:
    text = read_shared("mexico-latam/talos/timbrestealer-campaign-targets-mexican-users.txt").decode()
    file = tmp_path / "posts.xml"
    file.write_text(
        "<rss version='2.0'><channel><item><title>TimbreStealer</title><guid>1</guid>"
        f"<pubDate>Fri, 01 May 2026 10:00:00 GMT</pubDate><description>{escape(text)}</description></item></channel></rss>"
    )
    assert await twice(signer, tmp_path, "posts", str(file)) == (351, 351, {})
