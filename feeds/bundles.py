"""STIX 2.1 from a file, a folder or a URL: other people's objects, taken out of their bundles and kept as they are."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from certs.jcs import JsonError, load
from exchange.errors import Text
from exchange.model.stix import SCO_TYPES
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.catalogue import Source
from feeds.documents import documents
from feeds.faults import FeedFault
from policies.label import TLP_DEFINITIONS

_LINES = (".jsonl", ".ndjson")
_PACKED = ("", ".xz", ".gz")
SUFFIXES = tuple(f"{kind}{packed}" for kind in (".json", ".stix2", *_LINES) for packed in _PACKED)

_OLD = Text(
    "This is STIX 2.0, which adapter stix20 raises to 2.1.",
    "Esto es STIX 2.0, que el adaptador stix20 convierte a 2.1.",
)
_XML = Text(
    "This is XML, as STIX 1 is; only STIX 2 is read, in JSON.", "Esto es XML, como STIX 1; solo se lee STIX 2, en JSON."
)
_NO_OBJECT = Text("This is not a STIX object.", "Esto no es un objeto STIX.")
_TLP = Text("Everybody has the TLP definitions.", "Todos tienen ya las definiciones de TLP.")


class BundleAdapter:
    """One record is one object. A document that is not strict JSON is told with its reason and stops no other."""

    converts = False
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        return await documents(source, cursor, SUFFIXES)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            yield from read_part(part, self._source.size_limit_bytes)

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        return (record.value,)


def read_part(part: Part, limit: int) -> Iterator[Record | Skipped]:
    """The objects of one document: a bundle, an envelope, an array, JSON lines, or a single object."""
    data = part.read()
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield Skipped(part.name, "stix-xml", _XML)
        return
    try:
        values = read_values(part.name, data, limit)
    except JsonError as error:
        yield Skipped(part.name, error.code, Text(error.en, error.es))
        return
    except FeedFault as fault:
        yield Skipped(part.name, fault.code, fault.text)
        return
    skipped: Counter[tuple[str, Text]] = Counter()
    for value in values:
        for obj in objects_in(value):
            reason = _reason(obj, value)
            if reason is None:
                yield Record(obj["id"], obj)
            else:
                skipped[reason] += 1
    for (code, text), count in skipped.items():
        yield Skipped(part.name, code, text, count)


def read_values(name: str, data: bytes, limit: int) -> list[Any]:
    """The JSON values of one document, several when its name says that each line is one. Raises JsonError."""
    lines = name.removesuffix(".xz").removesuffix(".gz").endswith(_LINES)
    return [load(one, max_bytes=limit, max_depth=40) for one in (data.splitlines() if lines else [data]) if one]


def objects_in(value: Any) -> list[Any]:
    """What is in a bundle, an envelope or an array; anything else is its own only object.

    What others are understood by comes first: a hub that does not know a marking yet keeps what bears it in the country.
    """
    if isinstance(value, dict) and isinstance(value.get("objects"), list):
        value = value["objects"]
    if isinstance(value, list):
        return sorted(value, key=_rank)
    return [value] if value != {} else []


def _rank(obj: Any) -> int:
    kind = obj.get("type") if isinstance(obj, dict) else None
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


_FIRST = ("marking-definition", "extension-definition", "identity")


def _reason(obj: Any, wrapper: Any) -> tuple[str, Text] | None:
    """Why an object is not brought in, None when it is."""
    if not isinstance(obj, dict) or not isinstance(obj.get("id"), str) or not isinstance(obj.get("type"), str):
        return "not-stix", _NO_OBJECT
    if obj["id"] in TLP_DEFINITIONS:
        return "tlp-definition", _TLP
    old = isinstance(wrapper, dict) and wrapper.get("type") == "bundle" and wrapper.get("spec_version") == "2.0"
    if old or (obj.get("spec_version") != "2.1" and obj["type"] not in SCO_TYPES):
        return "stix-2.0", _OLD
    return None
