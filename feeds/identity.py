"""Deterministic ids for what feeds make: the same operator, feed and key give the same id, two operators never do."""

import uuid

from certs.jcs import canonical

HUB_NAMESPACE = uuid.UUID("5d3c5b0e-0f8e-4c53-9a42-0a1c6f4b9d77")
"""Minted once for this project; never the namespace that STIX reserves for observables (STIX 2.1, 2.9)."""


def made_id(stix_type: str, *, operator: str, feed: str, key: str, epoch: int = 0) -> str:
    """`<type>--<uuid5>`. `epoch` rises only when a revoked object is listed again: a revoked id cannot come back."""
    namespace = uuid.uuid5(HUB_NAMESPACE, operator)
    name = canonical({"feed": feed, "t": stix_type, "k": key, "n": epoch}).decode()
    return f"{stix_type}--{uuid.uuid5(namespace, name)}"
