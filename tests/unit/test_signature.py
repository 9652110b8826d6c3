"""Object signatures: the traps of the signature design, each attacked and each refused by its own code."""

import copy
import json
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.faults import SignatureFault
from certs.jcs import canonical
from certs.jws import b64url, encode_header, sign_detached, sign_document, verify_document
from certs.keys import new_key, thumbprint
from certs.signature import (
    EXT_ATT,
    EXT_NOTICE,
    EXT_SIG,
    EXTENSION_DEFINITIONS,
    OBJECT_TYPE,
    Revocation,
    Signer,
    UnstableForm,
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


def forged(signer: Signer, obj: dict[str, Any], **block: Any) -> dict[str, Any]:
    """A signature that is right over a block that need not be: what a hostile client can make with a real key."""
    members = {
        "extension_type": "property-extension",
        "sig_version": 1,
        "signer_ref": signer.identity_id,
        "signed_at": SIGNED_AT,
        **block,
    }
    signed = {**obj, "extensions": {**obj.get("extensions", {}), EXT_SIG: members}}
    header = encode_header(OBJECT_TYPE, signer.certificate)
    members["signature"] = sign_detached(canonical(signed), header, signer.key)
    return signed


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
        _set("name", indicator()["name"].replace(" ", "")),
        _set("id", "indicator--9e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"),
        _set("modified", "2026-11-24T11:59:00.001Z"),
        _set("object_marking_refs", []),
        _set("x", 1),
        lambda obj: obj.__delitem__("confidence"),
        lambda obj: obj["extensions"][EXT_SIG].__setitem__("signed_at", "2026-11-24T11:59:59Z"),
        lambda obj: obj["extensions"][EXT_SIG].__setitem__("prev_sha256", "00" * 32),
        lambda obj: obj["extensions"].__setitem__("extension-definition--x", {}),
    ],
    ids=["name", "blanks", "id", "modified", "marking", "added", "removed", "time", "previous", "extension"],
)
@pytest.mark.rule("EXT-08")
@pytest.mark.trap(1)
@pytest.mark.peer("MSP-2")
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
@pytest.mark.trap(2, 3)
@pytest.mark.peer("MSP-3a")
def test_header_traps(pki: Pki, us: Signer, header: dict[str, Any], code: str) -> None:
    """Traps 2 and 3."""
    assert refused(reheaded(us.sign(indicator(), signed_at=SIGNED_AT), **header), pki, (us, "US")) == code


@pytest.mark.trap(4)
def test_der_signatures_are_refused(pki: Pki, us: Signer) -> None:
    """Trap 4."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    block = signed["extensions"][EXT_SIG]
    header = block["signature"].partition("..")[0]
    der = us.key.sign(b"x", ec.ECDSA(hashes.SHA256()))
    block["signature"] = header + ".." + urlsafe_b64encode(der).rstrip(b"=").decode()
    assert refused(signed, pki, (us, "US")) == "signature-form"


@pytest.mark.trap(7)
def test_observables_bear_no_signature(pki: Pki, us: Signer) -> None:
    """Trap 7."""
    sco = {"type": "ipv4-addr", "id": "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", "value": "198.51.100.3"}
    with pytest.raises(SignatureFault, match="signature-sco"):
        us.sign(sco, signed_at=SIGNED_AT)
    block = us.sign(indicator(), signed_at=SIGNED_AT)["extensions"]
    assert refused({**sco, "extensions": block}, pki, (us, "US")) == "signature-sco"


@pytest.mark.trap(11)
def test_another_members_key(pki: Pki, us: Signer, mx: Signer) -> None:
    """Trap 11."""
    by_mx = mx.sign(indicator(), signed_at=SIGNED_AT)
    assert refused(by_mx, pki, (us, "US"), (mx, "MX")) == "signature-author"
    claims_us = Signer(mx.key, mx.certificate, US_PORT).sign(indicator(), signed_at=SIGNED_AT)
    assert refused(claims_us, pki, (us, "US"), (mx, "MX")) == "signature-signer"


@pytest.mark.trap(12)
def test_the_root_of_the_wrong_country(pki: Pki, us: Signer) -> None:
    """Trap 12: enrolled for the other country by mistake or malice, the path still tells."""
    assert refused(us.sign(indicator(), signed_at=SIGNED_AT), pki, (us, "MX")) == "signature-wrong-country"


def test_a_tls_certificate_does_not_sign(pki: Pki) -> None:
    issued = pki.us.issue("member-tls", "us-port-gulf", now=NOW)
    assert issued.key is not None
    signer = Signer(issued.key, issued.certificate, US_PORT)
    assert refused(signer.sign(indicator(), signed_at=SIGNED_AT), pki, (signer, "US")) == "signature-purpose"


@pytest.mark.trap(13)
def test_expired_later_but_received_in_time(pki: Pki, us: Signer) -> None:
    """Trap 13."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    keyring = pki.keyring((us, "US"), at=NOW + timedelta(days=400))
    assert verify_object(signed, keyring, received=NOW)
    with pytest.raises(SignatureFault, match="signature-expired"):
        verify_object(signed, keyring, received=NOW + timedelta(days=400))


@pytest.mark.trap(14)
def test_revocation_and_compromise(pki: Pki, us: Signer) -> None:
    """Trap 14: a plain revocation counts from its date, a compromise from when the key was lost."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    name = thumbprint(us.certificate)
    later = {name: Revocation(NOW + timedelta(hours=1))}
    assert verify_object(signed, pki.keyring((us, "US"), revoked=later), received=NOW)
    lost = {name: Revocation(NOW + timedelta(hours=1), NOW - timedelta(hours=1))}
    assert refused(signed, pki, (us, "US"), revoked=lost) == "signature-compromised"
    assert refused(signed, pki, (us, "US"), revoked={name: Revocation(NOW)}) == "signature-revoked"


@pytest.mark.parametrize(
    ("signed_at", "refusal"),
    [
        ("2026-11-24T12:05:00Z", None),
        ("2026-11-24T12:05:01Z", "signature-time"),
        ("2026-11-24T11:55:00Z", None),  # a minute before `modified`: within tolerance
        ("2026-11-24T11:54:59Z", "signature-time"),  # before the certificate
        ("2026-01-01T00:00:00Z", "signature-time"),
    ],
)
def test_signing_times(pki: Pki, us: Signer, signed_at: str, refusal: str | None) -> None:
    signed = us.sign(indicator(), signed_at=signed_at)
    if refusal is None:
        assert verify_object(signed, pki.keyring((us, "US")), received=NOW).signed_at == signed_at
    else:
        assert refused(signed, pki, (us, "US")) == refusal


def test_a_version_cannot_be_signed_before_it_was_made(pki: Pki, us: Signer) -> None:
    """The hub's clock would refuse a future `modified` too; the signature does it for auditors that have no clock."""
    later = indicator(modified="2026-11-24T12:05:00.000Z")
    assert refused(us.sign(later, signed_at="2026-11-24T11:59:59Z"), pki, (us, "US")) == "signature-time"


@pytest.mark.parametrize(
    "signed_at",
    [
        "2026-11-24",
        "2026-11-24T11:59:58",
        "2026-11-24T11:59:58+00:00",
        "2026-13-24T11:59:58Z",
        "2026-11-24t11:59:58z",
        "",
        5,
    ],
)
def test_only_rfc_3339_in_utc_is_a_time(pki: Pki, us: Signer, signed_at: Any) -> None:
    with pytest.raises(SignatureFault, match="signature-time"):
        us.sign(indicator(), signed_at=signed_at)
    code = refused(forged(us, indicator(), signed_at=signed_at), pki, (us, "US"))
    assert code == ("signature-form" if signed_at == 5 else "signature-time")


def test_the_steps_are_judged_in_their_order_and_each_has_its_code(pki: Pki, us: Signer) -> None:
    """Everything is wrong at first; what is mended, fault by fault, is what the next step finds."""
    late, keyring = NOW + timedelta(days=400), pki.keyring((us, "US"))
    strange = indicator(created_by_ref=MX_PORT)
    wrong = {"signer_ref": MX_PORT, "signed_at": "2031-01-01T00:00:00Z"}

    def code(obj: dict[str, Any], received: datetime = late) -> str:
        with pytest.raises(SignatureFault) as caught:
            verify_object(obj, keyring, received=received)
        return caught.value.code

    signed = forged(us, strange, **wrong)
    assert code(strange) == "signature-missing"
    assert code(changed_block(signed, sig_version=2)) == "signature-form"  # 1
    unknown = {"x5t#S256": "A" * 43}
    assert code(reheaded(copy.deepcopy(signed), alg="none", typ="x+jws", **unknown)) == "signature-algorithm"  # 2
    assert code(reheaded(copy.deepcopy(signed), typ="x+jws", **unknown)) == "signature-type"
    assert code(reheaded(copy.deepcopy(signed), **unknown)) == "signature-unknown-certificate"  # 4, first half
    assert code({**signed, "name": "other"}) == "signature-invalid"  # 3
    assert code(signed) == "signature-expired"  # 4, second half
    assert code(signed, NOW) == "signature-signer"  # 5
    assert code(forged(us, strange, signed_at=wrong["signed_at"]), NOW) == "signature-author"
    assert code(forged(us, indicator(), signed_at=wrong["signed_at"]), NOW) == "signature-time"  # 6
    assert verify_object(forged(us, indicator()), keyring, received=NOW)


def changed_block(signed: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**signed, "extensions": {EXT_SIG: {**signed["extensions"][EXT_SIG], **changes}}}


def test_unsigned(pki: Pki, us: Signer) -> None:
    assert refused(indicator(), pki, (us, "US")) == "signature-missing"


# --- forms that relays change ---


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("revoked", {"revoked": False}),
        ("defanged", {"defanged": False}),
        ("summary", {"summary": False}),
        ("created", {"created": "2026-11-24T11:59:00Z"}),
        ("created", {"created": "2026-11-24T11:59:00.1Z"}),
        ("modified", {"modified": "2026-11-24T11:59:00.123400Z"}),
        ("modified", {"modified": "2026-11-24T11:59:00.1234567Z"}),
        ("created", {"created": "0999-11-24T11:59:00.123Z"}),
        ("valid_from", {"valid_from": "0999-11-24T00:00:00Z"}),
        ("pattern_version", {"pattern_version": ""}),
        ("valid_from", {"valid_from": "2026-11-24T00:00:00.000Z"}),
        ("valid_until", {"valid_until": "2027-11-24T00:00:00.50Z"}),
        ("labels", {"labels": []}),
        ("description", {"description": None}),
        ("confidence", {"confidence": 75.0}),
        ("kill_chain_phases/0", {"kill_chain_phases": [{}]}),
        (
            "external_references/0/hashes/SHA256",
            {"external_references": [{"source_name": "x", "hashes": {"SHA256": "a"}}]},
        ),
        ("extensions/extension-definition--x/items", {"extensions": {"extension-definition--x": {"items": []}}}),
        ("spec_version", {"spec_version": "2.0"}),
    ],
)
@pytest.mark.trap(6)
def test_forms_a_relay_would_change_are_not_signed(us: Signer, field: str, change: dict[str, Any]) -> None:
    """Trap 6 among them. tests/interop asks python-stix2 whether it really would change them."""
    with pytest.raises(UnstableForm) as caught:
        us.sign(indicator(**change), signed_at=SIGNED_AT)
    assert (caught.value.field, caught.value.code) == (field, "signature-unstable")
    assert caught.value.en != caught.value.es


@pytest.mark.parametrize("kind", [[], {}, None])
def test_a_type_that_is_none_is_refused_not_raised(us: Signer, kind: Any) -> None:
    with pytest.raises(UnstableForm):
        us.sign(indicator(type=kind), signed_at=SIGNED_AT)


@pytest.mark.parametrize("name", ["pattern_version", "created", "modified", "spec_version"])
def test_what_a_relay_would_fill_in_must_be_there(name: str) -> None:
    obj = indicator()
    del obj[name]
    with pytest.raises(UnstableForm) as caught:
        lint(obj)
    assert caught.value.field == name


def test_what_is_stable_passes() -> None:
    lint(indicator(revoked=True, modified="2026-11-24T11:59:00.123456Z", valid_from="2026-11-24T00:00:00.5Z"))
    lint(indicator(latitude=19.4326, labels=["a"], description=""))


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
        covers=[{"id": "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", "version": "x", "sha256": "00" * 32}],
    )
    assert verify_object(us.sign(made, signed_at=SIGNED_AT), pki.keyring((us, "US")), received=NOW)


def test_an_import_names_its_source_and_claims_markings() -> None:
    covers = [{"id": "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", "version": "v", "sha256": "ab" * 32}]
    about: dict[str, Any] = {
        "id": f"object-attestation--{uuid.uuid4()}",
        "created_by_ref": US_PORT,
        "created": "2026-11-24T11:59:00.000Z",
        "covers": covers,
    }
    source = {"source_name": "kev", "source_url": "https://feeds.example/kev", "retrieved_at": "2026-11-24T11:58:00Z"}
    made = attestation(
        **about, attestation_type="imported-from", source=source, object_marking_refs=["marking-definition--x"]
    )
    assert (made["covers"], made["source_name"], made["object_marking_refs"]) == (
        covers,
        "kev",
        ["marking-definition--x"],
    )
    assert made["extensions"] == {EXT_ATT: {"extension_type": "new-sdo"}}
    for wrong in (
        {"attestation_type": "imported-from"},
        {"source": source},
        {"covers": []},
        {"covers": [{**covers[0], "sha256": "no"}]},
    ):
        with pytest.raises(ValueError, match=r"attestation|takes"):
            attestation(**{**about, **wrong})


def test_the_extensions_are_defined_and_their_definitions_can_be_signed(us: Signer) -> None:
    assert [one["id"] for one in EXTENSION_DEFINITIONS] == [EXT_SIG, EXT_ATT, EXT_NOTICE]
    for one in (EXT_SIG, EXT_ATT, EXT_NOTICE):
        assert uuid.UUID(one.partition("--")[2]).version == 4
    for one in EXTENSION_DEFINITIONS:
        lint(one)


# --- the form of the extension ---


@pytest.mark.parametrize(
    "block",
    [
        {"extension_type": "new-sdo"},
        {"sig_version": 2},
        {"sig_version": True},
        {"sig_version": "1"},
        {"signer_ref": None},
        {"prev_sha256": None},
        {"prev_sha256": "AB" * 32},
        {"more": 1},
        {"jwk": {}},
    ],
    ids=str,
)
def test_the_extension_has_one_form(pki: Pki, us: Signer, block: dict[str, Any]) -> None:
    """Validly signed, all of them, and refused all the same."""
    assert refused(forged(us, indicator(), **block), pki, (us, "US")) == "signature-form"


@pytest.mark.parametrize("block", [None, [], "x", {}, {"signature": "a..b"}], ids=str)
def test_what_is_no_extension_at_all(pki: Pki, us: Signer, block: Any) -> None:
    obj = indicator(extensions={EXT_SIG: block})
    assert refused(obj, pki, (us, "US")) == ("signature-missing" if block is None else "signature-form")
    assert refused(indicator(extensions=[block]), pki, (us, "US")) == "signature-missing"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda jws: jws.replace("..", "."),
        lambda jws: jws.replace("..", ".e30."),
        lambda jws: jws + ".",
        lambda jws: jws + "=",
        lambda jws: jws + "\n",
        lambda jws: jws[:-1],
        lambda jws: "=" + jws,
        lambda jws: " " + jws,
        lambda jws: ".." + jws.partition("..")[2],
        lambda jws: b64url(b"{}").decode() + ".." + jws.partition("..")[2],
        lambda jws: b64url(b'{"alg":"ES256","alg":"ES256"}').decode() + ".." + jws.partition("..")[2],
        lambda jws: b64url(b" " * 600).decode() + ".." + jws.partition("..")[2],
        lambda _: 7,
        lambda _: "",
    ],
    ids=[f"form-{number}" for number in range(14)],
)
def test_a_jws_has_one_form(pki: Pki, us: Signer, spoil: Callable[[str], Any]) -> None:
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    block = signed["extensions"][EXT_SIG]
    block["signature"] = spoil(block["signature"])
    assert refused(signed, pki, (us, "US")) == "signature-form"


def test_a_signature_has_no_second_spelling(pki: Pki, us: Signer) -> None:
    """The last base64url character of 64 bytes has four unused bits: another one would decode to the same bytes."""
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    block = signed["extensions"][EXT_SIG]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(block["signature"][-1])
    twin = block["signature"][:-1] + alphabet[last + 1]
    assert urlsafe_b64decode(twin.partition("..")[2] + "==") == urlsafe_b64decode(
        block["signature"].partition("..")[2] + "=="
    )
    block["signature"] = twin
    assert refused(signed, pki, (us, "US")) == "signature-form"


def test_signing_twice_gives_the_same_bytes(us: Signer) -> None:
    """RFC 6979: a client that lost the hub's answer and signs again sends a duplicate, not a conflict."""
    assert us.sign(indicator(), signed_at=SIGNED_AT) == us.sign(indicator(), signed_at=SIGNED_AT)


def test_a_new_version_replaces_the_signature_and_names_the_one_before(pki: Pki, us: Signer) -> None:
    """Traps 1 and 10: the stale signature does not verify; the digest of the version before is handed to the store."""
    first = us.sign(indicator(), signed_at=SIGNED_AT)
    digest = sha256(canonical(first)).hexdigest()
    stale = {**first, "modified": "2026-11-24T11:59:30.000Z"}
    assert refused(stale, pki, (us, "US")) == "signature-invalid"
    second = us.sign(stale, signed_at=SIGNED_AT, prev_sha256=digest)
    verified = verify_object(second, pki.keyring((us, "US")), received=NOW)
    assert (verified.prev_sha256, verified.purpose) == (digest, "signing")
    with pytest.raises(SignatureFault, match="prev_sha256"):
        us.sign(stale, signed_at=SIGNED_AT, prev_sha256="sha256:abc")


@pytest.mark.trap(9)
def test_a_fork_verifies_twice_with_two_digests(pki: Pki, us: Signer) -> None:
    """Trap 9: signatures cannot see it; the store can, because the digests differ."""
    keyring = pki.keyring((us, "US"))
    bodies = [us.sign(indicator(name=name), signed_at=SIGNED_AT) for name in ("one", "two")]
    assert all(verify_object(body, keyring, received=NOW) for body in bodies)
    assert canonical(bodies[0]) != canonical(bodies[1])


def test_an_identity_may_speak_for_itself_but_not_for_another(pki: Pki, us: Signer, mx: Signer) -> None:
    identity = {
        "type": "identity",
        "spec_version": "2.1",
        "id": US_PORT,
        "created": "2026-11-24T11:59:00.000Z",
        "modified": "2026-11-24T11:59:00.000Z",
        "name": "Gulf Port",
    }
    signers = (us, "US"), (mx, "MX")
    assert verify_object(us.sign(identity, signed_at=SIGNED_AT), pki.keyring(*signers), received=NOW)
    assert refused(mx.sign(identity, signed_at=SIGNED_AT), pki, *signers) == "signature-author"
    anonymous = {key: value for key, value in indicator().items() if key != "created_by_ref"}
    assert refused(us.sign(anonymous, signed_at=SIGNED_AT), pki, *signers) == "signature-author"
    assert refused(forged(us, indicator(created_by_ref=[US_PORT])), pki, *signers) == "signature-author"


def test_marking_definitions_are_signed_too(pki: Pki, us: Signer) -> None:
    marking = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": "marking-definition--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
        "created_by_ref": US_PORT,
        "created": "2026-11-24T11:59:00.000Z",
        "definition_type": "statement",
        "definition": {"statement": "Para uso de las autoridades portuarias"},
    }
    assert verify_object(us.sign(marking, signed_at=SIGNED_AT), pki.keyring((us, "US")), received=NOW)


def test_a_custom_observable_bears_no_signature(pki: Pki, us: Signer) -> None:
    custom = indicator(type="x-ship", extensions={"extension-definition--x": {"extension_type": "new-sco"}})
    with pytest.raises(SignatureFault, match="signature-sco"):
        us.sign(custom, signed_at=SIGNED_AT)
    assert refused(forged(us, custom), pki, (us, "US")) == "signature-sco"


def test_a_value_without_canonical_form_is_refused_not_raised(pki: Pki, us: Signer) -> None:
    signed = us.sign(indicator(), signed_at=SIGNED_AT)
    assert refused({**signed, "confidence": float("nan")}, pki, (us, "US")) == "signature-form"
    with pytest.raises(SignatureFault, match="signature-form"):
        us.sign(indicator(confidence=2**60), signed_at=SIGNED_AT)


def test_a_signer_needs_the_key_of_its_certificate(us: Signer) -> None:
    with pytest.raises(ValueError, match="another key"):
        replace(us, key=new_key())
    assert "PrivateKey" not in repr(us)
