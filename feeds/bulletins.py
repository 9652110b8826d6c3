"""Reports that list indicators: MISP events, OTX pulses, posts. Each indicator is a record, and the report names them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from exchange.errors import Text
from exchange.times import as_millis_text
from feeds.adapter import Record, Skipped
from feeds.catalogue import MARKING_OF, Source
from feeds.identity import Identities
from feeds.refang import refang
from feeds.values import Kind, NoValue, file_pattern, pattern, read_hashes, read_value

REFERENCES_AT_MOST = 5_000
"""Of one report; a longer one goes on in another."""


@dataclass(frozen=True, slots=True)
class Item:
    """One indicator of a bulletin. `kind` "file" has `hashes`; "yara", "sigma" and the like have their rule as `text`."""

    key: str
    kind: Kind | Literal["file", "yara", "snort", "suricata", "sigma"]
    text: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    first_us: int = 0
    seen_us: int = 0
    revoked: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bulletin:
    """`tlp` is a word of TLP 2.0 in lower case, "" for the source's own; `over` counts what is context, by code."""

    key: str
    title: str
    published_us: int
    items: tuple[Item, ...]
    description: str = ""
    tlp: str = ""
    author: str = ""
    url: str = ""
    links: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    over: Mapping[str, int] = field(default_factory=dict)


_TLP = {"white": "clear", "ex:chr": "red"} | {word: word for word in MARKING_OF}


def tlp_of(words: Iterable[str]) -> str:
    """The strictest TLP among words as sources write them (`tlp:white`, `TLP:AMBER+STRICT`, `green`); "" for none.

    One that nobody knows counts as red: what its author wanted to keep close is not guessed at.
    """
    order = ("clear", "green", "amber", "amber+strict", "red")
    found = [_TLP.get(word.lower().removeprefix("tlp:").strip(), "red") for word in words]
    return max(found, key=order.index, default="")


def records_of(bulletin: Bulletin) -> Iterator[Record | Skipped]:
    """The records of one bulletin, its report last. What is TLP:RED stays out, for it names its readers one by one."""
    if bulletin.tlp == "red":
        text = Text("It is TLP:RED, or marked with what is no TLP.", "Es TLP:RED o lleva una marca que no es TLP.")
        yield Skipped(bulletin.key, "tlp-red", text, key=bulletin.key)
        return
    for code, count in bulletin.over.items():
        text = Text("It is context, or of a kind that is not mapped.", "Es contexto o de un tipo que no se convierte.")
        yield Skipped(bulletin.key, code, text, count, key=bulletin.key + code)
    head = {
        "tlp": bulletin.tlp, "url": bulletin.url, "author": bulletin.author, "key": bulletin.key,
        "labels": list(bulletin.labels), "published_us": bulletin.published_us,
    }  # fmt: skip
    named = []
    for item in bulletin.items:
        try:
            pattern_of(item)
        except NoValue as error:
            yield Skipped(item.key, "item-value", error.text, key=item.key)
            continue
        yield Record(item.key, {"head": head, "item": asdict(item)})
        if not item.revoked:
            named.append(item.key)
    for start in range(0, len(named), REFERENCES_AT_MOST):
        more = f"#{start // REFERENCES_AT_MOST + 1}" if start else ""
        value = {
            "head": head, "title": bulletin.title, "description": bulletin.description, "links": list(bulletin.links),
            "names": named[start : start + REFERENCES_AT_MOST],
        }  # fmt: skip
        yield Record(f"{bulletin.key}{more}", value)


def pattern_of(item: Item) -> tuple[str, str, str]:
    """Pattern, its type, and what the indicator is called. Raises NoValue."""
    if item.kind in ("yara", "snort", "suricata", "sigma"):
        if not item.text.strip():
            raise NoValue(item.kind, "")
        return item.text, item.kind, f"{item.kind} rule"
    if item.kind == "file":
        known = read_hashes(item.hashes)
        return file_pattern(known), "stix", next(iter(known.values()))
    try:
        value = read_value(item.kind, item.text)  # type: ignore[arg-type]  # the others were dealt with
    except ValueError:
        value = read_value(item.kind, refang(item.text))  # type: ignore[arg-type]  # typed by people, who make harmless
    return pattern(value), "stix", value.text


class BulletinMaker:
    """The objects of a bulletin's records."""

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._ids = Identities(operator, source.name)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        value, head = record.value, record.value["head"]
        common = {
            "spec_version": "2.1",
            "created_by_ref": self._ids.operator,
            "external_references": self._references(record.key, head, value.get("links", ())),
            "object_marking_refs": [MARKING_OF[head["tlp"]] if head["tlp"] else self._source.marking],
        }
        yield (
            self._report(value, common, record)
            if "names" in value
            else self._indicator(value["item"], head, common, record)
        )

    def _report(self, value: dict[str, Any], common: dict[str, Any], record: Record) -> dict[str, Any]:
        published = as_millis_text(value["head"]["published_us"])
        made = {
            **common, "type": "report", "id": self._ids.make("report", record.key, record.epoch), "name": value["title"][:1_000],
            "created": published, "published": published, "report_types": ["indicator"],
            # An epoch rises after a revocation only, and nothing here is revoked but by its own source, for good.
            "object_refs": [self._ids.make("indicator", name) for name in value["names"]],
        }  # fmt: skip
        if value["description"]:
            made["description"] = value["description"][:20_000]
        return _labelled(made, self._labels(value["head"]["labels"]))

    def _indicator(
        self, item: dict[str, Any], head: dict[str, Any], common: dict[str, Any], record: Record
    ) -> dict[str, Any]:
        matched, language, name = pattern_of(Item(**item))
        first = as_millis_text(item["first_us"] or head["published_us"])
        made = {
            **common, "type": "indicator", "id": self._ids.make("indicator", record.key, record.epoch), "name": name[:1_000],
            "pattern": matched, "pattern_type": language, "created": first, "valid_from": first,
            "modified": as_millis_text(max(item["seen_us"], item["first_us"]) or head["published_us"]),
            "indicator_types": ["malicious-activity"],
        }  # fmt: skip
        if language == "stix":
            made["pattern_version"] = "2.1"
        if item["description"]:
            made["description"] = item["description"][:10_000]
        if item["revoked"]:
            made["revoked"] = True
        return _labelled(made, self._labels((*head["labels"], *item["labels"])))

    def _labels(self, labels: Iterable[str]) -> list[str]:
        return [f"{self._source.name}:{one[:200]}" for one in dict.fromkeys(labels) if one.strip()]

    def _references(self, key: str, head: dict[str, Any], links: Iterable[str]) -> list[dict[str, str]]:
        own = {"source_name": self._source.name, "external_id": key}
        if head["url"]:
            own["url"] = head["url"]
        publisher = {
            "source_name": head["author"] or self._source.publisher,
            "description": f"Licence: {self._source.licence}",
        }
        return [own, publisher, *({"source_name": "reference", "url": link} for link in links if is_link(link))]


def is_link(text: str) -> bool:
    """Of the signs that a URL is made of (RFC 3986, 2): with another in it the Standard's validator refuses the object."""
    return _LINK(text) is not None


_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+").fullmatch


def _labelled(obj: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    return {**obj, "labels": labels} if labels else obj
