"""The one judgement: whether a recipient may have what a label describes, under an agreement, and why.

Cedar's semantics with one change: a clause that cannot be evaluated denies, where Cedar skips it.

    permit  if the object is the recipient's own and the recipient is active (OWN)
    deny    if the recipient is not active, the agreement is not in force, any forbid matches, or an evaluation fails
    permit  if any permit matches and every ceiling holds
    deny    otherwise
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from policies import explain
from policies.clauses import Agreement, Clause
from policies.document import Example, FixtureMember, TestLabel, instant
from policies.explain import ERRED, MATCHED, Case, Step
from policies.label import Label, Recipient
from policies.obligations import NO_OBLIGATIONS, Obligations, together
from policies.predicates import ASSURANCE_RANK, PAP_RANK, TLP_RANK

__all__ = ["Decision", "Step", "TestResult", "decide", "may_submit", "run_tests"]

Effect = Literal["permit", "deny"]
View = Literal["full", "anonymised"]

_NAMED_ROLES: Final = frozenset({"agency", "csirt"})
"""Public authorities are named across the border; operators only when they consent."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, by which clauses. Its words are made only when asked for."""

    effect: Effect
    view: View
    """The form in which it is permitted; "anonymised" when denied."""
    rules: tuple[str, ...]
    """The permits that decided, in the document's order; empty when denied."""
    forbids: tuple[str, ...]
    """The forbids that matched, those of the document first, then the built-in ones."""
    ceilings: tuple[str, ...]
    """The ceilings that did not hold."""
    errors: tuple[str, ...]
    """The clauses that could not be evaluated. Any of them denies."""
    obligations: Mapping[str, str] = field(hash=False)
    """Of all permits that decided, the stricter winning."""
    delay_seconds: int
    expires_after_seconds: int | None
    case: Case = field(repr=False, compare=False)
    may_block: bool = False
    """Whether the recipient's devices may block by it: every permit that decided says so, and PAP is at most GREEN, beyond
    which no act that the adversary could notice is allowed. One's own objects need a permit for a compatriot like oneself."""

    @property
    def clause(self) -> str:
        """The id to show: of the clause that decided, or "defaults.effect" when none permitted it."""
        if self.effect == "permit":
            return self.rules[0]
        for ids in (self.errors, self.forbids, self.ceilings if self._any_permit else ()):
            if ids:
                return ids[0]
        return explain.NO_PERMIT

    @property
    def trace(self) -> tuple[Step, ...]:
        """Every clause with what it did: the first predicate that failed, or that it matched."""
        return explain.steps(self.case)

    def reason(self, language: str) -> str:
        """One sentence naming the clause, Spanish for "es", English for anything else."""
        permitted = self.effect == "permit"
        erred = not permitted and bool(self.errors)
        return explain.sentence(self.case, self.clause, permitted=permitted, erred=erred, language=language)

    @property
    def _any_permit(self) -> bool:
        return self.case.recipient is None or MATCHED in self.case.permits


def decide(agreement: Agreement, label: Label, recipient: Recipient, *, now: str) -> Decision:
    """Judge one label for one recipient at `now` (RFC 3339). What cannot be evaluated is denied, never raised."""
    crossing = label.country != recipient.country
    errors: list[str] = []
    suspended = recipient.status != "active"
    own = agreement.reads_back_own and label.originator == recipient.member != ""
    not_yet, expired = _out_of_force(agreement, now, crossing=crossing, errors=errors)
    builtins = (
        (explain.OWN, own),
        (explain.SUSPENDED, suspended),
        (explain.NOT_YET, not_yet),
        (explain.EXPIRED, expired),
        (explain.CLASSIFIED, "classified" in label.caveats),
    )
    forbids, forbidding = _outcomes(agreement.forbids, label, recipient, errors)
    permits, permitting = _outcomes(agreement.permits, label, recipient, errors)
    obligations = together([clause.obligations for clause in permitting if clause.obligations] or [NO_OBLIGATIONS])
    ceilings = _ceilings(agreement, label, recipient, crossing=crossing, errors=errors)
    if obligations.purposeless:
        ceilings.append((explain.PURPOSES, False))
    case = Case(agreement, label, recipient, builtins, forbids, permits, tuple(ceilings))

    refusing = tuple(
        [clause.id for clause in forbidding]
        + [rule for rule, applies in builtins if applies and rule is not explain.OWN]
    )
    failing = tuple([rule for rule, held in ceilings if not held])
    denied = bool(errors or refusing or failing or not permitting)
    may_block = not denied and obligations.may_block and PAP_RANK[label.pap] <= PAP_RANK["green"]
    if own and not suspended:
        return Decision("permit", "full", (explain.OWN,), (), (), (), NO_OBLIGATIONS.words, 0, None, case, may_block)
    if denied:
        return _denied(case, refusing, failing, tuple(errors))
    return Decision(
        effect="permit",
        view=_view(obligations, label),
        rules=tuple([clause.id for clause in permitting]),
        forbids=(),
        ceilings=(),
        errors=(),
        obligations=obligations.words,
        delay_seconds=obligations.delay_seconds,
        expires_after_seconds=obligations.expires_after_seconds,
        case=case,
        may_block=may_block,
    )


def may_submit(agreement: Agreement, label: Label, *, now: str) -> Decision:
    """Whether the hub takes the object in at all: under the ceiling that holds anywhere, not classified, well signed.

    Markings nobody here understands are taken in: they stay in the country.
    """
    errors: list[str] = []
    not_yet, expired = _out_of_force(agreement, now, crossing=False, errors=errors)
    classified = "classified" in label.caveats
    builtins = ((explain.CLASSIFIED, classified), (explain.NOT_YET, not_yet), (explain.EXPIRED, expired))
    try:
        ceilings = _everywhere(agreement, label)
    except Exception:  # noqa: BLE001 - whatever went wrong, it must deny
        errors.append(explain.ANYWHERE)
        ceilings = []
    case = Case(agreement, label, None, builtins, (), (), tuple(ceilings))
    refusing = tuple(rule for rule, applies in builtins if applies)
    failing = tuple(rule for rule, held in ceilings if not held)
    if errors or refusing or failing:
        return _denied(case, refusing, failing, tuple(errors))
    return Decision("permit", "full", (explain.SUBMIT,), (), (), (), NO_OBLIGATIONS.words, 0, None, case)


def _denied(case: Case, forbids: tuple[str, ...], ceilings: tuple[str, ...], errors: tuple[str, ...]) -> Decision:
    return Decision("deny", "anonymised", (), forbids, ceilings, errors, NO_OBLIGATIONS.words, 0, None, case)


def _outcomes(
    clauses: tuple[Clause, ...], label: Label, recipient: Recipient, errors: list[str]
) -> tuple[tuple[int, ...], list[Clause]]:
    """What each clause did, and those that matched. Every clause is tried: the explanation is of all of them."""
    outcomes: list[int] = []
    matching: list[Clause] = []
    for clause in clauses:
        outcome = MATCHED
        try:
            for number, holds in enumerate(clause.tests):
                if not holds(label, recipient):
                    outcome = number
                    break
        except Exception:  # noqa: BLE001 - whatever went wrong, it must deny, and a skipped forbid would permit
            outcome = ERRED
            errors.append(clause.id)
        if outcome == MATCHED:
            matching.append(clause)
        outcomes.append(outcome)
    return tuple(outcomes), matching


_at = lru_cache(maxsize=64)(instant)


def _out_of_force(agreement: Agreement, now: str, *, crossing: bool, errors: list[str]) -> tuple[bool, bool]:
    """Whether the agreement has not begun, and whether it has ended for this case (at home it may go on)."""
    try:
        moment = _at(now)
    except Exception:  # noqa: BLE001 - a time nobody understands is a time at which nothing is agreed
        errors.append("now")
        return False, False
    ended = moment >= agreement.ends
    stops = crossing or agreement.document.defaults.on_expiry == "stop"
    return moment < agreement.begins, ended and stops


def _ceilings(
    agreement: Agreement, label: Label, recipient: Recipient, *, crossing: bool, errors: list[str]
) -> list[tuple[str, bool]]:
    """The ceilings that apply to the case, and whether each holds."""
    try:
        limits = agreement.limits
        tlp, pap = TLP_RANK[label.tlp], PAP_RANK[label.pap]
        checks = [(explain.ANYWHERE, tlp <= limits.anywhere[0] and pap <= limits.anywhere[1])]
        if crossing:
            # Of several roles each ceiling must hold: a second role never gives more, one without a ceiling nothing.
            tops = [top for role in recipient.roles if (top := limits.cross_border.get(role))]
            checks += [(rule, tlp <= most_tlp and pap <= most_pap) for rule, most_tlp, most_pap in tops]
            if not tops:
                checks.append((explain.CROSS_BORDER, False))
        least = limits.assurance_cross_border if crossing else limits.assurance_in_country
        checks.append((explain.MIN_ASSURANCE, ASSURANCE_RANK[label.assurance] >= least))
        if crossing or limits.unknown_denied_at_home:
            checks.append((explain.UNKNOWN_MARKING, not label.caveats or _understood(agreement, label)))
    except Exception:  # noqa: BLE001 - whatever went wrong, it must deny
        errors.append("ceilings")
        return []
    return checks


def _everywhere(agreement: Agreement, label: Label) -> list[tuple[str, bool]]:
    limits = agreement.limits
    tlp, pap = TLP_RANK[label.tlp], PAP_RANK[label.pap]
    least = min(limits.assurance_in_country, limits.assurance_cross_border)
    return [
        (explain.ANYWHERE, tlp <= limits.anywhere[0] and pap <= limits.anywhere[1]),
        (explain.MIN_ASSURANCE, ASSURANCE_RANK[label.assurance] >= least),
    ]


def _understood(agreement: Agreement, label: Label) -> bool:
    known = agreement.limits.known_markings
    return all(not caveat.startswith("opaque:") or caveat in known for caveat in label.caveats)


def _view(obligations: Obligations, label: Label) -> View:
    """Whether the originator is shown: authorities and those who consent are, others only by a plain `reveal`. What a
    gateway signed shows nobody: it is the anonymous form."""
    if obligations.identity == "reveal" or label.consent == "named" or label.assurance == "gateway-signed":
        return "full"
    if not _NAMED_ROLES.isdisjoint(label.roles):
        return "full"
    return "anonymised"


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of one example of the document."""

    __test__ = False  # not for pytest

    name: str
    passed: bool
    decision: Decision
    unmet: tuple[str, ...]
    """What was expected and did not come: "effect: expected permit, got deny"."""


def run_tests(agreement: Agreement) -> list[TestResult]:
    """Run the document's own examples. Without a recipient one asks `may_submit`; without `at`, of the first day."""
    return [_run(agreement, example) for example in agreement.document.test]


def _run(agreement: Agreement, example: Example) -> TestResult:
    now = example.at or agreement.effective_from
    label = _label(agreement, example.label)
    recipient = _recipient(agreement, example)
    decision = decide(agreement, label, recipient, now=now) if recipient else may_submit(agreement, label, now=now)
    expected = example.expect
    unmet = [
        f"{what}: expected {want}, got {', '.join(got) or 'none'}"
        for what, want, got in (
            ("effect", expected.effect, (decision.effect,)),
            ("rule", expected.rule, decision.rules),
            ("forbid", expected.forbid, decision.forbids),
            ("ceiling", expected.ceiling, decision.ceilings),
            ("clause", expected.clause, (decision.clause,)),
            ("identity", expected.identity, (decision.obligations.get("identity", "none"),)),
            ("view", expected.view, (decision.view,)),
            ("blocking", expected.blocking, ("may" if decision.may_block else "must-not",)),
        )
        if want is not None and want not in got
    ]
    return TestResult(example.name, not unmet, decision, tuple(unmet))


def _recipient(agreement: Agreement, example: Example) -> Recipient | None:
    if example.recipient is None:
        return None
    if isinstance(example.recipient, str):
        return _as_recipient(example.recipient, agreement.document.fixtures.recipients[example.recipient])
    return _as_recipient("test-recipient", example.recipient)


def _as_recipient(slug: str, form: FixtureMember) -> Recipient:
    return Recipient(slug, form.country, tuple(form.roles), tuple(form.sectors), form.status)


def _label(agreement: Agreement, form: TestLabel) -> Label:
    """The label of an example: what it writes, else its originator's fixture, else an operator of that country."""
    sender = agreement.document.fixtures.recipients.get(form.originator or "")
    country = form.country or (sender.country if sender else "US")
    roles = form.roles if form.roles is not None else (sender.roles if sender else ["operator"])
    sectors = form.sectors if form.sectors is not None else (sender.sectors if sender else [])
    return Label(
        collection=form.collection,
        originator=form.originator or "test-originator",
        country=country,
        roles=tuple(sorted(roles)),
        sectors=tuple(sorted(sectors)),
        tlp=form.tlp,
        pap=form.pap,
        caveats=tuple(sorted(form.caveats)),
        rel_to=None if form.rel_to is None else tuple(sorted(form.rel_to)),
        object_class=form.object_class,
        confidence=form.confidence,
        assurance=form.assurance,
        consent=form.consent or (sender.consent if sender else "none"),
        feed=form.feed or "",
    )
