"""The one source of time: everything that needs "now" is handed a Clock."""

import time
from typing import Protocol

from exchange.times import parse_us


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
