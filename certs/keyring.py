"""Which key speaks for which member: every enrolled certificate judged once per trust epoch, not once per object.

A path check costs several times what a signature check does. So a keyring holds, for each thumbprint, the key or the
fault its certificate deserves; what depends on when an object was received is left to `TrustedKey.check_at`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from cryptography import x509

from certs.faults import PathFault, SignatureFault
from certs.jws import IMPLEMENTED
from certs.keys import PublicKey, p256, read_certificate, thumbprint
from certs.path import Revocation, Revocations, purposes
from certs.profiles import GATEWAY, NOTICE, SIGNING
from certs.trust import TrustList

Purpose = Literal["signing", "gateway", "notice"]

_NO_ALGORITHM: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """An enrolled certificate (DER or PEM), the identity it is enrolled for, and that identity's country."""

    certificate: bytes | str
    identity_id: str
    country: str


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key whose certificate leads to its own country's root."""

    thumbprint: str
    public_key: PublicKey = field(repr=False)
    identity_id: str
    country: str
    purpose: Purpose
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None
    compromised_since: datetime | None = None

    def check_at(self, received: datetime) -> None:
        """Raise SignatureFault when the key did not count at the time the object was received.

        A later expiry or a plain revocation leaves older signatures good; a compromise reopens all since its date.
        """
        if not self.not_before <= received <= self.not_after:
            raise SignatureFault(
                "signature-expired",
                "The signing certificate was not valid when the object was received.",
                "El certificado de firma no estaba vigente cuando se recibió el objeto.",
            )
        if self.compromised_since is not None and received >= self.compromised_since:
            raise SignatureFault(
                "signature-compromised",
                "The object was received after the signing key was compromised.",
                "El objeto se recibió después de que la clave de firma quedara comprometida.",
            )
        if self.revoked_at is not None and received >= self.revoked_at:
            raise SignatureFault(
                "signature-revoked",
                "The signing certificate had been revoked when the object was received.",
                "El certificado de firma ya había sido revocado cuando se recibió el objeto.",
            )


class Keyring(Mapping[str, TrustedKey | SignatureFault]):
    """Thumbprint to key, or to the fault that its certificate deserves."""

    def __init__(
        self, keys: Mapping[str, TrustedKey | SignatureFault], algorithms: frozenset[str] = IMPLEMENTED
    ) -> None:
        self._keys = dict(keys)
        self.algorithms = algorithms

    @classmethod
    def build(
        cls,
        entries: Iterable[KeyringEntry],
        trust: TrustList | None,
        revocations: Revocations | Mapping[str, Revocation],
        *,
        at: datetime,
    ) -> "Keyring":
        """Judge every enrolled certificate. Without a trust list every one of them is refused.

        `revocations` may be a plain mapping by thumbprint, as the hub's registry records them. Raises KeyFault for an
        entry that is no certificate. A certificate enrolled for two identities speaks for neither.
        """
        known = revocations if isinstance(revocations, Revocations) else Revocations.listed(revocations)
        keys: dict[str, TrustedKey | SignatureFault] = {}
        owners: dict[str, str] = {}
        for entry in entries:
            certificate = read_certificate(entry.certificate)
            name = thumbprint(certificate)
            if owners.setdefault(name, entry.identity_id) != entry.identity_id:
                keys[name] = SignatureFault(
                    "signature-signer",
                    "The signing certificate is enrolled for two members.",
                    "El certificado de firma está inscrito para dos miembros.",
                )
                continue
            keys[name] = _judge(name, certificate, entry, trust, known, at)
        keys.update(_of_hub(trust))
        return cls(keys, trust.allowed_algorithms if trust is not None else _NO_ALGORITHM)

    def find(self, name: str) -> TrustedKey:
        """The key of a thumbprint. Raises SignatureFault for one that is unknown or may not be trusted."""
        found = self._keys.get(name)
        if found is None:
            raise SignatureFault(
                "signature-unknown-certificate",
                "The signing certificate is not enrolled with any member.",
                "El certificado de firma no está inscrito con ningún miembro.",
            )
        if isinstance(found, SignatureFault):
            raise SignatureFault(found.code, found.en, found.es)  # a new one: this one is shared, and keeps tracebacks
        return found

    def __getitem__(self, name: str) -> TrustedKey | SignatureFault:
        return self._keys[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _of_hub(trust: TrustList | None) -> Iterator[tuple[str, TrustedKey]]:
    """The keys of the hub's notices. Both countries approved these very certificates, so there is no path to check."""
    identity, certificates = (trust.hub() if trust is not None else None) or ("", [])
    for one in certificates:
        if purposes(one) == [NOTICE]:
            name = thumbprint(one)
            yield (
                name,
                TrustedKey(name, p256(one), identity, "", "notice", one.not_valid_before_utc, one.not_valid_after_utc),
            )


def _judge(
    name: str,
    certificate: x509.Certificate,
    entry: KeyringEntry,
    trust: TrustList | None,
    revocations: Revocations,
    at: datetime,
) -> TrustedKey | SignatureFault:
    if trust is None:
        return SignatureFault(
            "signature-untrusted",
            "The signing certificate cannot be checked without a trust list.",
            "El certificado de firma no puede verificarse sin una lista de confianza.",
        )
    gateway = trust.gateway(entry.country) == entry.identity_id
    # An expired certificate stays: its path is judged inside its own dates, and its dates against each receipt.
    moment = min(max(at, certificate.not_valid_before_utc), certificate.not_valid_after_utc)
    try:
        issuer = trust.check(certificate, entry.country, purpose=GATEWAY if gateway else SIGNING, at=moment)
        if not gateway:
            trust.check_member(certificate, entry.identity_id, entry.country, use="signing")
        word = revocations.of(certificate, issuer)
    except PathFault as fault:
        return SignatureFault(
            f"signature-{fault.code}", f"The signing certificate {fault.en}.", f"El certificado de firma {fault.es}."
        )
    return TrustedKey(
        thumbprint=name,
        public_key=p256(certificate),
        identity_id=entry.identity_id,
        country=str(entry.country),
        purpose="gateway" if gateway else "signing",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        revoked_at=word.revoked_at if word else None,
        compromised_since=word.compromised_since if word else None,
    )
