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

import aiohttp
import orjson
import structlog

from certs.jcs import load
from exchange.clock import Clock
from exchange.errors import LedgerFault
from exchange.ledger.entry import LOGS
from exchange.ledger.merkle import Frontier, HashReader, consistency_proof, inclusion_proof, leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, NoteFault, Policy, cosigned_by, note_text, open_note
from exchange.ledger.receipt import Receipt
from exchange.ledger.witness import Behind, Cosigned, Refused, Unreachable, add_checkpoint, newest_checkpoint
from exchange.store.contract import CheckpointRow, Store, TreeRow

_log = structlog.get_logger("puente.publisher")

REHASH_LEAVES = 512
"""Leaves read at a time when a checkpoint's growth is hashed again from disk: it takes 2 ms, and requests wait so long."""

TURN_POLL_SECONDS = 0.005
"""How often a publisher looks whether the other process is done; its turn takes about as long."""


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

    @contextlib.asynccontextmanager
    async def turn(self, log: str) -> AsyncIterator[None]:
        """Hold this log's turn to publish: one at a time among all processes that share the directory.

        The kernel gives the turn of a killed process to the next one.
        """
        try:
            lock = os.open(self._directory / f"{log}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
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


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody holds that this log had this root when it had this size."""

    size: int
    root: bytes
    by: str


_CHECKPOINT = "the newest checkpoint kept"


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
    """One per hub process. Those of one machine take turns; the store's unique key and the witnesses stand behind that."""

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

    @property
    def vkeys(self) -> dict[str, str]:
        return {log: key.vkey for log, key in self._with.keys.items()}

    async def start(self, *, ask_witnesses: bool = False) -> None:
        """Compare the whole log with the anchors, and with the witnesses if asked to, before anything is signed.

        Raises LedgerFault on a rollback or a fork: a restored backup, a copied database, edited rows. A witness that
        gives no answer is no objection, but the log says so.
        """
        seen = await self._witness_claims() if ask_witnesses else {}
        for log in LOGS:
            async with self._with.anchors.turn(log):
                claims = [*await self._own_claims(log), *seen.get(log, ())]
                self._frontiers[log] = await self._agree(log, await self._tree(log), claims)

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
        try:
            for log in LOGS:
                await self._publish(log)
        except LedgerFault as fault:
            await self._halt(fault)

    async def _publish(self, log: str) -> None:
        async with self._with.anchors.turn(log):
            state = (await self._store.epochs()).state
            if state != "open":
                self.halted = state  # another process halted the log, or this one before it was started again
                return
            # What was signed is read before what is committed: a publisher of another machine, with anchors and turns of its
            # own, may sign more in between, never less.
            claims = await self._own_claims(log)
            tree = await self._tree(log)
            # Re-hash what is on disk: a flipped bit or an edited row must not be signed.
            frontier = await self._agree(log, tree, claims)
            if all(claim.size < tree.size for claim in claims if claim.by == _CHECKPOINT):
                # Two fsyncs, which polls need not wait for.
                await asyncio.to_thread(self._with.anchors.write, log, Anchor(tree.size, tree.root))
                # A crash here signs the same head again at the next start.
                key = self._with.keys[log]
                note = key.sign(Checkpoint(key.name, tree.size, tree.root).body())
                await self._store.add_checkpoint(CheckpointRow(log, tree.size, tree.root, note, self._clock.now_us()))
        if frontier.size > self._frontiers[log].size:
            self._frontiers[log] = frontier
            self._wake_witnesses.set()

    async def _tree(self, log: str) -> TreeRow:
        return (await self._store.trees())[log]

    def _signed(self, log: str, note: bytes) -> Checkpoint | None:
        """What this log once said, if the note bears its signature."""
        try:
            return Checkpoint.parse(open_note(note, [self._with.keys[log].verifier]).body)
        except NoteFault:
            return None

    async def _own_claims(self, log: str) -> list[_Claim]:
        """What this hub itself signed last: by the anchor, and by the newest checkpoint kept."""
        anchor = self._with.anchors.read(log)
        claims = [_Claim(anchor.size, anchor.root, "the anchor")]
        last = await self._store.checkpoint(log)
        if last is not None:
            if self._signed(log, last.note) != Checkpoint(self._with.keys[log].name, last.size, last.root):
                raise LedgerFault("rows-changed", f"log {log}: the checkpoint kept for size {last.size} was altered")
            claims.append(_Claim(last.size, last.root, _CHECKPOINT))
        return claims

    async def _agree(self, log: str, tree: TreeRow, claims: Iterable[_Claim]) -> Frontier:
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
        self.halted = fault.code
        _log.critical("ledger halted", code=fault.code, reason=str(fault))
        await self._store.halt(fault.code)

    # --- witnesses ---

    async def _witness_claims(self) -> dict[str, list[_Claim]]:
        """What the witnesses remember of each log. A machine restored together with its anchors learns here what it lost."""
        claims: dict[str, list[_Claim]] = {log: [] for log in LOGS}
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            for log in LOGS:
                for name in self._witnesses_of(log):
                    tasks.create_task(self._recall(session, log, name, claims[log]))
        return claims

    async def _recall(self, session: aiohttp.ClientSession, log: str, name: str, claims: list[_Claim]) -> None:
        origin = self._with.keys[log].name
        answer = await newest_checkpoint(
            session, self._with.witnesses[name], origin, self._with.witness_timeout_seconds
        )
        if isinstance(answer, Unreachable):
            _log.warning("started without this witness", witness=name, log=log, reason=answer.reason[:200])
        elif answer is not None:
            # Our own signature is on it: whoever shows it, it is what we once said.
            seen = self._signed(log, answer)
            if seen is None or seen.origin != origin:
                _log.error("a witness shows what this log did not sign", witness=name, log=log)
                return
            claims.append(_Claim(seen.size, seen.root, f"witness {name}"))
            self._witness_sizes[log, name] = seen.size

    def _witnesses_of(self, log: str) -> list[str]:
        return [name for name in self._with.policies[log].witness_names() if name in self._with.witnesses]

    async def witness_round(self) -> None:
        """Ask every witness that a log's policy names to cosign its newest checkpoint."""
        async with aiohttp.ClientSession() as session:
            for log in LOGS:
                row = await self._store.checkpoint(log)
                if row is None:
                    continue
                held = {name for name, _ in row.cosignatures}
                async with asyncio.TaskGroup() as tasks:
                    for name in self._witnesses_of(log):
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
        """The newest checkpoint that satisfies the log's policy, as one note; None when there is none. An empty log has one."""
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
