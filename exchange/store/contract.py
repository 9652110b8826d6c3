"""Every question and every write the hub has. An act comes with its ledger entries, or not at all.

What all stores promise (ledger design, 3.2): leaf indices are 0..size-1 without gaps; ticks strictly rise in commit
order and are unique; a visible row implies that its leaf is visible; when `extend` returns, everything in the batch is
durable.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from exchange.ledger.entry import Entry
from exchange.model.member import Collection, Credential, Member, SigningCert
from exchange.model.page import Filter, Page, Spans
from exchange.model.recall import RecallMark, RecallRow, Relabelled
from exchange.model.statement import Statement
from exchange.model.stix import StixObject, listed
from exchange.model.versions import Verdict
from exchange.model.view import LateRun, View, Window
from exchange.store.feed_rows import FeedRecords, FeedRunRow, HeldRow, ReleaseRow

# --- what is written ---


class NewObject(NamedTuple):
    """An object version to be placed in a collection under a label."""

    object: StixObject
    owner: str
    holder: str
    collection: str
    label: str
    country: str
    previous: bytes = b""
    """Digest of the version before, as its signature names it; b"" when it names none."""
    refs: tuple[str, ...] = ()
    """What it refers to. It is placed under `label` joined with the labels of all that."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Versions of an object that its owner takes out of a collection.

    With its last placement a version's content is erased. That the id is its owner's and which bytes the version had
    stays known: it may come back as it was, and no other way.
    """

    collection: str
    id: str
    owner: str
    versions: tuple[str, ...] = ("all",)
    """"all", "first", "last", or instants."""


@dataclass(frozen=True, slots=True)
class EndCredential:
    id: str


@dataclass(frozen=True, slots=True)
class RevokeSigningCert:
    thumbprint: str
    revoked_us: int
    compromised_since_us: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class StateChange:
    """The head passes from one writable state to the other; Outdated when another process was faster."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """An adopted agreement. `number` counts adoptions; it is what releases and cursors are bound to."""

    number: int
    agreement_id: str
    version: int
    document: bytes
    approvals: bytes
    adopted_us: int
    impact_sha256: str = ""
    """Digest of the impact that was approved with it."""
    overlays: bytes = b"[]"
    """The tightenings in force beside it, a JSON list of documents with their approvals."""
    cause: str = "activate"
    """"activate" (a version both countries approved), "tighten", "lift" (by who tightened), "lapse" (an overlay's end), "expire", or "abandon": the
    same again after entries of `both` were lost for good, with a number beyond those that they can have given."""

    @property
    def name(self) -> str:
        return f"{self.agreement_id}/{self.version}"

    def follows(self, number: int) -> bool:
        """Whether it may come after the adoption of that number."""
        return self.number == number + 1 or (self.cause == "abandon" and self.number > number)


@dataclass(frozen=True, slots=True)
class DraftRow:
    """A version on its way, with the impact that is to be approved with it. The same document may be put again, with
    another impact."""

    sha256: str
    impact_sha256: str
    agreement_id: str
    version: int
    document: bytes
    impact: bytes
    """Canonical JSON: what crosses the border, and commitments to what does not."""
    openings: bytes
    """JSON: by country, what its commitment in the impact opens to. For that country alone."""
    proposed_us: int = 0
    """Stamped by the store."""


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """What one approver said of a draft: "approve" or "refuse"."""

    sha256: str
    impact_sha256: str
    country: str
    approver: str
    decision: str
    approval: bytes
    """The statement with its signature, as it was given."""
    given_us: int = 0
    """Stamped by the store."""


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """Both countries have approved a draft: it comes into force at its time. A second one is Outdated."""

    sha256: str
    impact_sha256: str
    scheduled_us: int = 0
    """Stamped by the store."""


@dataclass(frozen=True, slots=True)
class TrustListRow:
    version: int
    document: bytes


@dataclass(frozen=True, slots=True)
class BlockPrivate:
    """A leaf's private part may be read only to determine liability. Outdated when there is none that is not blocked."""

    log: str
    index: int


@dataclass(frozen=True, slots=True)
class ErasePrivate:
    """A leaf's blocked private part is gone. Outdated when there is none that is blocked."""

    log: str
    index: int


@dataclass(frozen=True, slots=True)
class KeyTurn:
    """From a size of a log on, other keys sign its checkpoints. Outdated unless those of `was` sign it now, as far as rows tell."""

    log: str
    was: tuple[str, ...]
    now: tuple[str, ...]
    since: int = 0
    """The smallest tree that is signed so; 0: the next one that is larger than it is at this act."""


Change = (
    Member
    | Credential
    | EndCredential
    | SigningCert
    | RevokeSigningCert
    | Collection
    | AgreementRow
    | DraftRow
    | ApprovalRow
    | ScheduleRow
    | TrustListRow
    | Statement
    | StateChange
    | BlockPrivate
    | ErasePrivate
    | KeyTurn
    | ReleaseRow
)


def rules_anybody(change: Change) -> bool:
    """Whether the registry is another one by it, and every snapshot of the rules out of date. What is done to a private part,
    or to a log's keys, rules nobody; and rules that are made anew are heard of abroad, by the `decide` entries that they bring."""
    if isinstance(change, Statement):
        return change.binds
    return not isinstance(change, (BlockPrivate, ErasePrivate, KeyTurn))


def stamped(change: Change, time_us: int) -> Change:
    """The change with the time of its commit, where it carries one."""
    if isinstance(change, DraftRow):
        return replace(change, proposed_us=time_us)
    if isinstance(change, ApprovalRow):
        return replace(change, given_us=time_us)
    if isinstance(change, ScheduleRow):
        return replace(change, scheduled_us=time_us)
    if isinstance(change, Statement):
        return replace(change, made_us=time_us)
    return change


@dataclass(frozen=True, slots=True)
class ListSize:
    """How many entries of a kind a member's block list of a collection last held: what a sudden fall is noticed by."""

    member: str
    collection: str
    kind: str
    count: int


class Turn(NamedTuple):
    """What the state of one label becomes in a member's view (docs/decisions/0013-late-release.md)."""

    label: int
    opens: bool
    """False when it closes: its windows and late rows are forgotten."""
    windows: tuple[Window, ...] = ()
    """Of native ticks. One that begins at NOW begins, and one that ends at NOW ends, at the last tick before this act."""
    done: int = 0
    """What was placed up to here, and lies in no window, has been released late, or never will be."""
    anew: bool = False
    """It was closed: whatever late runs are still there of it are forgotten too."""


class Waiting(NamedTuple):
    """Runs of a label to be released late: those with `done` < tick <= until_us (NOW: the last tick before this act) that
    no window shows."""

    label: int
    collection: str
    until_us: int


@dataclass(frozen=True, slots=True)
class ViewChange:
    """One step of a member's view. Outdated unless it is a step from `number`, which it raises by one, judged by the registry of
    now."""

    member: str
    number: int
    registry: int
    states: bytes
    floor: int
    until_us: int
    """When the rules it is judged by cease by themselves, less one."""
    turns: tuple[Turn, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    runs_at_most: int = 1
    """How many runs are released late in this step: what is left waits for the next."""


@dataclass(frozen=True, slots=True)
class StatusRow:
    """A TAXII status resource as its submitter will read it."""

    id: str
    member: str
    created_us: int
    body: bytes


class Placed(NamedTuple):
    """What became of one NewObject: its verdict, and its tick when it was stored. Objects of one label get neighbouring
    ticks, so an act's ticks need not rise in the order its objects were given in."""

    verdict: Verdict
    tick: int = 0
    gap: bool = False
    """Its signature names a version before it that the hub does not hold as such (`model.versions.leaves_gap`)."""
    label: str = ""
    """The label that it was placed under, where that is not the one that was given: it refers to other objects."""
    newest: bool = False
    """Whether no later version, and none of another holder, was ever here."""


class MovedObject(NamedTuple):
    """One that came under another label, as entries tell it."""

    id: str
    version: str
    sha256: bytes
    item: bytes

    def listed(self, tick: int) -> str:
        return listed(tick, self.id, self.version, self.sha256)


@dataclass(frozen=True, slots=True)
class MovedRun:
    """Neighbours that became news to members, because something that they refer to came, went, or lies otherwise."""

    collection: str
    country: str
    gaining: frozenset[str]
    """The countries of those members."""
    first_tick: int
    objects: tuple[MovedObject, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A version that a Removal took out, and the label it lay under."""

    version: str
    label: str


class Stamp(NamedTuple):
    """What an act learns under the lock."""

    time_us: int
    placed: tuple[Placed, ...] = ()
    removed: tuple[tuple[Withdrawn, ...] | None, ...] = ()
    """What each Removal took out; None when the object is another's."""
    late: tuple[LateRun, ...] = ()
    """What the act's ViewChange released late."""
    moved: tuple[MovedRun, ...] = ()
    """What became news by the act, beside what it placed."""


class Record(NamedTuple):
    """The entries that belong to an act's effect, the status resource its submitter will ask for, and what others must drop."""

    entries: tuple[Entry, ...]
    status: StatusRow | None = None
    recalls: tuple[RecallRow, ...] = ()


class Act(NamedTuple):
    """One atomic effect with its entries: all of it is committed, or none.

    `record` is called under the lock with the stamp; it must be quick, pure, and never wait.
    `agreement` is the adoption number the act was decided under, None when no agreement bears on it.
    """

    req: str
    record: Callable[[Stamp], Record]
    agreement: int | None = None
    until_us: int | None = None
    """When the agreement next begins or ends: what was decided before is not written after."""
    moves: int | None = None
    """Outdated unless the `Epochs.moves` is still this; None when that does not matter."""
    weight: int = 0
    """For how many objects' time it holds the lock beside its own."""
    # From here on: what it does, or must look at, beside the logs (`only_records`, `only_places`).
    objects: tuple[NewObject, ...] = ()
    removals: tuple[Removal, ...] = ()
    changes: tuple[Change, ...] = ()
    sizes: tuple[ListSize, ...] = ()
    view: ViewChange | None = None
    marks: tuple[RecallMark, ...] = ()
    held: tuple[HeldRow, ...] = ()
    runs: tuple[FeedRunRow, ...] = ()
    told: int = 0
    """The tick of a Relabelled whose recalls these are; Outdated when somebody else was faster. 0 for none."""
    noticed: str = ""
    """The recall whose notice these objects are; Outdated when it has one already."""
    citing: int | None = None
    """Outdated unless the `Epochs.citing` is still this; None when that does not matter."""

    @property
    def only_records(self) -> bool:
        """Whether it does nothing but write its entries, as the release of a page."""
        return self[_DOES:] == _NOTHING

    @property
    def only_places(self) -> bool:
        """Whether it does nothing but place its objects, if it has any, and write its entries."""
        return self[_DOES + 1 :] == _NOTHING[1:]


_DOES = Act._fields.index("objects")
_NOTHING = tuple(Act._field_defaults[name] for name in Act._fields[_DOES:])


class LeafRef(NamedTuple):
    log: str
    index: int  # type: ignore[assignment]  # nobody asks a leaf where in it something is
    hash: bytes


class Done(NamedTuple):
    """An act is durable: its stamp, and where its entries lie in the logs."""

    stamp: Stamp
    leaves: tuple[LeafRef, ...]


RECOVERING = "recovering"
"""How the state of a hub begins whose logs are being put back; behind it stands from which sizes on."""


class Floor(NamedTuple):
    """What the leaves that were put back, or that are lost for good, have used up: no counter may give it out again."""

    last_tick: int = 0
    last_time: int = 0
    seq: int = 0


class Succession(NamedTuple):
    """A log is closed for ever, and its next generation begins."""

    log: str
    before: int
    """How many entries its generations had up to here, as far as anybody knows: numbers go on behind them."""


class Outdated(Exception):
    """The agreement, a draft or a member's view changed between decision and commit: decide again. Nothing was written."""


OPEN = "open"
DEGRADED = "degraded"
"""A country's witnesses are silent: everything goes on but release across the border (ledger design, 2.6)."""

WRITABLE = (OPEN, DEGRADED)
"""The states of the head in which the log grows. Any other names the fault that halted it."""


class ClockStepped(Exception):
    """The clock is far ahead of what has passed since the last entry; until an operator confirms it, nothing is written."""


def must_be_steady(now_us: int, last_us: int, until_us: int | None) -> None:
    """Raise ClockStepped when the clock is beyond `until_us`, unless an entry is too: then it was confirmed.

    A step forward would put every later stamp into the future until real time catches up (ledger design, 3.8).
    """
    if until_us is not None and last_us <= until_us < now_us:
        raise ClockStepped(f"the clock went {(now_us - until_us) / 1_000_000:.0f} seconds too far ahead")


class Halted(Exception):
    """The head says that this hub must not append (halted, fenced, or an unknown state), or its logs are not the ones that this
    process was started for."""


# --- what is read ---


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


class Store(FeedRecords, Protocol):
    """Reads may lag a write of another process by nothing: they see every commit that returned before they began. Only
    `page` and `spans` may come from a replica, and then see at least all that `epochs` has told this process of."""

    turn: threading.Lock
    """Held, a hundredth of a second at a time, by a thread that computes for long. Two such threads of one interpreter
    take it from each other thousands of times a second, which cost a load of objects 7 % of its rate."""

    async def close(self) -> None: ...

    # writes
    async def extend(
        self, batch: Sequence[Act], *, until_us: int | None = None, logs: frozenset[str] | None = None
    ) -> list[Done | Exception]:
        """Commit the acts in order in one transaction, under the head lock, each with its entries, in the logs that are open.

        `until_us`: the latest that it can be now; a clock that says more raises ClockStepped. `logs`: the open logs as the
        process knows them; others raise Halted.

        An act that is Outdated or that raises is left out whole; the others are committed. When the transaction itself
        fails, this raises and nothing of the batch is in the log *as far as we know*: the caller answers "unavailable".
        """
        ...

    async def add_checkpoint(self, row: CheckpointRow) -> None:
        """Keep a checkpoint before it leaves the hub. A second root for a size that has one raises LedgerFault, and so does
        any for a log that is closed."""
        ...

    async def add_cosignature(self, log: str, size: int, witness: str, line: str) -> None: ...

    async def halt(self, reason: str) -> None:
        """Set the head's state so that no process appends or signs; only an operator's recovery undoes it."""
        ...

    async def scrub(self) -> None:
        """After erasing: leave no trace of it in the database's own files, as far as that is in a hub's power."""
        ...

    async def recovering(self, state: str) -> str:
        """Halt under this state, unless a recovery is under way already; the state there is now."""
        ...

    async def restore(self, log: str, start: int, entries: Sequence[bytes]) -> None:
        """Put back leaves that a log had, from `start`, its size now, on; with their tiles, in one transaction.

        Raises LedgerFault while the hub is not recovering, when the log has another size, and when it is closed.
        """
        ...

    async def reopen(self, floor: Floor, act: Act, successions: Sequence[Succession] = ()) -> Done:
        """End the halt with an act, all in one transaction, the act's entries in the logs that are open then. No counter is below
        `floor` afterwards. Raises LedgerFault for a log that is closed already, and what the act raises."""
        ...

    # reads
    async def epochs(self) -> Epochs: ...

    async def registry(self) -> Registry: ...

    async def agreement(self, number: int | None = None) -> AgreementRow | None:
        """The agreement of that adoption number, or the newest."""
        ...

    async def agreements(self) -> list[AgreementRow]:
        """Every adoption, oldest first."""
        ...

    async def proposals(self) -> Proposals: ...

    async def statements(self) -> list[Statement]:
        """All that members ever said, oldest first."""
        ...

    async def labels(self, since: int = -1) -> list[LabelRow]:
        """Every label under which something was placed after that tick, by id."""
        ...

    async def citing(self, known: int = 0) -> tuple[int, list[CitingRow]]:
        """`Epochs.citing`, and of that moment every label behind `known` that tells of citing, by id; of those up to there the ones that
        are not live, without their facets."""
        ...

    async def samples(self, since_us: int) -> list[Sample]:
        """Of each label with placements at or after a time. Reads every placement: for people who compare agreements."""
        ...

    async def page(
        self,
        collection: str,
        labels: Sequence[int],
        match: Filter,
        after_us: int,
        limit: int,
        *,
        until_us: int,
        view: View | None = None,
    ) -> Page:
        """Up to `limit` rows with after_us < tick <= until_us whose label is allowed and that match, in tick order.

        All ticks are those of `view`; None stands for the view in which everything lies where it was placed. A version
        is left out unless the newest that its holder has in this collection lies under one of the labels too: who
        tightens a marking tightens it for the versions before.

        `until_us` is the last tick that `epochs` told of before the labels were asked for. An object placed since may lie
        under a label that is missing among the allowed ones only because it is new: a page that reached beyond it would
        take its reader past that object for ever.

        "first" and "last" are judged over what the allowed labels show, restricted to ticks > match.added_after_us
        (TAXII 2.1, 3.4.1: among what matches the remainder of the request).
        """
        ...

    async def spans(
        self,
        collection: str,
        labels: Sequence[int],
        match: Filter,
        after_us: int,
        limit: int,
        *,
        until_us: int,
        view: View | None = None,
    ) -> Spans:
        """The rows that `page` would give, as their bytes."""
        ...

    async def view(self, member: str) -> View | None:
        """A member's view as it was last written; None when it never was."""
        ...

    async def views(self) -> dict[str, int]:
        """The number of every member's view."""
        ...

    async def late(self, member: str, collection: str) -> list[LateRun]:
        """What was released late to a member in a collection, by the ticks of placement."""
        ...

    async def ripe(self, after: Sequence[tuple[int, int]]) -> dict[int, int]:
        """For (label, tick) pairs: by label, the tick of the first run behind that tick, where there is one."""
        ...

    async def held(self, object_id: str) -> list[HeldObject]:
        """The versions whose content the hub holds, oldest first."""
        ...

    async def status(self, status_id: str) -> StatusRow | None: ...

    async def recalls(self, member: str | None = None) -> list[RecallRow]:
        """A member's, or everybody's, oldest first."""
        ...

    async def unnoticed(self) -> list[RecallRow]:
        """Those whose notice is still to be made, oldest first, some of them."""
        ...

    async def relabelled(self) -> list[Relabelled]:
        """Those whose recalls are still to be made, oldest first, some of them."""
        ...

    async def list_sizes(self, member: str, collection: str) -> dict[str, int]:
        """The sizes that were written last, by kind."""
        ...

    # the ledger
    async def trees(self) -> dict[str, TreeRow]:
        """Every log by its name, the closed ones too."""
        ...

    async def log_keys(self, log: str) -> list[LogKeyRow]:
        """The keys of a log that was ever given a second one, oldest first; none for one that has the key it was opened with."""
        ...

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]: ...

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        """Those that are not blocked."""
        ...

    async def opening(self, log: str, index: int) -> Opening | None:
        """That of one leaf, blocked or not. Who asks for a blocked one says so in the log."""
        ...

    async def subtree_hashes(self, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """Hashes of complete subtrees (level, n): 2**level leaves from n * 2**level; from tiles and leaf hashes."""
        ...

    async def tile(self, log: str, level: int, n: int, width: int) -> bytes: ...

    async def checkpoint(self, log: str, size: int | None = None) -> CheckpointRow | None:
        """The newest checkpoint, or the smallest one that covers `size` leaves, with its cosignatures."""
        ...

    async def checkpoints(self, log: str, from_size: int, limit: int | None = None) -> list[CheckpointRow]:
        """Those over at least `from_size` leaves, smallest first; at most `limit`."""
        ...
