"""An auditor at home: a copy, a policy file of its own, Python, and nothing else. The hub is gone."""

import asyncio
import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from certs.jcs import load
from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy
from exchange.client import Client
from exchange.client.verify import verify_page
from exchange.ledger.audit import verify_copy, verify_receipt_file, write_copy
from exchange.ledger.entry import LOGS
from exchange.ledger.pack import Enclosed
from tests.unit.test_audit import files, flip
from tests.world import World, make_world

ROOT = Path(__file__).resolve().parents[2]
FLIPS = 450

OFFLINE = """
import socket, sys

def refuse(*_):
    raise OSError("the auditor is offline")

socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = ["puente", *sys.argv[1:]]
from exchange.cli.__main__ import main
main()
"""


@dataclass
class Desk:
    """What lies on the auditor's desk."""

    copy: Path
    policy: Path
    page: list[dict[str, object]]
    """The objects that the reader of the receipt `release` was sent."""

    def puente(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", OFFLINE, *map(str, words)], capture_output=True, text=True, timeout=60, cwd=ROOT
        )


async def fill(world: World, desk: Desk) -> None:
    """A submission, a page that left, a refusal, and something domestic; then the copy, with the receipts of two of them."""
    client = Client(world.hub.url, clock=world.clock, token=world.tokens["mx-aduanas"], ca_file=world.home.ca_file)
    receipts = {}
    async with client as reader:
        signer = world.home.signer("us-customs", world.members["us-customs"].identity_id)
        async with Client(
            world.hub.url, clock=world.clock, token=world.tokens["us-customs"], ca_file=world.home.ca_file, signer=signer
        ) as author:  # fmt: skip
            objects = [world.signed("us-customs"), world.signed("us-customs"), world.signed("us-customs", tlp="red")]
            [result] = await author.submit(objects, "indicators")
            assert (len(result.accepted), len(result.refused)) == (2, 1)
            for place in result.leaves:
                leaf = await author.leaf(place.log, place.index)
                kind = load(leaf, max_bytes=70_000)["t"]
                receipts[kind] = await author.receipt(place.log, place.index, wait_seconds=20), leaf
        async for page in reader.pages("indicators"):
            desk.page += page.objects
            for release in page.leaves:
                assert release.origin.endswith("/both")
                receipts["release"] = await reader.receipt("both", release.first, wait_seconds=20), await reader.leaf("both", release.first)  # fmt: skip
        await world.post("mx-marina", world.signed("mx-marina"), to="mx-domestic")
    await world.cosigned()
    assert all(proof is not None for proof, _ in receipts.values())
    await write_copy(desk.copy, HubCopy(world.hub.services, LOGS, countries=("us", "mx")), Enclosed(receipts))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    place = tmp_path_factory.mktemp("auditor")
    desk = Desk(place / "copy", place / "policy", [])

    async def live() -> None:
        async with make_world(place / "hub", witness_interval_seconds=0.2) as world:
            await fill(world, desk)
            shutil.copytree(world.settings.witness_policy, desk.policy)

    asyncio.run(live())
    shutil.rmtree(place / "hub")
    return desk


def test_the_copy_verifies_with_the_cosignatures_of_both_countries(desk: Desk) -> None:
    ran = desk.puente("ledger", "verify", "--policy", desk.policy, "--json", desk.copy)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads(ran.stdout)
    assert report["ok"]
    cosigned = {log["log"]: {name[:2] for name in log["cosigned"]} for log in report["logs"]}
    assert cosigned == {"both": {"us", "mx"}, "us": {"us"}, "mx": {"mx"}}


@pytest.mark.parametrize(
    ("kind", "countries"), [("submit", {"us"}), ("publish", {"us", "mx"}), ("release", {"us", "mx"})]
)
def test_receipts_are_proved(desk: Desk, kind: str, countries: set[str]) -> None:
    """What was submitted is in its country's log; what was published and what left, in the log of both."""
    proof, leaf = (desk.copy / "receipts" / f"{kind}.{suffix}" for suffix in ("tlog-proof", "leaf"))
    proven = verify_receipt_file(proof, leaf, read_policies(desk.policy))
    assert {name[:2] for name in proven.cosigned} == countries
    if kind == "release":
        verify_page(desk.page, leaf.read_bytes())
        assert load(leaf.read_bytes(), max_bytes=70_000)["actor"].startswith("mx:mx-aduanas:")


def test_a_false_copy_is_refused_and_the_place_named(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(desk.copy, tmp_path / "copy")
    entries = next(path for path in files(tmp_path / "copy") if path.startswith("both/tile/entries/"))
    data = (tmp_path / "copy" / entries).read_bytes()
    (tmp_path / "copy" / entries).write_bytes(data.replace(b"us-customs", b"us-coastal", 1))
    ran = desk.puente("ledger", "verify", "--policy", desk.policy, tmp_path / "copy")
    assert ran.returncode == 1
    assert f"✗ {entries}: entry-changed" in ran.stdout


def test_a_policy_is_the_auditors_own(desk: Desk, tmp_path: Path) -> None:
    """Of another hub, with the same names: nothing in the copy is believed."""
    other = desk.policy.parent / "other"

    async def found_another() -> None:
        async with make_world(other) as world:
            shutil.copytree(world.settings.witness_policy, tmp_path / "policy")

    asyncio.run(found_another())
    ran = desk.puente("ledger", "verify", "--policy", tmp_path / "policy", desk.copy)
    assert ran.returncode == 1
    assert "✗ both/checkpoint: " in ran.stdout


def test_every_flipped_byte_is_found_and_named(desk: Desk, tmp_path: Path) -> None:
    """A bit at each of some hundred places, spread over every file: entries, tiles, openings, checkpoints, receipts, lists."""
    copy = tmp_path / "copy"
    shutil.copytree(desk.copy, copy)
    policies = read_policies(desk.policy)
    names = files(copy)
    assert {"MANIFEST", "README", "receipts/release.tlog-proof", "receipts/submit.leaf"} <= set(names)
    draw = random.Random(20261126)
    places = [(name, (copy / name).stat().st_size) for name in names]
    chosen = [(name, draw.randrange(size)) for name, size in places]
    while len(chosen) < FLIPS:
        name, size = draw.choice(places)
        chosen.append((name, draw.randrange(size)))
    for name, position in chosen:
        bit = 1 << draw.randrange(8)
        flip(copy / name, position, bit)
        findings = verify_copy(copy, policies).findings
        assert name in {one.file for one in findings}, (name, position, bit)
        assert all(one.code and one.en and one.es for one in findings)
        flip(copy / name, position, bit)
    assert verify_copy(copy, policies).ok
