"""A hub past HTTP and signatures, its members and their clients, beside a small model of what each may have: for tests of what is released
late, taken back and told of.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from hypothesis import strategies as st
from orjson import loads

from certs.authority import hub_authority
from certs.document import certificate_text
from certs.jcs import canonical
from certs.signature import NOTICE
from exchange.cli.setup import sample_agreement
from exchange.clock import FixedClock
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Collection, Country, Member, Status
from exchange.model.page import Filter
from exchange.model.statement import Kind, Statement
from exchange.model.stix import StixObject
from exchange.model.view import EVER
from exchange.release.notices import NoticeKey, Notices
from exchange.release.page import Release
from exchange.release.recall import Recalls
from exchange.rules import Caller, RuleBook
from exchange.store.acts import Act, NewObject, Record, Removal, Stamp
from exchange.store.changes import AgreementRow, Change, TrustListRow
from exchange.store.contract import Store
from exchange.taxii.resources import OBJECTS
from exchange.times import as_datetime, as_millis_text, as_text
from policies.label import NOTICE as LABEL_OF_NOTICE
from policies.label import Label
from tests.pki import make_pki
from tests.places import Place, open_at

READERS = ("mx-one", "mx-two")
AUTHORS = ("us-one", "mx-two")
MARKS = ("indicator", "malware", "infrastructure")
CONTROLLED = "infrastructure"
"""What bears this mark is released by its originator's consent alone; only the first author ever gives one."""
CONNECTING = "relation"
SPARE = tuple(f"indicator--{uuid.uuid5(uuid.NAMESPACE_DNS, str(n))}" for n in range(3))
"""Ids that may be referred to before they come."""
DEFINING = "context"
"""What the definitions of all authors are marked as. No rule need permit it: what cites one may open it."""
DEFINED = {f"identity--{uuid.uuid5(uuid.NAMESPACE_DNS, f'{one} {n}')}": one for one in AUTHORS for n in range(2)}
"""The ids of the definitions, and whose each is."""
COLLECTION = Collection("91a7b528-80eb-42ed-a74d-c6fbd5a26116", "indicators", "Indicators", "", ("all",), ("all",))
ELSEWHERE = Collection("5b2a7c1e-6d0f-4b7e-9a51-0c7f3f6f2d11", "elsewhere", "Elsewhere", "", ("all",), ("all",))
"""Where second copies of what lies in the other come to lie, which nobody here asks for."""
DELAY_SECONDS = 3600

Mark = tuple[str, str]
"""Of an object: its author and what it is marked as; of a copy elsewhere, with an @ behind."""
Of = tuple[str, str, frozenset[frozenset[Mark]], frozenset[str]]
"""Of a label: the same; of each thing that it leads to the marks under which it lies, nothing for what is not there; and the
definitions that it cites, or for a definition its own id."""


@dataclass
class Version:
    obj: StixObject
    own: Mark
    refs: tuple[str, ...]
    cites: frozenset[str]
    of: Of
    placed_us: int


@dataclass
class Reader:
    """What the model knows of a member that reads: what each label is to it by the rules, and what was noticed of that."""

    slug: str
    ruled: dict[Mark, str] = field(default_factory=lambda: {(author, CONNECTING): "open" for author in AUTHORS})
    noticed: dict[Of, str] = field(default_factory=dict)
    ripe: set[str] = field(default_factory=set)
    """Keys of versions that were shown before their label was delayed."""
    active: bool = True
    reads: bool = True
    consent: str = ""
    """The id of the consent that names it, while there is one."""
    citing: dict[str, set[Of]] = field(default_factory=dict)
    """By definition, what cites it now."""

    def state(self, of: Of, suspended: Set[str]) -> str:
        author, mark, ends, about = of
        if mark == DEFINING and self.reads and self._marked((author, mark), suspended) != "open":
            [one] = about
            if any(self.state(by, suspended) == "open" for by in self.citing.get(one, ()) if by[0] == author):
                return "open"
        if not self.reads or author == self.slug:
            return "open" if self.reads else "closed"
        states = [self._marked((author, mark), suspended)]
        for end in ends:
            among = {self._marked(one, suspended) for one in end}
            states.append(next((state for state in ("open", "delayed") if state in among), "closed"))
        return next((state for state in ("closed", "delayed") if state in states), "open")

    def _marked(self, own: Mark, suspended: Set[str]) -> str:
        author, mark = own[0], own[1].removesuffix("@")
        if author == self.slug:
            return "open"
        given = mark != CONTROLLED or (author == AUTHORS[0] and bool(self.consent))
        return self.ruled.get((author, mark), "closed") if given and author not in suspended else "closed"


@dataclass
class Client:
    """One that keeps a place, by `next` or by the last date added, and the keys of what it was given and did not have to drop."""

    reader: str
    every_version: bool
    by_date: bool
    place: int = 0
    had: dict[str, Of] = field(default_factory=dict)
    notices: dict[str, set[str]] = field(default_factory=dict)
    """By id, what each that it was given tells it to drop."""
    lost: set[str] = field(default_factory=set)
    """Ids of what it had and is to drop because the rules no longer allow it."""


def key(obj: StixObject) -> str:
    return f"{obj.id} {obj.version}"


@dataclass
class Scene:
    store: Store
    clock: FixedClock
    sequencer: Sequencer
    rulebook: RuleBook
    release: Release
    number: int = 0
    backfill: str = ""
    """How far back an opening reaches; "" for as far as there is anything."""
    held: list[Version] = field(default_factory=list)
    copies: dict[str, tuple[Mark, tuple[str, ...], str]] = field(default_factory=dict)
    """By id, of a copy elsewhere: as what it is marked, to what it refers, and whose it is."""
    gone: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    """Authors that are suspended, and are no readers."""
    ever: dict[str, set[str]] = field(default_factory=lambda: {slug: set() for slug in READERS})
    """Ids that each reader was ever shown, or could have been."""
    readers: dict[str, Reader] = field(default_factory=lambda: {slug: Reader(slug) for slug in READERS})
    clients: list[Client] = field(default_factory=lambda: [
        Client(READERS[0], every_version=False, by_date=False),
        Client(READERS[0], every_version=True, by_date=True),
        Client(READERS[1], every_version=False, by_date=True),
    ])  # fmt: skip

    @property
    def suspended(self) -> set[str]:
        """What these sent nobody has."""
        return self.away | {slug for slug, reader in self.readers.items() if not reader.active}

    async def act(
        self, *, objects: tuple[NewObject, ...] = (), removal: Removal | None = None, change: Change | None = None
    ) -> Stamp:
        removals, changes = (removal,) if removal else (), (change,) if change else ()
        nothing = Record(())
        self.clock.advance(seconds=1)
        done = await self.sequencer.append(
            Act(str(uuid.uuid4()), lambda _: nothing, objects=objects, removals=removals, changes=changes)
        )
        return done.stamp

    async def found(self) -> None:
        for slug in {*READERS, *AUTHORS}:
            await self.act(change=member(slug))
        await self.act(change=COLLECTION)
        await self.act(change=ELSEWHERE)
        await self.act(change=TrustListRow(1, hub().trust))
        await self.adopt()

    async def adopt(self) -> None:
        """The agreement that says what the readers' `ruled` says."""
        self.number += 1
        permits = [
            PERMIT.format(number=number, to=slug, author=author, mark=mark, then=THEN[state])
            for number, (slug, (author, mark), state) in enumerate(
                (slug, own, state) for slug, reader in self.readers.items() for own, state in reader.ruled.items()
            )
            if state != "closed"
        ]
        head = sample_agreement().decode().split("[[permit]]")[0]
        if self.backfill:
            head = head.replace("[defaults]\n", f'[defaults]\nbackfill = "{self.backfill}"\n')
        document = (
            head
            + CONSENTS
            + "\n".join(permits or [PERMIT.format(number=0, to="mx-nobody", author="us-one", mark="other", then="")])
        )
        await self.act(change=AgreementRow(self.number, "us-mx-trade-cyber", self.number, document.encode(), b"{}", 0))

    # --- what may happen ---

    async def submit(self, own: Mark, count: int) -> None:
        made = [self._object(f"indicator--{uuid.uuid4()}") for _ in range(count)]
        await self._place(made, own)

    async def cite(self, own: Mark, which: Set[int], count: int) -> None:
        ids = list(DEFINED)
        made = [self._object(f"indicator--{uuid.uuid4()}") for _ in range(count)]
        await self._place(made, own, cites=frozenset(ids[one] for one in which))

    async def define(self, which: int) -> None:
        one = list(DEFINED)[which]
        if all(held.obj.id != one for held in self.held) and one not in self.gone:
            await self._place([self._object(one)], (DEFINED[one], DEFINING), cites=frozenset([one]))

    async def come(self, own: Mark, which: int) -> None:
        """What may have been referred to already."""
        if all(one.obj.id != SPARE[which] for one in self.held) and SPARE[which] not in self.gone:
            await self._place([self._object(SPARE[which])], own)

    async def connect(self, author: str, first: int, second: int, count: int, which: Set[int] = frozenset()) -> None:
        """Relationships, sightings and reports are all one to the hub: they refer to things, each other among them."""
        ids = [*SPARE, *[one.obj.id for one in self.held]]
        made = [self._object(f"report--{uuid.uuid4()}") for _ in range(count)]
        refs = (ids[first % len(ids)], ids[-1 - second % len(ids)])
        rings = [(*refs, made[1].id), (*refs, made[0].id)] if count == 2 else [refs] * count
        cites = frozenset(list(DEFINED)[one] for one in which)
        await self._place(made, (author, CONNECTING), *rings, cites=cites)

    async def revise(self, which: int, mark: str) -> None:
        if self.held:
            one = self.held[which % len(self.held)]
            mark = DEFINING if one.obj.id in DEFINED else mark
            await self._place(
                [self._object(one.obj.id, one.obj.created)], (one.own[0], mark), one.refs, cites=one.cites
            )

    async def copy(self, which: int, own: Mark) -> None:
        """A second copy of something comes elsewhere, under a marking of its own; where there is one, it goes."""
        if not self.held:
            return
        one = self.held[which % len(self.held)]
        if one.obj.id in self.copies:
            *_, owner = self.copies.pop(one.obj.id)
            await self.act(removal=Removal(ELSEWHERE.id, one.obj.id, owner))
        else:
            mark = (own[0], f"{own[1]}@")
            copy = NewObject(one.obj, one.own[0], "copier", ELSEWHERE.id, label(own, ELSEWHERE), "US", refs=one.refs)
            await self.act(objects=(copy,))
            self.copies[one.obj.id] = mark, one.refs, one.own[0]
        self._relabel(set())

    async def _place(
        self, objects: list[StixObject], own: Mark, *refs: tuple[str, ...], cites: frozenset[str] = frozenset()
    ) -> None:
        refs = refs or ((),) * len(objects)
        self.clock.advance(seconds=1)
        stamp = await self.act(
            objects=tuple(
                NewObject(obj, own[0], "", COLLECTION.id, label(own, cites=cites), "US", refs=one)
                for obj, one in zip(objects, refs, strict=True)
            )
        )
        self.held += [
            Version(obj, own, one, cites, (*own, frozenset(), cites), placed.tick)
            for obj, one, placed in zip(objects, refs, stamp.placed, strict=True)
        ]
        self._relabel({key(obj) for obj in objects})

    def _relabel(self, new: set[str]) -> None:
        """What a label is when what it refers to is another. Who was shown the object still is, if it may have the new one too."""
        newest = {one.obj.id: one for one in sorted(self.held, key=lambda one: one.obj.instant)}
        self._cite_again(newest)
        for one in self.held:
            before, one.of = one.of, self._of(one, newest)
            if before == one.of or key(one.obj) in new:
                continue
            for reader in self.readers.values():
                if reader.noticed.get(before) == "open" or key(one.obj) in reader.ripe:
                    reader.ripe.add(key(one.obj))
            for client in self.clients:
                if key(one.obj) in client.had:
                    client.had[key(one.obj)] = one.of
                    if self.readers[client.reader].noticed.get(one.of) == "closed":
                        del client.had[key(one.obj)]

    def _cite_again(self, newest: dict[str, Version]) -> None:
        citing: dict[str, set[Of]] = {}
        for one in newest.values():
            for id_ in one.cites if one.own[1] != DEFINING else ():
                citing.setdefault(id_, set()).add(self._of(one, newest))
        for reader in self.readers.values():
            reader.citing = citing

    def _of(self, one: Version, newest: dict[str, Version]) -> Of:
        seen, ahead, ends = {one.obj.id}, list(one.refs), set()
        while ahead:
            ref = ahead.pop()
            if ref not in seen:
                seen.add(ref)
                there = [(newest[ref].own, newest[ref].refs)] if ref in newest else []
                there += [self.copies[ref][:2]] if ref in self.copies else []
                ends.add(frozenset(mark for mark, _ in there))
                ahead += [far for _, refs in there for far in refs]
        return (*one.own, frozenset(end for end in ends if one.own not in end), one.cites)

    def _object(self, object_id: str, created: str = "") -> StixObject:
        self.clock.advance(seconds=1)
        now = as_millis_text(self.clock.now_us())
        value = {"type": "indicator", "id": object_id, "created": created or now, "modified": now}
        return StixObject.of(value, canonical(value))

    async def delete(self, which: int) -> None:
        if self.held:
            gone = self.held[which % len(self.held)]
            await self.act(removal=Removal(COLLECTION.id, gone.obj.id, gone.own[0]))
            self.held = [one for one in self.held if one.obj.id != gone.obj.id]
            self.gone.add(gone.obj.id)
            self._relabel(set())

    async def rule(self, slug: str, own: Mark, state: str) -> None:
        self.readers[slug].ruled[own] = state
        await self.adopt()

    async def suspend(self, slug: str) -> None:
        reader = self.readers[slug]
        reader.active = not reader.active
        await self.act(change=replace(member(slug), status=Status.ACTIVE if reader.active else Status.SUSPENDED))

    async def consent(self, slug: str) -> None:
        """The author consents that a reader has what it controls, or takes that back."""
        reader, words = self.readers[slug], {"case": "", "members": [slug], "countries": []}
        now_us = self.clock.now_us()
        words |= {"given": as_text(now_us), "until": as_text(now_us + 30 * 86_400_000_000)}
        kind: Kind = "consent.withdraw" if reader.consent else "consent.grant"
        said = Statement(str(uuid.uuid4()), kind, AUTHORS[0], reader.consent, canonical(words), "")
        reader.consent = "" if reader.consent else said.id
        await self.act(change=said)

    async def suspend_author(self, slug: str) -> None:
        """What it sent is withheld meanwhile."""
        self.away ^= {slug}
        status = Status.SUSPENDED if slug in self.away else Status.ACTIVE
        await self.act(change=replace(member(slug), status=status))

    async def audience(self, slug: str) -> None:
        reader = self.readers[slug]
        reader.reads = not reader.reads
        words = tuple(f"member:{slug}" for slug, one in self.readers.items() if one.reads)
        await self.act(change=replace(COLLECTION, readers=words))

    async def wait(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    async def catch_up(self) -> None:
        await self.release.views.catch_up()
        for slug, reader in self.readers.items():
            if reader.active:
                self._notice(slug)

    async def follow_markings(self) -> None:
        """What was marked more strictly is recalled; nobody is told of an object that it was never shown."""
        recalls = Recalls(self.store, self.sequencer, self.rulebook, self.release, self.clock)
        await recalls.follow_markings()
        for row in await self.store.recalls():
            if row.cause == "marking":
                [told] = loads(row.what)["objects"]
                assert told["id"] in self.ever[row.member], "told of what it never saw"

    async def follow_notices(self) -> None:
        await Notices(self.store, self.sequencer, self.rulebook, self.clock, hub().key).follow()

    def remember(self) -> None:
        for slug, reader in self.readers.items():
            if reader.active:
                self.ever[slug] |= {one.split()[0] for one in self.shown(slug, released=False)}

    async def poll(self, which: int, limit: int) -> bool:
        """One page; whether more is behind it."""
        client = self.clients[which % len(self.clients)]
        reader = self.readers[client.reader]
        if not (reader.active and reader.reads):
            return False  # refused at the door, so its view stays as it is
        glance = await self.rulebook.glance()
        caller = Caller(glance.rules.registry.members[client.reader], "acct")
        versions = ("all",) if client.every_version else ("last",)
        match, after = Filter(versions=versions), client.place
        if client.by_date:
            match, after = replace(match, added_after_us=client.place), 0
        self._notice(client.reader)
        released = await self.release.page(caller, glance, COLLECTION, match, after, limit, OBJECTS)
        held = {key(one.obj): one for one in self.held}
        by_body = {one.obj.body: one for one in self.held}
        for value in loads(b"[%b]" % released.sheet.content):
            if value["type"] == NOTICE:
                self._told(client, value)
                continue
            one = by_body[canonical(value)]
            assert key(one.obj) in self.shown(client.reader, released=False), "forbidden"
            assert key(one.obj) not in client.had, "twice"
            client.had[key(one.obj)] = held[key(one.obj)].of
        assert released.sheet.count <= limit
        client.place = max(client.place, released.sheet.last_us)
        return released.sheet.more

    # --- what is right ---

    def _told(self, client: Client, notice: dict[str, Any]) -> None:
        dropped = {one["id"] for one in notice["withdraws"]}
        assert dropped <= self.ever[client.reader], "told to drop what it never saw"
        assert notice["id"] not in client.notices, "told twice"
        client.notices[notice["id"]] = dropped

    async def told(self, slug: str) -> dict[str, str]:
        """By recall, the ids of the notices that lie in a reader's view."""
        labels = [
            row.id for row in await self.store.labels() if Label.decode(row.facets).object_class == LABEL_OF_NOTICE
        ]
        own = [
            row for row in await self.store.labels() if row.id in labels and Label.decode(row.facets).originator == slug
        ]
        every = Filter(versions=("all",))
        page = await self.store.page(COLLECTION.id, [row.id for row in own], every, 0, 10_000, until_us=EVER - 1)
        return {row.id: loads((await self.store.held(row.id))[0].body)["recall"] for row in page.rows}

    def _notice(self, slug: str) -> None:
        """What the hub compares before it answers: labels that closed are dropped, delays begin for what is not shown yet."""
        reader = self.readers[slug]
        for of in {one.of for one in self.held} | reader.noticed.keys():
            before, state = reader.noticed.get(of), reader.state(of, self.suspended)
            own = {key(one.obj) for one in self.held if one.of == of}
            if before == "open" and state == "delayed":
                reader.ripe |= own
            if state == "closed":
                reader.ripe -= own
                for client in self.clients:
                    if client.reader == slug:
                        if before not in (None, "closed"):  # not by what became of its ends: that is a marking's recall
                            client.lost |= {one.split()[0] for one, under in client.had.items() if under == of}
                        client.had = {one: under for one, under in client.had.items() if under != of}
            reader.noticed[of] = state
        if not reader.reads:  # with the collection its notices are gone too; they come again with it
            for client in self.clients:
                if client.reader == slug:
                    client.notices.clear()

    def shown(self, slug: str, *, released: bool) -> set[str]:
        """Keys of the versions that a reader may have. `released`: of those that must have been given by now."""
        reader, now_us = self.readers[slug], self.clock.now_us()
        newest = {one.obj.id: one for one in sorted(self.held, key=lambda one: one.obj.instant)}
        found = set()
        for one in self.held:
            state = reader.state(one.of, self.suspended)
            covered = reader.state(newest[one.obj.id].of, self.suspended) == "closed"
            due = one.placed_us + DELAY_SECONDS * 1_000_000 + (100 if released else 0) <= now_us
            if not covered and (state == "open" or (state == "delayed" and (due or key(one.obj) in reader.ripe))):
                found.add(key(one.obj))
        return found

    async def _reinstate(self) -> None:
        for slug in sorted(self.away):
            await self.suspend_author(slug)
        for slug, reader in self.readers.items():
            if not reader.active:
                await self.suspend(slug)
            if not reader.reads:
                await self.audience(slug)

    async def settle(self) -> None:
        """Everything due, everybody back, and each client walks to its end: nobody misses the newest of what it may have."""
        await self.wait(2 * DELAY_SECONDS)
        await self._reinstate()
        for _ in range(30):  # where a step releases one run
            await self.catch_up()
        await self.follow_markings()
        await self.follow_notices()
        assert await self.store.unnoticed() == []
        newest = {one.obj.id: one for one in sorted(self.held, key=lambda one: one.obj.instant)}
        for number, client in enumerate(self.clients):
            while await self.poll(number, 2):
                pass
            wanted = {key(one.obj) for one in newest.values()} & self.shown(client.reader, released=True)
            assert wanted <= client.had.keys(), "lost"
            lying = await self.told(client.reader)
            assert client.notices.keys() == lying.keys(), "a notice lost, or another's"
            again = {one.split()[0] for one in client.had}
            named = set().union(*client.notices.values())
            assert (client.lost & newest.keys()) - again <= named, "not told to drop what it had"
            theirs = {row.id for row in await self.store.recalls(client.reader)}
            assert set(lying.values()) <= theirs
            assert len(set(lying.values())) == len(lying), "a recall has one notice, where it fits into one"
        for client in self.clients:  # and who begins anew finds the same
            client.place, client.had, client.notices = 0, {}, {}
        for number, client in enumerate(self.clients):
            while await self.poll(number, 3):
                pass
            shown = self.shown(client.reader, released=True)
            least = shown if client.every_version else shown & {key(one.obj) for one in newest.values()}
            # Who asks by date asks for the latest of what was added since: an older version that opened later is among it.
            assert least <= client.had.keys() <= (shown if client.by_date else least)


class Hub(NamedTuple):
    """The hub's key for its notices, and a list that names it. Whether it is approved was asked when it was adopted."""

    key: NoticeKey
    trust: bytes


@lru_cache(maxsize=1)
def hub() -> Hub:
    now = as_datetime(FixedClock().now_us())
    with TemporaryDirectory() as directory:
        pki = make_pki(Path(directory), now)
        made = hub_authority(Path(directory) / "hub", now=now).issue_notices("notices.hub.example", now=now)
    assert made.key is not None
    identity = f"identity--{uuid.uuid5(uuid.NAMESPACE_DNS, 'hub')}"
    named: Any = {"identity": identity, "certificates": [certificate_text(made.certificate)]}
    return Hub(NoticeKey(made.key, made.certificate), pki.trust.successor(issued=now, hub=named).encode())


def label(own: Mark, collection: Collection = COLLECTION, cites: frozenset[str] = frozenset()) -> str:
    author, mark = own
    defined = mark == DEFINING
    return Label(collection.alias, author, "US", ("agency",), ("gov.cyber",), "green", "clear",
                 ("orcon",) if mark == CONTROLLED else (), None, mark, "high",
                 "originator-signed", "named", "", named="".join(cites) if defined else "",
                 cites=() if defined else tuple(sorted(cites))).encode()  # fmt: skip


def member(slug: str) -> Member:
    country = Country(slug[:2].upper())
    identity = f"identity--{uuid.uuid5(uuid.NAMESPACE_DNS, slug)}"
    return Member(slug, identity, country, "agency", ("agency",), ("gov.cyber",), slug, slug)


CONSENTS = """
[originator_control]
answer_by = "originator"
time_limit = "72h"
on_silence = "refuse"
consent_valid = "30d"

[withdrawal]
error = { act_within = "24h", reveals = "id-and-class" }
legal = { act_within = "24h", ack = "required", reveals = "id" }

[[forbid]]
id = "F-ORCON"
text.en = "."
text.es = "."
when = { caveats.any = ["orcon"] }
unless = { originator_consent = "valid" }
"""
PERMIT = """
[[permit]]
id = "P-{number}"
text.en = "."
text.es = "."
direction = ["US>MX"]
from = {{ members = ["{author}"] }}
to = {{ members = ["{to}"] }}
when = {{ classes = ["{mark}"] }}
then = {{ identity = "reveal"{then} }}
"""
THEN = {"open": "", "delayed": f', delay = "{DELAY_SECONDS}s"', "closed": ""}


@contextlib.asynccontextmanager
async def scene(place: Place) -> AsyncIterator[Scene]:
    clock = FixedClock()
    store = await open_at(place, clock)
    sequencer = Sequencer(store)
    rulebook = RuleBook(store, clock)
    running = asyncio.get_running_loop().create_task(sequencer.run())
    made = Scene(store, clock, sequencer, rulebook, Release(store, sequencer, rulebook, clock, cache_bytes=1_000_000))
    try:
        await made.found()
        yield made
    finally:
        sequencer.close()
        await running
        await store.close()


OWN = st.tuples(st.sampled_from(AUTHORS), st.sampled_from(MARKS))
Step = Callable[[Scene], Any]
