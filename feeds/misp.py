"""MISP events: a feed (manifest and events), a folder of them, or an instance asked over REST."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from certs.jcs import JsonError, load
from exchange.errors import Text
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.bulletins import Bulletin, BulletinMaker, Item, records_of, tlp_of
from feeds.bundles import SUFFIXES
from feeds.catalogue import Source
from feeds.documents import documents, download, kept_of
from feeds.faults import FeedFault
from feeds.fetch import local_path, open_local, validators
from feeds.values import Kind

EVENTS_AT_ONCE = 20

_KINDS: dict[str, Kind] = {
    "ip-src": "address", "ip-dst": "address", "domain": "host", "hostname": "host", "url": "url", "uri": "url",
    "md5": "md5", "sha1": "sha1", "sha256": "sha256", "sha512": "sha512", "email": "email", "email-src": "email",
    "email-dst": "email", "AS": "asn", "x509-fingerprint-sha1": "cert-sha1", "ip-src|port": "ip-port",
    "ip-dst|port": "ip-port", "domain|ip": "host", "hostname|port": "host", "filename|md5": "md5", "filename|sha1": "sha1",
    "filename|sha256": "sha256", "filename|sha512": "sha512",
}  # fmt: skip
_RULES = ("yara", "snort", "sigma")
_HASHES = {"sha256": "SHA-256", "sha1": "SHA-1", "md5": "MD5", "sha512": "SHA-512"}


class MispAdapter:
    """A MISP feed, or a folder of events. Events come oldest first; the cursor is the last one's time and id."""

    converts = True
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._maker = BulletinMaker(operator, source)

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        base = source.location.removesuffix("manifest.json").rstrip("/")
        path = local_path(base)
        if path is not None and not (path / "manifest.json").exists():
            return await documents(source, cursor, SUFFIXES)
        told = await self._manifest(source, base, path, cursor)
        if told is None:
            return None
        manifest, kept = told
        place = (int(cursor.get("time", "0")), cursor.get("event", ""))
        events = sorted((when, name) for name, (when, _) in manifest.items() if (when, name) > place)
        if not events:
            return None
        parts = []
        for _, name in events[:EVENTS_AT_ONCE]:
            part = (
                _local(path, name, source) if path is not None else await _remote(source, f"{base}/{quote(name)}.json")
            )
            wanted = manifest[name][1]
            if wanted and (part is None or sha256(await asyncio.to_thread(part.read)).hexdigest() != wanted):
                raise FeedFault(
                    "feed-incomplete",
                    f"Event {name} is not the one that the manifest names.",
                    f"El evento {name} no es el que nombra el manifiesto.",
                )
            parts.append(part or Part.of(name, b""))
        when, name = events[:EVENTS_AT_ONCE][-1]
        more = len(events) > EVENTS_AT_ONCE
        return Fetched(base, tuple(parts), {**({} if more else kept), "time": str(when), "event": name}, more)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            yield from records_in(part, self._source.size_limit_bytes)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        return self._maker.objects(record)

    async def _manifest(
        self, source: Source, base: str, path: Path | None, cursor: Cursor
    ) -> tuple[dict[str, tuple[int, str]], dict[str, str]] | None:
        """Time and digest of each event, by its id, and what to ask by next time; None when nothing changed. Raises
        FeedFault."""
        address, kept = f"{base}/manifest.json", dict[str, str]()
        try:
            if path is not None:
                data = await asyncio.to_thread((path / "manifest.json").read_bytes)
            else:
                found = await download(source, address, validators(cursor, address))
                if found is None:
                    return None
                data, kept = found.body.read(), kept_of(found, address)
            value = load(data, max_bytes=source.size_limit_bytes)
            return {
                name: (int(one["timestamp"]), str(one.get("integrity:sha256", "")))
                for name, one in value.items()
                if name.replace("-", "").isalnum()  # it becomes part of a path
            }, kept
        except (JsonError, OSError, KeyError, TypeError, ValueError, AttributeError):
            raise FeedFault("feed-form", "This is not a MISP manifest.", "Esto no es un manifiesto de MISP.") from None


class MispRestAdapter:
    """A MISP instance: published events from a time on. `location` is its address, the key goes in `Authorization`."""

    converts = True
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._maker = BulletinMaker(operator, source)

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        page, since = int(cursor.get("page", "1")), cursor.get("since", "0")
        question = {
            "returnFormat": "json", "published": True, "publish_timestamp": since, "page": page, "limit": EVENTS_AT_ONCE,
            "order": "Event.publish_timestamp asc", "deleted": [0, 1],
        }  # fmt: skip
        address = f"{source.location.rstrip('/')}/events/restSearch"
        found = await download(source, address, body=orjson.dumps(question))
        data = found.body.read() if found is not None else b""
        try:
            events = [one["Event"] for one in load(data, max_bytes=source.size_limit_bytes, max_depth=40)["response"]]
            newest = max(
                [int(since), int(cursor.get("newest", "0")), *(int(one["publish_timestamp"]) for one in events)]
            )
        except (JsonError, KeyError, TypeError, ValueError):
            raise FeedFault("feed-form", "The answer is not MISP's.", "La respuesta no es de MISP.") from None
        if not events:
            return None
        more = len(events) >= EVENTS_AT_ONCE
        # Pages count within one question; the next question begins in the second in which this one ended.
        following = {"since": since, "page": str(page + 1), "newest": str(newest)} if more else {"since": str(newest)}
        return Fetched(source.location, (Part.of("events.json", data),), following, more)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            yield from records_in(part, self._source.size_limit_bytes)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        return self._maker.objects(record)


async def _remote(source: Source, address: str) -> Part | None:
    found = await download(source, address)
    return Part(address.rpartition("/")[2], found.body.open) if found is not None else None


def _local(path: Path, name: str, source: Source) -> Part | None:
    for end in (".json", ".json.xz", ".json.gz"):
        file = path / f"{name}{end}"
        if file.exists():
            return Part(file.name, partial(open_local, file, source.size_limit_bytes))
    return None


# --- events ---


def records_in(part: Part, limit: int) -> Iterator[Record | Skipped]:
    try:
        events = events_in(load(part.read(), max_bytes=limit, max_depth=40))
    except JsonError as error:
        yield Skipped(part.name, error.code, Text(error.en, error.es))
        return
    except FeedFault as fault:
        yield Skipped(part.name, fault.code, fault.text)
        return
    for event in events:
        try:
            bulletin = bulletin_of(event)
        except (KeyError, TypeError, ValueError, AttributeError):
            yield Skipped(part.name, "misp-form", Text("This is not a MISP event.", "Esto no es un evento de MISP."))
            continue
        yield from records_of(bulletin)


def events_in(value: Any) -> list[Any]:
    """The events of a document, whichever root it has: an event, a list of them, or an answer of an instance."""
    if isinstance(value, dict) and "response" in value:
        value = value["response"]
    return [
        one.get("Event", one) if isinstance(one, dict) else one
        for one in (value if isinstance(value, list) else [value])
    ]


def bulletin_of(event: dict[str, Any]) -> Bulletin:
    """Raises KeyError, TypeError, ValueError or AttributeError for what is no event."""
    over: Counter[str] = Counter()
    items = [item for one in event.get("Attribute", ()) if (item := _item(one, over)) is not None]
    for group in event.get("Object", ()):
        items += _grouped(group, over)
    tags = [str(one["name"]) for one in event.get("Tag", ())]
    return Bulletin(
        key=str(event["uuid"]),
        title=str(event["info"]),
        published_us=_us(event.get("publish_timestamp") or event["timestamp"]) or _us(event["timestamp"]),
        items=tuple(items),
        tlp=tlp_of([*_tlp(tags), *(tlp for one in event.get("Attribute", ()) for tlp in _tlp(_tags(one)))]),
        author=str(event.get("Orgc", {}).get("name", "")),
        labels=tuple(tag for tag in tags if not tag.lower().startswith("tlp:")),
        over=over,
    )


def _grouped(group: dict[str, Any], over: Counter[str]) -> Iterator[Item]:
    """An object's indicators: the hashes of one file are one, everything else is taken by itself."""
    attributes = group.get("Attribute", ())
    hashes = [one for one in attributes if one.get("type") in _HASHES and _is_indicator(one)]
    if group.get("name") == "file" and hashes:
        first = hashes[0]
        digests = {_HASHES[kind]: str(one["value"]) for kind in _HASHES for one in hashes if one["type"] == kind}
        yield Item(
            str(group["uuid"]), "file", hashes=digests, description=str(group.get("comment", "")), seen_us=_us(group.get("timestamp", 0)),
            first_us=_first(first), revoked=bool(group.get("deleted")),
        )  # fmt: skip
        attributes = [one for one in attributes if one not in hashes]
    for one in attributes:
        item = _item(one, over)
        if item is not None:
            yield item


def _item(attribute: dict[str, Any], over: Counter[str]) -> Item | None:
    kind, value = str(attribute["type"]), str(attribute["value"])
    if not _is_indicator(attribute):
        over["misp-context"] += 1
        return None
    if kind not in _KINDS and kind not in _RULES:
        over["misp-kind"] += 1
        return None
    before, bar, after = value.partition("|")
    if bar and kind not in _RULES:
        value = after if kind.startswith("filename|") else before
        if _KINDS[kind] == "ip-port":
            value = f"[{before}]:{after}" if ":" in before else f"{before}:{after}"
    return Item(
        str(attribute["uuid"]), _KINDS.get(kind, kind), value, description=str(attribute.get("comment") or ""),  # type: ignore[arg-type]
        first_us=_first(attribute), seen_us=_us(attribute.get("timestamp", 0)), revoked=bool(attribute.get("deleted")),
        labels=tuple(tag for tag in _tags(attribute) if not tag.lower().startswith("tlp:")),
    )  # fmt: skip


def _is_indicator(attribute: dict[str, Any]) -> bool:
    """`to_ids` false: context, not something to look for. Withdrawn ones are told as withdrawn."""
    return attribute.get("to_ids") is True


def _tags(attribute: dict[str, Any]) -> list[str]:
    return [str(one["name"]) for one in attribute.get("Tag") or ()]


def _tlp(tags: Iterable[str]) -> list[str]:
    return [tag for tag in tags if tag.lower().startswith("tlp:")]


def _us(text: Any) -> int:
    """MISP writes seconds, as a number or as a text."""
    return int(text) * 1_000_000 if text else 0


def _first(attribute: dict[str, Any]) -> int:
    text = attribute.get("first_seen")
    if not text:
        return _us(attribute.get("timestamp", 0))
    moment = datetime.fromisoformat(str(text))
    return int(moment.timestamp() * 1_000) * 1_000 if moment.tzinfo else _us(attribute.get("timestamp", 0))
