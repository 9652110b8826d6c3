"""One good object of every STIX 2.1 type, written for these tests; the people and hosts in them do not exist."""

from typing import Any

IDENTITY = "identity--4d5f3c11-6f3e-4a53-9d0b-5d1f8f2f6a01"
TLP_GREEN = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"
EXTENSION = "extension-definition--0f8a2d44-8c0b-4c4e-9b1d-1c64a1f7a2b3"
WHEN = "2026-03-01T12:00:00.000Z"
LATER = "2026-03-02T12:00:00.000Z"

UUID = "0a3b8a0e-4f6c-4a57-8a4b-3f2d1c0b9a88"


def identifier(name: str) -> str:
    return f"{name}--{UUID}"


def _versioned(name: str, /, **own: Any) -> dict[str, Any]:
    return {
        "type": name,
        "spec_version": "2.1",
        "id": identifier(name),
        "created_by_ref": IDENTITY,
        "created": WHEN,
        "modified": WHEN,
        **own,
    }


def _observable(name: str, /, **own: Any) -> dict[str, Any]:
    return {"type": name, "spec_version": "2.1", "id": identifier(name), **own}


_SEEN = {"first_seen": WHEN, "last_seen": LATER}
_PHASES = [{"kill_chain_name": "lockheed-martin-cyber-kill-chain", "phase_name": "delivery"}]

_EXAMPLES: list[dict[str, Any]] = [
    _versioned("attack-pattern", name="Phishing of brokers", kill_chain_phases=_PHASES, aliases=["Broker bait"]),
    _versioned("campaign", name="Dry dock", objective="Freight fraud", **_SEEN),
    _versioned("course-of-action", name="Close port 445"),
    _versioned("grouping", context="suspicious-activity", object_refs=[identifier("indicator")]),
    _versioned(
        "identity", name="Port of Manzanillo, invented", identity_class="organization", sectors=["transportation"],
    ),
    _versioned("incident", name="Gate outage"),
    _versioned(
        "indicator",
        name="C2 of Dry dock",
        indicator_types=["malicious-activity"],
        pattern="[ipv4-addr:value = '198.51.100.7']",
        pattern_type="stix",
        valid_from=WHEN,
        valid_until=LATER,
        kill_chain_phases=_PHASES,
        confidence=75,
        lang="es-MX",
        labels=["customs"],
        revoked=False,
        external_references=[{"source_name": "cve", "external_id": "CVE-2026-12345"}],
        object_marking_refs=[TLP_GREEN],
        granular_markings=[{"selectors": ["labels.[0]", "name"], "marking_ref": TLP_GREEN}],
        extensions={EXTENSION: {"extension_type": "property-extension", "signature": "abc", "levels": [1, 2]}},
    ),
    _versioned("infrastructure", name="Panel", infrastructure_types=["command-and-control"], **_SEEN),
    _versioned("intrusion-set", name="Tide", goals=["fraud"], resource_level="team", **_SEEN),
    _versioned("location", region="central-america", country="MX", latitude=19.05, longitude=-104.31, precision=10),
    _versioned(
        "malware",
        name="Bilge",
        is_family=True,
        malware_types=["bot"],
        sample_refs=[identifier("file")],
        operating_system_refs=[identifier("software")],
        **_SEEN,
    ),
    _versioned(
        "malware-analysis", product="sandbox", result="malicious", submitted=WHEN, sample_ref=identifier("file"),
        analysis_sco_refs=[identifier("file")],
    ),
    _versioned("note", content="Seen twice.", object_refs=[identifier("campaign")]),
    _versioned(
        "observed-data", first_observed=WHEN, last_observed=LATER, number_observed=3,
        object_refs=[identifier("ipv4-addr")],
    ),
    _versioned("opinion", opinion="agree", object_refs=[identifier("campaign")]),
    _versioned(
        "report", name="Dry dock", published=WHEN, report_types=["campaign"], object_refs=[identifier("campaign")],
    ),
    _versioned("threat-actor", name="Marea", threat_actor_types=["crime-syndicate"], roles=["agent"], **_SEEN),
    _versioned("tool", name="scp", tool_types=["exploitation"], tool_version="9.9"),
    _versioned("vulnerability", name="CVE-2026-12345"),
    _versioned(
        "relationship", relationship_type="indicates", source_ref=identifier("indicator"),
        target_ref=identifier("malware"), start_time=WHEN, stop_time=LATER,
    ),
    _versioned(
        "sighting", sighting_of_ref=identifier("indicator"), count=2, summary=False,
        observed_data_refs=[identifier("observed-data")],
        where_sighted_refs=[IDENTITY, identifier("location")], **_SEEN,
    ),
    _observable("artifact", mime_type="image/png", url="https://cdn.example/a.png", hashes={"SHA-256": "ab" * 32}),
    _observable("autonomous-system", number=64500, name="EXAMPLE"),
    _observable("directory", path="/tmp/x", ctime=WHEN, contains_refs=[identifier("file")]),
    _observable("domain-name", value="gate.example.mx", resolves_to_refs=[identifier("ipv4-addr")]),
    _observable("email-addr", value="ana@example.mx", display_name="Ana", belongs_to_ref=identifier("user-account")),
    _observable(
        "email-message", is_multipart=True, date=WHEN, subject="Pedimento", from_ref=identifier("email-addr"),
        to_refs=[identifier("email-addr")], additional_header_fields={"X-Mailer": "none"},
        body_multipart=[{"body": "Hola", "content_type": "text/plain"}, {"body_raw_ref": identifier("artifact")}],
    ),
    _observable(
        "file", hashes={"MD5": "0" * 32, "SHA-256": "0f" * 32}, size=0, name="x.exe", magic_number_hex="4d5a",
        parent_directory_ref=identifier("directory"), contains_refs=[identifier("file")],
        extensions={
            "ntfs-ext": {"sid": "S-1-5", "alternate_data_streams": [{"name": "zone", "size": 3}]},
            "pdf-ext": {"version": "1.7", "document_info_dict": {"Title": "x"}},
            "archive-ext": {"contains_refs": [identifier("file")]},
            "raster-image-ext": {"image_height": 1, "exif_tags": {"Make": "x", "XResolution": 4928}},
            "windows-pebinary-ext": {
                "pe_type": "exe", "machine_hex": "014c", "number_of_sections": 1,
                "time_date_stamp": "2026-01-01T00:00:00Z",
                "optional_header": {"magic_hex": "010b"}, "sections": [{"name": ".text", "entropy": 6.2, "size": 12}],
            },
        },
    ),
    _observable("ipv4-addr", value="198.51.100.0/24", belongs_to_refs=[identifier("autonomous-system")]),
    _observable("ipv6-addr", value="2001:db8::7", resolves_to_refs=[identifier("mac-addr")]),
    _observable("mac-addr", value="d2:fb:49:24:37:18"),
    _observable("mutex", name="__CLEANSWEEP__"),
    _observable(
        "network-traffic", src_ref=identifier("ipv4-addr"), dst_ref=identifier("domain-name"), dst_port=443, src_port=0,
        protocols=["ipv4", "tcp", "https"], start=WHEN, end=LATER, is_active=False, ipfix={"minimumIpTotalLength": 32},
        extensions={
            "http-request-ext": {
                "request_method": "get", "request_value": "/", "request_header": {"Host": ["a.example"]},
            },
            "icmp-ext": {"icmp_type_hex": "08", "icmp_code_hex": "00"},
            "socket-ext": {"address_family": "AF_INET", "socket_type": "SOCK_STREAM", "options": {"SO_DEBUG": 1}},
            "tcp-ext": {"src_flags_hex": "02"},
        },
    ),
    _observable(
        "process", pid=12, command_line="x -y", created_time=WHEN, environment_variables={"PATH": "/bin"},
        image_ref=identifier("file"), child_refs=[identifier("process")],
        extensions={
            "windows-process-ext": {"aslr_enabled": True, "integrity_level": "high"},
            "windows-service-ext": {"service_name": "x", "start_type": "SERVICE_AUTO_START"},
        },
    ),
    _observable("software", name="Word", cpe="cpe:2.3:a:microsoft:word:2000:*:*:*:*:*:*:*", languages=["en"]),
    _observable("url", value="https://gate.example.mx/a?b=%20#c"),
    _observable(
        "user-account", user_id="1001", account_login="ana", account_type="unix", is_privileged=False,
        account_created=WHEN, extensions={"unix-account-ext": {"gid": 1001, "groups": ["wheel"]}},
    ),
    _observable(
        "windows-registry-key", key="HKEY_LOCAL_MACHINE\\System", number_of_subkeys=0,
        values=[{"name": "Foo", "data": "qwerty", "data_type": "REG_SZ"}],
    ),
    _observable(
        "x509-certificate", serial_number="36:f7", issuer="C=MX", validity_not_before=WHEN, hashes={"SHA-1": "a" * 40},
        x509_v3_extensions={"basic_constraints": "critical,CA:TRUE"}, subject_public_key_exponent=65537,
    ),
    {
        "type": "marking-definition", "spec_version": "2.1", "id": identifier("marking-definition"), "created": WHEN,
        "created_by_ref": IDENTITY, "definition_type": "statement", "definition": {"statement": "Copyright"},
    },
    _versioned(
        "extension-definition", name="Manifests", schema="https://schema.example/x.json", version="1.0",
        extension_types=["toplevel-property-extension"], extension_properties=["manifest_number"],
    ),
    _versioned(
        "language-content", object_ref=identifier("campaign"), object_modified=WHEN,
        contents={"es": {"name": "Dique seco"}, "en-US": {"name": "Dry dock"}},
    ),
]  # fmt: skip

EXAMPLES: dict[str, dict[str, Any]] = {example["type"]: example for example in _EXAMPLES}
