"""One row of a declared source: what it is known by, and the objects that stand for it."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from exchange.errors import Text
from exchange.times import as_millis_text
from feeds.adapter import Record, Skipped
from feeds.bulletins import is_link
from feeds.catalogue import Source
from feeds.identity import Identities
from feeds.mapping import Mapping, Times
from feeds.reading import Row
from feeds.refang import refang
from feeds.values import NoValue, Value, file_pattern, pattern, read_hashes, read_value

LICENCE = "=licence"
FAMILY = "=malware:"
"""Names of records that are no rows."""

FAMILIES_KNOWN = 1_000
"""Whose ids are at hand: most rows name one of a few."""
_DAY_SECONDS = 86_400
_COLUMN = re.compile(r"\{([^{}]+)\}")


class RowMaker:
    """The mapping, ready to be applied row by row."""

    def __init__(self, source: Source, mapping: Mapping, ids: Identities) -> None:
        self._source = source
        self._mapping = mapping
        self._ids = ids
        self._times = Times(mapping)
        self._blank = frozenset(mapping.blank)
        self._phases = [
            dict(zip(("kill_chain_name", "phase_name"), chain.split("/"), strict=True)) for chain in mapping.kill_chain
        ]
        self._marks = [source.marking, ids.make("marking-definition", LICENCE)]
        self._name, self._description = (_COLUMN.split(text) for text in (mapping.name, mapping.description))
        self._family_id = lru_cache(FAMILIES_KNOWN)(self._new_family_id)
        self._skips = [rule for rule in mapping.when if rule.skip]
        self._named_by = mapping.key or next(iter(mapping.hashes.values()), mapping.value)
        self._port = "" if mapping.key else mapping.port
        timed = mapping.first_seen or mapping.last_seen
        self._lifetime = 0 if timed else int(mapping.valid_days * _DAY_SECONDS)

    # --- from a row to a record ---

    def record(self, row: Row) -> Record | Skipped | None:
        cells = row.cells
        for rule in self._skips:
            if rule.holds(self._cell(cells, rule.column)):
                return None
        text = self._cell(cells, self._named_by)
        if not text:
            why = _NO_KEY if self._named_by in cells or "." in self._named_by else _no_column(self._named_by, cells)
            return Skipped(row.raw[:80].decode("utf-8", "replace"), "row-key", why)
        # The value itself is looked at when the row is new: a million rows that are not must be cheap.
        key = text if self._mapping.key or "://" in text else text.lower().rstrip(".")
        if self._port and (port := self._cell(cells, self._port)):
            key = f"{key}:{port}"
        return Record(key, cells, raw=row.raw, lifetime_seconds=self._lifetime)

    def _value(self, cells: dict[str, Any]) -> tuple[str, str]:
        """What the row is known by, and its pattern. Raises NoValue."""
        mapping = self._mapping
        if mapping.hashes:
            known = read_hashes({name: self._cell(cells, column) for name, column in mapping.hashes.items()})
            return next(iter(known.values())), file_pattern(known)
        kind, text = mapping.kind, self._cell(cells, mapping.value)
        if mapping.kind_column:
            word = self._cell(cells, mapping.kind_column)
            if word not in mapping.kinds:
                raise NoValue("kind", word)
            kind = mapping.kinds[word]
        if mapping.port and (port := self._cell(cells, mapping.port)):
            kind, text = "ip-port", f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
        value: Value = read_value(kind, refang(text) if mapping.refang else text)
        return value.text, pattern(value)

    def _cell(self, cells: dict[str, Any], column: str) -> str:
        value = cells.get(column)
        if type(value) is str:  # nearly always, and several times a row
            value = value.strip()
            return "" if value in self._blank else value
        return "" if (value := self._raw(cells, column)) is None else _text(value)

    def _raw(self, cells: Any, column: str) -> Any:
        """What a row says in a column; None for nothing."""
        if column not in cells and "." in column:
            for name in column.split("."):
                cells = cells.get(name) if isinstance(cells, dict) else None
            value = cells
        else:
            value = cells.get(column)
        if isinstance(value, str):
            value = value.strip()
            return None if value in self._blank else value
        return value

    # --- from a record to objects ---

    def objects(self, record: Record) -> Iterator[dict[str, Any]]:
        cells, mapping = record.value, self._mapping
        text, matched = self._value(cells)
        name = self._filled(self._name, cells) or text
        obj: dict[str, Any] = {
            "type": "indicator",
            "spec_version": "2.1",
            "id": self._ids.make("indicator", record.key, record.epoch),
            "created_by_ref": self._ids.operator,
            "name": name[:1_000],
            "pattern": matched,
            "pattern_type": "stix",
            "pattern_version": "2.1",
            "indicator_types": mapping.indicator_types,
            "external_references": self._references(cells, record.key),
            "object_marking_refs": self._marks,
        }
        obj |= self._dates(cells)
        if self._phases:
            obj["kill_chain_phases"] = self._phases
        if (description := self._filled(self._description, cells)) is not None:
            obj["description"] = description[:10_000]
        if labels := list(dict.fromkeys((*mapping.labels, *self._tags(cells)))):
            obj["labels"] = labels
        if (confidence := self._confidence(cells)) is not None:
            obj["confidence"] = confidence
        for rule in mapping.when:
            if rule.holds(self._cell(cells, rule.column)):
                obj |= {"confidence": rule.confidence} if rule.confidence is not None else {}
                obj |= {"indicator_types": rule.indicator_types} if rule.indicator_types is not None else {}
        yield obj
        family = self.family_of(cells)
        if family:
            yield self._indicates(obj, family, record)

    def licence(self) -> dict[str, Any]:
        said = f"{self._source.publisher}: {self._source.licence}"
        return {
            "type": "marking-definition", "spec_version": "2.1", "id": self._marks[1],
            "created_by_ref": self._ids.operator, "name": f"Licence of {self._source.name}",
            "definition_type": "statement", "definition": {"statement": said},
            "object_marking_refs": [self._source.marking],  # unmarked, it would stay in its country
        }  # fmt: skip

    def family(self, name: str, epoch: int) -> dict[str, Any]:
        return {
            "type": "malware", "spec_version": "2.1", "id": self._family_id(name, epoch),
            "created_by_ref": self._ids.operator, "name": name, "is_family": True,
            "object_marking_refs": self._marks,
        }  # fmt: skip

    def family_of(self, cells: dict[str, Any]) -> str:
        if not self._mapping.malware:
            return ""
        name = self._cell(cells, self._mapping.malware)
        for end in self._mapping.malware_drop:
            name = name.removesuffix(end)
        return name.strip()[:200] if name.isprintable() else ""

    def _new_family_id(self, name: str, epoch: int = 0) -> str:
        return self._ids.make("malware", f"{FAMILY}{name.lower()}", epoch)

    def _indicates(self, indicator: dict[str, Any], family: str, record: Record) -> dict[str, Any]:
        dates: dict[str, Any] = {name: indicator[name] for name in ("created", "modified") if name in indicator}
        return {
            "type": "relationship", "spec_version": "2.1", "relationship_type": "indicates",
            "id": self._ids.make("relationship", record.key, record.epoch), "created_by_ref": self._ids.operator,
            "source_ref": indicator["id"], "target_ref": self._family_id(family),
            "object_marking_refs": self._marks, **dates,
        }  # fmt: skip

    def _dates(self, cells: dict[str, Any]) -> dict[str, str]:
        mapping = self._mapping
        first, last = self._time(cells, mapping.first_seen), self._time(cells, mapping.last_seen)
        begin, seen = first or last, max(first, last)
        if not begin:
            return {}
        created = as_millis_text(begin)
        found = {
            "created": created,
            "valid_from": created,
            "modified": created if seen == begin else as_millis_text(seen),
        }
        if until := self._time(cells, mapping.valid_until):
            if until <= begin:
                raise ValueError("it ends before it begins")
            found["valid_until"] = as_millis_text(until)
        elif mapping.valid_days:
            found["valid_until"] = as_millis_text(seen + int(mapping.valid_days * _DAY_SECONDS) * 1_000_000)
        return found

    def _time(self, cells: dict[str, Any], column: str) -> int:
        text = self._cell(cells, column) if column else ""
        return self._times.read(text) if text else 0

    def _confidence(self, cells: dict[str, Any]) -> int | None:
        mapping = self._mapping
        text = self._cell(cells, mapping.confidence_column) if mapping.confidence_column else ""
        if not text:
            return mapping.confidence
        return max(0, min(mapping.confidence_most, round(float(text) * mapping.confidence_times)))

    def _tags(self, cells: dict[str, Any]) -> Iterator[str]:
        for column in self._mapping.tags:
            value = self._raw(cells, column)
            found = value if isinstance(value, list) else _text(value or "").split(",")
            for one in map(_text, found):
                if one.strip() and one.strip() not in self._blank:
                    yield f"{self._source.name}:{one.strip()[:200]}"

    def _references(self, cells: dict[str, Any], key: str) -> list[dict[str, str]]:
        own = {"source_name": self._source.name, "external_id": key[:1_000]}
        url = self._cell(cells, self._mapping.reference) if self._mapping.reference else ""
        if is_link(url):
            own["url"] = url
        return [own, {"source_name": self._source.publisher, "description": f"Licence: {self._source.licence}"}]

    def _filled(self, template: list[str], cells: dict[str, Any]) -> str | None:
        """The template, cut at its columns, with their cells; None when there is none, or one of its columns is blank."""
        if template == [""]:
            return None
        found = [self._cell(cells, name) for name in template[1::2]]
        if not all(found):
            return None
        filled = template.copy()
        filled[1::2] = found
        return "".join(filled)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else ""


def _no_column(name: str, cells: dict[str, Any]) -> Text:
    known = ", ".join(map(repr, list(cells)[:20]))[:300]
    return Text(
        f"A row has no column {name!r}; it has {known}. Mind value, columns and delimiter.",
        f"Una fila no tiene la columna {name!r}; tiene {known}. Revise value, columns y delimiter.",
    )


_NO_KEY = Text(
    "A row says nothing where its value or key should be.",
    "Una fila no dice nada donde debe estar su valor o su clave.",
)
