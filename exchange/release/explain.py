"""Why a recipient may or may not have an object: the judgement that release enforces, told clause by clause."""

from typing import Any

import orjson

from exchange.errors import Malformed, NotFound
from exchange.model.instant import instant
from exchange.model.member import Collection, Member, Status
from exchange.model.page import Filter
from exchange.model.references import references
from exchange.model.view import EVER
from exchange.release.page import Release
from exchange.rules import Caller, Glance, RuleBook
from exchange.store.answers import HeldObject, LabelRow
from exchange.store.contract import Store
from exchange.times import as_text
from policies.decide import Decision, Step

ENDS_AT_MOST = 500
"""Of one object that are looked up; of what connects more it is told that it may hang on something not to be told."""

_OF_END = {
    "given": ("The recipient has it.", "El destinatario lo tiene."),
    "withheld": ("The recipient does not have it.", "El destinatario no lo tiene."),
    "absent": (
        "It is not in the hub, or is none that you may ask about.",
        "No está en el centro, o no es uno por el que usted pueda preguntar.",
    ),
}


async def explain(
    store: Store,
    release: Release,
    rulebook: RuleBook,
    caller: Caller | None,
    object_id: str,
    to_slug: str,
    language: str,
    *,
    version: str | None = None,
) -> dict[str, Any]:
    """The decision for each place the object lies in, with every clause that was tried.

    Those may ask: the object's originator about anybody; a recipient about itself, where it may have the object;
    auditors about what is their country's or may cross to it. Of what the object refers to each is told what it may know of that:
    what it may not is told as if it were not there. Everybody else, and whoever names an object or a member
    that is not there, gets one and the same NotFound. No caller is the operator at the hub's own files, who has them all
    before its eyes. Raises Malformed for a version that is no timestamp.
    """
    wanted = _instant(version)
    glance = await rulebook.glance()
    rules = glance.rules
    recipient = rules.registry.members.get(to_slug)
    if recipient is None:
        raise _absent()
    case = _Case(store, release, glance, caller.member if caller is not None else None, recipient)
    held = [one for one in await store.held(object_id) if wanted is None or instant(one.version) == wanted]
    labels = {row.id: row for row in await store.labels()}
    placements = [
        placement
        for one in held
        for tick, label in one.placements
        if label in labels and (placement := await case.told(one, tick, labels[label], language)) is not None
    ]
    if not placements:
        raise _absent()
    agreement = rules.in_force
    return {
        "object": object_id,
        "to": recipient.slug,
        "agreement": f"{agreement.agreement_id}/{agreement.version}",
        "placements": placements,
    }


class _Case:
    """One question: who asks, about whom, under which rules."""

    def __init__(self, store: Store, release: Release, glance: Glance, asker: Member | None, recipient: Member) -> None:
        self._store = store
        self._release = release
        self._glance = glance
        self._rules = rules = glance.rules
        self._asker = asker
        self._recipient = recipient
        self._collections = {one.id: one for one in rules.registry.collections}
        self._found: dict[str, dict[int, int]] = {}

    async def told(self, held: HeldObject, tick: int, row: LabelRow, language: str) -> dict[str, Any] | None:
        """What is told of one placement; None when this caller may not ask about it."""
        collection = self._collections.get(row.collection)
        decision = await self._decision(row, self._recipient)
        if collection is None or decision is None:
            return None
        seen = await self._seen(held.id, collection)
        if not await self._may_ask(held, row, shown=tick in seen):
            return None
        added, shown = seen.get(tick, tick), tick in seen
        ends = await self._ends(held, language)
        if any(one["state"] == "absent" for one in ends):
            # Judged as if what the asker may not know of were not there: the answer must not tell that it is.
            label = self._release.grants.label(row)
            decision = self._rules.decide(label.alone.joined([*label.ends, ()]), self._recipient)
            shown = shown and decision.effect == "permit"
        return _placement(held, added, collection, decision, language, self._recipient, shown=shown) | {"ends": ends}

    async def _ends(self, held: HeldObject, language: str) -> list[dict[str, Any]]:
        """What the object refers to, and whether the recipient has that: of each as much as this caller may know."""
        refs = references(orjson.loads(held.body))
        told = []
        for ref in refs[:ENDS_AT_MOST]:
            state = "absent"
            if await self._may_know(ref):
                state = "given" if await self._has(self._recipient, ref) else "withheld"
            told.append({"id": ref, "state": state, "text": _OF_END[state][language == "es"]})
        told += [
            {"id": ref, "state": "absent", "text": _OF_END["absent"][language == "es"]} for ref in refs[ENDS_AT_MOST:]
        ]
        return told

    async def _may_know(self, object_id: str) -> bool:
        """Whether the caller may know that an object is there: it is its own, or shown to it, or its country's affair."""
        held = await self._store.held(object_id)
        if self._asker is None or not held:
            return bool(held)
        rows = await self._release.grants.rows(self._glance.epochs)
        for one in held:
            for _, label in one.placements:
                if label in rows and await self._may_ask(one, rows[label], shown=False):
                    return True
        return await self._has(self._asker, object_id)

    async def _has(self, member: Member, object_id: str) -> bool:
        """Whether a member is shown an object anywhere."""
        if member.status is not Status.ACTIVE:
            return False
        for collection in self._collections.values():
            if collection.can_read(member):
                allowed, (_, epochs) = await self._release.allowed(self._glance, member, collection)
                if await self._release.holds(allowed, epochs, object_id):
                    return True
        return False

    async def _seen(self, object_id: str, collection: Collection) -> dict[int, int]:
        """What the recipient finds of the object: its ticks there, by those it was placed at."""
        found = self._found.get(collection.id)
        if found is None:
            found = self._found[collection.id] = {}
            if self._recipient.status == Status.ACTIVE and collection.can_read(self._recipient):
                allowed, (_, epochs) = await self._release.allowed(self._glance, self._recipient, collection)
                match = Filter(ids=(object_id,), versions=("all",))
                page = await self._store.page(
                    collection.id, allowed.labels, match, 0, EVER - 1, until_us=epochs.last_tick, view=allowed.view
                )
                found.update({row.run + row.position: row.tick for row in page.rows})
        return found

    async def _may_ask(self, held: HeldObject, row: LabelRow, *, shown: bool) -> bool:
        if self._asker is None or held.owner == self._asker.slug:
            return True
        if self._asker.auditor:
            return row.country == self._asker.country or await self._crosses(row, self._asker.country)
        return shown and self._asker.slug == self._recipient.slug

    async def _crosses(self, row: LabelRow, country: str) -> bool:
        """Whether anybody of the auditor's country may have it as it is: else it is the other country's own affair."""
        for member in self._rules.registry.members.values():
            if member.country == country:
                decision = await self._decision(row, member)
                if decision is not None and decision.effect == "permit" and decision.view == "full":
                    return True
        return False

    async def _decision(self, row: LabelRow, member: Member) -> Decision | None:
        return await self._release.grants.decision(self._rules, self._glance.epochs, member, row.id)


def _placement(
    held: HeldObject,
    tick: int,
    collection: Collection,
    decision: Decision,
    language: str,
    recipient: Member,
    *,
    shown: bool,
) -> dict[str, Any]:
    return {
        "collection": collection.alias,
        "version": held.version,
        "date_added": as_text(tick),
        "effect": decision.effect,
        "view": decision.view,
        "visible": shown,
        "collection_readable": collection.can_read(recipient),
        "clause": decision.clause,
        "reason": decision.reason(language),
        "delay_seconds": decision.delay_seconds,
        "obligations": dict(decision.obligations),
        "nearest": None if decision.nearest is None else _step(decision.nearest, language),
        "not_before": decision.not_before,
        "consent": _consent(decision),
        "trace": [_step(step, language) for step in decision.trace],
    }


def _consent(decision: Decision) -> dict[str, Any] | None:
    """Whose consent is missing, and for which of its cases, where nothing but that keeps it from the recipient by a forbid. Who
    may ask this question at all knows that the object exists."""
    label = decision.case.label
    forbids = decision.case.agreement.document.forbid
    waiting = [one.id for one in forbids if one.id in decision.forbids and one.unless.originator_consent]
    return {"originator": label.originator, "cases": list(label.cases)} if waiting else None


def _step(step: Step, language: str) -> dict[str, Any]:
    return {
        "rule": step.rule,
        "kind": step.kind,
        "matched": step.matched,
        "failed": step.failed,
        "text": step.es if language == "es" else step.en,
    }


def _instant(version: str | None) -> str | None:
    if version is None:
        return None
    try:
        return instant(version)
    except ValueError:
        raise Malformed(
            "version takes a timestamp such as 2026-11-24T12:00:00.000Z.",
            "version admite una marca de tiempo como 2026-11-24T12:00:00.000Z.",
            code="query-malformed",
            field="version",
        ) from None


def _absent() -> NotFound:
    return NotFound(
        "There is no such object, or none that you may ask about.",
        "No existe ese objeto, o ninguno por el que usted pueda preguntar.",
        code="no-such-object",
    )
