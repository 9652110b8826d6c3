"""Putting back what a restored database lost, and what ends a halt: never without the countries whose log it is.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

import orjson

from certs.trust import COUNTRIES, TrustList
from exchange.clock import Clock
from exchange.errors import NotPermitted
from exchange.governance.approvals import Approval, heard, must_be_enough
from exchange.governance.readopting import ADOPTIONS, Readopting
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.merkle import EMPTY, Frontier, leaf_hash
from exchange.ledger.note import LOG_TYPE, Checkpoint, Policy, note_text, open_note
from exchange.ledger.publication import moved
from exchange.ledger.publisher import Anchors
from exchange.ledger.sources import Source, SourceFault, entries, newest
from exchange.model.instant import instant
from exchange.model.member import Member, Status
from exchange.model.statement import Statement
from exchange.store.contract import (
    RECOVERING,
    Act,
    BlockPrivate,
    Change,
    CheckpointRow,
    Done,
    EndCredential,
    ErasePrivate,
    Floor,
    Record,
    Removal,
    RevokeSigningCert,
    Store,
    TrustListRow,
)
from exchange.times import as_datetime, parse_us

RECOVERY_TYPE: Final = "log-recovery-approval+jws"
_LEAVES = 512

Progress = Callable[[str, int, int], None]
"""Called with a log, how far it is, and how far it will be."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One log: what is here, and what it must be again."""

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
        return tuple(COUNTRIES) if self.log == "both" else (self.log.upper(),)


@dataclass(slots=True)
class _Told:
    """What the leaves that were lost tell of, as far as it must be so again."""

    floor: Floor = field(default_factory=Floor)
    trust: str = ""
    adoptions: list[Mapping[str, Any]] = field(default_factory=list)
    approvals: dict[str, list[bytes]] = field(default_factory=dict)
    ended: list[EndCredential] = field(default_factory=list)
    revoked: list[RevokeSigningCert] = field(default_factory=list)
    members: list[Mapping[str, Any]] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    """Consents and audiences' members, as they were signed."""
    private: dict[tuple[str, int], str] = field(default_factory=dict)
    """What was done to private parts: "block", or "erase" at last."""
    submitted: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By log: ids and versions."""

    def read(self, data: bytes, *, lost: bool) -> None:
        leaf = orjson.loads(data)
        pub = leaf["pub"]
        if leaf["t"] == "key.trust":
            self.trust = pub["sha256"]
        elif leaf["t"] == "policy.approve":
            words = {name: value for name, value in pub.items() if name != "jws"}
            self.approvals.setdefault(pub["policy_sha256"], []).append(Approval(words, pub["jws"]).encode())
        if lost:
            at = parse_us(leaf["time"])
            tick = parse_us(pub["last"]) if leaf["t"] == "publish" else 0
            was = self.floor
            self.floor = Floor(max(was.last_tick, tick), max(was.last_time, at), max(was.seq, leaf.get("seq", 0)))
            if (learn := _READ.get(leaf["t"])) is not None:
                learn(self, leaf, pub)

    def _end(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.ended.append(EndCredential(pub["account"]))

    def _revoke(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        if leaf["on"].startswith("member:"):
            self.revoked.append(RevokeSigningCert(pub["key"], parse_us(leaf["time"]), None, pub["reason"]))

    def _member(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.members.append(pub)

    def _remove(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        if "object" in pub:
            versions = tuple(map(instant, pub["versions"])) if len(pub["versions"]) == pub["count"] else ("all",)
            owner = pub.get("owner", leaf["actor"].split(":")[1])
            self.removals.append(Removal(leaf["on"].removeprefix("coll:"), pub["object"], owner, versions))

    def _state(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.statements.append(Statement.logged(leaf["t"], pub))

    def _adopt(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.adoptions.append(leaf)

    def _hide(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.private[pub["log"], pub["index"]] = leaf["t"]

    def _submit(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.submitted.setdefault(leaf["log"], []).append((pub["object"], pub["version"]))


_READ: dict[str, Callable[[_Told, Mapping[str, Any], Mapping[str, Any]], None]] = {
    "acct.end": _Told._end,
    "key.revoke": _Told._revoke,
    "acct.status": _Told._member,
    "role.change": _Told._member,
    "withdraw": _Told._remove,
    "submit": _Told._submit,
    **dict.fromkeys(
        ("consent.grant", "consent.refuse", "consent.withdraw", "audience.add", "audience.remove"), _Told._state
    ),
    "block": _Told._hide,
    "erase": _Told._hide,
    **dict.fromkeys(ADOPTIONS, _Told._adopt),
}


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of it."""

    done: Done
    leaves: Mapping[str, int]
    """How many were put back, by log."""
    lost: tuple[tuple[str, str], ...]
    """Ids and versions whose leaves are here again and whose bytes are not: their owners must send them anew."""


class Recovery:
    def __init__(
        self, store: Store, clock: Clock, policies: Mapping[str, Policy], anchors: Anchors, source: Source,
        progress: Progress = lambda _log, _done, _size: None,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._policies = policies
        self._anchors = anchors
        self._source = source
        self._progress = progress
        self._told = _Told()

    async def plan(self) -> list[Gap]:
        """What is missing, all of it fetched and checked; nothing is written. Raises NotPermitted (`recover-…`), LedgerFault."""
        self._told = _Told()
        state = (await self._store.epochs()).state
        return [await self._check(log, state) for log in LOGS]

    async def run(self, approvals: Sequence[bytes], documents: Sequence[bytes] = ()) -> Recovered:
        """Steps 1 to 6. `documents`: trust lists, agreements and overlays that came into force since the backup."""
        plan = await self.plan()
        trust, new_trust = await self._trust(documents)
        given = self._approved(plan, approvals, trust)
        adopted = Readopting(documents, self._told.approvals).rows(await self._store.agreement(), self._told.adoptions)
        changes = [*new_trust, *adopted, *await self._narrowed(), *await self._hidden()]
        changes += self._told.statements
        sizes = " ".join(f"{gap.log}={gap.since}" for gap in plan)
        await self._store.recovering(f"{RECOVERING} {sizes}")
        for gap in plan:
            await self._put_back(gap)
        lost = {gap.log: await self._bodiless(gap.log) for gap in plan}
        acts = tuple(
            Entry(
                gap.log, "log.recover", "hub:puente:acct:operator", f"log:{gap.log}",
                {
                    "log": gap.log, "from": gap.since, "size": gap.checkpoint.size, "root": gap.checkpoint.root.hex(),
                    "approvals": given[gap.log], "lost": len(lost[gap.log]),
                },
            )
            for gap in plan
            if gap.log in given
        )  # fmt: skip
        act = Act(
            str(uuid.uuid4()), lambda stamp: Record((*acts, *moved(stamp))), changes=tuple(changes),
            removals=tuple(self._told.removals),
        )  # fmt: skip
        # Every leaf took a number, those of `both` too, which do not show it.
        numbered = sum(tree.size for tree in (await self._store.trees()).values())
        floor = self._told.floor._replace(seq=max(self._told.floor.seq, numbered))
        done = await self._store.reopen(floor, act)
        await self._store.scrub()
        return Recovered(
            done,
            {gap.log: gap.checkpoint.size - gap.since for gap in plan if gap.lost},
            tuple(one for log in LOGS for one in lost[log]),
        )

    # --- 1 to 3 ---

    async def _check(self, log: str, state: str) -> Gap:
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
                frontier = _walk(frontier, bundle, roots)
                digests.append(_digest(bundle))
                for data in bundle:
                    self._told.read(data, lost=True)
                self._progress(log, frontier.size, checkpoint.size)
        except (SourceFault, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            raise await self._not_the_log(log, checkpoint, f" ({fault})") from None
        if roots[checkpoint.size] != checkpoint.root:
            raise await self._not_the_log(log, checkpoint, "")
        if anchor.size > frontier.size:
            raise _refused(
                "anchor",
                f"{log}: this hub signed {anchor.size} leaves, and only {checkpoint.size} were cosigned: the others are gone"
                " for ever. The log must be closed.",
                f"{log}: este nodo firmó {anchor.size} asientos y solo {checkpoint.size} fueron cofirmados: los demás se"
                " perdieron para siempre. El registro debe cerrarse.",
            )
        if anchor.size and roots[anchor.size] != anchor.root:
            raise _fork(log)
        return Gap(log, tree.size, since, checkpoint, note, tuple(digests))

    async def _own(self, log: str, size: int, since: int, roots: dict[int, bytes]) -> Frontier:
        frontier = _walk(EMPTY, [], roots)
        for start in range(0, size, _LEAVES):
            leaves = await self._store.leaves(log, start, min(size, start + _LEAVES))
            for index, data in enumerate(leaves, start):
                if log == "both" or index >= since:
                    self._told.read(data, lost=index >= since)
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

    def _approved(self, plan: Sequence[Gap], approvals: Sequence[bytes], trust: TrustList) -> dict[str, list[str]]:
        """By log, the signatures under what is done to it. `both` is asked for in any case: the border opens again."""
        now = as_datetime(self._clock.now_us())
        given = [Approval.parse(one) for one in approvals]
        about = {gap.log: gap for gap in plan if gap.lost or gap.log == "both"}
        origins = {gap.checkpoint.origin: gap.log for gap in plan}
        kept: dict[str, list[str]] = {log: [] for log in about}
        voices: dict[str, list[Any]] = {log: [] for log in about}
        for number, one in enumerate(given, 1):
            log = origins.get(str(one.words.get("origin")), "both")
            gap = about.get(log)
            if gap is None:
                continue  # nothing has to be done to that log any more
            voice = heard(
                one, gap.statement, ("approve",), trust, at=now, field=f"approval {number}", typ=RECOVERY_TYPE
            )
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


def _fork(log: str) -> NotPermitted:
    return _refused(
        "fork",
        f"{log}: this database holds other leaves than those that were cosigned. Begin with an older backup; if there is none,"
        " the log must be closed.",
        f"{log}: esta base contiene asientos distintos de los cofirmados. Comience con una copia anterior; si no la hay, el registro"
        " debe cerrarse.",
    )


def _refused(code: str, en: str, es: str) -> NotPermitted:
    return NotPermitted(en, es, code=f"recover-{code}")
