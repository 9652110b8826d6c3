"""A feed's whole bench: a hub that misbehaves on request, a client with a key, and a directory with one source file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from certs.signature import Signer
from exchange.client import Client
from exchange.clock import FixedClock
from feeds.catalogue import Source, packaged
from feeds.report import Run
from feeds.runner import Job, run_once
from tests.fake_hub import FakeHub, fake_hub


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


class Bench:
    """A hub, a client with a key, and a directory with one source file."""

    def __init__(self, hub: FakeHub, client: Client, directory: Path) -> None:
        self.hub = hub
        self.client = client
        self.directory = directory
        self.file = directory / "source.json"
        self.clock = FixedClock()

    def source(self, **more: Any) -> Source:
        return packaged()["kev"].model_copy(update={"location": str(self.file), **more})

    def job(self, **more: Any) -> Job:
        return Job.of(self.source(**more), self.client, self.directory / "state", self.clock)

    async def run(self, **more: Any) -> Run:
        return await run_once(self.job(**more), pause=no_pause)

    def publish(self, catalogue: Path | bytes) -> None:
        data = catalogue if isinstance(catalogue, bytes) else catalogue.read_bytes()
        self.file.write_bytes(data)


@asynccontextmanager
async def bench(signer: Signer, directory: Path) -> AsyncIterator[Bench]:
    async with (
        fake_hub() as hub,
        Client(hub.url, clock=FixedClock(), token="t", signer=signer, pause=no_pause) as client,
    ):
        yield Bench(hub, client, directory)
