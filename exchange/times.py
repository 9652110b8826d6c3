"""Microseconds since the epoch, as datetimes and as the texts of TAXII and STIX. Nobody here asks what time it is."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE = _EPOCH.replace(tzinfo=None)


def as_datetime(us: int) -> datetime:
    """An aware UTC datetime for microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=us)


def as_us(moment: datetime) -> int:
    """Microseconds since the epoch for an aware datetime."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


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
    if not text.endswith("Z") or (fraction and not (fraction.isascii() and fraction.isdigit())):
        raise ValueError("not an RFC 3339 time in UTC")
    moment = datetime.strptime(whole + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    return (moment - _EPOCH) // timedelta(seconds=1) * 1_000_000 + int(f"{fraction:0<6}"[:6] or 0)


@lru_cache(maxsize=256)
def _seconds_text(seconds: int) -> str:
    # Most stamps of a batch share one second, and a poller asks about the same one again and again.
    return (_NAIVE + timedelta(seconds=seconds)).isoformat()
