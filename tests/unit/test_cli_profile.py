"""A member's profile: what it refuses, whose rights its files must have, and how it finds its hub."""

import stat
from pathlib import Path

import pytest

from certs.faults import KeyFault
from exchange.cli import profile
from exchange.cli.profile import Profile
from exchange.clock import FixedClock
from exchange.errors import Malformed, NotFound
from tests.pki import NOW, US_PORT, Pki, make_pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def directory(tmp_path: Path, pki: Pki) -> Path:
    issued = pki.us.issue("member-signing", "us-port", now=NOW)
    issued.save(tmp_path, "signing")
    profile.write(tmp_path, hub="https://localhost:8443", identity=US_PORT)
    return tmp_path


def test_a_profile_is_secret_and_is_not_overwritten(directory: Path) -> None:
    assert stat.S_IMODE((directory / "client.toml").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        profile.write(directory, hub="https://elsewhere", identity=US_PORT)


def test_paths_are_relative_to_the_profile(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    me = Profile.load(directory / "client.toml")
    assert me.must_sign().identity_id == US_PORT
    assert me.token_file == directory / "token"


@pytest.mark.parametrize(
    ("line", "field"),
    [('hubb = "x"', "hubb"), ("hub = 3", "hub"), ('identity = ["x"]', "identity")],
)
def test_an_unknown_or_wrong_key_is_refused_by_name(tmp_path: Path, line: str, field: str) -> None:
    good = {"hub": 'hub = "https://localhost"', "identity": 'identity = "identity--1"'}
    good[field] = line
    (tmp_path / "client.toml").write_text("\n".join(good.values()))
    with pytest.raises(Malformed) as refused:
        Profile.load(tmp_path / "client.toml")
    assert refused.value.field == field
    assert field in refused.value.text.en and field in refused.value.text.es


def test_secrets_that_others_can_read_are_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUENTE_TOKEN", raising=False)
    me = Profile.load(directory / "client.toml")
    (directory / "token").write_text("puente_x_y")
    (directory / "token").chmod(0o640)
    with pytest.raises(KeyFault, match="key-mode"):
        me.client(FixedClock(), "en")
    (directory / "token").unlink()
    (directory / "signing.key").chmod(0o644)
    with pytest.raises(KeyFault, match="key-mode"):
        me.must_sign()


def test_without_any_credential_nobody_is_called(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUENTE_TOKEN", raising=False)
    with pytest.raises(NotFound) as refused:
        Profile.load(directory / "client.toml").client(FixedClock(), "en")
    assert refused.value.code == "no-credential"
    monkeypatch.setenv("PUENTE_TOKEN", "puente_x_y")
    Profile.load(directory / "client.toml").client(FixedClock(), "en")


def test_a_key_without_its_certificate_is_noticed(directory: Path, pki: Pki) -> None:
    pki.us.issue("member-signing", "us-port", now=NOW).save(directory, "other")
    (directory / "other.pem").rename(directory / "signing.pem")
    with pytest.raises(Malformed) as refused:
        Profile.load(directory / "client.toml").signer()
    assert refused.value.field == "signing_certificate"


def test_an_auditor_needs_no_signing_key(directory: Path) -> None:
    (directory / "signing.key").unlink()
    me = Profile.load(directory / "client.toml")
    assert me.signer() is None
    with pytest.raises(NotFound):
        me.must_sign()


def test_a_profile_is_found_by_file_directory_or_slug(tmp_path: Path) -> None:
    member = tmp_path / "members" / "us-port"
    member.mkdir(parents=True)
    path = profile.write(member, hub="https://localhost", identity=US_PORT)
    assert profile.find(tmp_path, str(path)) == path
    assert profile.find(tmp_path, str(member)) == path
    assert profile.find(tmp_path, "us-port") == path
    with pytest.raises(NotFound) as refused:
        profile.find(tmp_path, "mx-port")
    assert refused.value.field == "--as"
