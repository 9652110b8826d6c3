"""A document's own examples, run: an approval covers them, and a document is not adopted while one of them fails."""

from dataclasses import dataclass
from typing import NamedTuple

from policies.clauses import Agreement
from policies.consent import Consent
from policies.decide import Decision, decide, may_submit
from policies.document import Example, FixtureMember, TestConsent, TestLabel
from policies.label import Label, Recipient
from policies.words import Text


class Unmet(NamedTuple):
    """What an example expected of the decision and did not get, in the words of the document."""

    what: str
    want: str
    got: str

    @property
    def en(self) -> str:
        return f"{self.what}: expected {self.want}, got {self.got or 'none'}"

    @property
    def es(self) -> str:
        return f"{self.what}: se esperaba {self.want} y resultó {self.got or 'nada'}"


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of one example of the document."""

    __test__ = False  # not for pytest

    name: Text
    passed: bool
    decision: Decision
    unmet: tuple[Unmet, ...]


def run_tests(agreement: Agreement) -> list[TestResult]:
    """Run the document's own examples. Without a recipient one asks `may_submit`; without `at`, of the first day."""
    return [_run(agreement, example) for example in agreement.document.test]


def _run(agreement: Agreement, example: Example) -> TestResult:
    now = example.at or agreement.effective_from
    label = _label(agreement, example.label)
    recipient = _recipient(agreement, example)
    if recipient is None:
        decision = may_submit(agreement, label, now=now)
    else:
        consents = [_consent(form) for form in example.consents]
        decision = decide(agreement, label, recipient, now=now, consents=consents)
    expected = example.expect
    unmet = [
        Unmet(what, want, ", ".join(got))
        for what, want, got in (
            ("effect", expected.effect, (decision.effect,)),
            ("rule", expected.rule, decision.rules),
            ("forbid", expected.forbid, decision.forbids),
            ("ceiling", expected.ceiling, decision.ceilings),
            ("clause", expected.clause, (decision.clause,)),
            ("identity", expected.identity, (decision.obligations.get("identity", "none"),)),
            ("view", expected.view, (decision.view,)),
            ("blocking", expected.blocking, ("may" if decision.may_block else "must-not",)),
            *((key, word, (decision.obligations.get(key, "none"),)) for key, word in expected.obligations.items()),
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
    return Recipient(slug, form.country, tuple(form.roles), tuple(form.sectors), form.status, tuple(form.audiences))


def _consent(form: TestConsent) -> Consent:
    return Consent(form.from_, form.case or "", tuple(form.members), tuple(form.countries), form.given, form.until)


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
        audiences=tuple(sorted(form.audiences)),
        purposes=None if form.purposes is None else tuple(sorted(form.purposes)),
        not_before=form.not_before or "",
        cases=tuple(sorted(form.cases)),
        terms=tuple(sorted(form.terms)),
    )
