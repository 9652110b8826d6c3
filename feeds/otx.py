"""AlienVault OTX pulses: what a community writes up, with its indicators. The key goes in the header X-OTX-API-KEY."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from yarl import URL

from certs.jcs import JsonError, load
from exchange.errors import Text
from exchange.times import as_datetime
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.bulletins import Bulletin, BulletinMaker, Item, records_of, tlp_of
from feeds.catalogue import Source
from feeds.documents import documents, download
from feeds.faults import FeedFault
from feeds.fetch import local_path
from feeds.values import Kind

OVERLAP_SECONDS = 600
"""Pages move while they are read: what changed meanwhile is asked for again, and known by its digest."""

_KINDS: dict[str, Kind] = {
    "IPv4": "ip", "IPv6": "ip", "CIDR": "network", "domain": "domain", "hostname": "host", "URL": "url", "URI": "url",
    "email": "email", "FileHash-MD5": "md5", "FileHash-SHA1": "sha1", "FileHash-SHA256": "sha256",
}  # fmt: skip


class OtxAdapter:
    """One fetch is one page of `/api/v1/pulses/subscribed`. The cursor is the newest change it has told."""

    converts = True
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._maker = BulletinMaker(operator, source)

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        if local_path(source.location) is not None:
            return await documents(source, cursor, (".json", ".json.xz", ".data"))
        page, since = int(cursor.get("page", "1")), cursor.get("since", "")
        query = {"limit": "50", "page": str(page), **({"modified_since": since} if since else {})}
        found = await download(source, str(URL(source.location).update_query(query)))
        data = found.body.read() if found is not None else b""
        try:
            answer = load(data, max_bytes=source.size_limit_bytes)
            seen = [_us(one["modified"]) for one in answer["results"]]
            newest = max([int(cursor.get("newest_us", "0")), *seen])
        except (JsonError, KeyError, TypeError, ValueError):
            raise FeedFault("feed-form", "The answer is not OTX's.", "La respuesta no es de OTX.") from None
        if not seen:
            return None
        more = bool(answer.get("next"))
        begin = as_datetime(newest) - timedelta(seconds=OVERLAP_SECONDS)
        following = {"page": str(page + 1), "since": since} if more else {"since": begin.strftime("%Y-%m-%dT%H:%M:%S")}
        return Fetched(source.location, (Part.of(f"page-{page}", data),), {**following, "newest_us": str(newest)}, more)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            try:
                value = load(part.read(), max_bytes=self._source.size_limit_bytes)
            except JsonError as error:
                yield Skipped(part.name, error.code, Text(error.en, error.es))
                continue
            for pulse in value.get("results", ()) if isinstance(value, dict) else value:
                try:
                    bulletin = _bulletin(pulse)
                except (KeyError, TypeError, ValueError, AttributeError):
                    yield Skipped(part.name, "otx-form", Text("This is not a pulse.", "Esto no es un pulso."))
                    continue
                yield from records_of(bulletin)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        return self._maker.objects(record)


def _bulletin(pulse: dict[str, Any]) -> Bulletin:
    over: Counter[str] = Counter()
    key, items = str(pulse["id"]), []
    for one in pulse["indicators"]:
        kind = _KINDS.get(one["type"])
        if kind is None:
            over["otx-kind"] += 1
            continue
        text = str(one["indicator"])
        items.append(
            Item(
                f"{key}/{one['type']}/{text}"[:500], kind, text, description=str(one.get("description") or ""),
                first_us=_us(one["created"]), revoked=one.get("is_active", 1) == 0,
            )
        )  # fmt: skip
    return Bulletin(
        key=key,
        title=" ".join(str(pulse["name"]).split()),
        published_us=_us(pulse["created"]),
        items=tuple(items),
        description=str(pulse.get("description") or ""),
        tlp=tlp_of([str(pulse["TLP"])] if pulse.get("TLP") else []),
        author=str(pulse.get("author_name") or ""),
        url=f"https://otx.alienvault.com/pulse/{key}" if key.isalnum() else "",
        links=tuple(map(str, pulse.get("references") or ())),
        labels=tuple(" ".join(str(tag).split()) for tag in pulse.get("tags") or ()),
        over=over,
    )


def _us(text: str) -> int:
    """OTX writes UTC without saying so."""
    moment = datetime.fromisoformat(str(text))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000) * 1_000
