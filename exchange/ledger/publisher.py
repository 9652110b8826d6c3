"""The publisher: signs what is committed, has the witnesses cosign it, and halts rather than sign two roots for one size.

The order of `_publish` is the safety argument (ledger design, 3.5). A crash after the anchor is written and before the
checkpoint is kept signs the same committed head again at the next start: Ed25519 is deterministic, so that is no fork.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import structlog

from certs.jcs import load
from exchange.clock import Clock
from exchange.errors import LedgerFault
from exchange.ledger.entry import LOGS
from exchange.ledger.merkle import Frontier, HashReader, consistency_proof, inclusion_proof, leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, Policy, cosigned_by, note_text
from exchange.ledger.receipt import Receipt
from exchange.ledger.witness import Behind, Cosigned, Refused, add_checkpoint
from exchange.store.contract import CheckpointRow, Store

_log = structlog.get_logger("puente.publisher")

REHASH_LEAVES = 4096
"""Leaf bytes read at a time when a checkpoint's growth is hashed again from disk."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last signed size and root of one log, kept outside the database and its backups."""

    size: int
    root: bytes


class Anchors:
    """One file per log in a directory that `puente init` makes; a missing file is a fault, never a fresh start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, log: str) -> None:
        path = self._directory / f"{log}.json"
        if path.exists():
            raise LedgerFault("anchor-exists", f"{path.name} is there already")
        self.write(log, Anchor(0, b""))

    def read(self, log: str) -> Anchor:
        try:
            value = load((self._directory / f"{log}.json").read_bytes(), max_bytes=4096)
            if not isinstance(value, dict):
                raise TypeError("not an object")
            return Anchor(int(value["size"]), bytes.fromhex(value["root"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerFault("anchor-missing", f"the anchor of log {log} cannot be read: {error}") from None

    def write(self, log: str, anchor: Anchor) -> None:
        """Durable before it returns: temporary file, fsync, rename, fsync of the directory."""
        path = self._directory / f"{log}.json"
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(orjson.dumps({"size": anchor.size, "root": anchor.root.hex()}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@dataclass(frozen=True, slots=True)
class Publishing:
    """What the publisher signs with and whom it asks."""

    keys: Mapping[str, LogKey]
    policies: Mapping[str, Policy]
    anchors: Anchors
    witnesses: Mapping[str, str]
    """Witness name to submission prefix."""
    interval_seconds: float = 1.0
    witness_interval_seconds: float = 10.0
    witness_timeout_seconds: float = 5.0


class Publisher:
    """One per hub process; the store's unique key and the anchor keep several from disagreeing."""

    def __init__(self, store: Store, clock: Clock, publishing: Publishing, committed: asyncio.Event) -> None:
        self._store = store
        self._clock = clock
        self._with = publishing
        self._committed = committed
        self._frontiers: dict[str, Frontier] = {log: Frontier(0, ()) for log in LOGS}
        self._witness_sizes: dict[tuple[str, str], int] = {}
        self._wake_witnesses = asyncio.Event()
        self._cosigned = asyncio.Condition()
        self.halted: str | None = None

    @property
    def origins(self) -> dict[str, str]:
        return {log: key.name for log, key in self._with.keys.items()}

    async def start(self) -> None:
        """Compare the database with the anchors and the witnesses before anything is signed or released.

        Raises LedgerFault on a rollback or a fork: a restored backup, a copied database, edited rows.
        """
        for log in LOGS:
            anchor = self._with.anchors.read(log)
            size = (await self._store.trees())[log].size
            if size < anchor.size:
                raise LedgerFault("rollback", f"log {log} has {size} leaves, {anchor.size} were signed")
            if anchor.size:
                self._frontiers[log] = await self._rehash(log, anchor.size)
            if anchor.size and self._frontiers[log].root() != anchor.root:
                raise LedgerFault("fork", f"log {log}: the signed root for size {anchor.size} is another")

    async def run(self) -> None:
        """Sign soon after each commit and ask the witnesses regularly, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sign_loop())
            tasks.create_task(self._witness_loop())

    async def _sign_loop(self) -> None:
        while True:
            # Other processes (a command beside this hub) append too, so it also looks without being told.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._committed.wait(), self._with.witness_interval_seconds)
            self._committed.clear()
            await self.publish_once()
            await asyncio.sleep(self._with.interval_seconds)

    async def _witness_loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake_witnesses.wait(), self._with.witness_interval_seconds)
            self._wake_witnesses.clear()
            if self.halted is None:
                await self.witness_round()

    # --- signing ---

    async def publish_once(self) -> None:
        """Sign every log that grew. A fault halts: no signing, no release, everything left as it is."""
        if self.halted is not None:
            return
        try:
            for log in LOGS:
                await self._publish(log)
        except LedgerFault as fault:
            await self._halt(fault)

    async def _publish(self, log: str) -> None:
        # What was signed is read before what is committed: another process may sign more in between, never less.
        anchor = self._with.anchors.read(log)
        last = await self._store.checkpoint(log)
        tree = (await self._store.trees())[log]
        signed = max(anchor.size, last.size if last else 0)
        if tree.size < signed:
            raise LedgerFault("rollback", f"log {log} has {tree.size} leaves, {signed} were signed")
        for size, root in ((anchor.size, anchor.root), (last.size, last.root) if last else (0, b"")):
            if size == tree.size and size and root != tree.root:
                raise LedgerFault("fork", f"log {log}: another root was signed for size {size}")
        if last and last.size == tree.size:
            return
        # Re-hash what is on disk: a flipped bit or an edited row must not be signed.
        frontier = await self._rehash(log, tree.size)
        if frontier.root() != tree.root:
            raise LedgerFault(
                "rows-changed", f"log {log}: the stored leaves do not hash to the root of size {tree.size}"
            )
        self._with.anchors.write(log, Anchor(tree.size, tree.root))
        # A crash here signs the same head again at the next start.
        note = self._with.keys[log].sign(Checkpoint(self._with.keys[log].name, tree.size, tree.root).body())
        await self._store.add_checkpoint(CheckpointRow(log, tree.size, tree.root, note, self._clock.now_us()))
        self._frontiers[log] = frontier
        self._wake_witnesses.set()

    async def _rehash(self, log: str, size: int) -> Frontier:
        frontier = self._frontiers[log]
        if frontier.size > size:
            frontier = Frontier(0, ())
        while frontier.size < size:
            end = min(size, frontier.size + REHASH_LEAVES)
            leaves = await self._store.leaves(log, frontier.size, end)
            if len(leaves) != end - frontier.size:
                raise LedgerFault("rows-missing", f"log {log} lacks leaves before {end}")
            frontier = frontier.extend([leaf_hash(data) for data in leaves])
        return frontier

    async def _halt(self, fault: LedgerFault) -> None:
        self.halted = fault.code
        _log.critical("ledger halted", code=fault.code, reason=str(fault))
        await self._store.halt(fault.code)

    # --- witnesses ---

    async def witness_round(self) -> None:
        """Ask every witness that a log's policy names to cosign its newest checkpoint."""
        async with aiohttp.ClientSession() as session:
            for log in LOGS:
                row = await self._store.checkpoint(log)
                if row is None:
                    continue
                names = [name for name in self._with.policies[log].witness_names() if name in self._with.witnesses]
                held = {name for name, _ in row.cosignatures}
                async with asyncio.TaskGroup() as tasks:
                    for name in names:
                        if name not in held:
                            tasks.create_task(self._ask(session, log, row, name))
        async with self._cosigned:
            self._cosigned.notify_all()

    async def _ask(self, session: aiohttp.ClientSession, log: str, row: CheckpointRow, name: str) -> None:
        old = min(self._witness_sizes.get((log, name), 0), row.size)
        for _ in range(2):
            proof = await self._consistency(log, old, row.size)
            answer = await add_checkpoint(
                session, self._with.witnesses[name], old, proof, row.note, self._with.witness_timeout_seconds
            )
            if isinstance(answer, Behind) and answer.size <= row.size:
                old = answer.size
                continue
            await self._take(log, row, name, answer)
            return

    async def _take(self, log: str, row: CheckpointRow, name: str, answer: object) -> None:
        if isinstance(answer, Cosigned):
            line = cosigned_by(self._with.policies[log], name, row.note, answer.lines)
            if line is None:
                _log.error("a witness answered with a line that does not verify", witness=name, log=log)
                return
            await self._store.add_cosignature(log, row.size, name, line)
            self._witness_sizes[log, name] = row.size
        elif isinstance(answer, Behind):
            if answer.size <= (await self._store.trees())[log].size:
                return  # another process of this hub was faster; the next round proves from there
            await self._halt(LedgerFault("rollback", f"witness {name} has seen {answer.size} leaves of log {log}"))
        elif isinstance(answer, Refused) and answer.status == 422:
            await self._halt(LedgerFault("fork", f"witness {name} found log {log} inconsistent: {answer.text[:200]}"))
        else:
            _log.warning("witness did not cosign", witness=name, log=log, answer=str(answer)[:200])

    async def _consistency(self, log: str, old: int, new: int) -> list[bytes]:
        if old in (0, new):
            return []
        return consistency_proof(old, new, await self._reader(log, consistency_proof, old, new))

    # --- receipts ---

    async def cosigned_note(self, log: str, covering: int) -> tuple[CheckpointRow, bytes] | None:
        """The smallest checkpoint over at least `covering` leaves that satisfies the log's policy, as one note."""
        for row in await self._store.checkpoints(log, max(covering, 1)):
            if self._with.policies[log].satisfied({name for name, _ in row.cosignatures}):
                return row, note_text(row.note, [line for _, line in row.cosignatures])
        return None

    async def newest_cosigned(self, log: str) -> bytes | None:
        """The newest checkpoint that satisfies the log's policy, as one note; None when there is none."""
        for row in reversed(await self._store.checkpoints(log, 0)):
            if self._with.policies[log].satisfied({name for name, _ in row.cosignatures}):
                return note_text(row.note, [line for _, line in row.cosignatures])
        return None

    async def newest_note(self, log: str) -> bytes | None:
        """The newest signed checkpoint, with the cosignatures it has so far."""
        row = await self._store.checkpoint(log)
        return note_text(row.note, [line for _, line in row.cosignatures]) if row is not None else None

    async def receipt(self, log: str, index: int, *, wait_seconds: float = 0) -> bytes | None:
        """The `.tlog-proof` of a leaf, or None while no checkpoint that covers it is cosigned by both countries."""
        found = await self.cosigned_note(log, index + 1)
        if found is None and wait_seconds > 0:
            self._committed.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds), self._cosigned:
                    while (found := await self.cosigned_note(log, index + 1)) is None:
                        await self._cosigned.wait()
        if found is None:
            return None
        row, note = found
        proof = inclusion_proof(index, row.size, await self._reader(log, inclusion_proof, index, row.size))
        return Receipt(index=index, proof=tuple(proof), note=note).encode()

    async def _reader(self, log: str, prove: Callable[[int, int, HashReader], list[bytes]], *sizes: int) -> HashReader:
        """The hashes that a proof will ask for, fetched beforehand: proofs are pure and do not wait."""
        wanted: list[tuple[int, int]] = []

        def note_wanted(asked: list[tuple[int, int]]) -> list[bytes]:
            wanted.extend(asked)
            return [bytes(32)] * len(asked)

        prove(sizes[0], sizes[1], note_wanted)
        hashes = dict(zip(wanted, await self._store.subtree_hashes(log, wanted), strict=True))
        return lambda asked: [hashes[one] for one in asked]
