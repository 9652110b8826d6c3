"""What the hub keeps of feeds: the last runs that their members told of, the values that were held back, and those released.

A feed is a member's; its name is that member's alone."""

from dataclasses import dataclass
from typing import Protocol

RUNS_KEPT = 50
"""Of one feed of one member."""


@dataclass(frozen=True, slots=True)
class FeedRunRow:
    """One run, written with its `feed.run` entry. An act that brings a run which is there already, or one that ended before all
    of the RUNS_KEPT that are, is Outdated: so no run is ever recorded twice, though old ones are forgotten."""

    member: str
    feed: str
    run: str
    ended_us: int
    good_us: int
    """When the last good run ended: given as this one's end or 0, kept as the greatest that was given. 0: never."""
    sha256: bytes
    """Of the report as it was told, to know it again."""
    body: bytes
    """JSON: what is shown of it."""


HELD_KEPT = 20_000
"""Values held of one member: the last ones."""
VALUE_CHARACTERS_AT_MOST = 300
"""Of a value that is noted. A longer one is held all the same, and cannot be released."""


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A value for which an object of a member was refused, though it may be released. Written with the submission."""

    member: str
    value: str
    list_name: str
    asset: str
    """The member whose asset it is, or "": for the operator, never for the submitter."""
    object_id: str
    held_us: int = 0
    """When last; stamped by the store."""


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A held value is accepted from an audience until then. The last word about a value and an audience counts."""

    audience: str
    value: str
    until_us: int


class FeedRecords(Protocol):
    """The part of the store that is about feeds."""

    async def held_values(self, members: list[str]) -> list[HeldRow]:
        """What was held of these members, the last first."""
        ...

    async def feeds(self, members: list[str]) -> list[FeedRunRow]:
        """The newest run of every feed of these members, by member and feed, with the greatest `good_us` of its feed."""
        ...

    async def feed_runs(self, member: str, feed: str) -> list[FeedRunRow]:
        """The runs that are kept of one feed, newest first."""
        ...
