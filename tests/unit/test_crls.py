"""The folder of revocation lists: what changes in it is seen, what is broken or old in it refuses."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.faults import PathFault
from certs.path import Revocation
from exchange.crls import CrlFolder
from tests.pki import NOW, Pki, make_pki, thumbprint


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return make_pki(tmp_path / "pki")


def publish(pki: Pki, folder: Path, country: str = "US", **more: int) -> None:
    folder.mkdir(exist_ok=True)
    for name in pki.authority(country).intermediates:
        made = pki.authority(country).crl(name, now=NOW, **more)
        (folder / f"{country}-{name}.crl").write_bytes(made.public_bytes(Encoding.PEM))


def test_a_revocation_is_found_in_its_issuers_list(pki: Pki, tmp_path: Path) -> None:
    issued = pki.us.issue("member-tls", "us-port", now=NOW)
    folder = CrlFolder(tmp_path / "crls")
    publish(pki, folder.directory)
    before = folder.state()
    issuers = pki.trust.intermediates()
    assert len(issuers) == 8
    assert folder.read(issuers, {}, at=NOW).of(issued.certificate, issued.chain[0]) is None
    pki.us.revoke(issued.certificate, now=NOW, reason="keyCompromise")
    publish(pki, folder.directory)
    assert folder.state() != before
    word = folder.read(issuers, {}, at=NOW).of(issued.certificate, issued.chain[0])
    assert word is not None and word.reason == "keyCompromise"


def test_the_registry_counts_beside_the_lists(pki: Pki, tmp_path: Path) -> None:
    issued = pki.us.issue("member-signing", "us-port", now=NOW)
    publish(pki, tmp_path / "crls")
    listed = {thumbprint(issued.certificate): Revocation(NOW)}
    found = CrlFolder(tmp_path / "crls").read(pki.trust.intermediates(), listed, at=NOW)
    assert found.of(issued.certificate, issued.chain[0]) == Revocation(NOW)


@pytest.mark.parametrize("what", ["missing", "stale", "broken", "forged"])
def test_a_list_that_cannot_be_used_refuses_its_issuer_and_no_other(pki: Pki, tmp_path: Path, what: str) -> None:
    own, other = (one.issue("member-tls", "port", now=NOW - timedelta(days=1)) for one in (pki.us, pki.mx))
    folder = CrlFolder(tmp_path / "crls")
    publish(pki, folder.directory)
    publish(pki, folder.directory, "MX", hours=48)
    at, file = NOW, folder.directory / "US-members-tls.crl"
    if what == "missing":
        file.unlink()
    elif what == "stale":
        at = NOW + timedelta(hours=25)
    elif what == "broken":
        file.write_bytes(file.read_bytes()[:200])
    else:
        forger = make_pki(tmp_path / "forger").us
        file.write_bytes(forger.crl("members-tls", now=NOW).public_bytes(Encoding.PEM))
    found = folder.read(pki.trust.intermediates(), {}, at=at)
    with pytest.raises(PathFault) as refused:
        found.of(own.certificate, own.chain[0])
    assert refused.value.code == ("crl-stale" if what == "stale" else "crl-missing")
    assert found.of(other.certificate, other.chain[0]) is None


def test_a_folder_that_is_not_there_refuses_all(pki: Pki, tmp_path: Path) -> None:
    issued = pki.us.issue("member-tls", "us-port", now=NOW)
    folder = CrlFolder(tmp_path / "nowhere")
    assert folder.state() == ()
    with pytest.raises(PathFault, match="crl-missing"):
        folder.read(pki.trust.intermediates(), {}, at=NOW).of(issued.certificate, issued.chain[0])
