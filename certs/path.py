"""Whether a certificate leads to the root of one country, for one purpose, at one time, and whether it was revoked.

RFC 5280 path validation is `cryptography`'s. Added here: the purpose must be the only one, the key on P-256, the name
exactly one DNS name (so that the country's name constraint has something to bite on), and CRLs, which fail closed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ObjectIdentifier
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from certs.faults import PathFault
from certs.keys import is_p256, thumbprint


def check_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    root: x509.Certificate,
    *,
    purpose: ObjectIdentifier,
    at: datetime,
) -> x509.Certificate:
    """The intermediate that issued `leaf`, when all is well; revocation is asked of `Revocations`, not here.

    Raises PathFault: `algorithm` (not P-256), `expired` (outside its dates), `purpose` (another or a further extended
    key usage), `wrong-country` (a name outside the root's country), `untrusted` (no path to this root).
    """
    if not is_p256(leaf.public_key()):
        raise PathFault("algorithm", "has a key that is not on P-256", "tiene una clave que no es P-256")
    if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
        raise PathFault("expired", "is not valid at this time", "no está vigente en este momento")
    if purposes(leaf) != [purpose]:
        raise PathFault("purpose", "was issued for another purpose", "fue emitido para otro fin")
    if not _within(leaf, country_zone(root)):
        raise PathFault(
            "wrong-country",
            "names nobody of this country",
            "no nombra a nadie de este país",
        )
    builder = PolicyBuilder().store(Store([root])).time(at).max_chain_depth(1)
    verifier = builder.extension_policies(ca_policy=_CA, ee_policy=_LEAF).build_client_verifier()
    try:
        return verifier.verify(leaf, list(intermediates)).chain[1]
    except VerificationError as error:
        raise PathFault(
            "untrusted",
            "does not lead to this country's root",
            "no conduce a la raíz de este país",
        ) from error


def purposes(certificate: x509.Certificate) -> list[ObjectIdentifier]:
    """Its extended key usages; none when the extension is absent."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


def dns_name(certificate: x509.Certificate) -> str:
    """Its only subject alternative name, in lower case, or "" when it is not exactly one DNS name."""
    try:
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return names[0].value.lower() if len(names) == 1 and isinstance(names[0], x509.DNSName) else ""


def country_zone(authority: x509.Certificate) -> str:
    """The one DNS subtree a root or intermediate may certify, e.g. `us.hub.example`; "" when it is not bound to one."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    permitted = constraints.permitted_subtrees or []
    return permitted[0].value if len(permitted) == 1 and isinstance(permitted[0], x509.DNSName) else ""


def _within(leaf: x509.Certificate, zone: str) -> bool:
    return bool(zone) and dns_name(leaf).endswith(f".{zone}")


def _any_purpose(_: Policy, __: x509.Certificate, ___: x509.ExtendedKeyUsage | None) -> None:
    # The library's client verifier would insist on clientAuth. The leaf's purpose was compared above, and an
    # intermediate's is bound by the trust list, which names one intermediate per purpose.
    return


_CA: Final = (
    ExtensionPolicy.webpki_defaults_ca()
    .require_present(x509.NameConstraints, Criticality.CRITICAL, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _any_purpose)
)
_LEAF: Final = ExtensionPolicy.webpki_defaults_ee().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _any_purpose
)


# --- revocation ---


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a certificate was revoked, and since when its key is thought to be in other hands, if that is why."""

    revoked_at: datetime
    compromised_since: datetime | None = None
    reason: str = "unspecified"


class Revocations:
    """What is known to be revoked at one moment: from CRLs, from the hub's own registry, or from both.

    With CRLs, every issuer that is asked about must have a fresh one: a missing or stale list is a fault, never "not
    revoked". `listed` alone (the hub's registry, where a revocation is a recorded act of its own) asks for no CRL.
    """

    def __init__(
        self,
        crls: Mapping[str, x509.CertificateRevocationList] | None,
        listed: Mapping[str, Revocation],
        *,
        at: datetime | None = None,
    ) -> None:
        self._crls = crls
        self._listed = listed
        self._at = at

    @classmethod
    def listed(cls, by_thumbprint: Mapping[str, Revocation]) -> "Revocations":
        """Revocations that were recorded by thumbprint."""
        return cls(None, by_thumbprint)

    @classmethod
    def from_crls(
        cls,
        crls: Iterable[bytes | x509.CertificateRevocationList],
        issuers: Iterable[x509.Certificate],
        *,
        at: datetime,
        listed: Mapping[str, Revocation] | None = None,
    ) -> "Revocations":
        """The newest CRL of each issuer. Raises PathFault("crl-form") for one that no issuer signed."""
        found: dict[str, x509.CertificateRevocationList] = {}
        known = list(issuers)
        for item in crls:
            crl = _read_crl(item)
            issuer = next((one for one in known if _signed_by(crl, one)), None)
            if issuer is None:
                raise _crl_form()
            held = found.get(thumbprint(issuer))
            if held is None or crl.last_update_utc > held.last_update_utc:
                found[thumbprint(issuer)] = crl
        return cls(found, listed or {}, at=at)

    def revoked_at(self, serial: int, issuer: x509.Certificate) -> Revocation | None:
        """What the issuer's CRL says of a serial number. Raises PathFault `crl-missing` or `crl-stale`."""
        if self._crls is None:
            return None
        crl = self._crls.get(thumbprint(issuer))
        if crl is None:
            raise PathFault(
                "crl-missing",
                "cannot be checked, because its issuer's revocation list is missing",
                "no puede verificarse, porque falta la lista de revocación de su emisor",
            )
        if self._at is not None and not _fresh(crl, self._at):
            raise PathFault(
                "crl-stale",
                "cannot be checked, because its issuer's revocation list is out of date",
                "no puede verificarse, porque la lista de revocación de su emisor está vencida",
            )
        row = crl.get_revoked_certificate_by_serial_number(serial)
        return None if row is None else _revocation(row)

    def of(self, certificate: x509.Certificate, issuer: x509.Certificate) -> Revocation | None:
        """The earliest word on a certificate from either source. Raises PathFault as `revoked_at` does."""
        words = [
            word
            for word in (
                self._listed.get(thumbprint(certificate)),
                self.revoked_at(certificate.serial_number, issuer),
            )
            if word is not None
        ]
        if not words:
            return None
        since = [word.compromised_since for word in words if word.compromised_since is not None]
        first = min(words, key=lambda word: word.revoked_at)
        return Revocation(first.revoked_at, min(since, default=None), first.reason)


def _read_crl(item: bytes | x509.CertificateRevocationList) -> x509.CertificateRevocationList:
    if isinstance(item, x509.CertificateRevocationList):
        return item
    try:
        return x509.load_pem_x509_crl(item) if item.startswith(b"-----") else x509.load_der_x509_crl(item)
    except ValueError as error:
        raise _crl_form() from error


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    try:
        return (
            crl.issuer == issuer.subject
            and isinstance(key, ec.EllipticCurvePublicKey)
            and crl.is_signature_valid(key)
            and not any(extension.critical for extension in crl.extensions)  # e.g. a delta or a partial list
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _fresh(crl: x509.CertificateRevocationList, at: datetime) -> bool:
    return crl.next_update_utc is not None and crl.last_update_utc <= at <= crl.next_update_utc


def _revocation(row: x509.RevokedCertificate) -> Revocation:
    reason, since = "unspecified", None
    for extension in row.extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = extension.value.reason.value
        elif isinstance(extension.value, x509.InvalidityDate):
            since = extension.value.invalidity_date_utc
    return Revocation(row.revocation_date_utc, since, reason)


def _crl_form() -> PathFault:
    return PathFault(
        "crl-form",
        "has a revocation list that none of the known issuers signed",
        "tiene una lista de revocación que no firmó ninguno de los emisores conocidos",
    )
