"""Every object type there is: those of STIX 2.1, and the two ways in which a custom type is read."""

import re
from dataclasses import replace
from typing import Any, Final

from exchange.intake.stix.common import Observable, StixType, Versioned, domain_type, observable_type
from exchange.intake.stix.content import announced
from exchange.intake.stix.fields import TYPE_NAME, UUID
from exchange.intake.stix.finding import Finding, breach
from exchange.intake.stix.meta import META_OBJECTS
from exchange.intake.stix.sco import OBSERVABLES
from exchange.intake.stix.sdo import DOMAIN_OBJECTS
from exchange.intake.stix.sro import RELATIONSHIP_OBJECTS

TYPES: Final[dict[str, StixType]] = {
    kind.name: kind for kind in (*DOMAIN_OBJECTS, *RELATIONSHIP_OBJECTS, *OBSERVABLES, *META_OBJECTS)
}

_CUSTOM_VERSIONED = replace(domain_type("", Versioned), own=False)
_CUSTOM_OBSERVABLE = replace(observable_type("", Observable), own=False)

_TYPE_NAME = re.compile(TYPE_NAME).fullmatch
_UUID = re.compile(UUID).fullmatch


def type_of(obj: dict[str, Any]) -> StixType | Finding:
    """The type that an object claims to be of, or why there is no such type (IDN-06, IDN-09)."""
    name = obj.get("type")
    if not isinstance(name, str):
        return breach("stix-type" if "type" in obj else "stix-missing", "type", rule="IDN-06")
    known = TYPES.get(name)
    if known is not None:
        return known
    if name == "bundle":
        return breach("stix-bundle", "type")
    if name == "action":
        return breach("stix-reserved-name", "type")
    if _TYPE_NAME(name) is None or not 3 <= len(name) <= 250:
        return breach("stix-type", "type")
    return _custom(name, obj)


def _custom(name: str, obj: dict[str, Any]) -> StixType | Finding:
    new = announced(obj, "new-sco", "new-sdo", "new-sro")
    if not new and not name.startswith("x-"):
        return breach("stix-type-unknown", "type", name=name)
    if new == "new-sco":
        return _CUSTOM_OBSERVABLE
    # 11.2 announces custom observables by nothing but what they lack: without a version there is nothing to version.
    if not new and obj.keys().isdisjoint(("created", "modified", "spec_version")):
        return _CUSTOM_OBSERVABLE
    return _CUSTOM_VERSIONED


def identifier_finding(obj: dict[str, Any]) -> Finding | None:
    """IDN-01 and IDN-02 for an object whose type is known to be a text."""
    identifier = obj.get("id")
    if identifier is None:
        return breach("stix-missing", "id", rule="IDN-01") if "id" not in obj else None
    prefix = f"{obj['type']}--"
    if not isinstance(identifier, str) or not identifier.startswith(prefix):
        return breach("stix-id-type", "id")
    return None if _UUID(identifier, len(prefix)) else breach("stix-id-uuid", "id")
