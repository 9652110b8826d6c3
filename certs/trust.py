"""The trust list: whose roots, members and approvers count, signed whole by both countries' approvers.

Neither country certifies the other; each recognises the other's root by approving one document that lists both. Its
versions form a chain, each naming the digest of the one before. One country may alone withdraw what is its own, and
nothing else: a member's status, its keys, its gateway. Everything else needs both thresholds, of the list in force and
of the new one, so that nobody is made an approver by the new approvers' word alone.

    {"schema": "puente-trust-list/1", "version": 2, "prev_sha256": "…", "issued": "…", "expires": "…",
     "algorithms": ["ES256"], "countries": {"US": {…}, "MX": {…}}, "members": [{…}] or null,
     "approvals": {"US": [detached JWS, …], "MX": […]}}

Signed is the RFC 8785 form of all but `approvals`. `members: null` leaves membership to the hub's own registry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ObjectIdentifier
from pydantic import ValidationError

from certs.authority import Authority
from certs.document import (
    COUNTRIES,
    Approvals,
    CountryCode,
    CountryPart,
    Document,
    Member,
    certificate_of,
    certificate_text,
    inconsistencies,
    only_withdraws,
)
from certs.faults import PathFault, SignatureFault, TrustFault
from certs.jcs import Json, JsonError, canonical, load
from certs.jws import IMPLEMENTED, sign_document, verify_document
from certs.keys import PrivateKey, pem, spki_pin, thumbprint
from certs.path import Revocations, check_path, country_zone, dns_name, purposes
from certs.profiles import APPROVAL, CLIENT, INTERMEDIATES, SIGNING

__all__ = ["COUNTRIES", "Document", "Member", "TrustFault", "TrustList"]

TYPE: Final = "trust-list+jws"
LIMIT_BYTES: Final = 5_000_000

Use = Literal["signing", "tls"]

_CLOCK_TOLERANCE: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class TrustList:
    """A list in its right form, with the approvals it has. `verify` says whether it may come into force."""

    document: Document
    value: Mapping[str, Json]
    """The signed part as it was given: this is what is signed and hashed."""
    approvals: Mapping[str, Sequence[str]]

    # --- making ---

    @classmethod
    def parse(cls, data: bytes) -> "TrustList":
        """Read an encoded list. Raises TrustFault("trust-form")."""
        try:
            value = load(data, max_bytes=LIMIT_BYTES)
            approvals = Approvals.model_validate({"approvals": value.pop("approvals")}).approvals
        except JsonError as error:
            raise TrustFault("trust-form", error.en, error.es) from None
        except (ValidationError, KeyError, TypeError, AttributeError):
            raise _form("approvals", "approvals") from None
        return cls._of(value, {str(country): tuple(jws) for country, jws in approvals.items()})

    @classmethod
    def _of(cls, value: dict[str, Json], approvals: Mapping[str, Sequence[str]]) -> "TrustList":
        try:
            document = Document.model_validate(value)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise _form(where, error.errors()[0]["msg"]) from None
        for where, wrong in inconsistencies(document):
            raise _form(where, wrong)
        return cls(document, value, approvals)

    @classmethod
    def draft(
        cls,
        authorities: Mapping[str, Authority],
        approvers: Mapping[str, Sequence[x509.Certificate]],
        *,
        version: int,
        previous: "TrustList | None",
        issued: datetime,
        expires: datetime,
        threshold: int,
        members: Sequence[Mapping[str, Json]] | None = None,
        gateways: Mapping[str, str] | None = None,
        crls: Mapping[str, Sequence[str]] | None = None,
        hub: tuple[str, Sequence[x509.Certificate]] | None = None,
    ) -> "TrustList":
        """An unapproved list over both countries' authorities and approver certificates. Raises TrustFault.

        `members` are dicts in the form of `Member`; `gateways` names each country's gateway identity, `hub` the
        identity and the certificates of the hub's notices.
        """
        value = {
            "schema": "puente-trust-list/1",
            "version": version,
            "prev_sha256": previous.sha256 if previous else None,
            "issued": _text(issued),
            "expires": _text(expires),
            "algorithms": sorted(IMPLEMENTED),
            "countries": {
                str(country): {
                    "root": certificate_text(authority.root),
                    "intermediates": {name: certificate_text(one) for name, one in authority.intermediates.items()},
                    "crls": list((crls or {}).get(country, ())),
                    "approvers": {
                        "threshold": threshold,
                        "certificates": [certificate_text(one) for one in approvers[country]],
                    },
                    "gateway": (gateways or {}).get(country),
                }
                for country, authority in authorities.items()
            },
            "members": None if members is None else [dict(member) for member in members],
        }
        if hub is not None:
            value["hub"] = {"identity": hub[0], "certificates": [certificate_text(one) for one in hub[1]]}
        return cls._of(value, {})

    def successor(self, *, issued: datetime, **changes: Json) -> "TrustList":
        """The next version, unapproved: this one with some of its top-level members replaced. Raises TrustFault."""
        value = {
            **self.value,
            "version": self.version + 1,
            "prev_sha256": self.sha256,
            "issued": _text(issued),
            **changes,
        }
        return TrustList._of(value, {})

    def approve(self, country: str, key: PrivateKey, certificate: x509.Certificate) -> "TrustList":
        """The same list with one more approval, over the whole of it."""
        jws = sign_document(dict(self.value), typ=TYPE, key=key, certificate=certificate)
        held = self.approvals.get(country, ())
        return TrustList(self.document, self.value, {**self.approvals, str(country): (*held, jws)})

    def encode(self) -> bytes:
        """The canonical form with approvals: what is kept and sent."""
        approvals = {country: list(jws) for country, jws in self.approvals.items()}
        return canonical({**self.value, "approvals": approvals})

    # --- asking ---

    @property
    def version(self) -> int:
        return self.document.version

    @cached_property
    def sha256(self) -> str:
        """Digest of the signed part in hex, which the next version names."""
        return sha256(canonical(dict(self.value))).hexdigest()

    @cached_property
    def allowed_algorithms(self) -> frozenset[str]:
        return frozenset(self.document.algorithms) & IMPLEMENTED

    def gateway(self, country: str) -> str | None:
        """The identity of a country's gateway."""
        part = self._part(country)
        return part.gateway if part is not None else None

    def hub(self) -> tuple[str, list[x509.Certificate]] | None:
        """The hub's identity, and the certificates by which it signs notices."""
        part = self.document.hub
        return (part.identity, [certificate_of(one) for one in part.certificates]) if part is not None else None

    def member(self, identity_id: str) -> Member | None:
        return self._members.get(identity_id)

    def approvers(self, country: str) -> list[x509.Certificate]:
        part = self._part(country)
        return [certificate_of(one) for one in part.approvers.certificates] if part is not None else []

    def threshold(self, country: str) -> int:
        """How many of a country's approvers it takes."""
        return self.document.countries[country].approvers.threshold  # type: ignore[index]  # a str of COUNTRIES

    def approver(self, name: str, *, at: datetime) -> tuple[CountryCode, x509.Certificate] | None:
        """The country and the certificate of the approver with that thumbprint. None for a stranger, and for one whose
        certificate does not count at that time."""
        for country in COUNTRIES:
            for one in self.approvers(country):
                if thumbprint(one) == name and self._may_approve(one, country, at):
                    return country, one
        return None

    def intermediates(self) -> list[x509.Certificate]:
        """Every intermediate of both countries: who may issue certificates and revocation lists."""
        parts = self.document.countries.values()
        return [certificate_of(text) for part in parts for text in part.intermediates.values()]

    def check(
        self, certificate: x509.Certificate, country: str, *, purpose: ObjectIdentifier, at: datetime
    ) -> x509.Certificate:
        """The intermediate of that country that issued a certificate for this purpose. Raises PathFault.

        Only the intermediate that the list names for the purpose is tried, so a TLS intermediate cannot make signers.
        """
        part = self._part(country)
        if part is None:
            raise PathFault("untrusted", "is of a country without a root", "es de un país sin raíz")
        issuers = [
            certificate_of(text) for name, text in part.intermediates.items() if INTERMEDIATES.get(name) == purpose
        ]
        try:
            return check_path(certificate, issuers, certificate_of(part.root), purpose=purpose, at=at)
        except PathFault as fault:
            if fault.code == "untrusted" and self._issued_elsewhere(certificate, country):
                raise PathFault(
                    "wrong-country",
                    "was issued by another country",
                    "fue emitido por otro país",
                ) from fault
            raise

    def check_member(self, certificate: x509.Certificate, identity_id: str, country: str, *, use: Use) -> None:
        """Raise PathFault unless the list knows this member of this country as active, by this key and name.

        Codes: not-a-member, wrong-country, suspended, name, withdrawn. A list without members says nothing against it.
        """
        if self.document.members is None:
            return
        member = self._members.get(identity_id)
        if member is None:
            raise PathFault(
                "not-a-member",
                "belongs to a member that the trust list does not name",
                "pertenece a un miembro que la lista de confianza no nombra",
            )
        if member.country != country:
            raise PathFault(
                "wrong-country", "belongs to a member of another country", "pertenece a un miembro de otro país"
            )
        if member.status != "active":
            raise PathFault(
                "suspended",
                "belongs to a member that is suspended or withdrawn",
                "pertenece a un miembro suspendido o retirado",
            )
        if dns_name(certificate).split(".")[0] != member.slug:
            raise PathFault("name", "names another member", "nombra a otro miembro")
        if not _is_listed(certificate, member, use):
            raise PathFault("withdrawn", "is not listed for its member", "no figura en la lista para su miembro")

    def check_tls(
        self,
        certificate: x509.Certificate,
        country: str,
        *,
        at: datetime,
        identity_id: str | None = None,
        revocations: Revocations | None = None,
    ) -> None:
        """Raise PathFault unless this is a TLS client certificate of that country (and, if given, of that member)."""
        issuer = self.check(certificate, country, purpose=CLIENT, at=at)
        if identity_id is not None:
            self.check_member(certificate, identity_id, country, use="tls")
        word = revocations.of(certificate, issuer) if revocations is not None else None
        if word is not None and at >= word.revoked_at:
            raise PathFault("revoked", "has been revoked", "fue revocado")

    def tls_anchors_pem(self) -> list[str]:
        """Both roots and their TLS intermediates, for a listener that asks for client certificates.

        The library's answer is only that *a* country vouches; `check_tls` asks whether it is the member's own.
        """
        found = []
        for part in self.document.countries.values():
            names = [
                name for name, purpose in INTERMEDIATES.items() if purpose == CLIENT and name in part.intermediates
            ]
            found += [
                pem([certificate_of(text)]) for text in (part.root, *(part.intermediates[name] for name in names))
            ]
        return found

    def approved_by(self, country: str) -> list[str]:
        """The thumbprints of that country's approvers whose approval of this list is good, enough of them or not."""
        return self._approved_by(country, dict(self.value), self.approvals, TYPE, self.issued)

    # --- judging ---

    def check_approvals(
        self, payload: Json, approvals: Mapping[str, Sequence[str]], *, typ: str, at: datetime | None = None
    ) -> dict[str, list[str]]:
        """The thumbprints of each country's approvers whose signatures over `payload` are good.

        Each country must reach its threshold by approvers of its own, each person and each key once. `at` is when the
        approver certificates must be valid; without it, when this list was issued. Raises TrustFault naming who lacks.
        """
        moment = self.issued if at is None else at
        found = {country: self._approved_by(country, payload, approvals, typ, moment) for country in COUNTRIES}
        for country, names in found.items():
            needed = self.threshold(country)
            if len(names) < needed:
                raise TrustFault(
                    "approval-missing",
                    f"{country} has not approved: {len(names)} of {needed} approvals are good.",
                    f"{country} no ha aprobado: {len(names)} de {needed} aprobaciones son válidas.",
                )
        return found

    def verify(self, previous: "TrustList | None", *, now: datetime, pinned_sha256: str | None = None) -> None:
        """Raise TrustFault unless this list may come into force after `previous`.

        Without a previous one only version 1 may, or the one whose digest the caller pinned at a ceremony.
        """
        self._check_order(previous, pinned_sha256)
        if not self.issued - _CLOCK_TOLERANCE <= now < self.expires:
            raise TrustFault(
                "trust-expired", "The trust list is not in date.", "La lista de confianza no está vigente."
            )
        _check_hierarchies(self)
        try:
            self.check_approvals(dict(self.value), self.approvals, typ=TYPE, at=now)
            if previous is not None:
                previous.check_approvals(dict(self.value), self.approvals, typ=TYPE, at=now)
        except TrustFault:
            if previous is None or not any(self._is_withdrawal(previous, country, now) for country in COUNTRIES):
                raise

    @property
    def issued(self) -> datetime:
        return datetime.fromisoformat(self.document.issued)

    @property
    def expires(self) -> datetime:
        return datetime.fromisoformat(self.document.expires)

    def _check_order(self, previous: "TrustList | None", pinned: str | None) -> None:
        if previous is not None:
            good = (self.version, self.document.prev_sha256) == (previous.version + 1, previous.sha256)
        elif pinned is not None:
            good = self.sha256 == pinned
        else:
            good = (self.version, self.document.prev_sha256) == (1, None)
        if not good:
            raise TrustFault(
                "trust-order",
                "The trust list does not follow the one in force.",
                "La lista de confianza no sigue a la vigente.",
            )

    def _approved_by(
        self, country: str, payload: Json, approvals: Mapping[str, Sequence[str]], typ: str, at: datetime
    ) -> list[str]:
        known = {thumbprint(one): one for one in self.approvers(country) if self._may_approve(one, country, at)}
        good: list[str] = []
        seen: set[str] = set()
        for jws in approvals.get(country, ()):
            try:
                name = verify_document(payload, jws, typ=typ, certificate_lookup=known.get)
            except SignatureFault:
                continue  # it counts for nobody
            # Two certificates of one person, or of one key, are one approval.
            own = {dns_name(known[name]), spki_pin(known[name])}
            if not own & seen:
                good.append(name)
            seen |= own
        return good

    def _may_approve(self, certificate: x509.Certificate, country: str, at: datetime) -> bool:
        try:
            self.check(certificate, country, purpose=APPROVAL, at=at)
        except PathFault:
            return False
        return True

    def _is_withdrawal(self, previous: "TrustList", country: str, now: datetime) -> bool:
        """Whether the list only takes away what is `country`'s own, by the word of its approvers in force."""
        names = previous._approved_by(country, dict(self.value), self.approvals, TYPE, now)
        return len(names) >= previous.threshold(country) and only_withdraws(previous.document, self.document, country)

    def _issued_elsewhere(self, certificate: x509.Certificate, country: str) -> bool:
        others = [part for name, part in self.document.countries.items() if name != country]
        return any(
            _issued_by(certificate, certificate_of(text)) for part in others for text in part.intermediates.values()
        )

    def _part(self, country: str) -> CountryPart | None:
        return self.document.countries.get(country)  # type: ignore[call-overload,no-any-return]

    @cached_property
    def _members(self) -> dict[str, Member]:
        return {member.identity_id: member for member in self.document.members or ()}


def _check_hierarchies(trust: TrustList) -> None:
    """Raise TrustFault unless each country's certificates hang together and keep to a zone of its own."""
    zones = []
    for country, part in trust.document.countries.items():
        root = certificate_of(part.root)
        zone = country_zone(root)
        zones.append(zone)
        if not zone.startswith(f"{country.lower()}.") or not _issued_by(root, root):
            raise _form(f"countries.{country}.root", "it is not bound to this country")
        for name, text in part.intermediates.items():
            one = certificate_of(text)
            bound = name in INTERMEDIATES and purposes(one) == [INTERMEDIATES[name]] and country_zone(one) == zone
            if not bound or not _issued_by(one, root):
                raise _form(f"countries.{country}.intermediates.{name}", "it is not this country's, for this purpose")
        for one in trust.approvers(country):
            _must_lead(trust, one, country, APPROVAL, f"countries.{country}.approvers")
    if len(set(zones)) != len(zones):
        raise _form("countries", "the countries' zones are not apart")
    for member in trust.document.members or ():
        for text in member.signing or ():
            where = f"members.{member.slug}.signing"
            _must_lead(trust, certificate_of(text), member.country, SIGNING, where)
            if dns_name(certificate_of(text)).split(".")[0] != member.slug:
                raise _form(where, "it names another member")


def _must_lead(trust: TrustList, one: x509.Certificate, country: str, purpose: ObjectIdentifier, where: str) -> None:
    # Judged inside its own dates: an expired certificate may stay listed, it merely counts no more.
    try:
        trust.check(one, country, purpose=purpose, at=one.not_valid_before_utc)
    except PathFault as fault:
        raise _form(where, f"the certificate {fault.en}") from fault


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _is_listed(certificate: x509.Certificate, member: Member, use: Use) -> bool:
    if use == "tls":
        return member.tls_pins is None or spki_pin(certificate) in member.tls_pins
    return member.signing is None or certificate_text(certificate) in member.signing


# --- common ---


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _form(where: str, wrong: str) -> TrustFault:
    return TrustFault(
        "trust-form",
        f"The trust list is not in its form, at {where}: {wrong}.",
        f"La lista de confianza no tiene la forma debida, en {where}.",
    )
