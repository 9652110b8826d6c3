"""What no model sees: empty and null values at any depth, custom names, and extensions nobody here has defined.

Unknown content is kept and returned as it came (EXT-04, COM-13), so these rules are all that is asked of it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from exchange.intake.stix.common import StixType
from exchange.intake.stix.fields import BASE64, HEX, UUID, is_identifier
from exchange.intake.stix.finding import Finding, Place, breach, path
from exchange.intake.stix.meta import EXTENSION_TYPES

MAX_DEPTH = 64
"""Twice what the strict loader lets in: only a value that did not come through it can be deeper."""

RESERVED = frozenset({"severity", "username", "phone_number", "phone_numbers", "action"})
"""3.8; the texts of the Standard and its schemas differ in the number of phone_number."""

_KEY = re.compile(r"[a-zA-Z0-9_-]{0,250}").fullmatch
_USUAL_KEYS = frozenset(
    {
        "kill_chain_name", "phase_name", "source_name", "description", "url", "external_id", "hashes", "selectors",
        "marking_ref", "extension_type", "sig_version", "signed_at", "signature", "signer_ref", "MD5", "SHA-1", "SHA-256",
    }
)  # fmt: skip
"""Keys that need no further look, because most objects have no others."""

_NAME = re.compile(r"[a-z][a-z0-9_]{2,249}").fullmatch
_EXTENSION_KEY = re.compile(rf"extension-definition--{UUID}|[a-z][a-z0-9]*(?:-[a-z0-9]+)*-ext").fullmatch


def plain(obj: dict[str, Any]) -> bool:
    """Whether nothing in the object is null, empty, too deep or under an impossible key: quick for good objects."""
    return _members_plain(obj.values(), 0)


def _plain(value: dict[str, Any] | list[Any], depth: int) -> bool:
    if not value or depth > MAX_DEPTH:
        return False
    if isinstance(value, list):
        return _members_plain(value, depth)
    return (value.keys() <= _USUAL_KEYS or all(map(_KEY, value))) and _members_plain(value.values(), depth)


def _members_plain(members: Iterable[Any], depth: int) -> bool:
    for member in members:
        kind = type(member)
        if kind is str:
            continue
        if member is None or ((kind is dict or kind is list) and not _plain(member, depth + 1)):
            return False
    return True


def odd_values(value: Any, place: Place = ()) -> Iterator[Finding]:
    """Where and why `value` is not plain."""
    # The place becomes a text only for a finding: a long key above a long list would be copied for each of its items.
    if value is None:
        yield breach("stix-null", path(place))
    elif isinstance(value, dict | list):
        if not value:
            yield breach("stix-empty-dictionary" if isinstance(value, dict) else "stix-empty-list", path(place))
        elif len(place) > MAX_DEPTH:
            yield breach("stix-depth", path(place[:1]))
        else:
            if isinstance(value, dict) and place and not all(map(_KEY, value)):
                yield breach("stix-dictionary-key", path(place))
            for step, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from odd_values(item, (*place, step))


def name_findings(obj: dict[str, Any], kind: StixType) -> Iterator[Finding]:
    """Properties that the type does not define: COM-08, COM-09, SCO-08, TIM-13."""
    for name in sorted(obj.keys() - kind.names):
        value = obj[name]
        if name in RESERVED:
            yield breach("stix-reserved-name", name)
        elif name == "defanged":
            yield breach("stix-defanged", name)
        elif kind.name == "marking-definition" and name in ("modified", "revoked"):
            yield breach("stix-marking-versioned", name)
        elif _NAME(name) is None:
            yield breach("stix-property-name", name[:80])
        elif not _suits_suffix(name, value):
            yield breach("stix-property-suffix", name)


def unannounced(obj: dict[str, Any], kind: StixType) -> Iterator[Finding]:
    """Properties that are not of the Standard and that nothing announces (EXT-07, COM-02): kept, with a warning."""
    extra = obj.keys() - kind.names
    if extra and kind.own and not announced(obj, "toplevel-property-extension"):
        yield from (_unannounced(name, kind) for name in sorted(extra) if not name.startswith("x_"))
    for name in sorted(kind.not_applicable & obj.keys()):
        yield breach("stix-not-applicable", name, rule="SCO-06" if kind.kind == "observable" else "COM-02")


_COMMON_TO_OTHERS = frozenset({"confidence", "lang", "labels"})


def _unannounced(name: str, kind: StixType) -> Finding:
    if kind.name == "marking-definition" and name in _COMMON_TO_OTHERS:
        return breach("stix-not-applicable", name)
    return breach("stix-unknown-property", name)


def announced(obj: dict[str, Any], *extension_types: str) -> str:
    """The first of `extension_types` that an extension of the object has, or ""."""
    extensions = obj.get("extensions")
    found = (
        {body.get("extension_type") for body in extensions.values() if isinstance(body, dict) and _hashable(body)}
        if isinstance(extensions, dict)
        else set()
    )
    return next((wanted for wanted in extension_types if wanted in found), "")


def _hashable(body: dict[str, Any]) -> bool:
    return isinstance(body.get("extension_type"), str)


def extension_findings(extensions: dict[str, Any]) -> Iterator[Finding]:
    """EXT-01 and EXT-05. What the Standard's own extensions hold was judged with their models."""
    for key, body in extensions.items():
        path = f"extensions.{key[:80]}"
        if _EXTENSION_KEY(key) is None:
            yield breach("stix-extension-key", path)
        elif not isinstance(body, dict):
            yield breach("stix-object", path, rule="EXT-01")
        else:
            yield from _extension_body(key, body, path)


def _extension_body(key: str, body: dict[str, Any], path: str) -> Iterator[Finding]:
    if key.startswith("extension-definition--") and body.get("extension_type") not in EXTENSION_TYPES:
        yield breach("stix-extension-type", path, allowed=", ".join(EXTENSION_TYPES))
    for name, value in body.items():
        if name in _PLAIN_NAMES:
            continue
        if _NAME(name) is None and name != "id":
            yield breach("stix-extension-name", f"{path}.{name[:80]}")
        elif not _suits_suffix(name, value):
            yield breach("stix-property-suffix", f"{path}.{name}")


_PLAIN_NAMES = frozenset({"extension_type", "sig_version", "signed_at", "signature", "prev_sha256"})
"""Of a signature, which most objects bear: well-formed, and none says what its value is."""

_SUFFIXES = ("_ref", "_refs", "_hex", "_bin", "_enc")


def _suits_suffix(name: str, value: Any) -> bool:
    if not name.endswith(_SUFFIXES):
        return True
    match name[name.rindex("_") :]:
        case "_ref":
            return is_identifier(value)
        case "_refs":
            return isinstance(value, list) and all(map(is_identifier, value))
        case "_hex":
            return isinstance(value, str) and HEX(value) is not None
        case "_bin":
            return isinstance(value, str) and BASE64(value) is not None
        case _:
            return isinstance(value, str)
