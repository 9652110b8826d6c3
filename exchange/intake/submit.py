"""The one way in: examine each object, then commit those that pass, with their entries and the status, in one act."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any

import orjson
import structlog

from exchange.clock import Clock
from exchange.errors import NotFound, NotPermitted, NotStix, Text
from exchange.intake.examine import ATTESTATION, Coverage, Desk, Examined, Failure, Note, attests, coverage
from exchange.intake.examiner import Examiner
from exchange.intake.judgements import Judgements
from exchange.intake.labelling import FIXED_MARKINGS, cited_markings
from exchange.intake.parse import objects_in
from exchange.intake.shapes import Allowances, Budget
from exchange.intake.warninglists import Warninglists
from exchange.ledger.entry import Entry, label_name, national
from exchange.ledger.publication import moved, publication
from exchange.ledger.sequencer import Sequencer
from exchange.model.instant import instant
from exchange.model.member import Collection
from exchange.model.versions import Verdict
from exchange.rules import Caller, RuleBook, Rules, changing
from exchange.settings import Settings
from exchange.store.acts import Act, LeafRef, NewObject, Placed, Record, Removal, Stamp, StatusRow
from exchange.store.contract import Outdated, Store
from exchange.store.feed_rows import VALUE_CHARACTERS_AT_MOST, HeldRow
from exchange.times import as_datetime, as_text
from policies.label import CAVEAT_MARKINGS

AT_ONCE_BYTES = 8_192
"""A body up to this size is read where it is, which takes as long as handing it over."""

VERSIONS_LOGGED = 64
"""Versions that one `withdraw` entry names; all of them are counted."""

REFUSALS_LOGGED = 200
"""`submit.refuse` entries of one envelope; what is beyond is one entry with its count."""

HELD_NOTED = 1_000
"""Values of one envelope that are noted as held; what is beyond is held all the same."""

MARKINGS_AT_MOST = 500
"""Different ones in one envelope: each is looked up."""

VERSION_TEXTS = {
    Verdict.CONFLICT: Text(
        "This version is already here with other content. The first content stands, and the contradiction is recorded.",
        "Esta versión ya existe con otro contenido. Prevalece el primero y la contradicción queda registrada.",
    ),
    Verdict.NOT_OWNER: Text(
        "This id belongs to another originator.", "Este identificador pertenece a otro originador."
    ),
    Verdict.CREATED_CHANGED: Text(
        "A new version must keep the value of created.", "Una versión nueva debe conservar el valor de created."
    ),
    Verdict.AFTER_REVOCATION: Text(
        "The object was revoked; no later version can follow.",
        "El objeto fue revocado; no puede haber una versión posterior.",
    ),
    Verdict.NOT_VERSIONED: Text(
        "A marking definition cannot be changed.", "Una definición de marcado no puede modificarse."
    ),
}

GAP = Note(
    "signature-gap",
    Text(
        "prev_sha256 is not the version before this one that the hub holds. One may have been withheld on the way here.",
        "prev_sha256 no es la versión anterior que tiene el centro. Es posible que se haya retenido una en el camino.",
    ),
)

_log = structlog.get_logger("puente.intake")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of an envelope: the TAXII status resource, and where its entries lie."""

    status_id: str
    body: dict[str, Any]
    leaves: tuple[LeafRef, ...]
    complete: bool = True


class Intake:
    """Takes envelopes from members. Nothing of an envelope is visible before all that passes is durable."""

    def __init__(
        self,
        store: Store,
        sequencer: Sequencer,
        rulebook: RuleBook,
        clock: Clock,
        settings: Settings,
        warninglists: Warninglists,
    ) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock
        self._settings = settings
        self._warninglists = warninglists
        self._allowances = Allowances(
            envelope=settings.pattern_envelope_terms,
            burst=settings.pattern_burst_terms,
            per_second=settings.pattern_terms_per_second,
        )
        self._examiner = Examiner(store.turn)
        self._judgements: Judgements | None = None

    def close(self) -> None:
        self._examiner.close()

    async def submit(self, caller: Caller, collection: Collection, body: bytes, *, language: str = "en") -> Submitted:
        """Judge and store an envelope, a bundle or one object.

        Raises Malformed, NotStix or TooLarge for faults of the body as a whole, Unavailable when the ledger cannot be
        written. One object's failure never fails the others: it is told in the status, in the submitter's language.
        """
        if len(body) <= AT_ONCE_BYTES:
            objects = objects_in(body, self._settings)
        else:
            objects = await self._examiner.run(objects_in, body, self._settings)
        budget = self._allowances.envelope(caller.member.slug, self._clock.now_us())
        for _ in range(8):
            rules = await self._rulebook.current()
            rules.in_force  # noqa: B018  # refuses when there is no agreement
            judgements = self._judgements_under(rules)
            judged = await self._examine(caller, collection, objects, judgements, budget)
            draft = _Draft(caller, collection, judged, language, judgements)
            try:
                done = await self._sequencer.append(
                    Act(draft.req, draft.record, agreement=rules.number, until_us=rules.until_us, objects=draft.objects,
                        held=draft.held, citing=rules.citing.epoch if draft.named else None)
                )  # fmt: skip
            except Outdated:
                continue
            judgements.record(draft.decided)
            draft.alarm()
            return Submitted(draft.req, draft.status, done.leaves[: draft.own])
        raise changing()

    async def remove(
        self,
        caller: Caller,
        collection: Collection,
        object_id: str,
        versions: tuple[str, ...] = ("all",),
        holders: Mapping[str, frozenset[str]] = MappingProxyType({}),
    ) -> int:
        """Take versions of the caller's own object out of a collection; the number that went. `holders`: by member, the versions
        that it may see until then, and is asked to drop.

        Raises NotFound when there is nothing of the kind, NotPermitted when the object is another member's, Unavailable when
        the agreement changes meanwhile: then others may hold it than were asked for.
        """
        rules = await self._rulebook.current()
        judgements = self._judgements_under(rules)

        def record(stamp: Stamp) -> Record:
            by_log: dict[str, list[str]] = {}
            for one in stamp.removed[0] or ():
                by_log.setdefault(judgements.log(one.label, caller.member.country), []).append(one.version)
            gone = {one.version for one in stamp.removed[0] or ()}
            recalls = [
                rules.recall(
                    slug, collection.id, "delete", [caller.member.country],
                    {"objects": [{"id": object_id, "versions": sorted(seen & gone)}]}, stamp.time_us,
                )
                for slug, seen in holders.items()
                if seen & gone
            ]  # fmt: skip
            entries = [_withdrawal(log, caller, collection, object_id, texts) for log, texts in by_log.items()]
            entries += [rules.recall_entry(one, caller.actor) for one in recalls]
            entries += moved(stamp)
            return Record(tuple(entries), recalls=tuple(recalls))

        removal = Removal(collection.id, object_id, caller.member.slug, versions)
        act = Act(str(uuid.uuid4()), record, agreement=rules.number or None, removals=(removal,))
        try:
            done = await self._sequencer.append(act)
        except Outdated:
            raise changing() from None
        removed = done.stamp.removed[0]
        if removed is None:
            raise NotPermitted(
                "Only its originator may delete an object.",
                "Solo su originador puede eliminar un objeto.",
                code="not-owner",
            )
        if not removed:
            raise NotFound("There is no such object in this collection.", "No existe ese objeto en esta colección.")
        return len(removed)

    async def status(self, caller: Caller, status_id: str) -> bytes:
        """The status resource of a submission, as it was answered: for its submitter and its country's auditors.

        Raises NotFound for everybody else, as for a status that is not there.
        """
        row = await self._store.status(status_id)
        if row is not None and row.member != caller.member.slug:
            submitter = (await self._rulebook.current()).registry.members.get(row.member)
            if not caller.member.auditor or submitter is None or submitter.country != caller.member.country:
                row = None
        if row is None:
            raise NotFound("There is no such status.", "No existe ese estado.", field="status-id")
        return row.body

    async def _examine(
        self, caller: Caller, collection: Collection, objects: list[Any], judgements: Judgements, budget: Budget
    ) -> list[Examined | Failure]:
        rules, now_us = judgements.rules, self._clock.now_us()
        known, offered = await self._definitions(objects)
        covered: Mapping[tuple[str, str], Coverage] = {}
        if any(map(attests, objects)):
            covered = await self._examiner.run(coverage, objects, rules, caller.member, as_datetime(now_us))
        desk = Desk(
            settings=self._settings,
            rules=rules,
            member=caller.member,
            collection=collection,
            attestations=rules.collection("attestations") or collection,
            labeller=judgements.labeller,
            received=as_datetime(now_us),
            latest=instant(as_text(now_us + self._settings.future_limit_seconds * 1_000_000)),
            warninglists=self._warninglists,
            definitions=known,
            covered=covered,
            budget=budget,
            released=rules.released(caller.member, now_us),
        )
        if offered:
            # Only one that is taken in itself says anything of the others: what nobody signed stays an unknown marking.
            outcomes = await self._examiner.judge(offered, desk)
            vouched = [one for one, outcome in zip(offered, outcomes, strict=True) if isinstance(outcome, Examined)]
            desk = desk._replace(definitions={one["id"]: one for one in reversed(vouched)} | known)
        return await self._examiner.judge(objects, desk)

    async def _definitions(self, objects: list[Any]) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """The marking definitions that the envelope's objects cite: those the hub holds, and those it is offered here."""
        known: dict[str, dict[str, Any]] = dict(CAVEAT_MARKINGS)
        cited = cited_markings(objects) - FIXED_MARKINGS
        if len(cited) > MARKINGS_AT_MOST:
            raise NotStix(
                f"The envelope cites more than {MARKINGS_AT_MOST} different markings.",
                f"El sobre cita más de {MARKINGS_AT_MOST} marcados distintos.",
                code="envelope-markings",
                field="object_marking_refs",
            )
        for object_id in sorted(cited):
            held = await self._store.held(object_id)
            if held:
                known[object_id] = orjson.loads(held[0].body)
        # What the hub holds stands: an envelope cannot give a known marking another meaning.
        cited -= known.keys()
        return known, [value for value in objects if _defines(value) and value["id"] in cited] if cited else []

    def _judgements_under(self, rules: Rules) -> Judgements:
        if self._judgements is None or self._judgements.rules is not rules:
            self._judgements = Judgements(rules, self._judgements)
        return self._judgements


def _defines(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "marking-definition" and isinstance(value.get("id"), str)


class _Draft:
    """One envelope on its way through the lock: what is asked of the store, and what is recorded of the answer."""

    def __init__(
        self,
        caller: Caller,
        collection: Collection,
        judged: list[Examined | Failure],
        language: str,
        judgements: Judgements,
    ) -> None:
        self.req = str(uuid.uuid4())
        self.caller = caller
        self.collection = collection
        self.judged = judged
        self.language = language
        self.objects = tuple(one.new for one in judged if isinstance(one, Examined) and one.new is not None)
        # Decided before the lock is taken: a label's first judgement asks for every member. What an object is joined with is
        # only known behind it.
        self.logs = [judgements.log(new.label, new.country) for new in self.objects]
        self.named = frozenset([one.new.label for one in judged if isinstance(one, Examined) and one.new and one.named])
        """Labels under which something of it may be opened by what cites it."""
        self._judgements = judgements
        self.decided: set[tuple[str, str]] = set()
        """Labels that the first object came under, as far as this process knows."""
        self.own = 0
        """How many of the entries, from the first, tell of the caller's acts: it may read those, and not the hub's own."""
        self.held = _held(caller.member.slug, judged)
        self.status: dict[str, Any] = {}
        self.conflicts: list[Failure] = []

    def record(self, stamp: Stamp) -> Record:
        """Called under the lock: entries for what was stored and refused, and the status of all."""
        successes: list[dict[str, Any]] = []
        failures: list[Failure] = []
        entries: list[Entry] = []
        published: dict[tuple[str, str], list[tuple[NewObject, Placed]]] = {}
        places = iter(zip(self.objects, self.logs, stamp.placed, strict=True))
        private = self.caller.private
        beside = self._newest(stamp) if self.named else frozenset()
        for one in self.judged:
            if isinstance(one, Failure):
                failures.append(one)
                continue
            if one.new is not None:
                new, log, placed = next(places)
                if not placed.verdict.success:
                    failures.append(_refused(new, placed.verdict))
                    continue
                if placed.label:
                    log = self._judgements.log(placed.label, new.country)
                elif new.label in self.named:
                    log = self._judgements.log_beside(new.label, new.country, beside)
                if placed.verdict is Verdict.STORED:
                    entries.append(self._submit_entry(new, one, private, gap=placed.gap))
                    published.setdefault((log, new.collection), []).append((new, placed))
                    self.decided.add((new.label, new.country))
                one = one._replace(notes=(*one.notes, GAP)) if placed.gap else one
            successes.append(_success(one, self.language))
        entries += [self._publish_entry(log, on, rows) for (log, on), rows in sorted(published.items())]
        entries += self._refusals(failures, private)
        self.own = len(entries)
        entries += moved(stamp)
        entries += self._judgements.unrecorded(self.decided)
        self.conflicts = [failure for failure in failures if failure.code == Verdict.CONFLICT]
        self.status = _status(self.req, stamp.time_us, successes, failures, self.language)
        row = StatusRow(self.req, self.caller.member.slug, stamp.time_us, orjson.dumps(self.status))
        return Record(tuple(entries), row)

    def _newest(self, stamp: Stamp) -> frozenset[str]:
        """The labels of what was placed that surely let it open what it cites."""
        return frozenset([
            placed.label or new.label for new, placed in zip(self.objects, stamp.placed, strict=True) if placed.newest
        ])  # fmt: skip

    def alarm(self) -> None:
        for failure in self.conflicts:
            _log.warning("version conflict", member=self.caller.member.slug, object=failure.id, version=failure.version)

    def _submit_entry(self, new: NewObject, one: Examined, private: dict[str, str], *, gap: bool) -> Entry:
        obj = new.object
        label = label_name(new.label)
        pub = {"object": obj.id, "version": obj.version, "sha256": obj.sha256.hex(), **one.facts, "label": label}
        if gap:
            pub["gap"] = True
        return Entry(national(new.country), "submit", self.caller.actor, f"coll:{new.collection}", pub, private=private)

    def _publish_entry(self, log: str, collection: str, rows: list[tuple[NewObject, Placed]]) -> Entry:
        told = [(placed.tick, new.object) for new, placed in rows]
        return publication(log, self.caller.actor, collection, "new", told)

    def _refusals(self, failures: list[Failure], private: dict[str, str]) -> list[Entry]:
        log, on = national(self.caller.member.country), f"coll:{self.collection.id}"
        entries = [
            Entry(
                log, "submit.refuse", self.caller.actor, on,
                {"object": one.id[:120], "version": one.version[:40], "code": one.code, "sha256": one.sha256},
                out="refused", private=private,
            )
            for one in failures[:REFUSALS_LOGGED]
        ]  # fmt: skip
        rest = len(failures) - len(entries)
        if rest > 0:
            entries.append(
                Entry(
                    log, "submit.refuse", self.caller.actor, on, {"code": "further", "count": rest}, out="refused",
                    private=private,
                )
            )  # fmt: skip
        return entries


def _held(member: str, judged: list[Examined | Failure]) -> tuple[HeldRow, ...]:
    """What is noted for who may release it: each value once."""
    rows = {
        hit.value: HeldRow(member, hit.value, hit.list_name, hit.member, one.id)
        for one in judged
        if isinstance(one, Failure)
        for hit in one.held
        if len(hit.value) <= VALUE_CHARACTERS_AT_MOST
    }
    return tuple(islice(rows.values(), HELD_NOTED))


def _success(one: Examined, language: str) -> dict[str, Any]:
    named: dict[str, Any] = {"id": one.id, "version": one.version}
    if one.notes:
        # 4.3.1: a message may stand beside a success too. What is doubtful in an object is its originator's to mend.
        named["message"] = " ".join(note.text.in_language(language) for note in one.notes)
        named["x_notes"] = [note.code for note in one.notes]
    return named


def _withdrawal(log: str, caller: Caller, collection: Collection, object_id: str, versions: list[str]) -> Entry:
    pub = {"object": object_id, "versions": versions[:VERSIONS_LOGGED], "count": len(versions), "cause": "delete"}
    return Entry(log, "withdraw", caller.actor, f"coll:{collection.id}", pub, private=caller.private)


def _refused(new: NewObject, verdict: Verdict) -> Failure:
    field = "modified" if verdict is Verdict.CONFLICT else "created" if verdict is Verdict.CREATED_CHANGED else "id"
    return Failure(
        new.object.id, new.object.version, verdict.value, VERSION_TEXTS[verdict], field, new.object.sha256.hex()
    )


def _status(
    req: str, time_us: int, successes: list[dict[str, Any]], failures: list[Failure], language: str
) -> dict[str, Any]:
    """TAXII 2.1, 4.3.1. Counts add up; a list is left out when it would be empty (2)."""
    status: dict[str, Any] = {
        "id": req,
        "status": "complete",
        "request_timestamp": as_text(time_us),
        "total_count": len(successes) + len(failures),
        "success_count": len(successes),
        "failure_count": len(failures),
        "pending_count": 0,
    }
    if successes:
        status["successes"] = successes
    other = "en" if language == "es" else "es"
    if failures:
        status["failures"] = [
            {
                "id": one.id,
                "version": one.version,
                "message": one.text.in_language(language),
                # Who keeps the reason for later readers, as feeds do, keeps both.
                f"x_message_{other}": one.text.in_language(other),
                "x_code": one.code,
                **({"x_field": one.field} if one.field else {}),
            }
            for one in failures
        ]
    return status


__all__ = ["ATTESTATION", "Intake", "Submitted"]
