"""One judgement: what permits, what forbids, what bounds, and what the words say about it."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.agreement import load
from policies.clauses import Agreement, Clause, compile_agreement, compile_clause
from policies.decide import Decision, decide, may_submit
from policies.document import Document, Permit
from policies.label import Label, Recipient
from policies.predicates import OfLabel, Predicate

SAMPLE = load((Path(__file__).resolve().parents[2] / "policies" / "agreements" / "us-mx-trade-cyber.toml").read_bytes())
NOW = "2027-01-15T06:00:00Z"

LABEL = Label(
    collection="indicators",
    originator="us-cyber",
    country="US",
    roles=("agency", "csirt"),
    sectors=("gov.cyber",),
    tlp="green",
    pap="clear",
    caveats=(),
    rel_to=None,
    object_class="indicator",
    confidence="high",
    assurance="originator-signed",
    consent="none",
    feed="",
)
OPERATOR = replace(LABEL, originator="us-port-gulf", roles=("operator",), sectors=("trade.port",))
ADUANAS = Recipient("mx-aduanas", "MX", ("agency",), ("trade.customs",), "active")
PUERTO = Recipient("mx-puerto-pac", "MX", ("operator",), ("trade.port",), "active")
CUSTOMS = Recipient("us-customs", "US", ("agency",), ("trade.customs",), "active")
PORT = Recipient("us-port-gulf", "US", ("operator",), ("trade.port",), "active")

BASE: dict[str, Any] = {
    "schema": "bilateral-sharing-agreement/1",
    "agreement_id": "small",
    "version": 1,
    "effective_from": "2027-01-01T00:00:00Z",
    "expires": "2028-01-01T00:00:00Z",
    "legal_basis": {},
    "parties": {},
    "vocabulary": {"sectors": ["trade.port"], "roles": ["agency", "operator"]},
    "audiences": {"ports": {"members": ["mx-puerto-pac"], "owner": "MX"}},
    "purposes": {"allowed": ["a", "b"]},
    "defaults": {
        "effect": "deny",
        "unmarked_as": "amber",
        "unknown_marking": "deny-cross-border",
        "dangling_endpoint": "withhold",
        "min_assurance": {"cross_border": "gateway-signed", "in_country": "imported"},
        "on_expiry": "in-country-continues",
    },
    "ceilings": {
        "cross_border": {"agency": {"tlp": "amber+strict"}, "operator": {"tlp": "amber", "pap": "green"}},
        "anywhere": {"tlp": "amber+strict"},
    },
}
EVERYWHERE = ["US>MX", "MX>US", "US>US", "MX>MX"]


def permit(id_: str = "P-ALL", *, then: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    form = {"id": id_, "text": {"en": f"{id_}.", "es": f"{id_}."}, "direction": EVERYWHERE}
    return form | {"then": then or {"identity": "reveal"}} | parts


def forbid(id_: str = "F-ONE", **parts: Any) -> dict[str, Any]:
    return {"id": id_, "text": {"en": f"{id_}.", "es": f"{id_}."}} | parts


def agreement(*rules: dict[str, Any], **changes: Any) -> Agreement:
    """An agreement of these rules, compiled without the checks that a document must pass."""
    form = BASE | {
        "permit": [rule for rule in rules if rule["id"].startswith("P-")],
        "forbid": [rule for rule in rules if rule["id"].startswith("F-")],
    }
    return compile_agreement(Document.model_validate(form | changes), b"", "")


def judge(under: Agreement, label: Label = LABEL, recipient: Recipient = ADUANAS, now: str = NOW) -> Decision:
    return decide(under, label, recipient, now=now)


# --- effect ---


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
    under = replace(under, forbids=tuple(with_broken(clause) for clause in under.forbids))
    decision = judge(under)
    assert (decision.effect, decision.errors, decision.forbids) == ("deny", ("F-ONE",), ())
    assert decision.clause == "F-ONE"
    assert "could not be evaluated" in decision.reason("en")
    assert "no pudo evaluarse" in decision.reason("es")
    assert [step.failed for step in decision.trace if step.rule == "F-ONE"] == ["evaluation-error"]


def test_a_permit_that_errors_denies_even_beside_one_that_permits() -> None:
    under = agreement(permit(), permit("P-TWO"))
    under = replace(under, permits=(under.permits[0], with_broken(under.permits[1])))
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


# --- predicates: each matches what it says, and nothing next to it ---


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


def test_an_audience_narrows_members_it_does_not_add() -> None:
    under = agreement(permit(to={"members": ["mx-aduanas"], "audience": "ports"}))
    assert judge(under, recipient=ADUANAS).effect == "deny"
    assert judge(under, recipient=PUERTO).effect == "deny"
    assert under.named_members == {"mx-aduanas", "mx-puerto-pac"}


# --- unless ---


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


def test_no_consent_of_an_originator_is_ever_assumed() -> None:
    under = agreement(permit(), forbid(when={"caveats": {"any": ["orcon"]}}, unless={"originator_consent": "valid"}))
    # Agreeing to be named is not agreeing to release.
    assert judge(under, replace(LABEL, caveats=("orcon",), consent="named")).effect == "deny"
    both = {"originator_consent": "valid", "recipient_country_in": "rel_to"}
    assert judge(agreement(permit(), forbid(unless=both)), replace(LABEL, rel_to=("MX",))).effect == "deny"


# --- bounds ---


def test_no_permit_widens_the_ceiling_of_a_role() -> None:
    under = agreement(permit())
    decision = judge(under, replace(LABEL, tlp="amber+strict"), PUERTO)
    assert (decision.effect, decision.ceilings) == ("deny", ("ceilings.cross_border.operator",))
    assert decision.clause == "ceilings.cross_border.operator"
    assert "TLP:AMBER" in decision.reason("es")
    assert judge(under, replace(LABEL, pap="amber"), PUERTO).effect == "deny"
    assert judge(under, replace(LABEL, tlp="amber", pap="green"), PUERTO).effect == "permit"


def test_of_two_roles_each_ceiling_must_hold() -> None:
    both = replace(PUERTO, roles=("agency", "operator"))
    assert judge(agreement(permit()), replace(LABEL, tlp="amber+strict"), both).effect == "deny"


def test_a_recipient_without_a_ceiling_gets_nothing_across_the_border() -> None:
    for roles in ((), ("observer",)):
        decision = judge(agreement(permit()), recipient=replace(ADUANAS, roles=roles))
        assert (decision.effect, decision.ceilings) == ("deny", ("ceilings.cross_border",))
    assert judge(agreement(permit()), recipient=replace(CUSTOMS, roles=())).effect == "permit"


def test_red_is_above_the_ceiling_anywhere_even_at_home() -> None:
    decision = judge(agreement(permit()), replace(LABEL, tlp="red"), CUSTOMS)
    assert (decision.effect, decision.ceilings) == ("deny", ("ceilings.anywhere",))


def test_the_ceiling_anywhere_bounds_pap_too() -> None:
    tops = BASE["ceilings"] | {"anywhere": {"tlp": "amber+strict", "pap": "green"}}
    under = agreement(permit(), ceilings=tops)
    for pap, effect in (("green", "permit"), ("amber", "deny")):
        assert judge(under, replace(LABEL, pap=pap), CUSTOMS).effect == effect
        assert may_submit(under, replace(LABEL, pap=pap), now=NOW).effect == effect


def test_the_least_assurance_differs_at_home_and_abroad() -> None:
    imported = replace(LABEL, assurance="imported")
    assert judge(agreement(permit()), imported, ADUANAS).ceilings == ("defaults.min_assurance",)
    assert judge(agreement(permit()), imported, CUSTOMS).effect == "permit"
    assert judge(agreement(permit()), replace(LABEL, assurance="unsigned"), CUSTOMS).effect == "deny"


FOREIGN = "marking-definition--6010b3f4-a603-4d3b-9098-8708cdbe151b"


@pytest.mark.rule("MRK-11")
def test_an_unknown_marking_stays_at_home_even_without_a_clause_about_it() -> None:
    opaque = replace(LABEL, caveats=(f"opaque:{FOREIGN}",))
    assert judge(agreement(permit()), opaque).ceilings == ("defaults.unknown_marking",)
    assert judge(agreement(permit()), opaque, CUSTOMS).effect == "permit"
    strict = BASE["defaults"] | {"unknown_marking": "deny"}
    assert judge(agreement(permit(), defaults=strict), opaque, CUSTOMS).effect == "deny"


def test_a_marking_that_the_document_names_is_known() -> None:
    known = BASE["vocabulary"] | {"markings": [FOREIGN]}
    under = agreement(permit(), forbid(when={"caveats": {"any": ["opaque"]}}), vocabulary=known)
    assert judge(under, replace(LABEL, caveats=(f"opaque:{FOREIGN}",))).effect == "permit"
    other = FOREIGN.replace("6010", "6011")
    assert judge(under, replace(LABEL, caveats=(f"opaque:{FOREIGN}", f"opaque:{other}"))).effect == "deny"
    named = agreement(permit(), forbid(when={"caveats": {"any": [f"opaque:{FOREIGN}"]}}), vocabulary=known)
    assert judge(named, replace(LABEL, caveats=(f"opaque:{FOREIGN}",))).forbids == ("F-ONE",)


def test_classified_material_goes_nowhere() -> None:
    decision = judge(agreement(permit()), replace(LABEL, caveats=("classified",)), CUSTOMS)
    assert (decision.effect, decision.clause) == ("deny", "classification")


# --- time and standing ---


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


# --- one's own ---


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


# --- obligations and view ---


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


def test_a_permit_that_says_nothing_of_identity_does_not_name() -> None:
    assert judge(agreement(permit(then={"retain": "1d"})), OPERATOR).view == "anonymised"


def test_a_denial_shows_nothing_and_obliges_to_nothing() -> None:
    decision = judge(agreement())
    assert (decision.view, dict(decision.obligations), decision.delay_seconds) == ("anonymised", {}, 0)


# --- words ---


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


# --- submission ---


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


def test_decisions_compare_by_what_was_decided() -> None:
    one, two = judge(SAMPLE), judge(SAMPLE, replace(LABEL, tlp="clear"))
    assert one == two
    assert hash(one) == hash(two)
    assert one != judge(SAMPLE, replace(LABEL, tlp="red"))
    assert "case" not in repr(one)


def test_a_clause_is_compiled_from_its_form() -> None:
    form = Permit.model_validate(permit(to={"roles": ["agency"]}, when={"tlp": {"max": "green"}}))
    clause = compile_clause(form, SAMPLE.document)
    assert [one.key for one in clause.predicates] == ["direction", "to.roles", "when.tlp.max"]
    assert [number for number, _ in clause.of_label] == [2]
    assert [number for number, _ in clause.of_recipient] == [1]
    assert clause.of_both == ()


def test_every_clause_of_the_sample_has_a_text_that_ends_as_a_sentence() -> None:
    data = tomllib.loads(
        (Path(__file__).resolve().parents[2] / "policies/agreements/us-mx-trade-cyber.toml").read_text()
    )
    for rule in data["permit"] + data["forbid"]:
        assert rule["text"]["en"].endswith(".")
        assert rule["text"]["es"].endswith(".")
