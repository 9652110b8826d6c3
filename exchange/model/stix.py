"""A STIX object as the hub keeps it: the canonical bytes its originator signed, and the few fields that are indexed."""

from hashlib import sha256
from typing import Any, NamedTuple

from exchange.model.instant import instant

UNVERSIONED = "1970-01-01T00:00:00.000000Z"
"""Version of objects that carry neither `modified` nor `created` (TAXII 2.1, 4.3.1: any value used consistently)."""

SCO_TYPES = frozenset({
    "artifact", "autonomous-system", "directory", "domain-name", "email-addr", "email-message", "file", "ipv4-addr",
    "ipv6-addr", "mac-addr", "mutex", "network-traffic", "process", "software", "url", "user-account",
    "windows-registry-key", "x509-certificate",
})  # fmt: skip


class StixObject(NamedTuple):
    """One version of one object. `body` is its RFC 8785 form; it is stored and served as these bytes."""

    id: str
    type: str
    version: str
    """The exact text of `modified`, else `created`, else UNVERSIONED."""
    instant: str
    """`version` as a key that sorts by time at any precision."""
    created: str
    revoked: bool
    author: str
    """`created_by_ref`, or ""."""
    body: bytes
    sha256: bytes
    item: bytes
    """RFC 6962 leaf hash of this version's line in a page or submission: what `items_root` is built of."""

    @classmethod
    def of(cls, value: dict[str, Any], body: bytes) -> "StixObject":
        """Index a validated object. `body` must be the canonical form of `value`."""
        version = value.get("modified") or value.get("created") or UNVERSIONED
        digest = sha256(body).digest()
        return cls(
            id=value["id"],
            type=value["type"],
            version=version,
            instant=instant(version),
            created=value.get("created", ""),
            revoked=value.get("revoked", False),
            author=value.get("created_by_ref", ""),
            body=body,
            sha256=digest,
            item=item_hash(value["id"], version, digest),
        )

    def listed(self, tick: int) -> str:
        return listed(tick, self.id, self.version, self.sha256)


def item_hash(object_id: str, version: str, digest: bytes) -> bytes:
    """SHA-256(0x00 || `id SP version SP sha256`), the RFC 6962 leaf of one object in a page."""
    return sha256(f"\0{object_id} {version} {digest.hex()}".encode()).digest()


def listed(tick: int, object_id: str, version: str, digest: bytes) -> str:
    """An object's line in the list of a publication, by which an auditor finds it in the pages that were released."""
    return f"{tick} {object_id} {version} {digest.hex()}"
