"""Deterministic ids for what feeds make: the same operator, feed and key give the same id, two operators never do."""

import uuid
from hashlib import sha1

from certs.jcs import canonical

HUB_NAMESPACE = uuid.UUID("5d3c5b0e-0f8e-4c53-9a42-0a1c6f4b9d77")
"""Minted once for this project; never the namespace that STIX reserves for observables (STIX 2.1, 2.9)."""

_FIXED = 0xF << 76 | 0b11 << 62
_VERSION_5 = 5 << 76 | 0b10 << 62


class Identities:
    """The ids of one operator's one feed."""

    def __init__(self, operator: str, feed: str) -> None:
        self.operator = operator
        self._feed = canonical(feed)
        self._base = sha1(uuid.uuid5(HUB_NAMESPACE, operator).bytes, usedforsecurity=False)

    def make(self, stix_type: str, key: str, epoch: int = 0) -> str:
        """`<type>--<uuid5>`. `epoch` rises only when a revoked object is listed again: a revoked id cannot come back."""
        # canonical({"feed": …, "k": key, "n": epoch, "t": stix_type}), put together
        name = b'{"feed":%b,"k":%b,"n":%d,"t":"%b"}' % (self._feed, canonical(key), epoch, stix_type.encode())
        base = self._base.copy()  # RFC 9562, 5.5, as uuid.uuid5 has it in six times as long
        base.update(name)
        bits = int.from_bytes(base.digest()[:16], "big") & ~_FIXED | _VERSION_5
        digits = f"{bits:032x}"
        return f"{stix_type}--{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def made_id(stix_type: str, *, operator: str, feed: str, key: str, epoch: int = 0) -> str:
    """One id, for whoever makes few."""
    return Identities(operator, feed).make(stix_type, key, epoch)
