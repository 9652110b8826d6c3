"""The data types of STIX 2.1, section 2, as pydantic field types that name the finding of a breach.

Everything is strict: no text becomes a number, no 75.0 an integer, no 1 a boolean. Breaches that pydantic would name in
its own way carry the code of our table instead; the facts of a text travel in the error's context.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, FailFast, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from exchange.model.instant import instant

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""RFC 4122, versions 1 to 5; lower case, because identifiers are compared as text."""

TYPE_NAME = "[a-z][a-z0-9]*(?:-[a-z0-9]+)*"

SAFE_INTEGER = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Shape:
    """A string that matches a regular expression (of Rust's dialect), with the code of the finding when it does not."""

    code: str
    pattern: str
    facts: tuple[tuple[str, str], ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            core_schema.str_schema(strict=True, pattern=self.pattern),
            custom_error_type=self.code,
            custom_error_message=self.code,
            custom_error_context=dict(self.facts),
        )


def ref(*types: str, rule: str = "IDN-10") -> Shape:
    """An identifier of one of `types`."""
    allowed = (("allowed", ", ".join(types)), ("rule", rule))
    return Shape("stix-ref", f"^(?:{'|'.join(types)})--{UUID}$", allowed)


def ref_except(*types: str, allowed: str, rule: str = "IDN-10") -> AfterValidator:
    """An identifier of any type but `types`: what is allowed where custom types may stand too."""
    return AfterValidator(_Except(frozenset(types), allowed, rule))


_IDENTIFIER = re.compile(rf"({TYPE_NAME})--{UUID}").fullmatch


def is_identifier(text: object) -> bool:
    """Whether it is a well formed identifier of any type but bundle, which is never referred to (section 8)."""
    return isinstance(text, str) and _IDENTIFIER(text) is not None and not text.startswith("bundle--")


@dataclass(frozen=True, slots=True)
class _Except:
    types: frozenset[str]
    allowed: str
    rule: str

    def __call__(self, text: str) -> str:
        match = _IDENTIFIER(text)
        if match is None or match[1] in self.types:
            raise PydanticCustomError("stix-ref", "stix-ref", {"allowed": self.allowed, "rule": self.rule})
        return text


def between(low: float, high: float, rule: str) -> AfterValidator:
    """A number within both bounds; `rule` is the row that sets them."""

    facts = {"low": low, "high": "∞" if high == inf else high, "rule": rule}

    def check(value: float) -> float:
        if not low <= value <= high:
            raise PydanticCustomError("stix-range", "stix-range", facts)
        return value

    return AfterValidator(check)


MILLISECONDS = len("2026-01-31T23:59:59.000Z")


def _precise(text: str) -> str:
    key = instant(text)
    if len(text) < MILLISECONDS:
        raise PydanticCustomError("stix-timestamp-precision", "stix-timestamp-precision")
    return key


# Values of the algorithms of hash-algorithm-ov (10.7). A producer's own names are legal, and any text under them.
_HASHES: dict[str, Callable[[str], object]] = {
    "MD5": re.compile(r"[0-9a-fA-F]{32}").fullmatch,
    "SHA-1": re.compile(r"[0-9a-fA-F]{40}").fullmatch,
    "SHA-256": re.compile(r"[0-9a-fA-F]{64}").fullmatch,
    "SHA-512": re.compile(r"[0-9a-fA-F]{128}").fullmatch,
    "SHA3-256": re.compile(r"[0-9a-fA-F]{64}").fullmatch,
    "SHA3-512": re.compile(r"[0-9a-fA-F]{128}").fullmatch,
    "SSDEEP": re.compile(r"[0-9]+:[0-9a-zA-Z/+]{0,128}:[0-9a-zA-Z/+]{0,128}").fullmatch,
    "TLSH": re.compile(r"(?:T1)?[0-9a-fA-F]{70}").fullmatch,
}
_HASH_NAME = re.compile(r"[a-zA-Z0-9_-]{3,250}").fullmatch


def _hashes(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if _HASH_NAME(name) is None:
            raise PydanticCustomError("stix-hash-name", "stix-hash-name")
        if name in _HASHES and not _HASHES[name](value):
            raise PydanticCustomError("stix-hash", "stix-hash", {"name": name})
    return values


HEX = re.compile(r"(?:[0-9a-f]{2})+").fullmatch
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch

T = TypeVar("T")

ListOf = Annotated[list[T], FailFast()]
"""A list of which the first bad item is reported: a million of them must not cost a million errors."""
Text = Annotated[str, Field(min_length=1)]
"""A string that says something: the Standard lets any be empty, but a pattern could not be read."""
Timestamp = Annotated[str, AfterValidator(instant)]
"""Its ValueError is the only one that a field raises: `faults.py` knows it as stix-timestamp."""
VersionTimestamp = Annotated[str, AfterValidator(_precise)]
"""`created` and `modified`: milliseconds at least (3.2)."""
Integer = Annotated[int, Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
Count = Annotated[int, between(0, SAFE_INTEGER, "COM-01")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Dictionary = dict[str, Any]
"""Section 2.3. Its keys and emptiness are checked for the whole object at once (`content.py`)."""
Hashes = Annotated[dict[str, str], AfterValidator(_hashes)]
Hex = Annotated[str, Shape("stix-hex", r"^(?:[0-9a-f]{2})+$")]
Binary = Annotated[
    str, Shape("stix-binary", r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")
]  # fmt: skip
MarkingRef = Annotated[str, ref("marking-definition", rule="MRK-04")]
IdentityRef = Annotated[str, ref("identity")]
