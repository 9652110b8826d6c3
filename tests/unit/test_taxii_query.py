"""Query strings: the FLT and PAG rows of the checklist that can be judged without a collection."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict
from yarl import URL

from exchange.errors import Malformed
from exchange.taxii.query import Asked, asked
from exchange.times import as_text, parse_us

ID = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"


def ask(query: str) -> Asked:
    return asked(URL(f"/?{query}", encoded=True).query, default_limit=1000, highest_limit=5000)


@pytest.mark.rule("FLT-06", "FLT-28", "PAG-16")
def test_nothing_asked_is_the_latest_of_everything_from_the_beginning() -> None:
    question = ask("")
    assert question == Asked(limit=1000)
    assert question.match.versions == ("last",)
    assert question.match.added_after_us is None


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-11-24T12:00:00Z", 0),
        ("2026-11-24T12:00:00.1Z", 100_000),
        ("2026-11-24T12:00:00.123Z", 123_000),
        ("2026-11-24T12:00:00.12345Z", 123_450),
        ("2026-11-24T12:00:00.123456Z", 123_456),
        ("2026-11-24T12:00:00.1234567Z", 123_456),
        ("2026-11-24T12:00:00.123456789Z", 123_456),
        ("2026-11-24T12%3A00%3A00Z", 0),
    ],
)
@pytest.mark.rule("FLT-02", "FLT-08")
def test_added_after_with_up_to_nine_digits(text: str, micros: int) -> None:
    assert ask(f"added_after={text}").added_after_us == parse_us("2026-11-24T12:00:00Z") + micros


@pytest.mark.parametrize(
    "query",
    [
        # FLT-04, FLT-05, FLT-09
        "added_after=",
        "added_after=yesterday",
        "added_after=2026-11-24",
        "added_after=2026-11-24T12:00:00",
        "added_after=2026-11-24 12:00:00Z",
        "added_after=2026-11-24t12:00:00z",
        "added_after=2026-02-30T00:00:00Z",
        "added_after=2026-11-24T24:00:00Z",
        "added_after=2026-11-24T12:00:60Z",
        "added_after=2026-11-24T12:00:00.Z",
        "added_after=2026-11-24T12:00:00.1234567890Z",
        "added_after=2026-11-24T12:00:00%2B00:00",
        "added_after=2026-11-24T12:00:00-06:00",
        "added_after=٢٠٢٦-11-24T12:00:00Z",
        "added_after=1700000000",
        "added_after=0000-01-01T00:00:00Z",
        "added_after=2026-11-24T12:00:00Z,2026-11-25T12:00:00Z",
        "added_after=2026-11-24T12:00:00Z&added_after=2026-11-24T12:00:00Z",
        # FLT-11, FLT-16
        "limit=0",
        "limit=00",
        "limit=-1",
        "limit=abc",
        "limit=1.5",
        "limit=+5",
        "limit=%2B5",
        "limit=1e3",
        "limit=٥",
        "limit=5&limit=5",
        "next=a&next=b",
        "next=&next=",
        # FLT-34, FLT-35, FLT-37, FLT-40, FLT-42
        "match[type]=",
        "match[type]=indicator,",
        "match[type]=,",
        "match[id]=",
        "match[version]=",
        "match[spec_version]=",
        "match[version]=all,last",
        "match[version]=first,all",
        "match[version]=all,2026-11-24T12:00:00Z",
        "match[version]=last,last",
        "match[version]=2026-11-24T12:00:00Z,2026-11-24T12:00:00.000Z",
        "match[version]=newest",
        "match[version]=LAST",
        "match[version]=2026-11-24",
        "match[type]=indicator&match[type]=malware",
        "match[type]=indicator&match%5Btype%5D=indicator",
        "match[id]=a&match[id]=a",
        "match[version]=first&match[version]=last",
    ],
)
@pytest.mark.rule("FLT-04", "FLT-05", "FLT-09", "FLT-11", "FLT-16", "FLT-34", "FLT-35", "FLT-37", "FLT-40", "FLT-42")
def test_malformed(query: str) -> None:
    with pytest.raises(Malformed) as refusal:
        ask(query)
    assert refusal.value.code == "query-malformed"
    assert refusal.value.field is not None
    assert refusal.value.text.en != refusal.value.text.es


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("limit=1", 1),
        ("limit=007", 7),
        ("limit=5000", 5000),
        ("limit=5001", 5000),
        ("limit=9223372036854775808", 5000),
        ("limit=" + "9" * 5000, 5000),
        ("limit=" + "0" * 5000 + "3", 3),
        ("limit=", 1000),
    ],
)
@pytest.mark.rule("FLT-13", "FLT-15")
def test_limits(query: str, limit: int) -> None:
    """An empty limit counts as absent, as MISP sends it."""
    assert ask(query).limit == limit


def test_empty_next_counts_as_absent() -> None:
    assert ask("next=&limit=50") == Asked(limit=50)


@pytest.mark.rule("FLT-21", "FLT-23", "FLT-41", "EP-08", "EP-09", "INT-3.13.2")
def test_lists_brackets_and_unknown_parameters() -> None:
    question = ask(f"match%5Bid%5D={ID},x--1&match[type]=indicator,%20malware,indicator&match[colour]=red&x=1&x=2")
    assert question.ids == (ID, "x--1")
    assert question.types == ("indicator", "malware")
    assert ask("match[spec_version]=2.0,2.1").spec_versions == ("2.0", "2.1")


@pytest.mark.rule("FLT-33", "FLT-38")
def test_versions_become_instants() -> None:
    found = ask("match[version]=first,2026-11-24T12:00:00.000Z,last").versions
    assert found == ("first", "2026-11-24T12:00:00", "last")
    near = ask("match[version]=2026-11-24T12:00:00.000001Z,2026-11-24T12:00:00.0000010001Z").versions
    assert len(set(near)) == 2


@pytest.mark.rule("SRT-03")
def test_a_time_before_anything_was_added_is_the_beginning() -> None:
    """The header of an empty page repeats the bound; it must be a TAXII timestamp."""
    assert ask("added_after=0001-01-01T00:00:00Z").added_after_us == 0
    assert as_text(0) == "1970-01-01T00:00:00.000000Z"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 253_402_300_799_999_999))
def test_what_a_header_said_is_read_back_to_the_microsecond(tick: int) -> None:
    assert ask(f"added_after={as_text(tick)}").added_after_us == tick


NAMES = st.sampled_from(
    ["added_after", "limit", "next", "match[id]", "match[type]", "match[version]", "match[spec_version]", "x"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=5))
@pytest.mark.rule("ERR-05")
def test_any_query_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        question = asked(MultiDict(pairs), default_limit=1000, highest_limit=5000)
    except Malformed:
        return
    assert 1 <= question.limit <= 5000
    assert all(question.ids) and all(question.types)
