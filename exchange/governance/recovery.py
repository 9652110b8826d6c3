"""Putting back what a restored database lost, and what ends a halt: never without the countries whose log it is.

A log that is to be abandoned is closed instead, with as much of it as can be put back, and its next generation begins (abandoning.py).

What counts is the newest checkpoint for which the operator's own policy holds. Its leaves are fetched, hashed after those that
are here, and inserted only if that leads to its root: so no history can come of it but the one that was cosigned. National
logs are approved by their own country alone, since a statement tells how many entries there are.

    1. own leaves hash to the tree's root, and are what the anchor says        else: recover-rows, recover-anchor
    2. a checkpoint that both countries' witnesses cosigned                    else: recover-quorum
    3. own leaves and the fetched ones lead to its root                        else: recover-fork, recover-source
    4. the trust list is the one logged last; its approvers approve            else: recover-trust, approval-…
    5. insert, a bundle at a time; a crash here goes on at 1, from there
    6. revocations, suspensions, deletions and erasures that were lost are done again, `log.recover` is written, and the head opens
"""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar, Final

import orjson

from certs.trust import TrustList
from exchange.clock import Clock
from exchange.errors import NotPermitted
from exchange.governance.abandoning import AHEAD_US, Loss, NextLogs, countries_of
from exchange.governance.approvals import Approval, heard, must_be_enough
from exchange.governance.readopting import Readopting
from exchange.governance.told import Told
from exchange.ledger.entry import Entry
from exchange.ledger.generations import current, following, in_order, kind
from exchange.ledger.merkle import EMPTY, Frontier, leaf_hash
from exchange.ledger.note import LOG_TYPE, Checkpoint, Policy, note_text, open_note
from exchange.ledger.publication import moved
from exchange.ledger.publisher import Anchor, Anchors
from exchange.ledger.sources import Source, SourceFault, entries, newest
from exchange.model.member import Member, Status
from exchange.store.acts import Act, Done, Record
from exchange.store.answers import CheckpointRow
from exchange.store.changes import BlockPrivate, Change, ErasePrivate, TrustListRow
from exchange.store.contract import RECOVERING, Store
from exchange.times import as_datetime

RECOVERY_TYPE: Final = "log-recovery-approval+jws"
_LEAVES = 512

Progress = Callable[[str, int, int], None]
"""Called with a log, how far it is, and how far it will be."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One log: what is here, and what it must be again."""

    typ: ClassVar[str] = RECOVERY_TYPE
    log: str
    mine: int
    since: int
    """Where it stood when its recovery began."""
    checkpoint: Checkpoint
    note: bytes
    digests: tuple[bytes, ...]
    """Of each bundle that was fetched and found good."""

    @property
    def missing(self) -> int:
        return max(0, self.checkpoint.size - self.mine)

    @property
    def lost(self) -> bool:
        """Whether anything of it was, or has to be, put back."""
        return self.checkpoint.size > self.since

    @property
    def statement(self) -> dict[str, Any]:
        """What its approvers sign."""
        one = self.checkpoint
        return {"act": "log.recover", "origin": one.origin, "size": one.size, "root": one.root.hex()}

    @property
    def countries(self) -> tuple[str, ...]:
        return countries_of(self.log)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of it."""

    done: Done
    leaves: Mapping[str, int]
    """How many were put back, by log."""
    lost: tuple[tuple[str, str], ...]
    """Ids and versions whose leaves are here again and whose bytes are not: their owners must send them anew."""
    closed: tuple[Loss, ...] = ()


class Recovery:
    def __init__(
        self, store: Store, clock: Clock, policies: Mapping[str, Policy], anchors: Anchors, source: Source,
        progress: Progress = lambda _log, _done, _size: None, *, abandon: Collection[str] = (), next_logs: NextLogs | None = None,
    ) -> None:  # fmt: skip
        """`abandon`: kinds of logs that nobody can give back; `next_logs` makes what goes on in their stead."""
        self._store = store
        self._clock = clock
        self._policies = policies
        self._anchors = anchors
        self._source = source
        self._progress = progress
        self._abandon = abandon
        self._next_logs = next_logs
        self._told = Told()
        self._partly: dict[str, Gap] = {}
        """What can still be put back of a log that is closed then."""

    async def plan(self) -> list[Gap | Loss]:
        """What is missing, all of it fetched and checked; nothing of the logs is written. Raises NotPermitted (`recover-…`),
        LedgerFault."""
        self._told, self._partly = Told(), {}
        state, trees = (await self._store.epochs()).state, await self._store.trees()
        opened = in_order([log for log, tree in trees.items() if not tree.closed])
        await self._must_be_of_now(opened)
        for log in in_order(trees):
            if kind(log) == "both" and trees[log].closed:
                await self._own(log, trees[log].size, trees[log].size, {})
        return [
            await (self._loss(log, state) if kind(log) in self._abandon else self._check(log, state)) for log in opened
        ]

    async def run(self, approvals: Sequence[bytes], documents: Sequence[bytes] = ()) -> Recovered:
        """Steps 1 to 6. `documents`: trust lists, agreements and overlays that came into force since the backup."""
        plan = await self.plan()
        trust, new_trust = await self._trust(documents)
        given = self._approved(plan, approvals, trust)
        gaps, losses = [one for one in plan if isinstance(one, Gap)], [one for one in plan if isinstance(one, Loss)]
        held = await self._store.agreement()
        adopted = Readopting(documents, self._told.approvals).rows(held, self._told.adoptions)
        adopted += [row for one in losses for row in one.adoption(adopted[-1] if adopted else held)]
        changes = [*new_trust, *adopted, *await self._narrowed(), *await self._hidden()]
        changes += [*self._told.statements, *self._told.rekeying.turns({one.log: one.held for one in losses})]
        back = [*gaps, *self._partly.values()]
        sizes = " ".join(f"{gap.log}={gap.since}" for gap in back)
        await self._store.recovering(f"{RECOVERING} {sizes}")
        for gap in back:
            await self._put_back(gap)
        lost = {gap.log: await self._bodiless(gap.log) for gap in back}
        after_us = await self._after(losses)
        restored = [
            entry for gap in gaps if gap.log in given for entry in _restored(gap, given[gap.log], len(lost[gap.log]))
        ]
        acts = (*self._closing(losses, given, after_us), *restored)
        act = Act(
            str(uuid.uuid4()), lambda stamp: Record((*acts, *moved(stamp))), changes=tuple(changes),
            removals=tuple(self._told.removals),
        )  # fmt: skip
        # Every leaf took a number, those of `both` too, which do not show it, and those that are lost.
        trees = await self._store.trees()
        successions = [one.succession(trees[one.log].before) for one in losses]
        before = {one.log: one.before for one in successions}
        numbered = sum(before.get(log, tree.before + tree.size) for log, tree in trees.items() if not tree.closed)
        told = self._told.floor
        floor = told._replace(seq=max(told.seq, numbered), last_tick=max(told.last_tick, after_us))
        done = await self._store.reopen(floor, act, successions)
        await self._store.scrub()
        return Recovered(
            done,
            {gap.log: gap.checkpoint.size - gap.since for gap in back if gap.lost},
            tuple(one for gap in back for one in lost[gap.log]),
            tuple(losses),
        )

    # --- what is closed ---

    async def _must_be_of_now(self, opened: Sequence[str]) -> None:
        """The logs that are open here are those of the policies, or a closing was interrupted and is gone on with."""
        for log in opened:
            newest_known = current(self._policies).get(kind(log), "")
            begun = newest_known == following(log) and kind(log) in self._abandon
            if newest_known != log and not (begun and not await self._has_gone_on(newest_known)):
                raise _refused(
                    "generation",
                    f"The newest log of its kind is {newest_known} by the witness policies, and {log} here. Begin with a backup of"
                    f" {newest_known}; where closing {log} was interrupted, go on with --abandon {kind(log)}.",
                    f"El registro más nuevo de su clase es {newest_known} según las políticas de testigos, y {log} aquí. Comience con"
                    f" una copia de {newest_known}; si se interrumpió el cierre de {log}, continúe con --abandon {kind(log)}.",
                )

    async def _has_gone_on(self, log: str) -> bool:
        signed = self._anchors.read(log).size if self._anchors.there(log) else 0
        return signed > 0 or await newest(self._source, log, self._policies[log]) is not None

    async def _loss(self, log: str, state: str) -> Loss:
        """What is to be approved before a log is closed. Raises NotPermitted where it can be recovered: then it must be."""
        told, tree, anchor = deepcopy(self._told), (await self._store.trees())[log], self._anchors.read(log)
        found = await newest(self._source, log, self._policies[log])
        try:
            gap, roots = await self._gap(log, state)
        except NotPermitted as refusal:
            if found is None or refusal.code not in ("recover-source", "recover-fork"):
                raise
            self._told = told  # what was fetched leads nowhere, and counts nothing
            await self._own(log, tree.size, _begun(state, log, tree.size), {})
            held, held_root, since = tree.size, tree.root, _begun(state, log, tree.size)
        else:
            if _anchored(roots, anchor):
                raise _refused(
                    "possible",
                    f"{log}: everything that was signed can be put back: recover it, without --abandon.",
                    f"{log}: todo lo que se firmó puede reponerse: recupérelo, sin --abandon.",
                )
            self._partly[log] = gap
            held, held_root, since = gap.checkpoint.size, gap.checkpoint.root, gap.since
        if found is None or self._next_logs is None:
            raise ValueError("nothing to close a log with")
        checkpoint, note = found
        return Loss(
            log, checkpoint, note, held, held_root, since, max(checkpoint.size, anchor.size),
            max(self._policies[log].check(note).cosigned.values(), default=0) * 1_000_000,
            self._next_logs.vkey(log, checkpoint.origin),
        )  # fmt: skip

    async def _after(self, losses: Sequence[Loss]) -> int:
        """Up to when a lost entry may have placed something: by this clock, by the witnesses', and by what is here."""
        if not losses:
            return 0
        here = (await self._store.epochs()).last_tick
        return max(self._clock.now_us(), self._told.floor.last_tick, here, *(one.seen_us for one in losses)) + AHEAD_US

    def _closing(self, losses: Sequence[Loss], given: Mapping[str, list[str]], after_us: int) -> list[Entry]:
        """The first entry of each next generation, and what both countries are told of it."""
        if not losses or self._next_logs is None:
            return []
        digests = [self._next_logs.begin(one) for one in losses]
        first = [one.entry(after_us, given[one.log]) for one in losses]
        return [*first, *(one.opening(digest) for one, digest in zip(losses, digests, strict=True))]

    # --- 1 to 3 ---

    async def _check(self, log: str, state: str) -> Gap:
        gap, roots = await self._gap(log, state)
        anchor = self._anchors.read(log)
        if anchor.size not in roots:
            raise _refused(
                "anchor",
                f"{log}: this hub signed {anchor.size} leaves, and only {gap.checkpoint.size} were cosigned: the others are gone"
                f" for ever. The log must be closed: --abandon {kind(log)}.",
                f"{log}: este nodo firmó {anchor.size} asientos y solo {gap.checkpoint.size} fueron cofirmados: los demás se"
                f" perdieron para siempre. El registro debe cerrarse: --abandon {kind(log)}.",
            )
        if not _anchored(roots, anchor):
            raise _fork(log)
        return gap

    async def _gap(self, log: str, state: str) -> tuple[Gap, Mapping[int, bytes]]:
        """With the roots at the sizes that it passes, up to the cosigned one and what the anchor says."""
        tree, anchor = (await self._store.trees())[log], self._anchors.read(log)
        found = await newest(self._source, log, self._policies[log])
        if found is None:
            raise _refused(
                "quorum",
                f"{log}: there is no checkpoint that the policy's witnesses cosigned.",
                f"{log}: no hay un punto de control cofirmado por los testigos de la política.",
            )
        checkpoint, note = found
        since = _begun(state, log, tree.size)
        roots = dict.fromkeys((anchor.size, tree.size, checkpoint.size), b"")
        frontier = await self._own(log, tree.size, since, roots)
        if roots[tree.size] != tree.root:
            raise _refused(
                "rows",
                f"{log}: the leaves that are here were altered; see puente ledger fsck, and begin with another backup.",
                f"{log}: los asientos presentes fueron alterados; vea puente ledger fsck y comience con otra copia.",
            )
        digests: list[bytes] = []
        try:
            async for bundle in entries(self._source, log, checkpoint, tree.size):
                for index, data in enumerate(bundle, frontier.size):
                    self._told.read(data, index, lost=True)
                frontier = _walk(frontier, bundle, roots)
                digests.append(_digest(bundle))
                self._progress(log, frontier.size, checkpoint.size)
        except (SourceFault, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            raise await self._not_the_log(log, checkpoint, f" ({fault})") from None
        if roots[checkpoint.size] != checkpoint.root:
            raise await self._not_the_log(log, checkpoint, "")
        passed = {size: root for size, root in roots.items() if size <= frontier.size}
        return Gap(log, tree.size, since, checkpoint, note, tuple(digests)), passed

    async def _own(self, log: str, size: int, since: int, roots: dict[int, bytes]) -> Frontier:
        frontier = _walk(EMPTY, [], roots)
        for start in range(0, size, _LEAVES):
            leaves = await self._store.leaves(log, start, min(size, start + _LEAVES))
            for index, data in enumerate(leaves, start):
                if kind(log) == "both" or index >= since:
                    self._told.read(data, index, lost=index >= since)
            frontier = _walk(frontier, leaves, roots)
        return frontier

    async def _not_the_log(self, log: str, checkpoint: Checkpoint, why: str) -> NotPermitted:
        """Is it the source that is wrong, or what is here?"""
        roots = {checkpoint.size: b""}
        frontier = EMPTY
        try:
            async for bundle in entries(self._source, log, checkpoint, 0):
                frontier = _walk(frontier, bundle, roots)
        except SourceFault as fault:
            why = f" ({fault})"
        if roots[checkpoint.size] == checkpoint.root:
            return _fork(log)
        return _refused(
            "source",
            f"{log}: what the source has is not what was cosigned{why}.",
            f"{log}: lo que tiene la fuente no es lo que se cofirmó{why}.",
        )

    # --- 4 ---

    async def _trust(self, documents: Sequence[bytes]) -> tuple[TrustList, list[TrustListRow]]:
        row = (await self._store.registry()).trust_list
        if row is not None and sha256(row.document).hexdigest() == self._told.trust:
            return TrustList.parse(row.document), []
        for document in documents:
            if sha256(document).hexdigest() == self._told.trust:
                trust = TrustList.parse(document)
                return trust, [TrustListRow(trust.version, document)]
        raise _refused(
            "trust",
            f"The trust list in force by the log ({self._told.trust[:16] or 'none'}…) is not here: give its document.",
            f"La lista de confianza vigente según el registro ({self._told.trust[:16] or 'ninguna'}…) no está: indique su documento.",
        )

    def _approved(
        self, plan: Sequence[Gap | Loss], approvals: Sequence[bytes], trust: TrustList
    ) -> dict[str, list[str]]:
        """By log, the signatures under what is done to it. `both` is asked for in any case: the border opens again."""
        now = as_datetime(self._clock.now_us())
        given = [Approval.parse(one) for one in approvals]
        about = {one.log: one for one in plan if one.lost or kind(one.log) == "both" or isinstance(one, Loss)}
        origins = {one.checkpoint.origin: one.log for one in plan}
        both = next(one.log for one in plan if kind(one.log) == "both")
        kept: dict[str, list[str]] = {log: [] for log in about}
        voices: dict[str, list[Any]] = {log: [] for log in about}
        for number, one in enumerate(given, 1):
            log = origins.get(str(one.words.get("origin")), both)
            gap = about.get(log)
            if gap is None:
                continue  # nothing has to be done to that log any more
            voice = heard(one, gap.statement, ("approve",), trust, at=now, field=f"approval {number}", typ=gap.typ)
            if voice.country not in gap.countries:
                raise NotPermitted(
                    f"It is of {voice.country}, whose log {log} is not.",
                    f"Es de {voice.country}, y el registro {log} no es suyo.",
                    code="approval-country",
                    field=f"approval {number}",
                )
            voices[log].append(voice)
            kept[log].append(f"{voice.country} {voice.approver} {one.jws}")
        for log, gap in about.items():
            must_be_enough(voices[log], gap.countries, trust)
        return kept

    # --- 5 ---

    async def _put_back(self, gap: Gap) -> None:
        start, part, size = gap.mine, list[bytes](), gap.checkpoint.size
        digests = iter(gap.digests)
        async for bundle in entries(self._source, gap.log, gap.checkpoint, gap.mine):
            if _digest(bundle) != next(digests, None):
                raise _refused(
                    "source",
                    f"{gap.log}: the source gave something else the second time.",
                    f"{gap.log}: la fuente dio otra cosa la segunda vez.",
                )
            part += bundle
            if len(part) >= _LEAVES or start + len(part) == size:
                await self._store.restore(gap.log, start, part)
                start, part = start + len(part), []
                self._progress(gap.log, start, size)
        if gap.lost:
            await self._keep(gap)

    async def _keep(self, gap: Gap) -> None:
        """The checkpoint with its cosignatures: receipts need one, and the publisher goes on from it."""
        policy, one = self._policies[gap.log], gap.checkpoint
        note = open_note(gap.note, (*policy.logs, *policy.witnesses.values()))
        own = [line.line for line in note.signatures if line.key.kind == LOG_TYPE]
        body = f"{note.body}\n".encode()
        now_us = self._clock.now_us()
        await self._store.add_checkpoint(CheckpointRow(gap.log, one.size, one.root, note_text(body, own), now_us))
        names = {key: name for name, key in policy.witnesses.items()}
        for line in note.signatures:
            if line.key in names:
                await self._store.add_cosignature(gap.log, one.size, names[line.key], line.line)

    # --- 6 ---

    async def _narrowed(self) -> list[Change]:
        """Whoever was revoked, suspended or given fewer roles since the backup is so again."""
        members: dict[str, Member] = dict((await self._store.registry()).members)
        changed: dict[str, Member] = {}
        for pub in self._told.members:
            member = members.get(pub["member"])
            if member is None:
                continue
            status = Status(pub["to"] if "to" in pub else pub["status"])
            new = replace(member, status=status)
            if "roles" in pub:
                new = replace(new, kind=pub["kind"], roles=tuple(pub["roles"]), sectors=tuple(pub["sectors"]))
            members[member.slug] = changed[member.slug] = new
        return [*self._told.ended, *self._told.revoked, *changed.values()]

    async def _hidden(self) -> list[Change]:
        """What was blocked or erased since the backup, which brought it back, is so again."""
        changes: list[Change] = []
        for place, step in self._told.private.items():
            opening = await self._store.opening(*place)
            if opening is not None and not opening.blocked:
                changes.append(BlockPrivate(*place))
            if opening is not None and step == "erase":
                changes.append(ErasePrivate(*place))
        return changes

    async def _bodiless(self, log: str) -> list[tuple[str, str]]:
        lost = []
        for object_id, version in self._told.submitted.get(log, ()):
            if all(held.version != version for held in await self._store.held(object_id)):
                lost.append((object_id, version))
        return lost


def _restored(gap: Gap, approvals: list[str], lost: int) -> tuple[Entry, Entry]:
    """What became of the log; and that an operator did it, as any privileged act is told. Each in that log alone: how much came
    back of one country's is not for the other."""
    pub = {"log": gap.log, "size": gap.checkpoint.size, "root": gap.checkpoint.root.hex(), "approvals": approvals}
    operator, on = "hub:puente:acct:operator", f"log:{gap.log}"
    leaves = gap.checkpoint.size - gap.since if gap.lost else 0
    return (
        Entry(kind(gap.log), "log.recover", operator, on, {**pub, "from": gap.since, "lost": lost}),
        Entry(kind(gap.log), "admin", operator, on, {"command": "restore", "leaves": leaves, "lost": lost}),
    )


def _walk(frontier: Frontier, leaves: Sequence[bytes], roots: dict[int, bytes]) -> Frontier:
    """The frontier after more leaves; on the way, the roots at the sizes that are asked for."""
    hashes, start = [leaf_hash(data) for data in leaves], frontier.size
    for stop in sorted(size for size in roots if start <= size <= start + len(hashes)):
        frontier = frontier.extend(hashes[frontier.size - start : stop - start])
        roots[stop] = frontier.root()
    return frontier.extend(hashes[frontier.size - start :])


def _digest(bundle: Sequence[bytes]) -> bytes:
    return sha256(b"".join(leaf_hash(data) for data in bundle)).digest()


def _begun(state: str, log: str, size: int) -> int:
    """Where a log stood when its recovery began, by the state that a recovery under way leaves."""
    sizes = dict(word.split("=") for word in state.split()[1:]) if state.startswith(RECOVERING) else {}
    return int(sizes.get(log, size))


def _anchored(roots: Mapping[int, bytes], anchor: Anchor) -> bool:
    """Whether what the anchor says is on the way to what was cosigned."""
    return not anchor.size or roots.get(anchor.size) == anchor.root


def _fork(log: str) -> NotPermitted:
    return _refused(
        "fork",
        f"{log}: this database holds other leaves than those that were cosigned. Begin with an older backup; if there is none,"
        f" the log must be closed: --abandon {kind(log)}.",
        f"{log}: esta base contiene asientos distintos de los cofirmados. Comience con una copia anterior; si no la hay, el registro"
        f" debe cerrarse: --abandon {kind(log)}.",
    )


def _refused(code: str, en: str, es: str) -> NotPermitted:
    return NotPermitted(en, es, code=f"recover-{code}")
