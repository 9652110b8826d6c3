"""Which kinds of certificate a country issues: for what purpose, by which intermediate, with what name and lifetime."""

import uuid
from dataclasses import dataclass
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

_ARC: Final = uuid.UUID("66610801-4d92-4343-a8f6-4093d5f42d91").int
"""Purposes of our own live under 2.25.<uuid>, the arc of ITU-T X.667 where nobody has to hand out a number."""

CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
SIGNING: Final = ObjectIdentifier(f"2.25.{_ARC}.1")
GATEWAY: Final = ObjectIdentifier(f"2.25.{_ARC}.2")
APPROVAL: Final = ObjectIdentifier(f"2.25.{_ARC}.3")
NOTICE: Final = ObjectIdentifier(f"2.25.{_ARC}.4")
"""Of the hub's own word to a member. No country issues it: the trust list names the certificate itself."""

DOMAIN: Final = "hub.example"


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of leaf certificate. Each has its own key, purpose and intermediate: a TLS key never signs objects."""

    intermediate: str
    purpose: ObjectIdentifier
    zone: str
    """First DNS label between the holder's name and the country; "" when the country has one holder only."""
    days: int
    max_days: int

    def host(self, name: str, country: str, domain: str) -> str:
        """The one DNS name of the certificate, e.g. `us-cyber.members.us.hub.example`."""
        parts = (name, self.zone, country.lower(), domain) if self.zone else (name, country.lower(), domain)
        return ".".join(parts)


PROFILES: Final[dict[str, Profile]] = {
    "member-tls": Profile("members-tls", CLIENT, "members", days=7, max_days=366),
    "member-signing": Profile("members-signing", SIGNING, "members", days=90, max_days=366),
    "gateway": Profile("gateway", GATEWAY, "", days=90, max_days=366),
    "approver": Profile("approvers", APPROVAL, "approvers", days=365, max_days=366),
}

INTERMEDIATES: Final[dict[str, ObjectIdentifier]] = {
    profile.intermediate: profile.purpose for profile in PROFILES.values()
}
"""Each intermediate and the only purpose it may certify."""

ROOT_DAYS: Final = 3653
INTERMEDIATE_DAYS: Final = 1096
SERVER_DAYS: Final = 90
"""Also the most a server certificate may live."""
NOTICE_DAYS: Final = 365
