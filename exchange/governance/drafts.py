"""Versions on their way into force: what is asked of a document before it may follow the one in force, and what was said of it."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from certs.trust import TrustList
from exchange.errors import Malformed, NotPermitted
from exchange.governance.approvals import Approval, Standing, Voice, heard, of_agreement, standing
from exchange.rules import Rules, agreement_of
from exchange.store.answers import Proposals
from exchange.store.changes import ApprovalRow, DraftRow
from exchange.store.contract import Store
from exchange.times import as_datetime, parse_us
from policies.agreement import Agreement, AgreementError, run_tests


@dataclass(frozen=True)
class Draft:
    """A version on its way, with what has been said of it."""

    row: DraftRow
    voices: tuple[Voice, ...]
    approvals: tuple[Approval, ...]
    scheduled_us: int | None
    """When both countries had approved it; None before that."""

    @cached_property
    def agreement(self) -> Agreement:
        return agreement_of(self.row.document)

    def standing(self, rules: Rules) -> Standing:
        """How far its approval has come, by the approvers of now."""
        return standing(self.voices, self.agreement, rules.agreed, trusted(rules))

    def follows(self, rules: Rules) -> bool:
        """Whether it may still come into force: nothing else has in its place."""
        with contextlib.suppress(NotPermitted):
            must_follow(rules, self.agreement)
            return True
        return False

    @property
    def scheduled(self) -> bool:
        return self.scheduled_us is not None

    def due_us(self, notice_us: int) -> int:
        """When it comes into force: on its date, and not before all processes had time to prepare for it."""
        return max(parse_us(self.agreement.effective_from), (self.scheduled_us or 0) + notice_us)

    @property
    def name(self) -> str:
        return f"{self.row.agreement_id}/{self.row.version}"


def read(document: bytes) -> Agreement:
    """An agreement whose own tests pass. Raises Malformed with its first mistake, or NotPermitted (agreement-test)."""
    try:
        agreement = agreement_of(document)
    except AgreementError as error:
        raise malformed(error) from None
    failed = [result.name for result in run_tests(agreement) if not result.passed]
    if failed:
        raise NotPermitted(
            f"The agreement's own test fails: {failed[0].en}",
            f"Falla la propia prueba del acuerdo: {failed[0].es}",
            code="agreement-test",
        )
    return agreement


def must_follow(rules: Rules, agreement: Agreement) -> None:
    """Raise NotPermitted unless it is the version after the one in force, and names it (agreement-rollback, -order)."""
    current = rules.agreed
    if current is None:
        return
    if agreement.agreement_id == current.agreement_id and agreement.version <= current.version:
        raise NotPermitted(
            f"Version {current.version} is in force; none before it or like it may follow.",
            f"Está en vigor la versión {current.version}; no puede seguirla una anterior ni la misma.",
            code="agreement-rollback",
            field="version",
        )
    expected = (current.agreement_id, current.version + 1, current.sha256)
    if (agreement.agreement_id, agreement.version, agreement.prev_sha256) != expected:
        raise NotPermitted(
            f"The agreement must be version {expected[1]} and name the digest of the one in force as prev_sha256.",
            f"El acuerdo debe ser la versión {expected[1]} y nombrar en prev_sha256 la huella del vigente.",
            code="agreement-order",
            field="prev_sha256",
        )


def agreed(rules: Rules) -> Agreement:
    """What both countries agreed; a refusal without."""
    rules.in_force  # noqa: B018  # refuses when there is none
    assert rules.agreed is not None  # noqa: S101  # the one is made of the other
    return rules.agreed


def trusted(rules: Rules) -> TrustList:
    """The trust list; a refusal without."""
    if rules.trust is None:
        raise NotPermitted(
            "There is no trust list yet; adopt one first.",
            "Todavía no hay lista de confianza; adopte una primero.",
            code="no-trust-list",
        )
    return rules.trust


def name_of(agreement: Agreement) -> str:
    return f"{agreement.agreement_id}/{agreement.version}"


def drafts_of(proposals: Proposals, rules: Rules) -> list[Draft]:
    """The newest draft of each document that was put, oldest first."""
    newest = {row.sha256: row for row in proposals.drafts}
    scheduled = {(one.sha256, one.impact_sha256): one.scheduled_us for one in proposals.scheduled}
    return [
        _draft(row, proposals.approvals, rules, scheduled.get((row.sha256, row.impact_sha256)))
        for row in newest.values()
    ]


async def pending(store: Store, rules: Rules) -> list[Draft]:
    """The newest of those that may still come into force. Of versions long past nothing is read, however many there were."""
    current = rules.agreed
    version = None if current is None else (current.agreement_id, current.version + 1)
    return [one for one in drafts_of(await store.proposals(version=version), rules) if one.follows(rules)]


def _draft(row: DraftRow, rows: Sequence[ApprovalRow], rules: Rules, scheduled_us: int | None) -> Draft:
    """What was said of a draft, by those who are still approvers: a certificate may have expired since, but not have been
    taken off the trust list."""
    about = of_agreement(agreement_of(row.document), row.impact_sha256)
    voices, approvals = [], []
    for one in rows:
        if (one.sha256, one.impact_sha256) != (row.sha256, row.impact_sha256):
            continue
        approval = Approval.parse(one.approval)
        with contextlib.suppress(NotPermitted):
            voices.append(heard(approval, about, ("approve", "refuse"), trusted(rules), at=as_datetime(one.given_us)))
            approvals.append(approval)
    return Draft(row, tuple(voices), tuple(approvals), scheduled_us)


def must_be_named(voice: Voice, new: Agreement, old: Agreement | None, field: str) -> None:
    """Raise NotPermitted (approval-unnamed) unless the new version or the one in force names the approver."""
    parties = [one.document.parties[voice.country].approvers.keys for one in (new, old) if one is not None]
    if not any(voice.approver in keys for keys in parties):
        raise NotPermitted(
            f"The agreement does not name {voice.approver} as an approver.",
            f"El acuerdo no nombra a {voice.approver} como persona aprobadora.",
            code="approval-unnamed",
            field=field,
        )


def malformed(error: AgreementError) -> Malformed:
    """The first mistake of a document, as a refusal."""
    first = error.findings[0]
    return Malformed(first.en, first.es, code=first.code, field=first.where)
