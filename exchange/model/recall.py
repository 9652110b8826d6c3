"""What members are asked to drop, as the store keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RecallRow:
    """What a member is asked to drop, because it may not have it any more."""

    id: str
    member: str
    collection: str
    cause: str
    """"delete": its originator took it out; "marking": its originator marked it more strictly; "revoke":
    its originator revoked it, by a version that the member has; "grant": the agreement gives it
    no more; "suspension": its originator is suspended; "compromise": it was signed by a key that others may have had; "erasure":
    approvers had it erased, for a person's sake."""
    term: str
    """The class by which the agreement's [withdrawal] speaks of it: "error", "privacy", "legal" or "compromise"."""
    reveals: str
    """What the agreement lets it be told of the reason: "id" nothing, "id-and-class" the class, "reason" the cause as well."""
    countries: str
    """Of those it came from, words: in whose logs it is told."""
    what: bytes
    """JSON: the objects, or what tells them apart."""
    scope: bytes
    """JSON: where what closed lay in the member's view, so that its notice can name it; b"" where `what` names the objects."""
    opened_us: int
    due_us: int | None
    """Until when to act, where the agreement says so."""
    required: bool
    """Whether the agreement requires that the member acknowledges it."""
    seen_us: int | None = None
    acknowledged_us: int | None = None
    account: str = ""
    """That acknowledged it."""
    noticed: bool = False
    """Whether its notice lies in the collection."""
    owes: bool = False
    """Whether `scope` names the labels alone: where what closed lay is still kept in the view (store/scope.py)."""


class Delivered(NamedTuple):
    """What lies in a collection of one owner under an id, and who may see which versions of it."""

    collection: str
    id: str
    owner: str
    holders: Mapping[str, frozenset[str]]


RELABELLED_AT_ONCE = 500
UNNOTICED_AT_ONCE = 100


class Relabelled(NamedTuple):
    """A version that revokes, or that lies under another label than the one before it; or one that came under another itself. Who saw
    what lay there before may have to drop it."""

    tick: int
    collection: str
    id: str
    label: int
    former: int
    placed: int
    """The label and the tick of the version before."""
    again: bool
    """It is the same version, which is still placed there, and lies as a late run in the view of whoever was shown it and may have
    to drop it."""


@dataclass(frozen=True, slots=True)
class RecallMark:
    """A member has seen a recall, or an account of it acknowledges it. The first time counts."""

    id: str
    account: str = ""
    """"" when it was only seen."""
