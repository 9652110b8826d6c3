"""A TAXII 2.1 upstream, walked with taxii2-client and forgiving where servers are not faithful.

Seen in real servers, and survived here: `more` without `next`, `added_after` that includes its own instant, `{}` for an
empty page, a missing or halved pair of date headers, plain application/json, tokens that expire.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from exchange.times import as_text, parse_us
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.bundles import read_part
from feeds.catalogue import Source
from feeds.faults import FeedFault
from feeds.taxii_session import ask

PAGE_OBJECTS = 500
LARGEST_PAGE_OBJECTS = 50_000
OVERLAP_US = 1_000_000
"""Servers differ on whether added_after includes its instant; what comes twice is known by id and version."""


class TaxiiAdapter:
    """One fetch is one page. `location` is the collection's URL; the cursor is X-TAXII-Date-Added-Last, never our clock."""

    converts = False
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        known = dict(cursor) if cursor.get("location") == source.location else {}
        return await asyncio.to_thread(self._page, source, known)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            yield from read_part(part, self._source.size_limit_bytes)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        return (record.value,)

    def _page(self, source: Source, cursor: dict[str, str]) -> Fetched:
        query = _query(source, cursor)
        try:
            envelope, taken = ask(source, query)
        except FeedFault as fault:
            if "next" not in query or fault.code != "feed-http":
                raise
            # The server forgot the token: begin again behind the last date it told us.
            query = _query(source, {**cursor, "next": ""})
            envelope, taken = ask(source, query)
        seen = last_date(taken.headers) or cursor.get("added_after", "")
        kept, more = _move(envelope, query, cursor, seen)
        if kept.get("next"):
            # Some servers keep one token for a whole walk (medallion does), so a token twice is no fault; a page is.
            kept["page"] = sha256(taken.body).hexdigest()
            if (kept["next"], kept["page"]) == (query.get("next"), cursor.get("page")):
                raise _no_way_on()
        kept["location"] = source.location
        return Fetched(source.location, (Part.of("page.json", taken.body),), kept, more)


def _query(source: Source, cursor: Mapping[str, str]) -> dict[str, str]:
    query = {"limit": cursor.get("limit") or str(PAGE_OBJECTS)}
    begin = cursor.get("walk") if cursor.get("next") else cursor.get("added_after")
    if begin or source.added_after:
        after = begin or source.added_after
        # Within a walk the filters stay as they were: many servers tie their token to them.
        query["added_after"] = after if cursor.get("next") else as_text(max(0, parse_us(after) - OVERLAP_US))
    if cursor.get("next"):
        query["next"] = cursor["next"]
    return query


def _move(
    envelope: Mapping[str, Any], query: Mapping[str, str], cursor: Mapping[str, str], seen: str
) -> tuple[dict[str, str], bool]:
    """The cursor after a page, and whether another page is to be asked for now."""
    more, token = envelope.get("more") is True, envelope.get("next")
    if more and isinstance(token, str) and token:
        return {"added_after": seen, "next": token, "walk": query.get("added_after", ""), "limit": query["limit"]}, True
    if not more or not envelope.get("objects"):
        return {"added_after": seen}, False
    # More, and no way to it but the date. Where the date stands still, many objects share it: ask for a longer page.
    limit = int(query["limit"])
    if seen and parse_us(seen) - OVERLAP_US > _from(query):
        return {"added_after": seen, "limit": query["limit"]}, True
    if limit * 10 > LARGEST_PAGE_OBJECTS:
        raise _no_way_on()
    return {"added_after": cursor.get("added_after", ""), "limit": str(limit * 10)}, True


def _no_way_on() -> FeedFault:
    return FeedFault(
        "feed-form",
        "The server says there is more and gives no way to it.",
        "El servidor dice que hay más y no da manera de obtenerlo.",
    )


def _from(query: Mapping[str, str]) -> int:
    return parse_us(query["added_after"]) if "added_after" in query else -1


def last_date(headers: Mapping[str, str]) -> str:
    """The last date of a page. Some servers give the first one only; then nothing up to it is missing."""
    for name in ("X-TAXII-Date-Added-Last", "X-TAXII-Date-Added-First"):
        try:
            return as_text(parse_us(headers.get(name, "")))
        except ValueError:
            continue
    return ""
