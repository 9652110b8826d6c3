"""The agreement document: TOML in, a frozen Agreement out, or every mistake with its line and its reason in both languages."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies.label import TLP_ORDER

Country = Literal["US", "MX"]
Tlp = Literal["clear", "green", "amber", "amber+strict", "red"]
Pap = Literal["clear", "green", "amber", "red"]
Confidence = Literal["none", "low", "med", "high", "confirmed"]
Assurance = Literal["unsigned", "imported", "gateway-signed", "originator-signed"]
ObjectClass = Literal[
    "indicator", "malware", "infrastructure", "observed", "vulnerability", "context", "relation", "report", "other"
]
Direction = Literal["US>MX", "MX>US", "US>US", "MX>MX"]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
Duration = Annotated[str, Field(pattern=r"^[1-9]\d{0,4}[hd]$")]
RuleId = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*(-[A-Z0-9]+)*$")]
Words = Annotated[list[str], Field(min_length=1)]
"""An empty audience would match nobody; written down it is a mistake, so it is refused."""

SCHEMA = "bilateral-sharing-agreement/1"


def seconds(duration: str) -> int:
    """ "4h" and "30d" in seconds."""
    return int(duration[:-1]) * (3600 if duration.endswith("h") else 86_400)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Both(_Part):
    en: Annotated[str, Field(min_length=1)]
    es: Annotated[str, Field(min_length=1)]


class Basis(_Part):
    text: Both
    valid_until: Date


class Approvers(_Part):
    threshold: Annotated[int, Field(ge=1)]


class Party(_Part):
    authority: str
    gateway: str
    approvers: Approvers


class Vocabulary(_Part):
    sectors: Words
    roles: Words


class Audience(_Part):
    members: Words
    owner: Country
    may_extend: bool = False


class MinAssurance(_Part):
    cross_border: Assurance
    in_country: Assurance


class Defaults(_Part):
    effect: Literal["deny"]
    unmarked_as: Tlp
    unknown_marking: Literal["deny-cross-border"]
    dangling_endpoint: Literal["withhold", "allow"]
    min_assurance: MinAssurance
    on_expiry: Literal["in-country-continues", "stop"] = "in-country-continues"


class Ceiling(_Part):
    tlp: Tlp
    pap: Pap = "red"


class Ceilings(_Part):
    cross_border: Annotated[dict[str, Ceiling], Field(min_length=1)]
    anywhere: Ceiling


class From(_Part):
    countries: Annotated[list[Country], Field(min_length=1)] | None = None
    roles: Words | None = None
    sectors: Words | None = None
    members: Words | None = None


class To(_Part):
    countries: Annotated[list[Country], Field(min_length=1)] | None = None
    roles: Words | None = None
    sectors: Words | None = None
    members: Words | None = None
    audience: str | None = None
    sector_overlap: Literal["required"] | None = None
    status: Annotated[list[Literal["active", "suspended", "withdrawn"]], Field(min_length=1)] | None = None


class MaxTlp(_Part):
    max: Tlp


class MaxPap(_Part):
    max: Pap


class FloorConfidence(_Part):
    floor: Confidence


class FloorAssurance(_Part):
    floor: Assurance


class AnyOf(_Part):
    any: Words


class When(_Part):
    classes: Annotated[list[ObjectClass], Field(min_length=1)] | None = None
    tlp: MaxTlp | None = None
    pap: MaxPap | None = None
    confidence: FloorConfidence | None = None
    assurance: FloorAssurance | None = None
    only_assurance: Annotated[list[Assurance], Field(min_length=1)] | None = None
    sectors: AnyOf | None = None
    caveats: AnyOf | None = None
    opaque: Literal["present"] | None = None
    rel_to: Literal["present"] | None = None
    collections: Words | None = None
    feeds: Words | None = None
    consent: Literal["named"] | None = None
    purposes: Words | None = None


class Unless(_Part):
    originator_consent: Literal["valid"] | None = None
    recipient_country_in: Literal["rel_to"] | None = None


class Feedback(_Part):
    within: Duration
    granularity: Literal["count", "sector-count"]


class Then(_Part):
    identity: Literal["reveal", "reveal-with-consent", "country-only", "anonymise"] = "reveal-with-consent"
    delay: Duration | None = None
    retain: Duration | None = None
    onward: Literal["none", "own-org", "own-country", "with-consent"] | None = None
    permitted_actions: (
        Literal[
            "none",
            "contact-for-instruction",
            "internally-visible",
            "externally-visible-indirect",
            "externally-visible-direct",
        ]
        | None
    ) = None
    encrypt_in_transit: Literal["must", "may"] | None = None
    notify_affected: Literal["may", "must-not"] | None = None
    purpose: str | None = None
    sighting_feedback: Feedback | None = None
    acknowledge_within: Duration | None = None


class Rule(_Part):
    id: RuleId
    text: Both
    direction: Annotated[list[Direction], Field(min_length=1)] | None = None
    from_: From = Field(default_factory=From, alias="from")
    to: To = Field(default_factory=To)
    when: When = Field(default_factory=When)


class Permit(Rule):
    then: Then = Field(default_factory=Then)


class Forbid(Rule):
    unless: Unless | None = None


class OriginatorControl(_Part):
    answer_by: Literal["originator"]
    time_limit: Duration
    on_silence: Literal["refuse"]
    consent_valid: Duration


class Withdrawal(_Part):
    act_within: Duration
    ack: Literal["required", "asked"] = "asked"


class Emergency(_Part):
    tighten: Literal["any-one-party"]
    loosen: Literal["both"]
    max_overlay: Duration


class TestLabel(_Part):
    originator: str = "fixture"
    country: Country
    roles: list[str] = []
    sectors: list[str] = []
    tlp: Tlp = "clear"
    pap: Pap = "clear"
    caveats: list[str] = []
    rel_to: list[Country] | None = None
    object_class: ObjectClass = Field(default="indicator", alias="class")
    confidence: Confidence = "none"
    assurance: Assurance = "originator-signed"
    consent: Literal["named", "none"] = "none"
    collection: str = "indicators"
    feed: str = ""


class TestRecipient(_Part):
    country: Country
    roles: list[str] = []
    sectors: list[str] = []
    status: Literal["active", "suspended", "withdrawn"] = "active"


class Expect(_Part):
    effect: Literal["permit", "deny"]
    clause: str
    view: Literal["full", "anonymised"] | None = None


class InDocumentTest(_Part):
    name: str
    label: TestLabel
    recipient: str
    expect: Expect


class Document(_Part):
    """The form of the file. Unknown keys are errors everywhere."""

    schema_: Literal["bilateral-sharing-agreement/1"] = Field(alias="schema")
    agreement_id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: Annotated[int, Field(ge=1)]
    prev_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    title: Both
    effective_from: Time
    review_by: Time | None = None
    expires: Time
    legal_basis: dict[Country, Basis]
    parties: dict[Country, Party]
    vocabulary: Vocabulary
    audiences: dict[str, Audience] = {}
    purposes: Words
    defaults: Defaults
    ceilings: Ceilings
    permit: Annotated[list[Permit], Field(min_length=1)]
    forbid: list[Forbid] = []
    originator_control: OriginatorControl | None = None
    withdrawal: dict[Literal["error", "privacy", "legal", "compromise"], Withdrawal] = {}
    emergency: Emergency | None = None
    fixtures: dict[str, TestRecipient] = {}
    test: list[InDocumentTest] = []


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake in a document. `line` counts from 1; None when it is not in one place."""

    code: str
    line: int | None
    where: str
    en: str
    es: str


class AgreementError(ValueError):
    """A document that is not an agreement; `findings` has at least one entry."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(f"{one.where}: {one.en}" for one in findings))
        self.findings = findings


@dataclass(frozen=True, eq=False)
class Agreement:
    """A well-formed agreement. Two are the same when their `sha256` is."""

    document: Document
    canonical: bytes
    """The parsed document as RFC 8785 JSON: what is hashed and approved."""

    @property
    def sha256(self) -> str:
        return sha256(self.canonical).hexdigest()

    @property
    def agreement_id(self) -> str:
        return self.document.agreement_id

    @property
    def version(self) -> int:
        return self.document.version

    @property
    def prev_sha256(self) -> str | None:
        return self.document.prev_sha256

    @property
    def effective_from(self) -> str:
        return self.document.effective_from

    @property
    def expires(self) -> str:
        return self.document.expires

    @property
    def unmarked_as(self) -> str:
        return self.document.defaults.unmarked_as


def load(data: bytes) -> Agreement:
    """Read an agreement document. Raises AgreementError with every finding."""
    try:
        text = data.decode("utf-8")
        values = tomllib.loads(text)
    except UnicodeDecodeError:
        raise AgreementError(
            [Finding("encoding", None, "file", "The file is not UTF-8.", "El archivo no es UTF-8.")]
        ) from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        number = int(line.group(1)) if line else None
        raise AgreementError(
            [Finding("toml", number, "file", f"Not TOML: {error}.", "El archivo no es TOML válido.")]
        ) from None
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        raise AgreementError([_from_pydantic(one, text) for one in error.errors()]) from None
    findings = [
        Finding(code, _line(text, where), ".".join(map(str, where)), en, es) for code, where, en, es in _sense(document)
    ]
    if findings:
        raise AgreementError(findings)
    # No floats and no dates can occur (the models are strict), so sorted compact JSON is RFC 8785.
    return Agreement(document, json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


_KINDS: Mapping[str, tuple[str, str, str]] = {
    "extra_forbidden": (
        "unknown-key",
        "This key is not part of the language.",
        "Esta clave no forma parte del lenguaje.",
    ),
    "missing": ("missing-key", "This key is required.", "Esta clave es obligatoria."),
    "too_short": (
        "empty",
        "This list is empty, so it would match nobody.",
        "Esta lista está vacía, por lo que no abarcaría a nadie.",
    ),
    "string_too_short": ("empty", "This text is empty.", "Este texto está vacío."),
    "literal_error": ("unknown-word", "This word is not in the vocabulary.", "Esta palabra no está en el vocabulario."),
    "string_pattern_mismatch": (
        "form",
        "This value does not have the expected form.",
        "Este valor no tiene la forma esperada.",
    ),
}


def _from_pydantic(error: Any, text: str) -> Finding:
    where = tuple(part for part in error["loc"] if part not in ("function-after", "nullable"))
    code, en, es = _KINDS.get(
        error["type"], ("type", "This value is of the wrong kind.", "Este valor es del tipo equivocado.")
    )
    return Finding(code, _line(text, where), ".".join(map(str, where)), en, es)


def _line(text: str, where: tuple[Any, ...]) -> int | None:
    """The line of a path like ("permit", 2, "when", "tlp"): the table's header, then the key within it."""
    lines = text.splitlines()
    start = 0
    if len(where) > 1 and isinstance(where[1], int):
        headers = [n for n, line in enumerate(lines) if line.strip() == f"[[{where[0]}]]"]
        if where[1] >= len(headers):
            return None
        start, where = headers[where[1]] + 1, where[2:]
    names = [str(part) for part in where if isinstance(part, str)]
    for name in reversed(names):
        for number in range(start, len(lines)):
            if number > start and lines[number].lstrip().startswith("[[") and start:
                break
            if re.search(rf'(^|[\s.{{,\["]){re.escape(name)}("?\s*=|[\].])', lines[number]):
                return number + 1
    return start or None


_Trouble = tuple[str, tuple[Any, ...], str, str]


def _sense(doc: Document) -> Iterator[_Trouble]:
    """What is well-formed and still cannot be meant."""
    if not doc.effective_from < doc.expires:
        yield ("dates", ("expires",), "The agreement ends before it begins.", "El acuerdo termina antes de comenzar.")
    for country in ("US", "MX"):
        if country not in doc.parties or country not in doc.legal_basis:
            yield ("party", ("parties",), f"{country} is missing.", f"Falta {country}.")
    if (doc.version == 1) != (doc.prev_sha256 is None):
        yield (
            "order",
            ("prev_sha256",),
            "Every version but the first names its predecessor.",
            "Toda versión salvo la primera nombra a su predecesora.",
        )
    for role, ceiling in doc.ceilings.cross_border.items():
        if role not in doc.vocabulary.roles:
            yield _undefined(("ceilings", "cross_border", role), role)
        if TLP_ORDER.index(ceiling.tlp) > TLP_ORDER.index(doc.ceilings.anywhere.tlp):
            yield (
                "ceiling",
                ("ceilings", "cross_border", role),
                "This ceiling is above the one that holds anywhere.",
                "Este techo supera al que rige en todas partes.",
            )
    seen: set[str] = set()
    rules: list[tuple[str, int, Rule]] = [("permit", n, r) for n, r in enumerate(doc.permit)]
    rules += [("forbid", n, r) for n, r in enumerate(doc.forbid)]
    for kind, number, rule in rules:
        if rule.id in seen:
            yield (
                "duplicate-id",
                (kind, number, "id"),
                f"The id {rule.id} occurs twice.",
                f"El identificador {rule.id} aparece dos veces.",
            )
        seen.add(rule.id)
        yield from _names(doc, kind, number, rule)
    for number, test in enumerate(doc.test):
        if test.recipient not in doc.fixtures:
            yield _undefined(("test", number, "recipient"), test.recipient)


def _names(doc: Document, kind: str, number: int, rule: Rule) -> Iterator[_Trouble]:
    for side, part in (("from", rule.from_), ("to", rule.to)):
        for role in part.roles or ():
            if role not in doc.vocabulary.roles:
                yield _undefined((kind, number, side, "roles"), role)
        for sector in part.sectors or ():
            if sector not in doc.vocabulary.sectors:
                yield _undefined((kind, number, side, "sectors"), sector)
    for sector in rule.when.sectors.any if rule.when.sectors else ():
        if sector not in doc.vocabulary.sectors:
            yield _undefined((kind, number, "when", "sectors"), sector)
    for purpose in rule.when.purposes or ():
        if purpose not in doc.purposes:
            yield _undefined((kind, number, "when", "purposes"), purpose)
    if rule.to.audience is not None and rule.to.audience not in doc.audiences:
        yield _undefined((kind, number, "to", "audience"), rule.to.audience)
    if isinstance(rule, Permit) and rule.then.purpose is not None and rule.then.purpose not in doc.purposes:
        yield _undefined((kind, number, "then", "purpose"), rule.then.purpose)


def _undefined(where: tuple[Any, ...], name: str) -> _Trouble:
    return (
        "undefined",
        where,
        f"{name} is not defined in this document.",
        f"{name} no está definido en este documento.",
    )
