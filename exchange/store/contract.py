"""Every question and every write the hub has. An act comes with its ledger entries, or not at all.

What all stores promise (ledger design, 3.2): leaf indices are 0..size-1 without gaps; ticks strictly rise in commit
order and are unique; a visible row implies that its leaf is visible; when `extend` returns, everything in the batch is
durable.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from exchange.model.page import Filter, Page, Spans
from exchange.model.recall import RecallRow, Relabelled
from exchange.model.statement import Statement
from exchange.model.view import LateRun, View
from exchange.store.acts import Act, Done, StatusRow
from exchange.store.answers import (
    CheckpointRow,
    CitingRow,
    Epochs,
    HeldObject,
    LabelRow,
    LogKeyRow,
    Opening,
    Proposals,
    Publication,
    Registry,
    Sample,
    TreeRow,
)
from exchange.store.changes import AgreementRow
from exchange.store.feed_rows import FeedRecords

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

    async def proposals(self, *, sha256: str | None = None, version: tuple[str, int] | None = None) -> Proposals:
        """All, or those that put one document, or that put one version (of an agreement, by its id): each has its whole text."""
        ...

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

    async def publications(self, ticks: Sequence[int]) -> list[list[Publication]]:
        """For each tick the entries whose private part lists objects, or late runs, from the nearest places up to it, of each some.
        What was placed or released late at the tick is listed by one of these, or by none that is left."""
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
