"""What pydantic found, in the words of our table."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exchange.intake.stix.common import StixType
from exchange.intake.stix.finding import Finding, Place, breach, path
from exchange.intake.stix.wordings import WORDINGS

_CODES = {
    "value_error": "stix-timestamp",
    "string_type": "stix-string",
    "string_unicode": "stix-string",
    "string_too_short": "stix-empty-string",
    "int_type": "stix-integer",
    "greater_than_equal": "stix-integer",
    "less_than_equal": "stix-integer",
    "float_type": "stix-number",
    "finite_number": "stix-number",
    "bool_type": "stix-boolean",
    "list_type": "stix-list",
    "dict_type": "stix-object",
    "literal_error": "stix-enumeration",
}


def faults(error: ValidationError, kind: StixType) -> Iterator[Finding]:
    """One finding per error, in the order of the properties."""
    for detail in error.errors(include_url=False):
        if detail["type"] == "missing":
            finding = _missing(detail["loc"], kind)
        elif detail["loc"] == ("spec_version",):
            finding = breach("stix-spec-version", "spec_version")
        else:
            finding = _wrong(detail)
        if finding is not None:
            yield finding


def _wrong(detail: ErrorDetails) -> Finding | None:
    if detail["input"] is None or detail["loc"] == ("id",):
        return None  # said already, for nulls at any depth and for identifiers
    code = detail["type"]
    facts: dict[str, Any] = dict(detail.get("ctx", {}))
    rule = facts.pop("rule", "")
    if code not in WORDINGS:
        code = _CODES.get(code, "stix-value")
        facts = {"allowed": facts["expected"].replace(" or ", ", ")} if "expected" in facts else {}
    return breach(code, path(detail["loc"]), rule=rule, **facts)


def _missing(loc: Place, kind: StixType) -> Finding | None:
    match loc:
        case ("id",):
            return None
        case ("spec_version",):
            return breach("stix-version-2-0", "spec_version")
        case ("created" | "modified",):
            return breach("stix-missing", path(loc), rule="TIM-04")
        case ("granular_markings", *_):
            return breach("stix-granular-marking", path(loc[:-1]))
        case ("kill_chain_phases", *_):
            return breach("stix-missing", path(loc), rule="COM-10")
        case ("external_references", *_):
            return breach("stix-missing", path(loc), rule="COM-05")
        case (_,):
            return breach("stix-missing", path(loc), rule=kind.row)
        case _:
            return breach("stix-missing", path(loc))
