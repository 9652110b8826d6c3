"""What each condition of a clause accepts, and what lifts a forbid."""

from dataclasses import replace
from typing import Any

import pytest

from policies.clauses import compile_clause
from policies.consent import Consent
from policies.document import Permit
from policies.label import Label, Recipient
from tests.judging import (
    ADUANAS,
    BASE,
    CUSTOMS,
    LABEL,
    NOW,
    OPERATOR,
    PORT,
    PUERTO,
    SAMPLE,
    agreement,
    forbid,
    judge,
    permit,
)


@pytest.mark.parametrize(
    ("parts", "label", "recipient", "key"),
    [
        ({"direction": ["MX>US"]}, LABEL, ADUANAS, "direction"),
        ({"from": {"countries": ["MX"]}}, LABEL, ADUANAS, "from.countries"),
        ({"from": {"roles": ["operator"]}}, LABEL, ADUANAS, "from.roles"),
        ({"from": {"sectors": ["trade.port"]}}, LABEL, ADUANAS, "from.sectors"),
        ({"from": {"members": ["mx-ciber"]}}, LABEL, ADUANAS, "from.members"),
        ({"to": {"countries": ["US"]}}, LABEL, ADUANAS, "to.countries"),
        ({"to": {"roles": ["operator"]}}, LABEL, ADUANAS, "to.roles"),
        ({"to": {"sectors": ["trade.port"]}}, LABEL, ADUANAS, "to.sectors"),
        ({"to": {"members": ["mx-ciber"]}}, LABEL, ADUANAS, "to.members"),
        ({"to": {"audience": "ports"}}, LABEL, ADUANAS, "to.audience"),
        ({"to": {"sector_overlap": "required"}}, LABEL, ADUANAS, "to.sector_overlap"),
        ({"to": {"sector_overlap": "required"}}, replace(LABEL, sectors=()), ADUANAS, "to.sector_overlap"),
        ({"to": {"status": ["suspended"]}}, LABEL, ADUANAS, "to.status"),
        ({"when": {"classes": ["malware"]}}, LABEL, ADUANAS, "when.classes"),
        ({"when": {"tlp": {"max": "clear"}}}, LABEL, ADUANAS, "when.tlp.max"),
        ({"when": {"pap": {"max": "green"}}}, replace(LABEL, pap="amber"), ADUANAS, "when.pap.max"),
        ({"when": {"confidence": {"floor": "confirmed"}}}, LABEL, ADUANAS, "when.confidence.floor"),
        (
            {"when": {"assurance": {"floor": "originator-signed"}}},
            replace(LABEL, assurance="gateway-signed"),
            ADUANAS,
            "when.assurance.floor",
        ),
        ({"when": {"assurance": {"any": ["imported"]}}}, LABEL, ADUANAS, "when.assurance.any"),
        ({"when": {"sectors": {"any": ["trade.port"]}}}, LABEL, ADUANAS, "when.sectors.any"),
        ({"when": {"caveats": {"any": ["orcon"]}}}, LABEL, ADUANAS, "when.caveats.any"),
        ({"when": {"caveats": {"any": ["opaque"]}}}, replace(LABEL, caveats=("orcon",)), ADUANAS, "when.caveats.any"),
        ({"when": {"rel_to": "present"}}, LABEL, ADUANAS, "when.rel_to"),
        ({"when": {"collections": ["mx-domestic"]}}, LABEL, ADUANAS, "when.collections"),
        ({"when": {"feeds": ["kev"]}}, LABEL, ADUANAS, "when.feeds"),
        ({"when": {"consent": "named"}}, LABEL, ADUANAS, "when.consent"),
        ({"when": {"consent": "none"}}, replace(LABEL, consent="named"), ADUANAS, "when.consent"),
    ],
)  # fmt: skip
def test_a_permit_whose_condition_fails_does_not_permit(
    parts: dict[str, Any], label: Label, recipient: Recipient, key: str
) -> None:
    decision = judge(agreement(permit(**parts)), label, recipient)
    assert (decision.effect, decision.clause) == ("deny", "defaults.effect")
    (step,) = [step for step in decision.trace if step.rule == "P-ALL"]
    assert (step.kind, step.matched, step.failed) == ("permit", False, key)
    assert f"({key})" in decision.reason("en")
    assert f"({key})" in decision.reason("es")
    assert "P-ALL" in decision.reason("es")


@pytest.mark.parametrize(
    ("parts", "label", "recipient"),
    [
        ({"direction": ["US>MX"]}, LABEL, ADUANAS),
        ({"from": {"roles": ["csirt"]}}, LABEL, ADUANAS),
        ({"from": {"members": ["us-cyber"]}}, LABEL, ADUANAS),
        ({"to": {"audience": "ports"}}, LABEL, PUERTO),
        ({"to": {"members": ["mx-puerto-pac"], "audience": "ports"}}, LABEL, PUERTO),
        ({"to": {"sector_overlap": "required"}}, OPERATOR, PUERTO),
        ({"to": {"status": ["active"]}}, LABEL, ADUANAS),
        ({"when": {"tlp": {"max": "green"}}}, LABEL, ADUANAS),
        ({"when": {"confidence": {"floor": "high"}}}, LABEL, ADUANAS),
        ({"when": {"assurance": {"floor": "gateway-signed"}}}, LABEL, ADUANAS),
        ({"when": {"assurance": {"floor": "originator-signed"}}}, LABEL, ADUANAS),
        ({"when": {"pap": {"max": "green"}}}, replace(LABEL, pap="green"), ADUANAS),
        ({"when": {"caveats": {"any": ["pii-possible"]}}}, replace(LABEL, caveats=("pii-possible",)), ADUANAS),
        ({"when": {"rel_to": "present"}}, replace(LABEL, rel_to=("MX",)), ADUANAS),
        ({"when": {"feeds": ["kev"]}}, replace(LABEL, feed="kev"), ADUANAS),
        ({"when": {"purposes": ["a"]}}, LABEL, ADUANAS),
    ],
)
def test_a_permit_whose_conditions_hold_permits(parts: dict[str, Any], label: Label, recipient: Recipient) -> None:
    assert judge(agreement(permit(**parts)), label, recipient).effect == "permit"


@pytest.mark.parametrize(
    "side", [{"members": []}, {"roles": []}, {"sectors": []}, {"countries": []}, {"status": []}, {"audience": "nobody"}]
)
def test_an_empty_audience_matches_nobody(side: dict[str, Any]) -> None:
    # Refused when a document is read; should one come this far, it must not mean "everybody".
    under = agreement(permit(to=side), audiences={"nobody": {"members": [], "owner": "US"}})
    for recipient in (ADUANAS, PUERTO, CUSTOMS, PORT):
        assert judge(under, recipient=recipient).effect == "deny"


def test_an_audience_that_is_not_defined_has_nobody_in_it() -> None:
    under = agreement(permit(to={"audience": "bars"}))  # refused when a document is read
    for recipient in (ADUANAS, PUERTO, replace(PORT, audiences=("bars",))):
        assert judge(under, recipient=recipient).effect == "deny"


def test_a_fixed_audience_is_what_the_document_says() -> None:
    under = agreement(permit(to={"audience": "ports"}))
    assert judge(under, recipient=replace(PORT, audiences=("ports",))).effect == "deny"


def test_the_owner_of_an_extensible_audience_may_add_to_it() -> None:
    under = agreement(
        permit(to={"audience": "ports"}),
        audiences={"ports": {"members": ["mx-puerto-pac"], "owner": "MX", "may_extend": True}},
    )
    assert judge(under, recipient=PORT).effect == "deny"
    assert judge(under, recipient=replace(PORT, audiences=("ports",))).effect == "permit"
    assert judge(under, recipient=replace(PORT, audiences=("others",))).effect == "deny"
    assert judge(under, recipient=PUERTO).effect == "permit"
    assert replace(PORT, audiences=("ports",)).klass(under) != PORT.klass(under)


def test_an_audience_narrows_members_it_does_not_add() -> None:
    under = agreement(permit(to={"members": ["mx-aduanas"], "audience": "ports"}))
    assert judge(under, recipient=ADUANAS).effect == "deny"
    assert judge(under, recipient=PUERTO).effect == "deny"
    assert under.named_members == {"mx-aduanas", "mx-puerto-pac"}


def test_rel_to_is_lifted_for_the_countries_it_names() -> None:
    rule = forbid(when={"rel_to": "present"}, unless={"recipient_country_in": "rel_to"})
    under = agreement(permit(), rule)
    assert judge(under, replace(LABEL, rel_to=("MX", "US"))).effect == "permit"
    assert judge(under, replace(LABEL, rel_to=("US",))).effect == "deny"
    assert judge(under, replace(LABEL, rel_to=())).effect == "deny"
    assert judge(under).effect == "permit"


def test_a_lift_by_rel_to_does_not_lift_where_none_is_given() -> None:
    under = agreement(permit(), forbid(unless={"recipient_country_in": "rel_to"}))
    assert judge(under).effect == "deny"


CONTROL = {"answer_by": "originator", "time_limit": "72h", "on_silence": "refuse", "consent_valid": "30d"}
ORCON = forbid(when={"caveats": {"any": ["orcon"]}}, unless={"originator_consent": "valid"})
CONTROLLED = replace(LABEL, caveats=("orcon",))
YES = Consent("us-cyber", "", ("mx-aduanas",), (), "2027-01-10T00:00:00Z", "2027-02-01T00:00:00Z")


def test_no_consent_of_an_originator_is_ever_assumed() -> None:
    under = agreement(permit(), ORCON, originator_control=CONTROL)
    # Agreeing to be named is not agreeing to release.
    assert judge(under, replace(CONTROLLED, consent="named")).forbids == ("F-ONE",)
    assert "has not consented" not in judge(under, CONTROLLED).reason("en"), "the clause's own text is quoted"
    assert judge(under).effect == "permit"


@pytest.mark.parametrize(
    ("change", "released"),
    [
        ({}, True),
        ({"originator": "us-customs"}, False),
        ({"members": ()}, False),
        ({"members": ("mx-puerto-pac",)}, False),
        ({"members": (), "countries": ("MX",)}, True),
        ({"members": (), "countries": ("US",)}, False),
        ({"case": "other"}, False),
        ({"given": NOW}, True),
        ({"given": "2027-01-15T06:00:00.000001Z"}, False),
        ({"until": NOW}, False),
        ({"until": "2027-01-15T06:00:00.000001Z"}, True),
        ({"given": "2026-12-16T06:00:00Z"}, False),  # 30 days ago
        ({"given": "2026-12-16T06:00:00.000001Z"}, True),
    ],
)
def test_a_consent_releases_to_whom_it_names_while_it_stands(change: dict[str, Any], released: bool) -> None:
    under = agreement(permit(), ORCON, originator_control=CONTROL)
    decision = judge(under, CONTROLLED, ADUANAS, NOW, replace(YES, **change))
    assert decision.effect == ("permit" if released else "deny")
    (step,) = [step for step in decision.trace if step.rule == "F-ONE"]
    assert (step.matched, step.failed) == ((False, "unless.originator_consent") if released else (True, None))


def test_a_consent_is_for_a_case_and_every_case_needs_one() -> None:
    under = agreement(permit(), ORCON, originator_control=CONTROL)
    both = replace(CONTROLLED, cases=("flood", "storm"))
    flood, storm = replace(YES, case="flood"), replace(YES, case="storm")
    assert judge(under, both, ADUANAS, NOW, flood).effect == "deny"
    assert judge(under, both, ADUANAS, NOW, flood, storm).effect == "permit"
    assert judge(under, replace(both, cases=("flood",)), ADUANAS, NOW, flood).effect == "permit"
    assert judge(under, both, ADUANAS, NOW, YES).effect == "deny", "a consent without a case is for what has none"


def test_without_originator_control_no_consent_holds() -> None:
    assert judge(agreement(permit(), ORCON), CONTROLLED, ADUANAS, NOW, YES).effect == "deny"
    just_now = replace(YES, given=NOW)
    assert judge(agreement(permit(), ORCON), CONTROLLED, ADUANAS, NOW, just_now).effect == "deny"


def test_nobody_consents_for_nobody() -> None:
    under = agreement(permit(), ORCON, originator_control=CONTROL)
    nobodys = replace(CONTROLLED, originator="")
    assert judge(under, nobodys, ADUANAS, NOW, replace(YES, originator="")).effect == "deny"


@pytest.mark.parametrize("change", [{"until": "some day"}, {"given": "2027-01-10T00:00:00"}])
def test_a_consent_that_nobody_understands_denies(change: dict[str, Any]) -> None:
    under = agreement(permit(), ORCON, originator_control=CONTROL)
    decision = judge(under, CONTROLLED, ADUANAS, NOW, YES, replace(YES, **change))
    assert (decision.effect, decision.errors) == ("deny", ("originator_control",))
    assert "could not be evaluated" in decision.reason("en")


def test_of_two_lifts_both_must_be_there() -> None:
    both = {"originator_consent": "valid", "recipient_country_in": "rel_to"}
    under = agreement(permit(), forbid(unless=both), originator_control=CONTROL)
    named = replace(LABEL, rel_to=("MX",))
    assert judge(under, named).effect == "deny"
    assert judge(under, LABEL, ADUANAS, NOW, YES).effect == "deny"
    decision = judge(under, named, ADUANAS, NOW, YES)
    assert decision.effect == "permit"
    assert [step.failed for step in decision.trace if step.rule == "F-ONE"] == ["unless"]


def test_a_clause_is_compiled_from_its_form() -> None:
    form = Permit.model_validate(permit(to={"roles": ["agency"]}, when={"tlp": {"max": "green"}}))
    clause = compile_clause(form, SAMPLE.document)
    assert [one.key for one in clause.predicates] == ["direction", "to.roles", "when.tlp.max"]
    assert [number for number, _ in clause.of_label] == [2]
    assert [number for number, _ in clause.of_recipient] == [1]
    assert clause.of_both == ()


def test_how_far_back_reaches_what_becomes_visible_later() -> None:
    assert agreement(permit()).backfill_seconds is None, "without a bound"
    bounded = BASE["defaults"] | {"backfill": "90d"}
    assert agreement(permit(), defaults=bounded).backfill_seconds == 90 * 86_400
