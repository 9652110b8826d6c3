"""CSAF 2.0 advisories: what is vulnerable in industrial equipment, which CVEs, and what to do about it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha512
from typing import Any

from certs.jcs import JsonError, load
from exchange.errors import Text
from exchange.times import as_millis_text
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.bulletins import is_link, tlp_of
from feeds.catalogue import MARKING_OF, Source
from feeds.documents import documents, download, kept_of
from feeds.faults import FeedFault
from feeds.fetch import local_path, validators
from feeds.identity import Identities

ADVISORIES_AT_ONCE = 20
PRODUCTS_AT_MOST = 200


class CsafAdapter:
    """A provider's ROLIE feed, or a folder of advisories. One record is one advisory, with all that is made of it."""

    converts = True
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._ids = Identities(operator, source.name)

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        """From a feed, the advisories that were updated since the cursor, oldest first, each as its sum says."""
        if local_path(source.location) is not None:
            return await documents(source, cursor, (".json", ".json.xz"))
        found = await download(source, source.location, validators(cursor, source.location))
        if found is None:
            return None
        try:
            feed = load(found.body.read(), max_bytes=source.size_limit_bytes)["feed"]["entry"]
            entries = sorted((one["updated"], one["id"], one["content"]["src"], _sum_of(one)) for one in feed)
        except (JsonError, KeyError, TypeError):
            raise FeedFault("feed-form", "This is not a ROLIE feed.", "Esto no es una fuente ROLIE.") from None
        place = (cursor.get("updated", ""), cursor.get("id", ""))
        news = [one for one in entries if (one[0], one[1]) > place]
        if not news:
            return None
        parts = [await _advisory(source, address, digest) for _, _, address, digest in news[:ADVISORIES_AT_ONCE]]
        updated, name, *_ = news[:ADVISORIES_AT_ONCE][-1]
        more = len(news) > ADVISORIES_AT_ONCE
        kept = {} if more else kept_of(found, source.location)
        return Fetched(source.location, tuple(parts), {**kept, "updated": updated, "id": name}, more)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            try:
                value = load(part.read(), max_bytes=self._source.size_limit_bytes, max_depth=64)
                yield self._record(value)
            except JsonError as error:
                yield Skipped(part.name, error.code, Text(error.en, error.es))
            except (KeyError, TypeError, ValueError, AttributeError):
                yield Skipped(part.name, "csaf-form", Text("This is no CSAF advisory.", "Esto no es un aviso CSAF."))
            except FeedFault as fault:
                yield Skipped(part.name, fault.code, fault.text)

    def objects(self, record: Record) -> Iterator[dict[str, Any]]:
        document, tracking = record.value["document"], record.value["document"]["tracking"]
        common = {
            "spec_version": "2.1", "created_by_ref": self._ids.operator,
            "created": _time(tracking["initial_release_date"]), "modified": _time(tracking["current_release_date"]),
            "object_marking_refs": [_marking(document, self._source)],
        }  # fmt: skip
        products = dict(_products(record.value.get("product_tree", {}).get("branches", ())))
        made = [
            obj
            for place, one in enumerate(record.value.get("vulnerabilities", ()))
            for obj in self._vulnerability(one, str(one.get("cve") or place), products, common, record)
        ]
        yield from made
        if made:
            yield self._report(document, [one["id"] for one in made], common, record)

    def _record(self, value: dict[str, Any]) -> Record | Skipped:
        tracking, version = value["document"]["tracking"], str(value["document"]["csaf_version"])
        key = str(tracking["id"])
        if not version.startswith("2."):
            raise ValueError(version)
        if _tlp(value["document"]) == "red":
            return Skipped(key, "tlp-red", Text("It is TLP:RED.", "Es TLP:RED."), key=key)
        return Record(key, value)

    def _vulnerability(
        self, one: dict[str, Any], name: str, products: dict[str, str], common: dict[str, Any], record: Record
    ) -> Iterator[dict[str, Any]]:
        key = f"{record.key}|{name}"
        title = str(one.get("title") or one.get("cve") or record.key)
        known = list((one.get("product_status") or {}).get("known_affected", ()))
        affected = [products[product] for product in known if product in products]
        said = [
            str(note["text"]) for note in one.get("notes", ()) if note.get("category") in ("summary", "description")
        ]
        scores = [score[kind] for score in one.get("scores", ()) for kind in ("cvss_v4", "cvss_v3") if kind in score]
        if affected:
            said.append("Affected: " + "; ".join(affected[:PRODUCTS_AT_MOST]))
        said += [f"CVSS {one['version']}: {one['baseScore']} ({one['vectorString']})" for one in scores[:1]]
        cve = [{"source_name": "cve", "external_id": one["cve"]}] if one.get("cve") else []
        weakness = [{"source_name": "cwe", "external_id": one["cwe"]["id"]}] if one.get("cwe") else []
        yield {
            **common, "type": "vulnerability", "id": self._ids.make("vulnerability", key, record.epoch), "name": title[:1_000],
            "description": "\n\n".join(said)[:20_000] or title, "external_references": [*cve, *weakness, *self._references(record)],
        }  # fmt: skip
        for number, remedy in enumerate(_remedies(one)):
            yield from self._remedy(
                remedy, f"{key}|{number}", self._ids.make("vulnerability", key, record.epoch), common, record
            )

    def _remedy(
        self, remedy: dict[str, Any], key: str, target: str, common: dict[str, Any], record: Record
    ) -> Iterator[dict[str, Any]]:
        action = self._ids.make("course-of-action", key, record.epoch)
        link = [{"source_name": "vendor", "url": remedy["url"]}] if is_link(str(remedy.get("url", ""))) else []
        yield {
            **common, "type": "course-of-action", "id": action, "name": f"{record.key}: {remedy['category']}",
            "description": str(remedy["details"])[:10_000], "external_references": [*self._references(record), *link],
        }  # fmt: skip
        yield {
            **common, "type": "relationship", "id": self._ids.make("relationship", key, record.epoch),
            "relationship_type": "mitigates", "source_ref": action, "target_ref": target,
        }  # fmt: skip

    def _report(
        self, document: dict[str, Any], members: list[str], common: dict[str, Any], record: Record
    ) -> dict[str, Any]:
        notes = document.get("notes", ())
        said = [str(note["text"]).strip() for note in notes if note.get("category") in ("summary", "description")]
        sectors = [
            str(note["text"]).strip() for note in notes if note.get("title") == "Critical infrastructure sectors"
        ]
        links = [one for one in document.get("references", ()) if is_link(str(one.get("url", "")))]
        made = {
            **common, "type": "report", "id": self._ids.make("report", record.key, record.epoch), "report_types": ["vulnerability"],
            "name": f"{record.key}: {document['title']}"[:1_000], "published": common["created"], "object_refs": members,
            "external_references": [
                *self._references(record),
                *({"source_name": str(one.get("category", "reference")), "url": one["url"]} for one in links),
            ],
        }  # fmt: skip
        if said:
            made["description"] = "\n\n".join(said)[:20_000]
        if sectors:
            # Free text in its source, with words misspelt and “and” in front: kept as it is, as labels.
            found = [one.strip().removeprefix("and ").strip() for text in sectors for one in text.split(",")]
            made["labels"] = [f"{self._source.name}:sector:{one}" for one in dict.fromkeys(found) if one]
        return made

    def _references(self, record: Record) -> list[dict[str, str]]:
        publisher = {"source_name": self._source.publisher, "description": f"Licence: {self._source.licence}"}
        return [{"source_name": self._source.name, "external_id": record.key}, publisher]


def _remedies(one: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Each remedy once: many advisories repeat one for every product."""
    found = {(remedy["category"], remedy["details"]): remedy for remedy in one.get("remediations", ())}
    return (remedy for (kind, _), remedy in found.items() if kind != "none_available")


def _products(branches: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The name of each product by its id, from the leaves of the tree. Its depth is bounded as the JSON's is."""
    for branch in branches:
        if "product" in branch:
            yield branch["product"]["product_id"], str(branch["product"]["name"])
        yield from _products(branch.get("branches", ()))


def _sum_of(entry: dict[str, Any]) -> str:
    return next((str(link["href"]) for link in entry.get("link", ()) if link.get("rel") == "hash"), "")


async def _advisory(source: Source, address: str, digest_at: str) -> Part:
    found = await download(source, address)
    data = found.body.read() if found is not None else b""
    if digest_at.endswith(".sha512"):
        told = await download(source, digest_at)
        wanted = told.body.read().decode("ascii", "replace").split(" ", 1)[0].strip() if told is not None else ""
        if sha512(data).hexdigest() != wanted.lower():
            raise FeedFault(
                "feed-incomplete", f"{address} is not what its sum says.", f"{address} no coincide con su resumen."
            )
    return Part.of(address.rpartition("/")[2], data)


def _tlp(document: dict[str, Any]) -> str:
    label = (document.get("distribution") or {}).get("tlp", {}).get("label", "")
    return tlp_of([str(label)] if label else [])


def _marking(document: dict[str, Any], source: Source) -> str:
    return MARKING_OF.get(_tlp(document), source.marking)


def _time(text: str) -> str:
    moment = datetime.fromisoformat(str(text))
    return as_millis_text(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000) * 1_000)
