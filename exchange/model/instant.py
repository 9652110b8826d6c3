"""STIX timestamps as text that sorts by time, at whatever precision they were written."""

import re
from functools import lru_cache

_TIME = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,40})?Z"
_COMMON_DAY = re.compile(
    r"(?!0000)[0-9]{4}-"
    r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)" + _TIME
).fullmatch
_LEAP_DAY = re.compile(r"([0-9]{4})-02-29" + _TIME).fullmatch


@lru_cache(maxsize=4096)  # of short texts: an object's times are asked for at several steps, and most are another's too
def instant(text: str) -> str:
    """The sortable key of a timestamp: comparing two keys as strings compares the instants.

    `text` is `YYYY-MM-DDTHH:MM:SS[.digits]Z` (RFC 3339 as STIX 2.1, 2.16 narrows it): a real date of the years 0001 to
    9999, in UTC, upper-case T and Z, seconds up to 59, at most 40 digits of a fraction (the text goes into ledger entries,
    which are short). The key drops the Z and the fraction's trailing zeros, so that
    12:00:00Z and 12:00:00.000Z are one instant, and no digit is lost to a float or a datetime.

    Raises ValueError for any other text.
    """
    if _COMMON_DAY(text) is None and not _is_leap_day(text):
        raise ValueError(f"not a UTC timestamp: {text[:40]!r}")
    key = text[:-1]
    # Without a fraction there is no point at index 19, and trailing zeros are seconds.
    return key.rstrip("0").rstrip(".") if len(key) > 19 else key


def _is_leap_day(text: str) -> bool:
    match = _LEAP_DAY(text)
    if match is None:
        return False
    year = int(match[1])
    return year > 0 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
