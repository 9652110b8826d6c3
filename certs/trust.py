"""The trust list: whose roots count for which country, and who may approve, signed by both countries' approvers.

Neither country certifies the other. Each lists its own root, intermediates and approvers; a list is in force when both
countries' thresholds have signed the whole of it. Versions form a chain: no gap, no rollback.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from certs.authority import Authority
from certs.faults import PathFault, SignatureFault, TrustFault
from certs.jcs import JsonError, canonical, load
from certs.jws import sign_document, verify_document
from certs.keys import PrivateKey, thumbprint
from certs.path import check_path
from certs.profiles import APPROVAL, CLIENT

SCHEMA = "puente-trust-list/1"
TYPE = "trust-list+jws"
COUNTRIES = ("US", "MX")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Approvers(_Part):
    threshold: Annotated[int, Field(ge=1)]
    certificates: Annotated[list[str], Field(min_length=1)]
    """DER, base64."""


class CountryTrust(_Part):
    root: str
    intermediates: Annotated[list[str], Field(min_length=1)]
    crls: list[str] = []
    """Where its CRLs are published."""
    approvers: Approvers


class Body(_Part):
    """What is signed."""

    schema_: Literal["puente-trust-list/1"] = Field(alias="schema")
    version: Annotated[int, Field(ge=1)]
    prev_sha256: str | None
    issued: str
    expires: str
    algorithms: list[Literal["ES256"]]
    countries: dict[Literal["US", "MX"], CountryTrust]


@dataclass(frozen=True)
class TrustList:
    """A parsed list with its approvals. `verify` says whether it may come into force."""

    body: Body
    value: Mapping[str, Any]
    approvals: Mapping[str, list[str]]

    @classmethod
    def parse(cls, document: bytes) -> "TrustList":
        """Raises TrustFault for anything but `{"list": …, "approvals": {"US": [jws, …], "MX": [jws, …]}}`."""
        try:
            value = load(document, max_bytes=5_000_000)
            body = Body.model_validate(value["list"])
            approvals = value["approvals"]
            if set(body.countries) != set(COUNTRIES) or not set(approvals) <= set(COUNTRIES):
                raise ValueError
            if not all(isinstance(jws, str) for signed in approvals.values() for jws in signed):
                raise ValueError
        except (JsonError, ValidationError, ValueError, KeyError, TypeError, AttributeError):
            raise TrustFault("trust-form", "This is not a trust list.", "Esta no es una lista de confianza.") from None
        return cls(body, value["list"], approvals)

    @classmethod
    def draft(
        cls, authorities: Mapping[str, Authority], approvers: Mapping[str, list[x509.Certificate]], *,
        version: int, previous: "TrustList | None", issued: datetime, expires: datetime, threshold: int,
    ) -> "TrustList":  # fmt: skip
        """An unsigned list over the countries' authorities and approver certificates."""
        value = {
            "schema": SCHEMA,
            "version": version,
            "prev_sha256": previous.sha256 if previous else None,
            "issued": issued.isoformat(),
            "expires": expires.isoformat(),
            "algorithms": ["ES256"],
            "countries": {
                country: {
                    "root": _der64(authority.root),
                    "intermediates": [_der64(one) for one in authority.intermediates.values()],
                    "crls": [],
                    "approvers": {"threshold": threshold, "certificates": [_der64(one) for one in approvers[country]]},
                }
                for country, authority in authorities.items()
            },
        }
        return cls(Body.model_validate(value), value, {})

    def approve(self, country: str, key: PrivateKey, certificate: x509.Certificate) -> "TrustList":
        """The same list with one more approval."""
        jws = sign_document(self.value, typ=TYPE, key=key, certificate=certificate)
        approvals = {**self.approvals, country: [*self.approvals.get(country, []), jws]}
        return TrustList(self.body, self.value, approvals)

    def encode(self) -> bytes:
        return canonical(
            {"list": dict(self.value), "approvals": {name: list(one) for name, one in self.approvals.items()}}
        )

    @property
    def version(self) -> int:
        return self.body.version

    @cached_property
    def sha256(self) -> str:
        return sha256(canonical(dict(self.value))).hexdigest()

    def verify(self, previous: "TrustList | None", *, now: datetime) -> None:
        """Raise TrustFault unless the list follows `previous`, is in date, and both countries' thresholds approved it.

        Against a previous list its approvers count as well: nobody can put in new approvers by the new ones' word alone.
        The first list stands on its own approvers, whose fingerprints the two countries compared at the ceremony.
        """
        expected = (previous.version + 1, previous.sha256) if previous else (self.version, None)
        if (self.version, self.body.prev_sha256) != expected:
            raise TrustFault(
                "trust-order",
                "The trust list does not follow the one in force.",
                "La lista de confianza no sigue a la vigente.",
            )
        if not datetime.fromisoformat(self.body.issued) <= now < datetime.fromisoformat(self.body.expires):
            raise TrustFault(
                "trust-expired", "The trust list is not in date.", "La lista de confianza no está vigente."
            )
        self.check_approvals(self.value, self.approvals, typ=TYPE, at=now)
        if previous is not None:
            previous.check_approvals(self.value, self.approvals, typ=TYPE, at=now)

    def check_approvals(
        self, payload: Any, approvals: Mapping[str, list[str]], *, typ: str, at: datetime
    ) -> dict[str, list[str]]:
        """The approvers of each country whose signature over `payload` is good; each country must reach its threshold.

        A country's approvals count only by its own approvers, each once. Raises TrustFault naming the country that lacks.
        """
        found: dict[str, list[str]] = {}
        for country in COUNTRIES:
            known = {thumbprint(one): one for one in self.approvers(country) if self._may_approve(one, country, at)}
            names: set[str] = set()
            for jws in approvals.get(country, []):
                try:
                    names.add(verify_document(payload, jws, typ=typ, certificate_lookup=known.get))
                except SignatureFault:
                    continue  # a bad or foreign signature counts for nobody
            if len(names) < self.body.countries[country].approvers.threshold:  # type: ignore[index]
                raise TrustFault(
                    "approval-missing",
                    f"{country} has not approved: {len(names)} good signatures.",
                    f"{country} no ha aprobado: {len(names)} firmas válidas.",
                )
            found[country] = sorted(names)
        return found

    def approvers(self, country: str) -> list[x509.Certificate]:
        return [_certificate(one) for one in self._country(country).approvers.certificates]

    def check(self, certificate: x509.Certificate, country: str, *, purpose: ObjectIdentifier, at: datetime) -> None:
        """Raise PathFault unless the certificate leads to this country's root for this purpose at this time."""
        part = self._country(country)
        intermediates = [_certificate(one) for one in part.intermediates]
        check_path(certificate, intermediates, _certificate(part.root), purpose=purpose, at=at)

    def check_tls(self, certificate: x509.Certificate, country: str, *, at: datetime) -> None:
        """Raise PathFault unless this is a TLS client certificate of that country."""
        self.check(certificate, country, purpose=CLIENT, at=at)

    def tls_anchors_pem(self) -> list[str]:
        """Roots and intermediates of both countries, for a TLS listener that asks for client certificates."""
        parts = [part for country in COUNTRIES for part in (self._country(country),)]
        return [
            _certificate(one).public_bytes(Encoding.PEM).decode()
            for part in parts
            for one in (part.root, *part.intermediates)
        ]

    def _may_approve(self, certificate: x509.Certificate, country: str, at: datetime) -> bool:
        try:
            self.check(certificate, country, purpose=APPROVAL, at=at)
        except PathFault:
            return False
        return True

    def _country(self, country: str) -> CountryTrust:
        return self.body.countries[country]  # type: ignore[index]


def _der64(certificate: x509.Certificate) -> str:
    return b64encode(certificate.public_bytes(Encoding.DER)).decode()


def _certificate(text: str) -> x509.Certificate:
    return x509.load_der_x509_certificate(b64decode(text))
