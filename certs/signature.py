"""Object signatures: an ES256 JWS over the canonical form, inside the object it signs, verified in numbered steps.

    "extensions": {"extension-definition--…": {
        "extension_type": "property-extension", "sig_version": 1,
        "signer_ref": "identity--…", "signed_at": "2026-11-23T18:00:00Z",
        "prev_sha256": "hex SHA-256 of the version before; absent on the first",
        "signature": "BASE64URL(header)..BASE64URL(r || s)"}}

Signed is the RFC 8785 form of the object with only `signature` taken out, so any JOSE library verifies it (jws.py).
Observables carry none: an attestation, signed like any object, covers them and what was imported.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal

from cryptography import x509

from certs.faults import SignatureFault, UnstableForm
from certs.jcs import JsonError, canonical
from certs.jws import encode_header, sign_detached, sign_document, split_detached, verify_detached, verify_document
from certs.keyring import Keyring, KeyringEntry, Purpose, TrustedKey
from certs.keys import PrivateKey, p256
from certs.origin import Origin
from certs.path import Revocation, Revocations
from certs.relay import SCO_TYPES, lint, refuse_observable

__all__ = [
    "ATTESTATION",
    "EXTENSION_DEFINITIONS",
    "EXT_ATT",
    "EXT_NOTICE",
    "EXT_SIG",
    "NOTICE",
    "NOTICE_TYPE",
    "OBJECT_TYPE",
    "SCO_TYPES",
    "Keyring",
    "KeyringEntry",
    "Revocation",
    "Revocations",
    "SignatureFault",
    "Signer",
    "TrustedKey",
    "UnstableForm",
    "Verified",
    "attestation",
    "lint",
    "sign_document",
    "signed_under",
    "verify_document",
    "verify_object",
]

EXT_SIG: Final = "extension-definition--d3983882-f2a7-4cdd-864e-d9d130bb0a5a"
EXT_ATT: Final = "extension-definition--b7a9c9d7-08da-4420-9a04-f1fd4b3eb76e"
EXT_NOTICE: Final = "extension-definition--5a0c1e52-6f39-4b8e-9d25-0d6a3e7c9b14"
OBJECT_TYPE: Final = "stix-object+jws"
ATTESTATION: Final = "object-attestation"
NOTICE: Final = "withdrawal-notice"
"""The type of object by which the hub asks a member to drop others (certs/notice.py)."""
NOTICE_TYPE: Final = "withdrawal-notice+jws"

CLOCK_TOLERANCE: Final = timedelta(minutes=5)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")
_MEMBERS: Final = frozenset({"extension_type", "sig_version", "signer_ref", "signed_at", "signature"})
_MEMBERS_AND_PREVIOUS: Final = _MEMBERS | {"prev_sha256"}


# --- signing ---


@dataclass(frozen=True, slots=True)
class Signer:
    """A member's signing key with its certificate, and the identity it speaks for. Raises ValueError if they differ."""

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    identity_id: str
    typ: str = OBJECT_TYPE
    """Of what it signs: objects, or the hub's notices."""
    _header: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.key.public_key() != p256(self.certificate):
            raise ValueError("the certificate is for another key")
        object.__setattr__(self, "_header", encode_header(self.typ, self.certificate))

    def sign(self, obj: Mapping[str, Any], *, signed_at: str, prev_sha256: str | None = None) -> dict[str, Any]:
        """A signed copy of the object; a signature it bore as an earlier version is replaced.

        `signed_at` is an RFC 3339 time in UTC, `prev_sha256` the hex digest of the version before. Raises UnstableForm
        for what a relay would change, SignatureFault for an observable. Whether the signature counts (author, dates) is
        the verifier's to say.
        """
        extensions = {name: value for name, value in obj.get("extensions", {}).items() if name != EXT_SIG}
        bare = {name: value for name, value in obj.items() if name != "extensions"}
        lint({**bare, "extensions": extensions} if extensions else bare)
        if prev_sha256 is not None and not _DIGEST.fullmatch(prev_sha256):
            raise _form("prev_sha256 is not a SHA-256 digest in hex.", "prev_sha256 no es un SHA-256 en hexadecimal.")
        _moment(signed_at)
        block: dict[str, Any] = {
            "extension_type": "property-extension",
            "sig_version": 1,
            "signer_ref": self.identity_id,
            "signed_at": signed_at,
        }
        if prev_sha256 is not None:
            block["prev_sha256"] = prev_sha256
        signed = {**bare, "extensions": {**extensions, EXT_SIG: block}}
        try:
            block["signature"] = sign_detached(canonical(signed), self._header, self.key)
        except JsonError as error:
            raise _form(error.en, error.es) from None
        return signed


# --- verifying ---


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good signature says. `prev_sha256` is the digest of the version before, None on a first version."""

    identity_id: str
    thumbprint: str
    signed_at: str
    prev_sha256: str | None
    purpose: Purpose = "signing"


def verify_object(
    obj: Mapping[str, Any], keyring: Keyring, *, received: datetime, body: bytes | None = None
) -> Verified:
    """Verify the signature in an object that came in through `certs.jcs.load`. Never changes it.

    `received` is when the hub received it (aware): certificates are judged then, not now. `body` is the canonical form
    of `obj`, where the caller has made it. Raises SignatureFault, each step with its own codes.
    """
    # 1. The object may bear a signature, and the extension is in its one form.
    # 2. The header has exactly its three members, an allowed algorithm and the type of object signatures.
    # 3. The canonical form without `signature` verifies under the key its thumbprint names.
    # 4. That key's certificate leads to its own country's root and was valid and not revoked at receipt.
    # 5. The key's member is `signer_ref`, and the author.
    # 6. `signed_at` fits the receipt, the certificate and the version.
    # Versions (7: prev_sha256, owner, nothing after revocation; 8: forks) are the store's, which knows the others.

    # (1): the form
    block = _block(obj)

    # (2): the header
    is_notice = obj.get("type") == NOTICE
    typ = NOTICE_TYPE if is_notice else OBJECT_TYPE
    header, (_, _, name), raw = split_detached(block["signature"], typ=typ, algorithms=keyring.algorithms)

    # (4), first half: what the keyring found of the certificate; before (3), so that strangers cost no arithmetic
    key = keyring.find(name)
    if (key.purpose == "notice") is not is_notice:
        raise SignatureFault(
            "signature-purpose",
            "The hub's key signs its notices and nothing else, and nobody else's signs them.",
            "La clave del centro firma sus avisos y nada más, y ninguna otra los firma.",
        )

    # (3): the signature
    verify_detached(_payload(obj, block, body), header, raw, key.public_key)

    # (4), second half: at the time of receipt
    key.check_at(received)

    # (5): the member
    if block["signer_ref"] != key.identity_id:
        raise SignatureFault(
            "signature-signer",
            "signer_ref is not the member that the signing key belongs to.",
            "signer_ref no es el miembro al que pertenece la clave de firma.",
        )
    if _author(obj) != key.identity_id:
        raise _not_author()

    # (6): the times
    _check_times(block["signed_at"], obj, key, received)
    return Verified(key.identity_id, name, block["signed_at"], block.get("prev_sha256"), key.purpose)


def signed_under(obj: Mapping[str, Any]) -> str:
    """The thumbprint that a kept object's signature names, or "". Whether it verifies was judged when it came in."""
    block = obj.get("extensions", {}).get(EXT_SIG)
    try:
        return split_detached(block["signature"], typ=OBJECT_TYPE)[1].thumbprint if isinstance(block, dict) else ""
    except (SignatureFault, KeyError):
        return ""


def _payload(obj: Mapping[str, Any], block: dict[str, Any], body: bytes | None) -> bytes:
    """The canonical form without the signature. Where the signature stands once in the whole form, that is where it has
    to be cut out; `signed_at` follows it, so it ends in a comma."""
    member = b'"signature":"%b",' % block["signature"].encode()
    if body is not None and body.count(member) == 1:
        return body.replace(member, b"")
    bare = {name: value for name, value in block.items() if name != "signature"}
    try:
        return canonical({**obj, "extensions": {**obj["extensions"], EXT_SIG: bare}})
    except JsonError as error:
        raise _form(error.en, error.es) from None


def _block(obj: Mapping[str, Any]) -> dict[str, Any]:
    extensions = obj.get("extensions")
    block = extensions.get(EXT_SIG) if isinstance(extensions, dict) else None
    if block is None:
        raise SignatureFault("signature-missing", "The object is not signed.", "El objeto no está firmado.")
    refuse_observable(obj)
    if not isinstance(block, dict) or not (block.keys() == _MEMBERS or block.keys() == _MEMBERS_AND_PREVIOUS):
        raise _form(
            "The signature extension does not have exactly its members.",
            "La extensión de firma no tiene exactamente sus miembros.",
        )
    previous = block.get("prev_sha256")
    if (
        block["extension_type"] != "property-extension"
        or type(block["sig_version"]) is not int  # True and 1.0 equal 1
        or block["sig_version"] != 1
        or not isinstance(block["signer_ref"], str)
        or not isinstance(block["signed_at"], str)
        or ("prev_sha256" in block and not (isinstance(previous, str) and _DIGEST.fullmatch(previous)))
    ):
        raise _form(
            "A member of the signature extension has another form than it must.",
            "Un miembro de la extensión de firma tiene una forma distinta de la debida.",
        )
    return block


def _author(obj: Mapping[str, Any]) -> Any:
    """`created_by_ref`; an identity without one speaks for itself."""
    author = obj.get("created_by_ref")
    return obj.get("id") if author is None and obj.get("type") == "identity" else author


def _check_times(signed_at: str, obj: Mapping[str, Any], key: TrustedKey, received: datetime) -> None:
    moment = _moment(signed_at)
    if moment > received + CLOCK_TOLERANCE:
        raise _time("signed_at lies in the future.", "signed_at está en el futuro.")
    if not key.not_before <= moment <= key.not_after:
        raise _time(
            "signed_at lies outside the certificate's dates.", "signed_at está fuera de la vigencia del certificado."
        )
    version = obj.get("modified", obj.get("created"))
    if version is not None and moment + CLOCK_TOLERANCE < _moment(version):
        raise _time("signed_at lies before the version it signs.", "signed_at es anterior a la versión que firma.")


def _moment(text: object) -> datetime:
    if isinstance(text, str):
        return _read_moment(text)
    raise _no_time()


@lru_cache(maxsize=1024)  # of short texts: what is signed together often has one time, and faults are not kept
def _read_moment(text: str) -> datetime:
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass  # a thirteenth month has the form, too
    raise _no_time()


def _no_time() -> SignatureFault:
    return _time("A time is not RFC 3339 in UTC.", "Una hora no está en RFC 3339 y UTC.")


def _form(en: str, es: str) -> SignatureFault:
    return SignatureFault("signature-form", en, es)


def _time(en: str, es: str) -> SignatureFault:
    return SignatureFault("signature-time", en, es)


def _not_author() -> SignatureFault:
    return SignatureFault(
        "signature-author",
        "The object's author (created_by_ref) is not the member that signs it.",
        "El autor del objeto (created_by_ref) no es el miembro que lo firma.",
    )


# --- attestations ---


def attestation(
    *,
    id: str,  # noqa: A002  # the property's own name
    created_by_ref: str,
    created: str,
    covers: Sequence[Mapping[str, str]],
    attestation_type: Literal["covers", "imported-from", "gateway-release"] = "covers",
    source: Mapping[str, str] | None = None,
    origin: Origin | None = None,
    object_marking_refs: Sequence[str] = (),
) -> dict[str, Any]:
    """An unsigned attestation over objects that bear no signature of their creator's: observables, imports, and what a
    national gateway signs in an operator's stead.

    `covers` lists {id, version, sha256 (hex, of the canonical form)}. "imported-from" needs `source` with
    `source_name`, `source_url` and `retrieved_at`; its markings are what the importer claims for objects that have
    none. "gateway-release" needs `origin`, and an `origin_commitment` (certs.origin) in every item. The caller makes the id ("object-attestation--" and a UUIDv4) and signs the result. Raises ValueError.
    """
    told = ("id", "version", "sha256") if origin is None else ("id", "version", "sha256", "origin_commitment")
    items = [{name: item[name] for name in told} for item in covers]
    if not items or not all(_DIGEST.fullmatch(item[name]) for item in items for name in told[2:]):
        raise ValueError("an attestation covers at least one object, each by its SHA-256 in hex")
    if (origin is not None) is not (attestation_type == "gateway-release"):
        raise ValueError("a gateway-release, and nothing else, says where its objects come from")
    names = {"source_name", "source_url", "retrieved_at"} if attestation_type == "imported-from" else set()
    if (source or {}).keys() != names:
        raise ValueError(f"{attestation_type} takes exactly these of a source: {', '.join(sorted(names)) or 'nothing'}")
    value: dict[str, Any] = {
        "type": ATTESTATION,
        "spec_version": "2.1",
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": created,
        "attestation_type": attestation_type,
        "covers": items,
        **(source or {}),
        **({"origin": origin.value()} if origin is not None else {}),
        "extensions": {EXT_ATT: {"extension_type": "new-sdo"}},
    }
    if object_marking_refs:
        value["object_marking_refs"] = list(object_marking_refs)
    return value


def _definition(extension: str, name: str, description: str, kind: str) -> dict[str, Any]:
    return {
        "type": "extension-definition",
        "spec_version": "2.1",
        "id": extension,
        "created_by_ref": "identity--bfd5aae4-02de-42c9-ac81-95335c028ec2",
        "created": "2026-11-24T00:00:00.000Z",
        "modified": "2026-11-24T00:00:00.000Z",
        "name": name,
        "description": description,
        "schema": f"{name}: {description}",
        "version": "1.0.0",
        "extension_types": [kind],
    }


EXTENSION_DEFINITIONS: Final[tuple[dict[str, Any], ...]] = (
    _definition(
        EXT_SIG,
        "Object signature",
        "sig_version (1), signer_ref (identity), signed_at (timestamp), prev_sha256 (hex, absent on a first version)"
        " and signature: a detached ES256 JWS (RFC 7515, appendix F) over the RFC 8785 form of the object without"
        " `signature`; its header has exactly alg, typ (stix-object+jws) and x5t#S256.",
        "property-extension",
    ),
    _definition(
        EXT_ATT,
        "Object attestation",
        "An object of type object-attestation: attestation_type (covers, imported-from or gateway-release), covers (list"
        " of id, version, sha256 of the RFC 8785 form) and, for imports, source_name, source_url and retrieved_at; for a"
        " gateway's release, origin (country, roles, sectors) and in covers the origin_commitment. It bears an object"
        " signature of its own.",
        "new-sdo",
    ),
    _definition(
        EXT_NOTICE,
        "Withdrawal notice",
        "An object of type withdrawal-notice, by the hub to one member: recall (uuid), withdraws (list of id and versions),"
        " asks (drop), acknowledgement (asked or required), act_by (timestamp), class and cause. It bears an object signature"
        " whose typ is withdrawal-notice+jws.",
        "new-sdo",
    ),
)
"""The extensions as STIX objects, for collections that hand out their definitions."""
