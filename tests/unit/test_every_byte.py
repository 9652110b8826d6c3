"""Every byte of a whole copy, changed one at a time: the file it lies in is named, even if MANIFEST was made to agree with it."""

import asyncio
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from exchange.ledger.audit import verify_copy
from exchange.ledger.copied import Files
from exchange.ledger.findings import Finding, Findings
from exchange.ledger.opened import Page
from exchange.ledger.pack import SEAL
from exchange.times import as_text
from tests.packs import Packs
from tests.unit.test_audit import POLICIES, START_US, Source, files, leaf, named, named_offline, private, written

pytestmark = pytest.mark.timeout(600)

SIGNED = (
    "both/checkpoint", "both/checkpoint.old", "both/checkpoints/3", "both/consistency", "both/open/000.jsonl", "both/pages/000.jsonl",
    "both/tile/0/000.p/5", "both/tile/entries/000.p/5", "receipts/both-2.leaf", "receipts/both-2.tlog-proof", "receipts/us-4.leaf",
    "receipts/us-4.tlog-proof", "us/checkpoint", "us/tile/0/000.p/5", "us/tile/entries/000.p/5",
)  # fmt: skip
"""For the others, README and verify.py, nothing but MANIFEST vouches."""


def small() -> Source:
    """Two logs of five entries, with all that may lie beside them: a past, an opening, a list of a page, receipts."""
    both = [leaf("both", 0, "policy.activate"), *(leaf("both", n) for n in range(1, 5))]
    both[2], opening = private("both", 2)
    span = {"first": as_text(START_US), "last": as_text(START_US + 2), "count": 3}
    both[3] = leaf("both", 3, "release", pub=span)
    page = Page(3, {"ticks": [[START_US, 3]]})
    us = [leaf("us", n) for n in range(5)]
    return Source({"both": both, "us": us}, {"both": [opening]}, {"both": (2, 3)}, [page])


def flipped(data: bytes) -> Iterator[bytes]:
    """With one byte after the other changed in one bit: the lowest of the first, the next of the next."""
    for position, byte in enumerate(data):
        yield data[:position] + bytes([byte ^ 1 << position % 8]) + data[position + 1 :]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(written(tmp_path_factory.mktemp("every") / "copy", small()))


def test_the_list_of_files_is_whole(copy: Path) -> None:
    assert sorted([*SIGNED, "MANIFEST", "README", "verify.py"]) == files(copy)
    assert verify_copy(copy, POLICIES).ok
    assert not named_offline(copy)


@pytest.mark.parametrize("path", SIGNED)
def test_every_byte_counts_though_manifest_was_made_to_agree(copy: Path, path: str) -> None:
    """What a forger does. Of both verifiers each names the file, by signatures, proofs and commitments alone."""
    original, manifest = (copy / path).read_bytes(), (copy / "MANIFEST").read_bytes()
    before, _, after = manifest.rpartition(SEAL.encode())[0].partition(sha256(original).hexdigest().encode())
    try:
        for position, data in enumerate(flipped(original)):
            listed = before + sha256(data).hexdigest().encode() + after
            (copy / path).write_bytes(data)
            (copy / "MANIFEST").write_bytes(listed + f"{SEAL}{sha256(listed).hexdigest()}\n".encode())
            assert path in named(verify_copy(copy, POLICIES)), position
            assert path in named_offline(copy), position
    finally:
        (copy / path).write_bytes(original)
        (copy / "MANIFEST").write_bytes(manifest)


class Unlimited(Findings):
    """Of one file too, as often as it is read."""

    def quote(self, code: str, file: str, en: str, es: str, entry: int | None = None) -> None:
        self.all.append(Finding(file, entry, code, en, es))


def test_every_byte_of_every_file_is_vouched_for_by_manifest(packs: Packs) -> None:
    """Of a whole hub's pack, agreements, schemas and verifier included: each file is read as a verifier of the whole reads it."""
    pack, findings = packs.of("us"), Unlimited()
    read = Files(pack, findings)
    for path in sorted({*files(pack)} - {"MANIFEST"}):
        original = (pack / path).read_bytes()
        with (pack / path).open("r+b", buffering=0) as file:
            for position, byte in enumerate(original):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << position % 8]), position)
                read.read(path)
                os.pwrite(file.fileno(), bytes([byte]), position)
        assert [(one.file, one.code) for one in findings.all] == [(path, "file-digest")] * len(original)
        findings.all.clear()
        assert read.read(path) == original
        assert not findings.all


def test_every_byte_of_manifest_is_vouched_for_by_itself(copy: Path) -> None:
    original = (copy / "MANIFEST").read_bytes()
    try:
        for position, data in enumerate(flipped(original)):
            (copy / "MANIFEST").write_bytes(data)
            findings = Findings()
            Files(copy, findings)
            assert [(one.file, one.code) for one in findings.all] == [("MANIFEST", "manifest-damaged")], position
    finally:
        (copy / "MANIFEST").write_bytes(original)
