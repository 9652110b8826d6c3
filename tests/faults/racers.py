"""A race's processes: members who write without pause to whichever hub answers, and lose the answers to some of what they send.

Run as `python -m tests.faults.racers FOUNDED SLUG SEED HUB…`, FOUNDED being a pickle of the exchange. Writes until its standard
input ends, and then until its last envelope is acknowledged. Each line it prints is one version that a hub acknowledged: its
id, `modified`, and whether it is for its own country only.
"""

import asyncio
import contextlib
import pickle
import random
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exchange.times import as_millis_text, parse_us
from policies.markings import CAVEAT_MARKINGS
from tests.faults.hubs import ROOT
from tests.faults.load import Members, at_work, envelope
from tests.faults.pollers import Key
from tests.world import TLP2, Founded

NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")
LOSSES = (None, None, "when it came", "before")
"""When the answer to an envelope is lost. It is then sent again, to the other hub, until an answer is read."""


class Writer:
    def __init__(self, members: Members, slug: str, seed: int) -> None:
        self._members = members
        self._slug = slug
        self._chance = random.Random(seed)
        self._written: list[dict[str, Any]] = []

    async def write(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            objects = [self._next() for _ in range(self._chance.randint(1, 4))]
            body = envelope(objects)
            loss = self._chance.choice(LOSSES)
            if loss is not None:
                cut = self._chance.uniform(0.001, 0.05) if loss == "before" else None
                await self._members.lose(self._slug, body, after_seconds=cut)
            await self._members.send(self._slug, body)
            for one in objects:
                where = "home" if NOFORN in one["object_marking_refs"] else "both"
                sys.stdout.write(f"{one['id']} {one['modified']} {where}\n")
            sys.stdout.flush()
            self._written += objects
            await asyncio.sleep(self._chance.uniform(0, 0.05))

    def _next(self) -> dict[str, Any]:
        """A new object, or a new version of one that was acknowledged; every third never leaves its country."""
        founded = self._members.founded
        if self._written and self._chance.random() < 0.25:
            old = self._written.pop(self._chance.randrange(len(self._written)))
            later = max(parse_us(old["modified"]) + 1000, founded.clock.now_us())
            return founded.sign(self._slug, old | {"modified": as_millis_text(later)})
        marks = [TLP2["green"], *([NOFORN] if self._chance.random() < 1 / 3 else [])]
        return founded.signed(self._slug, object_marking_refs=marks)


async def work(founded: Founded, slug: str, seed: int, hubs: Sequence[str]) -> None:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: (enough.set(), loop.remove_reader(sys.stdin)))
    async with at_work(founded, *hubs, patience_seconds=4) as members:
        await Writer(members, slug, seed).write(enough)


# --- what the test holds of them ---


@dataclass(frozen=True)
class Version:
    id: str
    modified: str
    writer: str
    home: bool
    """It may not leave its writer's country."""


@dataclass
class Racer:
    """A writer's process, as the test holds it."""

    slug: str
    process: asyncio.subprocess.Process
    said: Path

    def written(self) -> list[Version]:
        """All that it was acknowledged until now."""
        lines = [line.split() for line in self.said.read_text().splitlines()]
        return [Version(id_, modified, self.slug, where == "home") for id_, modified, where in lines]

    async def finish(self) -> list[Version]:
        """The same, at the end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert await self.process.wait() == 0
        return self.written()


@contextlib.asynccontextmanager
async def racing(founded: Founded, slugs: Sequence[str], seed: int, hubs: Sequence[str]) -> AsyncIterator[list[Racer]]:
    """A writing process for each of these members. They end with the block, finished or not."""
    pickled = founded.home.root / "founded.pickle"
    pickled.write_bytes(pickle.dumps(replace(founded, witnesses={})))
    async with contextlib.AsyncExitStack() as stack:
        racers = []
        for number, slug in enumerate(slugs):
            said = founded.home.root / f"{slug}.said"
            with said.open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.faults.racers", str(pickled), slug, str(seed + number), *hubs,
                    stdin=asyncio.subprocess.PIPE, stdout=output, cwd=ROOT,
                )  # fmt: skip
            stack.push_async_callback(_end, process)
            racers.append(Racer(slug, process, said))
        yield racers


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


async def go_on(racers: Sequence[Racer], count: int) -> None:
    """Until each has written so much more."""
    for racer in racers:
        enough = racer.said.read_bytes().count(b"\n") + count
        while racer.said.read_bytes().count(b"\n") < enough:
            assert racer.process.returncode is None, f"{racer.slug} gave up"
            await asyncio.sleep(0.02)


def permitted(versions: Iterable[Version], founded: Founded, slug: str) -> set[Key]:
    """What a reader may have: everything but what is for the other country only."""
    country = {one: member.country for one, member in founded.members.items()}
    return {(one.id, one.modified) for one in versions if not one.home or country[one.writer] == country[slug]}


if __name__ == "__main__":
    asyncio.run(work(pickle.loads(Path(sys.argv[1]).read_bytes()), sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
