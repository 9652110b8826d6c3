"""What both countries sign, one step by hand each: an agreement approved and activated, a trust list built and adopted."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from certs.faults import TrustFault
from exchange.cli import setup
from exchange.cli.__main__ import puente
from exchange.clock import SystemClock
from exchange.errors import Conflict, Malformed, NotFound, NotPermitted
from policies.agreement import load
from tests.agreeing import overlay, successor


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert run("init", "--home", tmp_path / "var").exit_code == 0
    return tmp_path / "var"


def run(*args: object) -> Result:
    return CliRunner(env={"LC_ALL": "C.UTF-8"}).invoke(puente, [str(one) for one in args])


def approver(home: Path, country: str, number: int) -> tuple[str, str, str, str]:
    stem = home / "pki" / country.lower() / "approvers" / f"appr-{number}"
    return "--key", f"{stem}.key", "--cert", f"{stem}.pem"


@pytest.fixture
def second(home: Path, tmp_path: Path) -> Path:
    """The version after the sample agreement, proposed, its impact beside it."""
    document = tmp_path / "second.toml"
    document.write_bytes(successor(setup.sample_agreement()))
    proposed = run("agreement", "propose", "--home", home, document, "-o", tmp_path / "impact.json")
    assert proposed.exit_code == 0, proposed
    return document


def approve(home: Path, document: Path, country: str, number: int, *more: object) -> tuple[str, Path]:
    output = document.with_name(f"{country}-{number}.json")
    made = run("agreement", "approve", document, *approver(home, country, number), "-o", output, *more)
    assert made.exit_code == 0, made
    return "--approval", output


def test_an_agreement_is_approved_by_both_and_activated(home: Path, second: Path) -> None:
    checked = run("agreement", "check", second)
    assert (checked.exit_code, "67 of its own tests pass" in checked.output) == (0, True)
    assert "The legal basis of US ends before the agreement does" in checked.output
    assert json.loads(run("agreement", "test", second, "--json").output)[0]["passed"] is True
    impact = ("--impact", second.with_name("impact.json"))
    some = [part for n in (1, 2) for part in approve(home, second, "US", n, *impact)]
    refused = run("agreement", "activate", "--home", home, second, *some)
    assert isinstance(refused.exception, NotPermitted)
    assert refused.exception.code == "approval-missing"
    [told] = json.loads(run("agreement", "pending", "--home", home, "--json").output)
    assert (told["state"], told["approved"]) == ("draft", {"US": ["us-appr-1", "us-appr-2"], "MX": []})
    assert "us-appr-1 us-appr-2" in run("agreement", "pending", "--home", home).output
    rest = [part for n in (1, 3) for part in approve(home, second, "MX", n, *impact)]
    active = run("agreement", "activate", "--home", home, second, *rest)
    assert (active.exit_code, "in force" in active.output) == (0, True), active
    shown = json.loads(run("agreement", "show", "--home", home, "--json").output)
    assert (shown["version"], shown["sha256"]) == (2, load(second.read_bytes()).sha256)
    assert {one["kind"] for one in shown["clauses"]} == {"permit", "forbid"}
    assert "P-PUBLIC" in run("agreement", "show", "--home", home).output
    history = json.loads(run("agreement", "list", "--home", home, "--json").output)
    assert [(one["number"], one["cause"]) for one in history] == [(1, "activate"), (2, "activate")]


def test_a_version_for_later_is_scheduled(home: Path, tmp_path: Path) -> None:
    document, impact = tmp_path / "later.toml", tmp_path / "impact.json"
    document.write_bytes(successor(setup.sample_agreement(), effective_from="2090-01-01T00:00:00Z",
                                   review_by="2090-06-01T00:00:00Z", expires="2091-01-01T00:00:00Z"))  # fmt: skip
    assert run("agreement", "propose", "--home", home, document, "-o", impact).exit_code == 0
    given = [part for cc in ("US", "MX") for n in (1, 2) for part in approve(home, document, cc, n, "--impact", impact)]
    done = run("agreement", "activate", "--home", home, document, *given)
    assert (done.exit_code, "scheduled for 2090-01-01" in done.output) == (0, True), done
    assert "scheduled" in run("agreement", "pending", "--home", home).output


def test_an_approval_needs_the_impact_of_the_same_document(home: Path, second: Path, tmp_path: Path) -> None:
    without = run("agreement", "approve", second, *approver(home, "US", 1))
    assert (type(without.exception), without.exception.field) == (Malformed, "--impact")
    other = tmp_path / "other.toml"
    other.write_bytes(successor(second.read_bytes()))
    wrong = run("agreement", "approve", other, *approver(home, "US", 1), "--impact", tmp_path / "impact.json")
    assert (type(wrong.exception), wrong.exception.code) == (Malformed, "impact-other")


def test_an_approval_by_a_stranger_is_named(home: Path, second: Path, tmp_path: Path) -> None:
    assert (
        run("cert", "issue", "approver", "stranger", "--country", "US", "--home", home, "-o", tmp_path).exit_code == 0
    )
    assert stat.S_IMODE((tmp_path / "stranger.key").stat().st_mode) == 0o600
    pair = (
        "--key",
        tmp_path / "stranger.key",
        "--cert",
        tmp_path / "stranger.pem",
        "--impact",
        tmp_path / "impact.json",
    )
    assert run("agreement", "approve", second, *pair, "-o", tmp_path / "a.json").exit_code == 0
    refused = run("agreement", "activate", "--home", home, second, "--approval", tmp_path / "a.json")
    assert isinstance(refused.exception, NotPermitted)
    assert (refused.exception.code, refused.exception.field) == ("approval-unknown", "approval 1")


def test_one_country_tightens(home: Path, tmp_path: Path) -> None:
    agreement = load(setup.sample_agreement())
    document = tmp_path / "overlay.toml"
    document.write_bytes(overlay(agreement, SystemClock().now_us(), country="MX", name="mx-ports"))
    given = [part for n in (1, 2) for part in approve(home, document, "MX", n)]
    done = run("agreement", "tighten", "--home", home, document, *given)
    assert (done.exit_code, "mx-ports of MX is in force until" in done.output) == (0, True), done
    shown = json.loads(run("agreement", "show", "--home", home, "--json").output)
    assert (shown["version"], shown["tightened_by"].split()[0]) == (1, "mx-ports")
    assert "F-MX-PORTS" in [one["id"] for one in shown["clauses"]]

    lifted = [part for n in (1, 2) for part in approve(home, document, "MX", n, "--lift")]
    done = run("agreement", "lift", "--home", home, document, *lifted)
    assert (done.exit_code, "mx-ports of MX is lifted" in done.output) == (0, True), done
    assert json.loads(run("agreement", "show", "--home", home, "--json").output)["tightened_by"] == ""


def test_agreements_are_compared_in_both_languages(home: Path, second: Path) -> None:
    for command in (("diff", "in-force", second), ("simulate", second, "--since", "36h")):
        found = run("agreement", command[0], "--home", home, *command[1:])
        assert (found.exit_code, "us-mx-trade-cyber/1 → us-mx-trade-cyber/2: 0 pairs gained" in found.output) == (
            0,
            True,
        )
        spanish = CliRunner(env={"LC_ALL": "es_MX.UTF-8"}).invoke(
            puente, ["agreement", command[0], "--home", str(home), *map(str, command[1:])]
        )
        assert "0 pares ganados" in spanish.output
    wrong = run("agreement", "simulate", "--home", home, second, "--since", "June")
    assert (type(wrong.exception), wrong.exception.field) == (Malformed, "--since")
    covered = json.loads(run("agreement", "coverage", "--home", home, second, "--json").output)
    assert all(one["tests"] for one in covered), [one["clause"] for one in covered if not one["tests"]]
    assert not any(one["live"] for one in covered)
    unknown = run("agreement", "diff", "--home", home, "in-force", "17")
    assert (type(unknown.exception), unknown.exception.code) == (NotFound, "no-such-agreement")


def test_a_trust_list_is_built_signed_verified_and_adopted(home: Path, tmp_path: Path) -> None:
    trust = ("cert", "trust-list")
    assert run("cert", "export", "--home", home, tmp_path).exit_code == 0
    before, draft = tmp_path / "trust-list.json", tmp_path / "second.json"
    assert run(*trust, "verify", before).exit_code == 0
    assert run(*trust, "build", "--home", home, "--previous", before, "-o", draft).exit_code == 0
    assert isinstance(run(*trust, "verify", draft, "--previous", before).exception, TrustFault)
    foreign = run(*trust, "sign", draft, "--country", "MX", *approver(home, "US", 1))
    assert isinstance(foreign.exception, TrustFault)
    for country, number in (("US", 1), ("US", 2), ("MX", 1), ("MX", 2)):
        assert run(*trust, "sign", draft, "--country", country, *approver(home, country, number)).exit_code == 0
    approvers = json.loads(run(*trust, "show", draft, "--json").output)["approvers"]
    assert sum(one["state"] == "approved" for one in approvers) == 4
    assert run(*trust, "verify", draft, "--previous", before).exit_code == 0
    assert run(*trust, "adopt", "--home", home, draft).exit_code == 0
    assert isinstance(run(*trust, "adopt", "--home", home, draft).exception, NotPermitted)


def test_authorities_are_not_overwritten_and_refuse_in_words(home: Path, tmp_path: Path) -> None:
    assert isinstance(run("cert", "new", "US", "--home", home).exception, Conflict)
    fresh = run("cert", "new", "MX", "--authority", tmp_path / "mx")
    assert (fresh.exit_code, "SHA-256" in fresh.output) == (0, True)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (tmp_path / "mx").glob("*.key"))
    for wrong in (("member-tls", "Not A Label"), ("member-tls", "us-port", "--days", "4000")):
        refused = run("cert", "issue", *wrong, "--country", "MX", "--authority", tmp_path / "mx", "-o", tmp_path)
        assert isinstance(refused.exception, Malformed), refused
    missing = run("cert", "crl", "US", "--authority", tmp_path)
    assert isinstance(missing.exception, NotFound)
    lists = run("cert", "crl", "MX", "--authority", tmp_path / "mx", "-o", tmp_path / "lists")
    assert (lists.exit_code, len(list((tmp_path / "lists").glob("*.crl")))) == (0, 4)
    unknown = run("cert", "revoke", "--home", home, "us-cyber")
    assert isinstance(unknown.exception, NotFound)


def test_an_unused_reason_or_time_is_named(home: Path) -> None:
    for more, field in (
        (("--reason", "boredom"), "--reason"),
        (("--compromised-since", "June"), "--compromised-since"),
    ):
        refused = run("cert", "revoke", "--home", home, "us-cyber", *more)
        assert isinstance(refused.exception, Malformed)
        assert refused.exception.field == field
