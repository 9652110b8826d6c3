"""The one source of time: everything that needs "now" is handed a Clock."""

import time
from typing import Protocol

from exchange.times import parse_us


class Clock(Protocol):
    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        ...

    def steady_us(self) -> int:
        """Microseconds since some moment, which no setting of the clock changes: what time has really passed."""
        ...


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000  # noqa: TID251  # the one place that reads the machine's clock

    def steady_us(self) -> int:
        # While a machine is suspended time passes too, which only Linux's boot time counts.
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1000


class FixedClock:
    """A clock that moves only when told to; ships with the code because members' tests need it too."""

    def __init__(self, text: str = "2026-11-24T12:00:00Z") -> None:
        self._now_us = parse_us(text)
        self._steady_us = 0

    def now_us(self) -> int:
        return self._now_us

    def steady_us(self) -> int:
        return self._steady_us

    def advance(self, *, seconds: float) -> None:
        """Let time pass."""
        self._steady_us += round(seconds * 1_000_000)
        self.step(seconds=seconds)

    def step(self, *, seconds: float) -> None:
        """Set it forward or back; no time passes."""
        self._now_us += round(seconds * 1_000_000)
