"""Three logs in a directory with their keys, anchors and publishers: what the ledger's fault tests break and load again."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exchange.clock import Clock, SystemClock
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.merkle import Frontier, leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, Policy, new_log_key
from exchange.ledger.publisher import Anchor, Anchors, Publisher, Publishing
from exchange.store.acts import Act, Done, Record
from exchange.store.contract import Store
from exchange.store.sqlite import SqliteStore


@dataclass(frozen=True)
class Pen(LogKey):
    """A log's key that remembers what it signed, across everything that happens to the log."""

    signed: list[Checkpoint] = field(default_factory=list, compare=False)

    def sign(self, body: str) -> bytes:
        self.signed.append(Checkpoint.parse(body))
        return super().sign(body)


class Watched(Anchors):
    """Anchors that never go back, or the test fails (I9)."""

    def write(self, log: str, anchor: Anchor) -> None:
        assert anchor.size >= self.read(log).size, "the anchor went back"
        super().write(log, anchor)


def new_pens() -> dict[str, Pen]:
    return {log: Pen.decode(new_log_key(f"test.example/audit/{log}").encode()) for log in LOGS}


def policies_of(pens: Mapping[str, LogKey], witnesses: Mapping[str, str] | None = None) -> dict[str, Policy]:
    """Each witness (name to vkey) counts for every log; all of them are needed."""
    lines = "".join(f"witness {name} {vkey}\n" for name, vkey in (witnesses or {}).items())
    quorum = f"group ALL all {' '.join(witnesses)}\nquorum ALL\n" if witnesses else "quorum none\n"
    return {log: Policy.parse(f"log {pen.vkey}\n{lines}{quorum}") for log, pen in pens.items()}


@dataclass
class Logs:
    """One process's view: its store and its publisher. Two of these on one directory are two hubs."""

    directory: Path
    pens: dict[str, Pen]
    store: Store
    publisher: Publisher

    @classmethod
    def open(
        cls,
        directory: Path,
        pens: dict[str, Pen],
        *,
        clock: Clock | None = None,
        policies: dict[str, Policy] | None = None,
        witnesses: Mapping[str, str] | None = None,
    ) -> "Logs":
        """Make the anchors if there are none, and open the database."""
        clock = clock or SystemClock()
        directory.mkdir(parents=True, exist_ok=True)
        store = SqliteStore(directory / "hub.sqlite", clock)
        return cls.over(store, directory, pens, clock=clock, policies=policies, witnesses=witnesses)

    @classmethod
    def over(
        cls,
        store: Store,
        directory: Path,
        pens: dict[str, Pen],
        *,
        clock: Clock | None = None,
        policies: dict[str, Policy] | None = None,
        witnesses: Mapping[str, str] | None = None,
    ) -> "Logs":
        """The same over a store that is open; the directory is for the anchors."""
        anchors = Watched(directory / "anchors")
        if not (directory / "anchors").exists():
            (directory / "anchors").mkdir(parents=True)
            for log in LOGS:
                Anchors(directory / "anchors").create(log)
        clock = clock or SystemClock()
        publishing = Publishing(pens, policies or policies_of(pens), anchors, witnesses or {}, interval_seconds=0.01)
        return cls(directory, pens, store, Publisher(store, clock, publishing, asyncio.Event()))

    async def append(self, log: str = "both", count: int = 1) -> list[Done | Exception]:
        acts = []
        for _ in range(count):
            req = str(uuid.uuid4())
            entry = Entry(log, "admin", "hub:puente:acct:test", "x", {"command": req})
            acts.append(Act(req, lambda _, entry=entry: Record((entry,))))  # type: ignore[misc]
        return await self.store.extend(acts)

    def anchor(self, log: str) -> Anchor:
        return Anchors(self.directory / "anchors").read(log)

    async def check(self, *, alone: bool = True) -> None:
        """Invariants I1, I4, I5, I6 and I9 of the ledger design, over everything there is and everything ever signed.

        `alone`: nobody signs beside these anchors.
        """
        for log, tree in (await self.store.trees()).items():
            leaves = await self.store.leaves(log, 0, tree.size + 1)
            assert len(leaves) == tree.size  # I1: the primary key forbids two, this forbids gaps
            frontier = Frontier(0, ())
            roots = {0: frontier.root()}
            for leaf in leaves:
                frontier = frontier.push(leaf_hash(leaf))
                roots[frontier.size] = frontier.root()
            assert frontier.root() == tree.root  # I4
            for one in self.pens[log].signed:
                assert one.size <= tree.size, "a size was signed that was never committed"  # I6
                assert one.root == roots[one.size], "two roots for one size"  # I5
            kept = await self.store.checkpoints(log, 1)
            assert all(row.root == roots[row.size] for row in kept)
            anchor = self.anchor(log)
            assert not alone or anchor.size >= max((row.size for row in kept), default=0)  # I9
            assert anchor.size == 0 or anchor.root == roots[anchor.size]
