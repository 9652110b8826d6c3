"""The words and values of an agreement document: closed lists, and the form of names, times and durations."""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

Country = Literal["US", "MX"]
Direction = Literal["US>MX", "MX>US", "US>US", "MX>MX"]
Tlp = Literal["clear", "green", "amber", "amber+strict", "red"]
Pap = Literal["clear", "green", "amber", "red"]
Confidence = Literal["none", "low", "med", "high", "confirmed"]
Assurance = Literal["unsigned", "imported", "gateway-signed", "originator-signed"]
ObjectClass = Literal[
    "indicator",
    "malware",
    "infrastructure",
    "observed",
    "vulnerability",
    "context",
    "relation",
    "sighting",
    "report",
    "other",
]
Status = Literal["active", "suspended", "withdrawn"]
Identity = Literal["reveal", "reveal-with-consent", "country-only", "anonymise"]
Granularity = Literal["full", "sector-count", "count"]
View = Literal["full", "tearline", "anonymised"]

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(duration: str) -> int:
    """A duration of the document ("90s", "30m", "4h", "180d") in seconds."""
    return int(duration[:-1]) * _UNIT_SECONDS[duration[-1]]


def instant(text: str) -> datetime:
    """An RFC 3339 time, aware. Raises ValueError for anything else, a time without offset included."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("a time without an offset")
    return parsed


def must(code: str, accepts: Callable[[str], object]) -> AfterValidator:
    """A check on text whose failure bears our own stable code."""

    def check(value: str) -> str:
        try:
            accepted = accepts(value)
        except ValueError:
            accepted = None
        if not accepted:
            raise PydanticCustomError(code, "not of the expected form")
        return value

    return AfterValidator(check)


def _is_time(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) is not None and bool(instant(text))


def _is_date(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None and bool(date.fromisoformat(text))


Time = Annotated[str, must("bad-date", _is_time)]
Date = Annotated[str, must("bad-date", _is_date)]
Duration = Annotated[str, must("bad-duration", re.compile(r"[1-9]\d{0,4}[smhd]", re.ASCII).fullmatch)]
Digest = Annotated[str, must("bad-form", re.compile(r"[0-9a-f]{64}").fullmatch)]
Name = Annotated[str, must("bad-form", re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*").fullmatch)]
"""A slug: of a member, role, sector, collection, feed, purpose. ASCII, so that keys sort the same everywhere."""
Prose = Annotated[str, must("missing-text", str.strip)]
PermitId = Annotated[str, must("bad-form", re.compile(r"P(-[A-Z0-9]+)+").fullmatch)]
ForbidId = Annotated[str, must("bad-form", re.compile(r"F(-[A-Z0-9]+)+").fullmatch)]
Caveat = Annotated[
    str,
    must(
        "unknown-word",
        re.compile(
            r"noforn|orcon|proprietary|pii-possible|classified|opaque(:marking-definition--[0-9a-f-]{36})?"
        ).fullmatch,
    ),
]
MarkingId = Annotated[str, must("bad-form", re.compile(r"marking-definition--[0-9a-f-]{36}").fullmatch)]


class Form(BaseModel):
    """A table of the document. Unknown keys are errors everywhere; nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Text(Form):
    en: Prose
    es: Prose
