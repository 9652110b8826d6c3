"""The relationship objects of STIX 2.1, section 5."""

from typing import Annotated, Required

from exchange.intake.stix.common import STRICT, Versioned, relationship_type
from exchange.intake.stix.fields import ListOf, Shape, Timestamp, between, ref, ref_except
from exchange.intake.stix.rules import after, ordered
from exchange.model.stix import SCO_TYPES

_NOT_CORE = ("bundle", "marking-definition", "language-content", "extension-definition", "relationship", "sighting")

EndRef = Annotated[str, ref_except(*_NOT_CORE, allowed="domain object, observable", rule="TYP-08")]
SightedRef = Annotated[str, ref_except(*_NOT_CORE, *sorted(SCO_TYPES), allowed="domain object", rule="TYP-09")]


@STRICT
class Relationship(Versioned, total=False):
    relationship_type: Required[Annotated[str, Shape("stix-relationship-type", "^[a-z0-9-]+$")]]
    description: str
    source_ref: Required[EndRef]
    target_ref: Required[EndRef]
    start_time: Timestamp
    stop_time: Timestamp


@STRICT
class Sighting(Versioned, total=False):
    description: str
    first_seen: Timestamp
    last_seen: Timestamp
    count: Annotated[int, between(0, 999_999_999, "TYP-09")]
    sighting_of_ref: Required[SightedRef]
    observed_data_refs: ListOf[Annotated[str, ref("observed-data", rule="TYP-09")]]
    where_sighted_refs: ListOf[Annotated[str, ref("identity", "location", rule="TYP-09")]]
    summary: bool


RELATIONSHIP_OBJECTS = (
    relationship_type("relationship", Relationship, after("start_time", "stop_time", rule="TYP-08"), row="TYP-08"),
    relationship_type("sighting", Sighting, ordered("first_seen", "last_seen", rule="TYP-02"), row="TYP-09"),
)
