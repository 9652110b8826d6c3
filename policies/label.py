"""The label of an object version: the few facets an agreement can speak of, and the recipient it is judged against."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Protocol

import orjson
from pydantic import ConfigDict, TypeAdapter

from policies.markings import (
    CAVEAT_EXTENSION,
    CAVEAT_MARKINGS,
    PAP_ORDER,
    TLP_DEFINITIONS,
    TLP_ORDER,
    Marks,
    resolve_markings,
    strictest,
)

__all__ = [
    "ASSURANCE_ORDER",
    "CAVEAT_EXTENSION",
    "CAVEAT_MARKINGS",
    "CONFIDENCE_ORDER",
    "OBJECT_CLASSES",
    "PAP_ORDER",
    "TLP_DEFINITIONS",
    "TLP_ORDER",
    "Label",
    "Marks",
    "Recipient",
    "confidence_band",
    "object_class",
    "resolve_markings",
    "strictest",
]

CONFIDENCE_ORDER: Final = ("none", "low", "med", "high", "confirmed")
ASSURANCE_ORDER: Final = ("unsigned", "imported", "gateway-signed", "originator-signed")

OBJECT_CLASSES: Final = (
    "indicator",
    "malware",
    "infrastructure",
    "observed",
    "vulnerability",
    "context",
    "relation",
    "sighting",
    "report",
    "other",
)

NOTICE: Final = "notice"
"""The class of the hub's notices to one member, which counts as its own. No document can name it, and no object has it."""

_CLASS_OF_TYPE: Final = {
    **dict.fromkeys(("indicator",), "indicator"),
    **dict.fromkeys(
        ("malware", "malware-analysis", "tool", "attack-pattern", "campaign", "threat-actor", "intrusion-set"),
        "malware",
    ),
    **dict.fromkeys(("infrastructure",), "infrastructure"),
    **dict.fromkeys(
        (
            "observed-data", "artifact", "autonomous-system", "directory", "domain-name", "email-addr",
            "email-message", "file", "ipv4-addr", "ipv6-addr", "mac-addr", "mutex", "network-traffic", "process",
            "software", "url", "user-account", "windows-registry-key", "x509-certificate",
        ),
        "observed",
    ),
    **dict.fromkeys(("vulnerability", "course-of-action"), "vulnerability"),
    **dict.fromkeys(
        ("identity", "location", "marking-definition", "extension-definition", "language-content"), "context"
    ),
    **dict.fromkeys(("relationship",), "relation"),
    **dict.fromkeys(("sighting",), "sighting"),
    **dict.fromkeys(("report", "grouping", "note", "opinion", "incident"), "report"),
}  # fmt: skip


def object_class(stix_type: str) -> str:
    """The class of a STIX type. Total: a type nobody here knows is "other", which a permit must name to share."""
    return _CLASS_OF_TYPE.get(stix_type, "other")


def confidence_band(value: int | None) -> str:
    """The band of a STIX confidence (0..100), cut as STIX 2.1 Appendix A cuts None/Low/Med/High.

    "confirmed" starts at 90, the value by which the Appendix's Admiralty scale writes "confirmed by other sources"
    (None/Low/Med/High writes "High" as 85). An absent or out-of-range value is "none": a sender who says nothing has
    not vouched for anything.
    """
    if value is None or not 1 <= value <= 100:
        return "none"
    return "low" if value < 30 else "med" if value < 70 else "high" if value < 90 else "confirmed"


@dataclass(frozen=True, slots=True)
class Label:
    """What an agreement can know of one object version. Few values by design: a label is interned and judged once."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    collection: str
    originator: str
    """Member slug."""
    country: str
    """The originator's country, "US" or "MX"."""
    roles: tuple[str, ...]
    """The originator's roles."""
    sectors: tuple[str, ...]
    """Sorted."""
    tlp: str
    """One of TLP_ORDER, after defaults were applied. Any other value makes every decision an error, hence a denial."""
    pap: str
    """One of PAP_ORDER; "clear" when the object bears no PAP."""
    caveats: tuple[str, ...]
    """Sorted: "noforn", "orcon", "proprietary", "pii-possible", "classified", "opaque:<marking id>"."""
    rel_to: tuple[str, ...] | None
    """The only countries it may be released to; None when the originator named none."""
    object_class: str
    confidence: str
    """One of CONFIDENCE_ORDER."""
    assurance: str
    """One of ASSURANCE_ORDER."""
    consent: str
    """"named" when the originator agrees to be named to the recipients, else "none"."""
    feed: str
    """The feed's slug, or ""."""
    audiences: tuple[str, ...] = ()
    """Sorted: the agreement's named groups that its originator restricts it to. A recipient must be in every one."""
    purposes: tuple[str, ...] | None = None
    """Sorted: the only purposes its originator lets it serve; None when it named none."""
    not_before: str = ""
    """The hour before which nobody but its originator has it ("2027-01-15T06:00:00Z"), or ""."""
    cases: tuple[str, ...] = ()
    """Sorted: handles under which the originator controls it and is asked for consent. Only beside "orcon"."""
    terms: tuple[str, ...] = ()
    """Sorted: what its markings ask of a recipient, as "obligation=word"."""
    named: str = ""
    """Of a definition or an identity that may be opened by what cites it (policies.cited): its id. Else ""."""
    marked: bool = False
    """Whether it bears a level of its own. Only beside `named`."""
    cites: tuple[str, ...] = ()
    """Sorted: the definitions it bears, and its creator, by their ids."""
    ends: tuple[tuple["Label", ...], ...] = ()
    """Of what it refers to, and what that refers to: for each the labels it lies under, one of which is enough to have it. None
    stands for what the hub does not hold. They have no ends of their own."""

    @property
    def alone(self) -> "Label":
        """What it says of the object itself."""
        return replace(self, ends=()) if self.ends else self

    @property
    def as_end(self) -> "Label":
        """What it is judged by where something refers to it: what cites it opens no end, nor what it cites."""
        return (
            replace(self, named="", marked=False, cites=(), ends=()) if self.named or self.cites or self.ends else self
        )

    @property
    def originators(self) -> frozenset[str]:
        """Its own, and those of its ends: members for whom OWN may decide."""
        return frozenset([self.originator, *[one.originator for end in self.ends for one in end]])

    @property
    def embargoes(self) -> frozenset[str]:
        """The hours at which its own ends, and those of its ends."""
        found = {one.not_before for end in self.ends for one in end}
        return frozenset({self.not_before, *found} - {""})

    def joined(self, ends: Iterable[Iterable["Label"]]) -> "Label":
        """The label of an object that refers to what lies under these. Ends that say nothing new are left out."""
        own = self.as_end
        told = {tuple(sorted(set(end), key=Label.encode)) for end in ends}
        kept = [end for end in told if own not in end]
        return replace(self, ends=tuple(sorted(kept, key=lambda end: [one.encode() for one in end])))

    def value_at_end(self) -> "Label":
        """What the id of an observable is judged by where the hub does not hold it: it gives the value away, which then is the
        referring object's own content."""
        return replace(self.as_end, object_class="observed")

    def encode(self) -> str:
        """The JSON text by which the label is interned: its facets in the order above, no spaces."""
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, text: str) -> "Label":
        """The label that `encode` wrote. Raises ValueError for any other text, unknown keys included."""
        return _LABEL.validate_json(text)


_LABEL: Final = TypeAdapter(Label)


class _Distinguishes(Protocol):
    def distinguishes(self, member: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who asks: the facets of a member that an agreement can speak of."""

    member: str
    country: str
    roles: tuple[str, ...]
    sectors: tuple[str, ...]
    status: str
    """"active", "suspended" or "withdrawn"; anything but "active" receives nothing."""
    audiences: tuple[str, ...] = ()
    """Extensible audiences of the agreement to which their owner has added the member since the agreement was signed."""
    collections: tuple[str, ...] | None = None
    """Those that it may read, where it matters: an end that lies in another is not there for it. None for all."""

    def klass(self, agreement: _Distinguishes) -> str:
        """The recipient class: recipients of equal class get equal decisions on every label under `agreement`.

        The member's slug is part of it only where the agreement can tell members apart: it names the member, or lets
        members read back their own objects.
        """
        lists = (self.roles, self.sectors, self.audiences, ("*",) if self.collections is None else self.collections)
        parts = [self.country, *(",".join(sorted(words)) for words in lists), self.status]
        if agreement.distinguishes(self.member):
            parts.append(self.member)
        return "|".join(parts)
