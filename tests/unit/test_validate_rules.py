"""Each requirement that one object shows, broken once: the finding names the row, the code and the field."""

import copy
from typing import Any, NamedTuple

import pytest

from exchange.intake.stix.content import MAX_DEPTH
from exchange.intake.stix.wordings import WORDINGS
from exchange.intake.validate import MAX_FINDINGS, accepted_types, validate
from tests.requirements import REJECTING
from tests.stix_examples import EXAMPLES, EXTENSION, IDENTITY, LATER, TLP_GREEN, UUID, WHEN, identifier

GONE = object()
TLP_WHITE = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"
TLP2 = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"


class Case(NamedTuple):
    rule: str
    code: str
    type: str
    changes: dict[str, Any]
    """Path → new value; GONE deletes. The finding is expected at the first path, unless `field` says otherwise."""
    field: str | None = None


def changed(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    obj = copy.deepcopy(EXAMPLES[name])
    for path, value in changes.items():
        place: Any = obj
        *steps, last = [
            int(step) if step.isdigit() else step for step in path.replace("[", "/").replace("]", "").split("/")
        ]
        for step in steps:
            place = place[step]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return obj


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


MARKING = {"definition_type": GONE, "definition": GONE}
REJECTED = [
    # JSON layer
    Case("JSN-03", "stix-integer", "indicator", {"confidence": 75.0}),
    Case("JSN-03", "stix-integer", "indicator", {"confidence": "75"}),
    Case("JSN-03", "stix-integer", "indicator", {"confidence": True}),
    Case("JSN-03", "stix-integer", "process", {"pid": 2**53}),
    Case("JSN-03", "stix-integer", "observed-data", {"number_observed": 1e3}),
    Case("JSN-04", "stix-number", "location", {"latitude": float("nan")}),
    Case("JSN-04", "stix-number", "location", {"latitude": "19.05"}),
    Case("JSN-05", "stix-boolean", "indicator", {"revoked": "true"}),
    Case("JSN-05", "stix-boolean", "malware", {"is_family": 1}),
    Case("JSN-06", "stix-empty-list", "indicator", {"labels": []}),
    Case("JSN-06", "stix-empty-list", "indicator", {"x_deep": {"a": [[]]}}, "x_deep.a[0]"),
    Case("JSN-06", "stix-list", "indicator", {"labels": "customs"}),
    Case("COM-01", "stix-string", "indicator", {"labels": ["a", 1]}, "labels[1]"),
    Case("JSN-07", "stix-empty-dictionary", "process", {"environment_variables": {}}),
    Case("JSN-07", "stix-empty-dictionary", "indicator", {"extensions": {EXTENSION: {}}}, f"extensions.{EXTENSION}"),
    Case("JSN-07", "stix-dictionary-key", "process", {"environment_variables": {"PÁTH": "x"}}),
    Case("JSN-07", "stix-dictionary-key", "process", {"environment_variables": {"A B": "x"}}),
    Case("JSN-07", "stix-dictionary-key", "process", {"environment_variables": {"A" * 251: "x"}}),
    Case("JSN-07", "stix-object", "process", {"environment_variables": ["PATH"]}),
    Case("JSN-08", "stix-null", "indicator", {"description": None}),
    Case(
        "JSN-08", "stix-null", "indicator",
        {"kill_chain_phases[0]/phase_name": None}, "kill_chain_phases[0].phase_name",
    ),
    Case("JSN-08", "stix-null", "indicator", {"x_any": [{"a": None}]}, "x_any[0].a"),
    Case("JSN-09", "stix-depth", "indicator", {"x_deep": nested(MAX_DEPTH + 5)}),
    # Identity and types
    Case("IDN-01", "stix-id-type", "indicator", {"id": f"malware--{UUID}"}),
    Case("IDN-01", "stix-id-type", "indicator", {"id": 7}),
    Case("IDN-01", "stix-missing", "indicator", {"id": GONE}),
    Case(
        "IDN-02", "stix-id-uuid", "indicator",
        {"id": identifier("indicator").upper().replace("INDICATOR", "indicator")},
    ),
    Case("IDN-02", "stix-id-uuid", "indicator", {"id": "indicator--0a3b8a0e-4f6c-6a57-8a4b-3f2d1c0b9a88"}),
    Case("IDN-02", "stix-id-uuid", "indicator", {"id": "indicator--0a3b8a0e-4f6c-4a57-7a4b-3f2d1c0b9a88"}),
    Case("IDN-02", "stix-id-uuid", "indicator", {"id": identifier("indicator") + "\n"}),
    Case("IDN-06", "stix-type-unknown", "indicator", {"type": "indicater", "id": f"indicater--{UUID}"}, "type"),
    Case("IDN-06", "stix-type", "indicator", {"type": "x--foo"}),
    Case("IDN-06", "stix-type", "indicator", {"type": "X-Foo"}),
    Case("IDN-06", "stix-type", "indicator", {"type": "x-" + "a" * 249}),
    Case("IDN-06", "stix-type", "indicator", {"type": 5}),
    Case("IDN-06", "stix-missing", "indicator", {"type": GONE}),
    Case("IDN-07", "stix-spec-version", "indicator", {"spec_version": "2.0"}),
    Case("IDN-07", "stix-spec-version", "ipv4-addr", {"spec_version": "2.0"}),
    Case("IDN-07", "stix-spec-version", "marking-definition", {"spec_version": 2.1}),
    Case("IDN-08", "stix-version-2-0", "indicator", {"spec_version": GONE}),
    Case("IDN-09", "stix-bundle", "indicator", {"type": "bundle"}),
    Case("IDN-10", "stix-ref", "indicator", {"created_by_ref": f"malware--{UUID}"}),
    Case("IDN-10", "stix-ref", "indicator", {"created_by_ref": "identity--1"}),
    Case("IDN-10", "stix-ref", "indicator", {"created_by_ref": 1}),
    Case("IDN-10", "stix-ref", "malware", {"sample_refs[0]": f"domain-name--{UUID}"}),
    Case("IDN-10", "stix-ref", "report", {"object_refs[0]": f"bundle--{UUID}"}),
    Case("IDN-10", "stix-ref", "email-message", {"from_ref": f"ipv4-addr--{UUID}"}),
    Case("IDN-10", "stix-ref", "language-content", {"object_ref": f"bundle--{UUID}"}),
    Case("JSN-05", "stix-boolean", "url", {"defanged": "yes"}),
    Case("SCO-08", "stix-defanged", "indicator", {"defanged": True}),
    # Timestamps
    Case("TIM-01", "stix-timestamp", "indicator", {"valid_from": "2026-03-01T12:00:00+00:00"}),
    Case("TIM-01", "stix-timestamp", "indicator", {"valid_from": "2026-02-29T12:00:00Z"}),
    Case("TIM-01", "stix-timestamp", "indicator", {"created": "2026-03-01 12:00:00.000Z"}),
    Case("TIM-01", "stix-timestamp", "file", {"ctime": "yesterday"}),
    Case("TIM-01", "stix-timestamp", "url", {"modified": "yesterday"}),
    Case("TIM-02", "stix-timestamp-precision", "indicator", {"created": "2026-03-01T12:00:00Z"}),
    Case("TIM-02", "stix-timestamp-precision", "indicator", {"modified": "2026-03-02T12:00:00.12Z"}),
    Case("TIM-03", "stix-time-order", "indicator", {"modified": "2026-03-01T11:59:59.999999999Z"}),
    Case("TIM-03", "stix-time-order", "language-content", {"modified": "2025-03-01T11:59:59.999Z"}),
    Case("TIM-03", "stix-time-order", "extension-definition", {"modified": "2025-03-01T11:59:59.999Z"}),
    Case("TIM-04", "stix-missing", "indicator", {"modified": GONE}),
    Case("TIM-04", "stix-missing", "sighting", {"created": GONE}),
    Case("TIM-13", "stix-marking-versioned", "marking-definition", {"modified": LATER}),
    Case("TIM-13", "stix-marking-versioned", "marking-definition", {"revoked": True}),
    # Common properties
    Case("COM-01", "stix-missing", "identity", {"name": GONE}),
    Case("COM-01", "stix-missing", "software", {"name": GONE}),
    Case("COM-01", "stix-empty-string", "indicator", {"pattern_type": ""}),
    Case("COM-01", "stix-email-body", "email-message", {"body": "x"}),
    Case("COM-01", "stix-needs", "artifact", {"decryption_key": "x"}),
    Case("COM-01", "stix-value", "email-message", {"body_multipart[0]": {"content_type": "text/plain"}}),
    Case("COM-03", "stix-range", "indicator", {"confidence": 101}),
    Case("COM-03", "stix-range", "indicator", {"confidence": -1}),
    Case(
        "COM-05", "stix-missing", "indicator",
        {"external_references[0]/source_name": GONE}, "external_references[0].source_name",
    ),
    Case(
        "COM-05", "stix-reference", "indicator",
        {"external_references": [{"source_name": "x"}]}, "external_references[0]",
    ),
    Case("COM-06", "stix-hash", "file", {"hashes": {"MD5": "0" * 31}}),
    Case("COM-06", "stix-hash", "file", {"hashes": {"SHA-256": "0" * 63 + "g"}}),
    Case("COM-06", "stix-hash-name", "file", {"hashes": {"M5": "0"}}),
    Case("COM-06", "stix-hash-name", "file", {"hashes": {"SHA 256": "0"}}),
    Case("COM-07", "stix-hex", "file", {"magic_number_hex": "4D5A"}),
    Case("COM-07", "stix-hex", "file", {"magic_number_hex": "4d5"}),
    Case("COM-07", "stix-binary", "artifact", {"payload_bin": "a===", "url": GONE}),
    Case("COM-08", "stix-property-name", "indicator", {"Severity": 1}),
    Case("COM-08", "stix-property-name", "indicator", {"x-y": 1}),
    Case("COM-08", "stix-property-name", "indicator", {"ab": 1}),
    Case("COM-08", "stix-property-name", "indicator", {"9ab": 1}),
    Case("COM-08", "stix-property-suffix", "indicator", {"x_owner_ref": "somebody"}),
    Case("COM-08", "stix-property-suffix", "indicator", {"x_owner_refs": f"identity--{UUID}"}),
    Case("COM-08", "stix-property-suffix", "indicator", {"x_magic_hex": "xyz"}),
    Case("COM-08", "stix-property-suffix", "indicator", {"x_body_bin": "?"}),
    Case("COM-08", "stix-property-suffix", "indicator", {"x_name_enc": 5}),
    *(
        Case("COM-09", "stix-reserved-name", "indicator", {name: "x"})
        for name in ("severity", "username", "phone_number", "action")
    ),
    Case("COM-09", "stix-reserved-name", "indicator", {"type": "action"}),
    Case(
        "COM-10", "stix-missing", "indicator",
        {"kill_chain_phases[0]/phase_name": GONE}, "kill_chain_phases[0].phase_name",
    ),
    Case("COM-11", "stix-enumeration", "opinion", {"opinion": "maybe"}),
    Case("COM-11", "stix-enumeration", "artifact", {"encryption_algorithm": "rot13"}),
    Case("COM-11", "stix-enumeration", "extension-definition", {"extension_types[0]": "new-thing"}),
    Case("COM-11", "stix-enumeration", "windows-registry-key", {"values[0]/data_type": "REG_X"}, "values[0].data_type"),
    *(
        Case(
            "COM-11", "stix-enumeration", name,
            {f"extensions/{extension}/{field}": "X"}, f"extensions.{extension}.{field}",
        )
        for name, extension, field in (
            ("network-traffic", "socket-ext", "address_family"),
            ("network-traffic", "socket-ext", "socket_type"),
            ("process", "windows-process-ext", "integrity_level"),
            ("process", "windows-service-ext", "start_type"),
            ("process", "windows-service-ext", "service_type"),
            ("process", "windows-service-ext", "service_status"),
        )
    ),
    # Types
    *(Case("TYP-01", "stix-missing", "indicator", {name: GONE}) for name in ("pattern", "pattern_type", "valid_from")),
    Case("TYP-01", "stix-time-after", "indicator", {"valid_until": WHEN}),
    Case("COM-01", "stix-empty-string", "indicator", {"pattern": ""}),
    *(
        Case("TYP-02", "stix-time-order", name, {"last_seen": "2026-02-01T00:00:00Z"})
        for name in ("campaign", "infrastructure", "intrusion-set", "malware", "threat-actor", "sighting")
    ),
    Case("TYP-03", "stix-exactly-one", "observed-data", {"object_refs": GONE}, ""),
    Case("TYP-03", "stix-exactly-one", "observed-data", {"objects": {"0": {"type": "url", "value": "x"}}}, ""),
    Case("TYP-03", "stix-time-order", "observed-data", {"last_observed": "2026-02-01T00:00:00Z"}),
    Case("TYP-03", "stix-range", "observed-data", {"number_observed": 0}),
    Case("TYP-03", "stix-range", "observed-data", {"number_observed": 1_000_000_000}),
    Case("TYP-03", "stix-missing", "observed-data", {"number_observed": GONE}),
    Case("TYP-03", "stix-ref", "observed-data", {"object_refs[0]": identifier("campaign")}),
    Case(
        "TYP-04", "stix-one-of", "location",
        dict.fromkeys(("region", "country", "latitude", "longitude", "precision"), GONE), "",
    ),
    Case("TYP-04", "stix-needs", "location", {"latitude": GONE, "precision": GONE}, "longitude"),
    Case("TYP-04", "stix-needs", "location", {"longitude": GONE, "precision": GONE}, "latitude"),
    Case("TYP-04", "stix-needs", "location", {"longitude": GONE, "latitude": GONE}, "precision"),
    Case("TYP-04", "stix-range", "location", {"latitude": 90.1}),
    Case("TYP-04", "stix-range", "location", {"longitude": -181}),
    Case("TYP-04", "stix-range", "location", {"precision": -1.0}),
    Case("TYP-05", "stix-missing", "malware", {"is_family": GONE}),
    Case("TYP-05", "stix-family-name", "malware", {"name": GONE}),
    Case("TYP-06", "stix-missing", "malware-analysis", {"product": GONE}),
    Case("TYP-06", "stix-one-of", "malware-analysis", {"result": GONE, "analysis_sco_refs": GONE}, ""),
    *(
        Case("TYP-07", "stix-missing", name, {field: GONE})
        for name, fields in {
            "report": ("name", "published", "object_refs"),
            "grouping": ("context", "object_refs"),
            "note": ("content", "object_refs"),
            "opinion": ("opinion", "object_refs"),
        }.items()
        for field in fields
    ),
    Case("TYP-08", "stix-relationship-type", "relationship", {"relationship_type": "Related_To"}),
    Case("TYP-08", "stix-missing", "relationship", {"target_ref": GONE}),
    *(
        Case("TYP-08", "stix-ref", "relationship", {"source_ref": f"{name}--{UUID}"})
        for name in ("relationship", "sighting", "bundle", "marking-definition", "language-content")
    ),
    Case("TYP-08", "stix-time-after", "relationship", {"stop_time": WHEN}),
    Case("TYP-09", "stix-ref", "sighting", {"sighting_of_ref": identifier("ipv4-addr")}),
    Case("TYP-09", "stix-ref", "sighting", {"observed_data_refs[0]": identifier("file")}),
    Case("TYP-09", "stix-ref", "sighting", {"where_sighted_refs[1]": identifier("campaign")}),
    Case("TYP-09", "stix-range", "sighting", {"count": -1}),
    Case("TYP-09", "stix-missing", "sighting", {"sighting_of_ref": GONE}),
    Case("TYP-10", "stix-exactly-one", "artifact", {"url": GONE, "hashes": GONE}, ""),
    Case("TYP-10", "stix-exactly-one", "artifact", {"payload_bin": "YQ=="}, ""),
    Case("TYP-10", "stix-needs", "artifact", {"hashes": GONE}, "url"),
    Case("TYP-11", "stix-one-of", "file", {"hashes": GONE, "name": GONE}, ""),
    Case("TYP-12", "stix-missing", "network-traffic", {"protocols": GONE}),
    Case("TYP-12", "stix-one-of", "network-traffic", {"src_ref": GONE, "dst_ref": GONE}, ""),
    Case("TYP-12", "stix-time-order", "network-traffic", {"end": "2026-02-01T00:00:00Z"}),
    Case("TYP-12", "stix-range", "network-traffic", {"dst_port": 65536}),
    Case("TYP-12", "stix-active-ended", "network-traffic", {"is_active": True}, "end"),
    *(
        Case(
            "TYP-13", "stix-one-of", name,
            {field: GONE for field in EXAMPLES[name] if field not in ("type", "id")}, "",
        )
        for name in ("process", "user-account", "windows-registry-key", "x509-certificate")
    ),
    # Markings
    Case(
        "MRK-01", "stix-tlp-pinned", "marking-definition",
        {"definition_type": "tlp", "definition": {"tlp": "white"}}, "",
    ),
    Case("MRK-01", "stix-tlp-pinned", "marking-definition", {"id": TLP_WHITE}, ""),
    Case("MRK-02", "stix-tlp2-pinned", "marking-definition", {"id": TLP_GREEN}, ""),
    Case(
        "MRK-02", "stix-tlp2-pinned", "marking-definition",
        {**MARKING, "id": TLP_GREEN, "extensions": {TLP2: {"extension_type": "property-extension", "tlp_2_0": "red"}}},
        "",
    ),
    Case(
        "MRK-02", "stix-tlp2-pinned", "marking-definition",
        {**MARKING, "extensions": {TLP2: {"extension_type": "property-extension", "tlp_2_0": "clear"}}}, "",
    ),
    Case("MRK-03", "stix-marking-content", "marking-definition", {"definition": GONE}),
    Case("MRK-03", "stix-marking-content", "marking-definition", {"definition_type": GONE}),
    Case("MRK-03", "stix-marking-content", "marking-definition", {"definition": {"other": "x"}}),
    Case("MRK-04", "stix-ref", "indicator", {"object_marking_refs[0]": IDENTITY}),
    Case(
        "MRK-04", "stix-marks-itself", "marking-definition",
        {"object_marking_refs": [identifier("marking-definition")]},
    ),
    Case(
        "MRK-04", "stix-marks-itself", "marking-definition",
        {"granular_markings": [{"selectors": ["definition"], "marking_ref": identifier("marking-definition")}]},
        "object_marking_refs",
    ),
    Case(
        "MRK-05", "stix-granular-marking", "indicator",
        {"granular_markings[0]/selectors": GONE}, "granular_markings[0]",
    ),
    Case(
        "MRK-05", "stix-granular-marking", "indicator",
        {"granular_markings[0]/marking_ref": GONE}, "granular_markings[0]",
    ),
    Case("MRK-05", "stix-granular-marking", "indicator", {"granular_markings[0]/lang": "es"}, "granular_markings[0]"),
    *(
        Case(
            rule, code, "indicator",
            {"granular_markings[0]/selectors[0]": selector}, "granular_markings[0].selectors[0]",
        )
        for rule, code, selectors in (
            (
                "MRK-06", "stix-selector",
                ("", "labels[0]", "labels..[0]", "labels.[x]", "[0]", "name.", "ñ", "labels.[-1]"),
            ),
            (
                "MRK-07", "stix-selector-target",
                (
                    "nothing", "labels.[1]", "name.x", "labels.first", "kill_chain_phases.[0].x", "name.[0]",
                    "labels.[999999999]",
                ),
            ),
        )
        for selector in selectors
    ),
    # Extensions
    Case("EXT-01", "stix-extension-key", "indicator", {"extensions": {"ntfs": {"a": 1}}}, "extensions.ntfs"),
    Case("EXT-01", "stix-object", "indicator", {"extensions": {EXTENSION: "x"}}, f"extensions.{EXTENSION}"),
    Case(
        "EXT-01", "stix-extension-type", "indicator",
        {"extensions": {EXTENSION: {"abc": 1}}}, f"extensions.{EXTENSION}",
    ),
    Case(
        "EXT-01", "stix-extension-type", "indicator", {"extensions": {EXTENSION: {"extension_type": ["new-sdo"]}}},
        f"extensions.{EXTENSION}",
    ),
    *(
        Case("EXT-03", "stix-missing", "extension-definition", {name: GONE})
        for name in ("name", "schema", "version", "extension_types", "created_by_ref")
    ),
    Case(
        "EXT-03", "stix-extension-properties", "extension-definition",
        {"extension_types": ["new-sdo"]}, "extension_properties",
    ),
    Case(
        "EXT-05", "stix-extension-name", "indicator",
        {"extensions": {EXTENSION: {"extension_type": "property-extension", "Rank": 1}}},
        f"extensions.{EXTENSION}.Rank",
    ),
    Case(
        "EXT-05", "stix-extension-name", "file", {"extensions": {"pdf-ext": {"version": "1.7", "Rank": 1}}},
        "extensions.pdf-ext.Rank",
    ),
]  # fmt: skip


def numbered(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=f"{number}-{case.rule}-{case.type}") for number, case in enumerate(cases)]


@pytest.mark.parametrize("case", numbered(REJECTED))
def test_a_breach_is_rejected_by_its_row(case: Case) -> None:
    findings = validate(changed(case.type, case.changes))

    field = next(iter(case.changes)) if case.field is None else case.field
    assert (case.rule, case.code, field) in {(found.rule, found.code, found.field) for found in findings}
    assert {found.level for found in findings} == {"reject"}
    assert len({found.code for found in findings}) <= 2, "one breach should not be told in many ways"


WARNED = [
    Case("TIM-02", "stix-timestamp-coarse", "marking-definition", {"created": "2026-03-01T12:00:00Z"}),
    Case("IDN-03", "stix-id-not-random", "indicator", {"id": "indicator--0a3b8a0e-4f6c-5a57-8a4b-3f2d1c0b9a88"}),
    Case("SCO-01", "stix-id-not-computed", "url", {"id": "url--0a3b8a0e-4f6c-5a57-8a4b-3f2d1c0b9a88"}),
    Case("SCO-03", "stix-id-computed-of-nothing", "process", {"id": "process--0a3b8a0e-4f6c-5a57-8a4b-3f2d1c0b9a88"}),
    Case("SCO-06", "stix-not-applicable", "url", {"created": WHEN}),
    Case("SCO-06", "stix-not-applicable", "url", {"created_by_ref": IDENTITY}),
    Case("COM-02", "stix-not-applicable", "marking-definition", {"lang": "es"}),
    Case("COM-02", "stix-not-applicable", "language-content", {"lang": "es"}),
    Case("COM-04", "stix-language", "indicator", {"lang": "español"}),
    Case(
        "COM-04", "stix-language", "campaign",
        {"granular_markings": [{"selectors": ["name"], "lang": "e"}]}, "granular_markings[0].lang",
    ),
    Case(
        "COM-05", "stix-reference-id", "indicator",
        {"external_references[0]/external_id": "CVE-26-1"}, "external_references[0].external_id",
    ),
    Case("TYP-14", "stix-value-format", "ipv4-addr", {"value": "198.51.100.256"}),
    Case("TYP-14", "stix-value-format", "ipv4-addr", {"value": "198.51.100.0/33"}),
    Case("TYP-14", "stix-value-format", "ipv6-addr", {"value": "2001:db8::g"}),
    Case("TYP-14", "stix-value-format", "ipv6-addr", {"value": "fe80::1%eth0"}),
    Case("TYP-14", "stix-value-format", "ipv6-addr", {"value": "2001:db8::/129"}),
    Case("TYP-14", "stix-value-format", "domain-name", {"value": "gate[.]example.mx"}),
    Case("TYP-14", "stix-value-format", "email-addr", {"value": "ana.example.mx"}),
    Case("TYP-14", "stix-value-format", "mac-addr", {"value": "D2:FB:49:24:37:18"}),
    Case("TYP-14", "stix-value-format", "url", {"value": "hxxp://gate example"}),
    Case("TYP-15", "stix-contents-language", "language-content", {"contents": {"es_MX": {"name": "x"}}}),
    Case("EXT-07", "stix-unknown-property", "indicator", {"manifest_number": 1}),
]  # fmt: skip


@pytest.mark.parametrize("case", numbered(WARNED))
def test_a_doubtful_object_is_accepted_with_a_warning(case: Case) -> None:
    findings = validate(changed(case.type, case.changes))

    field = next(iter(case.changes)) if case.field is None else case.field
    assert [(found.rule, found.code, found.field, found.level) for found in findings] == [
        (case.rule, case.code, field, "warn")
    ]


def test_every_code_is_reached() -> None:
    assert {case.code for case in REJECTED + WARNED} | {"stix-not-object"} == set(WORDINGS)


def test_every_text_exists_in_both_languages() -> None:
    for case in REJECTED + WARNED:
        for found in validate(changed(case.type, case.changes)):
            assert found.en != found.es
            assert "{" not in found.en + found.es
            assert found.code == found.code.lower()
            assert found.rule in REJECTING or found.level == "warn" or found.rule == "MRK-02"


@pytest.mark.parametrize("value", [None, [], "x", 1, 1.5, True], ids=repr)
def test_only_a_json_object_is_an_object(value: Any) -> None:
    assert [found.code for found in validate(value)] == ["stix-not-object"]


def test_a_value_deeper_than_the_interpreter_can_walk_is_only_refused() -> None:
    assert [found.code for found in validate({**EXAMPLES["indicator"], "x_deep": nested(100_000)})] == ["stix-depth"]


def test_findings_are_bounded() -> None:
    obj = {**EXAMPLES["indicator"], **{f"X{number}": 1 for number in range(1000)}, "labels": [1] * 100_000}

    assert len(validate(obj)) == MAX_FINDINGS


def test_a_list_of_bad_items_costs_one_finding() -> None:
    assert len(validate({**EXAMPLES["indicator"], "labels": [1] * 100_000})) == 1


def test_the_accepted_types_are_those_of_the_standard() -> None:
    assert accepted_types == EXAMPLES.keys()
    assert len(accepted_types) == 19 + 2 + 18 + 3
