"""What others say of our signatures, and ours of theirs: two JOSE libraries, python-stix2 as a relay, Wycheproof."""

import copy
import json
import logging
import lzma
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import stix2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey
from jwcrypto import jwk
from jwcrypto import jws as jwcrypto_jws

from certs.faults import SignatureFault, UnstableForm
from certs.jcs import JsonError, canonical
from certs.jws import b64url, is_valid
from certs.keys import new_key, thumbprint
from certs.relay import SCO_TYPES, lint
from certs.signature import EXT_SIG, OBJECT_TYPE, Signer, verify_object
from exchange.intake.validate import validate
from tests.data import SHARED, shared
from tests.pki import NOW, US_PORT, Pki, make_pki
from tests.stix_examples import EXAMPLES

SIGNED_AT = "2026-11-24T11:59:58Z"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def us(pki: Pki) -> Signer:
    return pki.signer("US", "us-port-gulf", US_PORT)


def indicator(**more: Any) -> dict[str, Any]:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
        "created_by_ref": US_PORT,
        "created": "2026-11-24T11:59:00.000Z",
        "modified": "2026-11-24T11:59:00.000Z",
        "name": "puerto – señal 😀",
        "pattern": "[ipv4-addr:value = '198.51.100.7']",
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": "2026-11-24T00:00:00Z",
        "confidence": 80,
        **more,
    }


# --- JOSE libraries ---


def detached(signed: dict[str, Any]) -> tuple[str, bytes]:
    bare = copy.deepcopy(signed)
    return bare["extensions"][EXT_SIG].pop("signature"), canonical(bare)


def test_joserfc_verifies_ours_in_its_strict_mode(us: Signer) -> None:
    token, payload = detached(us.sign(indicator(), signed_at=SIGNED_AT))
    header, _, signature = token.partition("..")
    key = ECKey.import_key(us.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    compact = f"{header}.{b64url(payload).decode()}.{signature}"
    found = joserfc_jws.deserialize_compact(compact, key, algorithms=["ES256"])
    assert found.headers()["typ"] == OBJECT_TYPE
    assert found.payload == payload


def test_jwcrypto_verifies_ours_detached(us: Signer) -> None:
    token, payload = detached(us.sign(indicator(), signed_at=SIGNED_AT))
    found = jwcrypto_jws.JWS()
    found.deserialize(token)
    found.verify(jwk.JWK.from_pyca(us.key.public_key()), detached_payload=payload)
    assert found.is_valid
    with pytest.raises(jwcrypto_jws.InvalidJWSSignature):
        found.verify(jwk.JWK.from_pyca(us.key.public_key()), detached_payload=payload + b" ")


def bare(signer: Signer) -> tuple[dict[str, Any], dict[str, Any]]:
    block = {
        "extension_type": "property-extension",
        "sig_version": 1,
        "signer_ref": signer.identity_id,
        "signed_at": SIGNED_AT,
    }
    return indicator(extensions={EXT_SIG: block}), block


@pytest.mark.parametrize("number", range(4))  # their signatures are random; half of them have a high s
def test_ours_verifies_what_other_libraries_sign(pki: Pki, us: Signer, number: int) -> None:
    header = {"typ": OBJECT_TYPE, "x5t#S256": thumbprint(us.certificate)}
    obj, block = bare(us)
    payload = canonical(obj)
    if number % 2:
        key = ECKey.import_key(us.key)
        token = joserfc_jws.serialize_compact({"alg": "ES256", **header}, payload, key, algorithms=["ES256"])
    else:
        made = jwcrypto_jws.JWS(payload)
        made.add_signature(jwk.JWK.from_pyca(us.key), None, json.dumps({**header, "alg": "ES256"}, indent=1))
        token = made.serialize(compact=True)
    first, _, last = token.split(".")
    block["signature"] = f"{first}..{last}"
    assert verify_object(obj, pki.keyring((us, "US")), received=NOW).identity_id == US_PORT


# --- python-stix2 as a relay ---


def relayed(obj: dict[str, Any]) -> dict[str, Any]:
    passed: dict[str, Any] = json.loads(stix2.parse(copy.deepcopy(obj), allow_custom=True).serialize())
    return passed


@pytest.mark.parametrize(
    "change",
    [
        {"revoked": False},
        {"created": "2026-11-24T11:59:00Z"},
        {"modified": "2026-11-24T11:59:00.120000Z"},
        {"valid_from": "2026-11-24T00:00:00.000Z"},
        {"valid_until": "2027-11-24T00:00:00.50Z"},
        {"labels": []},
        {"description": None},
        {"external_references": [{"source_name": "x", "url": "https://a.example", "hashes": {"SHA256": "0" * 64}}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_linter_is_right_that_a_relay_changes_these(change: dict[str, Any]) -> None:
    with pytest.raises(SignatureFault, match="signature-unstable"):
        lint(indicator(**change))
    assert canonical(relayed(indicator(**change))) != canonical(indicator(**change))


def test_a_rewriting_tool_breaks_the_signature_and_is_found_out(pki: Pki, us: Signer) -> None:
    """new_version() keeps the extension, and with it a signature over the version before."""
    signed = stix2.parse(us.sign(indicator(), signed_at=SIGNED_AT), allow_custom=True)
    changed = json.loads(stix2.new_version(signed, name="other").serialize())
    with pytest.raises(SignatureFault, match="signature-invalid"):
        verify_object(changed, pki.keyring((us, "US")), received=NOW + timedelta(hours=1))


DIGITS = st.sampled_from(["", ".5", ".12", ".123", ".120", ".000", ".1234", ".123456", ".100000"])
OPTIONAL = st.fixed_dictionaries(
    {},
    optional={
        "revoked": st.booleans(),
        "labels": st.lists(st.text(min_size=1, max_size=5), max_size=2),
        "confidence": st.one_of(st.integers(0, 100), st.just(75.0)),
        "lang": st.sampled_from(["en", "es"]),
        "description": st.text(max_size=20),
        "valid_until": DIGITS.map(lambda digits: f"2027-11-24T00:00:00{digits}Z"),
        "indicator_types": st.just(["malicious-activity"]),
        "kill_chain_phases": st.just([{"kill_chain_name": "k", "phase_name": "p"}]),
        "external_references": st.just([{"source_name": "x", "url": "https://example.com/ñ"}]),
        "object_marking_refs": st.just(["marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487"]),
    },
)


@settings(max_examples=150, deadline=None)
@given(OPTIONAL, DIGITS, DIGITS)
def test_whatever_is_signed_survives_the_relay(
    pki: Pki, us: Signer, more: dict[str, Any], created: str, modified: str
) -> None:
    obj = indicator(**more, created=f"2026-11-24T11:58:00{created}Z", modified=f"2026-11-24T11:59:00{modified}Z")
    try:
        signed = us.sign(obj, signed_at=SIGNED_AT)
    except SignatureFault as fault:
        assert fault.code == "signature-unstable"
        return
    assert verify_object(relayed(signed), pki.keyring((us, "US")), received=NOW).identity_id == US_PORT


KINDS = {name: example for name, example in EXAMPLES.items() if name not in SCO_TYPES}
FORMS: tuple[Any, ...] = (
    "2026-11-24T11:00:00Z", "2026-11-24T11:00:00.5Z", "2026-11-24T11:00:00.123Z", "2026-11-24T11:00:00.120Z",
    "2026-11-24T11:00:00.123456Z", "2026-11-24T11:00:00.1234567Z", "2026-11-24T11:00:00.000Z", "0999-01-01T00:00:00.123Z",
    True, False, 0, 1, 1.0, 0.1, 1e-7, 1e22, -0.5, "", " x ", "e\u0301", "\u2028", [], {}, ["b", "a"], ["a", "a"],
    [False], {"b": 1, "a": [1.5]}, {"z": False}, 2**53 - 1, [{"source_name": "x", "url": "y", "hashes": {"sha256": "0"}}],
    [{"source_name": "x", "url": "y", "hashes": {"SHA-256": "0" * 64}}], [{"selectors": ["created", "id"], "lang": "es"}],
    {"extension-definition--0f8a2d44-8c0b-4c4e-9b1d-1c64a1f7a2b3": {"extension_type": "property-extension", "at_time":
     "2026-11-24T11:00:00.000Z", "no": False, "some": [{"b": 1.5, "a": "x"}]}},
)  # fmt: skip
NAMES = (
    "x_foo", "revoked", "labels", "confidence", "lang", "external_references", "granular_markings", "extensions",
    "first_seen", "aliases", "name", "description", "count", "created", "modified", "roles", "summary", "pattern_version",
)  # fmt: skip


def own(obj: dict[str, Any]) -> dict[str, Any]:
    """An example as our own, in the forms that the signer wants."""
    plain = {
        name: value.replace(".000Z", "Z") if isinstance(value, str) and name != "object_modified" else value
        for name, value in obj.items()
        if value is not False or name not in ("revoked", "summary")
    }
    stable = {**plain, "created_by_ref": US_PORT, "created": "2026-11-24T11:00:00.000Z"}
    if "modified" in obj:
        stable["modified"] = "2026-11-24T11:59:00.120Z"
    if obj.get("pattern_type") == "stix":
        stable["pattern_version"] = "2.1"
    return stable


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_the_relay(pki: Pki, us: Signer, kind: str) -> None:
    signed = us.sign(own(KINDS[kind]), signed_at=SIGNED_AT)
    assert all(found.level == "warn" for found in validate(signed))
    assert verify_object(relayed(signed), pki.keyring((us, "US")), received=NOW).identity_id == US_PORT


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_every_kind_survives_the_relay_or_is_refused_by_the_signer(
    pki: Pki, us: Signer, kind: str
) -> None:
    """One property at a time in each form it might have; those that the hub would refuse as STIX are not of interest."""
    base, keyring, survived = own(KINDS[kind]), pki.keyring((us, "US")), 0
    for name in sorted({*base, *NAMES} - {"type", "id", "created_by_ref", "spec_version"}):
        for form in FORMS:
            obj = {**base, name: form}
            if any(found.level == "reject" for found in validate(obj)):
                continue
            try:
                signed = us.sign(obj, signed_at=SIGNED_AT)
                passed = relayed(signed)
            except UnstableForm as fault:
                assert fault.field.startswith(name), (name, form)
                continue
            except (stix2.exceptions.STIXError, ValueError):
                continue  # the library will not have it at all
            assert verify_object(passed, keyring, received=NOW), (name, form)
            survived += 1
    assert survived > 20


def real_objects() -> Iterator[dict[str, Any]]:
    """Objects of STIX 2.1 by many makers, of every kind that may bear a signature."""
    for folder in ("oasis-stix-examples", "stix-elevator-idioms", "stix-common-objects", "vendor-stix", "misp"):
        for path in sorted((SHARED / folder).rglob("*.json*")):
            data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
            try:
                value = json.loads(data)
            except ValueError:
                continue
            yield from _objects(value)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)
    elif isinstance(value, dict):
        if value.get("spec_version") == "2.1" and "id" in value and value.get("type") not in {"bundle", *SCO_TYPES}:
            yield value
        else:
            for item in value.values():
                yield from _objects(item)


def test_real_objects_that_are_signed_survive_the_relay(pki: Pki, us: Signer) -> None:
    """Signed as our own (the author and the dates are made to fit), relayed, and verified again."""
    shared("oasis-stix-examples")
    logging.disable(logging.CRITICAL)
    keyring, kinds, signed, refused = pki.keyring((us, "US")), set(), 0, 0
    try:
        for found in real_objects():
            obj = {**found, "created_by_ref": US_PORT, "created": "2026-11-24T11:00:00.000Z"}
            if obj["type"] != "marking-definition":
                obj["modified"] = "2026-11-24T11:59:00.123Z"
            try:
                mine = us.sign(obj, signed_at=SIGNED_AT)
                passed = relayed(mine)
            except (SignatureFault, JsonError):
                refused += 1
                continue
            except (stix2.exceptions.STIXError, ValueError, TypeError, KeyError):
                continue  # python-stix2 will not have some real objects at all
            assert verify_object(passed, keyring, received=NOW), obj["id"]
            kinds.add(obj["type"])
            signed += 1
    finally:
        logging.disable(logging.NOTSET)
    assert signed > 3000
    assert len(kinds) > 12
    assert refused < signed / 5


# --- raw ECDSA ---

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_raw_signatures_at_the_edges() -> None:
    key, message = new_key(), b"message"
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    public = key.public_key()

    def valid(first: int, second: int) -> bool:
        return is_valid(public, first.to_bytes(32, "big") + second.to_bytes(32, "big"), message)

    assert valid(r, s)
    assert valid(r, ORDER - s)  # ECDSA's own twin; only the key's holder and whoever sees a signature can make it
    for first, second in (
        (0, s),
        (r, 0),
        (0, 0),
        (ORDER, s),
        (r, ORDER),
        (1, 1),
        (s, r),
        (r, 2**256 - 1),
        (ORDER - r, s),
    ):
        assert not valid(first, second)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    for length in (0, 1, 63):
        assert not is_valid(public, raw[:length], message)
    assert not is_valid(public, raw + b"\0", message)
    assert not is_valid(public, raw, b"other")
    assert not is_valid(new_key().public_key(), raw, message)
