"""The life of an agreement: draft, impact, approvals of both countries, scheduled, active, superseded; and what one country
may do at once, only to take away, and only for a while.

Each step is one act with its entry. A new adoption, for whatever cause, has the next number; who decided under another
must decide again. So a step happens once, however many processes of the hub try it.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import structlog

from certs.trust import COUNTRIES
from exchange.clock import Clock
from exchange.errors import NotFound, NotPermitted, Unavailable
from exchange.governance.approvals import (
    Approval,
    heard,
    of_agreement,
)
from exchange.governance.drafts import (
    Draft,
    agreed,
    drafts_of,
    must_be_named,
    must_follow,
    name_of,
    pending,
    read,
    trusted,
)
from exchange.governance.impact import impact_of
from exchange.governance.tightening import must_be_fresh, own_threshold, proved, sound, standing_overlay
from exchange.ledger.entry import HUB, Entry, national
from exchange.ledger.sequencer import Outdated, Sequencer
from exchange.rules import RuleBook, Rules
from exchange.store.acts import Act, Record
from exchange.store.changes import AgreementRow, ApprovalRow, Change, DraftRow, ScheduleRow
from exchange.store.contract import Store
from exchange.times import as_datetime, parse_us
from policies.overlay import Overlay

LOOK_SECONDS = 0.5
"""How often a running hub looks whether something is due."""

AHEAD_US = 20_000_000
"""How long before its time a version is prepared for."""

_log = structlog.get_logger("puente.agreements")


class Agreements:
    """Every act that changes by which agreement the hub judges."""

    def __init__(
        self,
        store: Store,
        sequencer: Sequencer,
        rulebook: RuleBook,
        clock: Clock,
        *,
        prepare: Callable[[Rules], Awaitable[None]],
        notice_seconds: float,
    ) -> None:
        """`prepare` judges what is held by rules that are about to hold, before any reader waits for it."""
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock
        self._prepare = prepare
        self._notice_us = round(notice_seconds * 1_000_000)
        self._seen: tuple[int, int] = (-1, -1)
        self._pending: list[Draft] = []
        self._ended = ""
        """The agreement whose end is known to have its entry."""

    # --- draft ---

    async def propose(self, actor: str, document: bytes) -> Draft:
        """Put a draft: it parses, its own tests pass, it follows the one in force. Its impact is computed and attached.

        Put again, it has a fresh impact, and approvals of the former one no longer count.
        """
        agreement = read(document)
        rules = await self._rulebook.current()
        trusted(rules)
        must_follow(rules, agreement)
        if parse_us(agreement.expires) <= self._clock.now_us():
            raise NotPermitted(
                "The agreement has expired before it began.",
                "El acuerdo expiró antes de entrar en vigor.",
                code="agreement-expired",
                field="expires",
            )
        impact = await impact_of(rules, await self._store.labels(), agreement)
        row = DraftRow(
            agreement.sha256, impact.sha256, agreement.agreement_id, agreement.version, document, impact.document,
            impact.openings,
        )  # fmt: skip
        pub = {
            "agreement": f"{row.agreement_id}/{row.version}",
            "sha256": row.sha256,
            "prev_sha256": agreement.prev_sha256 or "",
            "impact_sha256": row.impact_sha256,
            "effective_from": agreement.effective_from,
        }
        await self._act(_entry(actor, "policy.propose", row.agreement_id, pub), changes=(row,))
        return await self.draft(row.sha256)

    async def drafts(self) -> list[Draft]:
        """The newest draft of each document that was put, oldest first."""
        rules = await self._rulebook.current()
        return drafts_of(await self._store.proposals(), rules)

    async def pending(self) -> list[Draft]:
        """Those of them that may still come into force."""
        return await pending(self._store, await self._rulebook.current())

    async def draft(self, sha256: str) -> Draft:
        """The newest draft of a document. Raises NotFound."""
        found = drafts_of(await self._store.proposals(sha256=sha256), await self._rulebook.current())
        if not found:
            raise NotFound(
                "This document was not proposed here.", "Este documento no se ha propuesto aquí.", code="no-such-draft"
            )
        return found[-1]

    # --- approval ---

    async def approve(self, actor: str, sha256: str, approvals: Sequence[bytes]) -> Draft:
        """Record what approvers say of a draft; what was said before is said once. With enough of both countries it is
        scheduled, and when its time has come it comes into force.

        Raises Malformed or NotPermitted for the first approval that does not count, and then records none of them.
        """
        draft = await self.draft(sha256)
        rules = await self._rulebook.current()
        must_follow(rules, draft.agreement)
        about = of_agreement(draft.agreement, draft.row.impact_sha256)
        given = [Approval.parse(one) for one in approvals]
        now = as_datetime(self._clock.now_us())
        voices = [
            heard(one, about, ("approve", "refuse"), trusted(rules), at=now, field=f"approval {number}")
            for number, one in enumerate(given, 1)
        ]
        for number, voice in enumerate(voices, 1):
            must_be_named(voice, draft.agreement, rules.agreed, f"approval {number}")
        said = {(one.approver, one.decision) for one in draft.voices}
        for approval, voice in zip(given, voices, strict=True):
            if (voice.approver, voice.decision) in said:
                continue
            row = ApprovalRow(
                sha256, draft.row.impact_sha256, voice.country, voice.approver, voice.decision, approval.encode()
            )
            entry = _entry(actor, "policy.approve", draft.row.agreement_id, _public(approval))
            await self._act(entry, changes=(row,))
        return await self._advance(await self.draft(sha256), wait=True)

    async def _advance(self, draft: Draft, *, wait: bool = False) -> Draft:
        """Take a draft as far as it may go now. With `wait`, one whose date has come is not left to another process."""
        rules = await self._rulebook.current()
        if not draft.follows(rules) or not draft.standing(rules).enough:
            return draft
        if not draft.scheduled:
            with contextlib.suppress(Outdated):  # another process was faster
                await self._schedule(rules, draft)
            draft = await self.draft(draft.row.sha256)
        if parse_us(draft.agreement.effective_from) <= self._clock.now_us():
            # The first has nobody to surprise.
            left_us = draft.due_us(self._notice_us) - self._clock.now_us() if rules.agreed is not None else 0
            if left_us > 0 and not wait:
                return draft
            await asyncio.gather(self._ready(draft), asyncio.sleep(max(left_us, 0) / 1_000_000))
            with contextlib.suppress(Outdated):
                await self._activate(draft)
        return draft

    async def _ready(self, draft: Draft) -> None:
        """Have everything judged by the rules that a draft will make."""
        rules = await self._rulebook.current()
        await self._prepare(rules.under(draft.agreement, rules.overlays))

    async def _schedule(self, rules: Rules, draft: Draft) -> None:
        pub = {**_summary(draft, rules), "effective_from": draft.agreement.effective_from}
        entry = _entry(HUB, "policy.schedule", draft.row.agreement_id, pub)
        await self._act(entry, changes=(ScheduleRow(draft.row.sha256, draft.row.impact_sha256),))

    async def _activate(self, draft: Draft) -> None:
        rules = await self._rulebook.current()
        if not draft.follows(rules):
            return  # another process was faster
        row = AgreementRow(
            number=rules.number + 1,
            agreement_id=draft.row.agreement_id,
            version=draft.row.version,
            document=draft.row.document,
            approvals=orjson.dumps([orjson.Fragment(one.encode()) for one in draft.approvals]),
            adopted_us=0,
            impact_sha256=draft.row.impact_sha256,
            overlays=await self._overlays(rules, rules.overlays),
            cause="activate",
        )
        entries = [_entry(HUB, "policy.activate", row.agreement_id, _summary(draft, rules))]
        if rules.agreed is not None:
            before = {"agreement": name_of(rules.agreed), "sha256": rules.agreed.sha256, "by": row.name}
            entries.append(_entry(HUB, "policy.retire", row.agreement_id, before))
        await self._act(*entries, changes=(row,), agreement=rules.number)

    # --- one country alone ---

    async def tighten(self, actor: str, document: bytes, approvals: Sequence[bytes]) -> Overlay:
        """Put one country's overlay in force at once: forbids only, for at most the agreed time, by its own threshold,
        and nobody has anything by it that they did not have."""
        rules = await self._rulebook.current()
        overlay = sound(rules, document, self._clock.now_us())
        given = [Approval.parse(one) for one in approvals]
        must_be_fresh(overlay, await self._store.agreements())
        approvers = own_threshold(rules, overlay, given, "tighten", self._clock.now_us())
        lost = await proved(rules, await self._store.labels(), overlay)
        await self._prepare(rules.under(agreed(rules), (*rules.overlays, overlay)))
        kept = orjson.loads(await self._overlays(rules, rules.overlays))
        kept.append({"document": document.decode(), "approvals": [orjson.loads(one.encode()) for one in given]})
        row = await self._next(rules, "tighten", orjson.dumps(kept))
        pub = {
            "agreement": row.name,
            "overlay": overlay.overlay_id,
            "sha256": overlay.sha256,
            "country": overlay.country,
            "expires": overlay.expires,
            "pairs_lost": lost,
            "approvers": approvers,
        }
        await self._told(overlay, _entry(actor, "policy.tighten", row.agreement_id, pub), row, rules)
        return overlay

    async def lift(self, actor: str, document: bytes, approvals: Sequence[bytes]) -> Overlay:
        """End one country's overlay before its time, by that country's own threshold. What remains is what both agreed, with
        whatever else is tightened: nobody gains more by it than they had lost."""
        rules = await self._rulebook.current()
        overlay = standing_overlay(rules, document)
        given = [Approval.parse(one) for one in approvals]
        approvers = own_threshold(rules, overlay, given, "lift", self._clock.now_us())
        left = tuple(one for one in rules.overlays if one != overlay)
        await self._prepare(rules.under(agreed(rules), left))
        row = await self._next(rules, "lift", await self._overlays(rules, left))
        pub = {
            "agreement": row.name,
            "overlay": overlay.overlay_id,
            "sha256": overlay.sha256,
            "country": overlay.country,
            "approvers": approvers,
        }
        await self._told(overlay, _entry(actor, "policy.lift", row.agreement_id, pub), row, rules)
        return overlay

    async def _told(self, overlay: Overlay, entry: Entry, row: AgreementRow, rules: Rules) -> None:
        """Put an adoption that one country made, and tell the other of it in its own log."""
        notices = [
            Entry(national(country), "policy.notice", entry.actor, entry.on, {**entry.pub, "act": entry.t})
            for country in COUNTRIES
            if country != overlay.country
        ]
        await self._act(entry, *notices, changes=(row,), agreement=rules.number)

    async def _overlays(self, rules: Rules, keep: Sequence[Overlay]) -> bytes:
        """The stored form of those of the overlays in force that are kept."""
        row = await self._store.agreement(rules.number) if rules.number else None
        stored = orjson.loads(row.overlays) if row is not None else []
        return orjson.dumps([one for one, known in zip(stored, rules.overlays, strict=True) if known in keep])

    async def _next(self, rules: Rules, cause: str, overlays: bytes) -> AgreementRow:
        """The agreement in force under its next number."""
        row = await self._store.agreement(rules.number)
        if row is None:
            raise Outdated
        return AgreementRow(
            rules.number + 1, row.agreement_id, row.version, row.document, row.approvals, 0, row.impact_sha256, overlays,
            cause,
        )  # fmt: skip

    # --- what time brings ---

    async def run(self) -> None:
        """Do what is due, for as long as the hub runs. What cannot be done now is tried again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (Unavailable, NotPermitted, NotFound) as refusal:
                _log.warning("an agreement's step has to wait", code=refusal.code)

    async def look(self) -> None:
        """Activate what is scheduled for now, end overlays whose time is over, note that the agreement has ended."""
        with contextlib.suppress(Outdated):  # another process was faster; the next look sees what is left
            rules, epochs = await self._rulebook.glance()
            if rules.agreed is not None:
                await self._end(rules)
            if self._seen != (epochs.registry, epochs.agreement):
                self._pending = await pending(self._store, rules)
                self._seen = (epochs.registry, epochs.agreement)
            for draft in self._pending:
                if not draft.standing(rules).enough:
                    continue
                if not draft.scheduled or draft.due_us(self._notice_us) <= self._clock.now_us():
                    await self._advance(draft)
                    return  # whatever else is pending follows something that is no longer in force
                if draft.due_us(self._notice_us) <= self._clock.now_us() + AHEAD_US:
                    await self._ready(draft)

    async def _end(self, rules: Rules) -> None:
        now_us = self._clock.now_us()
        over = [one for one in rules.overlays if parse_us(one.expires) <= now_us]
        if over:
            left = [one for one in rules.overlays if one not in over]
            await self._prepare(rules.under(agreed(rules), tuple(left)))
            row = await self._next(rules, "lapse", await self._overlays(rules, left))
            pub = {"agreement": row.name, "overlays": {one.overlay_id: one.sha256 for one in over}}
            await self._act(_entry(HUB, "policy.lapse", row.agreement_id, pub), changes=(row,), agreement=rules.number)
            raise Outdated
        if (
            parse_us(agreed(rules).expires) <= now_us
            and self._ended != name_of(agreed(rules))
            and not await self._noted(rules)
        ):
            row = await self._next(rules, "expire", await self._overlays(rules, rules.overlays))
            pub = {"agreement": row.name, "expires": agreed(rules).expires}
            await self._act(_entry(HUB, "policy.expire", row.agreement_id, pub), changes=(row,), agreement=rules.number)
            raise Outdated

    async def _noted(self, rules: Rules) -> bool:
        """Whether the end of the agreement in force has its entry."""
        name = name_of(agreed(rules))
        if any(row.cause == "expire" and row.name == name for row in await self._store.agreements()):
            self._ended = name
        return self._ended == name

    # --- common ---

    async def _act(self, *entries: Entry, changes: tuple[Change, ...], agreement: int | None = None) -> None:
        record = Record(entries)
        await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: record, agreement=agreement, changes=changes))


def _summary(draft: Draft, rules: Rules) -> dict[str, Any]:
    return {
        "agreement": draft.name,
        "sha256": draft.row.sha256,
        "impact_sha256": draft.row.impact_sha256,
        "approvers": {country: list(names) for country, names in draft.standing(rules).approved.items()},
    }


def _public(approval: Approval) -> dict[str, Any]:
    """An approval as its entry carries it, whole: an auditor can verify it without the hub."""
    return {**{name: value for name, value in approval.words.items() if value is not None}, "jws": approval.jws}


def _entry(actor: str, t: str, agreement_id: str, pub: dict[str, Any]) -> Entry:
    return Entry("both", t, actor, f"agreement:{agreement_id}", pub)
