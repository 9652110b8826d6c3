"""Where an anonymous object comes from: as much of it as its gateway tells, and a commitment to the original it stands for.

The commitment is SHA-256 over a domain tag, 32 random bytes of salt and the digest of the original's canonical form. It
tells nothing of the original, whose digest many could guess, as long as the salt is secret; and once salt and digest are
disclosed, no other original can be put in its place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

GATEWAY_RELEASE: Final = "gateway-release"
SALT_BYTES: Final = 32

_DOMAIN: Final = b"puente-origin-v1\0"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}").fullmatch


def commitment(salt: bytes, digest: bytes) -> str:
    """The commitment in hex. `digest` is the SHA-256 of the original's RFC 8785 form."""
    if len(salt) != SALT_BYTES or len(digest) != 32:
        raise ValueError("a commitment needs 32 bytes of salt and a SHA-256 digest")
    return sha256(_DOMAIN + salt + digest).hexdigest()


@dataclass(frozen=True, slots=True)
class Origin:
    """What a gateway tells of the sender, and no more."""

    country: str
    roles: tuple[str, ...]
    sectors: tuple[str, ...]

    def value(self) -> dict[str, Any]:
        """As an attestation carries it; STIX has no empty lists."""
        told: dict[str, Any] = {"country": self.country, "roles": list(self.roles)}
        return {**told, "sectors": list(self.sectors)} if self.sectors else told

    @classmethod
    def read(cls, value: object) -> Self | None:
        """What `value` wrote; None for anything else."""
        if not isinstance(value, Mapping) or not {"country", "roles"} <= value.keys() <= {
            "country",
            "roles",
            "sectors",
        }:
            return None
        country, roles, sectors = value["country"], value["roles"], value.get("sectors", [])
        if not isinstance(country, str) or not _words(roles) or not roles or not _words(sectors):
            return None
        return cls(country, tuple(sorted(set(roles))), tuple(sorted(set(sectors))))


@dataclass(frozen=True, slots=True)
class Release:
    """One object that a gateway released, as its attestation speaks of it."""

    id: str
    version: str
    sha256: str
    commitment: str


def releases(attestation: Mapping[str, Any]) -> tuple[Origin, tuple[Release, ...]] | None:
    """What a gateway's attestation says, None when it is none or not in its form. The signature is verified apart."""
    covers, origin = attestation.get("covers"), Origin.read(attestation.get("origin"))
    if attestation.get("attestation_type") != GATEWAY_RELEASE or origin is None or not isinstance(covers, list):
        return None
    found = [_release(item) for item in covers]
    good = tuple([one for one in found if one is not None])
    return (origin, good) if good and len(good) == len(found) else None


def _release(item: object) -> Release | None:
    if not isinstance(item, Mapping):
        return None
    values = [str(item.get(name)) for name in ("id", "version", "sha256", "origin_commitment")]
    return Release(*values) if all(map(_DIGEST, values[2:])) else None


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and 0 < len(word) <= 64 for word in value)
