"""The publisher: signs what is committed, has the witnesses cosign it, and halts rather than sign two roots for one size.

The order of `_publish` is the safety argument (ledger design, 3.5). A crash after the anchor is written and before the
checkpoint is kept signs the same committed head again at the next start: Ed25519 is deterministic, so that is no fork.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog

from certs.jcs import load
from exchange.clock import Clock
from exchange.errors import LedgerFault, Unavailable
from exchange.ledger.entry import LEAF_LIMIT_BYTES
from exchange.ledger.generations import current, stem
from exchange.ledger.merkle import Frontier, inclusion_proof, leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, Policy, note_text
from exchange.ledger.receipt import Receipt
from exchange.ledger.rotation import HEADER
from exchange.ledger.rounds import CLOCK_AHEAD_SECONDS, Asking, Claim, Rounds
from exchange.ledger.signing import FindKey, Signing, no_other, sign
from exchange.store.answers import CheckpointRow, TreeRow
from exchange.store.contract import WRITABLE, Store
from exchange.times import parse_us

_log = structlog.get_logger("puente.publisher")

REHASH_LEAVES = 512
"""Leaves read at a time when a checkpoint's growth is hashed again from disk: it takes 2 ms, and requests wait so long."""

CHECKPOINTS_AT_ONCE = 16
"""Read at a time on the way to one that is cosigned."""

TURN_POLL_SECONDS = 0.005
"""How often a publisher looks whether the other process is done; its turn takes about as long."""

HALTING = frozenset({"rollback", "fork", "rows-changed", "rows-missing"})
"""What only a recovery mends. An anchor that cannot be read is none of it: its volume may just not be there yet."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last signed size and root of one log, kept outside the database and its backups."""

    size: int
    root: bytes


class Anchors:
    """One file per log in a directory that `puente init` makes; a missing file is a fault, never a fresh start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, log: str, suffix: str) -> Path:
        return self._directory / f"{stem(log)}{suffix}"

    def there(self, log: str) -> bool:
        return self._path(log, ".json").exists()

    def create(self, log: str) -> None:
        path = self._path(log, ".json")
        if self.there(log):
            raise LedgerFault("anchor-exists", f"{path.name} is there already")
        self.write(log, Anchor(0, b""))

    def read(self, log: str) -> Anchor:
        try:
            value = load(self._path(log, ".json").read_bytes(), max_bytes=4096)
            if not isinstance(value, dict):
                raise TypeError("not an object")
            return Anchor(int(value["size"]), bytes.fromhex(value["root"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerFault("anchor-missing", f"the anchor of log {log} cannot be read: {error}") from None

    def write(self, log: str, anchor: Anchor) -> None:
        """Durable before it returns: temporary file, fsync, rename, fsync of the directory."""
        path = self._path(log, ".json")
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

    @contextlib.asynccontextmanager
    async def turn(self, log: str) -> AsyncIterator[None]:
        """Hold this log's turn to publish: one at a time among all processes that share the directory.

        The kernel gives the turn of a killed process to the next one.
        """
        try:
            lock = os.open(self._path(log, ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerFault("anchor-missing", f"the anchors of log {log} cannot be locked: {error}") from None
        try:
            while not _taken(lock):  # noqa: ASYNC110  # no event of ours tells that another process is done
                await asyncio.sleep(TURN_POLL_SECONDS)
            yield
        finally:
            os.close(lock)


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Until the event or the time. Not by asyncio.wait_for: in Python 3.11 it swallows a cancellation that comes together
    with the event, and the hub that is told to stop would wait for its publisher for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """A full disk or a busy database ends this round, not the publisher: the next round starts from what is committed."""
    try:
        await work()
    except Exception as error:  # noqa: BLE001  # whatever it was, signing must be tried again
        _log.error("a round of the publisher failed", exc_info=error)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_CHECKPOINT = "the newest checkpoint kept"


@dataclass(frozen=True, slots=True)
class Publishing:
    """What the publisher signs with and whom it asks."""

    keys: Mapping[str, LogKey]
    """Of the logs that are open, the key that each was opened with; where rows tell which keys sign it, any of its own."""
    policies: Mapping[str, Policy]
    """Of every generation (generations.py)."""
    anchors: Anchors
    witnesses: Mapping[str, str]
    """Witness name to submission prefix."""
    interval_seconds: float = 1.0
    witness_interval_seconds: float = 10.0
    witness_timeout_seconds: float = 5.0
    witness_silence_seconds: float = 900.0
    find_key: FindKey = no_other


class Publisher:
    """One per hub process. Those of one machine take turns; the store's unique key and the witnesses stand behind that."""

    def __init__(self, store: Store, clock: Clock, publishing: Publishing, committed: asyncio.Event) -> None:
        self._store = store
        self._clock = clock
        self._with = publishing
        self._committed = committed
        self._frontiers: dict[str, Frontier] = {log: Frontier(0, ()) for log in publishing.keys}
        self._wake_witnesses = asyncio.Event()
        self._cosigned = asyncio.Condition()
        self.halted: str | None = None
        self.signing = Signing(store, publishing.keys, publishing.find_key, publishing.policies)
        asking = Asking(
            self.signing, publishing.policies, publishing.witnesses, publishing.witness_timeout_seconds,
            publishing.witness_silence_seconds,
        )  # fmt: skip
        self.rounds = Rounds(store, clock, asking, self._halt)

    @property
    def origins(self) -> dict[str, str]:
        """Of every generation."""
        return self.signing.origins

    async def voucher(self) -> Callable[[str], bytes]:
        """Makes notes by the keys of `both` over texts that nobody can take for anything that a log says in its turn. It raises
        ValueError for one that can; this raises Unavailable where this process lacks a key."""
        both = current(self._with.keys)["both"]
        try:
            keys = await self.signing.signers(both, (await self._tree(both)).size)
        except LedgerFault:
            raise Unavailable(
                "This process of the hub lacks a key of its log, so it cannot sign the answer. Try again.",
                "A este proceso del centro le falta una llave de su registro, por lo que no puede firmar la respuesta. Intente de nuevo.",
                code="log-key-missing",
            ) from None

        def vouch(body: str) -> bytes:
            if body.partition("\n")[0] in (HEADER, *self.origins.values()):
                raise ValueError("a log signs what it says in its turn only")
            return sign(body, keys)

        return vouch

    def policy(self, log: str) -> Policy:
        """Whose cosignatures make a checkpoint of the log count."""
        return self._with.policies[log]

    @property
    def vkeys(self) -> dict[str, str]:
        return {log: key.vkey for log, key in self._with.keys.items()}

    async def start(self, *, ask_witnesses: bool = False) -> None:
        """Compare the whole log with the anchors, and with the witnesses if asked to, before anything is signed.

        Raises LedgerFault on a rollback or a fork: a restored backup, a copied database, edited rows. A witness that
        gives no answer is no objection, but the log says so; a country that gives none keeps the border closed.

        What is wrong is kept by halting: a witness that showed it might not answer at the next start. An anchor that is not there
        may be on a volume that is not mounted: then this start fails, and no more. So it does where the database and the keys are of
        different generations.
        """
        if not await self._is_of_now():
            raise LedgerFault(
                "log-generation",
                f"the open logs of this database are not those of the witness policies ({', '.join(self._with.keys)}): a log was"
                " closed for ever, or a backup is from before that",
            )
        seen = await self.rounds.recall() if ask_witnesses else {}
        for log in self._with.keys if ask_witnesses else ():
            await self.signing.signers(log, (await self._tree(log)).size)  # who serves must be able to sign
        for log in self._with.keys:
            async with self._with.anchors.turn(log):
                claims = [*await self._own_claims(log), *seen.get(log, ())]
                try:
                    self._frontiers[log] = await self._agree(log, await self._tree(log), claims)
                except LedgerFault as fault:
                    if fault.code in HALTING:
                        await self._halt(fault)
                    raise
        if ask_witnesses and (await self._store.epochs()).state in WRITABLE:
            await self.rounds.go()
            await self._must_not_be_ahead()
            await self.rounds.begin()

    async def _must_not_be_ahead(self) -> None:
        """Before anything is stamped. A last entry that is ahead too was stamped when an operator had confirmed the clock."""
        ahead = self.rounds.clock_ahead()
        if ahead <= CLOCK_AHEAD_SECONDS or self.halted is not None:
            return
        witnessed_us = self._clock.now_us() - int(ahead * 1_000_000)
        both = current(self._with.keys)["both"]
        size = (await self._tree(both)).size
        for data in await self._store.leaves(both, max(size - 1, 0), size):
            if (
                parse_us(load(data, max_bytes=LEAF_LIMIT_BYTES)["time"])
                > witnessed_us + CLOCK_AHEAD_SECONDS * 1_000_000
            ):
                return
        raise LedgerFault("clock-ahead", f"the clock is {ahead:.0f} seconds ahead of both countries' witnesses")

    async def run(self) -> None:
        """Sign soon after each commit and ask the witnesses regularly, until cancelled."""
        self._wake_witnesses.set()  # a process that was killed may have left a checkpoint that nobody cosigned
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sign_loop())
            tasks.create_task(self._witness_loop())

    async def _sign_loop(self) -> None:
        while True:
            # Other processes (a command beside this hub) append too, so it also looks without being told.
            await _within(self._with.witness_interval_seconds, self._committed)
            self._committed.clear()
            await _patiently(self.publish_once)
            await asyncio.sleep(self._with.interval_seconds)

    async def _witness_loop(self) -> None:
        while True:
            await _within(self._with.witness_interval_seconds, self._wake_witnesses)
            self._wake_witnesses.clear()
            if self.halted is None:
                await _patiently(self.witness_round)

    # --- signing ---

    async def publish_once(self) -> None:
        """Sign every log that grew. A fault halts: no signing, no release, everything left as it is."""
        if self.halted is not None:
            return
        for log in self._with.keys:
            try:
                await self._publish(log)
            except LedgerFault as fault:
                await self._halt(fault)
            if self.halted is not None:
                return

    async def _publish(self, log: str) -> None:
        async with self._with.anchors.turn(log):
            state = (await self._store.epochs()).state
            if state not in WRITABLE:
                self.halted = state  # another process halted the log, or this one before it was started again
                return
            # What was signed is read before what is committed: a publisher of another machine, with anchors and turns of its
            # own, may sign more in between, never less.
            claims = await self._own_claims(log)
            tree = await self._tree(log)
            if tree.closed:  # while this process slept: it is never signed again, and the hub goes on without it
                self.halted = "log-closed"
                return
            # Re-hash what is on disk: a flipped bit or an edited row must not be signed.
            frontier = await self._agree(log, tree, claims)
            if all(claim.size < tree.size for claim in claims if claim.by == _CHECKPOINT):
                keys = await self.signing.signers(log, tree.size)
                # Two fsyncs, which polls need not wait for.
                await asyncio.to_thread(self._with.anchors.write, log, Anchor(tree.size, tree.root))
                # A crash here signs the same head again at the next start.
                note = sign(Checkpoint(self.origins[log], tree.size, tree.root).body(), keys)
                await self._store.add_checkpoint(CheckpointRow(log, tree.size, tree.root, note, self._clock.now_us()))
        if frontier.size > self._frontiers[log].size:
            self._frontiers[log] = frontier
            self._wake_witnesses.set()

    async def _tree(self, log: str) -> TreeRow:
        return (await self._store.trees())[log]

    async def _is_of_now(self) -> bool:
        """Whether the logs that are open are those that there are keys for."""
        return {log for log, tree in (await self._store.trees()).items() if not tree.closed} == self._with.keys.keys()

    async def _own_claims(self, log: str) -> list[Claim]:
        """What this hub itself signed last: by the anchor, and by the newest checkpoint kept."""
        anchor = self._with.anchors.read(log)
        claims = [Claim(anchor.size, anchor.root, "the anchor")]
        last = await self._store.checkpoint(log)
        if last is not None:
            if await self.signing.said(log, last.note) != Checkpoint(self.origins[log], last.size, last.root):
                raise LedgerFault("rows-changed", f"log {log}: the checkpoint kept for size {last.size} was altered")
            claims.append(Claim(last.size, last.root, _CHECKPOINT))
        return claims

    async def _agree(self, log: str, tree: TreeRow, claims: Iterable[Claim]) -> Frontier:
        """The frontier at the size of the tree, from the leaves as they lie on disk, or the LedgerFault they show.

        Claims about sizes below the frontier kept from last time were compared when the frontier stood there.
        """
        frontier = self._frontiers[log]
        for claim in sorted(claims, key=lambda one: one.size):
            if claim.size > tree.size:
                raise LedgerFault("rollback", f"log {log} has {tree.size} leaves, {claim.by} says {claim.size}")
            if claim.size == 0 or claim.size < frontier.size:
                continue
            frontier = await self._rehash(log, frontier, claim.size)
            if frontier.root() != claim.root:
                raise LedgerFault("fork", f"log {log}: {claim.by} holds another root for size {claim.size}")
        frontier = await self._rehash(log, frontier, tree.size)
        if frontier.root() != tree.root:
            raise LedgerFault(
                "rows-changed", f"log {log}: the stored leaves do not hash to the root of size {tree.size}"
            )
        return frontier

    async def _rehash(self, log: str, frontier: Frontier, size: int) -> Frontier:
        while frontier.size < size:
            end = min(size, frontier.size + REHASH_LEAVES)
            leaves = await self._store.leaves(log, frontier.size, end)
            if len(leaves) != end - frontier.size:
                raise LedgerFault("rows-missing", f"log {log} lacks leaves before {end}")
            frontier = frontier.extend([leaf_hash(data) for data in leaves])
        return frontier

    async def _halt(self, fault: LedgerFault) -> None:
        if fault.code == "log-key-missing":  # others have it, or it will be brought: nothing is wrong with the log
            _log.critical("this process cannot sign", reason=str(fault))
            return
        self.halted = fault.code
        _log.critical("ledger halted", code=fault.code, reason=str(fault))
        if await self._is_of_now():  # what became of a log that was closed meanwhile must not halt those who go on
            await self._store.halt(fault.code)

    async def witness_round(self) -> None:
        """Have the newest checkpoints cosigned, and see whether a country's witnesses are silent."""
        before = await self._store.epochs()
        await self.rounds.go()
        if (await self._store.epochs()).state != before.state:
            self._committed.set()  # the turn is an entry, to be signed as any other
        async with self._cosigned:
            self._cosigned.notify_all()

    # --- receipts ---

    async def cosigned_note(self, log: str, covering: int) -> tuple[CheckpointRow, bytes] | None:
        """The smallest checkpoint over at least `covering` leaves that satisfies the log's policy, as one note."""
        start = max(covering, 1)
        # Most are cosigned before there is the next one: an old entry has all the checkpoints since behind it.
        while rows := await self._store.checkpoints(log, start, CHECKPOINTS_AT_ONCE):
            for row in rows:
                if self._with.policies[log].satisfied({name for name, _ in row.cosignatures}):
                    return row, note_text(row.note, [line for _, line in row.cosignatures])
            start = rows[-1].size + 1
        return None

    async def newest_cosigned(self, log: str) -> bytes | None:
        """The newest checkpoint that satisfies the log's policy, as one note; None when there is none. An empty log has one."""
        row = await self.rounds.newest(log)
        return note_text(row.note, [line for _, line in row.cosignatures]) if row is not None else None

    async def grown(self, log: str, size: int, root: bytes) -> tuple[bytes, list[bytes]] | bytes | None:
        """The newest cosigned note and the proof that it grew out of this size and root.

        Bytes instead, the root that this log had at that size, or none at all, when it did not; None when none is cosigned.
        """
        row = await self.rounds.newest(log)
        if row is None:
            return None
        ours = await self.rounds.root_at(log, size) if size <= row.size else b""
        if ours != root:
            return ours
        proof = await self.rounds.consistency(log, size, row.size)
        return note_text(row.note, [line for _, line in row.cosignatures]), proof

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
        proof = inclusion_proof(index, row.size, await self.rounds.reader(log, inclusion_proof, index, row.size))
        return Receipt(index=index, proof=tuple(proof), note=note).encode()
