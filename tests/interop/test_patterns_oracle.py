"""Every STIX pattern in the real data has the verdict of the OASIS reference validator."""

import json
from collections.abc import Iterator
from typing import Any

from stix2patterns.validator import run_validator

from exchange.intake.pattern import check_pattern, values
from tests.data import documents, read_shared

STRICTER = {"pattern-types", "pattern-constant"}


def accepts(text: str) -> bool:
    try:
        return not run_validator(text, stix_version="2.1")
    except Exception:  # noqa: BLE001  # the reference raises what it likes
        return False


def differences(patterns: Iterator[str] | set[str]) -> tuple[int, list[tuple[str, bool, list[str]]]]:
    found = []
    count = 0
    for text in patterns:
        count += 1
        rejects = [fault.code for fault in check_pattern(text) if fault.level == "reject"]
        valid = accepts(text)
        if valid is bool(rejects) and not (valid and rejects[0] in STRICTER):
            found.append((text, valid, rejects))
        if not rejects:
            values(text)
    return count, found


def indicator_patterns(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        pattern = value.get("pattern")
        if (
            value.get("type") == "indicator"
            and isinstance(pattern, str)
            and value.get("pattern_type", "stix") == "stix"
        ):
            yield pattern
        for inner in value.values():
            yield from indicator_patterns(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from indicator_patterns(inner)


def test_real_indicators() -> None:
    found_in = documents(b'"pattern"', b'"indicator"')
    count, found = differences({text for _, value in found_in for text in indicator_patterns(value)})
    assert count > 3000
    assert found == []


def test_the_examples_of_the_standard_are_accepted() -> None:
    lines = read_shared("stix-patterns/spec-examples-2.1.txt").decode().splitlines()
    refused = {text: check_pattern(text) for text in lines if any(f.level == "reject" for f in check_pattern(text))}
    assert len(lines) > 15
    assert refused == {}


def test_the_cases_of_the_reference_matcher() -> None:
    cases = json.loads(read_shared("stix-patterns/matcher-cases-2.1.json"))["cases"]
    count, found = differences({case["pattern"] for case in cases})
    assert count > 100
    assert found == []


def test_the_cases_of_the_reference_validator() -> None:
    cases = json.loads(read_shared("stix-patterns/validator-cases-2.1.json"))
    count, found = differences({case["pattern"] for case in cases if case["stix_version"] == "2.1"})
    assert count > 80
    assert found == []
