"""Good objects of every type, content nobody here has defined, and the markings whose content is fixed."""

import copy
import json
from typing import Any

import pytest

from exchange.intake.stix.markings import TLP1, TLP2, TLP2_EXTENSION
from exchange.intake.validate import validate
from tests.data import read_shared
from tests.stix_examples import EXAMPLES, EXTENSION, IDENTITY, UUID, WHEN


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_good_object_of_each_type_has_no_finding(name: str) -> None:
    obj = copy.deepcopy(EXAMPLES[name])

    assert validate(obj) == []
    assert obj == EXAMPLES[name], "validation must not touch what it looks at"
    assert list(obj) == list(EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_property_of_every_type_is_checked_for_its_kind(name: str) -> None:
    """No property of the examples, but free dictionaries, takes an object whose only member is a number."""
    free = {"definition", "extensions", "environment_variables", "ipfix", "additional_header_fields"}
    for field in EXAMPLES[name].keys() - free:
        findings = validate({**EXAMPLES[name], field: {"odd": 1}})
        assert findings, field
        assert findings[0].level == "reject", field


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_observable_needs_no_spec_version_and_all_others_do(name: str) -> None:
    obj = {key: value for key, value in EXAMPLES[name].items() if key != "spec_version"}

    codes = [found.code for found in validate(obj)]
    assert codes == ([] if "created" not in obj else ["stix-version-2-0"])


def custom(**own: Any) -> dict[str, Any]:
    obj = {
        "type": "x-manifest", "spec_version": "2.1", "id": f"x-manifest--{UUID}", "created": WHEN, "modified": WHEN,
        "created_by_ref": IDENTITY, "containers": [{"number": "MSKU1234565", "Weight-KG": 2.5}], "sealed": True,
    }  # fmt: skip
    return {key: value for key, value in {**obj, **own}.items() if value is not ...}


def announced_as(extension_type: str) -> dict[str, Any]:
    return {
        "type": "manifest",
        "id": f"manifest--{UUID}",
        "extensions": {EXTENSION: {"extension_type": extension_type}},
    }


@pytest.mark.parametrize(
    "obj",
    [
        custom(),
        custom(**announced_as("new-sdo")),
        custom(**announced_as("new-sro")),
        custom(**announced_as("new-sco"), created=..., modified=..., created_by_ref=..., spec_version=...),
        custom(created=..., modified=..., created_by_ref=..., spec_version=...),
    ],
    ids=["prefix", "new-sdo", "new-sro", "new-sco", "prefix-observable"],
)
@pytest.mark.rule("IDN-06", "EXT-04", "EXT-06")
def test_custom_types_are_accepted_as_they_are(obj: dict[str, Any]) -> None:
    assert validate(obj) == []


@pytest.mark.parametrize(
    ("code", "obj"),
    [
        ("stix-type-unknown", custom(type="manifest", id=f"manifest--{UUID}")),
        ("stix-type-unknown", custom(**announced_as("property-extension"))),
        ("stix-missing", custom(modified=...)),
        ("stix-missing", custom(**announced_as("new-sdo"), created=..., modified=...)),
        ("stix-version-2-0", custom(spec_version=...)),
        ("stix-id-type", custom(id=f"x-other--{UUID}")),
        ("stix-property-name", custom(**{"Sealed-By": "x"})),
        ("stix-property-suffix", custom(carrier_ref="somebody")),
        ("stix-reserved-name", custom(severity="high")),
        ("stix-ref", custom(object_marking_refs=[IDENTITY])),
        ("stix-time-order", custom(modified="2020-01-01T00:00:00.000Z")),
    ],
    ids=str,
)
@pytest.mark.rule("EXT-05", "COM-08")
def test_custom_types_obey_the_common_properties(code: str, obj: dict[str, Any]) -> None:
    assert code in {found.code for found in validate(obj) if found.level == "reject"}


@pytest.mark.rule("EXT-04", "EXT-06", "COM-13")
def test_unknown_content_is_kept_without_a_word_when_it_is_announced() -> None:
    announced = {EXTENSION: {"extension_type": "toplevel-property-extension"}}

    assert validate({**EXAMPLES["campaign"], "x_port": {"Code": ["MXZLO"]}}) == []
    assert validate({**EXAMPLES["campaign"], "manifest_number": 7, "extensions": announced}) == []
    assert validate({**EXAMPLES["url"], "extensions": {"x-port-ext": {"code": "MXZLO"}}}) == []


@pytest.mark.parametrize("definition", TLP1.values(), ids=lambda found: found["name"])
@pytest.mark.rule("MRK-01")
def test_the_tlp_1_definitions_are_exactly_themselves(definition: dict[str, Any]) -> None:
    without_name = {key: value for key, value in definition.items() if key != "name"}

    assert validate(definition) == validate(without_name) == []
    for field, value in {
        "created": "2017-01-20T00:00:00.001Z",
        "definition": {"tlp": "clear"},
        "name": "TLP:CLEAR",
        "definition_type": "statement",
        "x_note": "mine",
        "created_by_ref": IDENTITY,
    }.items():
        codes = [found.code for found in validate({**definition, field: value})]
        assert codes == ["stix-tlp-pinned"], field


@pytest.mark.parametrize(("marking", "level"), TLP2.items())
@pytest.mark.rule("MRK-02")
def test_a_tlp_2_definition_speaks_of_its_own_level_only(marking: str, level: str) -> None:
    for said in TLP2.values():
        definition = {
            "type": "marking-definition",
            "spec_version": "2.1",
            "id": marking,
            "created": "2022-10-01T00:00:00.000Z",
            "name": f"TLP:{said.upper()}",
            "extensions": {TLP2_EXTENSION: {"extension_type": "property-extension", "tlp_2_0": said}},
        }
        assert bool(validate(definition)) == (said != level)


@pytest.mark.parametrize("name", ["clear", "green", "amber", "amber-strict", "red"])
@pytest.mark.rule("MRK-02")
def test_the_published_tlp_2_objects_are_good(name: str) -> None:
    bundle = json.loads(read_shared(f"stix-common-objects/tlp2/tlp-{name}.json"))

    assert [validate(obj) for obj in bundle["objects"]] == [[]]


@pytest.mark.parametrize(
    "selector",
    [
        "id", "name", "labels", "labels.[0]", "kill_chain_phases.[0].phase_name", "external_references.[0]",
        f"extensions.{EXTENSION}.levels.[1]", "granular_markings.[0].selectors", "revoked",
    ],
)  # fmt: skip
@pytest.mark.rule("MRK-06", "MRK-07")
def test_selectors_reach_everything_in_the_object(selector: str) -> None:
    marking = {**EXAMPLES["indicator"]["granular_markings"][0], "selectors": [selector]}

    assert validate({**EXAMPLES["indicator"], "granular_markings": [marking]}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("domain-name", "münchen.example"), ("domain-name", "xn--mnchen-3ya.example"), ("domain-name", "mx."),
        ("email-addr", "ana+x@aduana.example.mx"), ("ipv4-addr", "0.0.0.0/0"), ("ipv6-addr", "::/0"),
        ("ipv6-addr", "::ffff:198.51.100.7"), ("url", "urn:example:a"), ("url", "http://[2001:db8::1]:80/"),
        ("mac-addr", "00:00:00:00:00:00"),
    ],
)  # fmt: skip
def test_well_formed_values_have_no_warning(name: str, value: str) -> None:
    obj = {key: field for key, field in EXAMPLES[name].items() if key != "resolves_to_refs"}

    assert validate({**obj, "value": value}) == []


@pytest.mark.rule("TYP-14", "SCO-08")
def test_a_defanged_value_need_not_be_well_formed() -> None:
    assert validate({**EXAMPLES["url"], "value": "hxxps[:]//gate example", "defanged": True}) == []


@pytest.mark.parametrize("language", ["es", "es-MX", "nah", "zh-Hant-TW", "es-419", "x-puente", "i-klingon"])
def test_language_tags(language: str) -> None:
    assert validate({**EXAMPLES["campaign"], "lang": language}) == []


def test_integral_numbers_are_numbers_where_a_float_is_meant() -> None:
    assert validate({**EXAMPLES["location"], "latitude": 19, "longitude": -104, "precision": 0}) == []


@pytest.mark.rule("TIM-03")
def test_instants_are_compared_beyond_any_clock() -> None:
    created, later = "2026-03-01T12:00:00.0000000000000000001Z", "2026-03-01T12:00:00.0000000000000000002Z"

    assert validate({**EXAMPLES["campaign"], "created": created, "modified": later}) == []
    assert validate({**EXAMPLES["campaign"], "created": created, "modified": created + ""}) == []
    assert [found.rule for found in validate({**EXAMPLES["campaign"], "created": later, "modified": created})] == [
        "TIM-03"
    ]
    assert (
        validate(
            {**EXAMPLES["campaign"], "created": "2026-03-01T12:00:00.000Z", "modified": "2026-03-01T12:00:00.0000Z"}
        )
        == []
    )
