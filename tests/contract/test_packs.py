"""What an auditor takes home: each country's pack has what that country may see, and verifies without the hub or Puente."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exchange.cli.ledger import read_policies
from exchange.ledger.audit import verify_copy
from exchange.ledger.note import Checkpoint, split_note
from tests.packs import Packs, beside, entries, opened, reseal
from tests.unit.test_audit import files, flip

WHOM = ("us", "mx", "both")
FLIPS = 25


def run(packs: Packs, pack: Path, whom: str, *words: object) -> subprocess.CompletedProcess[str]:
    """The verifier that lies in the pack, far from Puente's code."""
    command = [sys.executable, "-I", pack / "verify.py", "--policy", packs.policy_for(whom), *words, pack]
    return subprocess.run([str(one) for one in command], capture_output=True, text=True, timeout=60, cwd=pack)


@pytest.mark.parametrize("whom", WHOM)
def test_a_pack_verifies_with_the_hub_gone(packs: Packs, whom: str) -> None:
    kept = {one.name: (one / "checkpoint").read_bytes() for one in packs.kept.iterdir()}
    report = verify_copy(packs.of(whom), read_policies(packs.policy_for(whom)), kept)
    assert report.ok, report.findings
    assert report.receipts == len(report.logs)
    ran = run(packs, packs.of(whom), whom, "--kept", packs.kept, "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {one["log"]: one["root"] for one in json.loads(ran.stdout)["logs"]} == {
        one.name: one.root.hex() for one in report.logs
    }


def test_a_pack_has_the_logs_and_openings_of_its_country_alone(packs: Packs) -> None:
    folders = {whom: {path.name for path in packs.of(whom).iterdir() if path.is_dir()} for whom in WHOM}
    common = {"agreements", "receipts", "schemas"}
    assert folders == {"us": {"both", "us"} | common, "mx": {"both", "mx"} | common, "both": {"both"} | common}
    assert not list(packs.of("both").rglob("open"))
    for whom in ("us", "mx"):
        actors = [str(entries(packs.of(whom), "both")[index]["actor"]) for index in opened(packs.of(whom), "both")]
        assert actors
        assert {one.partition(":")[0] for one in actors} == {whom}
        assert opened(packs.of(whom), whom)


@pytest.mark.parametrize("whom", WHOM)
def test_of_what_is_not_opened_in_both_a_pack_lists_the_objects_alone(packs: Packs, whom: str) -> None:
    pack = packs.of(whom)
    leaves, pages = entries(pack, "both"), beside(pack, "both", "pages")
    since = Checkpoint.parse(split_note((pack / "both/checkpoint.old").read_bytes())[0]).size
    told = {index for index, one in enumerate(leaves) if one["t"] in ("release", "publish") and index >= since}
    assert {one["index"] for one in pages} == told - set(opened(pack, "both"))
    assert {str(leaves[one["index"]]["actor"]).partition(":")[0] for one in pages} == {"us", "mx"} - {whom}
    assert {tuple(one["list"]) for one in pages} == {("ticks",), ("items",)}
    assert not list(pack.glob("[um][sx]/pages"))


def test_openings_and_history_are_of_the_window(packs: Packs) -> None:
    pack = packs.of("us")
    old, new = (
        Checkpoint.parse(split_note((pack / "both" / name).read_bytes())[0])
        for name in ("checkpoint.old", "checkpoint")
    )
    assert (pack / "both/checkpoint.old").read_bytes() == (packs.kept / "both/checkpoint").read_bytes()
    assert 0 < old.size < new.size
    assert min(opened(pack, "both")) >= old.size
    assert min(opened(packs.later, "both")) < old.size
    assert not (packs.later / "both/checkpoint.old").exists()
    sizes = [int(one.name) for one in (pack / "both").glob("checkpoints/*")]
    assert all(old.size < size < new.size for size in sizes)


def test_the_agreement_in_force_and_its_approvals_lie_in_the_pack(packs: Packs) -> None:
    folder = packs.of("both") / "agreements" / "1"
    assert b"agreement" in (folder / "agreement.toml").read_bytes()
    approvals = json.loads((folder / "approvals.json").read_bytes())
    assert len(approvals) == 4  # two of each country


def test_that_a_log_was_taken_is_in_that_log(packs: Packs) -> None:
    """All who may read `both` learn who took it; of its own log only its country."""
    found = {
        log: [one["pub"] for one in entries(packs.later, log) if one["t"] == "pack.export"] for log in ("both", "us")
    }
    assert {log: [one["for"] for one in taken] for log, taken in found.items()} == {  # type: ignore[index]
        "both": ["us", "mx", "both"], "us": ["us"],
    }  # fmt: skip
    note = split_note((packs.of("us") / "us/checkpoint").read_bytes())[0]
    assert found["us"][0]["root"] == Checkpoint.parse(note).root.hex()  # type: ignore[index]
    assert [one["openings"] for one in found["both"]] == [True, True, False]  # type: ignore[index]
    assert [one["pages"] for one in found["both"]] == [["mx"], ["us"], ["us", "mx"]]  # type: ignore[index]
    assert "pages" not in found["us"][0]


def test_every_entry_has_a_schema_in_the_pack(packs: Packs) -> None:
    for log in ("both", "us"):
        for entry in entries(packs.of("us"), log):
            schema = json.loads((packs.of("us") / "schemas" / f"{entry['t']}.json").read_bytes())
            assert set(entry) - {"c"} <= set(schema["properties"])
            assert log in schema["properties"]["log"]["enum"]


@pytest.mark.parametrize("judge", ["puente", "verify.py"])
@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("agreements/1/agreement.toml", b"amber", b"green"),
        ("agreements/1/approvals.json", b'"decision":"approve"', b'"decision":"refuse"'),
        ("agreements/1/approvals.json", b'"jws":"e', b'"jws":"f'),
        ("both/checkpoint.old", b"\n", b"\n0"),
        ("both/consistency", b"old ", b"old 1"),
        ("both/consistency", b"=\n", b"=\n\n"),
        ("both/pages/000.jsonl", b'"ticks":[[', b'"ticks":[[1'),
        ("both/pages/000.jsonl", b'"ticks":[[', b'"runs":[[1,'),
        ("both/pages/000.jsonl", b'"ticks":', b'"agent":"curl","ticks":'),
        ("both/pages/000.jsonl", b'"index":', b'"index":1'),
        ("both/pages/000.jsonl", b" indicator--", b" indicatox--"),
    ],
)
def test_forged_papers_are_named(
    packs: Packs, tmp_path: Path, judge: str, path: str, old: bytes, new: bytes
) -> None:  # fmt: skip
    pack = Path(shutil.copytree(packs.of("both"), tmp_path / "pack"))
    data = (pack / path).read_bytes()
    assert old in data
    (pack / path).write_bytes(data.replace(old, new, 1))
    reseal(pack)
    if judge == "puente":
        assert path in {one.file for one in verify_copy(pack, read_policies(packs.policy_for("both"))).findings}
    else:
        ran = run(packs, pack, "both")
        assert (ran.returncode, f"\N{BALLOT X} {path}: " in ran.stdout) == (1, True), ran.stdout + ran.stderr


def test_both_verifiers_name_a_flipped_byte_of_every_file(packs: Packs, tmp_path: Path) -> None:
    pack = Path(shutil.copytree(packs.of("mx"), tmp_path / "pack"))
    policies, draw = read_policies(packs.policy_for("mx")), random.Random(20261126)
    for number, name in enumerate(files(pack)):
        position, bit = draw.randrange((pack / name).stat().st_size), 1 << draw.randrange(8)
        flip(pack / name, position, bit)
        assert name in {one.file for one in verify_copy(pack, policies).findings}, (name, position, bit)
        if number < FLIPS and name != "verify.py":  # a process each
            ran = run(packs, pack, "mx")
            assert f"\N{BALLOT X} {name}: " in ran.stdout, (name, position, bit, ran)
        flip(pack / name, position, bit)
    assert run(packs, pack, "mx").returncode == 0


def test_the_verifier_takes_no_policy_from_the_pack(packs: Packs, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    command = [sys.executable, packs.of("us") / "verify.py", "--policy", tmp_path / "empty", packs.of("us")]
    assert subprocess.run([str(one) for one in command], capture_output=True, timeout=60).returncode == 2
