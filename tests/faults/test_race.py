"""Four writing processes, two hubs on one database that come and go, clocks that jump, clients of four habits: nobody misses
anything, and nobody is given anything twice."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exchange.cli.setup import OPERATOR, Home
from exchange.clock import Clock, SystemClock
from exchange.hub import working
from exchange.settings import Settings
from exchange.times import as_text
from tests.faults.hubs import Kennel, kennel, write_settings
from tests.faults.judging import SEES, everything_cosigned, judge
from tests.faults.kennel import Stepped
from tests.faults.load import Members, at_work
from tests.faults.pollers import HABITS, Poller, in_order, was_given_all
from tests.faults.racers import Version, go_on, permitted, racing
from tests.world import Founded, found, free_port

SEED = 20261126
WRITERS = ("us-cyber", "us-maritime", "mx-ciber", "mx-marina")
READERS = ("us-customs", "mx-aduanas")
BLOWS = [(blow, hub) for blow in ("stop", "kill", "kill", "forward", "back", "right") for hub in (0, 1)]
STEPS = {"forward": 3600, "back": -200, "right": 0}
"""Seconds between a hub's clock and the machine's. Further back than 300, and what is written now would lie too far ahead of it
(`future_limit_seconds`)."""


@dataclass
class Pair:
    """Two hubs of one machine, on one database."""

    kennel: Kennel
    homes: tuple[Home, Home]
    alive: list[int] = field(default_factory=list)

    @classmethod
    async def start(cls, hubs: Kennel, founded: Founded) -> "Pair":
        """The second has ports of its own, and shares all else. Both have a clock that can be stepped."""
        port = free_port()
        other = founded.settings.model_copy(update={"port": port, "public_url": f"https://localhost:{port}"})
        made = cls(hubs, (founded.home, Home(founded.home.root / "second")))
        for home, settings in zip(made.homes, (founded.settings, other), strict=True):
            write_settings(home, settings)
            clock = Stepped(home.root / "clock")
            clock.step(seconds=0)
            await confirm(settings, clock)  # the witnesses' is behind
            made.alive.append(await hubs.order("start", home.root))
        return made

    @property
    def urls(self) -> list[str]:
        return [home.settings().public_url for home in self.homes]

    async def strike(self, blow: str, hub: int) -> None:
        if blow in STEPS:
            clock, settings = Stepped(self.homes[hub].root / "clock"), self.homes[hub].settings()
            clock.step(seconds=STEPS[blow])
            await confirm(settings, clock)
            return
        assert await self.kennel.order(blow, self.alive[hub]) == (0 if blow == "stop" else -9)
        self.alive[hub] = await self.kennel.order("start", self.homes[hub].root)

    async def stop(self) -> None:
        for pid in self.alive:
            assert await self.kennel.order("stop", pid) == 0


async def confirm(settings: Settings, clock: Clock) -> None:
    """As `puente ledger clock --confirm` does."""
    async with working(settings, clock) as services:
        now = as_text(clock.now_us())
        await services.governance.note(OPERATOR, "clock.step", "clock", {"before": now, "after": now})


async def test_every_poller_ends_with_exactly_what_it_may_have(tmp_path: Path, database: dict[str, Any]) -> None:
    """Writers and pollers turn from hub to hub with each request. The race ends when its blows are struck and its writers have
    their answers, however long that takes."""
    print(f"seed {SEED}")
    # The witnesses keep the time before: to hubs whose clocks are an hour or two ahead of theirs they would seem silent.
    knobs: dict[str, Any] = {"witness_silence_seconds": 86_400, **database}
    knobs |= {"checkpoint_interval_seconds": 0.05, "witness_interval_seconds": 0.5}
    before = Stepped(tmp_path / "clock")
    before.step(seconds=-3600)  # credentials were made before every time that a hub will think it is
    async with found(tmp_path / "home", clock=before, **knobs) as made, kennel() as hubs:
        founded = replace(made, clock=SystemClock())
        pair = await Pair.start(hubs, founded)
        async with at_work(founded, *pair.urls) as members:
            pollers = [habit(members, slug, SEED + n) for n, habit in enumerate(HABITS) for slug in READERS]
            versions = await _race(members, pair, pollers)
            order = {slug: await in_order(members, slug) for slug in READERS}
            await everything_cosigned(members)
            await pair.stop()
        for slug in READERS:
            assert set(order[slug]) == permitted(versions, founded, slug)
        for poller in pollers:
            was_given_all(poller, order[poller.slug])
        await judge(founded, members, tmp_path / "copy")
    print(f"{len(versions)} versions, {[len(order[slug]) for slug in READERS]} for the readers")


async def _race(members: Members, pair: Pair, pollers: list[Poller]) -> list[Version]:
    chance = random.Random(SEED)
    async with racing(members.founded, WRITERS, SEED, pair.urls) as writers, asyncio.TaskGroup() as tasks:
        for poller in pollers:
            tasks.create_task(poller.poll())
        for blow, hub in chance.sample(BLOWS, len(BLOWS)):
            await go_on(writers, chance.randint(1, 3))
            await pair.strike(blow, hub)
            log = chance.choice(list(SEES))
            await members.look_at_checkpoint(SEES[log], log)
        acknowledged = await asyncio.gather(*(writer.finish() for writer in writers))
        members.complete.set()
    return [version for versions in acknowledged for version in versions]
