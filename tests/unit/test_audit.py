"""The auditor's copy: whatever is changed in it is found and named, and an honest one passes."""

import asyncio
import os
import random
import shutil
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from certs.jcs import canonical, load
from exchange.clock import FixedClock
from exchange.ledger import merkle, offline
from exchange.ledger.audit import Report, verify_copy, verify_receipt_file, write_copy
from exchange.ledger.entry import Entry, commitment, encode
from exchange.ledger.findings import TEXTS
from exchange.ledger.merkle import leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, Policy, WitnessKey, note_text
from exchange.ledger.opened import Page
from exchange.ledger.pack import Enclosed, Past
from exchange.ledger.receipt import Receipt, ReceiptFault
from exchange.store.answers import Opening
from exchange.times import as_text
from tests.packs import reseal

LOGS = ("both", "us")
KEYS = {log: LogKey(f"puente.hub.example/audit/{log}", bytes([n] * 32)) for n, log in enumerate(LOGS, 10)}
US, MX = (WitnessKey(f"witness.example/{name}", bytes([n] * 32)) for n, name in enumerate(("us", "mx"), 1))
NOW = 1_795_000_000
POLICIES = {
    log: Policy.parse(
        f"log {key.vkey}\nwitness us {US.vkey}\nwitness mx {MX.vkey}\ngroup BOTH all us mx\nquorum BOTH\n"
    )
    for log, key in KEYS.items()
}
START_US = FixedClock().now_us()


def leaf(log: str, n: int, t: str = "submit", pol: str = "us-mx/1@1", /, **changes: object) -> bytes:
    """One entry as the hub writes it, each a second after the one before; `changes` break it."""
    data = encode(
        Entry(log, "admin", "us:us-cyber:acct:7f3a", "coll:x", {"command": "n"}),
        time_us=START_US + n * 1_000_000, req=f"req-{n}", pol=pol, seq=None if log == "both" else n + 1,
    )  # fmt: skip
    return canonical({**load(data, max_bytes=4096), "t": t, "pub": {"n": n}, **changes})


def signed(log: str, entries: Sequence[bytes]) -> bytes:
    body = Checkpoint(KEYS[log].name, len(entries), merkle.root([leaf_hash(one) for one in entries])).body()
    return note_text(KEYS[log].sign(body), [US.cosign(body, NOW), MX.cosign(body, NOW + 5)])


def receipt(log: str, entries: Sequence[bytes], index: int) -> tuple[bytes, bytes]:
    read = merkle.reader_of([leaf_hash(one) for one in entries])
    proof = tuple(merkle.inclusion_proof(index, len(entries), read))
    return Receipt(index, proof, signed(log, entries)).encode(), entries[index]


@dataclass
class Source:
    """A hub's logs in memory, as far as a copy needs them."""

    entries: dict[str, list[bytes]]
    opened: dict[str, list[Opening]] = field(default_factory=dict)
    passed: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Sizes that a log had before, the first of them before the window."""
    listed: list[Page] = field(default_factory=list)

    async def logs(self) -> Sequence[str]:
        return tuple(self.entries)

    async def note(self, log: str) -> bytes:
        return signed(log, self.entries[log])

    async def held(self, log: str) -> int | None:
        return None

    async def past(self, log: str) -> Past:
        notes = [signed(log, self.entries[log][:size]) for size in self.passed.get(log, ())]
        return Past(notes[0], notes[1:]) if notes else Past()

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return self.entries[log][start:end]

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        return [one for one in self.opened.get(log, []) if start <= one.index < end]

    async def pages(self, log: str, start: int, end: int) -> list[Page]:
        return [one for one in self.listed if log == "both" and start <= one.index < end]


def private(log: str, n: int) -> tuple[bytes, Opening]:
    salt, payload = bytes([n % 256] * 32), canonical({"ip": "203.0.113.7", "person": f"analyst {n}"})
    return leaf(log, n, c=b64encode(commitment(salt, payload)).decode()), Opening(n, salt, payload)


def small() -> Source:
    both = [leaf("both", 0, "policy.activate"), *(leaf("both", n) for n in range(1, 259))]
    both[3], opening = private("both", 3)
    us = [leaf("us", n, "release") for n in range(5)]
    return Source({"both": both, "us": us}, {"both": [opening]}, {"both": (2, 3, 256, 258)})


async def written(directory: Path, source: Source) -> Path:
    receipts = {
        f"{log}-{n}": receipt(log, source.entries[log][:size], n) for log, n, size in (("both", 2, 4), ("us", 4, 5))
    }
    await write_copy(directory, source, Enclosed(receipts))
    return directory


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(written(tmp_path_factory.mktemp("audit") / "copy", small()))


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def files(copy: Path) -> list[str]:
    return sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())


def codes(report: Report) -> set[tuple[str, str]]:
    return {(finding.file, finding.code) for finding in report.findings}


def named(report: Report) -> set[str]:
    return {finding.file for finding in report.findings}


def named_offline(copy: Path, kept: dict[str, bytes] | None = None, logs: Sequence[str] = LOGS) -> set[str]:
    """What the verifier that lies in the copy finds wrong."""
    policies = {log: offline.Policy(POLICIES[log].text()) for log in logs}
    found, _ = offline.verify(copy, policies, kept or {})
    return {path for path, _ in found.findings}


def flip(path: Path, position: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= bit
    path.write_bytes(data)


# --- an honest copy ---


def test_an_honest_copy_passes(original: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report = verify_copy(original, POLICIES, on_progress=lambda *step: seen.append(step))
    assert report.findings == ()
    assert report.ok
    assert report.receipts == 2
    both, us = report.logs
    assert (both.name, both.origin, both.size) == ("both", KEYS["both"].name, 259)
    assert both.cosigned == {"us": NOW, "mx": NOW + 5}
    assert both.counts == {"policy.activate": 1, "submit": 258}
    assert (both.first_time, both.last_time) == (as_text(START_US), as_text(START_US + 258_000_000))
    assert us.counts == {"release": 5}
    assert seen == [("both", 256, 259), ("both", 259, 259), ("us", 5, 5)]


def test_the_layout_is_that_of_tlog_tiles(original: Path) -> None:
    assert files(original) == sorted(
        [
            "MANIFEST", "README", "both/checkpoint", "both/checkpoint.old", "both/checkpoints/256", "both/checkpoints/258",
            "both/checkpoints/3", "both/consistency", "both/open/000.jsonl", "both/tile/0/000", "both/tile/0/001.p/3",
            "both/tile/1/000.p/1", "both/tile/entries/000", "both/tile/entries/001.p/3", "receipts/both-2.leaf",
            "receipts/both-2.tlog-proof", "receipts/us-4.leaf", "receipts/us-4.tlog-proof", "us/checkpoint",
            "us/tile/0/000.p/5", "us/tile/entries/000.p/5", "verify.py",
        ]
    )  # fmt: skip
    assert original.stat().st_mode & 0o077 == 0
    for path in files(original):
        assert (original / path).stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 513])
async def test_copies_of_every_kind_of_size_pass(tmp_path: Path, size: int) -> None:
    source = Source({"both": [leaf("both", n) for n in range(size)]})
    await write_copy(tmp_path / "copy", source)
    report = verify_copy(tmp_path / "copy", {"both": POLICIES["both"]})
    assert report.findings == ()
    assert report.logs[0].size == size
    assert not named_offline(tmp_path / "copy", logs=("both",))


async def test_a_copy_is_written_into_an_empty_directory_only(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    with pytest.raises(FileExistsError):
        await write_copy(tmp_path, small())


async def test_a_hundred_thousand_entries_are_verified_whole(tmp_path: Path) -> None:
    await write_copy(tmp_path / "copy", Source({"both": [leaf("both", n) for n in range(100_000)]}))
    report = verify_copy(tmp_path / "copy", {"both": POLICIES["both"]})
    assert report.ok
    assert (tmp_path / "copy/both/tile/2/000.p/1").stat().st_size == 32


# --- accidents and forgeries ---


def test_every_flipped_bit_is_found_and_named(copy: Path) -> None:
    draw = random.Random(20261124)
    for path in files(copy):
        size = (copy / path).stat().st_size
        for position in {0, size // 2, size - 1, *(draw.randrange(size) for _ in range(18))}:
            bit = 1 << draw.randrange(8)
            flip(copy / path, position, bit)
            assert path in named(verify_copy(copy, POLICIES)), (path, position, bit)
            assert path in named_offline(copy), (path, position, bit)
            flip(copy / path, position, bit)
    assert verify_copy(copy, POLICIES).ok
    assert not named_offline(copy)


def test_every_flipped_bit_is_found_though_manifest_was_made_to_agree(copy: Path) -> None:
    """README and verify.py alone are protected by nothing but MANIFEST; of an unknown signature line the same would be true."""
    draw = random.Random(20261125)
    for path in files(copy):
        if path in ("MANIFEST", "README", "verify.py"):
            continue
        size = (copy / path).stat().st_size
        for position in {0, size // 2, size - 1, *(draw.randrange(size) for _ in range(10))}:
            bit = 1 << draw.randrange(8)
            flip(copy / path, position, bit)
            reseal(copy)
            found = verify_copy(copy, POLICIES)
            assert path in named(found), (path, position, bit)
            assert path in named_offline(copy), (path, position, bit)
            assert all(finding.en and finding.es for finding in found.findings)
            flip(copy / path, position, bit)


def test_a_changed_entry_is_named_by_its_index(copy: Path) -> None:
    path = copy / "both/tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b'"n":77}', b'"n":78}'))
    reseal(copy)
    report = verify_copy(copy, POLICIES)
    assert [(one.file, one.entry, one.code) for one in report.findings] == [
        ("both/tile/entries/000", 77, "entry-changed")
    ]


def test_a_changed_tile_is_named_by_its_index(copy: Path) -> None:
    flip(copy / "both/tile/0/000", 32 * 40 + 5)
    reseal(copy)
    report = verify_copy(copy, POLICIES)
    assert [(one.file, one.entry, one.code) for one in report.findings] == [("both/tile/0/000", 40, "tile-changed")]


def test_an_upper_tile_is_checked(copy: Path) -> None:
    flip(copy / "both/tile/1/000.p/1", 0)
    reseal(copy)
    assert codes(verify_copy(copy, POLICIES)) == {("both/tile/1/000.p/1", "tile-changed")}


async def test_a_history_rewritten_whole_fails_at_the_checkpoint(copy: Path, tmp_path: Path) -> None:
    forged = small()
    forged.entries["us"][2] = leaf("us", 2, "submit")
    other = await written(tmp_path / "forged", forged)
    shutil.copytree(other / "us/tile", copy / "us/tile", dirs_exist_ok=True)
    reseal(copy)
    assert codes(verify_copy(copy, POLICIES)) == {("us/checkpoint", "root-mismatch")}


def test_a_false_entry_does_not_accuse_the_log_of_a_fork(copy: Path) -> None:
    """Kept checkpoints and receipts are held against the true history, which the tiles still show."""
    path = copy / "us/tile/entries/000.p/5"
    path.write_bytes(path.read_bytes().replace(b'"n":1}', b'"n":9}'))
    reseal(copy)
    report = verify_copy(copy, POLICIES, kept={"us": signed("us", small().entries["us"][:3])})
    assert codes(report) == {("us/tile/entries/000.p/5", "entry-changed")}
    assert report.receipts == 2


@pytest.mark.parametrize(
    "path",
    [
        "both/checkpoint",
        "both/tile/0/000",
        "both/tile/1/000.p/1",
        "both/tile/entries/001.p/3",
        "both/open/000.jsonl",
        "receipts/us-4.leaf",
        "receipts/us-4.tlog-proof",
        "README",
        "MANIFEST",
    ],
)
def test_a_missing_file_is_named(copy: Path, path: str) -> None:
    (copy / path).unlink()
    assert path in {finding.file for finding in verify_copy(copy, POLICIES).findings}


@pytest.mark.parametrize(
    "path", ["extra", "both/extra", "both/tile/0/002", "both/open/x.json", "receipts/x.txt", "mx/tile/0/000"]
)
@pytest.mark.parametrize("listed", [False, True])
def test_an_unexpected_file_is_named(copy: Path, path: str, listed: bool) -> None:
    (copy / path).parent.mkdir(parents=True, exist_ok=True)
    (copy / path).write_bytes(b"more")
    if listed:
        reseal(copy)
    assert (path, "file-unexpected") in codes(verify_copy(copy, POLICIES))


def test_links_out_of_the_copy_are_not_followed(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "README", tmp_path / "README")
    (copy / "README").symlink_to(tmp_path / "README")
    shutil.move(copy / "us", tmp_path / "us")
    (copy / "us").symlink_to(tmp_path / "us")
    found = codes(verify_copy(copy, POLICIES))
    assert {("README", "file-unexpected"), ("us", "file-unexpected"), ("us/checkpoint", "file-missing")} <= found


def test_manifest_cannot_point_outside(copy: Path) -> None:
    with (copy / "MANIFEST").open("a") as stream:
        stream.write(f"{'0' * 64}  ../../etc/passwd\n")
    assert ("MANIFEST", "manifest-damaged") in codes(verify_copy(copy, POLICIES))


def test_a_file_too_large_is_not_read(copy: Path) -> None:
    os.truncate(copy / "README", 20_000_000)
    assert ("README", "file-too-large") in codes(verify_copy(copy, POLICIES))


def test_a_directory_in_place_of_a_file(copy: Path) -> None:
    (copy / "us/checkpoint").unlink()
    (copy / "us/checkpoint").mkdir()
    assert not verify_copy(copy, POLICIES).ok


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "a byte less": lambda data: data[:-1],
    "an entry less": lambda data: data[:-40],
    "more": lambda data: data + data[:60],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    "path", ["both/tile/entries/000", "both/tile/0/000", "us/tile/entries/000.p/5", "us/tile/0/000.p/5"]
)
def test_truncated_and_lengthened_files_are_named(copy: Path, path: str, cut: str) -> None:
    (copy / path).write_bytes(CUTS[cut]((copy / path).read_bytes()))
    reseal(copy)
    assert path in {finding.file for finding in verify_copy(copy, POLICIES).findings}


def test_swapped_and_doubled_entries_are_named(copy: Path) -> None:
    path, entries = copy / "us/tile/entries/000.p/5", small().entries["us"]
    for order in ([0, 2, 1, 3, 4], [0, 1, 1, 3, 4]):
        path.write_bytes(b"".join(len(entries[n]).to_bytes(2, "big") + entries[n] for n in order))
        reseal(copy)
        assert ("us/tile/entries/000.p/5", "entry-changed") in codes(verify_copy(copy, POLICIES))


# --- policies, quorum and the kept checkpoint ---


def test_a_log_without_a_policy_is_not_silently_passed_over(original: Path) -> None:
    report = verify_copy(original, {"both": POLICIES["both"]})
    assert ("us/checkpoint", "policy-missing") in codes(report)
    assert ("receipts/us-4.tlog-proof", "receipt-log") in codes(report)


def test_a_log_that_is_not_there_is_missed(copy: Path) -> None:
    shutil.rmtree(copy / "us")
    assert ("us/checkpoint", "file-missing") in codes(verify_copy(copy, POLICIES))


def test_one_country_alone_is_not_enough(copy: Path) -> None:
    lines = (copy / "us/checkpoint").read_bytes().splitlines(keepends=True)
    (copy / "us/checkpoint").write_bytes(b"".join(lines[:-1]))
    reseal(copy)
    report = verify_copy(copy, POLICIES)
    assert ("us/checkpoint", "quorum-missing") in codes(report)
    assert report.logs[1].size == 0


def test_the_log_of_another_name_does_not_pass(copy: Path) -> None:
    shutil.rmtree(copy / "us")
    shutil.copytree(copy / "both", copy / "us")
    reseal(copy)
    assert ("us/checkpoint", "note-unsigned") not in codes(verify_copy(copy, POLICIES))
    assert ("us/checkpoint", "log-unsigned") in codes(verify_copy(copy, POLICIES))
    # Nor under a policy that trusts the other log's key.
    report = verify_copy(copy, {"both": POLICIES["both"], "us": POLICIES["both"]})
    assert ("us/tile/entries/000", "leaf-fields") in codes(report)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 258, 259])
def test_the_copy_must_contain_what_was_seen_before(original: Path, size: int) -> None:
    entries = small().entries["both"]
    kept = {"both": signed("both", entries[:size])}
    assert verify_copy(original, POLICIES, kept).ok
    assert not named_offline(original, kept)
    if size:
        forked = {"both": signed("both", [*entries[: size - 1], b"something else"])}
        assert codes(verify_copy(original, POLICIES, forked)) == {("both/checkpoint", "kept-fork")}
        assert named_offline(original, forked) == {"both/checkpoint"}


def test_a_checkpoint_of_the_past_that_is_of_another_history_is_evidence(copy: Path) -> None:
    """Signed and cosigned like the others: what the log would have said to somebody else."""
    other = signed("both", [*small().entries["both"][:257], leaf("both", 257, "deny")])
    (copy / "both/checkpoints/258").write_bytes(other)
    reseal(copy)
    assert codes(verify_copy(copy, POLICIES)) == {("both/checkpoints/258", "past-fork")}
    assert named_offline(copy) == {"both/checkpoints/258"}


def test_the_proof_of_the_past_must_be_of_that_past(copy: Path) -> None:
    (copy / "both/checkpoint.old").write_bytes(signed("both", small().entries["both"][:3]))
    reseal(copy)
    assert codes(verify_copy(copy, POLICIES)) == {("both/consistency", "consistency-wrong")}
    assert named_offline(copy) == {"both/consistency"}


def test_checkpoints_of_the_past_have_their_names_and_no_greater_size(copy: Path) -> None:
    (copy / "both/checkpoints/3").rename(copy / "both/checkpoints/4")
    newer = [*small().entries["both"], leaf("both", 259)]
    (copy / "both/checkpoints/260").write_bytes(signed("both", newer))
    (copy / "both/checkpoints/5").write_bytes(signed("us", small().entries["us"]))
    reseal(copy)
    strange = {f"both/checkpoints/{size}" for size in (4, 5, 260)}
    assert {path for path, code in codes(verify_copy(copy, POLICIES)) if code == "past-strange"} == strange
    assert named(verify_copy(copy, POLICIES)) == named_offline(copy) == strange


def test_an_older_copy_and_a_useless_kept_checkpoint(original: Path) -> None:
    entries = [*small().entries["both"], leaf("both", 259)]
    for kept, code in (
        (signed("both", entries), "kept-newer"),
        (signed("us", entries[:3]), "kept-malformed"),
        (b"rubbish", "kept-malformed"),
    ):
        assert codes(verify_copy(original, POLICIES, kept={"both": kept})) == {("both/checkpoint", code)}


# --- openings and receipts ---


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"analyst 3", b"analyst 4", "opening-wrong"),
        (b'"salt":"03', b'"salt":"04', "opening-wrong"),
        (b'"salt"', b'"sale"', "opening-malformed"),
        (b'":"', b'": "', "opening-malformed"),
        (b"0303", b"03", "opening-malformed"),
        (b"{", b"[", "opening-malformed"),
        (b'"index":3', b'"index":-3', "opening-malformed"),
        (b'"index":3', b'"index":"3"', "opening-malformed"),
        *((b'"index":3', b'"index":%d' % index, "opening-wrong") for index in (4, 258, 259, 10**15)),
    ],
)
def test_an_opening_must_be_what_its_leaf_committed_to(copy: Path, old: bytes, new: bytes, code: str) -> None:
    path = copy / "both/open/000.jsonl"
    path.write_bytes(path.read_bytes().replace(old, new))
    reseal(copy)
    assert codes(verify_copy(copy, POLICIES)) == {("both/open/000.jsonl", code)}


def test_an_opening_stands_once(copy: Path) -> None:
    path = copy / "both/open/000.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    reseal(copy)
    assert codes(verify_copy(copy, POLICIES)) == {("both/open/000.jsonl", "opening-malformed")}


def test_a_receipt_of_another_history_is_evidence(copy: Path) -> None:
    entries = small().entries["us"]
    for forked in ([*entries[:4], leaf("us", 4, "deny")], [*entries[:4], leaf("us", 4, "deny"), leaf("us", 5)]):
        proof, body = receipt("us", forked, 4)
        (copy / "receipts/us-4.tlog-proof").write_bytes(proof)
        (copy / "receipts/us-4.leaf").write_bytes(body)
        reseal(copy)
        assert codes(verify_copy(copy, POLICIES)) == {("receipts/us-4.tlog-proof", "receipt-fork")}


def test_a_receipt_newer_than_the_copy_is_no_fault(copy: Path) -> None:
    entries = [*small().entries["us"], leaf("us", 5)]
    for index in (4, 5):
        proof, body = receipt("us", entries, index)
        (copy / "receipts/us-4.tlog-proof").write_bytes(proof)
        (copy / "receipts/us-4.leaf").write_bytes(body)
        reseal(copy)
        assert verify_copy(copy, POLICIES).ok


def test_one_receipt_file_by_itself(original: Path, tmp_path: Path) -> None:
    proof, body = original / "receipts/us-4.tlog-proof", original / "receipts/us-4.leaf"
    assert verify_receipt_file(proof, body, POLICIES).index == 4
    with pytest.raises(ReceiptFault, match="receipt-log"):
        verify_receipt_file(proof, body, {"both": POLICIES["both"]})
    with pytest.raises(ReceiptFault, match="receipt-inclusion"):
        verify_receipt_file(proof, original / "receipts/both-2.leaf", POLICIES)
    with pytest.raises(ReceiptFault, match="receipt-malformed"):
        verify_receipt_file(body, proof, POLICIES)


# --- what the entries say: signed by everybody, and wrong all the same ---


async def events(tmp_path: Path, log: str, entries: list[bytes]) -> list[tuple[int | None, str]]:
    await write_copy(tmp_path / "copy", Source({log: entries}))
    report = verify_copy(tmp_path / "copy", {log: POLICIES[log]})
    return [(finding.entry, finding.code) for finding in report.findings]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (b"", "leaf-malformed"),
        (b"\xff", "leaf-malformed"),
        (b"[]", "leaf-malformed"),
        (b'{"v":1,"v":1}', "leaf-malformed"),
        (leaf("both", 1).replace(b'"n":1', b'"n": 1'), "leaf-not-canonical"),
        (leaf("both", 1, v=2), "leaf-fields"),
        (leaf("both", 1, log="us"), "leaf-fields"),
        (leaf("both", 1, t=7), "leaf-fields"),
        (leaf("both", 1, pub=[]), "leaf-fields"),
        (leaf("both", 1, pol="us-mx/1"), "leaf-fields"),
        (leaf("both", 1, time="2026-11-24T12:00:01Z"), "leaf-fields"),
        (leaf("both", 1, time="2026-13-24T12:00:01.000000Z"), "leaf-fields"),
        (leaf("both", 1, time="2026-11-24T11:59:59.999999Z"), "time-order"),
        (leaf("both", 1, seq=1), "seq-order"),
    ],
)
async def test_entries_that_are_no_events_are_named(tmp_path: Path, entry: bytes, code: str) -> None:
    assert await events(tmp_path, "both", [leaf("both", 0), entry, leaf("both", 2)]) == [(1, code)]


@pytest.mark.parametrize("seq", [None, 1, 0, "2"])
async def test_national_numbers_rise(tmp_path: Path, seq: object) -> None:
    second = load(leaf("us", 1), max_bytes=4096) | {"seq": seq}
    if seq is None:
        del second["seq"]
    assert await events(tmp_path, "us", [leaf("us", 0), canonical(second), leaf("us", 2)]) == [(1, "seq-order")]


async def test_equal_times_and_gaps_in_national_numbers_are_usual(tmp_path: Path) -> None:
    entries = [leaf("us", 0), leaf("us", 7, time=as_text(START_US)), leaf("us", 9)]
    assert await events(tmp_path, "us", entries) == []


async def test_a_release_under_a_superseded_agreement_is_named(tmp_path: Path) -> None:
    first, second = "us-mx/1@1", "us-mx/2@2"
    entries = [
        leaf("both", 0, "log.start", ""),
        leaf("both", 1, "policy.activate", first),
        leaf("both", 2, "release", first),
        leaf("both", 3, "policy.activate", second),
        leaf("both", 4, "release", first),
        leaf("both", 5, "release", second),
        leaf("both", 6, "submit", first),
        leaf("both", 7, "policy.activate", second),
        leaf("both", 8, "release", ""),
    ]
    assert await events(tmp_path, "both", entries) == [
        (4, "release-superseded"), (6, "policy-order"), (7, "policy-order"), (8, "release-superseded"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "adoption", ["policy.activate", "policy.tighten", "policy.lift", "policy.lapse", "policy.expire"]
)
async def test_whatever_gives_the_rules_a_new_number_supersedes(tmp_path: Path, adoption: str) -> None:
    entries = [
        leaf("both", 0, "policy.activate", "us-mx/1@1"),
        leaf("both", 1, "release", "us-mx/1@2"),
        leaf("both", 2, adoption, "us-mx/1@2"),
        leaf("both", 3, "release", "us-mx/1@1"),
        leaf("both", 4, "release", "us-mx/1@2"),
    ]
    assert await events(tmp_path, "both", entries) == [(1, "release-early"), (3, "release-superseded")]


async def test_one_bad_file_does_not_bury_the_others(tmp_path: Path) -> None:
    entries = [leaf("us", n, v=2) for n in range(300)]
    found = await events(tmp_path, "us", entries)
    assert len(found) == 100 + 44


def test_every_text_is_in_both_languages() -> None:
    for code, text in TEXTS.items():
        assert code == code.lower()
        assert text.en
        assert text.es
        assert text.en != text.es
        assert ("{detail}" in text.en) == ("{detail}" in text.es)
