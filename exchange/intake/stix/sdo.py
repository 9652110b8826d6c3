"""The domain objects of STIX 2.1, section 4."""

from math import inf
from typing import Annotated, Any, Literal, Required

from exchange.intake.stix.common import STRICT, KillChainPhase, Versioned, domain_type
from exchange.intake.stix.fields import Dictionary, ListOf, Number, Text, Timestamp, between, ref, ref_except
from exchange.intake.stix.finding import Finding, breach
from exchange.intake.stix.rules import after, exactly_one_of, needs, ordered, some_of

AnyRef = Annotated[str, ref_except("bundle", allowed="any STIX object")]

_META = ("bundle", "marking-definition", "language-content", "extension-definition")
_DOMAIN = (
    "attack-pattern", "campaign", "course-of-action", "grouping", "identity", "incident", "indicator", "infrastructure",
    "intrusion-set", "location", "malware", "malware-analysis", "note", "observed-data", "opinion", "report",
    "threat-actor", "tool", "vulnerability",
)  # fmt: skip
SoftwareRef = Annotated[str, ref("software")]
ObservableRef = Annotated[str, ref_except(*_META, *_DOMAIN, "relationship", "sighting", allowed="observable")]
ObservedRef = Annotated[str, ref_except(*_META, *_DOMAIN, allowed="observable, relationship, sighting", rule="TYP-03")]


@STRICT
class AttackPattern(Versioned, total=False):
    name: Required[str]
    description: str
    aliases: ListOf[str]
    kill_chain_phases: ListOf[KillChainPhase]


@STRICT
class Campaign(Versioned, total=False):
    name: Required[str]
    description: str
    aliases: ListOf[str]
    first_seen: Timestamp
    last_seen: Timestamp
    objective: str


@STRICT
class CourseOfAction(Versioned, total=False):
    name: Required[str]
    description: str


@STRICT
class Grouping(Versioned, total=False):
    name: str
    description: str
    context: Required[str]
    object_refs: Required[ListOf[AnyRef]]


@STRICT
class Identity(Versioned, total=False):
    name: Required[str]
    description: str
    roles: ListOf[str]
    identity_class: str
    sectors: ListOf[str]
    contact_information: str


@STRICT
class Incident(Versioned, total=False):
    name: Required[str]
    description: str
    kill_chain_phases: ListOf[KillChainPhase]


@STRICT
class Indicator(Versioned, total=False):
    name: str
    description: str
    indicator_types: ListOf[str]
    pattern: Required[Text]
    pattern_type: Required[Text]
    pattern_version: str
    valid_from: Required[Timestamp]
    valid_until: Timestamp
    kill_chain_phases: ListOf[KillChainPhase]


@STRICT
class Infrastructure(Versioned, total=False):
    name: Required[str]
    description: str
    infrastructure_types: ListOf[str]
    aliases: ListOf[str]
    kill_chain_phases: ListOf[KillChainPhase]
    first_seen: Timestamp
    last_seen: Timestamp


@STRICT
class IntrusionSet(Versioned, total=False):
    name: Required[str]
    description: str
    aliases: ListOf[str]
    first_seen: Timestamp
    last_seen: Timestamp
    goals: ListOf[str]
    resource_level: str
    primary_motivation: str
    secondary_motivations: ListOf[str]


@STRICT
class Location(Versioned, total=False):
    name: str
    description: str
    latitude: Annotated[Number, between(-90, 90, "TYP-04")]
    longitude: Annotated[Number, between(-180, 180, "TYP-04")]
    precision: Annotated[Number, between(0, inf, "TYP-04")]
    region: str
    country: str
    administrative_area: str
    city: str
    street_address: str
    postal_code: str


@STRICT
class Malware(Versioned, total=False):
    name: str
    description: str
    malware_types: ListOf[str]
    is_family: Required[bool]
    aliases: ListOf[str]
    kill_chain_phases: ListOf[KillChainPhase]
    first_seen: Timestamp
    last_seen: Timestamp
    operating_system_refs: ListOf[SoftwareRef]
    architecture_execution_envs: ListOf[str]
    implementation_languages: ListOf[str]
    capabilities: ListOf[str]
    sample_refs: ListOf[Annotated[str, ref("artifact", "file")]]


@STRICT
class MalwareAnalysis(Versioned, total=False):
    product: Required[str]
    version: str
    host_vm_ref: SoftwareRef
    operating_system_ref: SoftwareRef
    installed_software_refs: ListOf[SoftwareRef]
    configuration_version: str
    modules: ListOf[str]
    analysis_engine_version: str
    analysis_definition_version: str
    submitted: Timestamp
    analysis_started: Timestamp
    analysis_ended: Timestamp
    result_name: str
    result: str
    analysis_sco_refs: ListOf[ObservableRef]
    sample_ref: ObservableRef


@STRICT
class Note(Versioned, total=False):
    abstract: str
    content: Required[str]
    authors: ListOf[str]
    object_refs: Required[ListOf[AnyRef]]


@STRICT
class ObservedData(Versioned, total=False):
    first_observed: Required[Timestamp]
    last_observed: Required[Timestamp]
    number_observed: Required[Annotated[int, between(1, 999_999_999, "TYP-03")]]
    objects: dict[str, Dictionary]
    """Deprecated since 2.1: observables without identity, of which only the shape is checked."""
    object_refs: ListOf[ObservedRef]


@STRICT
class Opinion(Versioned, total=False):
    explanation: str
    authors: ListOf[str]
    opinion: Required[Literal["strongly-disagree", "disagree", "neutral", "agree", "strongly-agree"]]
    object_refs: Required[ListOf[AnyRef]]


@STRICT
class Report(Versioned, total=False):
    name: Required[str]
    description: str
    report_types: ListOf[str]
    published: Required[Timestamp]
    object_refs: Required[ListOf[AnyRef]]


@STRICT
class ThreatActor(Versioned, total=False):
    name: Required[str]
    description: str
    threat_actor_types: ListOf[str]
    aliases: ListOf[str]
    first_seen: Timestamp
    last_seen: Timestamp
    roles: ListOf[str]
    goals: ListOf[str]
    sophistication: str
    resource_level: str
    primary_motivation: str
    secondary_motivations: ListOf[str]
    personal_motivations: ListOf[str]


@STRICT
class Tool(Versioned, total=False):
    name: Required[str]
    description: str
    tool_types: ListOf[str]
    aliases: ListOf[str]
    kill_chain_phases: ListOf[KillChainPhase]
    tool_version: str


@STRICT
class Vulnerability(Versioned, total=False):
    name: Required[str]
    description: str


def _family_has_name(copy: dict[str, Any]) -> Finding | None:
    return breach("stix-family-name", "name") if copy["is_family"] and "name" not in copy else None


_SEEN = ordered("first_seen", "last_seen", rule="TYP-02")

DOMAIN_OBJECTS = (
    domain_type("attack-pattern", AttackPattern),
    domain_type("campaign", Campaign, _SEEN),
    domain_type("course-of-action", CourseOfAction),
    domain_type("grouping", Grouping, row="TYP-07"),
    domain_type("identity", Identity),
    domain_type("incident", Incident),
    domain_type("indicator", Indicator, after("valid_from", "valid_until", rule="TYP-01"), row="TYP-01"),
    domain_type("infrastructure", Infrastructure, _SEEN),
    domain_type("intrusion-set", IntrusionSet, _SEEN),
    domain_type(
        "location",
        Location,
        needs("latitude", "longitude", rule="TYP-04"),
        needs("longitude", "latitude", rule="TYP-04"),
        needs("precision", "latitude", "longitude", rule="TYP-04"),
        some_of("region", "country", "latitude", rule="TYP-04"),
    ),
    domain_type("malware", Malware, _SEEN, _family_has_name, row="TYP-05"),
    domain_type(
        "malware-analysis", MalwareAnalysis, some_of("result", "analysis_sco_refs", rule="TYP-06"), row="TYP-06"
    ),
    domain_type("note", Note, row="TYP-07"),
    domain_type(
        "observed-data",
        ObservedData,
        ordered("first_observed", "last_observed", rule="TYP-03"),
        exactly_one_of("objects", "object_refs", rule="TYP-03"),
        row="TYP-03",
    ),
    domain_type("opinion", Opinion, row="TYP-07"),
    domain_type("report", Report, row="TYP-07"),
    domain_type("threat-actor", ThreatActor, _SEEN),
    domain_type("tool", Tool),
    domain_type("vulnerability", Vulnerability),
)
