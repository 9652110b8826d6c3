"""Pages kept for others: how they are compressed, made once for all who ask, kept within a budget; and what the log says of them."""

import asyncio
import gzip
from dataclasses import replace
from hashlib import sha256

import pytest

from exchange.ledger.merkle import root
from exchange.model.page import Span, Spans
from exchange.release import disclosure
from exchange.release.disclosure import ROOTS_KEPT
from exchange.release.packing import Coding, Packing
from exchange.release.sheet import KEEPING_BYTES, Sheet, Sheets
from tests.unit.test_zstd import read

OBJECT = b'{"type":"indicator","name":"a name that comes again and again"}'

GZIP, ZSTD = Packing(Coding.GZIP), Packing(Coding.ZSTD)


def sheet(size: int = 100) -> Sheet:
    content = b",".join([OBJECT] * size)
    return Sheet.of_spans(Spans((Span(1, size, 1, bytes(32 * size), content),), True, 0), {1: "US"})


def inflated(page: Sheet) -> bytes:
    assert page.packed is not None and not page.content
    return gzip.decompress(b"".join(page.packed.around(b"", b"")))


@pytest.mark.parametrize("size", [100, 10_000])
async def test_a_page_is_compressed_for_who_asks_so(size: int) -> None:
    page = sheet(size)
    assert await page.as_sent(None) is page
    sent = await page.as_sent(GZIP)
    assert inflated(sent) == page.content
    assert (sent.count, sent.first_us, sent.last_us, sent.more, sent.parts) == (size, 1, size, True, page.parts)
    assert sent.size < page.size
    other = await page.as_sent(ZSTD)
    assert other.packed is not None
    assert read(b"".join(other.packed.around(b"", b""))) == page.content


async def test_the_same_content_is_sent_in_the_same_bytes() -> None:
    """Whatever else the hub holds, and whoever asked before."""
    first, again = [await sheet(size).as_sent(GZIP) for size in (500, 500)]
    assert first.packed is not None
    assert first.packed == again.packed


async def test_a_small_page_is_left_as_it_is_unless_that_cannot_be_read() -> None:
    page = sheet(3)
    assert await page.as_sent(GZIP) is page
    demanded = Packing(Coding.GZIP, demanded=True)
    assert inflated(await page.as_sent(demanded)) == page.content
    assert (await Sheet.empty(7).as_sent(demanded)).packed is None


def test_as_many_are_kept_as_fit() -> None:
    page = sheet()
    sheets = Sheets(8 * (KEEPING_BYTES + len(page.content)))
    for question in range(8):
        sheets.keep(question, page, 1, 0)
    assert all(sheets.find(question, 1, 0) for question in range(8)), "eight fit, to the byte"
    sheets.keep("one more", page, 1, 0)
    assert [question for question in range(8) if sheets.find(question, 1, 0) is None] == [0], "the oldest makes room"


async def test_of_what_is_compressed_more_are_kept() -> None:
    page = sheet(1000)
    sent = await page.as_sent(GZIP)
    sheets = Sheets(12 * page.size)
    for question in range(100):
        sheets.keep(question, sent, 1, 0)
    assert all(sheets.find(question, 1, 0) for question in range(100))


def test_giants_are_not_kept() -> None:
    sheets = Sheets(8 * sheet().size)
    sheets.keep("small", sheet(), 1, 0)
    sheets.keep("giant", sheet(200), 1, 0)
    assert sheets.find("giant", 1, 0) is None
    assert sheets.find("small", 1, 0)


def test_a_page_that_is_not_full_is_of_its_moment() -> None:
    full, last = sheet(), replace(sheet(), more=False)
    sheets = Sheets(1_000_000)
    for name, page in (("full", full), ("last", last)):
        sheets.keep(name, page, 1, 0)
        assert sheets.find(name, 1, 0) is page
        assert sheets.find(name, 1, 1) is None, "of another revision"
    assert sheets.find("full", 2, 0) is full
    assert sheets.find("last", 2, 0) is None


class Slow:
    """Makes pages when it is told to, and counts how often it was asked."""

    def __init__(self, made: Sheet | Exception) -> None:
        self.made, self.count, self.go = made, 0, asyncio.Event()

    async def make(self) -> Sheet:
        self.count += 1
        await self.go.wait()
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


async def asking(sheets: Sheets, slow: Slow, askers: int, *, last_tick: int = 1) -> list[asyncio.Task[Sheet]]:
    tasks = [asyncio.create_task(sheets.get("q", last_tick, 0, slow.make)) for _ in range(askers)]
    await asyncio.sleep(0.01)
    return tasks


async def test_what_many_ask_for_at_once_is_made_once() -> None:
    page, sheets = sheet(), Sheets(1_000_000)
    slow = Slow(page)
    tasks = await asking(sheets, slow, 5)
    later = await asking(sheets, slow, 2, last_tick=2)
    assert slow.count == 2, "another moment is another question"
    slow.go.set()
    assert all(found is page for found in await asyncio.gather(*tasks, *later))
    assert slow.count == 2
    assert await sheets.get("q", 1, 0, slow.make) is page


async def test_who_goes_away_takes_it_from_none_of_the_others() -> None:
    page, sheets = sheet(), Sheets(1_000_000)
    slow = Slow(page)
    first, *others = await asking(sheets, slow, 4)
    first.cancel()
    await asyncio.sleep(0.01)
    slow.go.set()
    assert all(found is page for found in await asyncio.gather(*others))
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_fails_fails_for_each_and_the_next_tries_again() -> None:
    sheets = Sheets(1_000_000)
    slow = Slow(OSError("the disk"))
    tasks = await asking(sheets, slow, 3)
    slow.go.set()
    assert all(isinstance(one, OSError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    slow.made = sheet()
    assert await sheets.get("q", 1, 0, slow.make) is slow.made


async def test_what_is_not_to_be_kept_is_made_by_each() -> None:
    sheets = Sheets(100)
    slow = Slow(sheet())
    tasks = await asking(sheets, slow, 3)
    slow.go.set()
    assert all(one is slow.made for one in await asyncio.gather(*tasks))
    assert slow.count == 3


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
