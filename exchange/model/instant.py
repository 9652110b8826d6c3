"""STIX timestamps as text that sorts by time, at whatever precision they were written."""

import re

_SHAPE = re.compile(
    r"[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9]))"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?Z"
).fullmatch


def instant(text: str) -> str:
    """The sortable key of a timestamp: comparing two keys as strings compares the instants.

    `text` is `YYYY-MM-DDTHH:MM:SS[.digits]Z` (RFC 3339 as STIX 2.1, 2.16 narrows it): a real date of the years 0001 to
    9999, in UTC, upper-case T and Z, seconds up to 59. The key drops the Z and the fraction's trailing zeros, so that
    12:00:00Z and 12:00:00.000Z are one instant, and no digit is lost to a float or a datetime.

    Raises ValueError for any other text.
    """
    if _SHAPE(text) is None or text.startswith("0000") or (text[5:10] == "02-29" and not _leap(int(text[:4]))):
        raise ValueError(f"not a UTC timestamp: {text[:40]!r}")
    key = text[:-1]
    # The shortest fraction puts the point at index 19; without one, trailing zeros are seconds.
    return key.rstrip("0").rstrip(".") if len(key) > 19 else key


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
