"""What feeds make, dated as their runner dates it, before everybody who will have to take it."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import stix2
from stix2validator import ValidationOptions, validate_instance

from certs.relay import lint
from exchange.intake.pattern import check_pattern
from exchange.intake.validate import validate
from exchange.model.stix import SCO_TYPES
from exchange.times import as_millis_text
from feeds.adapter import Adapter, Fetched, Skipped
from feeds.stable import stable
from tests.pki import NOW

STAMP = as_millis_text(int(NOW.timestamp()) * 1_000_000)

_ORACLE = ValidationOptions(version="2.1", disabled=["uuid-check"])  # random ids are a recommendation for producers


def objects_of(adapter: Adapter, fetched: Fetched) -> tuple[list[dict[str, Any]], Counter[str]]:
    """All objects of a fetch, and what was left out, by code."""
    made: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    for one in adapter.records(fetched):
        if isinstance(one, Skipped):
            left[one.code] += one.count
            continue
        try:
            made += [_dated(obj) for obj in adapter.objects(one)]
        except (ValueError, KeyError, TypeError, AttributeError):  # as the runner does
            left["record-form"] += 1
    return made, left


def _dated(obj: dict[str, Any]) -> dict[str, Any]:
    if obj["type"] in SCO_TYPES:
        return stable(obj)
    made = {"created": STAMP, **obj}
    if obj["type"] != "marking-definition":
        made.setdefault("modified", made["created"])
    if obj["type"] == "indicator":
        made.setdefault("valid_from", made["created"])
    return stable(made)


def everybody_takes(made: Iterable[dict[str, Any]]) -> None:
    """Our intake judges each; OASIS's library and validator, which take milliseconds, the first ten of each type and
    set of properties."""
    taken: Counter[tuple[str, frozenset[str]]] = Counter()
    for obj in made:
        if obj["type"] not in SCO_TYPES:  # which nobody signs
            lint(obj)
        assert [one for one in validate(obj) if one.level == "reject"] == [], obj
        if obj.get("pattern_type") == "stix":
            assert check_pattern(obj["pattern"]) == (), obj
        taken[obj["type"], frozenset(obj)] += 1
        if taken[obj["type"], frozenset(obj)] <= 10:
            stix2.parse(obj, allow_custom=False)
            result = validate_instance(obj, _ORACLE)
            assert result.is_valid, result.errors
