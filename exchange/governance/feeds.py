"""What members tell of the runs of their feeds: kept beside its `feed.run` entry, and shown to its own country alone.

A feed is an ordinary member and its runner a client like any other, so all of this is the member's word: the hub records who said
what and when. What came in by a run is known from the entries of its submissions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from exchange.clock import Clock
from exchange.errors import Conflict, Malformed, NotFound
from exchange.governance.comparing import oversees
from exchange.ledger.entry import Entry, national
from exchange.ledger.sequencer import Sequencer
from exchange.rules import Caller, Rules
from exchange.store.acts import Act, LeafRef, Record
from exchange.store.contract import Outdated, Store
from exchange.store.feed_rows import FeedRunRow
from exchange.times import as_text

FEEDS_AT_MOST = 200
"""Of one member."""

LATE_CADENCES = 2
"""A feed without a good run for so many cadences is late."""

_UNSEEN = ("source", "fault")


@dataclass(frozen=True, slots=True)
class Report:
    """A run as its member tells it, of checked form. `told` has the members that the API's document names."""

    feed: str
    run: str
    ended_us: int
    sha256: bytes
    told: Mapping[str, Any]


class FeedBook:
    """Records runs, each once, and tells how feeds fare."""

    def __init__(self, store: Store, sequencer: Sequencer, clock: Clock, *, future_limit_seconds: int) -> None:
        self._store = store
        self._sequencer = sequencer
        self._clock = clock
        self._future_us = future_limit_seconds * 1_000_000

    async def record(self, caller: Caller, report: Report) -> tuple[LeafRef, ...]:
        """Write a run and its entry; () when it was written before.

        Raises Malformed for one that ends in the future, Conflict for a run that was told otherwise before, that is older than all
        that are kept, or of one feed too many.
        """
        member = caller.member.slug
        if report.ended_us > self._clock.now_us() + self._future_us:
            raise Malformed(
                "to lies ahead of the hub's clock.", "to está por delante del reloj del centro.", code="timestamp-future", field="to"
            )  # fmt: skip
        if await self._known(member, report):
            return ()
        mine = {one.feed for one in await self._store.feeds([member])}
        if report.feed not in mine and len(mine) >= FEEDS_AT_MOST:
            raise Conflict(
                f"A member has at most {FEEDS_AT_MOST} feeds.",
                f"Un miembro tiene como máximo {FEEDS_AT_MOST} fuentes.",
                code="feeds-too-many",
                field="feed",
            )
        good_us = report.ended_us if report.told["complete"] else 0
        body = orjson.dumps({name: value for name, value in report.told.items() if name != "source"})
        row = FeedRunRow(member, report.feed, report.run, report.ended_us, good_us, report.sha256, body)
        entry = _entry(caller, report)
        try:
            done = await self._sequencer.append(Act(report.run, lambda _: Record((entry,)), runs=(row,)))
        except Outdated:
            if await self._known(member, report):
                return ()
            raise Conflict(
                "The run ended before all of this feed's that the hub still knows: it may have been recorded then.",
                "La ejecución terminó antes que todas las de esta fuente que el centro aún conoce: pudo asentarse entonces.",
                code="feed-run-old",
                field="to",
            ) from None
        return done.leaves

    async def shown(self, rules: Rules, caller: Caller) -> list[dict[str, Any]]:
        """The newest run of each feed that the caller may know of: its own, and its country's if it answers for that."""
        rows = await self._store.feeds(_shown_members(rules, caller))
        now_us = self._clock.now_us()
        return [_standing(row, now_us) for row in rows]

    async def shown_runs(self, rules: Rules, caller: Caller, feed: str) -> list[dict[str, Any]]:
        """The kept runs of the feeds of that name, newest first. Raises NotFound when the caller may know of none."""
        now_us, found = self._clock.now_us(), []
        for member in _shown_members(rules, caller):
            rows = await self._store.feed_runs(member, feed)
            if rows:
                good_us = max(row.good_us for row in rows)
                found.append(
                    {**_standing(replace(rows[0], good_us=good_us), now_us), "runs": [_shown(row) for row in rows]}
                )
        if not found:
            raise NotFound("There is no such feed.", "No existe esa fuente.", code="no-such-feed", field="feed")
        return found

    async def _known(self, member: str, report: Report) -> bool:
        for row in await self._store.feed_runs(member, report.feed):
            if row.run == report.run:
                if row.sha256 == report.sha256:
                    return True
                raise Conflict(
                    "This run was told otherwise before.",
                    "Esta ejecución se informó antes de otra manera.",
                    code="feed-run-conflict",
                    field="run",
                )
        return False


def _entry(caller: Caller, report: Report) -> Entry:
    told = report.told
    pub = {
        "feed": report.feed,
        **{name: value for name, value in told.items() if name not in (*_UNSEEN, "cadence_seconds")},
    }
    private = dict(caller.private)
    private |= {"source": told["source"]} if "source" in told else {}
    private |= {"fault": told["fault"]["en"]} if "fault" in told else {}
    log = national(caller.member.country)
    return Entry(log, "feed.run", caller.actor, f"member:{caller.member.slug}", pub, private=private)


def _shown_members(rules: Rules, caller: Caller) -> list[str]:
    if not oversees(rules, caller.member):
        return [caller.member.slug]
    return sorted(_of_country(rules, caller))


def _of_country(rules: Rules, caller: Caller) -> Iterable[str]:
    return (one.slug for one in rules.registry.members.values() if one.country == caller.member.country)


def _standing(row: FeedRunRow, now_us: int) -> dict[str, Any]:
    run = _shown(row)
    cadence_seconds = run.pop("cadence_seconds", None)
    lag = max(0, now_us - row.good_us) // 1_000_000 if row.good_us else None
    late = cadence_seconds is not None and (lag is None or lag > LATE_CADENCES * cadence_seconds)
    return {
        "member": row.member,
        "feed": row.feed,
        "status": "failed" if not run["complete"] else "late" if late else "ok",
        "last_good": as_text(row.good_us) if row.good_us else None,
        "lag_seconds": lag,
        "cadence_seconds": cadence_seconds,
        "last": run,
    }


def _shown(row: FeedRunRow) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(row.body)
    return found
