"""RSS and Atom: what a team writes, with the indicators that it made harmless in its text, as a report to be read."""

import html
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any
from xml.etree import ElementTree  # what declares entities is refused before it is parsed

from exchange.errors import Text
from feeds.adapter import Cursor, Fetched, Record, Skipped
from feeds.bulletins import Bulletin, BulletinMaker, Item, is_link, records_of
from feeds.catalogue import Source
from feeds.documents import documents
from feeds.faults import FeedFault
from feeds.refang import extract

XML_BYTES_AT_MOST = 20_000_000
TEXT_CHARACTERS_AT_MOST = 500_000

_TAG = re.compile(r"<[^<>]{0,4000}>")
_KINDS = {"ipv4": "ip", "ipv6": "ip", "network4": "network", "network6": "network"}


class PostsAdapter:
    """One post is one bulletin; a post without an indicator makes nothing. A feed is a window: what leaves it stays."""

    converts = True
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        self._maker = BulletinMaker(operator, source)

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        return await documents(source, cursor, (".xml", ".rss", ".atom"))

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            for post in _posts(part.read()):
                try:
                    bulletin = _bulletin(post)
                except (ValueError, TypeError):
                    yield Skipped(part.name, "post-form", Text("A post has no date.", "Una entrada no tiene fecha."))
                    continue
                if bulletin.items:
                    yield from records_of(bulletin)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        return self._maker.objects(record)


def _posts(data: bytes) -> Iterator[ElementTree.Element]:
    """Raises FeedFault for what is no feed."""
    if len(data) > XML_BYTES_AT_MOST or b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:
        raise _form()
    try:
        root = ElementTree.fromstring(data)  # noqa: S314  # no document type, so no entities
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        raise _form() from None
    if _name(root) not in ("rss", "feed", "RDF"):
        raise _form()
    return (one for one in root.iter() if _name(one) in ("item", "entry"))


def _form() -> FeedFault:
    return FeedFault("feed-form", "This is neither RSS nor Atom.", "Esto no es RSS ni Atom.")


def _bulletin(post: ElementTree.Element) -> Bulletin:
    """Raises ValueError for a post without a date."""
    said: dict[str, str] = {}
    link = ""
    for one in post:
        name = _name(one)
        said.setdefault(name, "".join(one.itertext()).strip())
        if name == "link" and one.get("rel", "alternate") == "alternate":
            link = link or one.get("href", "") or said["link"]
    body = " ".join(said.get(name, "") for name in ("encoded", "content", "description", "summary"))
    text = html.unescape(_TAG.sub(" ", body[:TEXT_CHARACTERS_AT_MOST]))
    key = said.get("guid") or said.get("id") or link or said.get("title", "")
    key = sha256(key.encode()).hexdigest()[:32]
    items = tuple(
        Item(f"{key}/{one.kind}/{one.text}"[:500], _KINDS.get(one.kind, one.kind), one.text)  # type: ignore[arg-type]
        for one in extract(text)
    )
    return Bulletin(
        key=key,
        title=said.get("title", "") or key,
        published_us=_date(
            next(filter(None, (said.get(name) for name in ("pubDate", "published", "updated", "date"))), "")
        ),
        items=items,
        description=" ".join(text.split())[:2_000],
        url=link if is_link(link) else "",
    )


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _date(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return int(moment.timestamp()) * 1_000_000
