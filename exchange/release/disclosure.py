"""What was shown to whom, as ledger entries: one per page and log, and one a minute for polls that found nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exchange.ledger.entry import Entry, national, route
from exchange.ledger.merkle import root
from exchange.model.member import Collection
from exchange.model.page import Row
from exchange.rules import Caller
from exchange.times import as_text


@dataclass(frozen=True, slots=True)
class Part:
    """What a page gives of one originating country: what its `release` entry says, whoever asked."""

    country: str
    pub: Mapping[str, Any]
    ticks: list[list[int]]


def parts(rows: Sequence[Row], countries: dict[int, str]) -> tuple[Part, ...]:
    """The parts of a page, by country. `countries` maps label ids to the originators' countries.

    `items_root` is the RFC 6962 root over the part's item lines, so that a single object's release can be proved.
    """
    by_country: dict[str, list[Row]] = {}
    if len(found := {countries[label] for label in {row.label for row in rows}}) == 1:
        by_country[found.pop()] = list(rows)
    else:
        for row in rows:
            by_country.setdefault(countries[row.label], []).append(row)
    return tuple(
        Part(
            country,
            {
                "first": as_text(part[0].tick),
                "last": as_text(part[-1].tick),
                "count": len(part),
                "items_root": root([row.item for row in part]).hex(),
            },
            tick_runs(part),
        )
        for country, part in sorted(by_country.items())
    )


def release_entries(caller: Caller, collection: Collection, kind: str, given: Sequence[Part]) -> tuple[Entry, ...]:
    """One `release` entry for each log that a page touches.

    A page that mixes own and foreign objects gives two entries with the same request id. The private part lists the
    ticks, which name the rows.
    """
    return tuple(
        Entry(
            log=route(caller.member.country, (part.country,)),
            t="release",
            actor=caller.actor,
            on=f"coll:{collection.id}",
            pub={"kind": kind, **part.pub},
            private={**caller.private, "ticks": part.ticks},
        )
        for part in sorted(given, key=lambda part: part.country != caller.member.country)
    )


def tick_runs(rows: Sequence[Row]) -> list[list[int]]:
    """The rows' ticks as [first, count] runs of consecutive microseconds: a batch is one run."""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row.tick == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([row.tick, 1])
    return runs


@dataclass(slots=True)
class PollSums:
    """Polls that found nothing write no entry of their own; they are counted per account and collection until flushed."""

    _counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _since_us: int = 0

    def count(self, caller: Caller, collection: Collection, now_us: int) -> None:
        self._since_us = self._since_us or now_us
        self._counts[national(caller.member.country), caller.actor, collection.id] += 1

    def drain(self, now_us: int) -> tuple[Entry, ...]:
        """The entries for what was counted so far; counting starts anew."""
        entries = tuple(
            Entry(
                log=log,
                t="poll.sum",
                actor=who,
                on=f"coll:{collection}",
                pub={"count": count, "first": as_text(self._since_us), "last": as_text(now_us)},
            )
            for (log, who, collection), count in sorted(self._counts.items())
        )
        self._counts.clear()
        self._since_us = 0
        return entries
