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
from feeds.catalogue import Source, packaged
from feeds.report import Run
from feeds.runner import Job, run_once
from tests.data import read_shared, shared
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
    ("cisa-ics", "csaf-oasis/csaf", 19, 107, {}, {}),
    ("circl-osint", "misp/eset", 447, 447, {}, {"misp-context": 1_555, "misp-kind": 24}),
    ("otx", "intelmq-feed-samples/alienvault/test_parser_otx.data", 98, 98, {}, {"otx-kind": 1, "item-value": 1}),
    ("stix20", "mexico-latam/talos", 484, 483, {}, {"tlp-definition": 2, "stix-2.0-observed": 2, "stix-2.0-custom": 1}),  # one identity is in both bundles
    ("stix", "vendor-stix/amnesty/novispy.stix2.json", 37, 37, {}, {}),
    ("attack-ics", "mitre-attack/ics-attack-18.1.json.xz", 1_826, 1_826, {"stix-property-suffix": 5, "stix-empty-list": 4}, {}),
]  # fmt: skip
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


@pytest.mark.parametrize(
    ("name", "path", "records", "accepted", "judgement", "left"), SAMPLES, ids=[one[0] for one in SAMPLES]
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


async def run(b: Bench, name: str, location: str) -> Run:
    found = packaged().get(name) or packaged()["kev"].model_copy(update={"adapter": name, "name": name})
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
            104,
            104,
            {"stix-2.0-observed": 1, "tlp-definition": 1},
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
