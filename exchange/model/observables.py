"""The identifiers that observables are computed to have (STIX 2.1, 2.9 and 3.4)."""

from typing import Any, Final
from uuid import UUID, uuid5

from certs.jcs import JsonError, canonical

NAMESPACE: Final = UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")

CONTRIBUTING: Final[dict[str, tuple[str, ...]]] = {
    "artifact": ("hashes", "payload_bin"),
    "autonomous-system": ("number",),
    "directory": ("path",),
    "domain-name": ("value",),
    "email-addr": ("value",),
    "email-message": ("from_ref", "subject", "body"),
    "file": ("hashes", "name", "extensions", "parent_directory_ref"),
    "ipv4-addr": ("value",),
    "ipv6-addr": ("value",),
    "mac-addr": ("value",),
    "mutex": ("name",),
    "network-traffic": (
        "start", "end", "src_ref", "dst_ref", "src_port", "dst_port", "protocols", "extensions",
    ),
    "process": (),
    "software": ("name", "cpe", "swid", "vendor", "version"),
    "url": ("value",),
    "user-account": ("account_type", "user_id", "account_login"),
    "windows-registry-key": ("key", "values"),
    "x509-certificate": ("hashes", "serial_number"),
}  # fmt: skip
"""The ID contributing properties of section 6, per type."""

_HASH_ORDER: Final = ("MD5", "SHA-1", "SHA-256", "SHA-512")


def sco_id(obj: dict[str, Any]) -> str | None:
    """The deterministic identifier of an observable: UUIDv5 over the JCS form of its contributing properties.

    None when nothing contributes (such an object has a random identifier), when the type is not an observable of the
    Standard, or when a contributing value has no canonical form.
    """
    name = obj.get("type")
    if not isinstance(name, str) or name not in CONTRIBUTING:
        return None
    seed = {key: obj[key] for key in CONTRIBUTING[name] if key in obj}
    if "hashes" in seed:
        seed["hashes"] = _one_hash(seed["hashes"])
    if not seed:
        return None
    try:
        return f"{name}--{uuid5(NAMESPACE, canonical(seed).decode())}"
    except JsonError:
        return None


def _one_hash(hashes: Any) -> Any:
    # 6.1: the first there is of MD5, SHA-1, SHA-256, SHA-512. Beyond these the Standard is silent; as the OASIS library
    # does, the first in lexical order.
    if not isinstance(hashes, dict) or not hashes:
        return hashes
    chosen = next((name for name in _HASH_ORDER if name in hashes), None) or min(hashes)
    return {chosen: hashes[chosen]}
