"""What one country alone may do at once: a document of forbids over an agreement, for a short while.

    schema = "bilateral-sharing-overlay/1"
    overlay_id = "mx-2026-11-24-ports"
    agreement_id = "us-mx-trade-cyber"
    agreement_version = 7               # the version it was written for
    agreement_sha256 = "…"
    country = "MX"
    effective_from = "2026-11-24T12:00:00Z"
    expires = "2026-12-08T12:00:00Z"    # at most the agreement's [emergency] max_overlay later
    reason.en = "…"
    reason.es = "…"

    [[forbid]]
    id = "F-MX-PORTS"
    …

It can only take away: a forbid has no other effect. It may bear on what leaves the country, enters it or stays in it,
not on what stays in the other. It survives the version it was written for, since a version that was agreed before the
emergency must not end it; hence it may not use what only that version defines, an audience.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from policies.agreement import canonical_form, parse_toml
from policies.clauses import Agreement, compile_agreement
from policies.document import Forbid
from policies.findings import form_mistakes, sense_mistakes
from policies.mistakes import AgreementError, Mistake, locate
from policies.words import Country, Digest, Form, Name, Text, Time, instant, seconds

SCHEMA: Final = "bilateral-sharing-overlay/1"

LONGEST_SECONDS: Final = 30 * 86_400
"""Whatever an agreement says: beyond thirty days it takes two."""


class OverlayDocument(Form):
    schema_: Annotated[Literal["bilateral-sharing-overlay/1"], Field(alias="schema")]
    overlay_id: Name
    agreement_id: Name
    agreement_version: int
    agreement_sha256: Digest
    country: Country
    effective_from: Time
    expires: Time
    reason: Text
    forbid: Annotated[list[Forbid], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Overlay:
    """A sound overlay."""

    document: OverlayDocument
    sha256: str
    """Hexadecimal digest of its RFC 8785 form: what is signed."""

    @property
    def overlay_id(self) -> str:
        return self.document.overlay_id

    @property
    def country(self) -> Country:
        return self.document.country

    @property
    def expires(self) -> str:
        return self.document.expires


def parse_overlay(data: bytes) -> Overlay:
    """Read an overlay without the agreement beneath it: its form alone. Raises AgreementError."""
    text, values = parse_toml(data)
    if values.get("schema") != SCHEMA:
        wrong = Mistake("wrong-schema", ("schema",), f"The schema must be {SCHEMA}.", f"El esquema debe ser {SCHEMA}.")
        raise AgreementError(locate([wrong], text))
    try:
        return Overlay(OverlayDocument.model_validate(values), sha256(canonical_form(values)).hexdigest())
    except ValidationError as error:
        raise AgreementError(locate(form_mistakes(error, values), text)) from None


def load_overlay(data: bytes, agreement: Agreement) -> Overlay:
    """Read an overlay that is to be put over the agreement. Raises AgreementError with every finding of the first stage
    that has any."""
    text, values = parse_toml(data)
    overlay = parse_overlay(data)
    findings = locate(_mistakes(overlay.document, values, agreement), text)
    if findings:
        raise AgreementError(findings)
    return overlay


def overlaid(agreement: Agreement, overlays: Sequence[Overlay]) -> Agreement:
    """The agreement with the overlays' forbids: what is judged by while they last."""
    if not overlays:
        return agreement
    document = agreement.document
    forbids = [*document.forbid, *(rule for one in overlays for rule in one.document.forbid)]
    digest = sha256(" ".join([agreement.sha256, *(one.sha256 for one in overlays)]).encode()).hexdigest()
    return compile_agreement(document.model_copy(update={"forbid": forbids}), agreement.canonical, digest)


WITHHELD: Final = "F-SUSPENDED-ORIGINATOR"


def withholding(agreement: Agreement, originators: Collection[str]) -> Agreement:
    """The agreement while these originators are suspended: nothing of theirs is released to anybody, by a forbid like an overlay's."""
    if not originators:
        return agreement
    named = sorted(originators)
    text = {
        "en": "Nothing of a member that is suspended is released while it is.",
        "es": "Nada de un miembro suspendido se entrega mientras lo esté.",
    }
    forbid = Forbid.model_validate({"id": WITHHELD, "text": text, "from": {"members": named}})
    document = agreement.document.model_copy(update={"forbid": [*agreement.document.forbid, forbid]})
    digest = sha256(" ".join([agreement.sha256, WITHHELD, *named]).encode()).hexdigest()
    return compile_agreement(document, agreement.canonical, digest)


def _mistakes(document: OverlayDocument, values: Mapping[str, Any], agreement: Agreement) -> Iterator[Mistake]:
    # The agreement is sound, so what is wrong with it holding these forbids alone is wrong with them.
    bare = {"permit": [], "forbid": document.forbid, "test": []}
    yield from sense_mistakes(agreement.document.model_copy(update=bare), values)
    yield from _term(document, agreement)
    known = {clause.id for clause in (*agreement.permits, *agreement.forbids)}
    for number, rule in enumerate(document.forbid):
        if rule.id in known:
            yield Mistake(
                "duplicate-id",
                ("forbid", number, "id"),
                f"{rule.id} is a clause of the agreement.",
                f"{rule.id} es una cláusula del acuerdo.",
            )
        if rule.direction is None or any(document.country not in way for way in rule.direction):
            yield Mistake(
                "overlay-foreign",
                ("forbid", number, "direction"),
                f"It must name directions, each from or to {document.country}.",
                f"Debe nombrar los sentidos, y cada uno ha de salir de {document.country} o llegar a él.",
            )
        if rule.to.audience is not None:
            yield Mistake(
                "overlay-audience",
                ("forbid", number, "to", "audience"),
                "An overlay names members, not audiences.",
                "Una restricción de urgencia nombra miembros, no audiencias.",
            )


def _term(document: OverlayDocument, agreement: Agreement) -> Iterator[Mistake]:
    for key, given, right in (
        ("agreement_id", document.agreement_id, agreement.agreement_id),
        ("agreement_version", document.agreement_version, agreement.version),
        ("agreement_sha256", document.agreement_sha256, agreement.sha256),
    ):
        if given != right:
            yield Mistake(
                "overlay-agreement",
                (key,),
                f"It is for another agreement than the one in force ({right}).",
                f"Corresponde a otro acuerdo que el vigente ({right}).",
            )
    emergency = agreement.document.emergency
    if emergency is None:
        yield Mistake(
            "overlay-not-agreed",
            ("schema",),
            "The agreement has no [emergency] that lets one country act alone.",
            "El acuerdo no tiene una sección [emergency] que permita a un país actuar solo.",
        )
        return
    longest = min(seconds(emergency.max_overlay), LONGEST_SECONDS)
    lasts = instant(document.expires) - instant(document.effective_from)
    if not timedelta() < lasts <= timedelta(seconds=longest):
        yield Mistake(
            "overlay-term",
            ("expires",),
            f"It must last more than nothing and at most {longest // 86_400} days.",
            f"Debe durar algo y no más de {longest // 86_400} días.",
        )
