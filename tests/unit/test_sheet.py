"""Pages kept for others: when they are compressed, and that both forms fit into one budget."""

import asyncio
import gzip

from exchange.model.page import Span, Spans
from exchange.release.deflate import Deflated, Packing, gzip_member
from exchange.release.sheet import KEEPING_BYTES, Sheet, Sheets

OBJECT = b'{"type":"indicator","name":"a name that comes again and again"}'


def sheet(size: int = 100) -> Sheet:
    content = b",".join([OBJECT] * size)
    return Sheet.of_spans(Spans((Span(1, size, 1, bytes(32 * size), content),), True, 0), {1: "US"})


def kept(limit_bytes: int, question: str, page: Sheet) -> Sheets:
    sheets = Sheets(limit_bytes)
    sheets.keep(question, page, 1, 0)
    return sheets


def inflated(packed: Deflated | None) -> bytes:
    assert packed is not None
    return gzip.decompress(b"".join(gzip_member(b"", packed, b"")))


async def test_what_is_asked_for_again_is_compressed_once() -> None:
    page = sheet()
    sheets = kept(1_000_000, "q", page)
    assert await sheets.deflated("q", page, Packing.WELCOME) is None, "it may be the only time"
    assert sheets.find("q", 1, 0) is page
    assert await sheets.deflated("q", page, Packing.REFUSED) is None
    made = await sheets.deflated("q", page, Packing.WELCOME)
    assert inflated(made) == page.content
    assert await sheets.deflated("q", page, Packing.WELCOME) is made


async def test_only_one_compresses_while_others_are_sent_it_as_it_is() -> None:
    page = sheet(10_000)
    sheets = kept(100_000_000, "q", page)
    sheets.find("q", 1, 0)
    made = await asyncio.gather(*[sheets.deflated("q", page, Packing.WELCOME) for _ in range(4)])
    assert [one is None for one in made] == [False, True, True, True]
    assert await sheets.deflated("q", page, Packing.WELCOME) is made[0]


async def test_a_small_page_is_left_as_it_is_unless_that_cannot_be_read() -> None:
    page = sheet(3)
    sheets = kept(1_000_000, "q", page)
    sheets.find("q", 1, 0)
    assert await sheets.deflated("q", page, Packing.WELCOME) is None
    assert inflated(await sheets.deflated("q", page, Packing.DEMANDED)) == page.content
    assert await sheets.deflated("q", Sheet.empty(7), Packing.DEMANDED) is None


async def test_on_demand_even_what_is_not_kept_is_compressed() -> None:
    page = sheet(1000)
    sheets = kept(100, "q", page)
    assert sheets.find("q", 1, 0) is None
    assert inflated(await sheets.deflated("q", page, Packing.DEMANDED)) == page.content
    assert await sheets.deflated("q", page, Packing.WELCOME) is None


async def test_both_forms_count() -> None:
    page = sheet()
    sheets = Sheets(8 * (KEEPING_BYTES + len(page.content)))
    for question in range(8):
        sheets.keep(question, page, 1, 0)
    assert all(sheets.find(question, 1, 0) for question in range(8)), "eight fit, to the byte"
    assert await sheets.deflated(7, page, Packing.WELCOME)
    assert [question for question in range(8) if sheets.find(question, 1, 0) is None] == [0], "the oldest makes room"


async def test_what_is_made_anew_and_the_same_was_asked_for_before() -> None:
    """Else the form of an answer would tell that something was placed, or taken out, that it does not show."""
    page = sheet()
    sheets = kept(1_000_000, "q", page)
    assert sheets.find("q", 1, 1) is None, "of another revision"
    again = sheet()
    sheets.keep("q", again, 1, 1)
    made = await sheets.deflated("q", again, Packing.WELCOME)
    assert inflated(made) == page.content
    sheets.keep("q", sheet(), 2, 2)
    assert sheets.find("q", 2, 2) is not again
    sheets.keep("q", sheet(50), 3, 3)
    other = sheets.find("q", 3, 3)
    assert other is not None and other.count == 50
    assert inflated(await sheets.deflated("q", other, Packing.WELCOME)) == other.content


def test_pages_with_nothing_on_them_take_room_too() -> None:
    """Else whoever asks for ids that are not there, each time others, fills the memory."""
    sheets = Sheets(8 * KEEPING_BYTES)
    for question in range(100):
        sheets.keep(question, Sheet.empty(1), 1, 0)
    assert [question for question in range(100) if sheets.find(question, 1, 0)] == list(range(92, 100))
