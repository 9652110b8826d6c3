"""`puente witness`: what a country sees of its witness, and how it ends it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exchange.cli.ledger import read_policies
from exchange.cli.witnessing import witness
from exchange.clock import FixedClock
from exchange.ledger.audit import verify_copy
from exchange.ledger.merkle import consistency_proof, leaf_hash, reader_of, root
from exchange.ledger.mirror import Piece
from exchange.ledger.note import Checkpoint, LogKey
from exchange.ledger.remembering import Request
from exchange.ledger.witness import Witness

LOG = LogKey("puente.hub.example/audit/both", bytes(range(32)))
OTHER = LogKey("puente.hub.example/audit/both", bytes([9] * 32))
LEAVES = [json.dumps({"n": n, "t": "log.start"}, separators=(",", ":"), sort_keys=True).encode() for n in range(300)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    def invoke(*words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(witness, [str(word) for word in words], env={"LC_ALL": "C"})
        assert result.exit_code == code, result.output
        return result

    return invoke


def note(size: int, hashes: list[bytes] = HASHES) -> bytes:
    return LOG.sign(Checkpoint(LOG.name, size, root(hashes[:size])).body())


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    """One that holds and cosigned 300 entries, and refused another history of 301."""
    directory = tmp_path / "w"
    run("init", directory, "--name", "us-a.witness.example", "--log", LOG.vkey)
    one = Witness(directory, FixedClock())
    assert one.keep(Piece(0, 300, (), note(300), tuple(LEAVES)).encode()).status == 200
    assert one.answer(Request(0, (), note(300)).encode()).status == 200
    forked = [leaf_hash(b"x"), *HASHES]
    proof = tuple(consistency_proof(300, 301, reader_of(forked)))
    assert one.answer(Request(300, proof, note(301, forked)).encode()).status == 422
    one.close()
    return directory


def test_its_memory_and_its_evidence_are_shown(home: Path, run: Run) -> None:
    shown = json.loads(run("show", home, "--json").output)
    assert shown["logs"] == [{"log": LOG.name, "cosigned": 300, "root": root(HASHES).hex(), "mirror": 300}]
    assert (shown["retired"], shown["mirror"], shown["refused"]) == (False, True, 1)
    for words in (LOG.name, "300", "1 refused"):
        assert words in run("show", home).output
    (kept,) = json.loads(run("evidence", home, "--json").output)
    assert (kept["log"], kept["entries"], kept["status"]) == (LOG.name, 301, 422)
    assert kept["file"] in run("evidence", home).output


def test_its_copy_is_what_auditors_read(home: Path, run: Run, tmp_path: Path) -> None:
    run("copy", home, tmp_path / "copy")
    (tmp_path / "policy").mkdir()
    vkey = json.loads(run("show", home, "--json").output)["vkey"]
    (tmp_path / "policy" / "both").write_text(f"log {LOG.vkey}\nwitness us-a {vkey}\nquorum us-a\n")
    report = verify_copy(tmp_path / "copy", read_policies(tmp_path / "policy"))
    assert [log.size for log in report.logs] == [300]
    assert {one.code for one in report.findings} <= {"leaf-fields", "leaf-not-canonical"}, "these are no hub's entries"


def test_a_retired_one_never_signs_again_running_or_not(home: Path, run: Run) -> None:
    one = Witness(home, FixedClock())
    run("retire", home, "--reason", "moved to another data centre")
    assert one.answer(Request(300, (), note(300)).encode()).status == 503
    assert one.keep(b"").status == 503
    one.close()
    assert "RETIRED" in run("show", home).output
    assert json.loads((home / "retired.json").read_bytes())["reason"] == "moved to another data centre"
    result = CliRunner().invoke(witness, ["serve", str(home), "--port", "0"])
    assert "witness-retired" in str(result.exception)


def test_a_log_may_rotate_its_key(home: Path, run: Run) -> None:
    run("trust", home, OTHER.vkey)
    one = Witness(home, FixedClock())
    rotated = OTHER.sign(Checkpoint(LOG.name, 300, root(HASHES)).body())
    assert one.answer(Request(300, (), rotated).encode()).status == 200
    one.close()


def test_one_without_a_mirror_has_no_copy(tmp_path: Path, run: Run) -> None:
    run("init", tmp_path / "w", "--name", "w.example", "--log", LOG.vkey, "--no-mirror")
    assert not (tmp_path / "w" / "reader.token").exists()
    result = CliRunner().invoke(witness, ["copy", str(tmp_path / "w"), str(tmp_path / "copy")])
    assert "keeps no mirror" in str(result.exception)
    assert json.loads(run("show", tmp_path / "w", "--json").output)["logs"][0]["mirror"] is None


def test_to_trust_the_next_generation_closes_the_log(home: Path, run: Run) -> None:
    later = LogKey(f"{LOG.name}/2", bytes([7] * 32))
    assert LOG.name in run("trust", home, later.vkey).output
    assert run("trust", home, LogKey("puente.hub.example/audit/us", bytes([8] * 32)).vkey).output == ""
    one = Witness(home, FixedClock())
    more = [*HASHES, leaf_hash(b"x")]
    proof = tuple(consistency_proof(300, 301, reader_of(more)))
    answer = one.answer(Request(300, proof, note(301, more)).encode())
    assert (answer.status, answer.evidence) == (403, True)
    assert one.answer(Request(0, (), later.sign(Checkpoint(later.name, 0, root([])).body())).encode()).status == 200
    one.close()
