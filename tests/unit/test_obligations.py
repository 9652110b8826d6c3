"""What a permit asks of its recipient, and in which form it gives."""

from dataclasses import replace

import pytest

from policies.label import Recipient
from tests.judging import (
    ADUANAS,
    LABEL,
    OPERATOR,
    agreement,
    judge,
    permit,
)


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ([{"blocking": "may"}], True),
        ([{}], False),
        ([{"blocking": "must-not"}], False),
        ([{"blocking": "may"}, {"blocking": "may"}], True),
        ([{"blocking": "may"}, {"blocking": "must-not"}], False),
        ([{"blocking": "may"}, {}], False),
        ([{}, {"blocking": "may"}], False),
        ([{"blocking": "may", "permitted_actions": "internally-visible"}], True),
        ([{"blocking": "may", "permitted_actions": "contact-for-instruction"}], False),
        ([{"blocking": "may"}, {"blocking": "may", "permitted_actions": "none"}], False),
    ],
)
def test_blocking_needs_the_word_of_every_permit(given: list[dict[str, str]], may: bool) -> None:
    under = agreement(*[permit(f"P-{n}", then={"identity": "reveal", **then}) for n, then in enumerate(given)])
    decision = judge(under)
    assert (decision.effect, decision.may_block) == ("permit", may)
    assert judge(under, replace(LABEL, pap="green")).may_block == may
    assert not judge(under, replace(LABEL, pap="amber")).may_block, (
        "PAP:AMBER allows no act that the adversary could notice"
    )
    own = Recipient(LABEL.originator, LABEL.country, LABEL.roles, LABEL.sectors, "active")
    assert (judge(under, LABEL, own).rules, judge(under, LABEL, own).may_block) == (("OWN",), may)
    assert not judge(under, replace(LABEL, tlp="red"), own).may_block, "above a ceiling"
    assert not judge(under, LABEL, replace(ADUANAS, status="suspended")).may_block


def test_of_several_permits_the_stricter_obligation_wins() -> None:
    under = agreement(
        permit(
            "P-A",
            then={
                "identity": "reveal", "delay": "30m", "retain": "90d", "onward": "with-consent", "expires_after": "2d",
                "permitted_actions": "internally-visible", "encrypt_in_transit": "may", "notify_affected": "must-not",
                "sighting_feedback": {"within": "14d", "granularity": "sector-count"},
            },
            when={"purposes": ["a", "b"]},
        ),
        permit(
            "P-B",
            then={
                "identity": "anonymise", "delay": "4h", "retain": "2160h", "onward": "own-org", "expires_after": "36h",
                "permitted_actions": "none", "encrypt_in_transit": "must", "acknowledge_within": "1h",
                "sighting_feedback": {"within": "7d", "granularity": "count"},
            },
            when={"purposes": ["b"]},
        ),
    )  # fmt: skip
    decision = judge(under, OPERATOR)
    assert decision.rules == ("P-A", "P-B")
    assert dict(decision.obligations) == {
        "identity": "anonymise",
        "delay": "4h",
        "retain": "90d",
        "onward": "with-consent",
        "expires_after": "36h",
        "permitted_actions": "none",
        "encrypt_in_transit": "must",
        "notify_affected": "must-not",
        "acknowledge_within": "1h",
        "sighting_feedback.within": "7d",
        "sighting_feedback.granularity": "count",
        "purposes": "b",
    }
    assert (decision.view, decision.delay_seconds, decision.expires_after_seconds) == ("anonymised", 14_400, 129_600)
    with pytest.raises(TypeError):
        decision.obligations["identity"] = "reveal"  # type: ignore[index]


def test_permits_whose_purposes_exclude_each_other_permit_nothing() -> None:
    under = agreement(permit("P-A", when={"purposes": ["a"]}), permit("P-B", when={"purposes": ["b"]}))
    decision = judge(under)
    assert (decision.effect, decision.clause) == ("deny", "purposes")


@pytest.mark.parametrize(
    ("identity", "operator", "consenting", "agency"),
    [
        ("reveal", "full", "full", "full"),
        ("reveal-with-consent", "anonymised", "full", "full"),
        ("country-only", "anonymised", "full", "full"),
        ("anonymise", "anonymised", "full", "full"),
    ],
)
def test_who_is_named(identity: str, operator: str, consenting: str, agency: str) -> None:
    under = agreement(permit(then={"identity": identity}))
    assert judge(under, OPERATOR).view == operator
    assert judge(under, replace(OPERATOR, consent="named")).view == consenting
    assert judge(under, LABEL).view == agency
    gateways = replace(OPERATOR, assurance="gateway-signed")
    assert judge(under, gateways).view == "full", "it shows nobody: it is the anonymous form"


def test_a_permit_that_says_nothing_of_time_gives_at_once_and_without_end() -> None:
    decision = judge(agreement(permit()))
    assert (decision.delay_seconds, decision.expires_after_seconds) == (0, None)


def test_a_permit_that_says_nothing_of_identity_does_not_name() -> None:
    assert judge(agreement(permit(then={"retain": "1d"})), OPERATOR).view == "anonymised"


def test_a_denial_shows_nothing_and_obliges_to_nothing() -> None:
    decision = judge(agreement())
    assert (decision.view, dict(decision.obligations), decision.delay_seconds) == ("anonymised", {}, 0)


def test_an_originator_may_limit_the_purposes_but_not_add_to_them() -> None:
    under = agreement(permit(when={"purposes": ["a", "b"]}), permit("P-SILENT"))
    assert judge(under, replace(LABEL, purposes=("a", "c"))).obligations["purposes"] == "a"
    assert judge(under).obligations["purposes"] == "a,b"
    for purposes in (("c",), ()):
        decision = judge(under, replace(LABEL, purposes=purposes))
        assert (decision.effect, decision.clause, decision.ceilings) == ("deny", "purposes", ("purposes",))
        (step,) = [step for step in decision.trace if step.rule == "purposes"]
        assert (step.kind, step.matched) == ("ceiling", False)
    # Where no clause speaks of purposes, the originator's limit still does, and knows only the document's.
    silent = agreement(permit())
    assert judge(silent, replace(LABEL, purposes=("a", "c"))).obligations["purposes"] == "a"
    assert judge(silent, replace(LABEL, purposes=("c",))).effect == "deny"


def test_what_nothing_may_serve_is_told_to_everybody() -> None:
    under = agreement(permit(), purposes={"allowed": ["a"], "excluded": ["tax", "immigration"]})
    assert judge(under).obligations["excluded_purposes"] == "immigration,tax"
    assert "excluded_purposes" not in judge(agreement(permit())).obligations


def test_the_document_bounds_how_long_a_thing_is_kept() -> None:
    under = agreement(
        permit(then={"retain": "365d"}), retention={"default": "180d", "by_class": {"observed": "90d", "malware": "2d"}}
    )
    for name, kept in (("indicator", "180d"), ("observed", "90d"), ("malware", "2d")):
        assert judge(under, replace(LABEL, object_class=name)).obligations["retain"] == kept
    shorter = agreement(permit(then={"retain": "1d"}), retention={"default": "180d"})
    assert judge(shorter).obligations["retain"] == "1d"
    assert judge(agreement(permit(), retention={"default": "180d"})).obligations["retain"] == "180d"


def test_how_much_is_told_of_sightings_is_bounded_for_those_who_tell() -> None:
    sightings = {"learns": ["originator"], "granularity": "sector-count"}
    asked = permit(then={"sighting_feedback": {"within": "7d", "granularity": "full"}})
    under = agreement(asked, sightings=sightings)
    assert judge(under).obligations["sighting_feedback.granularity"] == "sector-count"
    assert "sighting_feedback.granularity" not in judge(agreement(permit(), sightings=sightings)).obligations


def test_markings_ask_of_the_recipient_too() -> None:
    under = agreement(permit(then={"blocking": "may", "notify_affected": "may", "encrypt_in_transit": "must"}))
    marked = replace(LABEL, terms=("encrypt_in_transit=may", "notify_affected=must-not", "resale=must-not"))
    decision = judge(under, marked)
    assert dict(decision.obligations) == {
        "identity": "anonymise",
        "blocking": "may",
        "encrypt_in_transit": "must",
        "notify_affected": "must-not",
        "resale": "must-not",
    }
    assert decision.may_block
    two = replace(LABEL, terms=("permitted_actions=internally-visible", "permitted_actions=none"))
    assert judge(under, two).obligations["permitted_actions"] == "none"
    assert not judge(under, replace(LABEL, terms=("permitted_actions=contact-for-instruction",))).may_block


@pytest.mark.parametrize("terms", [("nonsense",), ("encrypt_in_transit=perhaps", "encrypt_in_transit=must")])
def test_terms_that_nobody_understands_deny(terms: tuple[str, ...]) -> None:
    decision = judge(agreement(permit(then={"encrypt_in_transit": "may"})), replace(LABEL, terms=terms))
    assert (decision.effect, decision.errors) == ("deny", ("obligations",))


def test_where_only_a_tearline_may_go_the_object_does_not() -> None:
    under = agreement(permit(then={"identity": "reveal", "view": "tearline"}), permit("P-TWO"))
    assert judge(under).view == "tearline"
    assert judge(agreement(permit(then={"view": "tearline"})), OPERATOR).view == "anonymised"
    assert judge(agreement(permit(then={"view": "full", "identity": "reveal"}))).view == "full"
