"""Computed identifiers of observables, and instants that sort as text."""

import json
from datetime import datetime
from typing import Any

import pytest

from exchange.intake.validate import sco_id, validate
from exchange.model.instant import instant
from exchange.model.observables import CONTRIBUTING
from exchange.model.stix import SCO_TYPES
from tests.data import read_shared
from tests.stix_examples import EXAMPLES


@pytest.mark.rule("SCO-01", "SCO-02", "SCO-05")
def test_published_identifiers_recompute() -> None:
    vectors = json.loads(read_shared("sco-uuid5/vectors.json"))

    assert len(vectors) == 29
    for vector in vectors:
        assert sco_id(vector["object"]) == vector["expected_id"]
        assert "SCO-01" not in {found.rule for found in validate(vector["object"])}


def test_identifiers_that_a_reference_library_computes_differently_from_their_publisher() -> None:
    for case in json.loads(read_shared("sco-uuid5/published-ids-that-do-not-recompute.json")):
        if case["reference_id"] is not None:
            assert sco_id(case["object"]) == case["reference_id"]
            assert "SCO-01" in {found.rule for found in validate(case["object"])}


@pytest.mark.rule("SCO-05")
def test_the_table_covers_every_observable() -> None:
    assert CONTRIBUTING.keys() == SCO_TYPES


@pytest.mark.rule("SCO-04")
def test_only_one_hash_contributes() -> None:
    def of(**hashes: str) -> str | None:
        return sco_id({"type": "file", "hashes": {name.replace("_", "-"): value for name, value in hashes.items()}})

    assert of(MD5="1", SHA_1="2", SHA_256="3", SHA_512="4", AAA="0") == of(MD5="1")
    assert of(SHA_1="2", SHA_256="3", AAA="0") == of(SHA_1="2")
    assert of(SHA_256="3", SHA_512="4", AAA="0") == of(SHA_256="3")
    assert of(SHA_512="4", AAA="0") == of(SHA_512="4")
    assert of(TLSH="5", SSDEEP="6") == of(SSDEEP="6")


def test_what_does_not_contribute_does_not_change_the_identifier() -> None:
    obj = EXAMPLES["ipv4-addr"]

    assert sco_id({**obj, "belongs_to_refs": [], "x_note": 1}) == sco_id(obj)
    assert sco_id({**obj, "value": "198.51.100.1"}) != sco_id(obj)


@pytest.mark.parametrize(
    "obj",
    [
        EXAMPLES["process"], EXAMPLES["indicator"], {"type": "x-thing", "value": "x"}, {}, {"type": ["url"]},
        {"type": "user-account"}, {"type": "url", "value": "\ud800"}, {"type": "autonomous-system", "number": 2**60},
    ],
    ids=["process", "indicator", "custom", "empty", "odd-type", "nothing-contributes", "surrogate", "unsafe-number"],
)  # fmt: skip
@pytest.mark.rule("SCO-03")
def test_what_has_no_computed_identifier(obj: dict[str, Any]) -> None:
    assert sco_id(obj) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00.120Z", "2026-03-01T12:00:00.12"),
        ("2026-03-01T12:00:00.1234567891234Z", "2026-03-01T12:00:00.1234567891234"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59"),
        ("2024-02-29T10:20:30Z", "2024-02-29T10:20:30"),
        ("2000-02-29T10:20:30Z", "2000-02-29T10:20:30"),
    ],
)
def test_an_instant(text: str, key: str) -> None:
    assert instant(text) == key


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-03-01", "2026-03-01T12:00Z", "2026-03-01T12:00:00", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00z",
        "2026-03-01t12:00:00Z", "2026-03-01 12:00:00Z", "2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00-00:00",
        "2026-03-01T24:00:00Z", "2026-03-01T12:60:00Z", "2016-12-31T23:59:60Z", "2026-13-01T12:00:00Z",
        "2026-00-01T12:00:00Z", "2026-01-00T12:00:00Z", "2026-01-32T12:00:00Z", "2026-04-31T12:00:00Z",
        "2026-02-29T12:00:00Z", "1900-02-29T12:00:00Z", "2024-02-30T12:00:00Z", "0000-01-01T00:00:00Z",
        "0000-02-29T00:00:00Z", "02026-03-01T12:00:00Z", "2026-03-01T12:00:00Z\n", " 2026-03-01T12:00:00Z",
        "٢٠٢٦-03-01T12:00:00Z", "2026-03-01T12:00:00,5Z", "2026-3-1T12:00:00Z", "20260301T120000Z",
    ],
)  # fmt: skip
@pytest.mark.rule("TIM-01")
def test_not_an_instant(text: str) -> None:
    with pytest.raises(ValueError, match="not a UTC timestamp"):
        instant(text)


def test_every_day_of_the_calendar_and_no_other() -> None:
    for year in (1, 4, 100, 400, 1900, 2000, 2023, 2024, 9996, 9999):
        for month in range(14):
            for day in range(33):
                text = f"{year:04}-{month:02}-{day:02}T00:00:00Z"
                try:
                    datetime(year, month, day)  # noqa: DTZ001
                except ValueError:
                    with pytest.raises(ValueError, match="not a UTC"):
                        instant(text)
                else:
                    assert instant(text) == text[:-1]


@pytest.mark.rule("TIM-03", "TIM-07")
def test_keys_sort_as_instants() -> None:
    ordered = ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.0001Z", "2026-03-01T12:00:00.01Z", "2026-03-01T12:00:00.1Z",
               "2026-03-01T12:00:00.10000000001Z", "2026-03-01T12:00:00.9Z", "2026-03-01T12:00:01.000Z"]  # fmt: skip
    keys = [instant(text) for text in ordered]

    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
