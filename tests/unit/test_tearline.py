"""A tearline beside its full object: two objects that stand alone, and a link that only readers of the full one see."""

from typing import Any

import pytest

from exchange.client import pair
from exchange.errors import NotStix
from exchange.times import parse_us
from tests.world import TLP2

ME = "identity--9a1f2f7e-0f3d-4a5b-8c6d-7e8f90a1b2c3"
NOW_US = parse_us("2026-11-24T12:00:00.123Z")
FULL = {
    "type": "indicator", "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": "stix", "pattern_version": "2.1",
    "valid_from": "2026-01-01T00:00:00Z", "description": "seen on our cranes", "object_marking_refs": [TLP2["amber+strict"]],
}  # fmt: skip
TOLD = {name: value for name, value in FULL.items() if name != "description"} | {"object_marking_refs": [TLP2["green"]]}


def made(full: dict[str, Any], told: dict[str, Any]) -> list[dict[str, Any]]:
    return pair(full, told, now_us=NOW_US, identity_id=ME)


def test_each_has_an_id_of_its_own_and_the_link_is_marked_like_the_full_one() -> None:
    full, told, link = made(FULL, TOLD)
    assert len({full["id"], told["id"], link["id"]}) == 3
    assert {one["created_by_ref"] for one in (full, told, link)} == {ME}
    assert (link["relationship_type"], link["source_ref"], link["target_ref"]) == (
        "derived-from",
        told["id"],
        full["id"],
    )
    assert link["object_marking_refs"] == [TLP2["amber+strict"]]
    assert told["object_marking_refs"] == [TLP2["green"]]


def test_one_marked_property_of_the_full_object_marks_the_link() -> None:
    full = FULL | {"object_marking_refs": [TLP2["green"]], "granular_markings": [{"marking_ref": TLP2["amber+strict"], "selectors": ["description"]}]}  # fmt: skip
    assert made(full, TOLD)[2]["object_marking_refs"] == [TLP2["green"], TLP2["amber+strict"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "malware"}, "type"),
        ({"id": "indicator--00000000-0000-4000-8000-000000000002", "created_by_ref": "identity--x"}, "created_by_ref"),
        ({"object_marking_refs": []}, "object_marking_refs"),
        ({"labels": ["see indicator--00000000-0000-4000-8000-000000000001"]}, "id"),
        ({"id": "indicator--00000000-0000-4000-8000-000000000001", "created_by_ref": ME}, "id"),
        ({"extensions": {"extension-definition--d3983882-f2a7-4cdd-864e-d9d130bb0a5a": {}}}, "extensions"),
    ],
)
def test_what_leads_to_the_full_object_is_refused_by_name(change: dict[str, Any], field: str) -> None:
    full = FULL | {"id": "indicator--00000000-0000-4000-8000-000000000001", "created_by_ref": ME}
    with pytest.raises(NotStix) as refusal:
        made(full, TOLD | change)
    assert (refusal.value.code, refusal.value.field) == ("tearline", field)
