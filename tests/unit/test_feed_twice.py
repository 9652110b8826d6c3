"""Every adapter over its real sample, through the runner: all that is made can be signed, and a second run submits nothing."""

import json
import shutil
from pathlib import Path

import pytest

from certs.signature import Signer
from feeds.catalogue import packaged
from feeds.runner import Job, run_once
from tests.data import shared
from tests.feed_bench import bench, no_pause
from tests.pki import US_PORT, make_pki

# Source of the catalogue or adapter, its sample, records read, objects accepted.
SAMPLES = [
    ("feodo", "abuse-ch/feodo/ipblocklist-2021-10-02.csv", 379, 754),
    ("sslbl", "abuse-ch/sslbl/sslblacklist-sample1.csv", 313, 598),
    ("malwarebazaar", "abuse-ch/malwarebazaar/full_dump-2026-02-26.csv", 51, 82),
    ("spamhaus-drop", "blocklists/spamhaus/drop_v4-2025-04-15.json", 1_407, 1_407),
    ("firehol-dshield", "blocklists/firehol/dshield.netset", 21, 21),
    ("openphish", "blocklists/openphish/feed-2026-08-17T0000Z.txt", 301, 301),
    ("kev", "cisa-kev/kev-2025-02-21.json.xz", 1_276, 3_828),
    ("cisa-ics", "csaf-oasis/csaf", 19, 107),
    ("circl-osint", "misp/eset", 447, 447),
    ("otx", "intelmq-feed-samples/alienvault/test_parser_otx.data", 98, 98),
    ("stix20", "mexico-latam/talos", 484, 483),  # one identity is in both bundles
    ("stix", "vendor-stix/amnesty/novispy.stix2.json", 37, 37),
]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


@pytest.mark.parametrize(("name", "path", "records", "accepted"), SAMPLES, ids=[one[0] for one in SAMPLES])
async def test_everything_once(
    signer: Signer, tmp_path: Path, name: str, path: str, records: int, accepted: int
) -> None:
    sample, place = shared(path), tmp_path / Path(path).name
    if sample.is_dir():
        shutil.copytree(sample, place)
    else:
        shutil.copy(sample, place)
    found = packaged().get(name) or packaged()["kev"].model_copy(update={"adapter": name, "name": name})
    source = found.model_copy(update={"location": str(place), "secret_in": "", "password_file": ""})
    async with bench(signer, tmp_path) as b:
        first = await run_once(Job.of(source, b.client, tmp_path / "state", b.clock), pause=no_pause)
        assert (first.fault, dict(first.refused)) == (None, {})
        assert (first.records, first.accepted) == (records, accepted)
        for file in (place, *place.rglob("*")):
            if file.is_file():  # the files are new to the feed; what they say is not
                with file.open("ab") as stream:
                    stream.write(b"\0\0\0\0" if file.suffix == ".xz" else b"\n")
        b.clock.advance(seconds=3600)
        again = await run_once(Job.of(source, b.client, tmp_path / "state", b.clock), pause=no_pause)
        assert (again.fault, again.records, again.accepted) == (None, records, 0)
        assert len({json.dumps(one, sort_keys=True) for one in b.hub.objects}) == accepted
