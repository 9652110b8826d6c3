"""A verifier that is not ours: golang.org/x/mod/sumdb judges our notes, tiles and proofs (tests/interop/sumdb/main.go).

Go and Debian's golang-golang-x-mod-dev are needed; .ci/run installs them, and there the tests are not skipped.
"""

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange.cli.ledger import read_policies
from exchange.cli.packing import write_pack
from exchange.cli.setup import OPERATOR, WITNESSES
from exchange.hub import working
from exchange.ledger import merkle
from exchange.ledger.audit import verify_copy
from exchange.ledger.signing import KeyFiles
from tests.packs import Packs, reseal
from tests.rotating import desk, new_key, trust
from tests.unit.test_merkle import LARGEST, LEAVES, READ, ROOTS
from tests.world import found

SOURCE = Path(__file__).with_name("sumdb")
MODULES = Path("/usr/share/gocode")

Verifier = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    """The glue, built without any network."""
    if shutil.which("go") is None or not (MODULES / "src/golang.org/x/mod/sumdb").is_dir():
        reason = "THE GO VERIFIER IS NOT TRIED: it needs the packages golang-go and golang-golang-x-mod-dev"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    made = tmp_path_factory.mktemp("go")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": str(MODULES), "GOFLAGS": "", "GOPROXY": "off", "GOCACHE": str(made / "cache")}  # fmt: skip
    subprocess.run(["go", "build", "-o", made / "verifier", "."], cwd=SOURCE, env=env, check=True, timeout=110)

    def run(*words: object, lines: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(made / "verifier"), *map(str, words)]
        return subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize("whom", ["us", "mx", "both"])
def test_packs_of_a_whole_hub_are_accepted(verifier: Verifier, packs: Packs, whom: str) -> None:
    ran = verifier("pack", packs.policy_for(whom), packs.of(whom))
    assert (ran.returncode, ran.stdout) == (0, "")


# --- what §6 of the ledger's design lists, and more: each is refused by Go and by us ---


def _flip(position: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        place = position % len(data)
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return change


def _line(number: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Change one line of a text."""

    def changed(data: bytes) -> bytes:
        lines = data.split(b"\n")
        lines[number] = change(lines[number])
        return b"\n".join(lines)

    return changed


def _without_witnesses(prefix: str) -> Callable[[bytes], bytes]:
    """Of a country's two witnesses either is enough: both must be gone."""
    start = f"\N{EM DASH} {prefix}".encode()
    return lambda data: b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(start))


def _without(number: int) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        lines = data.split(b"\n")
        del lines[number]
        return b"\n".join(lines)

    return changed


def _swapped(data: bytes) -> bytes:
    first, second = 2 + int.from_bytes(data[:2], "big"), 0
    second = first + 2 + int.from_bytes(data[first : first + 2], "big")
    return data[first:second] + data[:first] + data[second:]


def _other_base64(line: bytes) -> bytes:
    data = base64.b64decode(line)
    return base64.b64encode(bytes([data[0] ^ 1]) + data[1:])


MUTATIONS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a byte of an entry": ("both/tile/entries/*", _flip(60)),
    "the last byte of a bundle": ("both/tile/entries/*", _flip(-1)),
    "the length of an entry": ("both/tile/entries/*", _flip(1)),
    "two entries swapped": ("both/tile/entries/*", _swapped),
    "bytes after the entries": ("both/tile/entries/*", lambda data: data + b"\0\1x"),
    "an entry left out": ("both/tile/entries/*", lambda data: data[2 + int.from_bytes(data[:2], "big") :]),
    "a hash tile": ("both/tile/0/*", _flip(40)),
    "a hash tile cut": ("both/tile/0/*", lambda data: data[:-32]),
    "the origin": ("both/checkpoint", _line(0, lambda line: line + b"x")),
    "the size": ("both/checkpoint", _line(1, lambda line: b"%d" % (int(line) - 1))),
    "the root": ("both/checkpoint", _line(2, _other_base64)),
    "an extension line": ("both/checkpoint", _line(2, lambda line: line + b"\nmore")),
    "no log signature": ("both/checkpoint", _without(4)),
    "one country's cosignatures dropped": ("both/checkpoint", _without_witnesses("us-")),
    "the other country's dropped": ("both/checkpoint", _without_witnesses("mx-")),
    "the time of a cosignature": ("both/checkpoint", _line(5, lambda line: line[:-80] + (b"B" if line[-80:-79] == b"A" else b"A") + line[-79:])),
    "the root of before": ("both/checkpoint.old", _line(2, _other_base64)),
    "the size of before": ("both/checkpoint.old", _line(1, lambda line: b"%d" % (int(line) - 1))),
    "another size in the proof": ("both/consistency", _line(0, lambda _: b"old 3")),
    "a hash of the proof": ("both/consistency", _line(1, _other_base64)),
    "a hash of the proof left out": ("both/consistency", _without(1)),
    "a hash too many in the proof": ("both/consistency", _line(1, lambda line: line + b"\n" + line)),
    "the index of a receipt": ("receipts/both-*.tlog-proof", _line(1, lambda line: b"index %d" % (int(line[6:]) - 1))),
    "a hash of a receipt": ("receipts/both-*.tlog-proof", _line(2, _other_base64)),
    "the leaf of a receipt": ("receipts/both-*.leaf", _flip(50)),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_what_was_tampered_with_is_refused_by_go_and_by_us(
    verifier: Verifier, packs: Packs, tmp_path: Path, mutation: str
) -> None:
    pack = Path(shutil.copytree(packs.of("us"), tmp_path / "pack"))
    pattern, change = MUTATIONS[mutation]
    [path] = _files(pack, pattern)
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    reseal(pack)
    assert verifier("pack", packs.policy_for("us"), pack).returncode == 1
    found = verify_copy(pack, read_policies(packs.policy_for("us"))).findings
    assert path.relative_to(pack).as_posix() in {one.file for one in found}


def _files(pack: Path, pattern: str) -> Iterator[Path]:
    """What the pattern names; of tiles also the partial ones, in their folders."""
    for one in pack.glob(pattern):
        yield from (one.iterdir() if one.is_dir() else (one,))


def test_another_policy_is_not_satisfied(verifier: Verifier, packs: Packs, tmp_path: Path) -> None:
    policy = Path(shutil.copytree(packs.policy_for("us"), tmp_path / "policy"))
    (policy / "both").write_text((packs.policy / "mx").read_text())
    assert verifier("pack", policy, packs.of("us")).returncode == 1


async def test_packs_of_a_log_whose_key_is_replaced_are_accepted(verifier: Verifier, tmp_path: Path) -> None:
    """Notes that two keys of the log signed, under policies that list either or both; and what comes after."""
    async with found(tmp_path / "home") as founded:
        old, new = KeyFiles(founded.settings.keys).main("both"), new_key(founded, "both")
        trust(founded, new, WITNESSES)
        policies = {name: tmp_path / name for name in ("old", "new", "two")}
        for name, gone in (("old", new), ("new", old), ("two", None)):
            shutil.copytree(founded.settings.witness_policy, policies[name])
            (policies[name] / "mx").unlink()
            text = (policies[name] / "both").read_text()
            (policies[name] / "both").write_text(text.replace(f"log {gone.vkey}\n", "") if gone else text)
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            for step in ("both", "alone"):
                if step == "both":
                    await desk(services).begin(OPERATOR, "both", new.vkey)
                else:
                    await desk(services).finish(OPERATOR, "both")
                await services.records.anchor()
                await services.publisher.publish_once()
                await services.publisher.witness_round()
                await write_pack(services, tmp_path / step, "us", None, [])
    for pack, name, accepted in (
        ("both", "old", True), ("both", "new", True), ("both", "two", True),
        ("alone", "old", False), ("alone", "new", True), ("alone", "two", True),
    ):  # fmt: skip
        ran = verifier("pack", policies[name], tmp_path / pack)
        assert (ran.returncode == 0) == accepted, (pack, name, ran.stdout)
        assert verify_copy(tmp_path / pack, read_policies(policies[name])).ok == accepted, (pack, name)


# --- proofs ---


def test_every_proof_up_to_300_is_accepted_and_refused_when_altered(verifier: Verifier) -> None:
    """Inclusion of every leaf and consistency from every size, in every tree; each proof also with a hash changed."""
    lines, expected = [], []

    def ask(kind: str, first: int, size: int, one: bytes, root: bytes, proof: list[bytes]) -> None:
        for altered in (False, True):
            if altered and not proof:
                continue
            place = first % len(proof) if proof else 0
            sent = [bytes([node[0] ^ altered]) + node[1:] if n == place else node for n, node in enumerate(proof)]
            hashes = " ".join(base64.b64encode(node).decode() for node in (one, root, *sent))
            lines.append(f"{kind} {first} {size} {hashes}\n")
            expected.append("no" if altered else "yes")

    for size in range(1, LARGEST + 1):
        for index in range(size):
            ask("record", index, size, LEAVES[index], ROOTS[size], merkle.inclusion_proof(index, size, READ))
            old = index + 1
            ask("tree", old, size, ROOTS[old], ROOTS[size], merkle.consistency_proof(old, size, READ))
    ran = verifier("proofs", lines="".join(lines))
    assert ran.returncode == 0, ran.stdout[-200:]
    assert ran.stdout.split() == expected
    assert expected.count("yes") == LARGEST * (LARGEST + 1)
