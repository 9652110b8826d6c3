"""The form of an object that survives a relay, which a member signs (certs/relay.py refuses every other)."""

import re
from collections.abc import Mapping
from typing import Any

from certs.relay import DEFAULTS, TIMES
from exchange.times import as_millis_text

_ZEROS = re.compile(r"\.?0+Z\Z")


def stable(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object without what common tools leave out or write otherwise: empty values, defaults, zeros after seconds."""
    made: dict[str, Any] = {}
    for name, value in obj.items():
        kept = _kept(value)
        if kept is None or (name in DEFAULTS and kept is False):
            continue
        made[name] = _ZEROS.sub("Z", kept) if name in TIMES and isinstance(kept, str) and "." in kept else kept
    return made


def time_text(us: int) -> str:
    """A time, as all properties but `created` and `modified` have it."""
    return _ZEROS.sub("Z", as_millis_text(us))


def _kept(value: Any) -> Any:
    """The value without what is empty in it; None when nothing is left."""
    if isinstance(value, dict):
        return {name: kept for name, one in value.items() if (kept := _kept(one)) is not None} or None
    if isinstance(value, list | tuple):
        return [kept for one in value if (kept := _kept(one)) is not None] or None
    return int(value) if isinstance(value, float) and value.is_integer() else value
