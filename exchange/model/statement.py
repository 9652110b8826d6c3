"""What members say beside their objects: that they ask for an originator's consent, give, refuse or withdraw it, and whom a
country adds to an audience. Said once and kept as signed; what stands is what follows from all of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from certs.jcs import canonical

SCHEMA: Final = "puente-statement/1"
Kind = Literal[
    "consent.request", "consent.grant", "consent.refuse", "consent.withdraw", "audience.add", "audience.remove"
]

BINDING: tuple[Kind, ...] = ("consent.grant", "consent.withdraw", "audience.add", "audience.remove")
"""Those that decisions hang on."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. It is never changed; another may answer or end it."""

    id: str
    kind: Kind
    member: str
    """Who says it."""
    about: str
    """The id of the statement that it answers or ends, or ""."""
    words: bytes
    """JSON: what is said, as it was signed where it is signed."""
    jws: str
    """The detached signature under the words; "" under a request, which binds nobody."""
    made_us: int = 0
    """Stamped by the store."""

    @classmethod
    def logged(cls, kind: Kind, pub: Mapping[str, Any]) -> "Statement":
        """A signed one, out of the entry that has it whole."""
        words = {"schema": SCHEMA, "kind": kind, **pub}
        jws = words.pop("jws")
        return cls(words["id"], kind, words["member"], words["about"], canonical(words), jws)

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.words)
        return found

    @property
    def binds(self) -> bool:
        return self.kind in BINDING


def standing_grants(statements: Iterable[Statement]) -> list[Statement]:
    """The consents that were given and not taken back, whether or not their time has come or is over."""
    given = list(statements)
    ended = {(one.member, one.about) for one in given if one.kind == "consent.withdraw"}
    return [one for one in given if one.kind == "consent.grant" and (one.member, one.id) not in ended]


def added(statements: Iterable[Statement]) -> dict[tuple[str, str], str]:
    """By (audience, member) who was added to it, and not taken out since: the member that said so. What was said last holds."""
    found: dict[tuple[str, str], str] = {}
    for one in statements:
        if one.kind in ("audience.add", "audience.remove"):
            said = one.said
            key = (str(said["audience"]), str(said["to"]))
            found.pop(key, None)
            if one.kind == "audience.add":
                found[key] = one.member
    return found
