"""The form of an agreement document: which tables and keys there are, and which words each may hold."""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

SCHEMA: Final = "bilateral-sharing-agreement/1"

Country = Literal["US", "MX"]
Direction = Literal["US>MX", "MX>US", "US>US", "MX>MX"]
Tlp = Literal["clear", "green", "amber", "amber+strict", "red"]
Pap = Literal["clear", "green", "amber", "red"]
Confidence = Literal["none", "low", "med", "high", "confirmed"]
Assurance = Literal["unsigned", "imported", "gateway-signed", "originator-signed"]
ObjectClass = Literal[
    "indicator", "malware", "infrastructure", "observed", "vulnerability", "context", "relation", "report", "other"
]
Status = Literal["active", "suspended", "withdrawn"]
Identity = Literal["reveal", "reveal-with-consent", "country-only", "anonymise"]

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(duration: str) -> int:
    """A duration of the document ("90s", "30m", "4h", "180d") in seconds."""
    return int(duration[:-1]) * _UNIT_SECONDS[duration[-1]]


def instant(text: str) -> datetime:
    """An RFC 3339 time, aware. Raises ValueError for anything else, a time without offset included."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("a time without an offset")
    return parsed


def _must(code: str, accepts: Callable[[str], object]) -> AfterValidator:
    """A check on text whose failure bears our own stable code."""

    def check(value: str) -> str:
        try:
            accepted = accepts(value)
        except ValueError:
            accepted = None
        if not accepted:
            raise PydanticCustomError(code, "not of the expected form")
        return value

    return AfterValidator(check)


def _is_time(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) is not None and bool(instant(text))


def _is_date(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None and bool(date.fromisoformat(text))


Time = Annotated[str, _must("bad-date", _is_time)]
Date = Annotated[str, _must("bad-date", _is_date)]
Duration = Annotated[str, _must("bad-duration", re.compile(r"[1-9]\d{0,4}[smhd]", re.ASCII).fullmatch)]
Digest = Annotated[str, _must("bad-form", re.compile(r"[0-9a-f]{64}").fullmatch)]
Name = Annotated[str, _must("bad-form", re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*").fullmatch)]
"""A slug: of a member, role, sector, collection, feed, purpose. ASCII, so that keys sort the same everywhere."""
Prose = Annotated[str, _must("missing-text", str.strip)]
PermitId = Annotated[str, _must("bad-form", re.compile(r"P(-[A-Z0-9]+)+").fullmatch)]
ForbidId = Annotated[str, _must("bad-form", re.compile(r"F(-[A-Z0-9]+)+").fullmatch)]
Caveat = Annotated[
    str,
    _must(
        "unknown-word",
        re.compile(
            r"noforn|orcon|proprietary|pii-possible|classified|opaque(:marking-definition--[0-9a-f-]{36})?"
        ).fullmatch,
    ),
]
MarkingId = Annotated[str, _must("bad-form", re.compile(r"marking-definition--[0-9a-f-]{36}").fullmatch)]


class Form(BaseModel):
    """A table of the document. Unknown keys are errors everywhere; nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Text(Form):
    en: Prose
    es: Prose


class Basis(Form):
    text: Prose
    """A citation, in the language of the law it cites."""
    valid_until: Date


class Approvers(Form):
    threshold: Annotated[int, Field(ge=1)]
    keys: list[Name]


class Party(Form):
    authority: Name
    gateway: Name
    approvers: Approvers


class Vocabulary(Form):
    sectors: list[Name]
    roles: list[Name]
    collections: list[Name] | None = None
    feeds: list[Name] | None = None
    markings: list[MarkingId] = []
    """Foreign markings that both countries know and that therefore do not count as opaque."""


class Audience(Form):
    members: list[Name]
    owner: Country
    may_extend: bool = False


class Purposes(Form):
    allowed: list[Name]
    excluded: list[Name] = []


class MinAssurance(Form):
    cross_border: Assurance
    in_country: Assurance


class Defaults(Form):
    effect: Literal["deny"]
    unmarked_as: Tlp
    unknown_marking: Literal["deny-cross-border", "deny"]
    dangling_endpoint: Literal["withhold", "allow"]
    min_assurance: MinAssurance
    own_objects: Literal["read-back", "by-clause"] = "read-back"
    backfill: Duration | None = None
    """How far back reaches what a member is given when it joins, or when a label becomes visible to it."""
    on_expiry: Literal["in-country-continues", "stop"] = "stop"


class Ceiling(Form):
    tlp: Tlp
    pap: Pap = "red"


class Ceilings(Form):
    cross_border: dict[Name, Ceiling]
    anywhere: Ceiling


class From(Form):
    countries: list[Country] | None = None
    roles: list[Name] | None = None
    sectors: list[Name] | None = None
    members: list[Name] | None = None


class To(From):
    audience: Name | None = None
    sector_overlap: Literal["required"] | None = None
    status: list[Status] | None = None


class TlpLimit(Form):
    max: Tlp


class PapLimit(Form):
    max: Pap


class ConfidenceFloor(Form):
    floor: Confidence


class AssuranceTest(Form):
    floor: Assurance | None = None
    any: list[Assurance] | None = None


class AnySector(Form):
    any: list[Name]


class AnyCaveat(Form):
    any: list[Caveat]


class When(Form):
    classes: list[ObjectClass] | None = None
    tlp: TlpLimit | None = None
    pap: PapLimit | None = None
    confidence: ConfidenceFloor | None = None
    assurance: AssuranceTest | None = None
    sectors: AnySector | None = None
    caveats: AnyCaveat | None = None
    rel_to: Literal["present"] | None = None
    collections: list[Name] | None = None
    feeds: list[Name] | None = None
    consent: Literal["named", "none"] | None = None
    purposes: list[Name] | None = None


class Unless(Form):
    """What lifts a forbid. When both are written, both must hold."""

    originator_consent: Literal["valid"] | None = None
    recipient_country_in: Literal["rel_to"] | None = None


class Feedback(Form):
    within: Duration
    granularity: Literal["full", "sector-count", "count"]


class Then(Form):
    """The obligations a permit hands to the recipient, and how it is served."""

    identity: Identity = "anonymise"
    delay: Duration | None = None
    expires_after: Duration | None = None
    retain: Duration | None = None
    delete_by: Duration | None = None
    acknowledge_within: Duration | None = None
    onward: Literal["own-country", "own-org", "with-consent", "none"] | None = None
    permitted_actions: (
        Literal[
            "externally-visible-direct",
            "externally-visible-indirect",
            "internally-visible",
            "contact-for-instruction",
            "none",
        ]
        | None
    ) = None
    blocking: Literal["may", "must-not"] | None = None
    """Whether devices may block what it names. A permit that is silent on it does not let them."""
    encrypt_in_transit: Literal["may", "must"] | None = None
    notify_affected: Literal["may", "must-not"] | None = None
    sighting_feedback: Feedback | None = None


class Rule(Form):
    text: Text
    direction: list[Direction] | None = None
    from_: From = Field(default=From(), alias="from")
    to: To = To()
    when: When = When()


class Permit(Rule):
    id: PermitId
    direction: list[Direction]
    then: Then


class Forbid(Rule):
    id: ForbidId
    unless: Unless = Unless()


class OriginatorControl(Form):
    answer_by: Literal["originator"]
    time_limit: Duration
    on_silence: Literal["refuse"]
    consent_valid: Duration


class WithdrawalTerms(Form):
    act_within: Duration
    ack: Literal["required", "asked"] = "asked"


class Withdrawal(Form):
    error: WithdrawalTerms | None = None
    privacy: WithdrawalTerms | None = None
    legal: WithdrawalTerms | None = None
    compromise: WithdrawalTerms | None = None


class Emergency(Form):
    tighten: Literal["any-one-party"]
    loosen: Literal["both"]
    max_overlay: Duration


class Anonymity(Form):
    """How much the national gateways' objects may tell of where they come from, and when."""

    period: Duration
    """Their times are cut down to it, and originals are relayed together, once a period."""
    origin: Literal["country", "sector"]
    """Whether the sender's sectors are told beside its country and roles."""
    crowd: Annotated[int, Field(ge=1, le=100)]
    """The least number of active members who must share what is told: what fewer share is left out."""


class Retention(Form):
    default: Duration
    by_class: dict[ObjectClass, Duration] = {}
    audit_keeps: Literal["digest"] = "digest"


class Privacy(Form):
    contact: Annotated[str, _must("bad-form", re.compile(r"[^@\s]+@[^@\s]+").fullmatch)]
    refused: list[Name] = []


class FixtureMember(Form):
    """A member as tests see it: the recipient of a test, or the originator of its label."""

    country: Country
    roles: list[Name] = []
    sectors: list[Name] = []
    status: Status = "active"
    consent: Literal["named", "none"] = "none"


class Fixtures(Form):
    recipients: dict[Name, FixtureMember] = {}


class TestLabel(Form):
    """A label of which only what matters is written. `originator` may name a fixture and then brings its facets."""

    originator: Name | None = None
    country: Country | None = None
    roles: list[Name] | None = None
    sectors: list[Name] | None = None
    consent: Literal["named", "none"] | None = None
    tlp: Tlp = "green"
    pap: Pap = "clear"
    caveats: list[Caveat] = []
    rel_to: list[Country] | None = None
    object_class: ObjectClass = Field(default="indicator", alias="class")
    confidence: Confidence = "med"
    assurance: Assurance = "originator-signed"
    collection: Name = "indicators"
    feed: Name | None = None


class Expectation(Form):
    effect: Literal["permit", "deny"]
    rule: str | None = None
    forbid: str | None = None
    ceiling: str | None = None
    clause: str | None = None
    identity: Identity | None = None
    view: Literal["full", "anonymised"] | None = None
    blocking: Literal["may", "must-not"] | None = None


class Example(Form):
    """One executable example. Without a recipient it asks whether the object may be submitted."""

    name: Prose
    label: TestLabel
    recipient: Name | FixtureMember | None = None
    at: Time | None = None
    expect: Expectation


class Document(Form):
    schema_: Literal["bilateral-sharing-agreement/1"] = Field(alias="schema")
    agreement_id: Name
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    prev_sha256: Digest | None = None
    title: Text | None = None
    effective_from: Time
    review_by: Time | None = None
    expires: Time
    legal_basis: dict[Literal["us", "mx"], Basis]
    parties: dict[Country, Party]
    vocabulary: Vocabulary
    audiences: dict[Name, Audience] = {}
    purposes: Purposes
    defaults: Defaults
    ceilings: Ceilings
    permit: list[Permit] = []
    forbid: list[Forbid] = []
    originator_control: OriginatorControl | None = None
    withdrawal: Withdrawal | None = None
    emergency: Emergency | None = None
    anonymity: Anonymity | None = None
    """Without it no gateway relays anything."""
    retention: Retention | None = None
    privacy: Privacy | None = None
    fixtures: Fixtures = Fixtures()
    test: list[Example] = []

    def rules(self) -> list[tuple[str, int, "Permit | Forbid"]]:
        """Every rule with its table's name and its number in it."""
        permits: list[tuple[str, int, Permit | Forbid]] = [("permit", n, rule) for n, rule in enumerate(self.permit)]
        return permits + [("forbid", n, rule) for n, rule in enumerate(self.forbid)]


def empty_lists(value: Any, where: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where the parsed file holds an empty list: an empty audience would match nobody, so writing one is a mistake."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in empty_lists(inner, (*where, key))]
    if isinstance(value, list):
        inner_found = [found for n, inner in enumerate(value) for found in empty_lists(inner, (*where, n))]
        return inner_found if value else [where]
    return []
