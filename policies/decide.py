"""The one judgement: whether a recipient may have what a label describes, under an agreement, and why.

Cedar's semantics with one change: a clause that cannot be evaluated denies, where Cedar skips it.

    permit  if the object is the recipient's own and the recipient is active (OWN)
    deny    if the recipient is not active, the agreement is not in force, the originator's own terms keep it back (an
            audience, an embargo), something that the object refers to is not permitted, any forbid matches, or an evaluation
            fails
    permit  if any permit matches, every ceiling holds, and a purpose is left that it may serve
    permit  if it is a definition or an identity that lacks no more than a permit or, unmarked, a level, and something by which
            its originator cites it is given (CITED)
    deny    otherwise
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from policies import builtin, explain, sides
from policies.builtin import AUDIENCE, CITED, EMBARGO, ENDS, EXPIRED, NOT_YET, OWN, SUSPENDED
from policies.cited import NOTHING, Cited, lets_open
from policies.clauses import Agreement
from policies.consent import Consent, consented
from policies.explain import Case, Step
from policies.label import NOTICE, Label, Recipient
from policies.obligations import NO_OBLIGATIONS, Obligations
from policies.sides import LabelSide, RecipientSide
from policies.words import View, instant

__all__ = ["Consent", "Decision", "Step", "View", "decide", "matrix", "may_submit"]

Effect = Literal["permit", "deny"]

_OWN, _SUSPENDED, _AUDIENCE, _EMBARGO, _ENDS, _CITED = map(
    builtin.bit, (OWN, SUSPENDED, AUDIENCE, EMBARGO, ENDS, CITED)
)


_NO_LEVELS: Final = frozenset({builtin.MIN_ASSURANCE, builtin.UNKNOWN_MARKING, builtin.PURPOSES, builtin.CROSS_BORDER})
"""Ceilings that are none of TLP or PAP."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided, whatever the case was. Many cases have one verdict."""

    effect: Effect
    view: View
    rules: tuple[str, ...]
    forbids: tuple[str, ...]
    ceilings: tuple[str, ...]
    errors: tuple[str, ...]
    obligations: Obligations = field(hash=False)
    may_block: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, by which clauses. Its words are made only when asked for."""

    verdict: Verdict
    case: Case = field(repr=False, compare=False)

    @property
    def effect(self) -> Effect:
        return self.verdict.effect

    @property
    def view(self) -> View:
        """The form in which it is permitted: as it is, as a tearline, or under the gateway's name. "anonymised" when denied."""
        return self.verdict.view

    @property
    def rules(self) -> tuple[str, ...]:
        """The permits that decided, in the document's order; empty when denied."""
        return self.verdict.rules

    @property
    def forbids(self) -> tuple[str, ...]:
        """The forbids that matched, those of the document first, then the built-in ones."""
        return self.verdict.forbids

    @property
    def ceilings(self) -> tuple[str, ...]:
        """The ceilings that did not hold."""
        return self.verdict.ceilings

    @property
    def errors(self) -> tuple[str, ...]:
        """The clauses that could not be evaluated. Any of them denies."""
        return self.verdict.errors

    @property
    def obligations(self) -> Mapping[str, str]:
        """Of all permits that decided, of the document and of the object's markings, the stricter winning."""
        return self.verdict.obligations.words

    @property
    def delay_seconds(self) -> int:
        return self.verdict.obligations.delay_seconds

    @property
    def expires_after_seconds(self) -> int | None:
        return self.verdict.obligations.expires_after_seconds

    @property
    def may_block(self) -> bool:
        """Whether the recipient's devices may block by it: every permit that decided says so, and PAP is at most GREEN,
        beyond which no act that the adversary could notice is allowed. One's own objects need a permit for a compatriot
        like oneself."""
        return self.verdict.may_block

    @property
    def clause(self) -> str:
        """The id to show: of the clause that decided, or "defaults.effect" when none permitted it."""
        if self.effect == "permit":
            return self.rules[0]
        bounded = self.case.recipient is None or self.case.permitting
        for ids in (self.errors, self.forbids, self.ceilings if bounded else ()):
            if ids:
                return ids[0]
        return builtin.NO_PERMIT

    @property
    def trace(self) -> tuple[Step, ...]:
        """Every clause with what it did: the first predicate that failed, or that it matched."""
        return explain.steps(self.case, self.ceilings)

    @property
    def nearest(self) -> Step | None:
        """The permit that came closest and the first condition it lacks; None when one matched."""
        return explain.nearest(self.case)

    @property
    def not_before(self) -> str | None:
        """The hour at which an embargo ends that keeps it back now; None when none does."""
        return self.case.label.not_before if EMBARGO in self.forbids else None

    def reason(self, language: str) -> str:
        """One sentence naming the clause, Spanish for "es", English for anything else."""
        permitted = self.effect == "permit"
        erred = not permitted and bool(self.errors)
        return explain.sentence(self.case, self.clause, permitted=permitted, erred=erred, language=language)


def decide(
    agreement: Agreement, label: Label, recipient: Recipient, *, now: str, consents: Collection[Consent] = (),
    cited: Cited = NOTHING,
) -> Decision:  # fmt: skip
    """Judge one label for one recipient at `now` (RFC 3339). What cannot be evaluated is denied, never raised."""
    (decision,) = next(matrix(agreement, (label,), (recipient,), now=now, consents=consents, cited=cited))
    return decision


def matrix(
    agreement: Agreement,
    labels: Iterable[Label],
    recipients: Sequence[Recipient],
    *,
    now: str,
    consents: Collection[Consent] = (),
    cited: Cited = NOTHING,
) -> Iterator[list[Decision]]:
    """For each label the decisions for all recipients: `decide`, many times over.

    It gives a row at a time, so that who runs it in a thread can let an event loop have its turn between two.
    """
    term = _term(agreement, now)
    to = [sides.recipient_side(agreement, one) for one in recipients]
    for label in labels:
        of = sides.label_side(agreement, label)
        alone = [_judged(agreement, term, of, one, consents) for one in to]
        by = [sides.label_side(agreement, one) for one in cited.get((label.originator, label.named), ())]
        if by:
            alone = [_opened(was, agreement, term, by, one, consents) for was, one in zip(alone, to, strict=True)]
        yield alone


class _Term(NamedTuple):
    """Where a time lies in the agreement's term."""

    moment: datetime | None
    """None for a time that nobody understands: at such a time nothing is agreed."""
    abroad: int
    """The built-in clauses that apply for this reason to what crosses the border."""
    at_home: int


def _term(agreement: Agreement, now: str) -> _Term:
    found = agreement.kept.get(now)
    if not isinstance(found, _Term):
        try:
            moment = instant(now)
        except (TypeError, ValueError):
            return _Term(None, 0, 0)
        not_yet = builtin.bit(NOT_YET) if moment < agreement.begins else 0
        ended = builtin.bit(EXPIRED) if moment >= agreement.ends else 0
        stops = agreement.document.defaults.on_expiry == "stop"
        found = _Term(moment, not_yet | ended, not_yet | (ended if stops else 0))
        sides.keep(agreement, now, found)
    return found


def _judged(
    agreement: Agreement, term: _Term, of: LabelSide, to: RecipientSide, consents: Collection[Consent]
) -> Decision:
    label, recipient = of.label, to.recipient
    released, unclear = (False, False) if not consents else _released(agreement, term, of, to, consents)
    applied = of.applied | to.applied | (term.at_home if label.country == recipient.country else term.abroad)
    if (agreement.reads_back_own or label.object_class == NOTICE) and label.originator == recipient.member != "":
        applied |= _OWN
    if label.audiences and not sides.within(agreement, label.audiences, recipient):
        applied |= _AUDIENCE
    if of.until is not None and term.moment is not None and term.moment < of.until:
        applied |= _EMBARGO
    delay = _after_ends(agreement, term, label, to, consents) if label.ends else 0
    if delay is None:
        applied, delay = applied | _ENDS, 0
    matching, erring = _matching(agreement, of, to, released=released)
    failing = sides.failing(agreement, of, to)
    case = Case(agreement, label, recipient, of.side, to.side, applied, matching, erring, failing, released)
    key = (applied, matching, erring, failing, unclear, term.moment is None, of.weight, delay)
    verdict = agreement.kept.get(key)
    if not isinstance(verdict, Verdict):
        errors = of.broken if term.moment is not None else (builtin.NOW, *of.broken)
        verdict = _verdict(case, of, (*errors, builtin.CONSENT) if unclear else errors, delay)
        sides.keep(agreement, key, verdict)
    return Decision(verdict, case)


def _opened(
    alone: Decision, agreement: Agreement, term: _Term, citing: Sequence[LabelSide], to: RecipientSide,
    consents: Collection[Consent],
) -> Decision:  # fmt: skip
    """What is decided of a definition or an identity: by its own label, or as of the first label that cites it and is given. What
    is given with a delay opens nothing, or what it cites would come before it and tell of it."""
    if given(alone) or not lacks_only_a_permit(alone):
        return alone
    label, readable = alone.case.label, to.recipient.collections
    for of in citing:
        if lets_open(of.label, label) and (readable is None or of.label.collection in readable):
            found = _judged(agreement, term, of, to, consents)
            if given(found):
                verdict = replace(found.verdict, rules=(CITED, *found.rules), may_block=False)
                return Decision(verdict, alone.case._replace(applied=alone.case.applied | _CITED))
    return alone


def given(decision: Decision) -> bool:
    """Permitted as it is, and at once."""
    return decision.effect == "permit" and decision.view == "full" and not decision.delay_seconds


def lacks_only_a_permit(decision: Decision) -> bool:
    """Whether nothing keeps a definition or an identity back but that no permit speaks of it as it is or, where it bears none,
    the level that what bears none is given."""
    levels = decision.ceilings if decision.case.label.marked else _NO_LEVELS.intersection(decision.ceilings)
    return bool(decision.case.label.named) and not (decision.forbids or decision.errors or levels)


def _after_ends(
    agreement: Agreement, term: _Term, label: Label, to: RecipientSide, consents: Collection[Consent]
) -> int | None:
    """How many seconds later than they were placed all ends of the label are given; None when one is not, as it is."""
    delay = 0
    for end in label.ends:
        if not end:
            if agreement.document.defaults.dangling_endpoint != "allow":
                return None
            continue
        readable = to.recipient.collections
        judged = [
            _judged(agreement, term, sides.label_side(agreement, one.alone), to, consents)
            for one in end
            if readable is None or one.collection in readable
        ]
        delays = [one.delay_seconds for one in judged if one.effect == "permit" and one.view == "full"]
        if not delays:
            return None
        delay = max(delay, min(delays))
    return delay


def _verdict(case: Case, of: LabelSide, errors: tuple[str, ...], delay: int) -> Verdict:
    """What follows from a case. It looks at nothing but what `_judged` knows verdicts by."""
    agreement, failing = case.agreement, case.failing
    errors = (*sides.ids(agreement, case.erring), *errors)
    refusing = sides.ids(agreement, case.matching & ~agreement.permit_bits) + builtin.of_bits(case.applied & ~_OWN)
    denied = bool(errors or refusing or failing or not case.permitting)
    obligations = NO_OBLIGATIONS
    if not denied:
        try:
            obligations = sides.binding(agreement, case.permitting, case.label)
        except (KeyError, TypeError, ValueError):
            denied, errors = True, (builtin.OBLIGATIONS,)
        if obligations.purposeless:
            denied, failing = True, (builtin.PURPOSES,)
    may_block = not denied and obligations.may_block and of.lets_act
    if case.applied & _OWN and not case.applied & _SUSPENDED:
        return Verdict("permit", "full", (OWN,), (), (), (), NO_OBLIGATIONS, may_block)
    if denied:
        return Verdict("deny", "anonymised", (), refusing, failing, errors, NO_OBLIGATIONS, may_block=False)
    obligations = obligations.after(delay)
    view = _view(obligations, named=of.named)
    return Verdict("permit", view, sides.ids(agreement, case.permitting), (), (), (), obligations, may_block)


def _released(
    agreement: Agreement, term: _Term, of: LabelSide, to: RecipientSide, consents: Collection[Consent]
) -> tuple[bool, bool]:
    """Whether consents cover the case, and whether that could not be told."""
    if term.moment is None:
        return False, False  # told of as an error by itself
    try:
        return consented(agreement, of.label, to.recipient, consents, term.moment), False
    except (TypeError, ValueError):
        return False, True


def _matching(agreement: Agreement, of: LabelSide, to: RecipientSide, *, released: bool) -> tuple[int, int]:
    """A bit for each clause that matches, and for each that could not be evaluated."""
    matching = of.side.holding & to.side.holding & sides.ways(agreement, of.label.country, to.recipient.country)
    erring = of.side.erring | to.side.erring
    if open_ := matching & agreement.both_bits:
        for number, clause in enumerate(agreement.clauses):
            if open_ >> number & 1:
                try:
                    if not all(holds(of.label, to.recipient, released) for _, holds in clause.of_both):
                        matching ^= 1 << number
                except Exception:  # noqa: BLE001 - whatever went wrong, it must deny
                    matching ^= 1 << number
                    erring |= 1 << number
    return matching, erring


def may_submit(agreement: Agreement, label: Label, *, now: str) -> Decision:
    """Whether the hub takes the object in at all: under the ceiling that holds anywhere, not classified, well signed, and
    under no terms of its originator that this agreement cannot keep.

    Markings nobody here understands are taken in: they stay in the country.
    """
    term, of = _term(agreement, now), sides.label_side(agreement, label)
    errors = of.broken if term.moment is not None else (builtin.NOW, *of.broken)
    applied = of.applied | term.at_home
    if not agreement.members_of.keys() >= set(label.audiences):
        applied |= _AUDIENCE
    if of.until is not None and term.moment is not None:
        applied |= _EMBARGO if of.until > term.moment + timedelta(seconds=agreement.embargo_seconds) else 0
    failing = sides.failing_on_submission(agreement, of)
    case = Case(agreement, label, None, of.side, of.side, applied, 0, 0, failing, False)
    if errors or applied or failing:
        refused = Verdict(
            "deny", "anonymised", (), builtin.of_bits(applied), failing, errors, NO_OBLIGATIONS, may_block=False
        )
        return Decision(refused, case)
    return Decision(Verdict("permit", "full", (builtin.SUBMIT,), (), (), (), NO_OBLIGATIONS, may_block=False), case)


def _view(obligations: Obligations, *, named: bool) -> View:
    """The form that may go: a tearline is the originator's own making, and shows what the originator lets it show."""
    if not (named or obligations.identity == "reveal"):
        return "anonymised"
    return "tearline" if obligations.tearline else "full"
