"""What both countries sign, one step by hand each: an agreement approved and adopted, a trust list built and adopted."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from certs.faults import TrustFault
from exchange.cli import setup
from exchange.cli.__main__ import puente
from exchange.errors import Conflict, Malformed, NotFound, NotPermitted
from policies.agreement import load


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert run("init", "--home", tmp_path / "var").exit_code == 0
    return tmp_path / "var"


def run(*args: object) -> Result:
    return CliRunner(env={"LC_ALL": "C.UTF-8"}).invoke(puente, [str(one) for one in args])


def approver(home: Path, country: str, number: int) -> tuple[str, str, str, str]:
    stem = home / "pki" / country.lower() / "approvers" / f"appr-{number}"
    return "--key", f"{stem}.key", "--cert", f"{stem}.pem"


def test_an_agreement_is_approved_by_both_and_adopted(home: Path, tmp_path: Path) -> None:
    sample = setup.sample_agreement()
    document = tmp_path / "second.toml"
    second = sample.replace(b"\nversion = 1\n", f'\nversion = 2\nprev_sha256 = "{load(sample).sha256}"\n'.encode())
    document.write_bytes(second)
    checked = run("agreement", "check", document)
    assert (checked.exit_code, "67 of its own tests pass" in checked.output) == (0, True)
    assert "The legal basis of US ends before the agreement does" in checked.output
    approvals: list[str] = []
    for country, number in (("US", 1), ("US", 2), ("MX", 1), ("MX", 3)):
        path = str(tmp_path / f"{country}-{number}.jws")
        assert run("agreement", "approve", document, *approver(home, country, number), "-o", path).exit_code == 0
        approvals += ["--approval", path]
    refused = run("agreement", "adopt", "--home", home, document, *approvals[:6])
    assert isinstance(refused.exception, NotPermitted)
    assert refused.exception.code == "approval-missing"
    adopted = run("agreement", "adopt", "--home", home, document, *approvals)
    assert (adopted.exit_code, "in force" in adopted.output) == (0, True), adopted
    shown = json.loads(run("agreement", "show", "--home", home, "--json").output)
    assert (shown["version"], shown["sha256"]) == (2, load(second).sha256)
    assert {one["kind"] for one in shown["clauses"]} == {"permit", "forbid"}
    assert "P-PUBLIC" in run("agreement", "show", "--home", home).output


def test_an_approval_by_a_stranger_is_named(home: Path, tmp_path: Path) -> None:
    assert (
        run("cert", "issue", "approver", "stranger", "--country", "US", "--home", home, "-o", tmp_path).exit_code == 0
    )
    assert stat.S_IMODE((tmp_path / "stranger.key").stat().st_mode) == 0o600
    document = tmp_path / "first.toml"
    document.write_bytes(setup.sample_agreement())
    pair = ("--key", tmp_path / "stranger.key", "--cert", tmp_path / "stranger.pem")
    assert run("agreement", "approve", document, *pair, "-o", tmp_path / "a.jws").exit_code == 0
    refused = run("agreement", "adopt", "--home", home, document, "--approval", tmp_path / "a.jws")
    assert isinstance(refused.exception, NotPermitted)
    assert (refused.exception.code, refused.exception.field) == ("approval-unknown", "--approval")


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
