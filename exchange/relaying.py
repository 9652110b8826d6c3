"""What the hub answers national gateways: which originals may cross only without their sender's name, and what of the
sender may be told then. And the one way back: a disclosure, checked and recorded.

The evaluator that decides every release decides here too. A gateway is told yes or no, never who of the other country.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import orjson

from certs.origin import Origin, commitment, releases
from exchange.errors import NotFound, NotPermitted
from exchange.governance.registry import Governance
from exchange.intake.labelling import FIXED_MARKINGS
from exchange.model.instant import instant
from exchange.model.member import Collection, Member, Status
from exchange.model.references import marking_ids
from exchange.release.page import Release
from exchange.rules import Caller, Glance, Rules
from exchange.settings import Settings
from exchange.store.acts import LeafRef
from exchange.store.answers import HeldObject, LabelRow
from exchange.store.contract import Store
from policies.label import CAVEAT_MARKINGS, TLP_DEFINITIONS, Label, resolve_markings
from policies.provisions import Anonymity
from policies.words import seconds

ASKED_AT_MOST: Final = 500
"""Originals in one question."""

Code = str
"""Why something is not relayed: absent, named, denied, wider, crowd, marking, assurance."""

_TLP2: Final = {word: marking for marking, word in TLP_DEFINITIONS.items()}
"""The last of two ids for a word is that of TLP 2.0."""


_ENDS: Final = ("source_ref", "target_ref", "sighting_of_ref")


class Asked(NamedTuple):
    """One version of an original, and where it lies."""

    collection: str
    id: str
    version: str


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What holds for every original under one label. `origin` stands where it is relayed."""

    code: Code
    origin: Origin | None = None


class Relaying:
    """Answers under one snapshot of the rules; what was judged for a label is kept with the snapshot."""

    def __init__(self, store: Store, release: Release, governance: Governance, settings: Settings) -> None:
        self._store = store
        self._release = release
        self._governance = governance
        self._assets = settings.assets
        self._rules: Rules | None = None
        self._verdicts: dict[tuple[int, str], _Verdict] = {}
        self._shared: dict[tuple[int, str, tuple[str, ...]], bool] = {}

    async def judge(self, caller: Caller, glance: Glance, asked: Sequence[Asked]) -> dict[str, Any]:
        """For each original in turn: "relay" with what may be told, or why not. Whatever is not the gateway's own
        country's, or not there, is "absent"."""
        rules, epochs = glance
        agreement = rules.in_force
        agreed = agreement.document.anonymity
        if self._rules is not rules:
            self._rules, self._verdicts, self._shared = rules, {}, {}
        rows = await self._release.grants.rows(epochs)
        told = []
        for one in asked:
            told.append(await self._answer(caller.member, rules, agreed, rows, one))
            await asyncio.sleep(0)  # a label's first judgement asks for every member
        return {
            "agreement": f"{agreement.agreement_id}/{agreement.version}",
            "period_seconds": seconds(agreed.period) if agreed is not None else None,
            "judgements": told,
        }

    async def _answer(
        self, gateway: Member, rules: Rules, agreed: Anonymity | None, rows: Mapping[int, LabelRow], one: Asked
    ) -> dict[str, Any]:
        collection = rules.collection(one.collection)
        found = await self._find(gateway, collection, rows, one) if collection is not None else None
        if found is None or collection is None or agreed is None:
            return _no("absent" if agreed is not None else "denied")
        held, row = found
        verdict = self._verdict(gateway, rules, agreed, collection, row)
        if verdict.origin is None:
            return _no(verdict.code)
        body, label = orjson.loads(held.body), self._release.grants.label(row).alone
        marks = await self._markings(body, label)
        if marks is None:
            return _no("marking")
        ends = [body[name] for name in _ENDS if name in body]
        sender = rules.registry.members[held.owner]
        return {
            "code": "relay",
            "origin": verdict.origin.value(),
            "object_marking_refs": marks,
            "known": [one for one in ends if await self._known(rules, agreed, rows, label, one)],
            "traces": self._traces(rules, sender),
            "assets": list(self._assets.get(sender.slug, ())),
        }

    async def _find(
        self, gateway: Member, collection: Collection, rows: Mapping[int, LabelRow], one: Asked
    ) -> tuple[HeldObject, LabelRow] | None:
        try:
            wanted = instant(one.version)
        except ValueError:
            return None
        for held in await self._store.held(one.id):
            if instant(held.version) == wanted:
                for _, label in held.placements:
                    row = rows.get(label)
                    if row is not None and row.collection == collection.id and row.country == gateway.country:
                        return held, row
        return None

    # --- by label ---

    def _verdict(
        self, gateway: Member, rules: Rules, agreed: Anonymity, collection: Collection, row: LabelRow
    ) -> _Verdict:
        key = (row.id, gateway.slug)
        if key not in self._verdicts:
            # Of what it refers to, the new object has ends of its own: see `known`.
            label = self._release.grants.label(row).alone
            self._verdicts[key] = _judged(gateway, rules, agreed, collection, label)
        return self._verdicts[key]

    # --- by object ---

    async def _markings(self, body: dict[str, Any], label: Label) -> list[str] | None:
        """The markings under which the new object says all that the original's say; None when they cannot.

        Only those that everybody has may go: a definition of the sender's own would name the sender, and to leave it out
        must loosen nothing. Statements say nothing, so they are left out.
        """
        ids = marking_ids(body)
        kept = sorted({one for one in ids if one in FIXED_MARKINGS})
        definitions: dict[str, dict[str, Any]] = dict(CAVEAT_MARKINGS)
        for one in ids:
            if one not in FIXED_MARKINGS:
                definitions |= {held.id: orjson.loads(held.body) for held in await self._store.held(one)}
        alone = resolve_markings(kept, CAVEAT_MARKINGS)
        if alone != resolve_markings(ids, definitions):
            return None
        return kept if alone.tlp is not None else [*kept, _TLP2[label.tlp]]

    async def _known(
        self, rules: Rules, agreed: Anonymity, rows: Mapping[int, LabelRow], label: Label, object_id: str
    ) -> bool:
        """Whether what an original refers to may be named as it is: the other country has it under that id, and enough
        members like the sender have it too. That one of them refers to it tells no more than that."""
        for held in await self._store.held(object_id):
            for _, number in held.placements:
                row = rows.get(number)
                if row is not None and self._is_shared(rules, agreed, row, label):
                    return True
        return False

    def _is_shared(self, rules: Rules, agreed: Anonymity, row: LabelRow, label: Label) -> bool:
        key = (row.id, label.country, label.roles)
        if key not in self._shared:
            other = self._release.grants.label(row)
            abroad = other.country != label.country or any(
                one.country != label.country and _has(rules, other, one) for one in rules.registry.members.values()
            )
            having = sum(_has(rules, other, one) for one in _alike(rules, label))
            self._shared[key] = abroad and having >= agreed.crowd
        return self._shared[key]

    def _traces(self, rules: Rules, sender: Member) -> list[str]:
        """What would betray the sender, as far as the hub knows it; networks and domains are told apart, as assets."""
        keys = [one.thumbprint for one in rules.registry.signing if one.member == sender.slug]
        return [sender.slug, sender.name_en, sender.name_es, sender.identity_id, *keys]

    # --- disclosing ---

    async def disclose(
        self,
        caller: Caller,
        rules: Rules,
        attestation_id: str,
        object_id: str,
        version: str,
        *,
        salt: bytes,
        digest: bytes,
        reason: str,
    ) -> tuple[LeafRef, ...]:
        """Record that the originating country discloses for what original an object of its gateway stands.

        Raises NotFound for what the gateway did not attest here, NotPermitted when the opening does not fit the
        commitment. The entry names the gateway, the object and the reason, and nothing of the original.
        """
        committed = await self._committed(caller.member, rules, attestation_id, object_id, version)
        if committed != commitment(salt, digest):
            raise NotPermitted(
                "Salt and digest do not open the commitment that was attested.",
                "La sal y la huella no abren el compromiso atestiguado.",
                code="disclosure-mismatch",
                field="salt",
            )
        pub = {"object": object_id, "version": version, "attestation": attestation_id, "reason": reason}
        done = await self._governance.note(caller.actor, "gateway.disclose", f"member:{caller.member.slug}", pub)
        return done.leaves

    async def _committed(self, gateway: Member, rules: Rules, attestation_id: str, object_id: str, version: str) -> str:
        for held in await self._store.held(attestation_id):
            # Of the same country, not of the same member: a gateway that took another's place discloses for it. That it
            # was a gateway's, the intake saw to.
            own = rules.registry.members[held.owner].country == gateway.country
            said = releases(orjson.loads(held.body)) if own else None
            for one in said[1] if said is not None else ():
                if (one.id, one.version) == (object_id, version):
                    return one.commitment
        raise NotFound(
            "Your country's gateway has attested no such object here.",
            "La pasarela de su país no ha atestiguado aquí ese objeto.",
            code="no-such-object",
            field="attestation",
        )


def _no(code: Code) -> dict[str, Any]:
    return {"code": code}


def _judged(gateway: Member, rules: Rules, agreed: Anonymity, collection: Collection, label: Label) -> _Verdict:
    """Whether anybody across the border may have the original without its sender's name, and the new object gives nobody
    what the original's own label denies it."""
    if label.assurance != "originator-signed":
        return _Verdict("assurance")  # a gateway's signature must not make more of it
    readers = [one for one in rules.registry.members.values() if collection.can_read(one)]
    abroad = [rules.decide(label, one) for one in readers if one.country != label.country]
    if not any(one.effect == "permit" and one.view == "anonymised" for one in abroad):
        return _Verdict("named" if any(one.effect == "permit" for one in abroad) else "denied")
    origin = _origin(rules, agreed, label)
    if origin is None:
        return _Verdict("crowd")
    new = replace(
        label,
        originator=gateway.slug,
        roles=origin.roles,
        sectors=origin.sectors,
        assurance="gateway-signed",
        consent="none",
    )
    crosses = False
    for one in readers:
        after = rules.decide(new, one)
        if one.slug == gateway.slug or after.effect != "permit":
            continue
        before = rules.decide(label, one)
        if before.effect != "permit" or before.delay_seconds > after.delay_seconds:
            return _Verdict("wider")
        crosses = crosses or one.country != label.country
    return _Verdict("relay", origin) if crosses else _Verdict("denied")


def _alike(rules: Rules, label: Label) -> list[Member]:
    """The active members that could be the sender, for all that is told of it at least."""
    return [
        one
        for one in rules.registry.members.values()
        if one.country == label.country and one.status is Status.ACTIVE and set(label.roles) <= set(one.roles)
    ]


def _has(rules: Rules, label: Label, member: Member) -> bool:
    found = rules.decide(label, member)
    return found.effect == "permit" and found.view == "full"


def _origin(rules: Rules, agreed: Anonymity, label: Label) -> Origin | None:
    """The sender's facets as far as agreed, and as far as enough others share them; None when too few share even the
    roles."""
    alike = _alike(rules, label)
    if len(alike) < agreed.crowd:
        return None
    sectors = label.sectors if agreed.origin == "sector" else ()
    shared = [one for one in sectors if sum(one in other.sectors for other in alike) >= agreed.crowd]
    return Origin(label.country, label.roles, tuple(shared))
