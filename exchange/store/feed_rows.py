"""What the hub keeps of feeds: the last runs that their members told of. A feed is a member's; its name is that member's alone."""

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


class FeedRecords(Protocol):
    """The part of the store that is about feeds."""

    async def feeds(self, members: list[str]) -> list[FeedRunRow]:
        """The newest run of every feed of these members, by member and feed, with the greatest `good_us` of its feed."""
        ...

    async def feed_runs(self, member: str, feed: str) -> list[FeedRunRow]:
        """The runs that are kept of one feed, newest first."""
        ...
