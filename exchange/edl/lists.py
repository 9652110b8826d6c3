"""A member's block lists: made once for all who may see the same, guarded against a sudden fall, recorded before they leave.

Like a page of TAXII a list is what the agreement in force gives this member, decided anew on every request. What is
kept from one request to the next is only work: the table of a collection, selections of it, files of a selection.
"""

import asyncio
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

import orjson
import structlog

from certs.jcs import canonical
from exchange.clock import Clock
from exchange.edl.selection import Entry, Selection, select, still_allowed
from exchange.edl.table import EVERY, ROWS_AT_ONCE, Indicator, Table, seen
from exchange.edl.text import Wanted, chosen, intel, lines, table
from exchange.edl.values import KINDS, Kind, Reason
from exchange.errors import Unavailable
from exchange.intake.warninglists import Warninglists
from exchange.ledger.entry import Entry as LedgerEntry
from exchange.ledger.entry import national
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Collection, Member
from exchange.model.stix import item_hash
from exchange.release.disclosure import Part, Piece, border_closed, first_abroad, parts, release_entries
from exchange.release.grants import Allowed
from exchange.release.page import DECISIONS_AT_MOST, Release
from exchange.rules import Caller, RuleBook, changing
from exchange.settings import Settings
from exchange.store.acts import Act, LeafRef, ListSize, Record
from exchange.store.answers import Epochs
from exchange.store.contract import DEGRADED, Outdated, Store

_log = structlog.get_logger("puente.edl")

V = TypeVar("V")

_Grants = tuple[str, tuple[int, ...], tuple[tuple[int, int | None], ...], Hashable]
"""A collection, the labels that may be seen, those that may be blocked by, and where they lie: members that agree in it are
shown the same."""

REMEMBERED = 10_000
"""Files that accounts were given, and when files changed: some hundred bytes each."""


@dataclass(frozen=True, slots=True)
class File:
    """One file. `parts` are what the log says of the indicators in it."""

    content: bytes | None = field(repr=False)
    """None for the indicators themselves, which are many bytes: they are read when they are sent."""
    digest: str
    """SHA-256 of the content; of the item hashes, in order, where the content is the indicators."""
    count: int
    """Entries, before options that write one of them twice."""
    parts: tuple[Part, ...]
    used: tuple[Indicator, ...] = field(default=(), repr=False)
    """The indicators to read."""

    @property
    def size(self) -> int:
        """In memory, about."""
        return len(self.content or b"") + 100 * (len(self.used) + sum(len(part.ticks) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Given:
    """A file that may leave, when it last changed, and where its entries lie: none for what holds nothing.

    `content` is None when the device has it.
    """

    file: File
    modified_s: int
    content: bytes | None = field(repr=False)
    leaves: tuple[LeafRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A member's lists now. `held` has the kinds that fell too far, with the number of entries that they would have."""

    entries: Mapping[Kind, tuple[Entry, ...]]
    sources: Mapping[Kind, Hashable]
    """What tells the entries of a kind from those of any other moment or member's."""
    held: Mapping[Kind, int]
    lost: frozenset[Kind]
    """Of those, the kinds whose entries before the fall this process never saw."""
    left: Mapping[Reason, int]


@dataclass(slots=True)
class _Guarded:
    """What a member's lists of a collection held when they were last seen to be sound."""

    serial: int = 0
    """Of the selection that was judged last."""
    sizes: dict[str, int] = field(default_factory=dict)
    """As the store has them: of what was last delivered."""
    kept: dict[Kind, tuple[Hashable, tuple[Entry, ...]]] = field(default_factory=dict)
    """By kind, what was last delivered: its source, and its entries."""
    alarmed: set[tuple[Kind, int]] = field(default_factory=set)

    def deliver(self, shown: Shown, wanted: Wanted, sizes: Sequence[ListSize]) -> None:
        self.sizes.update({one.kind: one.count for one in sizes})
        for kind in wanted.kinds:
            if kind not in shown.held:
                self.kept[kind] = shown.sources[kind], shown.entries[kind]


class Lists:
    """Block lists for members. What cannot be recorded is not given, and what cannot be made is never an empty list."""

    def __init__(
        self,
        store: Store,
        sequencer: Sequencer,
        rulebook: RuleBook,
        release: Release,
        known: Warninglists,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._release = release
        self._known = known
        self._clock = clock
        self._settings = settings
        self._tables: dict[str, Table] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._selections: dict[_Grants, Selection] = {}
        self._guarded: dict[tuple[str, str], _Guarded] = {}
        self._files = _Files(settings.list_cache_bytes)
        self._making = asyncio.Lock()
        self._changed: OrderedDict[Hashable, tuple[str, int]] = OrderedDict()
        self._told: OrderedDict[Hashable, tuple[str, tuple[LeafRef, ...]]] = OrderedDict()

    # --- for devices ---

    async def give(
        self, caller: Caller, collection: Collection, wanted: Wanted, has: Callable[[str, int], bool]
    ) -> Given:
        """The file, its release recorded. Nothing is recorded when the device has it already (`has`, by digest and time of
        change), when its account was given the very same before, or when nothing is in it: those polls are counted.

        Raises Unavailable when the release cannot be recorded, and for a list that is held while nobody here knows what
        it held: devices keep what they have.
        """
        for _ in range(DECISIONS_AT_MOST):
            glance = await self._rulebook.glance()
            allowed, (rules, epochs) = await self._release.allowed(glance, caller.member, collection)
            shown = await self._shown(epochs, allowed, caller.member, collection)
            if not shown.lost.isdisjoint(wanted.kinds):
                raise _held_back()
            file = await self._file(shown, wanted, collection, allowed)
            modified_s = self._modified_s((caller.member.slug, collection.id, wanted), file.digest)
            fresh = has(file.digest, modified_s)
            if not fresh and epochs.state == DEGRADED and first_abroad(caller, file.parts) is not None:
                raise border_closed()  # devices keep the list they have
            content = None if fresh else await self._content(file, allowed)
            told = self._told.get((caller.account, collection.id, wanted))
            leaves = told[1] if told is not None and told[0] == file.digest else ()
            state = self._guarded[caller.member.slug, collection.id]
            sizes = _sizes(shown, wanted, caller.member, collection)
            if fresh or leaves or not file.parts:
                if any(state.sizes.get(one.kind, 0) != one.count for one in sizes):
                    await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(()), sizes=sizes))
                state.deliver(shown, wanted, sizes)
                self._release.sums.poll(caller, collection, self._clock.now_us())
                return Given(file, modified_s, content, leaves)
            entries = release_entries(caller, collection, "edl", file.parts, file=wanted.file, sha256=file.digest)
            record = Record(entries)
            try:
                act = Act(str(uuid.uuid4()), lambda _: record, rules.number, rules.until_us, sizes=sizes)  # noqa: B023
                done = await self._sequencer.append(act)
            except Outdated:
                continue  # as for pages: decide again (invariant I8)
            self._release.sums.given(caller, collection, file.parts, self._clock.now_us())
            state.deliver(shown, wanted, sizes)
            _keep(self._told, (caller.account, collection.id, wanted), (file.digest, done.leaves))
            return Given(file, modified_s, content, done.leaves)
        raise changing()

    def _modified_s(self, place: Hashable, digest: str) -> int:
        """When the file became what it is. It rises with every change, so that a date alone tells two contents apart."""
        before = self._changed.get(place)
        now_s = self._clock.now_us() // 1_000_000
        if before is not None and before[0] == digest:
            return before[1]
        found = now_s if before is None else max(now_s, before[1] + 1)
        _keep(self._changed, place, (digest, found))
        return found

    # --- for operators ---

    async def show(self, member: Member, collection: Collection) -> Shown:
        """What the member's lists would hold now, and why the rest is left out. Nothing is given, nothing recorded."""
        allowed, (_, epochs) = await self._release.allowed(await self._rulebook.glance(), member, collection)
        return await self._shown(epochs, allowed, member, collection)

    async def let_fall(self, actor: str, member: Member, collection: Collection) -> None:
        """Release a list that is held: what it is now is right."""
        slug = member.slug
        entry = LedgerEntry(national(member.country), "edl.release", actor, f"coll:{collection.id}", {"member": slug})
        sizes = tuple(ListSize(slug, collection.id, kind, 0) for kind in KINDS)
        await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record((entry,)), sizes=sizes))

    # --- what a member may block by now ---

    async def _shown(self, epochs: Epochs, allowed: Allowed, member: Member, collection: Collection) -> Shown:
        selection = await self._selection(epochs, allowed)
        place = member.slug, collection.id
        state = self._guarded.setdefault(place, _Guarded())
        if state.serial != selection.serial or self._fallen(state, selection):
            # Another process may have delivered since, and an operator may have let it fall.
            state.sizes, state.serial = await self._store.list_sizes(*place), selection.serial
        return self._guard(selection, state, allowed, member, collection)

    def _guard(
        self, selection: Selection, state: _Guarded, allowed: Allowed, member: Member, collection: Collection
    ) -> Shown:
        entries = dict(selection.entries)
        sources: dict[Kind, Hashable] = dict.fromkeys(KINDS, selection.serial)
        held: dict[Kind, int] = {}
        lost: set[Kind] = set()
        for kind in KINDS:
            now, before = len(selection.entries[kind]), state.sizes.get(kind, 0)
            if not self._fell(before, now):
                continue
            source, had = state.kept.get(kind, (None, ()))
            if len(had) != before:
                source, had = None, ()  # not what was last delivered: another process did
            # What the agreement has taken away since is gone at once: that is no accident.
            kept = still_allowed(had, allowed)
            before -= len(had) - len(kept)
            if not self._fell(before, now):
                continue
            held[kind] = now
            if (kind, now) not in state.alarmed:
                state.alarmed.add((kind, now))
                _log.error("block list held", member=member.slug, list=collection.alias, kind=kind, had=before, has=now)
            if source is None:
                lost.add(kind)
            else:
                entries[kind], sources[kind] = kept, (source, *sorted(allowed.blocking))
        if not held:
            state.alarmed.clear()
        return Shown(entries, sources, held, frozenset(lost), selection.left)

    def _fallen(self, state: _Guarded, selection: Selection) -> bool:
        return any(self._fell(state.sizes.get(kind, 0), len(selection.entries[kind])) for kind in KINDS)

    def _fell(self, before: int, now: int) -> bool:
        fall, settings = before - now, self._settings
        if before < max(settings.list_small_entries, 1):
            return False
        return fall * 100 > before * settings.list_fall_percent or fall > settings.list_fall_entries

    async def _selection(self, epochs: Epochs, allowed: Allowed) -> Selection:
        view = allowed.view
        grants = (allowed.collection, allowed.labels, tuple(sorted(allowed.blocking.items())),
                  view and (view.shape, view.number))  # fmt: skip
        async with self._locks[allowed.collection]:
            table = self._tables.get(allowed.collection)
            if table is None:
                table = self._tables[allowed.collection] = Table(allowed.collection, self._store, self._known)
            if not table.fits(epochs):
                await table.renew(epochs)
            found, now_us = self._selections.get(grants), self._clock.now_us()
            if found is None or found.version != table.version or found.until_us <= now_us:
                newest = tuple(table.newest.values())
                if view is not None:
                    newest = seen(newest, view, await self._store.late(view.member, allowed.collection))
                found = await asyncio.to_thread(select, newest, allowed, table.version, now_us)
                self._selections = {
                    key: one
                    for key, one in self._selections.items()
                    if key[0] != grants[0] or one.version == table.version
                }
                self._selections[grants] = found
            return found

    # --- files ---

    async def _file(self, shown: Shown, wanted: Wanted, collection: Collection, allowed: Allowed) -> File:
        question = (collection.id, wanted, *[shown.sources[kind] for kind in wanted.kinds])
        file = self._files.find(question)
        if file is not None:
            return file
        async with (
            self._making
        ):  # a hundred devices at the full minute wait for one, and nobody's options take more than a core
            file = self._files.find(question)
            if file is None:
                entries = chosen([entry for kind in wanted.kinds for entry in shown.entries[kind]], wanted.top)
                file = await asyncio.to_thread(_file, entries, wanted, collection.alias, allowed)
                self._files.keep(question, file)
            return file

    async def _content(self, file: File, allowed: Allowed) -> bytes:
        """The indicators themselves are sent one a line, as their originators signed them."""
        if file.content is not None:
            return file.content
        used = {one.tick: one for one in file.used}
        bodies: dict[int, bytes] = {}
        labels = sorted({one.label for one in file.used})
        after, last, more = min(used, default=1) - 1, max(used, default=0), bool(used)
        while more:
            spans = await self._store.spans(
                allowed.collection, labels, EVERY, after, ROWS_AT_ONCE, until_us=last, view=allowed.view
            )
            for span in spans.spans:
                for number, obj in enumerate(orjson.loads(b"[%b]" % span.content)):
                    one = used.get(span.first_tick + number)
                    if one is not None:
                        bodies[one.tick] = _as_signed(obj, one)
                after = span.last_tick
            more = spans.more
        if len(bodies) < len(used):
            raise _held_back()  # the list is held, and some of what it held was taken out meanwhile
        return b"".join([bodies[tick] + b"\n" for tick in used])


def _as_signed(obj: Mapping[str, object], one: Indicator) -> bytes:
    """The stored bytes again. They are canonical, and the item's hash says whether these are they."""
    body = canonical(dict(obj))
    if item_hash(one.id, str(obj["modified"]), sha256(body).digest()) != one.item:
        raise ValueError(f"{one.id} is not what it was stored as")
    return body


def _used(entries: Sequence[Entry]) -> list[Indicator]:
    """Every indicator that named an entry, in the order they were added."""
    return [one for _, one in sorted({one.tick: one for entry in entries for one in entry.indicators}.items())]


def _file(entries: Sequence[Entry], wanted: Wanted, title: str, allowed: Allowed) -> File:
    used = _used(entries)
    given = parts([Piece(allowed.countries[one.label], one.tick, 1, one.item) for one in used])
    if wanted.suffix == "ndjson":
        digest = sha256(b"".join([one.item for one in used])).hexdigest()
        return File(None, digest, len(used), given, tuple(used))
    if wanted.suffix == "txt":
        content = lines(entries, wanted, title)
    else:
        content = table(entries) if wanted.suffix == "csv" else intel(entries)
    return File(content, sha256(content).hexdigest(), len(entries), given)


def _sizes(shown: Shown, wanted: Wanted, member: Member, collection: Collection) -> tuple[ListSize, ...]:
    return tuple(
        ListSize(member.slug, collection.id, kind, len(shown.entries[kind]))
        for kind in wanted.kinds
        if kind not in shown.held
    )


def _held_back() -> Unavailable:
    return Unavailable(
        "This list has lost most of its entries and waits for an operator. Keep the one you have.",
        "Esta lista perdió la mayoría de sus entradas y espera a un operador. Conserve la que tiene.",
        code="list-held",
        retry_after_seconds=300,
    )


def _keep(kept: OrderedDict[Hashable, V], key: Hashable, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)


class _Files:
    """The files asked for lately, as many as fit into `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._kept: OrderedDict[Hashable, File] = OrderedDict()

    def find(self, question: Hashable) -> File | None:
        file = self._kept.get(question)
        if file is not None:
            self._kept.move_to_end(question)
        return file

    def keep(self, question: Hashable, file: File) -> None:
        before = self._kept.pop(question, None)
        self._size += file.size - (before.size if before else 0)
        self._kept[question] = file
        while self._size > self._limit and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size
