"""Data markings: the pinned TLP definitions and the selectors of granular markings (STIX 2.1, 7.2)."""

import re
from collections.abc import Iterator
from typing import Any, Final

from exchange.intake.stix.fields import MILLISECONDS
from exchange.intake.stix.finding import Finding, breach


def _tlp1(uuid: str, name: str) -> dict[str, Any]:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": f"marking-definition--{uuid}",
        "created": "2017-01-20T00:00:00.000Z",
        "definition_type": "tlp",
        "name": f"TLP:{name.upper()}",
        "definition": {"tlp": name},
    }


TLP1: Final = {
    definition["id"]: definition
    for definition in (
        _tlp1("613f2e26-407d-48c7-9eca-b8e91df99dc9", "white"),
        _tlp1("34098fce-860f-48ae-8e50-ebd3cc5e41da", "green"),
        _tlp1("f88d31f6-486f-44da-b317-01333bde0b82", "amber"),
        _tlp1("5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "red"),
    )
}
"""7.2.1.4: the only TLP 1 objects there are. `name` came with 2.1 and may be absent."""

TLP2_EXTENSION: Final = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
TLP2: Final = {
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": "clear",
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "green",
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": "amber",
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": "amber+strict",
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": "red",
}

# No more than nine digits: longer numbers select nothing in any object, and int() has its own limit.
_SELECTOR = re.compile(r"[a-zA-Z0-9_-]{1,250}(?:\.(?:[a-zA-Z0-9_-]{1,250}|\[[0-9]{1,9}\]))*").fullmatch


def definition_findings(obj: dict[str, Any]) -> Iterator[Finding]:
    """MRK-01 to MRK-03 for a marking-definition whose properties have the right types."""
    kind, definition = obj.get("definition_type"), obj.get("definition")
    pinned = TLP1.get(obj["id"])
    if pinned is not None or kind == "tlp":
        if pinned is None or {"name": pinned["name"], **obj} != pinned:
            yield breach("stix-tlp-pinned", "")
        return
    extensions = obj.get("extensions", {})
    if obj["id"] in TLP2 or TLP2_EXTENSION in extensions:
        body = extensions.get(TLP2_EXTENSION)
        if not isinstance(body, dict) or obj["id"] not in TLP2 or body.get("tlp_2_0") != TLP2[obj["id"]]:
            yield breach("stix-tlp2-pinned", "")
    if not extensions and (kind is None or definition is None):
        yield breach("stix-marking-content", "definition_type" if kind is None else "definition")
    elif kind == "statement" and not isinstance((definition or {}).get("statement"), str):
        yield breach("stix-marking-content", "definition")


def definition_warnings(obj: dict[str, Any]) -> Iterator[Finding]:
    if len(obj["created"]) < MILLISECONDS:
        yield breach("stix-timestamp-coarse", "created")


def marking_findings(obj: dict[str, Any]) -> Iterator[Finding]:
    """MRK-04 to MRK-07 for an object whose marking properties have the right types."""
    granular = obj.get("granular_markings", [])
    if obj["type"] == "marking-definition":
        own = obj["id"]
        if own in obj.get("object_marking_refs", []) or any(mark.get("marking_ref") == own for mark in granular):
            yield breach("stix-marks-itself", "object_marking_refs")
    for index, mark in enumerate(granular):
        path = f"granular_markings[{index}]"
        if ("lang" in mark) == ("marking_ref" in mark):
            yield breach("stix-granular-marking", path)
        for number, selector in enumerate(mark["selectors"]):
            if _SELECTOR(selector) is None:
                yield breach("stix-selector", f"{path}.selectors[{number}]")
            elif not selects(selector, obj):
                yield breach("stix-selector-target", f"{path}.selectors[{number}]")


def selects(selector: str, obj: dict[str, Any]) -> bool:
    """Whether a well formed selector refers to something in the object."""
    place: Any = obj
    for step in selector.split("."):
        if step.startswith("["):
            index = int(step[1:-1])
            if not isinstance(place, list) or index >= len(place):
                return False
            place = place[index]
        elif isinstance(place, dict) and step in place:
            place = place[step]
        else:
            return False
    return True
