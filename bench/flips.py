"""Versions one after the other, as fast as both countries' approvals are taken, while a served hub is read and written to."""

import asyncio
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import orjson

from bench.corpus import envelopes, indicators
from bench.hub import Hub
from bench.load import Wire, Work
from bench.load import measure as load_with
from bench.taxii import Running, load, walk
from exchange.cli import setup
from exchange.clock import Clock
from exchange.hub import working
from exchange.web.services import Services
from tests.agreeing import amended, enact, in_force

CLAUSE, BOTH_WAYS, ONE_WAY = "P-AUTHORITY-TO-AUTHORITY", '"US>MX", "MX>US"', '"MX>US"'
VERSIONS, OBJECTS, BATCH = 400, 1_000, 100
READ_SECONDS, WRITE_SECONDS = 0.5, 0.25
"""How often each reader walks over all there is, and how often an envelope of ten comes."""


@dataclass(frozen=True, slots=True)
class Flips:
    """What was measured."""

    versions: int
    seconds: float
    objects_out: int
    """Given by the served hub meanwhile."""
    releases: int
    """Entries of releases in the log of both countries meanwhile."""
    astray: int
    """Of those, how many name another version than the one in force at their place."""

    @property
    def per_minute(self) -> float:
        return 60 * self.versions / self.seconds


def measure(hub: Hub, directory: Path, versions: int, clock: Clock) -> Flips:
    """Every other version closes the border from the US to Mexico. They are approved in this process, and hold in the served one."""
    corpus = list(indicators(OBJECTS + 10_000, hub.signer, clock))
    hub.copy(directory)
    home = setup.Home(directory)
    home.settings_file.write_text("agreement_notice_seconds = 0\n" + home.settings_file.read_text())
    with hub.again(directory) as running:
        return asyncio.run(_flips(running, home, corpus, versions, clock))


async def _flips(running: Running, home: setup.Home, corpus: list[bytes], versions: int, clock: Clock) -> Flips:
    server, place = running.server, running.place
    await load(server, place, corpus[:OBJECTS], BATCH, 2)
    over = asyncio.Event()

    def reader(authorization: str) -> Work:
        async def work(wire: Wire) -> int:
            objects = 0
            while not over.is_set():
                objects += await walk(wire, place, authorization)
                await asyncio.sleep(READ_SECONDS)
            return objects

        return work

    async def write(wire: Wire) -> int:
        for body in envelopes(corpus[OBJECTS:], 10):
            if over.is_set():
                break
            await wire.ask("POST", f"{place.url}objects/", headers=place.headers(place.writer), body=body, expect=202)
            await asyncio.sleep(WRITE_SECONDS)
        return 0

    async with working(home.settings(), clock) as services:
        before = len(await services.store.leaves("both", 0, 10**9))
        loaded = asyncio.create_task(load_with(server, [*map(reader, place.readers), write], ca_file=place.ca_file))
        began = time.perf_counter()
        try:
            await _flip(services, home, versions)
        finally:
            seconds = time.perf_counter() - began
            over.set()
            out = await loaded
        leaves = [orjson.loads(one) for one in await services.store.leaves("both", 0, 10**9)]
    return Flips(versions, seconds, out.done, *_releases(leaves, before))


async def _flip(services: Services, home: setup.Home, versions: int) -> None:
    ways = cycle([(BOTH_WAYS, ONE_WAY), (ONE_WAY, BOTH_WAYS)])
    for _, (old, new) in zip(range(versions), ways, strict=False):
        document, _ = await in_force(services)
        await enact(services, home, amended(document, CLAUSE, old, new))


def _releases(leaves: list[dict[str, str]], before: int) -> tuple[int, int]:
    """How many there are, and how many name a version that is not in force where they lie."""
    holds, found, astray = "", 0, 0
    for index, leaf in enumerate(leaves):
        if leaf["t"] == "policy.activate":
            holds = leaf["pol"]
        if leaf["t"] == "release" and index >= before:
            found += 1
            astray += leaf["pol"] != holds
    return found, astray
