"""Sources whose mapping is declared in the catalogue: lists, CSV and JSON become indicators without a line of code."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from exchange.times import as_millis_text
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.catalogue import Source
from feeds.documents import documents, stale
from feeds.faults import FeedFault
from feeds.identity import Identities
from feeds.mapping import declared_count, edition_us
from feeds.reading import rows
from feeds.rows import FAMILY, LICENCE, RowMaker

SUFFIXES = tuple(f".{kind}{packed}" for kind in ("txt", "csv", "json", "ndjson", "jsonl", "netset", "ipset") for packed in ("", ".xz", ".gz"))  # fmt: skip

FAMILIES_AT_MOST = 20_000
_ENDS_BYTES = 8_192


class MappedAdapter:
    """One record is one row; the licence and each family of malware are records of their own, which rows refer to."""

    converts = True
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        if source.mapping is None:
            raise ValueError("the source has no mapping")
        self._source = source
        self._mapping = source.mapping
        self.full_state = source.mapping.full_state
        self._ids = Identities(operator, source.name)
        self._made = RowMaker(source, source.mapping, self._ids)
        self._count: int | None = None

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        fetched = await documents(source, cursor, SUFFIXES)
        if fetched is None or not (self._mapping.edition or self._mapping.count):
            return fetched
        said = "".join([await asyncio.to_thread(_ends, part) for part in fetched.parts])
        self._count = declared_count(said, self._mapping.count) if self._mapping.count else None
        known, kept = cursor.get("edition", ""), dict(fetched.cursor)
        if self._mapping.edition:
            told_us = edition_us(said, self._mapping.edition)
            edition = as_millis_text(told_us) if told_us else ""
            if edition and edition < known:
                raise stale(edition)
            kept["edition"] = max(edition, known)
        return replace(fetched, cursor=kept)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        yield Record(LICENCE, self._source.licence)
        families: set[str] = set()
        count = 0
        for part in fetched.parts:
            with part.open() as stream:
                for row in rows(stream, self._mapping, part.name):
                    found = row if isinstance(row, Skipped) else self._made.record(row)
                    if found is None:
                        continue
                    count += 1
                    if isinstance(found, Record) and self._mapping.malware:
                        yield from self._family(found, families)
                    yield found
        if self._count is not None and count != self._count:
            raise FeedFault(
                "feed-incomplete",
                f"The source holds {count} rows and says that it has {self._count}; nothing counts as gone.",
                f"La fuente contiene {count} filas y declara {self._count}; nada se da por retirado.",
            )

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        if record.key == LICENCE and isinstance(record.value, str):
            return (self._made.licence(),)
        if record.key.startswith(FAMILY) and isinstance(record.value, str):
            return (self._made.family(record.value, record.epoch),)
        return self._made.objects(record)

    def _family(self, record: Record, families: set[str]) -> Iterator[Record]:
        name = self._made.family_of(record.value)
        if name and name not in families and len(families) < FAMILIES_AT_MOST:
            families.add(name)
            yield Record(f"{FAMILY}{name.lower()}", name)


def _ends(part: Part) -> str:
    with part.open() as stream:
        head = stream.read(_ENDS_BYTES)
        tail = head
        while piece := stream.read(1 << 18):
            tail = (tail + piece)[-_ENDS_BYTES:]
    return (head + b"\n" + tail).decode("utf-8", "replace")
