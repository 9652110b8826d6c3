"""The cyber-observable objects of STIX 2.1, section 6."""

from typing import Annotated, Any, Literal, Required

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from exchange.intake.stix.common import STRICT, Observable, observable_type
from exchange.intake.stix.extensions import something
from exchange.intake.stix.fields import (
    Binary,
    Count,
    Dictionary,
    Hashes,
    Hex,
    Integer,
    ListOf,
    Timestamp,
    between,
    ref,
    ref_except,
)
from exchange.intake.stix.finding import Finding, breach
from exchange.intake.stix.rules import exactly_one_of, needs, ordered, some_of

ArtifactRef = Annotated[str, ref("artifact")]
EmailRef = Annotated[str, ref("email-addr")]
ContentRef = Annotated[str, ref("file", "directory")]
MacRef = Annotated[str, ref("mac-addr")]
SystemRef = Annotated[str, ref("autonomous-system")]
TrafficRef = Annotated[str, ref("network-traffic")]
AccountRef = Annotated[str, ref("user-account")]
ProcessRef = Annotated[str, ref("process")]
PeerRef = Annotated[str, ref("ipv4-addr", "ipv6-addr", "mac-addr", "domain-name")]
Port = Annotated[int, between(0, 65535, "TYP-12")]


@STRICT
class Artifact(Observable, total=False):
    mime_type: str
    payload_bin: Binary
    url: str
    hashes: Hashes
    encryption_algorithm: Literal["AES-256-GCM", "ChaCha20-Poly1305", "mime-type-indicated"]
    decryption_key: str


@STRICT
class AutonomousSystem(Observable, total=False):
    number: Required[Integer]
    name: str
    rir: str


@STRICT
class Directory(Observable, total=False):
    path: Required[str]
    path_enc: str
    ctime: Timestamp
    mtime: Timestamp
    atime: Timestamp
    contains_refs: ListOf[ContentRef]


@STRICT
class DomainName(Observable, total=False):
    value: Required[str]
    resolves_to_refs: ListOf[Annotated[str, ref("ipv4-addr", "ipv6-addr", "domain-name")]]


@STRICT
class EmailAddress(Observable, total=False):
    value: Required[str]
    display_name: str
    belongs_to_ref: AccountRef


@STRICT
class _MimePart(TypedDict, total=False):
    body: str
    body_raw_ref: Annotated[str, ref("artifact", "file")]
    content_type: str
    content_disposition: str


def _has_one_body(part: _MimePart) -> _MimePart:
    if ("body" in part) == ("body_raw_ref" in part):
        raise PydanticCustomError("stix-value", "stix-value")
    return part


@STRICT
class EmailMessage(Observable, total=False):
    is_multipart: Required[bool]
    date: Timestamp
    content_type: str
    from_ref: EmailRef
    sender_ref: EmailRef
    to_refs: ListOf[EmailRef]
    cc_refs: ListOf[EmailRef]
    bcc_refs: ListOf[EmailRef]
    message_id: str
    subject: str
    received_lines: ListOf[str]
    additional_header_fields: Dictionary
    body: str
    body_multipart: ListOf[Annotated[_MimePart, AfterValidator(_has_one_body)]]
    raw_email_ref: ArtifactRef


@STRICT
class File(Observable, total=False):
    hashes: Hashes
    size: Count
    name: str
    name_enc: str
    magic_number_hex: Hex
    mime_type: str
    ctime: Timestamp
    mtime: Timestamp
    atime: Timestamp
    parent_directory_ref: Annotated[str, ref("directory")]
    contains_refs: ListOf[
        Annotated[
            str,
            ref_except(
                "bundle", "marking-definition", "language-content", "extension-definition", "relationship", "sighting",
                allowed="observable",
            ),
        ]
    ]  # fmt: skip
    content_ref: ArtifactRef


@STRICT
class IpAddress(Observable, total=False):
    """Both versions: ipv4-addr and ipv6-addr."""

    value: Required[str]
    resolves_to_refs: ListOf[MacRef]
    belongs_to_refs: ListOf[SystemRef]


@STRICT
class ValueOnly(Observable, total=False):
    """mac-addr and url."""

    value: Required[str]


@STRICT
class Mutex(Observable, total=False):
    name: Required[str]


@STRICT
class NetworkTraffic(Observable, total=False):
    start: Timestamp
    end: Timestamp
    is_active: bool
    src_ref: PeerRef
    dst_ref: PeerRef
    src_port: Port
    dst_port: Port
    protocols: Required[ListOf[str]]
    src_byte_count: Count
    dst_byte_count: Count
    src_packets: Count
    dst_packets: Count
    ipfix: Dictionary
    src_payload_ref: ArtifactRef
    dst_payload_ref: ArtifactRef
    encapsulates_refs: ListOf[TrafficRef]
    encapsulated_by_ref: TrafficRef


@STRICT
class Process(Observable, total=False):
    is_hidden: bool
    pid: Integer
    created_time: Timestamp
    cwd: str
    command_line: str
    environment_variables: Dictionary
    opened_connection_refs: ListOf[TrafficRef]
    creator_user_ref: AccountRef
    image_ref: Annotated[str, ref("file")]
    parent_ref: ProcessRef
    child_refs: ListOf[ProcessRef]


@STRICT
class Software(Observable, total=False):
    name: Required[str]
    cpe: str
    swid: str
    languages: ListOf[str]
    vendor: str
    version: str


@STRICT
class UserAccount(Observable, total=False):
    user_id: str
    credential: str
    account_login: str
    account_type: str
    display_name: str
    is_service_account: bool
    is_privileged: bool
    can_escalate_privs: bool
    is_disabled: bool
    account_created: Timestamp
    account_expires: Timestamp
    credential_last_changed: Timestamp
    account_first_login: Timestamp
    account_last_login: Timestamp


@STRICT
class _RegistryValue(TypedDict, total=False):
    name: str
    data: str
    data_type: Literal[
        "REG_NONE", "REG_SZ", "REG_EXPAND_SZ", "REG_BINARY", "REG_DWORD", "REG_DWORD_BIG_ENDIAN",
        "REG_DWORD_LITTLE_ENDIAN", "REG_LINK", "REG_MULTI_SZ", "REG_RESOURCE_LIST", "REG_FULL_RESOURCE_DESCRIPTION",
        "REG_RESOURCE_REQUIREMENTS_LIST", "REG_QWORD", "REG_INVALID_TYPE",
    ]  # fmt: skip


@STRICT
class WindowsRegistryKey(Observable, total=False):
    key: str
    values: ListOf[Annotated[_RegistryValue, AfterValidator(something)]]
    modified_time: Timestamp
    creator_user_ref: AccountRef
    number_of_subkeys: Integer


@STRICT
class _X509Extensions(TypedDict, total=False):
    basic_constraints: str
    name_constraints: str
    policy_constraints: str
    key_usage: str
    extended_key_usage: str
    subject_key_identifier: str
    authority_key_identifier: str
    subject_alternative_name: str
    issuer_alternative_name: str
    subject_directory_attributes: str
    crl_distribution_points: str
    inhibit_any_policy: str
    private_key_usage_period_not_before: Timestamp
    private_key_usage_period_not_after: Timestamp
    certificate_policies: str
    policy_mappings: str


@STRICT
class X509Certificate(Observable, total=False):
    is_self_signed: bool
    hashes: Hashes
    version: str
    serial_number: str
    signature_algorithm: str
    issuer: str
    validity_not_before: Timestamp
    validity_not_after: Timestamp
    subject: str
    subject_public_key_algorithm: str
    subject_public_key_modulus: str
    subject_public_key_exponent: Integer
    x509_v3_extensions: Annotated[_X509Extensions, AfterValidator(something)]


def _own(model: Any) -> tuple[str, ...]:
    """The properties that a model adds to those of every observable."""
    common = Observable.__required_keys__ | Observable.__optional_keys__
    return tuple(sorted((model.__required_keys__ | model.__optional_keys__) - common))


def _bodies(copy: dict[str, Any]) -> Finding | None:
    wrong = "body" if copy["is_multipart"] else "body_multipart"
    return breach("stix-email-body", wrong) if wrong in copy else None


def _active_has_no_end(copy: dict[str, Any]) -> Finding | None:
    return breach("stix-active-ended", "end") if copy.get("is_active") and "end" in copy else None


OBSERVABLES = (
    observable_type(
        "artifact",
        Artifact,
        exactly_one_of("payload_bin", "url", rule="TYP-10"),
        needs("url", "hashes", rule="TYP-10"),
        needs("decryption_key", "encryption_algorithm", rule="COM-01"),
    ),
    observable_type("autonomous-system", AutonomousSystem),
    observable_type("directory", Directory),
    observable_type("domain-name", DomainName),
    observable_type("email-addr", EmailAddress),
    observable_type("email-message", EmailMessage, _bodies),
    observable_type("file", File, some_of("hashes", "name", rule="TYP-11")),
    observable_type("ipv4-addr", IpAddress),
    observable_type("ipv6-addr", IpAddress),
    observable_type("mac-addr", ValueOnly),
    observable_type("mutex", Mutex),
    observable_type(
        "network-traffic",
        NetworkTraffic,
        some_of("src_ref", "dst_ref", rule="TYP-12"),
        ordered("start", "end", rule="TYP-12"),
        _active_has_no_end,
        row="TYP-12",
    ),
    # 6.13, 6.16: a predefined extension is a property of its own too.
    observable_type("process", Process, some_of(*_own(Process), "extensions", rule="TYP-13")),
    observable_type("software", Software),
    observable_type("url", ValueOnly),
    observable_type("user-account", UserAccount, some_of(*_own(UserAccount), "extensions", rule="TYP-13")),
    observable_type("windows-registry-key", WindowsRegistryKey, some_of(*_own(WindowsRegistryKey), rule="TYP-13")),
    observable_type("x509-certificate", X509Certificate, some_of(*_own(X509Certificate), rule="TYP-13")),
)
