"""A gateway's book: nothing is sent twice under two names, nothing refused is forgotten, nothing is lost with the power."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from exchange.client import Envelope, Packed, Refused, SubmitResult
from exchange.errors import Text
from exchange.gateway.book import Book, Original, Sent
from exchange.gateway.faults import Unfit

ME = "identity--9a1f2f7e-0f3d-4a5b-8c6d-7e8f90a1b2c3"
ID, NEW = "indicator--00000000-0000-4000-8000-000000000001", "indicator--00000000-0000-4000-8000-000000000002"
FIRST = Original("indicators", ID, "2026-11-24T12:00:00.000Z", 1_000, b'{"id":"x"}')
SECOND = replace(FIRST, version="2026-11-24T13:00:00.000Z", seen_us=2_000)
SENT = Sent(
    NEW, "2026-11-24T12:00:00.000Z", "ab" * 32, b"{}", "object-attestation--1", bytes(32), ID, FIRST.version, "cd" * 32, "{}",
    "indicators",
)  # fmt: skip
PACKED = (Packed("object-attestation--1", "v", "", True), Packed(NEW, SENT.version, SENT.sha256, True))
WHY = Text("no", "no")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with Book(tmp_path, ME) as made:
        yield made


def send(
    book: Book, sent: Sent = SENT, refused: tuple[Refused, ...] = (), accepted: tuple[Packed, ...] = PACKED
) -> None:
    book.post(7, [(sent.collection, Envelope(b"x", (PACKED[0], Packed(sent.new_id, sent.version, "", True))), [sent])])
    (sending,) = book.under_way()
    assert sending.stands == (replace(sent, collection=""),), "as it was before the power failed"
    book.settle(sending, SubmitResult({}, accepted, refused, ()))


def due(book: Book) -> list[str]:
    return [one.version for one in book.due(10_000)]


def test_the_newest_version_is_what_is_judged(book: Book) -> None:
    book.saw([FIRST, SECOND])
    book.saw([FIRST])
    assert due(book) == [SECOND.version]
    assert book.due(2_000) == [], "what came in the period that is not over"


def test_what_was_sent_is_not_due_again_and_a_later_version_is(book: Book) -> None:
    book.saw([FIRST])
    send(book)
    assert (due(book), book.under_way()) == ([], [])
    book.saw([FIRST])
    assert due(book) == []
    book.saw([SECOND])
    assert due(book) == [SECOND.version]
    assert book.newest("indicators", ID) == SENT
    assert book.sent(NEW) == book.sent(NEW, SENT.version) == SENT
    assert book.newest("other", ID) is None, "in another collection it has another name"


@pytest.mark.parametrize(
    ("accepted", "refused", "code"),
    [
        (PACKED[:1], (Refused(NEW, SENT.version, "warninglist", WHY),), "warninglist"),
        (PACKED[1:], (Refused("object-attestation--1", "v", "attestation-form", WHY),), "attestation-refused"),
        ((), (), "attestation-refused"),
    ],
)
def test_what_the_hub_refused_is_held_for_a_person(
    book: Book, accepted: tuple[Packed, ...], refused: tuple[Refused, ...], code: str
) -> None:
    book.saw([FIRST])
    send(book, refused=refused, accepted=accepted)
    assert [(row[1], row[3]) for row in book.held()] == [(ID, code)]
    assert book.newest("indicators", ID) is None
    assert book.alias("indicators", ID) == NEW, "the next version goes under the same id"
    book.saw([FIRST])
    assert due(book) == []
    book.saw([SECOND])
    assert due(book) == [SECOND.version], "a version that mends it is not held for the one before"


def test_an_envelope_refused_as_a_whole_leaves_its_originals_due(book: Book) -> None:
    book.saw([FIRST])
    book.post(7, [("indicators", Envelope(b"x", PACKED), [SENT])])
    book.drop(book.under_way()[0])
    assert (due(book), book.under_way(), book.batched) == ([FIRST.version], [], 7)


def test_after_the_last_version_there_is_another_name(book: Book) -> None:
    book.saw([FIRST])
    send(book)
    last = replace(SENT, version="2026-11-24T13:00:00.000Z", body=orjson.dumps({"revoked": True}))
    send(book, last, accepted=(PACKED[0], Packed(NEW, last.version, "", True)))
    assert book.alias("indicators", ID) is None
    assert list(book.standing()) == []
    assert book.counts() == {
        "to_judge": 0,
        "waiting": 0,
        "denied": 0,
        "held": 0,
        "under_way": 0,
        "standing": 0,
        "revoked": 1,
    }


def test_what_is_put_off_comes_back_when_its_reason_may_be_gone(book: Book) -> None:
    states = {"held": [], "waiting": [FIRST.version], "denied": [], "declined": []}
    for state, found in states.items():
        book.saw([FIRST])
        book.put_off(FIRST, Unfit(state, "code", WHY))  # type: ignore[arg-type]
        assert due(book) == found, state
        book.forget(FIRST)
    book.saw([FIRST])
    book.put_off(FIRST, Unfit("denied", "code", WHY))
    book.sweep(1, 0)
    assert due(book) == [FIRST.version], "once a day"
    book.put_off(FIRST, Unfit("denied", "code", WHY))
    book.sweep(1, 0)
    assert due(book) == []
    book.sweep(2, FIRST.seen_us + 1)
    assert (due(book), book.counts()["denied"]) == ([], 0), "it was given up"


def test_to_begin_again_is_to_read_all_and_look_at_what_is_held(book: Book) -> None:
    book.saw([FIRST])
    book.put_off(FIRST, Unfit("held", "trace", WHY))
    book.cursor("indicators").write_text("{}")
    book.begin_again(["indicators", "other"])
    assert (due(book), book.cursor("indicators").exists()) == ([FIRST.version], False)
