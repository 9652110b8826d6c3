"""The one source of time: everything that needs "now" is handed a Clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000  # noqa: TID251  # the one place that reads the machine's clock


class FixedClock:
    """A clock that moves only when told to; ships with the code because members' tests need it too."""

    def __init__(self, text: str = "2026-11-24T12:00:00Z") -> None:
        self._now_us = parse_us(text)

    def now_us(self) -> int:
        return self._now_us

    def advance(self, *, seconds: float) -> None:
        self._now_us += round(seconds * 1_000_000)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_datetime(us: int) -> datetime:
    """An aware UTC datetime for microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=us)


def as_text(us: int) -> str:
    """TAXII 2.1, 2: `YYYY-MM-DDTHH:MM:SS.ssssssZ`, always six fraction digits."""
    seconds, micros = divmod(us, 1_000_000)
    return f"{_seconds_text(seconds)}.{micros:06d}Z"


def as_millis_text(us: int) -> str:
    """STIX 2.1, 3.2: `created` and `modified` with three fraction digits."""
    seconds, micros = divmod(us, 1_000_000)
    return f"{_seconds_text(seconds)}.{micros // 1000:03d}Z"


def parse_us(text: str) -> int:
    """Microseconds since the epoch for an RFC 3339 UTC time; finer digits are cut. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or (fraction and not fraction.isascii()) or (fraction and not fraction.isdigit()):
        raise ValueError("not an RFC 3339 time in UTC")
    moment = datetime.strptime(whole + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    return (moment - _EPOCH) // timedelta(seconds=1) * 1_000_000 + int(f"{fraction:0<6}"[:6] or 0)


_cached: tuple[int, str] = (-1, "")


def _seconds_text(seconds: int) -> str:
    # strftime costs 2 µs and most stamps of a batch share one second
    global _cached
    known, text = _cached
    if known != seconds:
        text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
        _cached = (seconds, text)
    return text
