"""Who takes part: members, what they may do, and the credentials by which they are known."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache


class Country(StrEnum):
    US = "US"
    MX = "MX"


class Status(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    WITHDRAWN = "withdrawn"


class Access(StrEnum):
    """Who may call a route. There is no default: each route says one of these."""

    ANYONE = "anyone"
    MEMBER = "member"
    AUDITOR = "auditor"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Member:
    """One agency, operator or auditor. `slug` is its name in commands, labels and ledger entries."""

    slug: str
    identity_id: str
    country: Country
    kind: str
    roles: tuple[str, ...]
    sectors: tuple[str, ...]
    name_en: str
    name_es: str
    status: Status = Status.ACTIVE
    default_tlp: str = ""
    """TLP given to its unmarked objects; "" leaves it to the agreement."""
    consents: bool = False
    """An operator's standing consent to be named across the border."""

    def __hash__(self) -> int:
        return hash(self.slug)  # every request looks members up; eleven fields would be hashed each time

    @property
    def auditor(self) -> bool:
        return "auditor" in self.roles

    def name(self, language: str) -> str:
        return self.name_es if language == "es" else self.name_en


@dataclass(frozen=True, slots=True)
class Credential:
    """How a machine of a member is known: an API token by its hash, or a TLS certificate by its thumbprint."""

    id: str
    member: str
    kind: str
    """"token" or "certificate"."""
    digest: bytes = field(repr=False)
    """SHA-256 of the token's secret, or of the certificate's DER form."""
    created_us: int
    expires_us: int
    ended_us: int | None = None
    note: str = ""
    certificate: bytes = b""
    """DER, for certificates: the path to its own country's root is checked when it is used."""
    product: str = ""
    """The product it was made for (`model.product`), whose habits the hub meets; "" for none in particular."""


@dataclass(frozen=True, slots=True)
class SigningCert:
    """A member's object-signing certificate (DER), as enrolled."""

    thumbprint: str
    member: str
    certificate: bytes
    added_us: int


@dataclass(frozen=True, slots=True)
class Collection:
    """A TAXII collection. Readers and writers are audience words: "all", "country:US", "role:agency", "member:us-cyber"."""

    id: str
    alias: str
    title: str
    description: str
    readers: tuple[str, ...]
    writers: tuple[str, ...]

    def can_read(self, member: Member) -> bool:
        return in_audience(self.readers, member)

    def can_write(self, member: Member) -> bool:
        return in_audience(self.writers, member)


@lru_cache(maxsize=4096)
def in_audience(words: tuple[str, ...], member: Member) -> bool:
    """Whether any word names the member. An empty audience is nobody; auditors read the ledger."""
    if member.auditor:
        return False
    own = {
        "all",
        f"country:{member.country}",
        f"member:{member.slug}",
        *(f"role:{role}" for role in member.roles),
    }
    return not own.isdisjoint(words)
