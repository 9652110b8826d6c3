"""Rows out of long documents, one after another and never all at once: lists, CSV, JSON arrays and JSON lines."""

import codecs
import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from certs.jcs import STRICT, JsonError, load
from exchange.errors import Text
from feeds.adapter import Skipped
from feeds.faults import FeedFault
from feeds.mapping import Mapping

LINE_BYTES_AT_MOST = 1 << 20
"""Of one line, and of one JSON value."""

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Row:
    """What was read, and its cells by column: texts of a list or CSV, JSON values of JSON."""

    raw: bytes
    cells: dict[str, Any]


def rows(stream: BinaryIO, mapping: Mapping, name: str) -> Iterator[Row | Skipped]:
    """Raises FeedFault when the document ends too early, or is none of its format."""
    match mapping.format:
        case "lines":
            return _list(stream, mapping)
        case "csv":
            return _csv(stream, mapping, name)
        case "ndjson":
            return _ndjson(stream, name)
        case "json":
            return _json(stream, mapping.items, name)


# --- lists and CSV ---


def _lines(stream: BinaryIO, comment: bytes) -> Iterator[bytes]:
    first = True
    while line := stream.readline(LINE_BYTES_AT_MOST + 1):
        if len(line) > LINE_BYTES_AT_MOST:
            raise _form("A line is longer than a megabyte.", "Una línea supera un megabyte.")
        if first:
            line, first = line.removeprefix(codecs.BOM_UTF8), False
        if not (comment and line.startswith(comment)):
            yield line


def _list(stream: BinaryIO, mapping: Mapping) -> Iterator[Row | Skipped]:
    comment, columns = mapping.comment.encode(), mapping.columns or ["value"]
    single = columns[0] if len(columns) == 1 else ""
    for line in _lines(stream, comment):
        # Spamhaus: `1.10.16.0/20 ; SBL256894`. A fragment of a URL has no blank before it.
        raw = (line.split(b" " + comment, 1)[0] if comment and b" " + comment in line else line).strip()
        if not raw:
            continue
        text = raw.decode("utf-8", "surrogateescape")
        if single:
            yield Row(raw, {single: text})
        else:
            yield Row(raw, dict(zip(columns, text.split(mapping.delimiter), strict=False)))


def _csv(stream: BinaryIO, mapping: Mapping, name: str) -> Iterator[Row | Skipped]:
    lines = (one.decode("utf-8", "surrogateescape") for one in _lines(stream, mapping.comment.encode()))
    reader = csv.reader(lines, delimiter=mapping.delimiter, skipinitialspace=True, strict=True)
    columns = mapping.columns
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Skipped(f"{name}:{reader.line_num}", "row-csv", Text("A row is not CSV.", "Una fila no es CSV."))
            continue
        if not columns:
            columns = [cell.strip() for cell in cells]
        elif not cells or cells == columns:  # an empty line, or the head that is declared already
            continue
        elif len(cells) != len(columns):
            text = Text(
                f"A row has {len(cells)} cells instead of {len(columns)}.",
                f"Una fila tiene {len(cells)} celdas en lugar de {len(columns)}.",
            )
            yield Skipped(f"{name}:{reader.line_num}", "row-cells", text)
        else:
            raw = "\x1f".join(cells).encode("utf-8", "surrogateescape")
            yield Row(raw, dict(zip(columns, cells, strict=True)))


# --- JSON ---


def _ndjson(stream: BinaryIO, name: str) -> Iterator[Row | Skipped]:
    for number, line in enumerate(_lines(stream, b""), 1):
        raw = line.strip()
        if not raw:
            continue
        try:
            yield from _of(f"{name}:{number}", raw, load(raw, max_bytes=LINE_BYTES_AT_MOST), "")
        except JsonError as error:
            yield Skipped(f"{name}:{number}", error.code, Text(error.en, error.es))


def _json(stream: BinaryIO, items: str, name: str) -> Iterator[Row | Skipped]:
    document = _Document(stream)
    if items == "*":
        for key in document.members():
            yield from document.row(name, key)
        document.end()
    elif not items:
        for _ in document.elements():
            yield from document.row(name, "")
        document.end()
    else:
        for key in document.members():
            if key == items:
                for _ in document.elements():
                    yield from document.row(name, "")
                return  # what follows says nothing of ours
            with suppress(JsonError):
                document.value()
        raise _form(f"The document has no member {items}.", f"El documento no tiene el miembro {items}.")


def _of(name: str, raw: bytes, value: Any, key: str) -> Iterator[Row | Skipped]:
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, dict):
            yield Row(raw, {**one, "_key": key} if key else one)
        else:
            yield Skipped(name, "row-object", Text("A row is not an object.", "Una fila no es un objeto."))


class _Document:
    """One JSON text, read value by value."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text = ""
        self._place = 0
        self._ended = False
        self._count = 0

    def members(self) -> Iterator[str]:
        """The names of an object's members; after each, its value is to be read."""
        for _ in self._parts("{", "}"):
            _, key = self.value()
            if not isinstance(key, str) or self._sign() != ":":
                raise _broken()
            self._place += 1
            yield key

    def elements(self) -> Iterator[None]:
        """Once for each element of an array, which then is to be read."""
        return self._parts("[", "]")

    def row(self, name: str, key: str) -> Iterator[Row | Skipped]:
        self._count += 1
        try:
            raw, value = self.value()
        except JsonError as error:
            yield Skipped(f"{name}#{self._count}", error.code, Text(error.en, error.es))
            return
        yield from _of(f"{name}#{self._count}", raw, value, key)

    def value(self) -> tuple[bytes, Any]:
        """The next value and its text. Raises JsonError for one that is not strict JSON, and stands behind it."""
        self._sign()
        try:
            value, end = self._whole(STRICT)
        except JsonError:
            _, self._place = self._whole(_LOOSE)
            raise
        raw = self._text[self._place : end].encode("utf-8", "surrogatepass")
        self._place = end
        return raw, value

    def end(self) -> None:
        if self._sign():
            raise _broken()

    def _parts(self, opening: str, closing: str) -> Iterator[None]:
        if self._sign() != opening:
            raise _broken()
        self._place += 1
        if self._sign() == closing:
            self._place += 1
            return
        while True:
            yield None
            sign = self._sign()
            self._place += 1
            if sign == closing:
                return
            if sign != ",":
                raise _broken()

    def _whole(self, decoder: json.JSONDecoder) -> tuple[Any, int]:
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._place)
                if end < len(self._text) or not self._fill():  # a number may go on in the next chunk
                    return value, end
            except json.JSONDecodeError:
                if not self._fill():
                    raise _broken() from None
            except RecursionError:
                raise _form("The JSON is nested too deep.", "El JSON está anidado en exceso.") from None

    def _sign(self) -> str:
        """The next sign that is not white space, not taken; "" at the end."""
        while True:
            while self._place < len(self._text):
                sign = self._text[self._place]
                if sign not in " \t\r\n":
                    return sign
                self._place += 1
            if not self._fill():
                return ""

    def _fill(self) -> bool:
        """More text; False when there is none. Raises FeedFault when a single value does not end."""
        if self._ended:
            return False
        if len(self._text) - self._place > LINE_BYTES_AT_MOST:
            raise _form("A JSON value is longer than a megabyte, or broken.", "Un valor JSON supera un megabyte o está dañado.")  # fmt: skip
        data = self._stream.read(_CHUNK)
        self._ended = not data
        try:
            more = self._decode(data, self._ended)
        except UnicodeDecodeError:
            raise _form("The JSON is not UTF-8.", "El JSON no es UTF-8.") from None
        if more:
            self._text = self._text[self._place :] + more
            self._place = 0
        return bool(more) or self._fill()


_LOOSE = json.JSONDecoder()


def _broken() -> FeedFault:
    return _form("The JSON is broken, or ends too early.", "El JSON está dañado o termina antes de tiempo.")


def _form(en: str, es: str) -> FeedFault:
    return FeedFault("feed-form", en, es)
