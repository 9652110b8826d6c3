"""Strict JSON: one loader for everything untrusted, and the one canonical form that is signed, hashed and served."""

import json
import re
from array import array
from itertools import accumulate
from typing import Any, NoReturn

import orjson
import rfc8785

from certs.faults import Fault

Json = Any
"""dict, list, str, int, float, bool or None."""

SAFE_INTEGER = 2**53 - 1
"""I-JSON (RFC 7493, 2.2): beyond it two parsers may read two numbers."""


class JsonError(Fault, ValueError):
    """Bytes that are not JSON as we accept it, or a value that has no canonical form."""

    def __init__(self, code: str, en: str, es: str, pointer: str = "") -> None:
        super().__init__(code, en, es)
        self.pointer = pointer
        """The name at fault, where one is known; else ""."""


def load(data: bytes, *, max_bytes: int, max_depth: int = 32) -> Json:
    """Parse untrusted JSON. Raises JsonError and nothing else.

    Refused by name: too many bytes, not UTF-8, a byte order mark, nesting deeper than `max_depth` (found by a linear
    scan before anything is parsed), duplicate member names at any depth, NaN, Infinity, numbers out of double range,
    integers beyond ±(2^53 - 1), minus zero, lone surrogates, NUL characters.
    """
    if len(data) > max_bytes:
        raise JsonError(
            "json-too-large",
            f"The text has {len(data)} bytes; at most {max_bytes} are accepted.",
            f"El texto tiene {len(data)} bytes; se aceptan como máximo {max_bytes}.",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError(
            "json-encoding", f"Byte {error.start} is not UTF-8.", f"El byte {error.start} no es UTF-8."
        ) from None
    if text.startswith("\ufeff"):
        raise JsonError(
            "json-encoding",
            "The text begins with a byte order mark.",
            "El texto comienza con una marca de orden de bytes.",
        )
    _check_depth(data, max_depth)
    if b"\\u" in data:
        _check_escapes(data)
    elif (value := _as_it_stands(data)) is not None:
        return value
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(
            "json-syntax",
            f"Not JSON at character {error.pos}: {error.msg}.",
            f"No es JSON en el carácter {error.pos}.",
        ) from None


def load_canonical(data: bytes, *, max_bytes: int) -> tuple[Json, bool]:
    """The value of an untrusted text, and whether the text is its canonical form. Raises JsonError as `load` does."""
    if len(data) <= max_bytes and b"\\u" not in data and data.count(b"[") + data.count(b"{") <= _SHALLOW:
        try:
            value = orjson.loads(data)
            same = orjson.dumps(value, option=_SORTED) == data
        except (TypeError, ValueError):
            same, value = False, None
        if same and (_plain_ascii(value) if data.isascii() else _plain(value)):
            return value, True  # written back as it stands, and without what orjson writes otherwise than RFC 8785
    value = load(data, max_bytes=max_bytes)
    return value, canonical(value) == data


_SHALLOW = 32
"""Fewer brackets than this cannot be nested too deep."""


def _as_it_stands(data: bytes) -> Json | None:
    """The value of a text that is written back as the very same bytes, as members' clients write; None for any other.

    orjson reads six times faster, but takes the last of two equal names, and rounds. Either would be written back
    otherwise. Minus zero alone survives both ways, and is left to the strict reader with everything that differs.
    """
    try:
        value = orjson.loads(data)
        same = orjson.dumps(value, option=_SORTED) == data
    except (TypeError, ValueError):
        return None
    return value if same and b"-0.0" not in data else None


def _check_depth(data: bytes, max_depth: int) -> None:
    # A bracket inside a string must not count: ["]",["]",… hides its depth from a scan that takes it for one. So keep
    # quotes and brackets only (escapes first, or \" would end its string), then drop every second part between quotes.
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = data.translate(_STEPS, _NEITHER)
    if marks.count(b"\x01") <= max_depth:
        return  # the usual single object: it cannot be too deep
    marks = marks.replace(b'""', b"")
    steps = b"".join(marks.split(b'"')[::2])
    rest = steps
    for _ in range(max_depth):
        rest = rest.replace(b"\x01\xff", b"")  # the innermost pairs; all are gone after as many times as it is deep
        if not rest:
            return
    depth = 0
    for start in range(0, len(steps), _STEPS_AT_ONCE):
        depths = list(accumulate(array("b", steps[start : start + _STEPS_AT_ONCE]), initial=depth))
        if max(depths) > max_depth:
            raise JsonError(
                "json-depth",
                f"The text is nested deeper than {max_depth} levels.",
                f"El texto está anidado a más de {max_depth} niveles.",
            )
        depth = depths[-1]


_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_NEITHER = bytes(byte for byte in range(256) if byte not in b'{}[]"')
_STEPS_AT_ONCE = 65_536  # a hostile text is refused after its first part


def _check_escapes(data: bytes) -> None:
    # Only these three beginnings can be at fault; Spanish text escaped to ASCII has none of them.
    if not (b"\\u0000" in data or b"\\ud" in data or b"\\uD" in data):
        return
    rest = _PAIR.sub(b"  ", data.replace(b"\\\\", b"  "))
    fault = _HALF_OR_NUL.search(rest)
    if fault is None:
        return
    if fault.group(1) == b"0000":
        raise JsonError("json-string", "A string holds a NUL character.", "Una cadena contiene un carácter NUL.")
    raise JsonError(
        "json-string", "A string holds half of a surrogate pair.", "Una cadena contiene la mitad de un par sustituto."
    )


_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF_OR_NUL = re.compile(rb"\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})")


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = _repeated(pairs)
        raise JsonError(
            "json-duplicate-key",
            f"The name {twice[:64]!r} occurs twice in one object.",
            f"El nombre {twice[:64]!r} aparece dos veces en un objeto.",
            twice,
        )
    return found


def _repeated(pairs: list[tuple[str, Json]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("asked only when a name occurs twice")


def _constant(name: str) -> NoReturn:
    raise JsonError("json-number", f"{name} is not a JSON number.", f"{name} no es un número JSON.")


def _integer(digits: str) -> int:
    if len(digits) > 17 or digits == "-0":  # 17: a sign and the sixteen digits of 2^53 - 1
        _lossy(digits)
    value = int(digits)
    if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
        _lossy(digits)
    return value


def _real(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        _lossy(text)
    if value == 0 and (text.startswith("-") or text.lower().partition("e")[0].strip("0.")):
        _lossy(text)  # minus zero, or a number too small to be anything but zero
    return value


def _lossy(text: str) -> NoReturn:
    raise JsonError(
        "json-number",
        f"The number {text[:40]} cannot be carried without loss.",
        f"El número {text[:40]} no puede transmitirse sin pérdida.",
    )


STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_real)
"""For whoever reads a text value by value (`raw_decode`), and counts bytes and depth himself. Raises JsonError too."""

_decode = STRICT.decode


def canonical(value: Json) -> bytes:
    """The RFC 8785 form of a JSON value.

    Raises JsonError ("json-canonical") for what has none: NaN, unsafe integers, lone surrogates, other types.

    orjson with sorted keys gives the same bytes some sixty times faster unless there is a float (written otherwise)
    or a name beyond ASCII (sorted by code point, not by UTF-16 unit); those go to the reference implementation.
    """
    try:
        fast = orjson.dumps(value, option=_SORTED)
        if _plain_ascii(value) if fast.isascii() else _plain(value):
            return fast
        return rfc8785.dumps(value)
    except (TypeError, ValueError, RecursionError, rfc8785.CanonicalizationError) as error:
        raise JsonError(
            "json-canonical", f"The value has no canonical form: {error}.", "El valor no tiene forma canónica."
        ) from None


_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def _plain_ascii(value: Json) -> bool:
    """Whether the value is made of JSON's own types without a float. Types are compared exactly: orjson also writes
    dates, dataclasses and enumerations, which JSON does not have."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return kind in _PLAIN
    for item in value.values() if kind is dict else value:
        kind = type(item)
        if kind is str:
            continue
        if kind is dict or kind is list:
            if not _plain_ascii(item):
                return False
        elif kind not in _PLAIN:
            return False
    return True


def _plain(value: Json) -> bool:
    """The same for a text that is not all ASCII, whose names must be."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return kind in _PLAIN
    if kind is dict and not all(map(str.isascii, value)):
        return False
    for item in value.values() if kind is dict else value:
        kind = type(item)
        if kind is str:
            continue
        if kind is dict or kind is list:
            if not _plain(item):
                return False
        elif kind not in _PLAIN:
            return False
    return True


_PLAIN = frozenset((str, int, bool, type(None)))
