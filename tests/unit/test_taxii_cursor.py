"""`next` tokens: what goes in comes out, nothing altered is taken, and no misuse loses an object."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import Malformed
from exchange.model.page import Cursor, Filter
from exchange.taxii.cursor import ForeignCursor, Start, decode, encode, start
from exchange.taxii.query import Asked

KEY = bytes(range(32))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
HERE, ELSEWHERE = "91a7b528-80eb-42ed-a74d-c6fbd5a26116", "52892447-4d7e-4f70-b94d-d7f22742ff63"
ID = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"

WORDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), max_size=4).map(tuple)
FILTERS = st.builds(Filter, st.none() | st.integers(0, 2**53), WORDS, WORDS, WORDS, WORDS)
CURSORS = st.builds(Cursor, st.text("abc-", max_size=10), st.just(HERE), FILTERS, st.integers(0, 2**53))

PLACE = Cursor("us-cyber", HERE, Filter(added_after_us=5, types=("indicator",)), 42)


@settings(max_examples=200, deadline=None)
@given(CURSORS)
@pytest.mark.rule("PAG-17")
def test_round_trip(cursor: Cursor) -> None:
    token = encode(cursor, KEY)
    assert decode(token, KEY, member=cursor.member) == cursor
    assert encode(cursor, KEY) == token, "the same place is the same token, in every process"
    assert set(token) <= set(ALPHABET), "PAG-17"


@pytest.mark.rule("PAG-19", "FLT-17")
def test_every_altered_character_is_refused() -> None:
    """Also the spare bits of the last one, which decode alike."""
    token = encode(PLACE, KEY)
    for i, old in enumerate(token):
        for other in "Aa0_-.%é " if i < len(token) - 1 else ALPHABET:
            if other != old:
                with pytest.raises(ForeignCursor):
                    decode(token[:i] + other + token[i + 1 :], KEY, member="us-cyber")


def test_every_other_length_is_refused() -> None:
    token = encode(PLACE, KEY)
    for altered in (token[:-1], token + "A", token + "=", "\n" + token, token + "\n", token * 2, ""):
        with pytest.raises(ForeignCursor):
            decode(altered, KEY, member="us-cyber")


def test_other_keys_members_and_versions_are_refused() -> None:
    token = encode(PLACE, KEY)
    for key, member in ((b"other" * 8, "us-cyber"), (KEY, "mx-ciber"), (KEY, "")):
        with pytest.raises(ForeignCursor):
            decode(token, key, member=member)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: urlsafe_b64encode(data).decode()))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(ForeignCursor) as refusal:
        decode(text, KEY, member="us-cyber")
    assert refusal.value.code == "cursor-foreign"


# --- where to go on ---


def test_no_token_is_page_one() -> None:
    assert start(Asked(10, types=("malware",)), None, collection=HERE) == Start(Filter(types=("malware",)))


@pytest.mark.parametrize(
    "question",
    [
        Asked(10),
        Asked(99),  # PAG-11
        Asked(10, added_after_us=5),
        Asked(10, added_after_us=5, types=("indicator",)),
        Asked(10, types=("indicator",)),
        Asked(10, versions=("last",)),
    ],
)
@pytest.mark.rule("PAG-11", "PAG-12", "PAG-14")
def test_the_same_or_no_filters_go_on_with_the_tokens_own(question: Asked) -> None:
    assert start(question, PLACE, collection=HERE) == Start(PLACE.filter, 42)


def test_another_added_after_begins_anew() -> None:
    """clients.md 1.3: OpenCTI's connector takes a token along into its next run."""
    question = Asked(10, added_after_us=30, types=("malware",))
    assert start(question, PLACE, collection=HERE) == Start(Filter(30, types=("malware",)))
    assert start(question, PLACE, collection=ELSEWHERE) == Start(Filter(30, types=("malware",)))


def test_another_collections_token_begins_at_its_own_added_after() -> None:
    """The same connector takes a token from one collection into the next, and leaves its own added_after out."""
    assert start(Asked(10), PLACE, collection=ELSEWHERE) == Start(Filter(5))
    assert start(Asked(10, types=("malware",)), PLACE, collection=ELSEWHERE) == Start(Filter(5, types=("malware",)))


@pytest.mark.parametrize(
    "question", [Asked(10, types=("malware",)), Asked(10, ids=(ID,)), Asked(10, versions=("all",)), Asked(10, 5, (ID,))]
)
@pytest.mark.rule("PAG-13")
def test_other_filters_are_refused_rather_than_mixed(question: Asked) -> None:
    with pytest.raises(Malformed) as refusal:
        start(question, PLACE, collection=HERE)
    assert refusal.value.code == "cursor-filters"


@pytest.mark.rule("ONE-08", "FLT-44")
def test_a_token_of_the_collection_gives_nothing_but_the_object_on_its_endpoint() -> None:
    begin = start(Asked(10, types=("malware",)), PLACE, collection=HERE, only=ID)
    assert begin == Start(Filter(5, ids=(ID,)))
    walk = Cursor("us-cyber", HERE, Filter(ids=(ID,), versions=("all",)), 42)
    assert start(Asked(10), walk, collection=HERE, only=ID) == Start(walk.filter, 42)
    assert start(Asked(10, types=("x",), ids=("y",)), walk, collection=HERE, only=ID) == Start(walk.filter, 42)
    assert start(Asked(10), walk, collection=HERE, only="malware--1").match.ids == ("malware--1",)


ASKED = st.builds(
    Asked,
    st.just(10),
    st.none() | st.sampled_from([0, 5, 30]),
    st.sampled_from([(), (ID,)]),
    st.sampled_from([(), ("indicator",), ("malware",)]),
    st.sampled_from([(), ("last",), ("all",)]),
)


@settings(max_examples=300, deadline=None)
@given(ASKED, st.sampled_from([HERE, ELSEWHERE]), st.sampled_from([None, ID]))
def test_never_lose(question: Asked, collection: str, only: str | None) -> None:
    """A page either goes on exactly where the token stopped, or begins no later than the client may have seen."""
    try:
        begin = start(question, PLACE, collection=collection, only=only)
    except Malformed:
        return
    if begin.after_us:
        assert begin == Start(PLACE.filter, PLACE.tick)
        assert collection == PLACE.collection
    elif question.added_after_us is None:
        assert begin.match.added_after_us == PLACE.filter.added_after_us
    else:
        assert begin.match.added_after_us == question.added_after_us
    if only:
        assert begin.match.ids == (only,)
