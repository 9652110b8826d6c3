"""The hub's notices: to each member that is asked to drop what it had, on its own cursor, where its products look.

A recall is written with the act that took something away. Its notice follows: signed, placed in the same collection under a label
that is its member's alone, and so with a fresh tick in that member's view, once. Until it lies there the recall stays on the list
of those that have none, whatever crashes in between.
"""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import structlog
from cryptography import x509

from certs import signature
from certs.jcs import canonical
from certs.keys import PrivateKey
from certs.notice import notice
from certs.signature import NOTICE_TYPE, Signer
from exchange.clock import Clock
from exchange.ledger.entry import HUB, Entry, route
from exchange.ledger.merkle import root
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Collection, Member
from exchange.model.page import Filter
from exchange.model.recall import RecallRow
from exchange.model.stix import StixObject
from exchange.model.view import View, Window
from exchange.release.recall import reason
from exchange.rules import RuleBook, Rules
from exchange.store.acts import Act, NewObject, Record, Stamp
from exchange.store.contract import Outdated, Store
from exchange.times import as_datetime, as_millis_text, as_text
from policies.label import NOTICE, Label

OBJECTS_AT_MOST = 200
"""In one notice."""
ROWS_AT_ONCE = 1_000
WINDOWS_AT_ONCE = 200
"""Of what closed: a database takes no question of a thousand."""

_log = structlog.get_logger("puente.notices")


class NoticeKey(NamedTuple):
    """By which the hub signs them. Which identity it speaks for is in the trust list."""

    key: PrivateKey
    certificate: x509.Certificate


class Notices:
    """Makes a notice of every recall that has none."""

    def __init__(
        self, store: Store, sequencer: Sequencer, rulebook: RuleBook, clock: Clock, key: NoticeKey | None
    ) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock
        self._key = key
        self._warned = False

    async def follow(self) -> None:
        """Give every recall its notice. What cannot be done now, such as without a key that the trust list names, waits."""
        while rows := await self._store.unnoticed():
            rules = await self._rulebook.current()
            signer = self._signer(rules)
            if signer is None:
                return
            for row in rows:
                try:
                    await self._notice(rules, signer, row)
                except Outdated:
                    continue  # another process was faster

    def _signer(self, rules: Rules) -> Signer | None:
        hub = rules.trust.hub() if rules.trust is not None else None
        if hub is not None and self._key is not None and self._key.certificate in hub[1]:
            return Signer(self._key.key, self._key.certificate, hub[0], NOTICE_TYPE)
        if not self._warned:
            _log.warning("no notices: the trust list does not name the hub's key for them")
            self._warned = True
        return None

    async def _notice(self, rules: Rules, signer: Signer, row: RecallRow) -> None:
        withdrawn = [one async for one in self._withdrawn(row)]
        member, collection = rules.registry.members[row.member], rules.collection(row.collection)
        parts = [withdrawn[n : n + OBJECTS_AT_MOST] for n in range(0, len(withdrawn), OBJECTS_AT_MOST)]
        made = [self._made(signer, row, part) for part in parts] if collection is not None else []
        objects = tuple([_placed(one, member, collection, row) for one in made]) if collection is not None else ()
        log = route(member.country, row.countries.split())

        def record(stamp: Stamp) -> Record:
            if not objects:
                return Record(())
            rows = sorted(zip(objects, stamp.placed, strict=True), key=lambda row: row[1].tick)
            pub = {
                "cause": "notice",
                "to": row.member,
                "recall": row.id,
                "first": as_text(rows[0][1].tick),
                "last": as_text(rows[-1][1].tick),
                "count": len(rows),
                "items_root": root([new.object.item for new, _ in rows]).hex(),
            }
            private = {"items": [new.object.listed(placed.tick) for new, placed in rows]}
            return Record((Entry(log, "publish", HUB, f"coll:{row.collection}", pub, private=private),))

        await self._sequencer.append(Act(str(uuid.uuid4()), record, objects=objects, noticed=row.id))

    def _made(self, signer: Signer, row: RecallRow, withdrawn: Sequence[Mapping[str, Any]]) -> StixObject:
        now_us = self._clock.now_us()
        value = notice(
            id=f"{signature.NOTICE}--{uuid.uuid4()}",
            created_by_ref=signer.identity_id,
            created=as_millis_text(now_us),
            recall=row.id,
            withdraws=withdrawn,
            acknowledgement="required" if row.required else "asked",
            act_by=None if row.due_us is None else as_text(row.due_us),
            reason=reason(row),
        )
        signed = signer.sign(value, signed_at=as_datetime(now_us).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return StixObject.of(signed, canonical(signed))

    async def _withdrawn(self, row: RecallRow) -> AsyncIterator[dict[str, Any]]:
        """The ids that the member had: those the recall names, or those that lay where it says something closed."""
        if not row.scope:
            for one in orjson.loads(row.what)["objects"]:
                yield one
            return
        scope, named = orjson.loads(row.scope), set[str]()
        labels = tuple(sorted({*map(int, scope["labels"]), *scope["open"]}))
        closed = [(int(label), Window(*one)) for label, windows in scope["labels"].items() for one in windows]
        for start in range(0, len(closed), WINDOWS_AT_ONCE):
            part: dict[int, tuple[Window, ...]] = dict.fromkeys(labels, ())
            for label, window in closed[start : start + WINDOWS_AT_ONCE]:
                part[label] += (window,)
            async for one in self._lying(row, labels, scope["until"], part):
                if one not in named:
                    named.add(one)
                    yield {"id": one, "versions": []}

    async def _lying(
        self, row: RecallRow, labels: tuple[int, ...], until_us: int, windows: Mapping[int, tuple[Window, ...]]
    ) -> AsyncIterator[str]:
        """What lay in these windows. What lay open beside it decides which versions were covered by newer ones, and is not named;
        what came since covers none."""
        view, after, more = View(row.member, 0, b"", 0, 0, 0, until_us=until_us, windows=windows), 0, True
        while more:
            page = await self._store.page(
                row.collection, labels, Filter(versions=("all",)), after, ROWS_AT_ONCE, until_us=until_us, view=view
            )
            for found in page.rows:
                yield found.id
                after = found.tick
            more = page.more


def _placed(obj: StixObject, member: Member, collection: Collection, row: RecallRow) -> NewObject:
    """Under a label that is the member's own, and that nobody else can have: it keeps to an audience which no document defines."""
    countries = row.countries.split()
    country = next((one for one in countries if one != member.country), member.country.value)
    label = Label(
        collection=collection.alias, originator=member.slug, country=country, roles=(), sectors=(), tlp="amber+strict",
        pap="clear", caveats=(), rel_to=None, object_class=NOTICE, confidence="none", assurance="originator-signed",
        consent="none", feed="", audiences=("hub:notice",),
    )  # fmt: skip
    return NewObject(obj, "", "", collection.id, label.encode(), country)
