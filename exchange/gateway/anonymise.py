"""From an original to the object that stands for it without its sender's name: a new object of few, known words. Pure.

Nothing is taken out of a copy; what may be told is put together anew, property by property. So what nobody thought of is
not told. Free text, labels, custom properties, extensions and the signature have no place in it; references go to public
catalogues only; times are cut down to the agreed period, and confidence to its band.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from exchange.errors import Text
from exchange.gateway import words
from exchange.gateway.faults import Unfit
from exchange.gateway.patterns import told as pattern_told
from exchange.gateway.traces import Traces
from exchange.intake.validate import rejections
from exchange.times import as_millis_text, parse_us
from policies.label import confidence_band

_MILLISECOND_US: Final = 1_000
_LAST_US: Final = parse_us("9999-12-31T23:59:59Z")


@dataclass(frozen=True, slots=True)
class Brief:
    """What the transform is told beside the original."""

    new_id: str
    identity: str
    """Of the gateway."""
    period_us: int
    markings: tuple[str, ...]
    ends: Callable[[str], str | None]
    """By what id the other country knows an object that this one refers to; None while it does not."""
    previous: Mapping[str, Any] | None = field(default=None)
    """The version sent before."""


def stand_in(original: Mapping[str, Any], brief: Brief, traces: Traces) -> dict[str, Any]:
    """The object to send in the original's stead, unsigned: transformed, judged by STIX's rules, and scanned. Raises Unfit."""
    new = anonymise(original, brief)
    fault = next(rejections(new), None)
    if fault is not None:
        raise Unfit("held", fault.code, Text(fault.en, fault.es))
    trace = traces.found_in(new)
    if trace is not None:
        raise Unfit(
            "held", "trace", Text(f"It would tell of its sender: {trace}.", f"Revelaría a su remitente: {trace}.")
        )
    return new


def anonymise(original: Mapping[str, Any], brief: Brief) -> dict[str, Any]:
    """The transform alone, before anything is looked for in what it made. Raises Unfit.

    `original` is an object that the hub took in, so its properties have the types that STIX gives them.
    """
    kind = original["type"]
    rules = _TYPES.get(kind)
    if rules is None:
        raise Unfit(
            "declined",
            "type",
            Text(
                f"Nothing of a {kind} can be told without its author's own words.",
                f"De un {kind} no puede decirse nada sin palabras de su autor.",
            ),
        )
    new: dict[str, Any] = {
        "type": kind,
        "spec_version": "2.1",
        "id": brief.new_id,
        "created_by_ref": brief.identity,
        **_version(original, brief),
        "object_marking_refs": list(brief.markings),
    }
    confidence = _CONFIDENCE.get(confidence_band(original.get("confidence")))
    references = _references(original)
    if confidence is not None:
        new["confidence"] = confidence
    if references:
        new["external_references"] = references
    for name, rule in rules.items():
        value = rule(original.get(name), original, brief)
        if value is not None:
            new[name] = value
    return new


def revoked(previous: Mapping[str, Any], *, at_us: int, period_us: int) -> dict[str, Any]:
    """The last version of an object (STIX 2.1, 3.6.2): it says what the one before said, and that it no longer counts."""
    return {**previous, "revoked": True, "modified": _later(previous, at_us - at_us % period_us)}


def _version(original: Mapping[str, Any], brief: Brief) -> dict[str, str]:
    modified = _us(original["modified"], brief)
    if brief.previous is None:
        return {"created": as_millis_text(_us(original["created"], brief)), "modified": as_millis_text(modified)}
    return {"created": brief.previous["created"], "modified": _later(brief.previous, modified)}


def _later(previous: Mapping[str, Any], us: int) -> str:
    return as_millis_text(max(us, parse_us(previous["modified"]) + _MILLISECOND_US))


def _us(text: str, brief: Brief) -> int:
    us = parse_us(text)
    return us - us % brief.period_us


def _references(original: Mapping[str, Any]) -> list[dict[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for one in original.get("external_references", ()):
        source, number = one.get("source_name"), one.get("external_id")
        if source in words.CATALOGUES and isinstance(number, str) and words.CATALOGUES[source](number):
            found[source, number] = None
    return [{"source_name": source, "external_id": number} for source, number in sorted(found)]


# --- what each property may say ---

_Rule = Callable[[Any, Mapping[str, Any], Brief], Any]

_CONFIDENCE: Final = {"low": 15, "med": 50, "high": 85, "confirmed": 95}
"""One number for each band (STIX 2.1, appendix A): an odd one could be somebody's habit."""


def _several(known: frozenset[str]) -> _Rule:
    return lambda value, _o, _b: [one for one in value or () if one in known] or None


def _one(known: frozenset[str]) -> _Rule:
    return lambda value, _o, _b: value if value in known else None


def _as_it_is(value: Any, _original: Mapping[str, Any], _brief: Brief) -> Any:
    return value


def _from(value: Any, _original: Mapping[str, Any], brief: Brief) -> str | None:
    return None if value is None else as_millis_text(_us(value, brief))[:19] + "Z"


def _until(value: Any, _original: Mapping[str, Any], brief: Brief) -> str | None:
    """Rounded up: what ends after it begins still does."""
    if value is None:
        return None
    us = -(-parse_us(value) // brief.period_us) * brief.period_us
    return as_millis_text(min(us, _LAST_US))[:19] + "Z"


def _phases(value: Any, _original: Mapping[str, Any], _brief: Brief) -> list[dict[str, str]] | None:
    known = [
        {"kill_chain_name": one["kill_chain_name"], "phase_name": one["phase_name"]}
        for one in value or ()
        if one["phase_name"] in words.KILL_CHAINS.get(one["kill_chain_name"], ())
    ]
    return known or None


def _end(value: Any, _original: Mapping[str, Any], brief: Brief) -> str:
    new = brief.ends(str(value))
    if new is None:
        raise Unfit(
            "waiting",
            "ends",
            Text("What it refers to has not crossed.", "Aquello a lo que se refiere no ha cruzado."),
        )
    return new


def _number(*sources: str, always: bool = True) -> _Rule:
    """A name that a public catalogue gives; else the type's own, for it must have one."""

    def rule(value: Any, original: Mapping[str, Any], _brief: Brief) -> str | None:
        for source in sources:
            numbers = [one["external_id"] for one in _references(original) if one["source_name"] == source]
            if isinstance(value, str) and words.CATALOGUES[source](value):
                return value
            if numbers:
                return numbers[0]
        return str(original["type"]).replace("-", " ") if always else None

    return rule


def _cve(value: Any, original: Mapping[str, Any], brief: Brief) -> str:
    name: str | None = _number("cve", always=False)(value, original, brief)
    if name is None:
        raise Unfit(
            "declined",
            "nothing-left",
            Text(
                "A vulnerability without a CVE has only its author's words.",
                "Una vulnerabilidad sin CVE solo tiene palabras de su autor.",
            ),
        )
    return name


def _family(_value: Any, original: Mapping[str, Any], brief: Brief) -> str | None:
    return _number("mitre-attack", always=original["is_family"])(None, original, brief)  # type: ignore[no-any-return]


def _pattern(value: Any, original: Mapping[str, Any], _brief: Brief) -> str:
    if original["pattern_type"] != "stix":
        kind = str(original["pattern_type"])[:40]
        raise Unfit(
            "held",
            "pattern-type",
            Text(f"A {kind} rule may say anything.", f"Una regla {kind} puede decir cualquier cosa."),
        )
    return pattern_told(value)


_SEEN: Final[dict[str, _Rule]] = {"first_seen": _from, "last_seen": _from}
_MOTIVES: Final[dict[str, _Rule]] = {
    "resource_level": _one(words.RESOURCE_LEVELS),
    "primary_motivation": _one(words.MOTIVATIONS),
    "secondary_motivations": _several(words.MOTIVATIONS),
}
_ATTACK: Final = _number("mitre-attack")

_TYPES: Final[Mapping[str, Mapping[str, _Rule]]] = {
    "indicator": {
        "indicator_types": _several(words.INDICATOR_TYPES),
        "pattern": _pattern,
        "pattern_type": _as_it_is,
        "pattern_version": lambda *_: "2.1",
        "valid_from": _from,
        "valid_until": _until,
        "kill_chain_phases": _phases,
    },
    "malware": {
        "name": _family,
        "is_family": _as_it_is,
        "malware_types": _several(words.MALWARE_TYPES),
        "kill_chain_phases": _phases,
        **_SEEN,
    },
    "tool": {"name": _ATTACK, "tool_types": _several(words.TOOL_TYPES), "kill_chain_phases": _phases},
    "infrastructure": {
        "name": _number(),
        "infrastructure_types": _several(words.INFRASTRUCTURE_TYPES),
        "kill_chain_phases": _phases,
        **_SEEN,
    },
    "attack-pattern": {"name": _number("mitre-attack", "capec"), "kill_chain_phases": _phases},
    "vulnerability": {"name": _cve},
    "campaign": {"name": _ATTACK, **_SEEN},
    "intrusion-set": {"name": _ATTACK, **_SEEN, **_MOTIVES},
    "threat-actor": {
        "name": _number(),
        "threat_actor_types": _several(words.THREAT_ACTOR_TYPES),
        "sophistication": _one(words.SOPHISTICATIONS),
        **_SEEN,
        **_MOTIVES,
    },
    "relationship": {
        "relationship_type": lambda value, _o, _b: value if value in words.RELATIONSHIP_TYPES else "related-to",
        "source_ref": _end,
        "target_ref": _end,
        "start_time": _from,
        "stop_time": _until,
    },
    "sighting": {"sighting_of_ref": _end, "count": _as_it_is, **_SEEN},
}
"""By type, the properties that may be told and what each may say. Reports, notes, identities, locations, observables and
custom objects are not there: they are their author's words, or places."""

REFERRING: Final = frozenset({"relationship", "sighting"})
"""Types whose ends must have crossed first."""
