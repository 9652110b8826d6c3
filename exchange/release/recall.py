"""What members are asked to drop: shown to them, acknowledged by them, and who has not yet.

What was delivered cannot be taken back. So each recall says what to drop and until when, and the log says who saw it and
who acknowledged it (agreements design, A6.10).
"""

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from certs.keyring import TrustedKey
from certs.signature import signed_under
from exchange.clock import Clock
from exchange.errors import NotFound
from exchange.ledger.entry import HUB, Entry, route
from exchange.ledger.publication import moved
from exchange.ledger.sequencer import Sequencer
from exchange.model.instant import instant
from exchange.model.member import Collection, Member, Status
from exchange.model.page import Filter
from exchange.model.recall import RecallMark, RecallRow, Relabelled
from exchange.model.view import late_tick
from exchange.release.page import Release
from exchange.rules import TERMS, Caller, Glance, RuleBook, Rules
from exchange.store.acts import Act, LeafRef, Record, Removal, Stamp
from exchange.store.contract import Outdated, Store
from exchange.times import as_text, as_us

SWEPT_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Recall:
    """A recall, and how it stands now: "open", "seen", "acknowledged", or "overdue"."""

    row: RecallRow
    state: str

    @classmethod
    def of(cls, row: RecallRow, now_us: int) -> "Recall":
        if row.acknowledged_us is not None:
            return cls(row, "acknowledged")
        if row.due_us is not None and row.due_us < now_us:
            return cls(row, "overdue")
        return cls(row, "open" if row.seen_us is None else "seen")

    @property
    def told(self) -> dict[str, Any]:
        row = self.row
        return {
            "id": row.id,
            "collection": row.collection,
            **reason(row),
            "what": orjson.loads(row.what),
            "opened": as_text(row.opened_us),
            "due": _text(row.due_us),
            "acknowledgement": "required" if row.required else "asked",
            "state": self.state,
            "seen": _text(row.seen_us),
            "acknowledged": _text(row.acknowledged_us),
        }


def reason(row: RecallRow) -> dict[str, str]:
    """As much of the reason as the agreement lets be told."""
    told = {"class": row.term, "cause": row.cause}
    return {"id": {}, "id-and-class": {"class": row.term}, "reason": told}[row.reveals]


def _answered(rules: Rules) -> bool:
    """Whether the agreement requires that who had what its originator revokes says that it dropped it."""
    term = getattr(rules.in_force.document.withdrawal, TERMS["revoke"], None)
    return term is not None and term.ack == "required"


def _text(us: int | None) -> str | None:
    return None if us is None else as_text(us)


class Recalls:
    """Every member's recalls."""

    def __init__(self, store: Store, sequencer: Sequencer, rulebook: RuleBook, release: Release, clock: Clock) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._release = release
        self._clock = clock
        self._swept: dict[str, datetime] = {}
        """The compromises, by thumbprint, of which nothing is left here."""

    async def everybodys(self) -> list[Recall]:
        return self._judged(await self._store.recalls())

    async def shown(self, caller: Caller) -> list[Recall]:
        """The caller's own. That it has seen them is recorded before they leave."""
        rows = await self._store.recalls(caller.member.slug)
        unseen = [row for row in rows if row.seen_us is None]
        if unseen:
            await self._mark(caller, "recall.seen", unseen, [RecallMark(row.id) for row in unseen])
            rows = await self._store.recalls(caller.member.slug)
        return self._judged(rows)

    async def acknowledge(self, caller: Caller, recall_id: str) -> tuple[Recall, tuple[LeafRef, ...]]:
        """Take the caller's word that what is recalled was dropped. Again is no error, and changes nothing.

        Raises NotFound for another's, as for one that is not there.
        """
        row = await self._own(caller, recall_id)
        leaves: tuple[LeafRef, ...] = ()
        if row.acknowledged_us is None:
            leaves = await self._mark(caller, "recall.ack", [row], [RecallMark(row.id, caller.account)])
            row = await self._own(caller, recall_id)
        return Recall.of(row, self._clock.now_us()), leaves

    # --- objects that were marked more strictly, or revoked ---

    async def follow_markings(self) -> None:
        """Ask those to drop an object who lost sight of it because its originator marked it more strictly; and, where the
        agreement requires that an error is acknowledged, those who have the version that revokes it."""
        while rows := await self._store.relabelled():
            answered = _answered(await self._rulebook.current())
            idle = [one for one in rows if one.label == one.former and not answered]
            await asyncio.gather(*[self._pass_over(one) for one in idle])  # a feed may revoke thousands at once
            for one in rows if answered else [one for one in rows if one.label != one.former]:
                with contextlib.suppress(
                    Outdated
                ):  # another process was faster, or the agreement changed: it is looked at again
                    await self._follow(one)

    async def _pass_over(self, one: Relabelled) -> None:
        """Of a version that revokes nobody need say that it dropped the one before."""
        with contextlib.suppress(Outdated):
            await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(()), told=one.tick))

    async def _follow(self, one: Relabelled) -> None:
        glance = await self._rulebook.glance()
        rules = glance.rules
        former = (await self._release.grants.rows(glance.epochs))[one.former]
        collection = rules.collection(one.collection)
        revokes = _answered(rules) and await self._revokes(one)
        author = self._release.grants.label(former).originator
        asked: list[tuple[str, str, list[str]]] = []
        for member in rules.registry.members.values():
            if collection is None or member.status is not Status.ACTIVE:
                continue
            if await self._lost(one, member, collection):
                asked.append((member.slug, "marking", []))
            elif revokes and member.slug != author and collection.can_read(member):
                versions = await self._had(one, member, collection)
                asked += [(member.slug, "revoke", versions)] if versions else []

        def record(stamp: Stamp) -> Record:
            made = [
                rules.recall(
                    slug, one.collection, cause, [former.country], {"objects": [{"id": one.id, "versions": versions}]},
                    stamp.time_us,
                )
                for slug, cause, versions in asked
            ]  # fmt: skip
            return Record(tuple([rules.recall_entry(recall, HUB) for recall in made]), recalls=tuple(made))

        await self._sequencer.append(Act(str(uuid.uuid4()), record, agreement=rules.number, told=one.tick))

    async def _lost(self, one: Relabelled, member: Member, collection: Collection) -> bool:
        """Whether the member was shown the version before, and is shown none now."""
        if not collection.can_read(member):
            return False
        written = await self._store.view(member.slug)
        if written is None or (one.former > len(written.states) and not one.again):
            return False  # never answered since there is such a label
        allowed, glance = await self._release.allowed(await self._rulebook.glance(), member, collection)
        if one.label in allowed.labels:
            return False
        if one.again:  # whoever was shown it and may not have it now has it as a late run
            await self._release.views.settle((await self._release.views.ready(glance, member)).view)
            late = late_tick(await self._store.late(member.slug, collection.id), one.placed)
            return late is not None and not await self._release.holds(allowed, glance.epochs, one.id)
        if one.former not in allowed.labels:
            return False
        if allowed.view is not None and not allowed.view.native(one.former, one.placed):
            seen = late_tick(await self._store.late(member.slug, collection.id), one.placed)
            if seen is None or seen > one.tick:
                return False
        view = (await self._release.views.ready(glance, member)).view
        return view.born < one.tick and not await self._release.holds(allowed, glance.epochs, one.id)

    async def _revokes(self, one: Relabelled) -> bool:
        place = (one.collection, (one.label,), Filter(ids=(one.id,), versions=("all",)), one.tick - 1, 1)
        [row] = (await self._store.page(*place, until_us=one.tick)).rows or [None]
        bodies = {instant(held.version): held.body for held in await self._store.held(one.id)}
        return row is not None and orjson.loads(bodies.get(instant(row.version), b"{}")).get("revoked") is True

    async def _had(self, one: Relabelled, member: Member, collection: Collection) -> list[str]:
        """The versions that the member had before the one that revokes them, if it has that one."""
        allowed, glance = await self._release.allowed(await self._rulebook.glance(), member, collection)
        view = (await self._release.views.ready(glance, member)).view
        if one.label not in allowed.labels or view.born >= one.tick:
            return []
        place = (collection.id, allowed.labels, Filter(ids=(one.id,), versions=("all",)), 0, SWEPT_AT_ONCE)
        return [row.version for row in (await self._store.page(*place, until_us=one.tick - 1, view=allowed.view)).rows]

    # --- objects signed by a key that others may have had ---

    async def follow_compromises(self) -> None:
        """Take out what came in under a signing key since it was compromised, and ask those who could read it to drop it.

        Its originator may sign it anew, as a later version; the same bytes do not come back. Done once for each change of
        the keys: what is out is not found again.
        """
        glance = await self._rulebook.glance()
        found = {name: key for name, key in glance.rules.keyring.items() if isinstance(key, TrustedKey)}
        lost = {name: key.compromised_since for name, key in found.items() if key.compromised_since is not None}
        if lost == self._swept:
            return
        whole = True
        for name, since in lost.items():
            member = glance.rules.by_identity.get(found[name].identity_id)
            if member is not None and self._swept.get(name) != since:
                whole = await self._sweep(glance, member, name, as_us(since)) and whole
        if whole:
            self._swept = lost

    async def _sweep(self, glance: Glance, member: Member, thumbprint: str, since_us: int) -> bool:
        """Whether all of it is out; what an agreement changed under is looked at again."""
        covered: set[tuple[str, str]] = set()
        whole = True
        rows = await self._release.grants.rows(glance.epochs)
        mine = [row for row in rows.values() if self._release.grants.label(row).originator == member.slug]
        # Attestations first: they say what else hangs on the key.
        collections = sorted(glance.rules.registry.collections, key=lambda one: one.alias != "attestations")
        for collection in collections:
            labels = tuple([row.id for row in mine if row.collection == collection.id])
            for object_id, version in await self._signed_by(glance, collection, labels, thumbprint, since_us, covered):
                try:
                    await self._take_out(member, collection, object_id, version)
                except Outdated:
                    whole = False
        return whole

    async def _signed_by(
        self, glance: Glance, collection: Collection, labels: tuple[int, ...], thumbprint: str, since_us: int,
        covered: set[tuple[str, str]],
    ) -> list[tuple[str, str]]:  # fmt: skip
        """(id, version) of what lies there since that time, under that key's own signature or an attestation's."""
        found, after = [], max(since_us - 1, 0)
        every = Filter(versions=("all",))
        while labels:
            page = await self._store.page(
                collection.id, labels, every, after, SWEPT_AT_ONCE, until_us=glance.epochs.last_tick
            )
            bodies = {
                (one.id, instant(one.version)): one.body
                for object_id in {row.id for row in page.rows}
                for one in await self._store.held(object_id)
            }
            for row in page.rows:
                value = orjson.loads(bodies.get((row.id, instant(row.version)), b"{}"))
                if signed_under(value) == thumbprint:
                    covered |= {(one["id"], instant(one["version"])) for one in value.get("covers", ())}
                elif (row.id, instant(row.version)) not in covered:
                    continue
                found.append((row.id, row.version))
            if not page.more:
                break
            after = page.rows[-1].tick
        return found

    async def _take_out(self, member: Member, collection: Collection, object_id: str, version: str) -> None:
        rules = await self._rulebook.current()
        holders = await self._release.holders(collection, object_id, but=member)

        def record(stamp: Stamp) -> Record:
            if not stamp.removed[0]:
                return Record(())  # another process was faster
            what = {"objects": [{"id": object_id, "versions": [version]}]}
            made = [
                rules.recall(slug, collection.id, "compromise", [member.country], what, stamp.time_us)
                for slug, seen in holders.items()
                if version in seen
            ]
            pub = {"object": object_id, "versions": [version], "count": 1, "cause": "compromise", "owner": member.slug}
            log = route(member.country, [rules.registry.members[one.member].country for one in made])
            gone = Entry(log, "withdraw", HUB, f"coll:{collection.id}", pub)
            entries = (gone, *[rules.recall_entry(one, HUB) for one in made], *moved(stamp))
            return Record(entries, recalls=tuple(made))

        removal = Removal(collection.id, object_id, member.slug, (instant(version),))
        act = Act(str(uuid.uuid4()), record, agreement=rules.number or None, removals=(removal,))
        await self._sequencer.append(act)

    async def _own(self, caller: Caller, recall_id: str) -> RecallRow:
        for row in await self._store.recalls(caller.member.slug):
            if row.id == recall_id:
                return row
        raise NotFound("There is no such recall.", "No existe ese retiro.", code="no-such-recall", field="recall")

    async def _mark(
        self, caller: Caller, kind: str, rows: Sequence[RecallRow], marks: Sequence[RecallMark]
    ) -> tuple[LeafRef, ...]:
        entries = tuple(
            Entry(
                route(caller.member.country, row.countries.split()), kind, caller.actor, f"recall:{row.id}",
                private=caller.private,
            )
            for row in rows
        )  # fmt: skip
        done = await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(entries), marks=tuple(marks)))
        return done.leaves

    def _judged(self, rows: Sequence[RecallRow]) -> list[Recall]:
        now_us = self._clock.now_us()
        return [Recall.of(row, now_us) for row in rows]
