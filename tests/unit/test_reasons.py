"""The words of a decision: its trace, its reason, the nearest permit."""

from dataclasses import replace
from typing import Any

import pytest

from policies.decide import decide, may_submit
from policies.label import Label, Recipient
from tests.judging import (
    ADUANAS,
    CUSTOMS,
    LABEL,
    NOW,
    OPERATOR,
    PORT,
    PUERTO,
    SAMPLE,
    agreement,
    judge,
    permit,
)


def test_the_trace_tells_of_every_clause() -> None:
    decision = judge(SAMPLE)
    told = [step.rule for step in decision.trace]
    assert told[:5] == ["OWN", "SUSPENDED", "effective_from", "expires", "classification"]
    for clause in (*SAMPLE.forbids, *SAMPLE.permits):
        assert clause.id in told
    assert told[-4:] == [
        "ceilings.anywhere", "ceilings.cross_border.agency", "defaults.min_assurance", "defaults.unknown_marking",
    ]  # fmt: skip
    assert all(step.en and step.es for step in decision.trace)


def test_reasons_quote_the_clause_in_both_languages() -> None:
    decision = judge(SAMPLE, replace(LABEL, caveats=("noforn",)))
    assert decision.reason("en") == (
        "not shared: clause F-NOFORN: What its originator has marked as not releasable to foreign nationals "
        "shall not cross the border."
    )
    assert decision.reason("es") == (
        "no compartido: cláusula F-NOFORN: Lo que su remitente haya marcado como no divulgable a extranjeros "
        "no cruzará la frontera."
    )
    assert decision.reason("fr") == decision.reason("en")


def test_the_nearest_permit_is_the_one_about_the_case() -> None:
    doubtful = replace(OPERATOR, confidence="low")
    reason = judge(SAMPLE, doubtful).reason("en")
    assert "P-OPERATOR-TO-AUTHORITY" in reason
    assert "confidence is at least med" in reason


def test_a_reason_can_be_given_for_every_way_to_deny() -> None:
    cases: list[tuple[Label, Recipient, str]] = [
        (replace(LABEL, tlp="mauve"), ADUANAS, NOW),
        (replace(LABEL, tlp="red"), ADUANAS, NOW),
        (replace(LABEL, caveats=("classified",)), ADUANAS, NOW),
        (replace(LABEL, assurance="unsigned"), CUSTOMS, NOW),
        (replace(LABEL, country="CA"), ADUANAS, NOW),
        (LABEL, replace(ADUANAS, roles=()), NOW),
        (LABEL, replace(ADUANAS, status="withdrawn"), NOW),
        (LABEL, ADUANAS, "2020-01-01T00:00:00Z"),
        (LABEL, ADUANAS, "2040-01-01T00:00:00Z"),
        (LABEL, ADUANAS, "never"),
    ]
    for label, recipient, now in cases:
        decision = decide(SAMPLE, label, recipient, now=now)
        assert decision.effect == "deny"
        for language, start in (("en", "not shared: "), ("es", "no compartido: ")):
            assert decision.reason(language).startswith(start)
            assert decision.clause in decision.reason(language)
        assert decision.trace


@pytest.mark.parametrize(
    ("parts", "en", "es"),
    [
        (
            {"from": {"roles": ["operator", "csirt"]}},
            "the originator has one of these roles: csirt, operator",
            "el remitente tenga una de estas funciones: csirt, operator",
        ),
        ({"when": {"consent": "named"}}, "the originator agrees to be named", "el remitente acepte ser nombrado"),
        (
            {"when": {"consent": "none"}},
            "the originator does not agree to be named",
            "el remitente no acepte ser nombrado",
        ),
        ({"to": {"roles": []}}, "the recipient has one of these roles: ∅", "el destinatario tenga una de estas funciones: ∅"),
        ({"to": {"audience": "ports"}}, "the recipient belongs to the audience ports", "pertenezca a la audiencia ports"),
    ],
)  # fmt: skip
def test_a_condition_is_told_in_both_languages(parts: dict[str, Any], en: str, es: str) -> None:
    named = {"named": "none", "none": "named"}.get(parts.get("when", {}).get("consent", ""), "none")
    label = replace(LABEL, roles=("agency",), consent=named)
    decision = judge(agreement(permit(**parts)), label)
    assert en in decision.reason("en")
    assert es in decision.reason("es")


def test_the_nearest_permit_can_be_asked_for() -> None:
    near = judge(SAMPLE, replace(OPERATOR, confidence="low", caveats=("noforn",))).nearest
    assert near is not None
    assert (near.rule, near.kind, near.matched, near.failed) == (
        "P-OPERATOR-TO-AUTHORITY", "permit", False, "when.confidence.floor",
    )  # fmt: skip
    assert near.en == "It requires that the confidence is at least med."
    assert near.es == "Exige que la confianza sea al menos med."
    assert judge(SAMPLE).nearest is None, "a permit matched"
    assert judge(SAMPLE, replace(LABEL, caveats=("noforn",))).nearest is None, "one matched, and a forbid prevailed"
    assert may_submit(SAMPLE, replace(LABEL, tlp="red"), now=NOW).nearest is None
    assert judge(agreement()).nearest is None


def test_a_clause_tells_of_the_first_condition_it_lacks_whatever_it_looks_at() -> None:
    whole = permit(
        direction=["US>MX"],
        **{"from": {"roles": ["agency"]}, "to": {"roles": ["agency"], "sector_overlap": "required"}},
        when={"tlp": {"max": "green"}},
    )
    under = agreement(whole)
    shared = replace(ADUANAS, sectors=("gov.cyber",))
    low = replace(LABEL, tlp="amber")
    for label, recipient, key in (
        (low, replace(PORT, sectors=()), "direction"),
        (replace(low, roles=()), PUERTO, "from.roles"),
        (low, PUERTO, "to.roles"),
        (low, ADUANAS, "to.sector_overlap"),
        (low, shared, "when.tlp.max"),
        (LABEL, shared, None),
    ):
        (step,) = [step for step in judge(under, label, recipient).trace if step.rule == "P-ALL"]
        assert (step.failed, step.matched) == (key, key is None)
