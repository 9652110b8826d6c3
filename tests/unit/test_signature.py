"""Object signatures: the traps of the signature design, each with its own code, and what other libraries say of ours."""

import copy
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stix2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey
from jwcrypto import jwk, jws

from certs.faults import KeyFault, SignatureFault
from certs.jcs import canonical
from certs.jws import sign_document, verify_document
from certs.keys import load_key, new_key, save_key, thumbprint
from certs.signature import (
    EXT_SIG,
    OBJECT_TYPE,
    Revocation,
    Signer,
    attestation,
    lint,
    verify_object,
)
from tests.pki import MX_PORT, NOW, US_PORT, Pki, make_pki

SIGNED_AT = "2026-11-24T11:59:58Z"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def us(pki: Pki) -> Signer:
    return pki.signer("US", "us-port-gulf", US_PORT)


@pytest.fixture(scope="module")
def mx(pki: Pki) -> Signer:
    return pki.signer("MX", "mx-puerto-pac", MX_PORT)


def indicator(**more: Any) -> dict[str, Any]:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
        "created_by_ref": US_PORT,
        "created": "2026-11-24T11:59:00.000Z",
        "modified": "2026-11-24T11:59:00.000Z",
        "name": "puerto – señal",
        "pattern": "[ipv4-addr:value = '198.51.100.7']",
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": "2026-11-24T00:00:00Z",
        "confidence": 80,
        **more,
    }


def refused(obj: dict[str, Any], pki: Pki, *signers: tuple[Signer, str], **more: Any) -> str:
    with pytest.raises(SignatureFault) as caught:
        verify_object(obj, pki.keyring(*signers, **more), received=NOW)
    assert caught.value.en != caught.value.es
    return caught.value.code


def test_a_signed_object_verifies_and_is_not_changed(pki: Pki, us: Signer) -> None:
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    before = copy.deepcopy(signed)
    verified = verify_object(signed, pki.keyring((us, "US")), received=NOW)
    assert (verified.identity_id, verified.thumbprint) == (US_PORT, thumbprint(us.certificate))
    assert signed == before


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda obj: obj.__setitem__(name, value)


@pytest.mark.parametrize(
    "change",
    [
        _set("name", "other"),
        _set("id", "indicator--9e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"),
        _set("modified", "2026-11-24T11:59:00.001Z"),
        _set("object_marking_refs", []),
        _set("x", 1),
        lambda obj: obj.__delitem__("confidence"),
        lambda obj: obj["extensions"][EXT_SIG].__setitem__("signed_at", "2026-11-24T11:59:59Z"),
        lambda obj: obj["extensions"][EXT_SIG].__setitem__("prev_sha256", "00"),
        lambda obj: obj["extensions"].__setitem__("extension-definition--x", {}),
    ],
    ids=["name", "id", "modified", "marking", "added", "removed", "time", "previous", "extension"],
)
def test_any_change_breaks_it(pki: Pki, us: Signer, change: Callable[[dict[str, Any]], None]) -> None:
    """Traps 1 and 9: the signature covers everything but itself."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    change(signed)
    assert refused(signed, pki, (us, "US")) == "signature-invalid"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_altered_byte_of_the_object_is_refused(pki: Pki, us: Signer, place: int, flip: int) -> None:
    body = bytearray(canonical(us.sign(indicator(), signed_at=SIGNED_AT)))
    body[place % len(body)] ^= flip
    try:
        obj = json.loads(bytes(body))
    except ValueError:
        return
    if isinstance(obj, dict):
        with pytest.raises(SignatureFault):
            verify_object(obj, pki.keyring((us, "US")), received=NOW)


def reheaded(signed: dict[str, Any], **header: Any) -> dict[str, Any]:
    block = signed["extensions"][EXT_SIG]
    encoded, _, signature = block["signature"].partition("..")
    value = {**json.loads(urlsafe_b64decode(encoded + "==")), **header}
    block["signature"] = urlsafe_b64encode(canonical(value)).rstrip(b"=").decode() + ".." + signature
    return signed


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"alg": "none"}, "signature-algorithm"),
        ({"alg": "HS256"}, "signature-algorithm"),
        ({"typ": "trust-list+jws"}, "signature-type"),
        ({"jwk": {"kty": "EC"}}, "signature-form"),
        ({"x5c": ["AA=="]}, "signature-form"),
        ({"crit": ["b64"]}, "signature-form"),
        ({"x5t#S256": "A" * 43}, "signature-unknown-certificate"),
        ({"x5t#S256": 1}, "signature-form"),
    ],
)
def test_header_traps(pki: Pki, us: Signer, header: dict[str, Any], code: str) -> None:
    """Traps 2 and 3."""
    assert refused(reheaded(us.sign(indicator(), signed_at=SIGNED_AT), **header), pki, (us, "US")) == code


def test_der_signatures_are_refused(pki: Pki, us: Signer) -> None:
    """Trap 4."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    block = signed["extensions"][EXT_SIG]
    header = block["signature"].partition("..")[0]
    der = us.key.sign(b"x", ec.ECDSA(hashes.SHA256()))
    block["signature"] = header + ".." + urlsafe_b64encode(der).rstrip(b"=").decode()
    assert refused(signed, pki, (us, "US")) == "signature-form"


def test_observables_bear_no_signature(pki: Pki, us: Signer) -> None:
    """Trap 7."""
    sco = {"type": "ipv4-addr", "id": "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", "value": "198.51.100.3"}
    with pytest.raises(SignatureFault, match="signature-sco"):
        us.sign(sco, signed_at=SIGNED_AT)
    block = us.sign(indicator(), signed_at=SIGNED_AT)["extensions"]
    assert refused({**sco, "extensions": block}, pki, (us, "US")) == "signature-sco"


def test_another_members_key(pki: Pki, us: Signer, mx: Signer) -> None:
    """Trap 11."""
    by_mx = mx.sign(indicator(), signed_at=SIGNED_AT)
    assert refused(by_mx, pki, (us, "US"), (mx, "MX")) == "signature-author"
    claims_us = Signer(mx.key, mx.certificate, US_PORT).sign(indicator(), signed_at=SIGNED_AT)
    assert refused(claims_us, pki, (us, "US"), (mx, "MX")) == "signature-signer"


def test_the_root_of_the_wrong_country(pki: Pki, us: Signer) -> None:
    """Trap 12: enrolled for the other country by mistake or malice, the path still tells."""
    assert refused(us.sign(indicator(), signed_at=SIGNED_AT), pki, (us, "MX")) == "signature-wrong-country"


def test_a_tls_certificate_does_not_sign(pki: Pki) -> None:
    issued = pki.us.issue("member-tls", "us-port-gulf", now=NOW)
    assert issued.key is not None
    signer = Signer(issued.key, issued.certificate, US_PORT)
    assert refused(signer.sign(indicator(), signed_at=SIGNED_AT), pki, (signer, "US")) == "signature-purpose"


def test_expired_later_but_received_in_time(pki: Pki, us: Signer) -> None:
    """Trap 13."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    keyring = pki.keyring((us, "US"), at=NOW + timedelta(days=400))
    assert verify_object(signed, keyring, received=NOW)
    with pytest.raises(SignatureFault, match="signature-expired"):
        verify_object(signed, keyring, received=NOW + timedelta(days=400))


def test_revocation_and_compromise(pki: Pki, us: Signer) -> None:
    """Trap 14: a plain revocation counts from its date, a compromise from when the key was lost."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    name = thumbprint(us.certificate)
    later = {name: Revocation(NOW + timedelta(hours=1))}
    assert verify_object(signed, pki.keyring((us, "US"), revoked=later), received=NOW)
    lost = {name: Revocation(NOW + timedelta(hours=1), NOW - timedelta(hours=1))}
    assert refused(signed, pki, (us, "US"), revoked=lost) == "signature-revoked"
    assert refused(signed, pki, (us, "US"), revoked={name: Revocation(NOW)}) == "signature-revoked"


@pytest.mark.parametrize("signed_at", ["2026-11-24T12:06:00Z", "2026-11-24T11:00:00Z", "2026-01-01T00:00:00Z"])
def test_signing_times_that_cannot_be(pki: Pki, us: Signer, signed_at: str) -> None:
    assert refused(us.sign(indicator(), signed_at=signed_at), pki, (us, "US")) == "signature-time"


def test_unsigned(pki: Pki, us: Signer) -> None:
    assert refused(indicator(), pki, (us, "US")) == "signature-missing"


# --- other libraries ---


def detached(signed: dict[str, Any]) -> tuple[str, bytes]:
    bare = copy.deepcopy(signed)
    return bare["extensions"][EXT_SIG].pop("signature"), canonical(bare)


def test_joserfc_verifies(us: Signer) -> None:
    token, payload = detached(us.sign(indicator(), signed_at=SIGNED_AT))
    header, _, signature = token.partition("..")
    compact = f"{header}.{urlsafe_b64encode(payload).rstrip(b'=').decode()}.{signature}"
    public = us.key.public_key()
    key = ECKey.import_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    found = joserfc_jws.deserialize_compact(compact, key, algorithms=["ES256"])
    assert found.headers()["typ"] == OBJECT_TYPE


def test_jwcrypto_verifies(us: Signer) -> None:
    token, payload = detached(us.sign(indicator(), signed_at=SIGNED_AT))
    found = jws.JWS()
    found.deserialize(token)
    key = jwk.JWK.from_pyca(us.key.public_key())
    found.verify(key, detached_payload=payload)
    assert found.is_valid


@pytest.mark.parametrize(
    "obj",
    [
        indicator(),
        indicator(revoked=True, labels=["a"], lang="es", valid_until="2027-01-01T00:00:00.5Z"),
        indicator(modified="2026-11-24T11:59:00.123456Z"),
        indicator(external_references=[{"source_name": "x", "url": "https://example.com/ñ"}]),
        indicator(kill_chain_phases=[{"kill_chain_name": "k", "phase_name": "p"}]),
    ],
)
def test_python_stix2_hands_it_on_unbroken(pki: Pki, us: Signer, obj: dict[str, Any]) -> None:
    signed = us.sign(obj, signed_at=SIGNED_AT)
    relayed = json.loads(stix2.parse(signed, allow_custom=True).serialize())
    assert verify_object(relayed, pki.keyring((us, "US")), received=NOW).identity_id == US_PORT


@pytest.mark.parametrize(
    "change",
    [
        {"revoked": False},
        {"created": "2026-11-24T11:59:00Z"},
        {"valid_from": "2026-11-24T00:00:00.000Z"},
        {"labels": []},
        {"confidence": 75.0},
    ],
)
def test_forms_a_relay_would_change_are_not_signed(us: Signer, change: dict[str, Any]) -> None:
    """Trap 6 among them; and python-stix2 is asked whether it really would change them."""
    with pytest.raises(SignatureFault, match="signature-unstable"):
        us.sign(indicator(**change), signed_at=SIGNED_AT)
    relayed = json.loads(stix2.parse(indicator(**change), allow_custom=True).serialize())
    assert canonical(relayed) != canonical(indicator(**change)) or change == {"confidence": 75.0}


def test_a_missing_pattern_version_is_not_signed() -> None:
    obj = indicator()
    del obj["pattern_version"]
    with pytest.raises(SignatureFault, match="pattern_version"):
        lint(obj)


# --- documents and attestations ---


def test_a_document_signature_is_of_one_kind(us: Signer) -> None:
    """A signature of one kind cannot be replayed as another (RFC 8725)."""
    token = sign_document({"a": 1}, typ="one+jws", key=us.key, certificate=us.certificate)
    known = {thumbprint(us.certificate): us.certificate}
    assert verify_document({"a": 1}, token, typ="one+jws", certificate_lookup=known.get) in known
    for payload, typ in (({"a": 1}, "two+jws"), ({"a": 2}, "one+jws")):
        with pytest.raises(SignatureFault):
            verify_document(payload, token, typ=typ, certificate_lookup=known.get)
    with pytest.raises(SignatureFault, match="unknown"):
        verify_document({"a": 1}, token, typ="one+jws", certificate_lookup={}.get)


def test_an_attestation_is_signed_like_any_object(pki: Pki, us: Signer) -> None:
    made = attestation(
        id="object-attestation--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
        created_by_ref=US_PORT,
        created="2026-11-24T11:59:00.000Z",
        covers=[{"id": "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", "version": "x", "sha256": "00"}],
    )
    assert verify_object(us.sign(made, signed_at=SIGNED_AT), pki.keyring((us, "US")), received=NOW)


def test_keys_are_private_files(tmp_path: Path, pki: Pki) -> None:
    path = tmp_path / "a.key"
    save_key(new_key(), path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        save_key(new_key(), path)
    path.chmod(0o640)
    with pytest.raises(KeyFault, match="chmod 600"):
        load_key(path)
    for key in pki.us.directory.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600
