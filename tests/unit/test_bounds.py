"""What no permit widens: ceilings, assurance, markings nobody understands, and an originator's own terms."""

from dataclasses import replace

import pytest

from policies.decide import may_submit
from tests.judging import ADUANAS, BASE, CUSTOMS, FOREIGN, LABEL, NOW, PORT, PUERTO, agreement, forbid, judge, permit


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
    assert may_submit(under, replace(LABEL, tlp="amber+strict"), now=NOW).effect == "permit"


def test_the_least_assurance_differs_at_home_and_abroad() -> None:
    imported = replace(LABEL, assurance="imported")
    assert judge(agreement(permit()), imported, ADUANAS).ceilings == ("defaults.min_assurance",)
    assert judge(agreement(permit()), imported, CUSTOMS).effect == "permit"
    assert judge(agreement(permit()), replace(LABEL, assurance="unsigned"), CUSTOMS).effect == "deny"


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


# --- ceilings of one direction ---


def test_a_ceiling_of_one_direction_narrows_that_direction() -> None:
    tops = BASE["ceilings"] | {"direction": {"US>MX": {"agency": {"tlp": "clear", "pap": "clear"}}}}
    under = agreement(permit(), ceilings=tops)
    decision = judge(under)
    assert (decision.effect, decision.ceilings) == ("deny", ("ceilings.direction.US>MX.agency",))
    assert decision.reason("en").endswith("Nothing above TLP:CLEAR, PAP:CLEAR goes from US to MX to the role agency.")
    assert decision.reason("es").endswith(
        "Nada por encima de TLP:CLEAR, PAP:CLEAR va de US a MX hacia la función agency."
    )
    assert judge(under, replace(LABEL, tlp="clear")).effect == "permit"
    assert judge(under, replace(LABEL, tlp="clear", pap="green")).effect == "deny"
    assert judge(under, recipient=PUERTO).effect == "permit", "it names agencies"
    assert judge(under, replace(LABEL, country="MX"), CUSTOMS).effect == "permit", "the other way"
    assert judge(under, recipient=CUSTOMS).effect == "permit", "at home"


def test_a_ceiling_may_bound_what_stays_at_home() -> None:
    tops = BASE["ceilings"] | {"direction": {"US>US": {"operator": {"tlp": "clear"}}}}
    under = agreement(permit(), ceilings=tops)
    assert judge(under, recipient=PORT).ceilings == ("ceilings.direction.US>US.operator",)
    assert judge(under, recipient=CUSTOMS).effect == "permit"


def test_no_ceiling_of_a_direction_opens_the_border() -> None:
    tops = BASE["ceilings"] | {"direction": {"US>MX": {"observer": {"tlp": "amber"}}}}
    decision = judge(agreement(permit(), ceilings=tops), recipient=replace(ADUANAS, roles=("observer",)))
    assert (decision.effect, decision.ceilings) == ("deny", ("ceilings.cross_border",))


# --- the originator's own terms ---


def test_an_object_kept_to_an_audience_reaches_nobody_else() -> None:
    under = agreement(permit())
    to_ports = replace(LABEL, audiences=("ports",))
    assert judge(under, to_ports, PUERTO).effect == "permit"
    decision = judge(under, to_ports, ADUANAS)
    assert (decision.effect, decision.clause) == ("deny", "AUDIENCE")
    assert "audiencia" in decision.reason("es")
    own = replace(to_ports, originator="us-customs")
    assert judge(under, own, CUSTOMS).clause == "OWN"


@pytest.mark.parametrize("names", [("bars",), ("bars", "ports"), ("nobody",), ("nobody", "ports")])
def test_audiences_add_up_and_one_that_is_undefined_or_empty_is_nobody(names: tuple[str, ...]) -> None:
    under = agreement(permit(), audiences=BASE["audiences"] | {"nobody": {"members": [], "owner": "US"}})
    for recipient in (ADUANAS, PUERTO, CUSTOMS, PORT):
        assert judge(under, replace(LABEL, audiences=names), recipient).effect == "deny"


def test_nobody_has_an_object_before_its_hour() -> None:
    under = agreement(permit())
    held = replace(LABEL, not_before="2027-01-15T07:00:00Z")
    decision = judge(under, held, now="2027-01-15T06:59:59.999999Z")
    assert (decision.effect, decision.clause, decision.not_before) == ("deny", "EMBARGO", "2027-01-15T07:00:00Z")
    lapsed = judge(under, held, now="2027-01-15T07:00:00Z")
    assert (lapsed.effect, lapsed.not_before) == ("permit", None)
    assert judge(under, replace(held, originator="us-customs"), CUSTOMS, "2027-01-15T06:00:00Z").clause == "OWN"


@pytest.mark.parametrize("hour", ["tomorrow", "2027-01-15", "2027-01-15T07:00:00"])
def test_an_hour_that_nobody_understands_never_comes(hour: str) -> None:
    decision = judge(agreement(permit()), replace(LABEL, not_before=hour))
    assert (decision.effect, decision.errors) == ("deny", ("EMBARGO",))


def test_a_time_nobody_understands_ends_no_embargo() -> None:
    decision = judge(agreement(permit()), replace(LABEL, not_before="2020-01-01T00:00:00Z"), now="soon")
    assert (decision.effect, decision.errors) == ("deny", ("now",))
