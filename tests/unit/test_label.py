"""Labels: markings resolved to facets, bands, classes, and the text by which labels are interned."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from certs.signature import EXT_SIG
from policies.acs import ACS_EXTENSION
from policies.label import (
    CAVEAT_EXTENSION,
    CAVEAT_MARKINGS,
    OBJECT_CLASSES,
    PAP_ORDER,
    TLP_DEFINITIONS,
    TLP_ORDER,
    Label,
    Recipient,
    confidence_band,
    object_class,
    resolve_markings,
    strictest,
)
from policies.markings import CUI_EXTENSION, PAP_EXTENSION, SIGNATURE_EXTENSION
from tests.data import read_shared

WHITE, GREEN_1 = (
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
)
STRICT, RED = (
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
)
FOREIGN = "marking-definition--6010b3f4-a603-4d3b-9098-8708cdbe151b"
OTHER = "marking-definition--e3896452-4dcf-4e19-a571-8571c1c530a2"
PERMISSIVE = "urn:isa:policy:acs:ns:v3.0?privdefault=permit&sharedefault=permit"

LABEL = Label(
    collection="indicators",
    originator="us-port-gulf",
    country="US",
    roles=("operator",),
    sectors=("trade.port",),
    tlp="amber",
    pap="green",
    caveats=("noforn",),
    rel_to=("MX", "US"),
    object_class="indicator",
    confidence="high",
    assurance="originator-signed",
    consent="none",
    feed="",
)


def marking(key: str, body: Any) -> dict[str, Any]:
    return {"type": "marking-definition", "id": FOREIGN, "extensions": {key: body}}


def acs(**body: Any) -> dict[str, Any]:
    form = {"control_set": {"classification": "U"}, "policy_reference": PERMISSIVE}
    return marking(ACS_EXTENSION, form | body)


def caveats(definition: dict[str, Any]) -> tuple[str, ...]:
    return resolve_markings([FOREIGN], {FOREIGN: definition}).caveats


def shared_markings(path: str) -> dict[str, dict[str, Any]]:
    value = json.loads(read_shared(f"stix-common-objects/{path}"))
    return {one["id"]: one for one in value.get("objects", [value]) if one["type"] == "marking-definition"}


def test_a_label_survives_its_text_and_equal_labels_have_one_text() -> None:
    assert Label.decode(LABEL.encode()) == LABEL
    assert replace(LABEL).encode() == LABEL.encode()
    assert list(json.loads(LABEL.encode())) == [one.name for one in fields(Label)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        LABEL.encode().replace('"feed":""', '"feed":"","extra":1'),
        LABEL.encode().replace('"feed":""', '"feed":1'),
        LABEL.encode().replace('["noforn"]', '"noforn"'),
    ],
)
def test_other_text_is_no_label(text: str) -> None:
    with pytest.raises(ValueError):
        Label.decode(text)


@pytest.mark.parametrize(
    ("value", "band"),
    [
        (None, "none"), (0, "none"), (-1, "none"), (101, "none"), (1, "low"), (29, "low"), (30, "med"), (69, "med"),
        (70, "high"), (85, "high"), (89, "high"), (90, "confirmed"), (100, "confirmed"),
    ],
)  # fmt: skip
def test_confidence_bands(value: int | None, band: str) -> None:
    assert confidence_band(value) == band


@pytest.mark.parametrize(
    ("stix_type", "expected"),
    [
        ("indicator", "indicator"), ("tool", "malware"), ("intrusion-set", "malware"), ("ipv4-addr", "observed"),
        ("observed-data", "observed"), ("course-of-action", "vulnerability"), ("marking-definition", "context"),
        ("relationship", "relation"), ("sighting", "sighting"), ("opinion", "report"), ("x-acme-widget", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_every_type_has_a_class(stix_type: str, expected: str) -> None:
    assert object_class(stix_type) == expected
    assert expected in OBJECT_CLASSES


def test_strictest() -> None:
    assert strictest(TLP_ORDER, ["green", "amber+strict", "amber"]) == "amber+strict"
    with pytest.raises(ValueError):
        strictest(TLP_ORDER, [])
    with pytest.raises(ValueError):
        strictest(PAP_ORDER, ["white"])


def test_no_markings_say_nothing() -> None:
    marks = resolve_markings([], {})
    assert (marks.tlp, marks.pap, marks.caveats, marks.rel_to) == (None, None, (), None)


@pytest.mark.rule("MRK-08")
def test_of_several_tlp_the_strictest_wins_across_versions_of_tlp() -> None:
    assert resolve_markings([WHITE, GREEN_1], {}).tlp == "green"
    assert resolve_markings([RED, WHITE, STRICT], {}).tlp == "red"


def test_tlp_ids_are_those_of_the_real_objects() -> None:
    for name in ("clear", "green", "amber", "amber-strict", "red"):
        for id_, real in shared_markings(f"tlp2/tlp-{name}.json").items():
            (body,) = real["extensions"].values()
            assert TLP_DEFINITIONS[id_] == body["tlp_2_0"]


@pytest.mark.rule("MRK-01", "MRK-11")
def test_a_forged_tlp_definition_is_opaque() -> None:
    forged = marking("extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d", {"tlp_2_0": "clear"})
    assert resolve_markings([FOREIGN], {FOREIGN: forged}).tlp is None
    assert caveats(forged) == (f"opaque:{FOREIGN}",)
    # Nor does a definition loosen the meaning of a pinned id.
    assert resolve_markings([RED], {RED: forged}).tlp == "red"


@pytest.mark.rule("MRK-11")
def test_an_unknown_marking_is_never_ignored() -> None:
    assert resolve_markings([FOREIGN, WHITE], {}).caveats == (f"opaque:{FOREIGN}",)
    assert caveats({"type": "marking-definition", "id": FOREIGN}) == (f"opaque:{FOREIGN}",)
    assert caveats(marking("extension-definition--0" * 2, {"x": 1})) == (f"opaque:{FOREIGN}",)
    assert caveats({"extensions": ["not a table"]}) == (f"opaque:{FOREIGN}",)


def test_a_definition_of_which_a_part_is_not_understood_is_opaque_and_binds() -> None:
    both = {"extensions": {PAP_EXTENSION: {"pap": "red"}, "extension-definition--x": {"a": 1}}}
    marks = resolve_markings([FOREIGN], {FOREIGN: both})
    assert (marks.pap, marks.caveats) == ("red", (f"opaque:{FOREIGN}",))
    for body in ("red", None, ["red"]):
        assert caveats({"extensions": {PAP_EXTENSION: body}}) == (f"opaque:{FOREIGN}",)


def test_who_signed_a_definition_says_nothing_of_who_may_have_what_it_marks() -> None:
    assert SIGNATURE_EXTENSION == EXT_SIG
    signature = {SIGNATURE_EXTENSION: {"extension_type": "property-extension", "signature": "x"}}
    statement = {"definition_type": "statement", "definition": {"statement": "Copyright"}, "extensions": signature}
    assert resolve_markings(["m"], {"m": statement}) == resolve_markings([], {})
    pap = {"extensions": {**signature, PAP_EXTENSION: {"extension_type": "property-extension", "pap": "red"}}}
    assert resolve_markings(["m"], {"m": pap}).pap == "red"
    other = {"extensions": {**signature, "extension-definition--x": {"extension_type": "property-extension"}}}
    assert resolve_markings(["m"], {"m": other}).caveats == ("opaque:m",)


def test_a_statement_travels_and_says_nothing() -> None:
    real = shared_markings("statement/mitre-copyright.json")
    assert real
    assert resolve_markings(real, real).caveats == ()


def test_pap() -> None:
    for word, meant in (("white", "clear"), ("clear", "clear"), ("amber", "amber"), ("red", "red")):
        marks = resolve_markings([FOREIGN], {FOREIGN: marking(PAP_EXTENSION, {"pap": word})})
        assert (marks.pap, marks.caveats) == (meant, ())
    both = {FOREIGN: marking(PAP_EXTENSION, {"pap": "green"}), OTHER: marking(PAP_EXTENSION, {"pap": "red"})}
    assert resolve_markings(both, both).pap == "red"
    assert caveats(marking(PAP_EXTENSION, {"pap": "mauve"})) == (f"opaque:{FOREIGN}",)
    assert caveats(marking(PAP_EXTENSION, {"pap": ["red"]})) == (f"opaque:{FOREIGN}",)


def test_cui() -> None:
    for words in (["NOFORN"], ["FED ONLY"], ["FED ONLY", "NOFORN"]):
        assert caveats(marking(CUI_EXTENSION, {"control": "CUI", "disseminations": words})) == ("noforn",)
    mixed = marking(CUI_EXTENSION, {"control": "CUI", "disseminations": ["NOFORN", "FEDCON"]})
    assert caveats(mixed) == ("noforn", f"opaque:{FOREIGN}")
    for plain in (
        {"control": "CUI"}, {"disseminations": "NOFORN"}, {"disseminations": [1]}, {"disseminations": ["NOFORN", 1]},
        {"disseminations": []},
    ):  # fmt: skip
        assert caveats(marking(CUI_EXTENSION, plain)) == (f"opaque:{FOREIGN}",)
    real = shared_markings("cui/banner.json")
    assert resolve_markings(real, real).caveats == tuple(f"opaque:{id_}" for id_ in real)


def test_our_own_caveat_markings_are_pinned() -> None:
    by_caveat = {one["extensions"][CAVEAT_EXTENSION]["caveat"]: id_ for id_, one in CAVEAT_MARKINGS.items()}
    assert set(by_caveat) == {"noforn", "orcon"}
    for caveat, id_ in by_caveat.items():
        assert CAVEAT_MARKINGS[id_]["id"] == id_
        assert resolve_markings([id_], {}).caveats == (caveat,)
    # The word under another id means nothing.
    assert caveats(marking(CAVEAT_EXTENSION, {"caveat": "noforn"})) == (f"opaque:{FOREIGN}",)


@pytest.mark.rule("MRK-08")
def test_restrictions_add_up() -> None:
    noforn, orcon = sorted(CAVEAT_MARKINGS)
    assert resolve_markings([noforn, orcon, FOREIGN], {}).caveats == ("noforn", f"opaque:{FOREIGN}", "orcon")


def test_acs_public_release_restricts_nothing() -> None:
    marks = resolve_markings([FOREIGN], {FOREIGN: acs()})
    assert (marks.caveats, marks.rel_to) == ((), None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"control_set": {"classification": "U", "formal_determination": ["NF"]}}, ("noforn",)),
        ({"further_sharing": [{"rule_effect": "deny", "sharing_scope": ["FOREIGNGOV"]}]}, ("noforn",)),
        ({"further_sharing": [{"rule_effect": "deny", "sharing_scope": ["SECTOR"]}]}, ()),
        ({"policy_reference": "urn:isa:policy:acs:ns:v3.0?privdefault=permit&sharedefault=deny"}, ("noforn",)),
        (
            {
                "policy_reference": "urn:isa:policy:acs:ns:v3.0?privdefault=permit&sharedefault=deny",
                "further_sharing": [{"rule_effect": "permit", "sharing_scope": ["FOREIGNGOV"]}],
            },
            (),
        ),
        (
            {
                "further_sharing": [
                    {"rule_effect": "permit", "sharing_scope": ["FOREIGNGOV"]},
                    {"rule_effect": "deny", "sharing_scope": ["ALL"]},
                ]
            },
            ("noforn",),
        ),
        ({"control_set": {"classification": "S"}}, ("classified",)),
        ({"control_set": {}}, ("classified",)),
        (
            {"control_set": {"classification": "U", "caveat": ["POSSIBLEPII", "CISAPROPRIETARY"]}},
            ("pii-possible", "proprietary"),
        ),
        ({"control_set": {"classification": "U", "caveat": ["FISA"]}}, (f"opaque:{FOREIGN}",)),
        ({"control_set": {"classification": "U", "sensitivity": ["NTOC"]}}, (f"opaque:{FOREIGN}",)),
        (
            {"control_set": {"classification": "U", "permitted_organizations": ["USA.DHS"]}},
            (f"opaque:{FOREIGN}",),
        ),
        ({"access_privilege": [{"privilege_action": "DSPLY", "rule_effect": "deny"}]}, (f"opaque:{FOREIGN}",)),
        ({"control_set": "U"}, (f"opaque:{FOREIGN}",)),
        ({"control_set": {"classification": "S"}, "further_sharing": [1]}, ("classified", f"opaque:{FOREIGN}")),
        ({"control_set": {"classification": "U", "caveat": ["POSSIBLEPII", 1]}}, (f"opaque:{FOREIGN}",)),
        ({"control_set": {"classification": "U", "caveat": 1}}, (f"opaque:{FOREIGN}",)),
        ({"access_privilege": [{"privilege_action": "CISAUSES", "rule_effect": "deny"}]}, ()),
        ({"access_privilege": [{"privilege_action": "DSPLY", "rule_effect": "permit"}]}, ()),
        (
            {
                "access_privilege": [
                    {"privilege_action": "ALL", "rule_effect": "permit", "privilege_scope": {"entity": ["ALL"]}}
                ]
            },
            (),
        ),
        (
            {
                "access_privilege": [
                    {"privilege_action": "ALL", "rule_effect": "permit", "privilege_scope": {"entity": ["MIL"]}}
                ]
            },
            (f"opaque:{FOREIGN}",),
        ),
        ({"further_sharing": [1]}, (f"opaque:{FOREIGN}",)),
        ({"policy_reference": 7}, (f"opaque:{FOREIGN}",)),
    ],
)
def test_acs_restrictions(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert caveats(acs(**body)) == expected


def test_acs_without_defaults_denies() -> None:
    bare = marking(ACS_EXTENSION, {"control_set": {"classification": "U"}})
    assert caveats(bare) == ("noforn", f"opaque:{FOREIGN}")


@pytest.mark.parametrize(
    ("nations", "rel_to"),
    [(["ALL"], None), (["USA"], ("US",)), (["USA", "MEX"], ("MX", "US")), (["GBR"], ()), ([], ())],
)
def test_acs_nationalities(nations: list[str], rel_to: tuple[str, ...] | None) -> None:
    one = acs(control_set={"classification": "U", "permitted_nationalities": nations})
    assert resolve_markings([FOREIGN], {FOREIGN: one}).rel_to == rel_to


def reads(*nations: str) -> dict[str, Any]:
    return {
        "privilege_action": "DSPLY",
        "rule_effect": "permit",
        "privilege_scope": {"permitted_nationalities": list(nations), "entity": ["ALL"]},
    }


@pytest.mark.parametrize(
    ("body", "rel_to"),
    [
        ({"access_privilege": [reads("USA")]}, ("US",)),
        ({"access_privilege": [reads("ALL")]}, None),
        ({"access_privilege": [reads("USA", "MEX"), reads("MEX", "GBR")]}, ("MX",)),
        ({"access_privilege": [reads("ALL"), reads("MEX")]}, ("MX",)),
        ({"access_privilege": [reads("USA", "MEX"), reads("ALL")]}, ("MX", "US")),
        ({"access_privilege": [reads("USA"), {**reads("MEX"), "privilege_action": "CISAUSES"}]}, ("US",)),
        (
            {
                "access_privilege": [reads("USA", "MEX")],
                "control_set": {"classification": "U", "permitted_nationalities": ["MEX", "CAN"]},
            },
            ("MX",),
        ),
    ],
)
def test_acs_privileges_name_who_may_read(body: dict[str, Any], rel_to: tuple[str, ...] | None) -> None:
    marks = resolve_markings([FOREIGN], {FOREIGN: acs(**body)})
    assert (marks.rel_to, marks.caveats) == (rel_to, ())


def test_without_a_privilege_the_default_is_asked() -> None:
    denied = acs(policy_reference="urn:isa:policy:acs:ns:v3.0?privdefault=deny&sharedefault=permit")
    assert caveats(denied) == (f"opaque:{FOREIGN}",)


def test_permitted_nationalities_intersect() -> None:
    def only(nation: str) -> dict[str, Any]:
        return acs(control_set={"classification": "U", "permitted_nationalities": ["USA", nation]})

    two = {FOREIGN: only("MEX"), OTHER: only("GBR")}
    assert resolve_markings(two, two).rel_to == ("US",)


def test_the_real_acs_examples() -> None:
    two = shared_markings("acs/acs-spec-use-case-2.json")
    assert resolve_markings(two, two).caveats == ()
    three = shared_markings("acs/acs-spec-use-case-3.json")
    marks = {id_: resolve_markings([id_], three).caveats for id_ in three}
    assert "classified" in marks["marking-definition--e3896452-4dcf-4e19-a571-8571c1c530a2"]
    assert marks["marking-definition--d0038fa3-d4db-460b-813d-191917213910"] == ()


class Distinguishes:
    def __init__(self, *members: str) -> None:
        self._members = members

    def distinguishes(self, member: str) -> bool:
        return member in self._members


def test_the_recipient_class_holds_the_member_only_when_told_apart() -> None:
    one = Recipient("a", "US", ("csirt", "agency"), ("gov.cyber",), "active")
    two = Recipient("b", "US", ("agency", "csirt"), ("gov.cyber",), "active")
    assert one.klass(Distinguishes()) == two.klass(Distinguishes())
    assert one.klass(Distinguishes("a")) != two.klass(Distinguishes("a"))
    asleep = Recipient("b", "US", ("agency", "csirt"), ("gov.cyber",), "suspended")
    assert asleep.klass(Distinguishes()) != two.klass(Distinguishes())
