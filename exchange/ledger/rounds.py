"""The hub's rounds among the witnesses: recall, cosign, mirror; and the degraded state while one country's stay silent.

    open ── no cosignatures of both countries for `silence_seconds`, or no answer of both at a start ──▶ degraded
    degraded ── a checkpoint that both countries cosigned within that time, and both have answered ──▶ open

Both turns are entries (`log.degraded`), each committed with the state that it tells of: of several processes one writes it.
"""

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import aiohttp
import structlog

from exchange.clock import Clock
from exchange.errors import LedgerFault
from exchange.ledger.asking import (
    Behind,
    Copying,
    Cosigned,
    Refused,
    Said,
    Unreachable,
    add_checkpoint,
    add_entries,
    newest_checkpoint,
)
from exchange.ledger.entry import HUB, Entry
from exchange.ledger.generations import current, kind, number
from exchange.ledger.merkle import HashReader, consistency_proof, root_at
from exchange.ledger.mirror import Piece
from exchange.ledger.note import Checkpoint, LogKey, NoteFault, Policy, cosigned_by, note_text
from exchange.ledger.signing import Signing, sign
from exchange.ledger.tiles import HEIGHT
from exchange.store.acts import Act, Record
from exchange.store.answers import CheckpointRow
from exchange.store.changes import StateChange
from exchange.store.contract import DEGRADED, OPEN, Outdated, Store
from exchange.times import as_text

_log = structlog.get_logger("puente.witnesses")

PIECE_LEAVES = 512
"""Entries given to a mirror at once: two megabytes at the very most."""

PIECES_AT_ONCE = 200
"""Of one round: a mirror that is new is led to a log of a million entries in ten rounds, and others need not wait."""

CLOCK_AHEAD_SECONDS = 6
"""The five by which a clock may step (sequencer.py), and one because cosignatures are dated by the second."""

KEPT_SUBTREES = 20_000
"""Of these every proof needs some; at the edge of a log, where tiles are not full, one is made from up to 128 tiles. Four
megabytes, and enough for five million entries."""

LOOK_BACK_LEAVES = 1_000
"""How far behind the newest checkpoint a cosigned one is looked for at first."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom the hub asks, for which logs, and how long it waits."""

    signing: Signing
    policies: Mapping[str, Policy]
    witnesses: Mapping[str, str]
    """Witness name to submission prefix."""
    timeout_seconds: float
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody holds that this log had this root when it had this size."""

    size: int
    root: bytes
    by: str


class Rounds:
    """One per hub process."""

    def __init__(
        self, store: Store, clock: Clock, asking: Asking, halt: Callable[[LedgerFault], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._with = asking
        self._halt = halt
        self._began_s = clock.now_us() // 1_000_000
        self._sizes: dict[tuple[str, str], int] = {}
        """By log and witness, the largest size that it is known to have cosigned."""
        self._forgot: set[str] = set()
        self._answered: set[str] = set()
        self._newest: dict[str, CheckpointRow] = {}
        self._ahead: dict[str, float] = {}
        """By how many seconds our clock was ahead of each witness's when it last cosigned for us."""
        self._great: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        """Hashes of complete subtrees of a tile's leaves or more, by log, level and number: those never change."""

    # --- what they remember ---

    async def recall(self) -> dict[str, list[Claim]]:
        """What the witnesses remember of each log. A machine restored together with its anchors learns here what it lost."""
        claims: dict[str, list[Claim]] = {log: [] for log in self._with.signing.logs}
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            for log in self._with.signing.logs:
                for name in self._witnesses_of(log):
                    tasks.create_task(self._recall(session, log, name, claims[log]))
        return claims

    async def _recall(self, session: aiohttp.ClientSession, log: str, name: str, claims: list[Claim]) -> None:
        origin = self._with.signing.origins[log]
        answer = await newest_checkpoint(session, self._with.witnesses[name], origin, self._with.timeout_seconds)
        if isinstance(answer, Unreachable):
            _log.warning("started without this witness", witness=name, log=log, reason=answer.reason[:200])
            return
        if answer is not None:
            # Our own signature is on it: whoever shows it, it is what we once said.
            seen = await self._with.signing.said(log, answer)
            if seen is None or seen.origin != origin:
                _log.error("a witness shows what this log did not sign", witness=name, log=log)
                return
            claims.append(Claim(seen.size, seen.root, f"witness {name}"))
            self._sizes[log, name] = seen.size
        if kind(log) == "both":
            self._answered.add(name)

    def _witnesses_of(self, log: str) -> list[str]:
        return [name for name in self._with.policies[log].witness_names() if name in self._with.witnesses]

    # --- cosignatures ---

    async def go(self) -> None:
        """Ask every witness that a log's policy names to cosign its newest checkpoint, and then look who is silent.

        One that cosigned it already is asked again when two thirds of the time to silence are over: a log that does not
        grow shows only so that its witnesses are there.
        """
        now_s = (
            self._now_s()
        )  # once: who was not asked because there was time is not silent because it ran out meanwhile
        refresh_s = now_s - int(self._with.silence_seconds * 2 / 3)
        async with aiohttp.ClientSession() as session:
            for log in self._with.signing.logs:
                row = await self._store.checkpoint(log)
                if row is None:
                    continue
                held = await self._times(log, row)
                for name in held:
                    self._sizes[log, name] = max(row.size, self._sizes.get((log, name), 0))
                if (
                    kind(log) == "both"
                ):  # what another process of this hub was answered since we began is an answer to us
                    self._answered.update(name for name, time_s in held.items() if time_s > self._began_s)
                async with asyncio.TaskGroup() as tasks:
                    for name in self._witnesses_of(log):
                        if name not in self._forgot and held.get(name, 0) <= max(refresh_s, 0):
                            tasks.create_task(self._ask(session, log, row, name))
        await self._judge(now_s)
        if (ahead := self.clock_ahead()) > CLOCK_AHEAD_SECONDS:
            _log.critical(
                "the clock is ahead of both countries' witnesses; see puente ledger clock", seconds=round(ahead)
            )

    async def _ask(self, session: aiohttp.ClientSession, log: str, row: CheckpointRow, name: str) -> None:
        known = self._sizes.get((log, name), 0)
        old, proved = min(known, row.size), False
        for _ in range(4):
            proof = await self.consistency(log, old, row.size)
            answer = await add_checkpoint(
                session, self._with.witnesses[name], old, proof, _with_own(row, name), self._with.timeout_seconds
            )
            if isinstance(answer, Copying) and answer.size < row.size:
                if await self._mirror(session, log, row, name, answer.size):
                    continue
            elif isinstance(answer, Behind) and answer.size <= row.size and not proved:
                if answer.size < known:
                    await self._remind(session, log, name, answer.size, known)
                    return
                old, proved = answer.size, True
                continue
            await self._take(log, row, name, answer)
            return

    async def who_takes(self, log: str, keys: Sequence[LogKey]) -> set[str]:
        """The witnesses that cosign, when these keys alone sign it, the checkpoint that they cosigned last."""
        takers = set()

        async def offer(session: aiohttp.ClientSession, name: str) -> None:
            size = self._sizes.get((log, name), 0)
            for _ in range(4):  # other processes lead it on meanwhile
                row = await self._store.checkpoint(log, size)
                if row is None:
                    return
                note = sign(Checkpoint(keys[0].name, row.size, row.root).body(), keys)
                url, wait = self._with.witnesses[name], self._with.timeout_seconds
                answer = await add_checkpoint(session, url, row.size, [], note, wait)
                if isinstance(answer, Cosigned) and cosigned_by(self._with.policies[log], name, note, answer.lines):
                    takers.add(name)
                if not isinstance(answer, Behind):
                    return
                size = answer.size

        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            for name in self._witnesses_of(log):
                tasks.create_task(offer(session, name))
        return takers

    async def _take(self, log: str, row: CheckpointRow, name: str, answer: Said) -> None:
        if isinstance(answer, Cosigned):
            line = cosigned_by(self._with.policies[log], name, row.note, answer.lines)
            if line is None:
                _log.error("a witness answered with a line that does not verify", witness=name, log=log)
                return
            await self._store.add_cosignature(log, row.size, name, line)
            time_s = (await self._times(log, replace(row, cosignatures=((name, line),))))[name]
            self._ahead[name] = self._clock.now_us() / 1_000_000 - time_s
            self._sizes[log, name] = max(row.size, self._sizes.get((log, name), 0))
            if kind(log) == "both":
                self._answered.add(name)
        elif isinstance(answer, Behind):
            if answer.size <= (await self._store.trees())[log].size:
                return  # another process of this hub was faster; the next round proves from there
            await self._halt(LedgerFault("rollback", f"witness {name} has seen {answer.size} leaves of log {log}"))
        elif isinstance(answer, Refused) and answer.status == 422:
            await self._halt(LedgerFault("fork", f"witness {name} found log {log} inconsistent: {answer.text[:200]}"))
        elif not isinstance(answer, Copying):
            _log.warning("witness did not cosign", witness=name, log=log, answer=str(answer)[:200])

    async def _remind(self, session: aiohttp.ClientSession, log: str, name: str, size: int, known: int) -> None:
        """A witness that forgot could be led to cosign a second history. It is shown what it signed, so that it retires
        (ours does), and its cosignatures are asked for no more."""
        self._forgot.add(name)
        _log.critical("a witness forgot what it cosigned; retire it", witness=name, log=log, says=size, cosigned=known)
        row = await self._store.checkpoint(log, known)
        if row is not None and row.size == known:
            proof = await self.consistency(log, size, known)
            url = self._with.witnesses[name]
            await add_checkpoint(session, url, size, proof, _with_own(row, name), self._with.timeout_seconds)

    # --- mirrors ---

    async def _mirror(self, session: aiohttp.ClientSession, log: str, row: CheckpointRow, name: str, size: int) -> bool:
        """Give a mirror what it lacks of a checkpoint, as much as a round allows; whether it now holds all of it."""
        for _ in range(PIECES_AT_ONCE):
            end = min(size + PIECE_LEAVES, row.size)
            leaves = await self._store.leaves(log, size, end)
            piece = Piece(size, end, tuple(await self.consistency(log, end, row.size)), row.note, tuple(leaves))
            answer = await add_entries(session, self._with.witnesses[name], piece, self._with.timeout_seconds)
            if not isinstance(answer, Copying) or answer.size <= size:
                _log.error("a mirror does not take the log", witness=name, log=log, answer=str(answer)[:200])
                return False
            size = answer.size
            if size >= row.size:
                return size == row.size
        return False

    async def consistency(self, log: str, old: int, new: int) -> list[bytes]:
        """The proof that the log of the new size begins with that of the old one."""
        if old in (0, new):
            return []
        return consistency_proof(old, new, await self.reader(log, consistency_proof, old, new))

    async def root_at(self, log: str, size: int) -> bytes:
        """The root that the log had at a size."""
        read = await self.reader(log, lambda at, _, ask: [root_at(at, ask)], size, size)
        return root_at(size, read)

    async def reader(self, log: str, prove: Callable[[int, int, HashReader], list[bytes]], *sizes: int) -> HashReader:
        """The hashes that a proof will ask for, fetched beforehand: proofs are pure and do not wait."""
        wanted: list[tuple[int, int]] = []

        def note_wanted(asked: list[tuple[int, int]]) -> list[bytes]:
            wanted.extend(asked)
            return [bytes(32)] * len(asked)

        prove(sizes[0], sizes[1], note_wanted)
        hashes = {one: digest for one in wanted if (digest := self._great.get((log, *one))) is not None}
        missing = [one for one in wanted if one not in hashes]
        hashes.update(zip(missing, await self._store.subtree_hashes(log, missing), strict=True))
        self._keep(log, hashes)
        return lambda asked: [hashes[one] for one in asked]

    def _keep(self, log: str, hashes: Mapping[tuple[int, int], bytes]) -> None:
        for (level, n), digest in hashes.items():
            if level >= HEIGHT:
                self._great[log, level, n] = digest
                self._great.move_to_end((log, level, n))
        while len(self._great) > KEPT_SUBTREES:
            self._great.popitem(last=False)

    # --- the newest that both countries vouch for ---

    async def newest(self, log: str) -> CheckpointRow | None:
        """The newest checkpoint that satisfies the log's policy."""
        kept = self._newest.get(log)
        last = await self._store.checkpoint(log)
        if last is None:
            return None
        back = LOOK_BACK_LEAVES
        while True:
            start = max(last.size - back, 0) if kept is None else max(last.size - back, kept.size)
            for row in reversed(await self._store.checkpoints(log, start)):
                if self._with.policies[log].satisfied({name for name, _ in row.cosignatures}):
                    self._newest[log] = row
                    return row
            if start == 0 or (kept is not None and start <= kept.size):
                return None
            back *= 8

    async def _times(self, log: str, row: CheckpointRow) -> Mapping[str, int]:
        """When each witness cosigned it, in seconds, by its own clock."""
        logs = tuple(await self._with.signing.verifiers(log))
        anybody = replace(self._with.policies[log], quorum="none", logs=logs)
        try:
            return anybody.check(note_text(row.note, [line for _, line in row.cosignatures])).cosigned
        except NoteFault:
            return {}

    # --- what time it is ---

    def clock_ahead(self) -> float:
        """By how many seconds at least, as enough witnesses for the quorum of `both` say, our clock is ahead of theirs; 0 when
        not enough of them say so. One country alone cannot stop the hub by its clocks."""
        said = sorted(self._ahead.values(), reverse=True) if self._policy.quorum != "none" else []
        for seconds in said:
            if self._policy.satisfied({name for name, one in self._ahead.items() if one >= seconds}):
                return max(seconds, 0.0)
        return 0.0

    # --- who is silent ---

    def _now_s(self) -> int:
        return self._clock.now_us() // 1_000_000

    async def begin(self) -> None:
        """At a start: without one answer of each country nothing crosses the border (ledger design, 3.7); nor while a log that goes
        on after a loss is not cosigned: its witnesses may not have been told of it."""
        unseen = number(self._both) > 1 and await self.newest(self._both) is None
        if unseen or not self._policy.satisfied(self._answered):
            await self._pass(OPEN, DEGRADED, self._lacking(set() if unseen else self._answered))

    async def _judge(self, now_s: int) -> None:
        state = (await self._store.epochs()).state
        row = await self.newest(self._both)
        times = await self._times(self._both, row) if row is not None else {}
        since_s = now_s - int(self._with.silence_seconds)
        heard = {name for name, time_s in times.items() if time_s >= since_s}
        fresh = self._policy.satisfied(heard)
        if state == OPEN and not fresh and (row is not None or self._began_s < since_s):
            await self._pass(OPEN, DEGRADED, self._lacking(await self._heard_lately(since_s)) or self._lacking(heard))
        elif state == DEGRADED and fresh and self._policy.satisfied(self._answered):
            await self._pass(DEGRADED, OPEN, ())

    async def _heard_lately(self, since_s: int) -> set[str]:
        last = await self._store.checkpoint(self._both)
        times = await self._times(self._both, last) if last else {}
        return {name for name, time_s in times.items() if time_s >= since_s}

    @property
    def _both(self) -> str:
        return current(self._with.signing.logs)["both"]

    @property
    def _policy(self) -> Policy:
        return self._with.policies[self._both]

    def _lacking(self, names: set[str]) -> tuple[str, ...]:
        """The members of the quorum, which are countries, that these witnesses do not speak for."""
        group = self._policy.groups.get(self._policy.quorum)
        members = group.members if group is not None else (self._policy.quorum,)
        return tuple(one for one in members if not replace(self._policy, quorum=one).satisfied(names))

    async def _pass(self, old: str, new: str, silent: tuple[str, ...]) -> None:
        row = await self.newest(self._both)
        since_s = max((await self._times(self._both, row)).values(), default=0) if row is not None else self._began_s
        release = "domestic" if new == DEGRADED else "all"
        pub = {"countries": list(silent), "since": as_text(since_s * 1_000_000), "release": release}
        entry = Entry("both", "log.degraded", HUB, "hub", pub)
        act = Act(str(uuid.uuid4()), lambda _: Record((entry,)), changes=(StateChange(old, new),))
        (done,) = await self._store.extend([act])
        if isinstance(done, Outdated):
            return  # another process was faster, or the log has halted
        if isinstance(done, Exception):
            raise done
        tell = _log.critical if new == DEGRADED else _log.warning
        tell("release across the border", state=new, silent=",".join(silent))


def _with_own(row: CheckpointRow, name: str) -> bytes:
    """The note with what this witness signed on it before, so that one restored from a backup learns that it forgot."""
    return note_text(row.note, [line for who, line in row.cosignatures if who == name])
