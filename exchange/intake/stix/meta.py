"""The meta objects of STIX 2.1, section 7: markings, extension definitions, translations."""

from typing import Annotated, Any, Literal, Required

from exchange.intake.stix.common import STRICT, Core, ExternalReference, Versioned, meta_type
from exchange.intake.stix.fields import Dictionary, IdentityRef, ListOf, Timestamp, ref_except
from exchange.intake.stix.finding import Finding, breach
from exchange.intake.stix.rules import ordered

EXTENSION_TYPES = ("new-sdo", "new-sco", "new-sro", "property-extension", "toplevel-property-extension")


@STRICT
class MarkingDefinition(Core, total=False):
    spec_version: Required[Literal["2.1"]]
    created: Required[Timestamp]
    """TIM-02 is a warning here: it names no version, and published ACS markings lack the milliseconds."""
    created_by_ref: IdentityRef
    external_references: ListOf[ExternalReference]
    name: str
    definition_type: str
    definition: Dictionary


@STRICT
class ExtensionDefinition(Versioned, total=False):
    name: Required[str]
    description: str
    schema: Required[str]
    version: Required[str]
    extension_types: Required[
        ListOf[Literal["new-sdo", "new-sco", "new-sro", "property-extension", "toplevel-property-extension"]]
    ]
    extension_properties: ListOf[str]


@STRICT
class LanguageContent(Versioned, total=False):
    object_ref: Required[Annotated[str, ref_except("bundle", "language-content", allowed="any STIX object")]]
    object_modified: Timestamp
    contents: Required[dict[str, Dictionary]]


def _has_author(copy: dict[str, Any]) -> Finding | None:
    return None if "created_by_ref" in copy else breach("stix-missing", "created_by_ref", rule="EXT-03")


def _properties_of_toplevel(copy: dict[str, Any]) -> Finding | None:
    if "extension_properties" in copy and "toplevel-property-extension" not in copy["extension_types"]:
        return breach("stix-extension-properties", "extension_properties")
    return None


_NOT_BEFORE_CREATED = ordered("created", "modified", rule="TIM-03")

META_OBJECTS = (
    meta_type("marking-definition", MarkingDefinition),
    meta_type(
        "extension-definition",
        ExtensionDefinition,
        _NOT_BEFORE_CREATED,
        _has_author,
        _properties_of_toplevel,
        row="EXT-03",
        not_applicable=frozenset({"confidence", "lang", "extensions"}),
    ),
    meta_type(
        "language-content", LanguageContent, _NOT_BEFORE_CREATED, row="TYP-15", not_applicable=frozenset({"lang"})
    ),
)
