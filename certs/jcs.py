"""Strict JSON: one loader for everything untrusted, and the one canonical form that is signed, hashed, stored and served."""

import json
import re
from typing import Any, NoReturn

import orjson
import rfc8785

Json = Any
"""dict, list, str, int, float, bool or None."""

SAFE_INTEGER = 2**53 - 1
"""I-JSON (RFC 7493, 2.2): beyond it two parsers may read two numbers."""


class JsonError(ValueError):
    """Bytes that are not JSON as we accept it, or a value that has no canonical form."""

    def __init__(self, code: str, en: str, es: str, pointer: str = "") -> None:
        super().__init__(f"{code}: {en}")
        self.code = code
        self.en = en
        self.es = es
        self.pointer = pointer


def load(data: bytes, *, max_bytes: int, max_depth: int = 32) -> Json:
    """Parse untrusted JSON. Raises JsonError.

    Refused by name: too many bytes, not UTF-8, a byte order mark, nesting deeper than `max_depth` (found by a linear scan
    before anything is parsed), duplicate member names at any depth, NaN, Infinity, numbers out of double range, integers
    beyond ±(2^53 - 1), lone surrogates, NUL characters.
    """
    if len(data) > max_bytes:
        raise JsonError("json-too-large", f"The text has {len(data)} bytes; at most {max_bytes} are accepted.", f"El texto tiene {len(data)} bytes; se aceptan como máximo {max_bytes}.")  # fmt: skip
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("json-encoding", f"Byte {error.start} is not UTF-8.", f"El byte {error.start} no es UTF-8.") from None
    if text.startswith("\ufeff"):
        raise JsonError("json-encoding", "The text begins with a byte order mark.", "El texto comienza con una marca de orden de bytes.")
    _check_depth(data, max_depth)
    if b"\\u" in data:
        _check_escapes(text)
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        raise JsonError("json-syntax", f"Not JSON at character {error.pos}: {error.msg}.", f"No es JSON en el carácter {error.pos}.") from None


def _check_depth(data: bytes, max_depth: int) -> None:
    # Brackets alone, innermost pairs struck out pass by pass: done in C, and what is left nothing cannot be too deep.
    # Brackets inside strings may keep some; only then is the text scanned exactly.
    brackets = data.translate(None, _NOT_BRACKETS)
    for _ in range(max_depth):
        if not brackets:
            return
        fewer = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    depth = 0
    for match in _STRUCTURE.finditer(data):
        byte = match.group()[0]
        if byte in b"{[":
            depth += 1
            if depth > max_depth:
                raise JsonError("json-depth", f"The text is nested deeper than {max_depth} levels.", f"El texto está anidado a más de {max_depth} niveles.")
        elif byte in b"}]":
            depth -= 1


_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def _check_escapes(text: str) -> None:
    high = -1  # end of an unpaired high surrogate
    for match in _ESCAPE.finditer(text):
        if match.group(1) is None:
            if match.start() == high:
                _lone()
            continue
        unit = int(match.group(1), 16)
        if high >= 0 and (match.start() != high or not 0xDC00 <= unit < 0xE000):
            _lone()
        if unit == 0:
            raise JsonError("json-string", "A string holds a NUL character.", "Una cadena contiene un carácter NUL.")
        if high < 0 and 0xDC00 <= unit < 0xE000:
            _lone()
        high = match.end() if 0xD800 <= unit < 0xDC00 else -1
    if high >= 0:
        _lone()


def _lone() -> NoReturn:
    raise JsonError("json-string", "A string holds half of a surrogate pair.", "Una cadena contiene la mitad de un par sustituto.")


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise JsonError("json-duplicate-key", f"The name {name!r} occurs twice in one object.", f"El nombre {name!r} aparece dos veces en un objeto.", name)
    return found


def _constant(name: str) -> NoReturn:
    raise JsonError("json-number", f"{name} is not a JSON number.", f"{name} no es un número JSON.")


def _integer(digits: str) -> int:
    if len(digits) > 17:
        _number(digits)
    value = int(digits)
    if not -SAFE_INTEGER <= value <= SAFE_INTEGER or digits == "-0":
        _number(digits)
    return value


def _real(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")) or (value == 0 and text.startswith("-")):
        _number(text)
    return value


def _number(text: str) -> NoReturn:
    raise JsonError("json-number", f"The number {text[:40]} cannot be carried without loss.", f"El número {text[:40]} no puede transmitirse sin pérdida.")


_decode = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_real).decode


def canonical(value: Json) -> bytes:
    """The RFC 8785 form of a JSON value. Raises JsonError for what has none (NaN, unsafe integers, lone surrogates).

    orjson with sorted keys gives the same bytes sixty times faster when keys are ASCII and there is no float, no null
    and no integer beyond 2^53 - 1; everything else goes to the reference implementation.
    """
    try:
        fast = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise JsonError("json-canonical", f"The value has no canonical form: {error}.", "El valor no tiene forma canónica.") from None
    if _plain(value, fast.isascii()):
        return fast
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as error:
        raise JsonError("json-canonical", f"The value has no canonical form: {error}.", "El valor no tiene forma canónica.") from None


def _plain(value: Json, ascii_keys: bool) -> bool:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if not (ascii_keys or key.isascii()):
                return False
            if type(item) is not str and not _plain(item, ascii_keys):
                return False
        return True
    if kind is list:
        return all(type(item) is str or _plain(item, ascii_keys) for item in value)
    if kind is int:
        return -SAFE_INTEGER <= value <= SAFE_INTEGER
    return kind is str or kind is bool
