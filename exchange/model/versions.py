"""Who may add which version of an object: STIX 2.1, 3.6, and that an id belongs to its first originator."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from exchange.model.stix import StixObject


class Verdict(StrEnum):
    STORED = "stored"
    DUPLICATE = "duplicate"
    """The very same bytes are here already: not an error (TAXII 2.1, 5.5)."""
    CONFLICT = "version-conflict"
    """The same id and version with other bytes: refused, and an alarm."""
    NOT_OWNER = "id-owned-by-another"
    CREATED_CHANGED = "created-changed"
    AFTER_REVOCATION = "already-revoked"
    NOT_VERSIONED = "not-versioned"

    @property
    def success(self) -> bool:
        return self is Verdict.STORED or self is Verdict.DUPLICATE


@dataclass(frozen=True, slots=True)
class Known:
    """What the hub holds of one version with the same id."""

    instant: str
    created: str
    revoked: bool
    owner: str
    holder: str
    sha256: bytes


def judge(new: StixObject, owner: str, holder: str, known: Sequence[Known]) -> Verdict:
    """Judge a new version against all held versions of its id.

    `holder` is "" for objects signed by their creator, and the submitting member for what many may hold alike
    (observables, imports): those are kept per holder, so that nobody's copy reveals or blocks another's.
    """
    others = [row for row in known if row.holder != holder]
    if holder and any(row.holder == "" and row.owner != owner for row in others):
        return Verdict.NOT_OWNER  # an import must not shadow what its creator signed
    own = [row for row in known if row.holder == holder]
    if any(row.owner != owner for row in own):
        return Verdict.NOT_OWNER
    for row in own:
        if row.instant == new.instant:
            return _same_version(new, row)
    if own and new.type == "marking-definition":
        return Verdict.NOT_VERSIONED  # 7.2.1: a marking has no versions
    if any(row.created != new.created for row in own):
        return Verdict.CREATED_CHANGED
    if any(row.revoked and row.instant < new.instant for row in own):
        return Verdict.AFTER_REVOCATION
    return Verdict.STORED


def leaves_gap(new: StixObject, previous: bytes, holder: str, known: Sequence[Known]) -> bool:
    """Whether the new version names another version before it than the newest earlier one that the hub holds.

    `previous` is the digest that its signature covers, b"" for none. A gap is news, not a fault: the version may have
    been submitted elsewhere, or withheld on the way here.
    """
    earlier = [row for row in known if row.holder == holder and row.instant < new.instant]
    return bool(previous) and (not earlier or max(earlier, key=lambda row: row.instant).sha256 != previous)


def _same_version(new: StixObject, row: Known) -> Verdict:
    if row.sha256 == new.sha256:
        return Verdict.DUPLICATE
    # Observables carry no version: two contents under one deterministic id are normal (2.9), the first is kept.
    return Verdict.DUPLICATE if row.created == "" and new.created == "" else Verdict.CONFLICT
