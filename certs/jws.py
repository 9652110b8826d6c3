"""Detached ES256 signatures over canonical JSON: RFC 7515 appendix F with RFC 8785, and no choice left to the signer.

    BASE64URL(header) ".." BASE64URL(r || s)
    signed are the octets   BASE64URL(header) "." BASE64URL(JCS(payload))

The header has exactly three members: `alg`, `typ`, `x5t#S256`. A key, a certificate or a place to fetch one is never
taken from a signature (RFC 8725, 3.10); `typ` keeps one kind of signature from being shown as another (3.11).
"""

import re
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from certs.faults import SignatureFault
from certs.jcs import Json, JsonError, canonical, load
from certs.keys import PrivateKey, PublicKey, is_p256, thumbprint

ES256: Final = "ES256"
IMPLEMENTED: Final = frozenset({ES256})

HEADER_LIMIT_CHARACTERS: Final = 512
"""Three times what the three members need."""

_PREHASHED = ec.ECDSA(Prehashed(SHA256()))
"""One digest context less to set up for each signature; the bytes that are signed are the same."""
_DETERMINISTIC = ec.ECDSA(SHA256(), deterministic_signing=True)
"""RFC 6979: the same bytes signed again give the same signature, so a retry is a duplicate and not a conflict."""

_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{85}[AQgw]")
"""64 bytes. The last character carries two bits, so only four are canonical: no second spelling of one signature."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


class Header(NamedTuple):
    alg: str
    typ: str
    thumbprint: str


def b64url(data: bytes) -> bytes:
    """RFC 7515, 2: base64url without padding."""
    return b2a_base64(data, newline=False).translate(_URL_SIGNS).rstrip(b"=")


_URL_SIGNS = bytes.maketrans(b"+/", b"-_")


def encode_header(typ: str, certificate: x509.Certificate) -> str:
    """The protected header for signatures of this kind under this certificate."""
    return b64url(canonical({"alg": ES256, "typ": typ, "x5t#S256": thumbprint(certificate)})).decode()


def sign_detached(payload: bytes, header: str, key: PrivateKey) -> str:
    """The detached compact form over canonical bytes."""
    r, s = decode_dss_signature(key.sign(_signing_input(header, payload), _DETERMINISTIC))
    return f"{header}..{b64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big')).decode()}"


def split_detached(jws: object, *, typ: str, algorithms: frozenset[str] = IMPLEMENTED) -> tuple[str, Header, bytes]:
    """The header as sent, the header as read, and the 64 signature bytes. Raises SignatureFault for any other form."""
    if not isinstance(jws, str) or jws.count(".") != 2:
        raise _form("It is not a detached compact JWS.", "No es un JWS compacto separado.")
    text, _, rest = jws.partition(".")
    if not rest.startswith("."):
        raise _form("The payload must be detached.", "El contenido debe ir separado de la firma.")
    header = _read_header(text)
    if header.alg not in algorithms or header.alg not in IMPLEMENTED:
        raise SignatureFault(
            "signature-algorithm",
            f"The signature algorithm must be one of {', '.join(sorted(algorithms & IMPLEMENTED))}.",
            f"El algoritmo de firma debe ser uno de {', '.join(sorted(algorithms & IMPLEMENTED))}.",
        )
    if header.typ != typ:
        raise SignatureFault(
            "signature-type",
            f"This is a signature of another kind; {typ} is needed here.",
            f"Esta es una firma de otro tipo; aquí se necesita {typ}.",
        )
    if not _SIGNATURE.fullmatch(rest, 1):
        raise _form(
            "The signature is not 64 bytes in base64url (r and s, 32 each).",
            "La firma no consta de 64 bytes en base64url (r y s, de 32 cada uno).",
        )
    return text, header, urlsafe_b64decode(rest[1:] + "==")


def verify_detached(payload: bytes, header: str, raw: bytes, key: PublicKey) -> None:
    """Check r || s over canonical bytes. Raises SignatureFault("signature-invalid")."""
    if not is_valid(key, raw, _signing_input(header, payload)):
        raise SignatureFault(
            "signature-invalid",
            "The signature does not match the content and the key.",
            "La firma no corresponde al contenido y a la clave.",
        )


def is_valid(key: PublicKey, raw: bytes, message: bytes) -> bool:
    """Whether 64 bytes r || s (RFC 7518, 3.4) are a P-256 SHA-256 signature of the message."""
    if len(raw) != 64:
        return False
    try:
        key.verify(
            encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
            sha256(message).digest(),
            _PREHASHED,
        )
    except InvalidSignature:
        return False
    return True


def _signing_input(header: str, payload: bytes) -> bytes:
    return header.encode("ascii") + b"." + b64url(payload)


@lru_cache(maxsize=4096)
def _read_header(text: str) -> Header:
    # A member uses one header for all its objects; faults are not cached, so a flood of them costs only itself.
    if not 0 < len(text) <= HEADER_LIMIT_CHARACTERS or not _BASE64URL.fullmatch(text):
        raise _form("The header is not base64url.", "La cabecera no es base64url.")
    try:
        value = load(urlsafe_b64decode(text + "=" * (-len(text) % 4)), max_bytes=HEADER_LIMIT_CHARACTERS, max_depth=1)
    except (JsonError, ValueError):
        raise _form("The header is not strict JSON.", "La cabecera no es JSON estricto.") from None
    if not isinstance(value, dict) or value.keys() != {"alg", "typ", "x5t#S256"}:
        raise _form(
            "The header must have exactly the members alg, typ and x5t#S256.",
            "La cabecera debe tener exactamente los miembros alg, typ y x5t#S256.",
        )
    if not all(isinstance(part, str) for part in value.values()) or not _THUMBPRINT.fullmatch(value["x5t#S256"]):
        raise _form("The header's members are malformed.", "Los miembros de la cabecera tienen una forma incorrecta.")
    return Header(value["alg"], value["typ"], value["x5t#S256"])


def _form(en: str, es: str) -> SignatureFault:
    return SignatureFault("signature-form", en, es)


# --- whole documents: trust lists, approvals ---


def sign_document(payload: Json, *, typ: str, key: PrivateKey, certificate: x509.Certificate) -> str:
    """A detached signature over any JSON value. Raises JsonError when the value has no canonical form."""
    return sign_detached(canonical(payload), encode_header(typ, certificate), key)


def verify_document(
    payload: Json, jws: str, *, typ: str, certificate_lookup: Callable[[str], x509.Certificate | None]
) -> str:
    """The thumbprint of the certificate that signed. `certificate_lookup` answers for the thumbprints that may.

    Raises SignatureFault. Whether that certificate counts (path, purpose, dates) is the caller's question.
    """
    text, header, raw = split_detached(jws, typ=typ)
    certificate = certificate_lookup(header.thumbprint)
    key = certificate.public_key() if certificate is not None else None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p256(key):
        raise SignatureFault(
            "signature-unknown-certificate",
            f"The certificate {header.thumbprint} may not sign this.",
            f"El certificado {header.thumbprint} no puede firmar esto.",
        )
    try:
        data = canonical(payload)
    except JsonError as error:
        raise SignatureFault("signature-form", error.en, error.es) from None
    verify_detached(data, text, raw, key)
    return header.thumbprint
