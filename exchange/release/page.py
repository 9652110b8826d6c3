"""The one way out: allowed labels, one range scan, a committed `release` entry, and only then the bytes."""

import uuid
from dataclasses import dataclass

from exchange.clock import Clock
from exchange.errors import NotFound, Unavailable
from exchange.ledger.entry import Entry
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Collection, Member, Status
from exchange.model.page import Filter
from exchange.model.recall import Delivered
from exchange.model.view import EVER
from exchange.release.disclosure import Sums, border_closed, first_abroad, release_entries, sum_entries
from exchange.release.grants import Allowed, Grants
from exchange.release.packing import Packing
from exchange.release.sheet import Sheet, Sheets, View
from exchange.release.views import Views
from exchange.rules import Caller, Glance, RuleBook, changing
from exchange.store.acts import Act, LeafRef, Record
from exchange.store.answers import Epochs
from exchange.store.contract import DEGRADED, Outdated, Store

DECISIONS_AT_MOST = 8
"""How often a page is decided again because the agreement changed under it, before the reader is told to come back."""

KEPT_LENGTH = 1_000
"""Of a filter's words: answers to longer questions, of more than some twenty ids, are not kept, as nobody asks them again."""


@dataclass(frozen=True, slots=True)
class Released:
    """A page that may leave, and where its entries lie. An empty page has no entry."""

    sheet: Sheet
    leaves: tuple[LeafRef, ...] = ()


class Release:
    """Reads collections for members. What cannot be recorded is not released."""

    def __init__(
        self, store: Store, sequencer: Sequencer, rulebook: RuleBook, clock: Clock, *, cache_bytes: int
    ) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock
        self._sheets = Sheets(cache_bytes)
        self.grants = Grants(store)
        self.views = Views(store, sequencer, rulebook, self.grants, clock)
        self.sums = Sums()

    async def page(
        self,
        caller: Caller,
        glance: Glance,
        collection: Collection,
        match: Filter,
        after_us: int,
        limit: int,
        view: View,
        packing: Packing | None = None,
    ) -> Released:
        """Up to `limit` versions with tick > after_us that match and that the caller may have, as `view` writes them.

        They are judged by the rules of `glance`; if those are no longer in force when it is recorded, by the new ones.

        Raises Unavailable when the release cannot be recorded, or when rules change faster than a page can be decided.
        """
        for _ in range(DECISIONS_AT_MOST):
            allowed, (rules, epochs) = await self.allowed(glance, caller.member, collection)
            low = max(after_us, match.added_after_us or 0)
            if allowed.last_tick <= low:
                self.sums.poll(caller, collection, self._clock.now_us())
                return Released(Sheet.empty(low))
            sheet = await self._sheet(allowed, epochs, match, after_us, limit, view, packing)
            if not sheet.count:
                self.sums.poll(caller, collection, self._clock.now_us())
                return Released(sheet)
            if epochs.state == DEGRADED and (abroad := first_abroad(caller, sheet.parts)) is not None:
                # What comes before it is given, and nothing is passed over: no reader may lose its place.
                sheet = await self._read(allowed, match, after_us, limit, view, abroad - 1)
                if not sheet.count:
                    raise border_closed()
                sheet = await sheet.as_sent(packing)
            record = Record(release_entries(caller, collection, view.name, sheet.parts))
            try:
                act = Act(str(uuid.uuid4()), lambda _: record, rules.number, rules.until_us, moves=epochs.moves)  # noqa: B023
                done = await self._sequencer.append(act)
            except Outdated:
                glance = await self._rulebook.glance()
                continue  # the agreement changed between decision and record: decide again (invariant I8)
            self.sums.given(caller, collection, sheet.parts, self._clock.now_us())
            return Released(sheet, done.leaves)
        raise changing()

    async def allowed(self, glance: Glance, member: Member, collection: Collection) -> tuple[Allowed, Glance]:
        """What of a collection the member may see, its view brought up to the rules; and the rules that this is by."""
        glance, member, view, _ = await self.views.ready(glance, member)
        rules, epochs = glance
        return await self.grants.allowed(rules, epochs, member, collection, view), glance

    async def _sheet(
        self,
        allowed: Allowed,
        epochs: Epochs,
        match: Filter,
        after_us: int,
        limit: int,
        view: View,
        packing: Packing | None,
    ) -> Sheet:
        async def make() -> Sheet:
            # What came since may lie under labels that were not judged.
            found = await self._read(allowed, match, after_us, limit, view, epochs.last_tick)
            return await found.as_sent(packing)

        if match.length > KEPT_LENGTH:
            return await make()
        words = (allowed.collection, match, after_us, limit, view.name, packing)
        question = (words, allowed.labels, allowed.view and allowed.view.shape)
        return await self._sheets.get(question, epochs.last_tick, epochs.revision, make)

    async def _read(
        self, allowed: Allowed, match: Filter, after_us: int, limit: int, view: View, until_us: int
    ) -> Sheet:
        place = (allowed.collection, allowed.labels, match, after_us, limit)
        if view.write is None:
            found = await self._store.spans(*place, until_us=until_us, view=allowed.view)
            return Sheet.of_spans(found, allowed.countries)
        page = await self._store.page(*place, until_us=until_us, view=allowed.view)
        return Sheet.of_rows(page, view.write, allowed.countries)

    async def must_hold(self, caller: Caller, collection: Collection, object_id: str) -> None:
        """Raise NotFound unless the caller may see some version of the object there. Hidden and absent look alike."""
        allowed, (_, epochs) = await self.allowed(await self._rulebook.glance(), caller.member, collection)
        if not await self.holds(allowed, epochs, object_id):
            raise NotFound(
                "There is no such object in this collection.",
                "No existe ese objeto en esta colección.",
                field="object-id",
            )

    async def holders(self, collection: Collection, object_id: str, *, but: Member) -> dict[str, frozenset[str]]:
        """Who else may see an object there now by what that member holds of it, and which versions of it: who must drop them if they
        are taken out. Not what they have by another holder too: they keep that, and are not to learn of a second."""
        found: dict[str, frozenset[str]] = {}
        own = {tick for one in await self._store.held(object_id) if one.owner == but.slug for tick, _ in one.placements}
        if not own:
            return found  # it is not its to take out, and not worth a question for every member
        glance = await self._rulebook.glance()
        match = Filter(ids=(object_id,), versions=("all",))
        for member in glance.rules.registry.members.values():
            if member.status is not Status.ACTIVE or member.slug == but.slug or not collection.can_read(member):
                continue
            allowed, glance = await self.allowed(glance, member, collection)
            page = await self._store.page(
                collection.id, allowed.labels, match, 0, EVER - 1, until_us=glance.epochs.last_tick, view=allowed.view
            )
            going = {row.version for row in page.rows if row.run + row.position in own}
            going -= {row.version for row in page.rows if row.run + row.position not in own}
            if going:
                found[member.slug] = frozenset(going)
        return found

    async def delivered(self, object_id: str) -> list[Delivered]:
        """Where an object lies and whose it is, and who else may see it there."""
        held = await self._store.held(object_id)
        glance = await self._rulebook.glance()  # after it: every label that was seen is known
        rows = await self.grants.rows(glance.epochs)
        lying = {(rows[label].collection, one.owner) for one in held for _, label in one.placements}
        found = []
        for name, owner in sorted(lying):
            collection, member = glance.rules.collection(name), glance.rules.registry.members[owner]
            if collection is not None:
                holders = await self.holders(collection, object_id, but=member)
                found.append(Delivered(name, object_id, owner, holders))
        return found

    async def holds(self, allowed: Allowed, epochs: Epochs, object_id: str) -> bool:
        """Whether any version of an object is shown."""
        any_version = Filter(ids=(object_id,), versions=("all",))
        place = (allowed.collection, allowed.labels, any_version, 0, 1)
        return bool((await self._store.page(*place, until_us=epochs.last_tick, view=allowed.view)).rows)

    async def deny(self, caller: Caller, on: str, code: str, resource: str, path: str) -> None:
        """Record a refusal. One that cannot be recorded now is counted among the next."""
        entry = self.sums.denial(caller, on, code, resource, self._clock.now_us(), path=path)
        if entry is not None:
            try:
                await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record((entry,))))
            except Unavailable:
                self.sums.denial(caller, on, code, resource, self._clock.now_us())

    async def _withheld(self) -> list[Entry]:
        """What those that were given something of another country since the last flush were not given of it."""
        entries = []
        for given, counted in self.sums.take_given().items():
            glance = await self._rulebook.glance()
            member = glance.rules.registry.members[given.member]
            collection = glance.rules.collection(given.collection)
            if collection is not None:
                allowed, glance = await self.allowed(glance, member, collection)
                shown = frozenset(allowed.labels)
                hidden = [
                    row for row in (await self.grants.rows(glance.epochs, counts=True)).values()
                    if row.collection == given.collection and row.country == given.country and row.placements
                    and row.id not in shown
                ]  # fmt: skip
                entry = self.sums.withheld(given, counted, hidden)
                entries += [entry] if entry is not None else []
        return entries

    async def flush_sums(self) -> None:
        """Write what was counted since the last flush. Called once a minute and at shutdown."""
        withheld = await self._withheld()
        counts = self.sums.take()
        entries = (*sum_entries(counts), *withheld)
        if entries:
            try:
                await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(entries)))
            except Unavailable:
                self.sums.put_back(counts)
                raise
