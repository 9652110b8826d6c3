"""Pages kept for others: when they are compressed, that both forms fit into one budget, and what the log says of them."""

import asyncio
import gzip
from hashlib import sha256

import pytest

from exchange.ledger.merkle import root
from exchange.model.page import Span, Spans
from exchange.release import disclosure
from exchange.release.disclosure import ROOTS_KEPT
from exchange.release.packing import Coding, Packed, Packing
from exchange.release.sheet import KEEPING_BYTES, Sheet, Sheets
from tests.unit.test_zstd import read

OBJECT = b'{"type":"indicator","name":"a name that comes again and again"}'

GZIP, ZSTD = Packing(Coding.GZIP), Packing(Coding.ZSTD)


def sheet(size: int = 100) -> Sheet:
    content = b",".join([OBJECT] * size)
    return Sheet.of_spans(Spans((Span(1, size, 1, bytes(32 * size), content),), True, 0), {1: "US"})


def kept(limit_bytes: int, question: str, page: Sheet) -> Sheets:
    sheets = Sheets(limit_bytes)
    sheets.keep(question, page, 1, 0)
    return sheets


def inflated(packed: Packed | None) -> bytes:
    assert packed is not None
    return gzip.decompress(b"".join(packed.around(b"", b"")))


async def test_what_is_asked_for_again_is_compressed_once() -> None:
    page = sheet()
    sheets = kept(1_000_000, "q", page)
    assert await sheets.packed("q", page, GZIP) is None, "it may be the only time"
    assert sheets.find("q", 1, 0) is page
    assert await sheets.packed("q", page, None) is None
    made = await sheets.packed("q", page, GZIP)
    assert inflated(made) == page.content
    assert await sheets.packed("q", page, GZIP) is made


async def test_only_one_compresses_while_others_are_sent_it_as_it_is() -> None:
    page = sheet(10_000)
    sheets = kept(100_000_000, "q", page)
    sheets.find("q", 1, 0)
    made = await asyncio.gather(*[sheets.packed("q", page, GZIP) for _ in range(4)])
    assert [one is None for one in made] == [False, True, True, True]
    assert await sheets.packed("q", page, GZIP) is made[0]


async def test_a_small_page_is_left_as_it_is_unless_that_cannot_be_read() -> None:
    page = sheet(3)
    sheets = kept(1_000_000, "q", page)
    sheets.find("q", 1, 0)
    assert await sheets.packed("q", page, GZIP) is None
    assert inflated(await sheets.packed("q", page, Packing(Coding.GZIP, demanded=True))) == page.content
    assert await sheets.packed("q", Sheet.empty(7), Packing(Coding.GZIP, demanded=True)) is None


async def test_on_demand_even_what_is_not_kept_is_compressed() -> None:
    page = sheet(1000)
    sheets = kept(100, "q", page)
    assert sheets.find("q", 1, 0) is None
    assert inflated(await sheets.packed("q", page, Packing(Coding.GZIP, demanded=True))) == page.content
    assert await sheets.packed("q", page, GZIP) is None


async def test_both_forms_count() -> None:
    page = sheet()
    sheets = Sheets(8 * (KEEPING_BYTES + len(page.content)))
    for question in range(8):
        sheets.keep(question, page, 1, 0)
    assert all(sheets.find(question, 1, 0) for question in range(8)), "eight fit, to the byte"
    assert await sheets.packed(7, page, GZIP)
    assert [question for question in range(8) if sheets.find(question, 1, 0) is None] == [0], "the oldest makes room"


async def test_each_coding_is_made_for_those_who_take_it() -> None:
    page = sheet()
    sheets = kept(1_000_000, "q", page)
    sheets.find("q", 1, 0)
    made = [await sheets.packed("q", page, packing) for packing in (GZIP, ZSTD, GZIP, ZSTD)]
    assert made[:2] == made[2:]
    assert made[0] != made[1]
    whole = b"".join(made[1].around(b"", b"")) if made[1] else b""
    assert read(whole) == page.content


async def test_what_is_made_anew_and_the_same_was_asked_for_before() -> None:
    """Else the form of an answer would tell that something was placed, or taken out, that it does not show."""
    page = sheet()
    sheets = kept(1_000_000, "q", page)
    assert sheets.find("q", 1, 1) is None, "of another revision"
    again = sheet()
    sheets.keep("q", again, 1, 1)
    made = await sheets.packed("q", again, GZIP)
    assert inflated(made) == page.content
    sheets.keep("q", sheet(), 2, 2)
    assert sheets.find("q", 2, 2) is not again
    sheets.keep("q", sheet(50), 3, 3)
    other = sheets.find("q", 3, 3)
    assert other is not None and other.count == 50
    assert inflated(await sheets.packed("q", other, GZIP)) == other.content


async def test_the_same_answer_to_the_same_words_was_asked_for_before_whoever_it_lies_for() -> None:
    """The labels under which a page lies may be others because of what it does not show."""
    page, again, other = sheet(), sheet(), sheet(50)
    sheets = kept(1_000_000, "words", page)
    sheets.keep("under other labels", again, 1, 1)
    sheets.keep("another page", other, 1, 1)
    sheets.keep("other words", sheet(), 1, 1, "other words")
    assert inflated(await sheets.packed("under other labels", again, GZIP)) == again.content
    assert await sheets.packed("another page", other, GZIP) is None
    assert await sheets.packed("other words", sheet(), GZIP) is None


def test_pages_with_nothing_on_them_take_room_too() -> None:
    """Else whoever asks for ids that are not there, each time others, fills the memory."""
    sheets = Sheets(8 * KEEPING_BYTES)
    for question in range(100):
        sheets.keep(question, Sheet.empty(1), 1, 0)
    assert [question for question in range(100) if sheets.find(question, 1, 0)] == list(range(92, 100))


def items(size: int, seed: int) -> bytes:
    return b"".join([sha256(b"%d %d" % (seed, number)).digest() for number in range(size)])


def root_told(content: bytes) -> str:
    size = len(content) // 32
    [part] = Sheet.of_spans(Spans((Span(1, size, 1, content, b"{}"),), True, 0), {1: "US"}).parts
    return str(part.pub["items_root"])


@pytest.mark.parametrize("size", [1, 20, 21, 1000])
def test_a_pages_root_is_that_of_its_items_each_time_it_is_read(size: int) -> None:
    content, other = items(size, 1), items(size, 2)
    expected = root([content[n : n + 32] for n in range(0, len(content), 32)]).hex()
    assert [root_told(one) == expected for one in (content, other, content)] == [True, False, True]


def test_no_more_roots_are_kept_than_there_is_room_for() -> None:
    for seed in range(ROOTS_KEPT + 9):
        root_told(items(21, seed))
    assert len(disclosure._roots) == ROOTS_KEPT
