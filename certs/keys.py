"""P-256 private keys as files only their owner can read, and the two fingerprints by which certificates are known."""

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from certs.faults import KeyFault

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

OTHERS: Final = 0o077
"""Permission bits of everyone but the owner; a secret file must have none of them."""


def new_key() -> PrivateKey:
    """A fresh P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1())


def save_key(key: PrivateKey, path: Path) -> None:
    """Write a key as PKCS #8 PEM, mode 0600 from its first moment. Raises FileExistsError rather than overwrite."""
    save_secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), path)


def load_key(path: Path) -> PrivateKey:
    """Read a P-256 key. Raises KeyFault when others can read the file or it holds another kind of key."""
    try:
        key = load_pem_private_key(load_secret(path), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not is_p256(key.public_key()):
        raise KeyFault("key-form", f"{path} is not a P-256 private key.", f"{path} no es una clave privada P-256.")
    return key


def save_secret(data: bytes, path: Path) -> None:
    """Write secret bytes, mode 0600 from their first moment. Raises FileExistsError rather than overwrite."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)


def replace_secret(path: Path, data: bytes) -> None:
    """Put a secret file in place whole, mode 0600, over an older one if there is one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # left by a process that died with our number
    save_secret(data, draft)
    draft.replace(path)


def load_secret(path: Path) -> bytes:
    """Read secret bytes. Raises KeyFault when the group or others have any right to the file."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & OTHERS:  # of the file that was opened, not of the name
            raise KeyFault(
                "key-mode",
                f"Others than its owner have rights to {path}; run chmod 600 on it.",
                f"Otros además de su propietario tienen permisos sobre {path}; ejecute chmod 600.",
            )
        return file.read()


def is_p256(key: object) -> bool:
    """Whether this is a public key on P-256, the only curve in use."""
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


# --- certificates ---


def thumbprint(certificate: x509.Certificate) -> str:
    """RFC 7515, 4.1.8: base64url of the SHA-256 of the DER form, as in a header's x5t#S256. 43 characters."""
    return urlsafe_b64encode(certificate.fingerprint(SHA256())).rstrip(b"=").decode()


def spki_pin(certificate: x509.Certificate) -> str:
    """SHA-256 of the subject's public key info, in hex: it stays the same when a certificate is renewed for its key."""
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(info).hexdigest()


def p256(certificate: x509.Certificate) -> PublicKey:
    """The certificate's public key. Raises KeyFault when it is not on P-256."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p256(key):
        raise KeyFault("key-form", "Only P-256 keys are in use.", "Solo se usan claves P-256.")
    return key


def read_certificate(data: bytes | str) -> x509.Certificate:
    """One certificate, PEM or DER. Raises KeyFault."""
    try:
        raw = data.encode("ascii") if isinstance(data, str) else data
        certificate = (
            x509.load_pem_x509_certificate(raw)
            if raw.lstrip().startswith(b"-----BEGIN")
            else x509.load_der_x509_certificate(raw)
        )
        certificate.public_key(), certificate.extensions  # both are parsed late, and may fail then
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        raise _not_a_certificate() from error
    return certificate


def read_pem(path: Path) -> list[x509.Certificate]:
    """Every certificate of a PEM file, leaf first as written. Raises KeyFault."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise _not_a_certificate() from error


def pem(certificates: Iterable[x509.Certificate]) -> str:
    """Certificates as one PEM text."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _not_a_certificate() -> KeyFault:
    return KeyFault("certificate-form", "This is not an X.509 certificate.", "Esto no es un certificado X.509.")


def replace_file(path: Path, data: bytes) -> None:
    """Put a public file in place whole: a crash leaves the old one or the new one, never half of either."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
