"""A dev hierarchy of both countries for tests: authorities, approvers, a signed trust list, and members' keys."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority, Issued
from certs.keys import thumbprint
from certs.signature import Keyring, KeyringEntry, Revocation, Signer
from certs.trust import TrustList

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
US_PORT = "identity--f431f809-377b-45e0-aa1c-6a4751cae5ff"
MX_PORT = "identity--b38dfe21-7477-40d1-aa90-5c8671ce51ca"


@dataclass(frozen=True)
class Pki:
    us: Authority
    mx: Authority
    approvers: dict[str, list[Issued]]
    trust: TrustList

    def authority(self, country: str) -> Authority:
        return self.us if country == "US" else self.mx

    def signer(self, country: str, name: str, identity: str, *, now: datetime = NOW) -> Signer:
        issued = self.authority(country).issue("member-signing", name, now=now)
        assert issued.key is not None
        return Signer(issued.key, issued.certificate, identity)

    def keyring(
        self, *entries: tuple[Signer, str], at: datetime = NOW, revoked: dict[str, Revocation] | None = None
    ) -> Keyring:
        rows = [
            KeyringEntry(s.certificate.public_bytes(Encoding.DER), s.identity_id, country) for s, country in entries
        ]
        return Keyring.build(rows, self.trust, revoked or {}, at=at)


def make_pki(directory: Path, now: datetime = NOW) -> Pki:
    us = Authority.create(directory / "us", "US", now=now)
    mx = Authority.create(directory / "mx", "MX", now=now)
    both = {"US": us, "MX": mx}
    approvers = {cc: [one.issue("approver", f"appr-{n}", now=now) for n in (1, 2, 3)] for cc, one in both.items()}
    trust = TrustList.draft(
        both, {cc: [one.certificate for one in issued] for cc, issued in approvers.items()}, version=1, previous=None,
        issued=now, expires=now + timedelta(days=365), threshold=2,
    )  # fmt: skip
    for country, issued in approvers.items():
        for one in issued[:2]:
            assert one.key is not None
            trust = trust.approve(country, one.key, one.certificate)
    return Pki(us, mx, approvers, trust)


__all__ = ["MX_PORT", "NOW", "US_PORT", "Pki", "make_pki", "thumbprint"]
