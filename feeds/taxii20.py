"""A TAXII 2.0 upstream, for those that have nothing newer: its pages are ranges, its objects STIX 2.0, which is raised."""

import asyncio
from collections.abc import Iterator
from typing import Any

from exchange.times import as_text, parse_us
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.catalogue import Source
from feeds.raising import Raising, old_records
from feeds.taxii import OVERLAP_US, PAGE_OBJECTS, last_date
from feeds.taxii_session import ask


class Taxii20Adapter:
    """One fetch is one range. The cursor is X-TAXII-Date-Added-Last; a page that is not full is the last."""

    converts = True
    full_state = False
    edition = 2

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._raise = Raising(operator, source)

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        known = dict(cursor) if cursor.get("location") == source.location else {}
        return await asyncio.to_thread(self._page, source, known)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            yield from old_records(part, self._source.size_limit_bytes)

    def objects(self, record: Record) -> Iterator[dict[str, Any]]:
        yield from self._raise(record)

    def _page(self, source: Source, cursor: dict[str, str]) -> Fetched:
        start, begin = int(cursor.get("start", "0")), cursor.get("begin", source.added_after)
        query = {"limit": str(PAGE_OBJECTS)}
        if begin:
            query["added_after"] = as_text(max(0, parse_us(begin) - OVERLAP_US))
        bundle, taken = ask(source, query, version="2.0", start=start)
        count = len(bundle.get("objects") or ())
        seen = max(last_date(taken.headers), cursor.get("seen", ""))
        kept = {"location": source.location, "begin": begin, "seen": seen}
        # A server may give less than was asked for; `items 0-49/100` says how many there are.
        total = taken.headers.get("Content-Range", "").rpartition("/")[2]
        more = count > 0 and (
            start + count < int(total) if total.isascii() and total.isdigit() else count >= PAGE_OBJECTS
        )
        if more:
            return Fetched(
                source.location, (Part.of("page.json", taken.body),), {**kept, "start": str(start + count)}, True
            )
        return Fetched(source.location, (Part.of("page.json", taken.body),), {**kept, "begin": seen or begin})
