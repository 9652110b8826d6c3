"""The form of a trust list, and what one country alone may change in it: only take away what is its own."""

from base64 import b64decode, b64encode
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, Literal

from cryptography import x509
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from certs.faults import KeyFault
from certs.keys import der, read_certificate

COUNTRIES: Final = ("US", "MX")
HUB_CERTIFICATES_AT_MOST: Final = 4


def _certificate_text(value: object) -> object:
    if isinstance(value, str):
        certificate_of(value)
    return value


@lru_cache(maxsize=1024)
def certificate_of(text: str) -> x509.Certificate:
    """The certificate behind base64 of its DER form. Raises ValueError."""
    try:
        return read_certificate(b64decode(text, validate=True))
    except KeyFault as fault:
        raise ValueError(fault.en) from None


def certificate_text(certificate: x509.Certificate) -> str:
    """Base64 of the DER form, as the trust list carries certificates."""
    return b64encode(der(certificate)).decode()


CertificateText = Annotated[str, BeforeValidator(_certificate_text)]
Identity = Annotated[str, StringConstraints(pattern=r"^identity--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
CountryCode = Literal["US", "MX"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Approvers(_Part):
    threshold: Annotated[int, Field(ge=1)]
    certificates: Annotated[list[CertificateText], Field(min_length=1, max_length=32)]


class CountryPart(_Part):
    root: CertificateText
    intermediates: Annotated[dict[str, CertificateText], Field(min_length=1)]
    """By name, one for each purpose: members-tls, members-signing, gateway, approvers."""
    crls: list[str]
    """Where its revocation lists are published."""
    approvers: Approvers
    gateway: Identity | None
    """The identity that signs anonymised objects for this country's operators."""


class HubPart(_Part):
    identity: Identity
    """What the hub's notices are by."""
    certificates: Annotated[list[CertificateText], Field(min_length=1, max_length=HUB_CERTIFICATES_AT_MOST)]
    """By which it signs them; no country's authority vouches for them but this list."""


class Names(_Part):
    en: str
    es: str


class Member(_Part):
    slug: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    identity_id: Identity
    country: CountryCode
    kind: str
    roles: list[str]
    sectors: list[str]
    status: Literal["active", "suspended", "withdrawn"]
    names: Names
    signing: list[CertificateText] | None = None
    """Its signing certificates; null for whatever its country's intermediate issued to this slug."""
    tls_pins: list[Digest] | None = None
    """SHA-256 of its TLS keys' public key info; null likewise."""


class Document(_Part):
    """The signed part."""

    schema_: Literal["puente-trust-list/1"] = Field(alias="schema")
    version: Annotated[int, Field(ge=1)]
    prev_sha256: Digest | None
    issued: Time
    expires: Time
    algorithms: Annotated[list[str], Field(min_length=1)]
    countries: dict[CountryCode, CountryPart]
    members: list[Member] | None
    hub: HubPart | None = None
    """Null, or not there, where the hub signs no notices."""


class Approvals(_Part):
    approvals: dict[CountryCode, Annotated[list[str], Field(max_length=64)]]


# --- form ---


def inconsistencies(document: Document) -> list[tuple[str, str]]:
    """Where a list of the right shape contradicts itself."""
    found: list[tuple[str, str]] = []
    if set(document.countries) != set(COUNTRIES):
        found.append(("countries", "both countries must be there"))
    for country, part in document.countries.items():
        if part.approvers.threshold > len(part.approvers.certificates):
            found.append((f"countries.{country}.approvers", "the threshold can never be reached"))
    members = document.members or []
    identities = [member.identity_id for member in members]
    identities += [part.gateway for part in document.countries.values() if part.gateway is not None]
    identities += [document.hub.identity] if document.hub is not None else []
    if len(set(identities)) != len(identities) or len({member.slug for member in members}) != len(members):
        found.append(("members", "a slug or an identity occurs twice"))
    if document.expires <= document.issued:
        found.append(("expires", "it must lie after issued"))
    for name in ("issued", "expires"):
        try:
            datetime.fromisoformat(getattr(document, name))
        except ValueError:
            found.append((name, "it is not a time"))
    return found


# --- withdrawal ---

_RANK: Final = {"active": 0, "suspended": 1, "withdrawn": 2}


def only_withdraws(old: Document, new: Document, country: str) -> bool:
    """Whether `new` does nothing but take away from `old` what is this country's own."""
    own = ("version", "prev_sha256", "issued", "countries", "members")
    if any(getattr(old, name) != getattr(new, name) for name in Document.model_fields if name not in own):
        return False
    for name, part in new.countries.items():
        before = old.countries[name]
        if part != before and (name != country or not _narrower_part(before, part)):
            return False
    if old.members is None or new.members is None:
        return old.members is None and new.members is None
    return _members_narrower(old.members, new.members, country)


def _narrower_part(old: CountryPart, new: CountryPart) -> bool:
    """Only a gateway or an intermediate was taken away; not that of its approvers, or no list could ever follow."""
    return (
        (new.root, new.crls, new.approvers) == (old.root, old.crls, old.approvers)
        and new.gateway in (old.gateway, None)
        and new.intermediates.items() <= old.intermediates.items()
        and ("approvers" in new.intermediates) == ("approvers" in old.intermediates)
    )


def _members_narrower(old: list[Member], new: list[Member], country: str) -> bool:
    if [one for one in old if one.country != country] != [one for one in new if one.country != country]:
        return False
    known = {one.identity_id: one for one in old if one.country == country}
    return all(
        one.identity_id in known and _narrower_member(known[one.identity_id], one)
        for one in new
        if one.country == country
    )


def _narrower_member(old: Member, new: Member) -> bool:
    changed = {"status", "signing", "tls_pins"}
    return (
        old.model_dump(exclude=changed) == new.model_dump(exclude=changed)
        and _RANK[new.status] >= _RANK[old.status]
        and _fewer(old.signing, new.signing)
        and _fewer(old.tls_pins, new.tls_pins)
    )


def _fewer(old: list[str] | None, new: list[str] | None) -> bool:
    if old is None or new is None:
        return old is None  # from "any of the country's" to a list is fewer; the other way round is more
    return set(new) <= set(old)
