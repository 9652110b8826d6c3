"""STIX 2.0 raised to 2.1: new objects of the operator's own, for nobody else may change what another has made."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from certs.jcs import JsonError
from exchange.errors import Text
from exchange.times import as_millis_text, parse_us
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.bundles import SUFFIXES, objects_in, read_values
from feeds.catalogue import Source
from feeds.documents import documents
from feeds.faults import FeedFault
from feeds.identity import Identities
from feeds.observing import is_known, observables
from policies.label import TLP_DEFINITIONS

# STIX 2.1, 10.x: the vocabularies that were `labels` in 2.0. What is none of their words stays a label.
_WORDS = {
    "indicator": ("indicator_types", {"anomalous-activity", "anonymization", "benign", "compromised", "malicious-activity", "attribution", "unknown"}),
    "malware": ("malware_types", {
        "adware", "backdoor", "bot", "bootkit", "ddos", "downloader", "dropper", "exploit-kit", "keylogger", "ransomware",
        "remote-access-trojan", "resource-exploitation", "rogue-security-software", "rootkit", "screen-capture", "spyware",
        "trojan", "unknown", "virus", "webshell", "wiper", "worm",
    }),
    "tool": ("tool_types", {
        "denial-of-service", "exploitation", "information-gathering", "network-capture", "credential-exploitation",
        "remote-access", "vulnerability-scanning", "unknown",
    }),
    "threat-actor": ("threat_actor_types", {
        "activist", "competitor", "crime-syndicate", "criminal", "hacker", "insider-accidental", "insider-disgruntled",
        "nation-state", "sensationalist", "spy", "terrorist", "unknown",
    }),
    "report": ("report_types", {
        "attack-pattern", "campaign", "identity", "indicator", "intrusion-set", "malware", "observed-data", "threat-actor",
        "threat-report", "tool", "vulnerability",
    }),
}  # fmt: skip
_TYPES = frozenset((*_WORDS, "attack-pattern", "campaign", "course-of-action", "identity", "intrusion-set", "vulnerability", "observed-data", "relationship", "sighting", "marking-definition"))  # fmt: skip
_REFERENCES = re.compile(r".*_refs?").fullmatch
_START = re.compile(r"\b(START|STOP) (?=')")

_CUSTOM = Text("Its type is not of STIX 2.0's core.", "Su tipo no es del núcleo de STIX 2.0.")
_OBSERVED = Text(
    "None of its observables is of a type that STIX 2.1 has.", "Ninguno de sus observables es de un tipo de STIX 2.1."
)
_NOT_OLD = Text("This is not a STIX 2.0 object.", "Esto no es un objeto STIX 2.0.")
_TLP = Text("Everybody has the TLP definitions.", "Todos tienen ya las definiciones de TLP.")


class RaisingAdapter:
    """STIX 2.0 bundles from a file, a folder or a URL."""

    converts = True
    full_state = False
    edition = 2

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._raise = Raising(operator, source)

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        return await documents(source, cursor, SUFFIXES)

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        for part in fetched.parts:
            yield from old_records(part, self._source.size_limit_bytes)

    def objects(self, record: Record) -> Iterator[dict[str, Any]]:
        yield from self._raise(record)


def old_records(part: Part, limit: int) -> Iterator[Record | Skipped]:
    """The objects of a bundle that can be raised; of one id, the newest."""
    try:
        found = [obj for value in read_values(part.name, part.read(), limit) for obj in objects_in(value)]
    except JsonError as error:
        yield Skipped(part.name, error.code, Text(error.en, error.es))
        return
    except FeedFault as fault:
        yield Skipped(part.name, fault.code, fault.text)
        return
    newest: dict[str, dict[str, Any]] = {}
    lost: set[str] = set()
    for obj in found:
        skipped = _why_not(obj, part.name)
        if skipped is not None:
            yield skipped
            lost.add(skipped.key)
        elif str(obj.get("modified", "")) >= str(newest.get(obj["id"], {}).get("modified", "")):
            newest[obj["id"]] = obj
    lost -= newest.keys() | TLP_DEFINITIONS.keys()
    for key, obj in newest.items():
        yield Record(key, _without(obj, lost) if lost else obj)


def _without(obj: dict[str, Any], lost: set[str]) -> dict[str, Any]:
    """Without references to what its own document gives and cannot be raised: whose id alone does not tell."""
    made = dict(obj)
    for name, value in obj.items():
        if name.endswith("_refs") and isinstance(value, list):
            made[name] = [one for one in value if not isinstance(one, str) or one not in lost]
        elif name.endswith("_ref") and isinstance(value, str) and value in lost:
            made[name] = ""
    return made


def _why_not(obj: Any, name: str) -> Skipped | None:
    if not isinstance(obj, dict) or "spec_version" in obj or not _has_text(obj, "id", "type"):
        return Skipped(name, "not-stix-2.0", _NOT_OLD)
    if obj["id"] in TLP_DEFINITIONS:
        return Skipped(obj["id"], "tlp-definition", _TLP, key=obj["id"])
    if obj["type"] not in _TYPES:
        return Skipped(obj["id"], "stix-2.0-custom", _CUSTOM, key=obj["id"])
    inner = obj.get("objects") if obj["type"] == "observed-data" else None
    if isinstance(inner, dict) and not any(map(is_known, inner.values())):
        return Skipped(obj["id"], "stix-2.0-observed", _OBSERVED, key=obj["id"])
    return None


def _has_text(obj: dict[str, Any], *names: str) -> bool:
    return all(isinstance(obj.get(name), str) for name in names)


class Raising:
    """Makes of one 2.0 object the 2.1 object that stands for it, with references to what stands for the others. Before
    observed data comes what was observed."""

    def __init__(self, operator: str, source: Source) -> None:
        self._source = source
        self._ids = Identities(operator, source.name)

    def __call__(self, record: Record) -> list[dict[str, Any]]:
        old = record.value
        if old["type"] != "observed-data":
            return [self._raised(old)]
        seen = observables(old, self._ids)
        made = self._raised({name: value for name, value in old.items() if name != "objects"})
        made["object_refs"] = [one["id"] for one in seen]
        if old.get("object_marking_refs"):  # else the source's own, by the attestation that covers them
            seen = [{**one, "object_marking_refs": made["object_marking_refs"]} for one in seen]
        return [*seen, made]

    def _raised(self, old: dict[str, Any]) -> dict[str, Any]:
        made = {name: self._refer(name, value) for name, value in old.items() if not name.startswith("x_")}
        made |= {"spec_version": "2.1", "id": self._new(old["id"]), "created_by_ref": self._ids.operator}
        # 2.1 wants milliseconds, which 2.0 left to its writers.
        made |= {name: as_millis_text(parse_us(made[name])) for name in ("created", "modified") if name in made}
        made["external_references"] = [
            {"source_name": self._source.name, "external_id": old["id"], "description": "Raised from STIX 2.0"},
            *(one for one in old.get("external_references", ()) if isinstance(one, dict)),
        ]
        if not old.get("object_marking_refs") and old["type"] != "marking-definition":
            made["object_marking_refs"] = [self._source.marking]
        change = _CHANGES.get(old["type"])
        if change is not None:
            change(made)
        return _worded(made)

    def _refer(self, name: str, value: Any) -> Any:
        if name == "granular_markings":
            return [{key: self._refer(key, one) for key, one in mark.items()} for mark in value]
        if not _REFERENCES(name):
            return value
        if isinstance(value, list):
            return [self._new(one) for one in value if _stands(one)]
        if not _stands(value):
            raise ValueError("it refers to an object that is not raised")
        return self._new(value)

    def _new(self, old_id: str) -> str:
        if old_id in TLP_DEFINITIONS:
            return old_id
        return self._ids.make(old_id.partition("--")[0], old_id)


def _stands(old_id: str) -> bool:
    """Whether an object of such an id is raised: nothing refers to what nobody has."""
    return old_id.partition("--")[0] in _TYPES


def _worded(made: dict[str, Any]) -> dict[str, Any]:
    """Labels that are words of the type's vocabulary become its own property."""
    labels = made.pop("labels", [])
    name, words = _WORDS.get(made["type"], ("", set()))
    typed = [one for one in labels if one in words]
    rest = [one for one in labels if one not in words and one.strip()]
    if typed:
        made[name] = typed
    if rest:
        made["labels"] = rest
    return made


def _indicator(made: dict[str, Any]) -> None:
    # 2.1 writes START and STOP as timestamps (t'…') where 2.0 had plain strings.
    made |= {"pattern_type": "stix", "pattern_version": "2.1", "pattern": _START.sub(r"\1 t", made["pattern"])}


def _malware(made: dict[str, Any]) -> None:
    made.setdefault("is_family", True)


def _marking(made: dict[str, Any]) -> None:
    for name in ("modified", "labels", "external_references"):
        made.pop(name, None)


_CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "indicator": _indicator, "malware": _malware, "marking-definition": _marking,
}  # fmt: skip
