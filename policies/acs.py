"""Reading the ACS 3.0 markings of US agencies: the part of them that this hub can honour, and whether that was all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

ACS_EXTENSION: Final = "extension-definition--3a65884d-005a-4290-8335-cb2d778a83ce"

_COUNTRY: Final = {"USA": "US", "MEX": "MX"}
_ALL: Final = "ALL"
_KNOWN_CONTROLS: Final = frozenset(
    {"classification", "formal_determination", "caveat", "permitted_nationalities", "permitted_organizations"}
)
_DETERMINATIONS: Final[Mapping[str, str | None]] = {
    "PUBREL": None,
    "NF": "noforn",
    "AIS": None,
    "FOUO": None,
    "NO-PII-PRESENT": None,
    "PII-NECESSARY-TO-UNDERSTAND-THREAT": "pii-possible",
    "INFORMATION-DIRECTLY-RELATED-TO-CYBERSECURITY-THREAT": None,
}
_CAVEATS: Final = {"POSSIBLEPII": "pii-possible", "CISAPROPRIETARY": "proprietary"}
_READING: Final = frozenset({_ALL, "DSPLY"})
"""The privilege actions that release to a recipient exercises."""


@dataclass(frozen=True, slots=True)
class Acs:
    """What one ACS marking asks for."""

    caveats: frozenset[str]
    rel_to: frozenset[str] | None
    """Countries; None when it names no nationalities."""
    understood: bool
    """False when it restricts in a way a label cannot say: the caller must treat the marking as opaque as well."""


def read_acs(body: Mapping[str, Any]) -> Acs:
    """Read one ACS extension body. Total: what is malformed is "not understood", never an error.

    Order within ACS: `rule_effect: deny` first, then permits, then the defaults of `policy_reference`, which deny when
    they are absent. Anything but classification U is the caveat "classified", which submission refuses as a spill.
    """
    try:
        control = _table(body.get("control_set", {}))
        defaults = _defaults(body.get("policy_reference"))
        caveats, plain = _control_caveats(control)
        if not _foreign_sharing(body.get("further_sharing", []), defaults):
            caveats.add("noforn")
        nationalities, readable = _reading(body.get("access_privilege", []), defaults)
        own = _words(control.get("permitted_nationalities", [_ALL]))
        rel_to = _intersection(_nations(own), nationalities)
        organisations = _words(control.get("permitted_organizations", [_ALL]))
        return Acs(frozenset(caveats), rel_to, plain and readable and _ALL in organisations)
    except (TypeError, ValueError):
        # Whatever else is wrong with it: what says that it is classified is a spill.
        control = body.get("control_set", {})
        spill = isinstance(control, Mapping) and control.get("classification") != "U"
        return Acs(frozenset({"classified"} if spill else ()), None, understood=False)


def _control_caveats(control: Mapping[str, Any]) -> tuple[set[str], bool]:
    """The caveats of the control set, and whether every control in it is one we know."""
    caveats: set[str] = set()
    understood = _KNOWN_CONTROLS.issuperset(control)
    if control.get("classification") != "U":
        caveats.add("classified")
    for words, meaning in (("formal_determination", _DETERMINATIONS), ("caveat", _CAVEATS)):
        for word in _words(control.get(words, [])):
            if word not in meaning:
                understood = False
            elif caveat := meaning[word]:
                caveats.add(caveat)
    return caveats, understood


def _foreign_sharing(rules: object, defaults: Mapping[str, str]) -> bool:
    effects = [
        rule.get("rule_effect")
        for rule in _tables(rules)
        if not {"FOREIGNGOV", _ALL}.isdisjoint(_words(rule.get("sharing_scope", [])))
    ]
    if any(effect != "permit" for effect in effects):
        return False
    return bool(effects) or defaults.get("sharedefault") == "permit"


def _reading(rules: object, defaults: Mapping[str, str]) -> tuple[frozenset[str] | None, bool]:
    """Which countries may read (None: any), and whether the privileges can be honoured by country alone."""
    reading = [rule for rule in _tables(rules) if rule.get("privilege_action") in _READING]
    if not reading:
        return None, defaults.get("privdefault") == "permit"
    nations: frozenset[str] | None = None
    for rule in reading:
        scope = _table(rule.get("privilege_scope", {}))
        if rule.get("rule_effect") != "permit":
            return nations, False
        nations = _intersection(nations, _nations(_words(scope.get("permitted_nationalities", [_ALL]))))
        if any(_ALL not in _words(words) for key, words in scope.items() if key != "permitted_nationalities"):
            return nations, False
    return nations, True


def _defaults(reference: object) -> Mapping[str, str]:
    """`urn:isa:policy:acs:ns:v3.0?privdefault=deny&sharedefault=permit` as a table; empty when absent."""
    if reference is None:
        return {}
    if not isinstance(reference, str):
        raise TypeError("policy_reference is not text")
    return {key: values[-1] for key, values in parse_qs(urlsplit(reference).query).items()}


def _intersection(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _nations(words: tuple[str, ...]) -> frozenset[str] | None:
    """None for ALL; nations that are not parties to any agreement here fall away, so naming only them names nobody."""
    return None if _ALL in words else frozenset(_COUNTRY[word] for word in words if word in _COUNTRY)


def _words(value: object) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise TypeError("not a list of words")
    return tuple(str(word) for word in words)


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("not a table")
    return value


def _tables(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise TypeError("not a list of tables")
    return [_table(item) for item in value]
