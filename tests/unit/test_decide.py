"""One judgement: its effect, its time, whose it is, and what may be submitted."""

from dataclasses import replace
from typing import Any

import pytest

from policies import sides
from policies.clauses import Clause
from policies.decide import matrix, may_submit
from policies.label import Recipient
from policies.predicates import OfBoth, OfLabel, OfRecipient, Predicate
from tests.judging import ADUANAS, BASE, CUSTOMS, FOREIGN, LABEL, NOW, PUERTO, SAMPLE, agreement, forbid, judge, permit


def test_nothing_is_permitted_by_an_agreement_that_permits_nothing() -> None:
    decision = judge(agreement())
    assert (decision.effect, decision.clause, decision.rules) == ("deny", "defaults.effect", ())
    assert "defaults.effect" in decision.reason("en")


def test_a_permit_permits() -> None:
    decision = judge(agreement(permit()))
    assert (decision.effect, decision.view, decision.rules, decision.clause) == ("permit", "full", ("P-ALL",), "P-ALL")


def test_a_forbid_beats_every_permit() -> None:
    decision = judge(agreement(permit(), permit("P-TWO"), forbid(when={"tlp": {"max": "green"}})))
    assert (decision.effect, decision.rules, decision.forbids) == ("deny", (), ("F-ONE",))
    assert decision.clause == "F-ONE"


def test_a_forbid_without_conditions_forbids_all() -> None:
    assert judge(agreement(permit(), forbid())).effect == "deny"


def raising(*_: object) -> bool:
    raise ZeroDivisionError


def with_broken(clause: Clause, kind: type[Predicate] = OfLabel) -> Clause:
    return replace(clause, predicates=(kind("when.broken", "it works", "funcione", raising),))


@pytest.mark.trap(17)
def test_a_forbid_that_errors_denies() -> None:
    # Cedar skips an erring forbid and would permit here.
    under = agreement(permit(), forbid())
    under = replace(under, forbids=tuple(with_broken(clause) for clause in under.forbids), kept={})
    decision = judge(under)
    assert (decision.effect, decision.errors, decision.forbids) == ("deny", ("F-ONE",), ())
    assert decision.clause == "F-ONE"
    assert "could not be evaluated" in decision.reason("en")
    assert "no pudo evaluarse" in decision.reason("es")
    assert [step.failed for step in decision.trace if step.rule == "F-ONE"] == ["evaluation-error"]


@pytest.mark.parametrize("kind", [OfLabel, OfRecipient, OfBoth])
@pytest.mark.trap(17)
def test_whatever_a_condition_looks_at_its_error_denies(kind: type[Predicate]) -> None:
    under = agreement(permit(), forbid())
    under = replace(under, forbids=(with_broken(under.forbids[0], kind),), kept={})
    decision = judge(under)
    assert (decision.effect, decision.errors, decision.clause) == ("deny", ("F-ONE",), "F-ONE")
    assert decision.forbids == ()
    assert [step.failed for step in decision.trace if step.rule == "F-ONE"] == ["evaluation-error"]


def test_a_permit_that_errors_denies_even_beside_one_that_permits() -> None:
    under = agreement(permit(), permit("P-TWO"))
    under = replace(under, permits=(under.permits[0], with_broken(under.permits[1])), kept={})
    assert (judge(under).effect, judge(under).errors) == ("deny", ("P-TWO",))


@pytest.mark.parametrize(
    "change", [{"tlp": "purple"}, {"tlp": ""}, {"pap": "white"}, {"assurance": "sworn"}, {"tlp": "GREEN"}]
)
def test_a_label_of_unknown_words_is_denied(change: dict[str, str]) -> None:
    label = replace(LABEL, **change)  # type: ignore[arg-type]
    decision = judge(agreement(permit()), label)
    assert (decision.effect, decision.errors) == ("deny", ("ceilings",))
    assert decision.reason("es").startswith("no compartido")
    assert may_submit(SAMPLE, label, now=NOW).effect == "deny"


@pytest.mark.parametrize("now", ["", "yesterday", "2027-01-15", "2027-01-15T06:00:00", "2027-13-01T00:00:00Z"])
def test_a_time_nobody_understands_denies(now: str) -> None:
    decision = judge(agreement(permit()), now=now)
    assert (decision.effect, decision.errors) == ("deny", ("now",))
    assert may_submit(SAMPLE, LABEL, now=now).effect == "deny"


@pytest.mark.parametrize(
    ("now", "abroad", "home"),
    [
        ("2026-12-31T23:59:59.999999Z", "effective_from", "effective_from"),
        ("2027-01-01T00:00:00Z", "P-ALL", "P-ALL"),
        ("2026-12-31T18:00:00-06:00", "P-ALL", "P-ALL"),
        ("2027-12-31T23:59:59.999999Z", "P-ALL", "P-ALL"),
        ("2028-01-01T00:00:00Z", "expires", "P-ALL"),
        ("2028-01-01T00:00:00.000001Z", "expires", "P-ALL"),
        ("2027-12-31T18:00:00-06:00", "expires", "P-ALL"),
    ],
)
def test_the_agreement_holds_from_its_first_instant_until_its_last(now: str, abroad: str, home: str) -> None:
    under = agreement(permit())
    assert judge(under, recipient=ADUANAS, now=now).clause == abroad
    assert judge(under, recipient=CUSTOMS, now=now).clause == home


def test_an_agreement_may_end_at_home_too() -> None:
    under = agreement(permit(), defaults=BASE["defaults"] | {"on_expiry": "stop"})
    assert judge(under, recipient=CUSTOMS, now="2028-01-01T00:00:00Z").clause == "expires"
    assert may_submit(under, LABEL, now="2028-01-01T00:00:00Z").clause == "expires"
    assert may_submit(agreement(), LABEL, now="2028-01-01T00:00:00Z").effect == "permit"
    assert may_submit(agreement(), LABEL, now="2026-01-01T00:00:00Z").clause == "effective_from"


@pytest.mark.parametrize("status", ["suspended", "withdrawn", "", "Active", "unheard-of"])
def test_who_is_not_active_gets_nothing_not_even_their_own(status: str) -> None:
    under = agreement(permit())
    for label in (LABEL, replace(LABEL, originator="mx-aduanas", country="MX")):
        decision = judge(under, label, replace(ADUANAS, status=status))
        assert (decision.effect, decision.clause) == ("deny", "SUSPENDED")


def test_the_document_is_named_before_the_built_in_clause() -> None:
    under = agreement(permit(), forbid("F-SUSPENDED", to={"status": ["suspended"]}))
    decision = judge(under, recipient=replace(ADUANAS, status="suspended"))
    assert (decision.clause, decision.forbids) == ("F-SUSPENDED", ("F-SUSPENDED", "SUSPENDED"))


def test_a_member_reads_back_its_own_whatever_the_clauses_say() -> None:
    own = replace(LABEL, originator="us-customs", tlp="amber+strict", caveats=("orcon",))
    decision = judge(agreement(forbid()), own, CUSTOMS)
    assert (decision.effect, decision.view, decision.clause) == ("permit", "full", "OWN")
    assert dict(decision.obligations) == {}
    assert decision.reason("es").startswith("compartido: cláusula OWN")
    assert judge(agreement(forbid()), own, CUSTOMS, now="2030-01-01T00:00:00Z").clause == "OWN"


def test_reading_back_can_be_left_to_the_clauses() -> None:
    under = agreement(defaults=BASE["defaults"] | {"own_objects": "by-clause"})
    assert judge(under, replace(LABEL, originator="us-customs"), CUSTOMS).effect == "deny"


def test_nobody_owns_the_objects_of_nobody() -> None:
    nobody = Recipient("", "MX", ("agency",), (), "active")
    assert judge(agreement(), replace(LABEL, originator=""), nobody).effect == "deny"


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        ({"tlp": "red"}, "ceilings.anywhere"),
        ({"caveats": ("classified",)}, "classification"),
        ({"assurance": "unsigned"}, "defaults.min_assurance"),
        ({}, "SUBMIT"),
        ({"tlp": "amber+strict", "caveats": ("noforn", f"opaque:{FOREIGN}")}, "SUBMIT"),
    ],
)
def test_what_may_be_submitted(change: dict[str, Any], clause: str) -> None:
    decision = may_submit(SAMPLE, replace(LABEL, **change), now=NOW)
    assert (decision.clause, decision.effect) == (clause, "permit" if clause == "SUBMIT" else "deny")
    assert clause in decision.reason("en")
    assert decision.reason("es").startswith("aceptado" if clause == "SUBMIT" else "no aceptado")
    assert decision.trace
    assert not decision.may_block, "nothing is received yet"


def test_what_is_well_enough_signed_for_home_is_taken_in() -> None:
    under = agreement(permit())
    assert may_submit(under, replace(LABEL, assurance="imported"), now=NOW).effect == "permit"
    assert may_submit(under, replace(LABEL, assurance="unsigned"), now=NOW).ceilings == ("defaults.min_assurance",)


def test_decisions_compare_by_what_was_decided() -> None:
    one, two = judge(SAMPLE), judge(SAMPLE, replace(LABEL, tlp="clear"))
    assert one == two
    assert hash(one) == hash(two)
    assert one != judge(SAMPLE, replace(LABEL, tlp="red"))
    assert "case" not in repr(one)


def test_terms_that_this_agreement_cannot_keep_are_refused_on_the_way_in() -> None:
    under = agreement(permit(), embargo={"longest": "30d"})
    for change, clause in (
        ({"audiences": ("ports",)}, "SUBMIT"),
        ({"audiences": ("ports", "bars")}, "AUDIENCE"),
        ({"purposes": ("a", "c")}, "SUBMIT"),
        ({"purposes": ("c",)}, "purposes"),
        ({"purposes": ()}, "purposes"),
        ({"not_before": "2027-02-14T06:00:00Z"}, "SUBMIT"),
        ({"not_before": "2027-02-14T07:00:00Z"}, "EMBARGO"),
        ({"not_before": "2026-01-01T00:00:00Z"}, "SUBMIT"),
        ({"not_before": "soon"}, "EMBARGO"),
    ):
        decision = may_submit(under, replace(LABEL, **change), now=NOW)  # type: ignore[arg-type]
        assert (decision.clause, decision.effect == "permit") == (clause, clause == "SUBMIT")
        assert decision.trace
    # An agreement that does not speak of embargoes takes none, not of a second.
    assert may_submit(agreement(), replace(LABEL, not_before="2027-01-15T06:00:01Z"), now=NOW).clause == "EMBARGO"
    assert (
        may_submit(agreement(permit()), replace(LABEL, not_before="2027-01-15T07:00:00Z"), now=NOW).clause == "EMBARGO"
    )


def test_a_matrix_is_many_decisions() -> None:
    under = agreement(permit(), forbid(when={"caveats": {"any": ["noforn"]}}))
    labels = [LABEL, replace(LABEL, caveats=("noforn",)), replace(LABEL, tlp="red")]
    rows = list(matrix(under, labels, [ADUANAS, PUERTO, CUSTOMS], now=NOW))
    assert [[one.clause for one in row] for row in rows] == [
        ["P-ALL", "P-ALL", "P-ALL"],
        ["F-ONE", "F-ONE", "F-ONE"],
        ["ceilings.anywhere"] * 3,
    ]
    assert rows[0][1] == judge(under, LABEL, PUERTO)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "KEPT_AT_MOST", 8)
    under = agreement(permit())
    for tlp in ("clear", "green", "amber", "amber+strict"):
        for confidence in ("none", "low", "med", "high"):
            assert judge(under, replace(LABEL, tlp=tlp, confidence=confidence)).effect == "permit"
            assert 2 < len(under.kept) <= 8
