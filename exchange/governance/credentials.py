"""How a machine proves whose it is: API tokens by hash, TLS certificates by thumbprint and path to their own country's root."""

import hmac
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.faults import PathFault
from exchange.errors import NotAuthenticated
from exchange.model.member import Credential, Member
from exchange.rules import Rules
from exchange.times import as_datetime

_PREFIX = "puente"


WARN_DAYS = (1, 3, 14, 30)
"""Before a credential ends. A firewall that is refused may stop enforcing: PAN-OS does."""


def new_token(member: str, *, now_us: int, days: int, note: str, product: str = "") -> tuple[Credential, str]:
    """A credential and its token text, `puente_<id>_<secret>`. The text is shown once; only its SHA-256 is kept.

    The secret has 256 random bits, so a plain hash is enough: a password KDF would cost 100 ms a request and add nothing.
    """
    account, secret = secrets.token_hex(8), urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    expires = now_us + days * 86_400_000_000
    digest = sha256(secret.encode()).digest()
    credential = Credential(account, member, "token", digest, now_us, expires, note=note, product=product)
    return credential, f"{_PREFIX}_{account}_{secret}"


def account_in(text: str) -> str:
    """The account that a token's text names, rightly or not."""
    return text.partition("_")[2].partition("_")[0]


def account_of(der: bytes) -> str:
    """The account of a TLS client certificate."""
    return sha256(der).hexdigest()[:16]


def authenticate_token(rules: Rules, text: str, now_us: int) -> tuple[Member, Credential] | None:
    """The member a token speaks for, or None: unknown, wrong, ended and expired look alike."""
    prefix, _, rest = text.partition("_")
    account, _, secret = rest.partition("_")
    credential = rules.registry.credentials.get(account)
    digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()
    known = credential.digest if credential is not None else bytes(32)
    right = hmac.compare_digest(digest, known)
    if (
        prefix != _PREFIX
        or credential is None
        or credential.kind != "token"
        or not right
        or not _live(credential, now_us)
    ):
        return None
    return rules.registry.members[credential.member], credential


def certificate_credential(member: str, certificate: x509.Certificate, *, now_us: int, note: str) -> Credential:
    """A credential for a TLS client certificate; it ends when the certificate does."""
    der = certificate.public_bytes(Encoding.DER)
    return Credential(
        id=account_of(der),
        member=member,
        kind="certificate",
        digest=sha256(der).digest(),
        created_us=now_us,
        expires_us=int(certificate.not_valid_after_utc.timestamp()) * 1_000_000,
        note=note,
        certificate=der,
    )


def authenticate_certificate(rules: Rules, der: bytes, now_us: int) -> tuple[Member, Credential]:
    """The member a TLS client certificate speaks for.

    The TLS library has checked a path to *a* trusted root; here it must be the root of the member's own country, and the
    certificate must be enrolled, in date and not revoked *now* (kept-alive connections outlive a CRL). The subject name is
    never used. Raises NotAuthenticated with a code of its own for each reason.
    """
    digest = sha256(der).digest()
    credential = rules.registry.credentials.get(account_of(der))
    if credential is None or not hmac.compare_digest(credential.digest, digest):
        raise _refused("certificate-unknown", "is not enrolled with any member", "no está inscrito con ningún miembro")
    if not _live(credential, now_us):
        raise _refused("certificate-revoked", "has been revoked or has expired", "fue revocado o ha vencido")
    member = rules.registry.members[credential.member]
    if rules.trust is None:
        raise _refused(
            "certificate-untrusted",
            "cannot be checked without a trust list",
            "no puede verificarse sin lista de confianza",
        )
    try:
        rules.trust.check_tls(
            x509.load_der_x509_certificate(der), member.country, at=as_datetime(now_us), revocations=rules.revocations
        )
    except PathFault as fault:
        raise _refused(f"certificate-{fault.code}", fault.en, fault.es) from fault
    return member, credential


def warning_days(credential: Credential, now_us: int) -> int | None:
    """The narrowest of WARN_DAYS that what is left of a credential's life fits in; None while it is long."""
    left_us = credential.expires_us - now_us
    return next((days for days in WARN_DAYS if left_us <= days * 86_400_000_000), None)


def _live(credential: Credential, now_us: int) -> bool:
    return credential.ended_us is None and credential.created_us <= now_us < credential.expires_us


def _refused(code: str, en: str, es: str) -> NotAuthenticated:
    return NotAuthenticated(f"The client certificate {en}.", f"El certificado de cliente {es}.", code=code)
