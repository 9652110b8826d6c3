"""The form of an agreement document: which tables and keys there are, and which words each may hold."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from policies.provisions import (
    Anonymity,
    Embargo,
    Emergency,
    OriginatorControl,
    Privacy,
    Reciprocity,
    Redaction,
    Retention,
    Sightings,
    Withdrawal,
)
from policies.words import (
    Assurance,
    Caveat,
    Confidence,
    Country,
    Date,
    Digest,
    Direction,
    Duration,
    ForbidId,
    Form,
    Granularity,
    Identity,
    MarkingId,
    Name,
    ObjectClass,
    Pap,
    PermitId,
    Prose,
    Status,
    Text,
    Time,
    Tlp,
    View,
)

SCHEMA: Final = "bilateral-sharing-agreement/1"


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
    """A named group. Clauses may be written for it, and originators may restrict an object to it."""

    members: list[Name]
    owner: Country
    may_extend: bool = False
    """Whether the owner's authority may add members between two versions of the document."""


class Designation(Form):
    """Who in a country names its members, and to which roles."""

    by: Name
    roles: list[Name]


class Purposes(Form):
    allowed: list[Name]
    excluded: list[Name] = []
    """What nothing exchanged may serve, whoever permits it. Handed to every recipient."""


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
    """By role of the recipient. A role without one receives nothing across the border."""
    direction: dict[Direction, dict[Name, Ceiling]] = {}
    """A lower one for a role in one direction, at home too. It narrows and never opens."""
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

    def is_empty(self) -> bool:
        return self.originator_consent is None and self.recipient_country_in is None


class Feedback(Form):
    within: Duration
    granularity: Granularity


class Then(Form):
    """The obligations a permit hands to the recipient, and how it is served."""

    identity: Identity = "anonymise"
    view: Literal["full", "tearline"] | None = None
    """Under "tearline" the recipient is served what the originator prepared for wider release, never the object."""
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
    attribution: Literal["must", "may", "must-not"] | None = None
    resale: Literal["may", "must-not"] | None = None
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


class FixtureMember(Form):
    """A member as tests see it: the recipient of a test, or the originator of its label."""

    country: Country
    roles: list[Name] = []
    sectors: list[Name] = []
    status: Status = "active"
    consent: Literal["named", "none"] = "none"
    audiences: list[Name] = []
    """Extensible audiences that its country has added it to."""


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
    audiences: list[Name] = []
    purposes: list[Name] | None = None
    not_before: Time | None = None
    cases: list[Name] = []
    terms: list[str] = []


class TestConsent(Form):
    """A consent that stands in an example. `from` is the originator who gave it."""

    from_: Name = Field(alias="from")
    case: Name | None = None
    members: list[Name] = []
    countries: list[Country] = []
    given: Time
    until: Time


class Expectation(Form):
    effect: Literal["permit", "deny"]
    rule: str | None = None
    forbid: str | None = None
    ceiling: str | None = None
    clause: str | None = None
    identity: Identity | None = None
    view: View | None = None
    blocking: Literal["may", "must-not"] | None = None
    obligations: dict[str, str] = {}
    """Some of them, by the names and words that a decision gives."""


class Example(Form):
    """One executable example. Without a recipient it asks whether the object may be submitted."""

    name: Text
    label: TestLabel
    recipient: Name | FixtureMember | None = None
    at: Time | None = None
    consents: list[TestConsent] = []
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
    designations: dict[Country, Designation] = {}
    audiences: dict[Name, Audience] = {}
    purposes: Purposes
    defaults: Defaults
    ceilings: Ceilings
    permit: list[Permit] = []
    forbid: list[Forbid] = []
    originator_control: OriginatorControl | None = None
    embargo: Embargo | None = None
    redaction: Redaction | None = None
    sightings: Sightings | None = None
    reciprocity: Reciprocity | None = None
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
