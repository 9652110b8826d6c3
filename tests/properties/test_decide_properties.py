"""What must hold of every agreement, label and recipient. That it is the right answer, Cedar is asked (test_against_cedar.py)."""

from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies.clauses import Agreement, compile_agreement
from policies.consent import Consent
from policies.decide import Decision, decide, matrix, may_submit
from policies.document import Document
from policies.label import (
    ASSURANCE_ORDER,
    CAVEAT_MARKINGS,
    PAP_ORDER,
    TLP_DEFINITIONS,
    TLP_ORDER,
    Label,
    Recipient,
    resolve_markings,
)
from tests.generated import COUNTRIES, DIRECTIONS, ENDS, KNOWN, NOW, TIMES, UNKNOWN, Maker, compiled, forms

MAKE = Maker("properties")
PERMIT_POOL = [MAKE.permit() for _ in range(300)]
FORBID_POOL = [MAKE.forbid() for _ in range(300)]
PERMITS = st.lists(st.sampled_from(PERMIT_POOL), min_size=1, max_size=4)
FORBID = st.sampled_from(FORBID_POOL)
FORBIDS = st.lists(FORBID, max_size=2)
FIXED = st.sampled_from([MAKE.frame() for _ in range(60)])
AGREEMENTS = st.sampled_from([MAKE.agreement() for _ in range(300)])
LABELS = st.sampled_from([MAKE.label() for _ in range(2_000)])
RECIPIENTS = st.sampled_from([MAKE.recipient() for _ in range(500)])
CONSENTS = st.lists(st.sampled_from([MAKE.consent() for _ in range(100)]), max_size=4)
WHEN = st.sampled_from(TIMES)

thorough = settings(max_examples=300, deadline=None)


@thorough
@given(FORBIDS, FIXED, LABELS, RECIPIENTS)
def test_without_a_permit_all_is_denied(
    forbids: list[dict[str, Any]], fixed: dict[str, Any], label: Label, recipient: Recipient
) -> None:
    assume(label.originator != recipient.member)
    decision = decide(compiled([], forbids, fixed), label, recipient, now=NOW)
    assert (decision.effect, decision.view, decision.rules) == ("deny", "anonymised", ())
    assert dict(decision.obligations) == {}


@thorough
@given(PERMITS, FORBIDS, FORBID, FIXED, LABELS, RECIPIENTS, WHEN)
def test_one_more_forbid_never_widens(
    permits: list[dict[str, Any]],
    forbids: list[dict[str, Any]],
    extra: dict[str, Any],
    fixed: dict[str, Any],
    label: Label,
    recipient: Recipient,
    now: str,
) -> None:
    before = decide(compiled(permits, forbids, fixed), label, recipient, now=now)
    after = decide(compiled(permits, [*forbids, extra], fixed), label, recipient, now=now)
    # One's own is read back whatever is forbidden, but not blocked by.
    assert after.effect == "deny" or after.verdict in (before.verdict, replace(before.verdict, may_block=False))
    assert before.may_block or not after.may_block


def within_bounds(form: dict[str, Any], label: Label, recipient: Recipient, *, crossing: bool) -> bool:
    tops = [form["ceilings"]["anywhere"]]
    if crossing:
        own = [top for role, top in form["ceilings"]["cross_border"].items() if role in recipient.roles]
        if not own:
            return False
        tops += own
    tops += [
        top
        for role, top in form["ceilings"]["direction"].get(f"{label.country}>{recipient.country}", {}).items()
        if role in recipient.roles
    ]
    unknown = f"opaque:{UNKNOWN}" in label.caveats
    if unknown and (crossing or form["defaults"]["unknown_marking"] == "deny"):
        return False
    least = form["defaults"]["min_assurance"]["cross_border" if crossing else "in_country"]
    return ASSURANCE_ORDER.index(label.assurance) >= ASSURANCE_ORDER.index(least) and all(
        TLP_ORDER.index(label.tlp) <= TLP_ORDER.index(top["tlp"])
        and PAP_ORDER.index(label.pap) <= PAP_ORDER.index(top["pap"])
        for top in tops
    )


@thorough
@given(PERMITS, FORBIDS, FIXED, LABELS, RECIPIENTS)
def test_no_permit_exceeds_a_ceiling(
    permits: list[dict[str, Any]],
    forbids: list[dict[str, Any]],
    fixed: dict[str, Any],
    label: Label,
    recipient: Recipient,
) -> None:
    everything = {"from": {}, "to": {}, "when": {}, "direction": DIRECTIONS, "then": {"identity": "reveal"}}
    decision = decide(compiled([*permits, everything], forbids, fixed), label, recipient, now=NOW)
    if decision.effect == "permit" and decision.rules != ("OWN",):
        assert within_bounds(fixed, label, recipient, crossing=label.country != recipient.country)


@thorough
@given(st.data(), PERMITS, FORBIDS, FIXED, LABELS, RECIPIENTS)
def test_the_order_of_the_clauses_does_not_matter(
    data: st.DataObject,
    permits: list[dict[str, Any]],
    forbids: list[dict[str, Any]],
    fixed: dict[str, Any],
    label: Label,
    recipient: Recipient,
) -> None:
    form = fixed | {"permit": forms("P", permits), "forbid": forms("F", forbids)}
    shuffled = form | {
        "permit": data.draw(st.permutations(form["permit"])),
        "forbid": data.draw(st.permutations(form["forbid"])),
    }

    def judged(one: dict[str, Any]) -> tuple[Any, ...]:
        agreement = compile_agreement(Document.model_validate(one), b"", "")
        decision = decide(agreement, label, recipient, now=NOW)
        return (
            decision.effect,
            decision.view,
            set(decision.rules),
            set(decision.forbids),
            decision.ceilings,
            # Equal lengths may be written in two ways ("24h", "1d"): what counts is how long they are.
            {k: v for k, v in decision.obligations.items() if k != "retain"},
            decision.delay_seconds,
        )

    assert judged(shuffled) == judged(form)


def told(decision: Decision) -> str:
    """The effect, told from nothing but the trace."""
    steps = decision.trace
    applied = {step.rule for step in steps if step.kind == "builtin" and step.matched}
    if "SUSPENDED" in applied:
        return "deny"
    if "OWN" in applied:
        return "permit"
    refused = applied or any(step.matched for step in steps if step.kind == "forbid")
    broken = decision.errors or any(step.failed == "evaluation-error" for step in steps)
    held = all(step.matched for step in steps if step.kind == "ceiling")
    permitted = any(step.matched for step in steps if step.kind == "permit")
    return "permit" if permitted and held and not refused and not broken else "deny"


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, WHEN)
def test_explaining_is_enforcing(agreement: Agreement, label: Label, recipient: Recipient, now: str) -> None:
    decision = decide(agreement, label, recipient, now=now)
    steps = decision.trace
    assert told(decision) == decision.effect
    clauses = [step.rule for step in steps if step.kind in ("forbid", "permit")]
    assert clauses == [clause.id for clause in (*agreement.forbids, *agreement.permits)]
    assert all(step.matched is (step.failed is None) for step in steps if step.kind != "builtin")
    if decision.effect == "permit" and decision.rules != ("OWN",):
        assert decision.rules == tuple(step.rule for step in steps if step.kind == "permit" and step.matched)
    for language in ("en", "es"):
        assert decision.clause in decision.reason(language)


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, st.sampled_from([ENDS, "2028-01-01T00:00:00.000001Z", "2040-01-01T00:00:00Z"]))
def test_after_the_end_nothing_crosses(agreement: Agreement, label: Label, recipient: Recipient, now: str) -> None:
    other = {"US": "MX", "MX": "US"}[label.country]
    decision = decide(agreement, label, replace(recipient, country=other, member="z"), now=now)
    assert decision.effect == "deny"
    assert "expires" in decision.forbids


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, WHEN, st.sampled_from(["suspended", "withdrawn", "", "ACTIVE", "new"]))
def test_who_is_not_active_gets_nothing(
    agreement: Agreement, label: Label, recipient: Recipient, now: str, status: str
) -> None:
    assert decide(agreement, label, replace(recipient, status=status), now=now).effect == "deny"


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, RECIPIENTS)
def test_equal_classes_get_equal_decisions(
    agreement: Agreement, label: Label, recipient: Recipient, other: Recipient
) -> None:
    twin = replace(recipient, member=other.member)
    if recipient.klass(agreement) == twin.klass(agreement):
        assert decide(agreement, label, recipient, now=NOW) == decide(agreement, label, twin, now=NOW)


@thorough
@given(
    AGREEMENTS, LABELS, RECIPIENTS, st.text(max_size=8), st.sampled_from(["tlp", "pap", "assurance", "country", "now"])
)
def test_it_never_raises_and_never_permits_what_it_does_not_know(
    agreement: Agreement, label: Label, recipient: Recipient, word: str, place: str
) -> None:
    assume(word not in (*TLP_ORDER, *ASSURANCE_ORDER, *COUNTRIES) and label.originator != recipient.member)
    strange = label if place == "now" else replace(label, **{place: word})  # type: ignore[arg-type]
    decision = decide(agreement, strange, recipient, now=word if place == "now" else NOW)
    assert decision.effect == "deny"
    assert decision.reason("es")
    if place not in ("country", "now"):
        assert may_submit(agreement, strange, now=NOW).effect == (
            "deny" if place != "country" else may_submit(agreement, label, now=NOW).effect
        )


@thorough
@given(AGREEMENTS, st.lists(LABELS, max_size=5), st.lists(RECIPIENTS, max_size=5), CONSENTS, WHEN)
def test_what_was_kept_changes_nothing(
    agreement: Agreement, labels: list[Label], recipients: list[Recipient], consents: list[Consent], now: str
) -> None:
    kept = list(matrix(agreement, labels, recipients, now=now, consents=consents))
    fresh = compile_agreement(agreement.document, agreement.canonical, agreement.sha256)
    again = [[decide(fresh, one, other, now=now, consents=consents) for other in recipients] for one in labels]
    assert kept == again
    assert [[one.trace for one in row] for row in kept] == [[one.trace for one in row] for row in again]


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, CONSENTS, CONSENTS)
def test_one_more_consent_never_narrows(
    agreement: Agreement, label: Label, recipient: Recipient, consents: list[Consent], more: list[Consent]
) -> None:
    before = decide(agreement, label, recipient, now=NOW, consents=consents)
    after = decide(agreement, label, recipient, now=NOW, consents=[*consents, *more])
    assert before.effect == "deny" or after == before
    if not label.cases and "orcon" not in label.caveats:
        assert set(after.forbids) <= set(before.forbids)


@thorough
@given(LABELS)
def test_labels_survive_their_text(label: Label) -> None:
    assert Label.decode(label.encode()) == label
    assert Label.decode(label.encode()).encode() == label.encode()


MARKINGS = st.lists(st.sampled_from([*TLP_DEFINITIONS, *CAVEAT_MARKINGS, KNOWN, UNKNOWN]), max_size=6)


@thorough
@given(MARKINGS, MARKINGS)
def test_another_marking_never_loosens(one: list[str], other: list[str]) -> None:
    first, both = resolve_markings(one, {}), resolve_markings([*one, *other], {})
    if first.tlp is not None:
        assert both.tlp is not None
        assert TLP_ORDER.index(both.tlp) >= TLP_ORDER.index(first.tlp)
    assert set(first.caveats) <= set(both.caveats)
    given_tlp = [TLP_DEFINITIONS[id_] for id_ in one if id_ in TLP_DEFINITIONS]
    assert first.tlp == (max(given_tlp, key=TLP_ORDER.index) if given_tlp else None)
    assert resolve_markings(reversed(one), {}) == first
