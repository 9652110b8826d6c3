"""Markings that say what may be done with an object, and when, and among whom: FIRST's IEP, and our own release terms.

Both only ever narrow. Whoever forges one keeps something from somebody; nobody gains by it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

IEP_EXTENSION: Final = "extension-definition--762e2e97-ee51-43e5-a9ea-165fbb862c4a"
TERMS_EXTENSION: Final = "extension-definition--0c3a4d65-9b0e-4d0f-8f52-1b8d6f9c7a31"
"""Ours: `release_to`, `audience`, `purposes`, `not_before`, `case`; see docs/agreements.md."""

_IEP_TLP: Final = {"white": "clear", "green": "green", "amber": "amber", "red": "red"}
_IEP_ACTIONS: Final = {
    "none": "none",
    "contact-for-instruction": "contact-for-instruction",
    "internally-visible-actions": "internally-visible",
    "externally-visible-indirect-actions": "externally-visible-indirect",
    "externally-visible-direct-actions": "externally-visible-direct",
}
_IEP_WORDS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "encrypt_in_transit": ("encrypt_in_transit", {"may": "may", "must": "must"}),
    "permitted_actions": ("permitted_actions", _IEP_ACTIONS),
    "affected_party_notifications": ("notify_affected", {"may": "may", "must-not": "must-not"}),
    "provider_attribution": ("attribution", {"may": "may", "must": "must", "must-not": "must-not"}),
    "unmodified_resale": ("resale", {"may": "may", "must-not": "must-not"}),
}
"""IEP's properties by the names that an agreement's obligations have."""
_IEP_SILENT: Final = frozenset({"extension_type", "iep_id", "iep_version", "description", "start_date", "end_date"})
"""What names a policy, and its dates: one that has not begun, or has ended, binds all the same, which is the stricter."""

_TERMS: Final = frozenset({"extension_type", "release_to", "audience", "purposes", "not_before", "case"})
_SLUG: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*", re.ASCII)
_SLUG_LIMIT: Final = 64
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)


@dataclass(slots=True)
class Gathered:
    """What the markings read so far say together."""

    tlp: set[str] = field(default_factory=set)
    pap: set[str] = field(default_factory=set)
    caveats: set[str] = field(default_factory=set)
    rel_to: frozenset[str] | None = None
    audiences: set[str] = field(default_factory=set)
    purposes: frozenset[str] | None = None
    not_before: str = ""
    cases: set[str] = field(default_factory=set)
    terms: set[str] = field(default_factory=set)

    def only_to(self, countries: frozenset[str]) -> None:
        self.rel_to = countries if self.rel_to is None else self.rel_to & countries

    def only_for(self, purposes: frozenset[str]) -> None:
        self.purposes = purposes if self.purposes is None else self.purposes & purposes


def read_iep(body: Mapping[str, Any], found: Gathered) -> bool:
    """Add what an IEP 2.0 policy asks; False when it says anything beside that."""
    understood = (_IEP_SILENT | {"tlp", *_IEP_WORDS}).issuperset(body)
    for key, word in body.items():
        if key in _IEP_SILENT:
            continue
        name, words = _IEP_WORDS.get(key, ("tlp", _IEP_TLP))
        meant = words.get(word) if isinstance(word, str) else None
        if meant is None:
            understood = False
        elif key == "tlp":
            found.tlp.add(meant)
        else:
            found.terms.add(f"{name}={meant}")
    return understood


def read_terms(body: Mapping[str, Any], found: Gathered) -> bool:
    """Add what an originator's own release terms ask; False when any part is not of the expected form."""
    understood = _TERMS.issuperset(body)
    for key, form in (("release_to", _COUNTRY), ("purposes", _SLUG)):
        if key in body:
            words = _words(body[key], form)
            understood = understood and words is not None
            (found.only_to if key == "release_to" else found.only_for)(words or frozenset())
    for key, names in (("audience", found.audiences), ("case", found.cases)):
        if key in body:
            words = _words([body[key]], _SLUG)
            understood = understood and words is not None
            names |= words or frozenset()
    if "case" in body:
        found.caveats.add("orcon")  # who gives a handle by which to ask controls the release
    if "not_before" in body:
        hour = _hour(body["not_before"])
        understood = understood and hour is not None
        found.not_before = max(found.not_before, hour or "")
    return understood


def _words(value: object, form: re.Pattern[str]) -> frozenset[str] | None:
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(word, str) and len(word) <= _SLUG_LIMIT and form.fullmatch(word) for word in value):
        return None
    return frozenset(str(word) for word in value)


def _hour(value: object) -> str | None:
    """The first full hour not before a time. Embargoes end on the hour, so that labels stay few."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            return None
        hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if hour < moment:
            hour += timedelta(hours=1)
    except (ValueError, OverflowError):
        return None
    return f"{hour:%Y-%m-%dT%H}:00:00Z"
