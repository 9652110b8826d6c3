"""From a collection's indicators to the entries of one member's lists at one moment, and what is left out, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from exchange.edl.table import FOREVER, Indicator
from exchange.edl.values import KINDS, Kind, Reason
from exchange.release.grants import Allowed


class Entry(NamedTuple):
    """One value, and the indicators that name it, the surest first."""

    kind: Kind
    text: str
    indicators: tuple[Indicator, ...]


_serials = count(1)


@dataclass(frozen=True)
class Selection:
    """What members with the same grants may block by now."""

    version: int
    """Of the table it was made from."""
    until_us: int
    """When the next indicator begins or ends to be valid."""
    entries: Mapping[Kind, tuple[Entry, ...]]
    left: Mapping[Reason, int]
    """Per reason: indicators, or single values of an indicator that names others too."""
    serial: int = field(default_factory=lambda: next(_serials))
    """Tells it from every other one of this process."""


def select(newest: Iterable[Indicator], allowed: Allowed, version: int, now_us: int) -> Selection:
    """Judge every indicator that the member may see: each of its reasons is counted once."""
    seen: dict[str, Indicator] = {}
    for one in newest:
        if one.label in allowed.countries:
            other = seen.get(one.id)
            if other is None or (one.instant, -one.tick) > (other.instant, -other.tick):
                seen[one.id] = one
    left: Counter[Reason] = Counter()
    until_us = FOREVER
    named: dict[Kind, dict[str, list[Indicator]]] = {kind: {} for kind in KINDS}
    for one in seen.values():
        ends_us = _ends(one, allowed)
        until_us = min([until_us, *[moment for moment in (one.from_us, ends_us) if moment > now_us]])
        reason = _reason(one, allowed, ends_us, now_us)
        if reason is not None:
            left[reason] += 1
            continue
        left.update(one.left)
        for kind, text in one.values:
            named[kind].setdefault(text, []).append(one)
    return Selection(version, until_us, {kind: _entries(kind, found) for kind, found in named.items()}, dict(left))


def _ends(one: Indicator, allowed: Allowed) -> int:
    """The end of its validity, or of the agreement's licence, whichever comes first."""
    seconds = allowed.blocking.get(one.label)
    return one.until_us if seconds is None else min(one.until_us, one.tick + seconds * 1_000_000)


def _reason(one: Indicator, allowed: Allowed, ends_us: int, now_us: int) -> Reason | None:
    if one.revoked:
        return "revoked"
    if one.label not in allowed.blocking:
        return "not-for-blocking"
    if one.from_us > now_us:
        return "not-yet-valid"
    return "expired" if ends_us <= now_us else None


def _entries(kind: Kind, named: Mapping[str, list[Indicator]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(kind, text, tuple(sorted(named[text], key=lambda one: (-one.confidence, -one.tick))))
        for text in sorted(named)
    )


def still_allowed(entries: Iterable[Entry], allowed: Allowed) -> tuple[Entry, ...]:
    """Entries of an earlier moment, as far as the member may block by them today."""
    kept = ((entry, tuple([one for one in entry.indicators if one.label in allowed.blocking])) for entry in entries)
    return tuple(entry._replace(indicators=indicators) for entry, indicators in kept if indicators)
