"""One atomic effect on its way in, with the entries that belong to it, and what became of it.

An act comes with its ledger entries, or not at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exchange.ledger.entry import Entry
from exchange.model.recall import RecallMark, RecallRow
from exchange.model.stix import StixObject, listed
from exchange.model.versions import Verdict
from exchange.model.view import LateRun, Window
from exchange.store.changes import Change
from exchange.store.feed_rows import FeedRunRow, HeldRow


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
    """False when it closes, and its windows and late runs are forgotten."""
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
    owes: bool = False
    """Whether recalls come with it that owe where what closes lay. It is kept, and no turn says of these labels that they close."""


class StatusRow(NamedTuple):
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


class Stepped(NamedTuple):
    """What a ViewChange did, as it is written."""

    changes: int
    """Of registry and agreement, that there had been."""
    until_us: int
    """The last tick that can have been shown by what was written before."""
    born: int
    """The tick at which the member was first answered, if this was the first step."""
    kept: Sequence[tuple[int, tuple[Window, ...], int]]
    """(label, windows, done) of the labels that do not simply lie where they were placed, as far as they are others now."""
    late: tuple[LateRun, ...]
    """What was released late."""
    gone: tuple[LateRun, ...]
    """What had been, under the labels that turned and closed."""


class Stamp(NamedTuple):
    """What an act learns under the lock."""

    time_us: int
    placed: tuple[Placed, ...] = ()
    removed: tuple[tuple[Withdrawn, ...] | None, ...] = ()
    """What each Removal took out; None when the object is another's."""
    step: Stepped | None = None
    """What the act's ViewChange did."""
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
    settles: str = ""
    """The member of whose view that is forgotten which recalls owe: they say it first."""
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
