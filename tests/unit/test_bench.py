"""The benchmark measures what it says: its corpus would be let in, its envelopes are whole, its arithmetic is right."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import reported
from bench.corpus import envelopes, indicators
from bench.feeds import CASES, measure
from bench.growth import LABELS, READERS, Growth, bulk_labels, bulk_objects
from bench.hub import STRANGER
from bench.load import Measured
from bench.peers import version_of
from bench.report import Report, growth, table
from bench.suite import Cell, Run
from certs.jcs import canonical
from certs.signature import EXT_SIG, Signer, verify_object
from exchange.cli import setup
from exchange.clock import FixedClock
from exchange.intake.pattern import check_pattern
from exchange.intake.validate import rejections
from exchange.intake.warninglists import Warninglists
from exchange.model.stix import StixObject
from policies.agreement import load as load_agreement
from policies.decide import decide
from policies.label import Recipient
from tests.pki import NOW, US_PORT, Pki, make_pki

ROOT = Path(__file__).resolve().parents[2]
COUNT = 400


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def signer(pki: Pki) -> Signer:
    return pki.signer("US", "us-port-gulf", US_PORT)


@pytest.fixture(scope="module")
def corpus(signer: Signer) -> list[bytes]:
    return list(indicators(COUNT, signer, FixedClock()))


def unsigned(raw: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(raw)
    del value["extensions"]
    return value


def test_the_corpus_is_the_same_for_its_seed_but_for_signatures(corpus: list[bytes], signer: Signer) -> None:
    again = list(indicators(COUNT, signer, FixedClock()))
    assert [unsigned(one) for one in again] == [unsigned(one) for one in corpus]
    assert len({json.loads(one)["id"] for one in corpus}) == COUNT


def test_the_hub_would_let_every_object_of_the_corpus_in(corpus: list[bytes], pki: Pki, signer: Signer) -> None:
    keyring, known_good = pki.keyring((signer, "US")), Warninglists.packaged()
    for raw in corpus:
        value = json.loads(raw)
        assert not list(rejections(value))
        assert not check_pattern(value["pattern"])
        assert not known_good.hits(value["pattern"])
        assert verify_object(value, keyring, received=NOW + timedelta(seconds=1))


def test_the_corpus_has_every_kind_of_pattern(corpus: list[bytes]) -> None:
    patterns = [json.loads(raw)["pattern"] for raw in corpus]
    for kind in ("[ipv4-addr", "[domain-name", "[url", "[file", "(["):
        assert any(one.startswith(kind) for one in patterns)


@pytest.mark.parametrize("batch", [1, 7, 100, COUNT, COUNT + 1])
def test_envelopes_hold_every_object_once_and_no_more_than_asked(corpus: list[bytes], batch: int) -> None:
    found = [json.loads(one)["objects"] for one in envelopes(corpus, batch)]
    assert all(0 < len(objects) <= batch for objects in found)
    assert [one for objects in found for one in objects] == [json.loads(raw) for raw in corpus]
    assert all(EXT_SIG in one["extensions"] for objects in found for one in objects)


def test_percentiles_are_of_the_nearest_rank() -> None:
    hundred = Measured(done=100, wall_seconds=1, cpu_seconds=2, latencies=[n / 1000 for n in range(100, 0, -1)])
    assert [hundred.milliseconds(share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert hundred.per_cpu_second == 50
    assert Measured(latencies=[0.003]).milliseconds(0.99) == 3
    assert Measured().milliseconds(0.5) == 0
    assert Measured().per_cpu_second == 0


def test_a_p99_of_too_few_samples_is_not_given() -> None:
    def cell(samples: int) -> Cell:
        return Cell.of(Measured(done=1, wall_seconds=1, cpu_seconds=1, latencies=[0.001] * samples))

    assert cell(99).p99_ms is None
    assert cell(100).p99_ms == 1


def test_a_ratio_is_of_cpu_rates_at_one_size_and_a_gap_is_no_ratio() -> None:
    def run(subject: str, objects: int, **rates: float) -> Run:
        return Run(subject, "1", objects, {row: Cell(rate, 0, 1, 1, 1, None) for row, rate in rates.items()})

    ours = run("puente", 100_000, page=999)
    ours.memory_mb = {"tenth": 100, "full": 145}
    report = Report("2026-11-26", quick=True, verifies_per_cpu_second=[1, 1], hub=ours)
    report.peers["opentaxii"] = (run("opentaxii", 5_000, page=2), run("puente", 5_000, page=50, object=1))
    report.not_measured["medallion"] = "it is not there"
    assert report.ratio("opentaxii", "page") == 25
    assert report.ratio("opentaxii", "object") is None
    assert report.ratio("medallion", "page") is None
    assert growth(ours) == 500
    assert "medallion: not measured: it is not there" in report.markdown()
    assert json.loads(report.json())["peers"]["opentaxii"]["hub_to_peer"] == {"page": 25}


def test_a_peer_that_is_not_there_is_written_down_and_the_run_goes_on(tmp_path: Path) -> None:
    report = Report("2026-11-26", quick=True)
    with reported(report, tmp_path, "opentaxii"):
        version_of("opentaxii", tmp_path / ".venv-peers" / "bin" / "python")
    assert report.not_measured == {
        "opentaxii": "opentaxii is not installed: .venv-peers, made by ./dev bench, is missing"
    }
    assert "**OpenTAXII: not measured: opentaxii is not installed" in report.markdown()


def test_the_bulk_is_seen_by_as_many_as_is_said() -> None:
    """100 labels make each share exact; the agreement is the hub's own."""
    agreement = load_agreement(setup.sample_agreement())
    labels = [label for label, _ in bulk_labels()]
    assert len({text for _, text in bulk_labels()}) == len(labels) == LABELS
    share = {}
    for name, slug in READERS.items():
        member = STRANGER if slug == STRANGER.slug else setup.sample_member(slug)
        reader = Recipient(member.slug, member.country, member.roles, member.sectors, member.status)
        decisions = [decide(agreement, label, reader, now="2026-11-26T00:00:00.000000Z") for label in labels]
        share[name] = sum(one.effect == "permit" and one.view == "full" for one in decisions) / LABELS
    assert share == {"all": 1, "half": 0.5, "1 %": 0.01, "nothing": 0}


def test_the_bulk_is_as_the_hub_would_keep_it(corpus: list[bytes]) -> None:
    found = list(bulk_objects(corpus[0], 50))
    assert len({obj.id for obj in found}) == len({obj.sha256 for obj in found}) == 50
    for obj in found:
        value = json.loads(obj.body)
        assert canonical(value) == obj.body
        assert StixObject.of(value, obj.body) == obj


def test_growth_and_other_forms_stand_beside_what_they_are_compared_with() -> None:
    def run(subject: str, rate: float) -> Run:
        return Run(subject, "1", 9, {"poll-64": Cell(rate, 0, 1, 200, 1, 4.5)}, memory_mb={"tenth": 1, "full": 1})

    report = Report("2026-11-26", quick=False, hub=run("puente", 400), forms=[run("PostgreSQL, 1 worker", 300)])
    report.growth = Growth(
        (10, 1000), {10: [100, 50], 1000: [90, 60]}, {10: [8, 8], 1000: [8, 8]}, {"first": [2, 2], "last": [3, 3]},
        {"1 %": (3, 4)}, {"1 %": 7}, None, {"start": 80, "after a full pull": 99},
    )  # fmt: skip
    text = " ".join(report.markdown().split())
    assert "| 400 (4.5) | 300 (4.5) |" in text
    assert "75.0 (1.00) | 75.0 (1.05)" in text
    assert "2.0 ms of CPU at the beginning and 3 (1.50) at the end" in text
    assert json.loads(report.json())["growth"]["ingest"] == {"10": [100, 50], "1000": [90, 60]}


async def answer(done: int, fault: Exception | None = None) -> Measured:
    if fault is not None:
        raise ExceptionGroup("clients", [fault])
    return Measured(done=done, wall_seconds=1, cpu_seconds=1)


def test_what_a_peer_fails_at_is_marked_and_what_the_hub_fails_at_ends_the_run() -> None:
    peer, hub = Run("medallion", "3", 10), Run("puente", "1", 10)
    peer.take("page", answer(0, RuntimeError("500 to GET")), 1)
    peer.take("object", answer(9), 10)
    peer.take("poll-1", answer(10), 10)
    assert peer.failed == {"page": "500 to GET", "object": "9 instead of 10"}
    assert list(peer.cells) == ["poll-1"]
    hub.take("page", answer(10), 10)
    with pytest.raises(RuntimeError):
        hub.take("object", answer(9), 10)
    report = Report("2026-11-26", quick=True, peers={"medallion": (peer, hub)})
    assert '**medallion failed at "objects/{id}/, 8 connections": 9 instead of 10**' in report.markdown()


def test_what_is_written_down_of_a_fault_names_no_directory(tmp_path: Path) -> None:
    report = Report("2026-11-26", quick=True)
    with reported(report, tmp_path, "nginx"):
        raise ExceptionGroup("two clients", [RuntimeError(f"a log\n{tmp_path}/nginx.conf: bad"), OSError()])
    assert report.not_measured == {"nginx": "…/nginx.conf: bad"}


def test_a_table_is_rectangular() -> None:
    rows = list(table(["", "a long heading"], [["first", "1"], ["the second", "22"]]))
    assert len({len(row) for row in rows}) == 1
    assert rows[1].endswith(":|") or rows[1].endswith(": |")


def run_bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )


def test_a_quick_run_ends_well_and_prints_its_table() -> None:
    done = run_bench("--quick", "--only", "hub", "--objects", "200")
    assert done.returncode == 0, done.stderr
    assert "## Puente with 200 signed objects, over TLS" in done.stdout
    for row in (
        "the same in gzip",
        "64 connections",
        "objects in, one by one",
        "everything out, 8 clients, after a restart",
        "poll that finds nothing",
    ):
        assert row in done.stdout


def test_the_evaluator_is_measured_without_any_server() -> None:
    done = run_bench("--quick", "--only", "policy")
    assert done.returncode == 0, done.stderr
    assert "1,000 labels by 100 recipient classes" in done.stdout
    assert "label judged before" in done.stdout
    assert "## Puente with" not in done.stdout


def test_an_activation_is_measured_under_pollers() -> None:
    done = run_bench("--quick", "--only", "activation")
    assert done.returncode == 0, done.stderr
    assert "1,000 labels by 100 recipient classes" in done.stdout
    assert "a version that" in done.stdout


def test_the_ledger_is_measured_on_both_stores() -> None:
    done = run_bench("--quick", "--only", "ledger")
    assert done.returncode == 0, done.stderr
    assert "A proof of inclusion in a log of" in done.stdout
    assert "asking ten times a second each" in done.stdout
    assert "SQLite, 1 process" in done.stdout
    assert "PostgreSQL, 2 processes" in done.stdout or "PostgreSQL: not measured: " in done.stdout


def test_a_pack_is_written_and_verified_without_any_server() -> None:
    done = run_bench("--quick", "--only", "packs")
    assert done.returncode == 0, done.stderr
    assert "## An auditor's pack of 10,000 entries, 1,000 of them opened" in done.stdout
    assert "verify.py" in done.stdout


def test_an_unknown_subject_is_named_in_both_languages() -> None:
    done = run_bench("--only", "hub,apache")
    assert done.returncode == 2
    known = "hub, nginx, medallion, opentaxii, workers, postgres, growth, feeds, policy, activation, ledger, packs"
    assert f"apache: not among {known} / no está entre" in done.stderr
    assert "--only" in done.stderr


def test_feeds_are_measured_whole_and_a_second_run_submits_nothing(tmp_path: Path) -> None:
    found = dict(measure(tmp_path / "feeds", 2_000))
    assert found.keys() == CASES.keys()
    assert found["feed-list"].records == found["feed-again"].records == found["feed-first"].submitted == 501
    assert (found["feed-csv"].records, found["feed-json"].records) == (
        431,
        431,
    )  # a licence; a licence and 200 families
    assert found["feed-again"].submitted == 0
    assert found["feed-guard"].records == 500  # none of them is on a list
    assert "nothing is submitted" in Report("2026-11-26", quick=True, feeds=found).markdown()
