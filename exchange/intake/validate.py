"""Whether one JSON value is a STIX 2.1 object: every broken rule is a finding, and nothing is changed or completed.

Bytes became a value in `certs.jcs.load`, which also refuses what is wrong with the JSON itself; the pattern of an
indicator is judged by `exchange.intake.pattern`. Rules that need other versions, the signer or the agreement are listed
in ELSEWHERE.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from exchange.intake.stix.common import StixType
from exchange.intake.stix.content import extension_findings, name_findings, odd_values, plain, unannounced
from exchange.intake.stix.faults import faults
from exchange.intake.stix.finding import Finding, breach
from exchange.intake.stix.markings import definition_findings, definition_warnings, marking_findings
from exchange.intake.stix.types import TYPES, identifier_finding, type_of
from exchange.intake.stix.values import language_findings, reference_findings, value_findings
from exchange.model.observables import sco_id

__all__ = ["ELSEWHERE", "MAX_FINDINGS", "Finding", "accepted_types", "rejections", "sco_id", "validate", "warnings"]

accepted_types: Final = frozenset(TYPES)
"""Every object type of STIX 2.1; a bundle is not one. Custom types are accepted besides (`stix.types`)."""

MAX_FINDINGS: Final = 50
"""Enough to mend an object by; a hostile one could break a rule a million times."""

ELSEWHERE: Final = {
    "JSN-01": "certs.jcs.load",
    "JSN-02": "certs.jcs.load",
    "JSN-04": "certs.jcs.load",
    "JSN-09": "certs.jcs.load, exchange.intake.parse",
    "JSN-10": "certs.jcs.load",
    "IDN-04": "nowhere: an identifier does not tell of which namespace it was computed; IDN-03 warns of any version 5",
    "IDN-05": "nowhere yet: it needs every UUID a producer has used, under whichever type",
    "SCO-02": "exchange.model.observables, by SCO-01",
    "TIM-05": "nowhere: whether a version is the first one is known to its creator alone",
    "TIM-06": "exchange.model.versions",
    "TIM-09": "exchange.model.versions",
    "TIM-10": "exchange.model.versions, certs.signature",
    "TIM-11": "exchange.model.versions",
    "TIM-12": "exchange.model.versions: a revocation with the version of what it revokes is a conflict",
    "TIM-14": "exchange.intake.examine",
    "PAT-01": "exchange.intake.pattern",
    "PAT-02": "exchange.intake.pattern",
    "PAT-03": "exchange.intake.pattern",
    "PAT-04": "exchange.intake.pattern",
    "PAT-05": "exchange.intake.pattern",
    "PAT-06": "exchange.intake.pattern",
    "MRK-10": "exchange.model.versions: other markings under the same version are a conflict",
    "EXT-02": "nowhere: what an extension redefines is known only from its schema",
}
"""Rows of the requirement list that the Hub column rejects or warns of, and that one object alone does not show."""


def validate(obj: Any) -> list[Finding]:
    """Every rule of STIX 2.1 that one object breaks; an empty list is a good object.

    Never raises, whatever JSON value it is given, and never modifies it. Warnings are looked for only where nothing is
    to be rejected, since they are notes on an object that is taken in. At most MAX_FINDINGS are returned.
    """
    return list(islice(rejections(obj), MAX_FINDINGS)) or list(islice(warnings(obj), MAX_FINDINGS))


def prepare() -> None:
    """Make the models of all types now, for a process that will judge objects: before others depend on how fast."""
    for kind in TYPES.values():
        kind.check  # noqa: B018  # kept from here on


def rejections(obj: Any) -> Iterator[Finding]:
    """The rules that keep an object out, found as they are asked for: nothing for one that may come in."""
    if not isinstance(obj, dict):
        yield breach("stix-not-object", "")
        return
    kind = type_of(obj)
    if isinstance(kind, Finding):
        yield kind
        return
    yield from _rejections(obj, kind)


def _rejections(obj: dict[str, Any], kind: StixType) -> Iterator[Finding]:
    if not plain(obj):
        yield from odd_values(obj)
    identifier = identifier_finding(obj)
    if identifier is not None:
        yield identifier
    if not obj.keys() <= kind.names:
        yield from name_findings(obj, kind)
    try:
        copy = kind.check(obj)
    except ValidationError as error:
        yield from faults(error, kind)
        return
    # From here on every property that the type defines has the type it should have.
    for rule in kind.rules:
        finding = rule(copy)
        if finding is not None:
            yield finding
    if "extensions" in obj:
        yield from extension_findings(obj["extensions"])
    if "granular_markings" in obj or kind.name == "marking-definition":
        yield from marking_findings(obj)
    if kind.name == "marking-definition":
        yield from definition_findings(obj)


def warnings(obj: dict[str, Any]) -> Iterator[Finding]:
    """What is doubtful in an object that `rejections` let in."""
    kind = type_of(obj)
    if isinstance(kind, Finding):
        return
    if not obj.keys() <= kind.names or not kind.not_applicable.isdisjoint(obj):
        yield from unannounced(obj, kind)
    version = obj["id"][-22]
    if kind.kind == "observable":
        yield from value_findings(obj)
        if version == "5" and kind.own:
            yield from _computed_id(obj)
    elif version != "4":
        yield breach("stix-id-not-random", "id")
    if kind.name == "marking-definition":
        yield from definition_warnings(obj)
    if not _SPOKEN.isdisjoint(obj) or kind.name == "language-content":
        yield from language_findings(obj)
    if "external_references" in obj:
        yield from reference_findings(obj)


_SPOKEN = frozenset({"lang", "granular_markings"})


def _computed_id(obj: dict[str, Any]) -> Iterator[Finding]:
    expected = sco_id(obj)
    if expected is None:
        yield breach("stix-id-computed-of-nothing", "id")
    elif expected != obj["id"]:
        yield breach("stix-id-not-computed", "id", expected=expected)
