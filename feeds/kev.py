"""CISA's catalogue of known exploited vulnerabilities (JSON, CC0): what is exploited, what to do, and the link."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from yarl import URL

from certs.jcs import JsonError, load
from exchange.errors import Text
from exchange.times import as_millis_text, parse_us
from feeds.adapter import Cursor, Fetched, Record, Skipped
from feeds.bulletins import is_link
from feeds.catalogue import Source
from feeds.documents import documents
from feeds.faults import FeedFault
from feeds.identity import made_id

CATALOGUE = "https://www.cisa.gov/known-exploited-vulnerabilities-catalog"

CONFIDENCE = 95
"""CISA lists a vulnerability only when it has evidence of its exploitation (BOD 22-01)."""


class KevAdapter:
    """One record is one CVE. Removal from the catalogue is a withdrawal: the objects made of it are revoked."""

    converts = True
    full_state = True
    edition = 2

    def __init__(self, operator: str, source: Source) -> None:
        self._operator = operator
        self._source = source

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        """None for a catalogue released no later than the last: the mirror lags, and file times say nothing."""
        fetched = await documents(source, cursor, (".json", ".json.xz"))
        if fetched is None:
            return None
        released = self._catalogue(fetched)["dateReleased"]
        if released < cursor.get("released", ""):
            return None
        return replace(fetched, cursor={**fetched.cursor, "released": released})

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        catalogue = self._catalogue(fetched)
        released = as_millis_text(parse_us(catalogue["dateReleased"]))
        for entry in catalogue["vulnerabilities"]:
            key = entry.get("cveID") if isinstance(entry, dict) else None
            if isinstance(key, str) and key.startswith("CVE-"):
                yield Record(key, entry, released)
            else:
                text = Text("A record has no CVE id.", "Un registro no tiene identificador CVE.")
                yield Skipped(str(key)[:80], "kev-no-cve", text)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        entry, cve = record.value, record.key
        common: dict[str, Any] = {
            "spec_version": "2.1",
            "created_by_ref": self._operator,
            "created": f"{entry['dateAdded']}T00:00:00.000Z",
            "modified": record.updated,
            "confidence": CONFIDENCE,
            "external_references": [
                {"source_name": "cve", "external_id": cve},
                {"source_name": "CISA KEV", "description": f"Licence: {self._source.licence}", "url": CATALOGUE},
            ],
            "object_marking_refs": [self._source.marking],
        }
        ids = {
            kind: made_id(kind, operator=self._operator, feed=self._source.name, key=cve, epoch=record.epoch)
            for kind in ("vulnerability", "course-of-action", "relationship")
        }
        links, remarks = _notes(entry.get("notes", ""))
        weaknesses = [{"source_name": "cwe", "external_id": one} for one in entry.get("cwes", ())]
        title = f"{entry['vendorProject'].strip()} {entry['product'].strip()}: {entry['vulnerabilityName'].strip()}"
        yield {
            **common,
            "type": "vulnerability",
            "id": ids["vulnerability"],
            "name": cve,
            "description": "\n\n".join((title, entry["shortDescription"].strip(), *remarks)),
            "labels": [
                "known-exploited",
                f"kev-due:{entry['dueDate']}",
                f"kev-ransomware:{entry['knownRansomwareCampaignUse'].lower()}",
            ],
            "external_references": [*common["external_references"], *weaknesses, *links],
        }
        yield {
            **common,
            "type": "course-of-action",
            "id": ids["course-of-action"],
            "name": f"Required action for {cve}",
            "description": entry["requiredAction"].strip(),
        }
        yield {
            **common,
            "type": "relationship",
            "id": ids["relationship"],
            "relationship_type": "mitigates",
            "source_ref": ids["course-of-action"],
            "target_ref": ids["vulnerability"],
        }

    def _catalogue(self, fetched: Fetched) -> dict[str, Any]:
        """Raises FeedFault unless it is a catalogue, and as long as it says it is."""
        try:
            value = load(fetched.parts[0].read(), max_bytes=self._source.size_limit_bytes)
            parse_us(value["dateReleased"])
            whole = value["count"] == len(value["vulnerabilities"])
        except (JsonError, KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise FeedFault("feed-form", "This is not the KEV catalogue.", "Este no es el catálogo KEV.") from None
        if not whole:
            raise FeedFault(
                "feed-incomplete",
                "The catalogue holds another number of records than it says.",
                "El catálogo contiene un número de registros distinto del que declara.",
            )
        return dict(value)


def _notes(text: str) -> tuple[list[dict[str, str]], list[str]]:
    """The notes, split at their semicolons, and commas where a link follows, into links and remarks."""
    links, remarks = [], []
    for part in filter(None, (piece.strip(_AROUND) for piece in _BETWEEN(text))):
        host = _host(part)
        if host:
            links.append({"source_name": host, "url": part})
        elif part != "N/A":
            remarks.append(part)
    return links, remarks


_BETWEEN = re.compile(r";|,(?=\s*https?://)").split
_AROUND = ' \t\r\n",'
"""As in `…/CVE-2025-5419",`."""


def _host(text: str) -> str:
    if not is_link(text):
        return ""
    try:
        return URL(text).host or ""
    except ValueError:
        return ""
