"""What STIX 2.1 objects have in common (sections 2 and 3), and how a type is declared."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NotRequired, Required, cast

from pydantic import AfterValidator, ConfigDict, TypeAdapter, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from exchange.intake.stix.extensions import Extensions
from exchange.intake.stix.fields import (
    Hashes,
    IdentityRef,
    ListOf,
    MarkingRef,
    Timestamp,
    VersionTimestamp,
    between,
)
from exchange.intake.stix.rules import Rule, ordered

STRICT = with_config(ConfigDict(strict=True))


@STRICT
class _ExternalReference(TypedDict, total=False):
    source_name: Required[str]
    description: str
    url: str
    hashes: Hashes
    external_id: str


def _says_something(reference: _ExternalReference) -> _ExternalReference:
    if not ("description" in reference or "url" in reference or "external_id" in reference):
        raise PydanticCustomError("stix-reference", "stix-reference")
    return reference


ExternalReference = Annotated[_ExternalReference, AfterValidator(_says_something)]


@STRICT
class KillChainPhase(TypedDict):
    kill_chain_name: str
    phase_name: str


@STRICT
class GranularMarking(TypedDict, total=False):
    selectors: Required[ListOf[str]]
    lang: str
    marking_ref: MarkingRef


@STRICT
class Core(TypedDict, total=False):
    """What every object may have. `type` and `id` are judged before the model is asked (`validate.py`)."""

    type: Required[str]
    id: Required[str]
    object_marking_refs: ListOf[MarkingRef]
    granular_markings: ListOf[GranularMarking]
    extensions: Extensions


@STRICT
class Versioned(Core, total=False):
    """Domain objects, relationships and the versioned meta objects (3.2, 3.6)."""

    spec_version: Required[Literal["2.1"]]
    created: Required[VersionTimestamp]
    modified: Required[VersionTimestamp]
    created_by_ref: IdentityRef
    revoked: bool
    labels: ListOf[str]
    confidence: Annotated[int, between(0, 100, "COM-03")]
    lang: str
    external_references: ListOf[ExternalReference]


@STRICT
class Observable(Core, total=False):
    """Cyber-observables. The lower half does not apply to them (3.2), but where it stands it must be of its type."""

    spec_version: NotRequired[Literal["2.1"]]
    defanged: bool

    created: Timestamp
    modified: Timestamp
    created_by_ref: IdentityRef
    revoked: bool
    labels: ListOf[str]
    confidence: Annotated[int, between(0, 100, "COM-03")]
    lang: str
    external_references: ListOf[ExternalReference]


NOT_FOR_OBSERVABLES = frozenset(
    ["created", "modified", "created_by_ref", "revoked", "labels", "confidence", "lang", "external_references"]
)


@dataclass(frozen=True)
class StixType:
    """One object type: the model of its properties, the names it defines, and the rules between them."""

    name: str
    kind: Literal["domain", "relationship", "observable", "meta"]
    model: Any
    names: frozenset[str]
    row: str
    """The requirement row that says what this type must have."""
    rules: tuple[Rule, ...] = ()
    not_applicable: frozenset[str] = frozenset()
    """Common properties that are modelled but do not belong to the type (COM-02)."""
    own: bool = True
    """False for a type that the Standard does not know: its properties are all its own."""

    @cached_property
    def check(self) -> Callable[[Any], dict[str, Any]]:
        """Returns the validated copy; raises pydantic's ValidationError. Made when first asked for: all of them take half a
        second, and most commands judge no object."""
        # The validator itself, not the adapter's method around it: a third of the time of a small object.
        return cast("Callable[[Any], dict[str, Any]]", TypeAdapter(self.model).validator.validate_python)


def domain_type(name: str, model: Any, *rules: Rule, row: str = "COM-01") -> StixType:
    """A type with versions. `modified` is never earlier than `created` (TIM-03)."""
    return _declare(name, "domain", model, (_NOT_BEFORE_CREATED, *rules), row)


def relationship_type(name: str, model: Any, *rules: Rule, row: str) -> StixType:
    return _declare(name, "relationship", model, (_NOT_BEFORE_CREATED, *rules), row)


def observable_type(name: str, model: Any, *rules: Rule, row: str = "COM-01") -> StixType:
    return _declare(name, "observable", model, rules, row, NOT_FOR_OBSERVABLES)


def meta_type(
    name: str, model: Any, *rules: Rule, row: str = "COM-01", not_applicable: frozenset[str] = frozenset()
) -> StixType:
    return _declare(name, "meta", model, rules, row, not_applicable)


_NOT_BEFORE_CREATED = ordered("created", "modified", rule="TIM-03")


def _declare(
    name: str,
    kind: Literal["domain", "relationship", "observable", "meta"],
    model: Any,
    rules: tuple[Rule, ...],
    row: str,
    not_applicable: frozenset[str] = frozenset(),
) -> StixType:
    names = model.__required_keys__ | model.__optional_keys__
    return StixType(name, kind, model, frozenset(names), row, rules, not_applicable)
