"""What a store answers, row by row."""

from dataclasses import dataclass, field
from typing import NamedTuple

from exchange.model.member import Collection, Credential, Member, SigningCert
from exchange.model.statement import Statement
from exchange.store.changes import ApprovalRow, DraftRow, ScheduleRow, TrustListRow
from exchange.store.feed_rows import ReleaseRow


@dataclass(frozen=True, slots=True)
class Epochs:
    """Numbers that change when something does: the cheapest question, asked on every request."""

    state: str
    last_tick: int
    agreement: int
    registry: int
    revision: int
    """Rises when rows placed earlier may read differently: a version got a rival, or was taken out."""
    views: int
    """Rises with every step of any member's view."""
    moves: int = 0
    """Rises when something came under another label, and still lies where it was: who did not know its new label did not see it.
    And when a label that cites something ceased to hold anything: what it let open may be closed."""
    citing: int = 0
    """Rises when a label that cites something comes to hold something, or ceases to."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """An interned label. One label belongs to one collection."""

    id: int
    collection: str
    facets: str
    country: str
    placements: int
    last_tick: int


class CitingRow(NamedTuple):
    """A label that cites something, or under which lies what may be opened by being cited."""

    label: int
    live: bool
    """Whether the newest version, of its holder in its collection, of something lies under it."""
    facets: str
    """ "" for one that is known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What lies under one label since a time: how many placements, and the id of the newest object."""

    label: int
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Proposals:
    """Every draft that was ever put, with what was said of it, oldest first."""

    drafts: tuple[DraftRow, ...]
    approvals: tuple[ApprovalRow, ...]
    scheduled: tuple[ScheduleRow, ...]


@dataclass(frozen=True, slots=True)
class RevokedCert:
    thumbprint: str
    revoked_us: int
    compromised_since_us: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Registry:
    """Members, credentials, signing certificates and collections as of one registry epoch."""

    epoch: int
    members: dict[str, Member]
    credentials: dict[str, Credential]
    signing: tuple[SigningCert, ...]
    revoked: dict[str, RevokedCert]
    collections: tuple[Collection, ...]
    trust_list: TrustListRow | None
    statements: tuple[Statement, ...] = ()
    """Those that bind, oldest first."""
    releases: tuple[ReleaseRow, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeRow:
    log: str
    size: int
    root: bytes
    before: int = 0
    """Entries of earlier generations (Succession.before)."""
    closed: bool = False


@dataclass(frozen=True, slots=True)
class LogKeyRow:
    """A key signs the checkpoints of a log over `since` leaves and more, under `until` leaves."""

    log: str
    key: str
    """Its vkey."""
    since: int
    until: int | None = None
    """None while it signs."""


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    log: str
    size: int
    root: bytes
    note: bytes
    signed_us: int
    cosignatures: tuple[tuple[str, str], ...] = field(default=())
    """(witness name, note signature line)."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The private part of a leaf: what its commitment opens to, until it is erased."""

    index: int
    salt: bytes
    payload: bytes
    blocked: bool = False
    """Read only to determine liability; in no export."""


class Publication(NamedTuple):
    """An entry whose private part may list what lies at a tick."""

    log: str
    index: int  # type: ignore[assignment]  # nobody asks where in it something is
    leaf: bytes


ITEMS_BEGIN, RUNS_BEGIN = b'{"items":["', b'{"runs":[['
"""How private parts begin that list objects, or late runs: the first place follows, in 16 digits. Two indexes are by that."""
PUBLICATIONS_NEAR = 16
"""Only entries of one act have places between each other's: one for each log, collection and cause."""


@dataclass(frozen=True, slots=True)
class HeldObject:
    """One held version, wherever it is placed: for explaining, and for graph rules."""

    id: str
    version: str
    type: str
    owner: str
    sha256: bytes
    body: bytes
    placements: tuple[tuple[int, int], ...]
    """(tick, label id) of each placement."""
