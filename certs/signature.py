"""Object signatures: an ES256 JWS over the RFC 8785 form, inside the object it signs, checked in numbered steps.

    "extensions": {"extension-definition--…": {"extension_type": "property-extension", "sig_version": 1,
        "signer_ref": "identity--…", "signed_at": "…", "signature": "BASE64URL(header)..BASE64URL(r || s)"}}

Signed is the object without `signature`: a detached JWS (certs/jws.py) that any JOSE library verifies.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ObjectIdentifier

from certs.faults import PathFault, SignatureFault
from certs.jcs import JsonError, canonical
from certs.jws import sign_document, split_detached, verify_detached
from certs.keys import PrivateKey, is_p256, thumbprint
from certs.profiles import SIGNING

EXT_SIG = "extension-definition--2d0c4e5e-3f0f-4a53-9f36-5f0b7a1c6e01"
EXT_ATT = "extension-definition--8b8d4a7c-91d5-4b6a-8a0e-0c4f2d9b7e02"
OBJECT_TYPE = "stix-object+jws"

CLOCK_SKEW = timedelta(minutes=5)

_SCO_TYPES = frozenset({
    "artifact", "autonomous-system", "directory", "domain-name", "email-addr", "email-message", "file", "ipv4-addr",
    "ipv6-addr", "mac-addr", "mutex", "network-traffic", "process", "software", "url", "user-account",
    "windows-registry-key", "x509-certificate",
})  # fmt: skip


# --- signing ---


@dataclass(frozen=True, slots=True)
class Signer:
    """A member's signing key with its certificate and the identity it signs for."""

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    identity_id: str

    def sign(self, obj: Mapping[str, Any], *, signed_at: str, prev_sha256: str | None = None) -> dict[str, Any]:
        """A signed copy. `signed_at` is an RFC 3339 time; `prev_sha256` is the hex digest of the version before.

        Raises SignatureFault (`signature-unstable`, `signature-sco`) for forms that a relay's parse and serialise would
        change, and for observables, whose deterministic ids several members share.
        """
        lint(obj)
        block: dict[str, Any] = {
            "extension_type": "property-extension",
            "sig_version": 1,
            "signer_ref": self.identity_id,
            "signed_at": signed_at,
        }
        if prev_sha256 is not None:
            block["prev_sha256"] = prev_sha256
        extensions = {key: value for key, value in obj.get("extensions", {}).items() if key != EXT_SIG}
        signed = {**obj, "extensions": {**extensions, EXT_SIG: block}}
        block["signature"] = sign_document(signed, typ=OBJECT_TYPE, key=self.key, certificate=self.certificate)
        return signed


_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_MILLIS = re.compile(r"\.(\d{3}|\d{3}\d*[1-9])Z$")


def lint(obj: Mapping[str, Any]) -> None:
    """Raise SignatureFault when common tools would change the object on their way through.

    Measured with python-stix2: explicit default booleans vanish, `created`/`modified` get milliseconds, other times lose
    trailing zeros, a missing `pattern_version` appears, empty lists vanish. Any of it breaks a signature over the content.
    """
    if obj.get("type") in _SCO_TYPES:
        raise SignatureFault("signature-sco", "Observables are covered by an attestation, not signed themselves.", "Los observables se cubren con una atestación; no se firman ellos mismos.")  # fmt: skip
    for path, value in _walk(obj, ""):
        trouble = _unstable(path, value)
        if trouble is not None:
            raise SignatureFault(
                "signature-unstable",
                f"{path}: {trouble[0]}, so the signature would not survive a relay.",
                f"{path}: {trouble[1]}, por lo que la firma no sobreviviría a un retransmisor.",
            )
    if obj.get("type") == "indicator" and obj.get("pattern_type") == "stix" and "pattern_version" not in obj:
        raise SignatureFault(
            "signature-unstable",
            "pattern_version: common tools add it when it is absent, so the signature would not survive a relay.",
            "pattern_version: las herramientas comunes lo agregan si falta, por lo que la firma no sobreviviría a un retransmisor.",
        )


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key != EXT_SIG:
                yield from _walk(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _walk(item, f"{path}[{number}]")
    else:
        yield path, value


def _unstable(path: str, value: Any) -> tuple[str, str] | None:
    if value is False and path in ("revoked", "defanged"):
        return (
            "an explicit default is dropped by common tools",
            "las herramientas comunes omiten un valor predeterminado explícito",
        )
    if value == [] or value is None:
        return "empty values are dropped", "los valores vacíos se omiten"
    if isinstance(value, float) and value.is_integer():
        return "a whole number is written with a fraction", "un número entero está escrito con fracción"
    if isinstance(value, str) and _STAMP.fullmatch(value):
        if path in ("created", "modified"):
            if not _MILLIS.search(value):
                return "the time needs three fraction digits", "la hora necesita tres dígitos de fracción"
        elif "." in value and value.endswith("0Z"):
            return "the time has trailing zeros", "la hora tiene ceros finales"
    return None


# --- who may sign ---


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """An enrolled signing certificate (DER), the identity it belongs to, and that member's country."""

    certificate: bytes
    identity_id: str
    country: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a certificate was revoked, and since when its key is thought compromised, if that is why."""

    revoked_at: datetime
    compromised_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustedKey:
    public_key: ec.EllipticCurvePublicKey
    identity_id: str
    not_before: datetime
    not_after: datetime
    revocation: Revocation | None


class Trust(Protocol):
    """What a keyring asks of the trust list (certs/trust.py)."""

    def check(self, certificate: x509.Certificate, country: str, *, purpose: ObjectIdentifier, at: datetime) -> None:
        """Raise PathFault unless the certificate leads to the country's root."""


class Keyring:
    """The keys of one trust epoch, each with its path judged once: 180 µs a path would otherwise dominate intake."""

    def __init__(self, keys: Mapping[str, TrustedKey | SignatureFault]) -> None:
        self._keys = keys

    @classmethod
    def build(
        cls,
        entries: Iterable[KeyringEntry],
        trust: "Trust | None",
        revoked: Mapping[str, Revocation],
        *,
        at: datetime,
    ) -> "Keyring":
        """Judge every enrolled certificate under the trust list: a key that may sign, or the fault it deserves."""
        keys: dict[str, TrustedKey | SignatureFault] = {}
        for entry in entries:
            certificate = x509.load_der_x509_certificate(entry.certificate)
            keys[thumbprint(certificate)] = _judge(certificate, entry, trust, revoked.get(thumbprint(certificate)), at)
        return cls(keys)

    def find(self, key: str) -> TrustedKey:
        """Raises SignatureFault for a certificate that is unknown or not to be trusted."""
        found = self._keys.get(key)
        if found is None:
            raise SignatureFault("signature-unknown-certificate", "The signing certificate is not enrolled.", "El certificado de firma no está inscrito.")  # fmt: skip
        if isinstance(found, SignatureFault):
            raise SignatureFault(found.code, found.en, found.es)
        return found


def _judge(
    certificate: x509.Certificate,
    entry: KeyringEntry,
    trust: "Trust | None",
    revocation: Revocation | None,
    at: datetime,
) -> TrustedKey | SignatureFault:
    public = certificate.public_key()
    try:
        if trust is None:
            raise PathFault(
                "untrusted", "cannot be checked without a trust list", "no puede verificarse sin lista de confianza"
            )
        # An expired certificate stays in the keyring: its dates are judged against each object's receipt.
        moment = min(max(at, certificate.not_valid_before_utc), certificate.not_valid_after_utc)
        trust.check(certificate, entry.country, purpose=SIGNING, at=moment)
    except PathFault as fault:
        return SignatureFault(
            f"signature-{fault.code}", f"The signing certificate {fault.en}.", f"El certificado de firma {fault.es}."
        )
    if not isinstance(public, ec.EllipticCurvePublicKey) or not is_p256(public):
        return SignatureFault(
            "signature-algorithm", "The signing key is not a P-256 key.", "La clave de firma no es P-256."
        )
    return TrustedKey(
        public, entry.identity_id, certificate.not_valid_before_utc, certificate.not_valid_after_utc, revocation
    )


# --- verifying ---


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good signature says."""

    identity_id: str
    thumbprint: str
    signed_at: str
    prev_sha256: str | None


def verify_object(obj: Mapping[str, Any], keyring: Keyring, *, received: datetime) -> Verified:
    """Check the signature inside an object that was received at a time. Never changes `obj`. Raises SignatureFault.

    (1) it is there, in its one form, on an object that may bear one; (2) the header has exactly its three members, with
    the algorithm and the type we expect; (3) it verifies over the canonical form by the key its thumbprint names;
    (4) that key's certificate leads to its own country's root, is for signing, was valid and not revoked at receipt;
    (5) the key's member is `signer_ref` and `created_by_ref`; (6) `signed_at` fits the object, the certificate and now.
    Versions (steps 7 and 8 of the design) are judged where they are known: exchange/model/versions.py.
    """
    # Step 1.
    block = _block(obj)
    # Step 2.
    encoded, header, raw = split_detached(block["signature"], typ=OBJECT_TYPE)
    key = keyring.find(header.thumbprint)
    # Step 3.
    bare = {name: value for name, value in block.items() if name != "signature"}
    try:
        payload = canonical({**obj, "extensions": {**obj["extensions"], EXT_SIG: bare}})
    except JsonError as error:
        raise SignatureFault("signature-form", error.en, error.es) from None
    verify_detached(payload, encoded, raw, key.public_key)
    # Step 4.
    if not key.not_before <= received <= key.not_after:
        raise SignatureFault("signature-expired", "The signing certificate was not valid at receipt.", "El certificado de firma no estaba vigente al recibirse.")  # fmt: skip
    if key.revocation is not None and received >= (key.revocation.compromised_since or key.revocation.revoked_at):
        raise SignatureFault(
            "signature-revoked", "The signing certificate has been revoked.", "El certificado de firma fue revocado."
        )
    # Step 5.
    if block["signer_ref"] != key.identity_id:
        raise SignatureFault("signature-signer", "signer_ref is not the member that the key belongs to.", "signer_ref no es el miembro al que pertenece la clave.")  # fmt: skip
    author = obj.get("created_by_ref") or (obj["id"] if obj.get("type") == "identity" else None)
    if author != key.identity_id:
        raise SignatureFault(
            "signature-author",
            "created_by_ref is not the member that signed.",
            "created_by_ref no es el miembro que firmó.",
        )
    # Step 6.
    _check_time(block["signed_at"], obj, key, received)
    return Verified(key.identity_id, header.thumbprint, block["signed_at"], block.get("prev_sha256"))


_BLOCK_KEYS = {"extension_type", "sig_version", "signer_ref", "signed_at", "prev_sha256", "signature"}


def _block(obj: Mapping[str, Any]) -> dict[str, Any]:
    extensions = obj.get("extensions")
    block = extensions.get(EXT_SIG) if isinstance(extensions, Mapping) else None
    if block is None:
        raise SignatureFault("signature-missing", "The object is not signed.", "El objeto no está firmado.")
    if obj.get("type") in _SCO_TYPES:
        raise SignatureFault(
            "signature-sco",
            "Observables do not bear signatures of their own.",
            "Los observables no llevan firma propia.",
        )
    texts = ("signer_ref", "signed_at", "signature")
    if (
        not isinstance(block, dict)
        or not _BLOCK_KEYS.issuperset(block)
        or block.get("extension_type") != "property-extension"
        or block.get("sig_version") != 1
        or not all(isinstance(block.get(name), str) for name in texts)
        or not isinstance(block.get("prev_sha256", ""), str)
    ):
        raise _form()
    return block


def _form() -> SignatureFault:
    return SignatureFault(
        "signature-form",
        "The signature extension is not in its one form.",
        "La extensión de firma no tiene su única forma.",
    )


def _check_time(signed_at: str, obj: Mapping[str, Any], key: TrustedKey, received: datetime) -> None:
    try:
        moment = _moment(signed_at)
        modified = _moment(str(obj.get("modified") or obj.get("created") or signed_at))
    except ValueError:
        raise SignatureFault(
            "signature-time", "signed_at is not an RFC 3339 time in UTC.", "signed_at no es una hora RFC 3339 en UTC."
        ) from None
    if moment > received + CLOCK_SKEW:
        raise SignatureFault("signature-time", "signed_at lies in the future.", "signed_at está en el futuro.")
    if not key.not_before - CLOCK_SKEW <= moment <= key.not_after:
        raise SignatureFault("signature-time", "signed_at lies outside the certificate's dates.", "signed_at está fuera de la vigencia del certificado.")  # fmt: skip
    if moment + CLOCK_SKEW < modified:
        raise SignatureFault(
            "signature-time",
            "signed_at lies before the version it signs.",
            "signed_at es anterior a la versión que firma.",
        )


def _moment(text: str) -> datetime:
    if not _STAMP.fullmatch(text):
        raise ValueError("not a time")
    whole, _, fraction = text[:-1].partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")


# --- attestations ---


def attestation(
    *,
    id: str,  # noqa: A002  # the property's own name
    created_by_ref: str,
    created: str,
    covers: Sequence[Mapping[str, str]],
    attestation_type: str = "covers",
    source: Mapping[str, str] | None = None,
    object_marking_refs: Sequence[str] = (),
) -> dict[str, Any]:
    """An unsigned `object-attestation` over objects that bear no signature of their own: observables, imports.

    `covers` lists `{id, version, sha256}` (hex digest of the canonical form). For "imported-from", `source` gives
    source_name, source_url and retrieved_at. Its markings are what the importer claims for objects without any.
    """
    value: dict[str, Any] = {
        "type": "object-attestation",
        "spec_version": "2.1",
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": created,
        "attestation_type": attestation_type,
        "covers": [dict(item) for item in covers],
        "extensions": {EXT_ATT: {"extension_type": "new-sdo"}},
    }
    if object_marking_refs:
        value["object_marking_refs"] = list(object_marking_refs)
    return {**value, **(source or {})}


EXTENSION_DEFINITIONS: tuple[dict[str, Any], ...] = tuple(
    {
        "type": "extension-definition",
        "spec_version": "2.1",
        "id": extension,
        "created_by_ref": "identity--7a3f9f53-9e0b-4d5f-8a62-b1f4c27d6e03",
        "created": "2026-11-01T00:00:00.000Z",
        "modified": "2026-11-01T00:00:00.000Z",
        "name": name,
        "description": description,
        "schema": "docs/protocol.md",
        "version": "1.0.0",
        "extension_types": [kind],
    }
    for extension, name, description, kind in (
        (EXT_SIG, "Object signature", "An ES256 JWS over the object's RFC 8785 form.", "property-extension"),
        (EXT_ATT, "Object attestation", "A signed statement over other objects' digests.", "new-sdo"),
    )
)
"""The definitions of both extensions, as STIX objects."""
