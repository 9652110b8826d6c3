"""Approvals: what an approver of a country signs, and whether it counts. Each way in which one may not has a code of its own.

    {"approval": {"agreement_id": …, "version": 7, "policy_sha256": …, "prev_sha256": …, "impact_sha256": …,
                  "effective_from": …, "approver": "us-appr-1", "country": "US", "decision": "approve"},
     "jws": detached JWS over the RFC 8785 form of `approval`, typ sharing-policy-approval+jws}

The file carries the words with the signature, so that one over other words can be told from a forged one. A tightening
is signed in the same form: `policy_sha256` is the overlay's digest then, `prev_sha256` that of the agreement beneath,
`impact_sha256` null, since an emergency does not wait for one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from cryptography import x509

from certs.document import CountryCode
from certs.faults import SignatureFault
from certs.jcs import JsonError, canonical, load
from certs.jws import sign_document, split_detached, verify_document
from certs.keys import PrivateKey, spki_pin
from certs.path import dns_name
from certs.trust import COUNTRIES, TrustList
from exchange.errors import Malformed, NotPermitted
from policies.clauses import Agreement
from policies.overlay import Overlay

APPROVAL_TYPE: Final = "sharing-policy-approval+jws"
LIMIT_BYTES: Final = 16_384

Words = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Approval:
    """What was said, and the signature under it."""

    words: Words
    jws: str

    @classmethod
    def parse(cls, data: bytes) -> "Approval":
        """Read an approval file. Raises Malformed (`approval-form`)."""
        try:
            value = load(data, max_bytes=LIMIT_BYTES, max_depth=3)
        except JsonError as error:
            raise Malformed(error.en, error.es, code="approval-form") from None
        words, jws = (value.get("approval"), value.get("jws")) if isinstance(value, dict) else (None, None)
        if not isinstance(words, dict) or not isinstance(jws, str) or len(value) != 2:
            raise Malformed(
                "An approval file has exactly the members approval and jws.",
                "Un archivo de aprobación tiene exactamente los miembros approval y jws.",
                code="approval-form",
            )
        return cls(words, jws)

    def encode(self) -> bytes:
        return orjson.dumps({"approval": dict(self.words), "jws": self.jws}, option=orjson.OPT_SORT_KEYS)


def of_agreement(agreement: Agreement, impact_sha256: str) -> dict[str, Any]:
    """What both countries say of a version: this agreement, these bytes, this impact, from this date."""
    return {
        "agreement_id": agreement.agreement_id,
        "version": agreement.version,
        "policy_sha256": agreement.sha256,
        "prev_sha256": agreement.prev_sha256,
        "impact_sha256": impact_sha256,
        "effective_from": agreement.effective_from,
    }


def of_overlay(overlay: Overlay) -> dict[str, Any]:
    """What one country says of its tightening."""
    document = overlay.document
    return {
        "agreement_id": document.agreement_id,
        "version": document.agreement_version,
        "policy_sha256": overlay.sha256,
        "prev_sha256": document.agreement_sha256,
        "impact_sha256": None,
        "effective_from": document.effective_from,
    }


def sign(
    words: Words, *, decision: str, key: PrivateKey, certificate: x509.Certificate, typ: str = APPROVAL_TYPE
) -> Approval:
    """An approval under an approver's certificate, which says who that is and for which country."""
    country, approver = named(certificate)
    said = {**words, "approver": approver, "country": country, "decision": decision}
    return Approval(said, sign_document(said, typ=typ, key=key, certificate=certificate))


def named(certificate: x509.Certificate) -> tuple[str, str]:
    """The country and the approver's name as agreements write it: `us-appr-1` of `appr-1.approvers.us.hub.example`."""
    labels = dns_name(certificate).split(".")
    country = labels[2] if len(labels) > 2 else ""
    return country.upper(), f"{country}-{labels[0]}"


# --- does it count? ---


@dataclass(frozen=True, slots=True)
class Voice:
    """One approver who said something that counts."""

    country: CountryCode
    approver: str
    decision: str
    key: str
    """Pin of the public key: two certificates of one key are one voice."""


def heard(
    approval: Approval,
    about: Words,
    decisions: Iterable[str],
    trust: TrustList,
    *,
    at: datetime,
    field: str = "approval",
    typ: str = APPROVAL_TYPE,
) -> Voice:
    """Whose approval it is, if it says one of these decisions about these words. `at` is when it was given.

    Raises NotPermitted: approval-form, approval-unknown, approval-forged, approval-name, approval-replayed,
    approval-impact, approval-decision.
    """
    try:
        header = split_detached(approval.jws, typ=typ)[1]
    except SignatureFault as fault:
        raise _refused("form", fault.en, fault.es, field) from None
    found = trust.approver(header.thumbprint, at=at)
    if found is None:
        raise _refused(
            "unknown",
            "It is by nobody whom the trust list names as an approver with a certificate in date.",
            "No es de nadie que la lista de confianza nombre como persona aprobadora con certificado vigente.",
            field,
        )
    country, certificate = found
    try:
        verify_document(
            dict(approval.words), approval.jws, typ=typ,
            certificate_lookup=lambda name: certificate if name == header.thumbprint else None,
        )  # fmt: skip
    except SignatureFault:
        raise _refused(
            "forged",
            "The signature is not over these words by this approver.",
            "La firma no es de esta persona aprobadora sobre estas palabras.",
            field,
        ) from None
    said = dict(approval.words)
    decision = said.pop("decision", None)
    if (said.pop("country", None), said.pop("approver", None)) != (country, named(certificate)[1]):
        raise _refused(
            "name",
            "It names another approver or country than its certificate does.",
            "Nombra a otra persona aprobadora o país que su certificado.",
            field,
        )
    _must_be_about(said, about, field)
    if decision not in decisions:
        raise _refused(
            "decision",
            f"It does not say {' or '.join(decisions)}.",
            f"No dice {' ni '.join(decisions)}.",
            field,
        )
    return Voice(country, named(certificate)[1], str(decision), spki_pin(certificate))


def _must_be_about(said: dict[str, Any], about: Words, field: str) -> None:
    # In canonical form: to Python, true is 1.
    if canonical(said) == canonical(dict(about)):
        return
    if canonical({**said, "impact_sha256": None}) == canonical({**about, "impact_sha256": None}):
        raise _refused(
            "impact",
            "It approves this document with another impact than the one attached.",
            "Aprueba este documento con otro impacto que el adjunto.",
            field,
        )
    if "act" in about:
        raise _refused(
            "replayed",
            "It is about another act, or about the same one in another state of the log.",
            "Se refiere a otro acto, o al mismo en otro estado del registro.",
            field,
        )
    raise _refused(
        "replayed",
        f"It is about another document: {said.get('agreement_id')} version {said.get('version')}.",
        f"Se refiere a otro documento: {said.get('agreement_id')} versión {said.get('version')}.",
        field,
    )


def _refused(code: str, en: str, es: str, field: str) -> NotPermitted:
    return NotPermitted(en, es, code=f"approval-{code}", field=field)


# --- is it enough? ---


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the approval of a draft has come, by country."""

    approved: Mapping[str, tuple[str, ...]]
    """Approvers who approve, and have not refused since."""
    needed: Mapping[str, int]
    of_old: Mapping[str, tuple[int, int]]
    """How many of them the version in force names as approvers, and how many it asks for."""

    @property
    def enough(self) -> bool:
        return not (self.lacking or self.swapped)

    @property
    def lacking(self) -> list[str]:
        return [country for country in COUNTRIES if len(self.approved[country]) < self.needed[country]]

    @property
    def swapped(self) -> list[str]:
        """Countries whose new approvers speak for themselves: those in force have not agreed to the change."""
        return [country for country, (given, needed) in self.of_old.items() if given < needed]

    def must_be_enough(self) -> None:
        """Raise NotPermitted: approval-missing, or approver-swap."""
        for country in self.lacking:
            raise _missing(country, len(self.approved[country]), self.needed[country])
        for country in self.swapped:
            given, needed = self.of_old[country]
            raise NotPermitted(
                f"The version names other approvers for {country}, and of those in force {given} of {needed} agree to that.",
                f"La versión nombra otras personas aprobadoras de {country}, y de las vigentes están de acuerdo {given} de {needed}.",
                code="approver-swap",
            )


def standing(voices: Sequence[Voice], new: Agreement, old: Agreement | None, trust: TrustList) -> Standing:
    """Count the voices. Those who speak must be approvers of the new version; and, as The Update Framework asks of a
    change of keys, enough of them of the one in force."""
    approved, needed, of_old = {}, {}, {}
    for country in COUNTRIES:
        counted = _counted(voices, country)
        party = new.document.parties[country].approvers
        approved[country] = tuple(name for name in counted if name in party.keys)
        needed[country] = max(party.threshold, trust.threshold(country))
        if old is not None:
            before = old.document.parties[country].approvers
            of_old[country] = (sum(name in before.keys for name in counted), before.threshold)
    return Standing(approved, needed, of_old)


def must_be_threshold(voices: Sequence[Voice], country: CountryCode, agreement: Agreement, trust: TrustList) -> None:
    """Raise NotPermitted (approval-missing) unless one country's approvers, as the agreement names them, are enough."""
    party = agreement.document.parties[country].approvers
    given = sum(name in party.keys for name in _counted(voices, country))
    needed = max(party.threshold, trust.threshold(country))
    if given < needed:
        raise _missing(country, given, needed)


def must_be_enough(voices: Sequence[Voice], countries: Iterable[str], trust: TrustList) -> None:
    """Raise NotPermitted (approval-missing) unless enough approvers of each country speak, as the trust list counts them."""
    for country in countries:
        given = len(_counted(voices, country))
        if given < trust.threshold(country):
            raise _missing(country, given, trust.threshold(country))


def _missing(country: str, given: int, needed: int) -> NotPermitted:
    return NotPermitted(
        f"{country} has not approved: {given} of {needed} approvals are good.",
        f"{country} no ha aprobado: {given} de {needed} aprobaciones son válidas.",
        code="approval-missing",
    )


def _counted(voices: Sequence[Voice], country: str) -> list[str]:
    """The approvers of a country who have not refused, each person and each key once."""
    refused = {voice.approver for voice in voices if voice.decision == "refuse"}
    by_key = {voice.key: voice.approver for voice in voices if voice.country == country}
    return sorted(set(by_key.values()) - refused)
