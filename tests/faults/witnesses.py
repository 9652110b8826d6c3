"""Four witnesses of two countries on loopback that a test can silence, and a log that asks them."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from exchange.cli.setup import WITNESSES, witness_policy
from exchange.clock import FixedClock
from exchange.ledger.note import Policy
from exchange.ledger.witness import Witness, serve
from tests.faults.logs import Logs, Pen, new_pens
from tests.world import free_port, settled


@dataclass
class Both:
    """The two countries' witnesses."""

    directory: Path
    clock: FixedClock
    pens: dict[str, Pen]
    vkeys: dict[str, str]
    urls: dict[str, str] = field(default_factory=dict)
    running: dict[str, tuple[Witness, web.AppRunner]] = field(default_factory=dict)

    @property
    def policies(self) -> dict[str, Policy]:
        return {log: Policy.parse(witness_policy(log, pen.vkey, self.vkeys)) for log, pen in self.pens.items()}

    def opened(self, where: str = "hub") -> Logs:
        return Logs.open(
            self.directory / where, self.pens, clock=self.clock, policies=self.policies, witnesses=self.urls
        )

    async def speak(self, *names: str) -> None:
        """Exactly these answer."""
        for name in set(self.running) - set(names):
            witness, runner = self.running.pop(name)
            await runner.cleanup()
            witness.close()
        for name in set(names) - set(self.running):
            witness = Witness(self.directory / name, self.clock)
            port = int(self.urls[name].rpartition(":")[2]) if name in self.urls else free_port()
            runner = await serve(witness, "127.0.0.1", port)
            self.urls[name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self.running[name] = witness, runner


@asynccontextmanager
async def both(directory: Path) -> AsyncIterator[Both]:
    pens = new_pens()
    vkeys = {
        name: Witness.create(
            directory / name, f"{name}.witness.example", [pens[log].vkey for log in ("both", name[:2])], mirror=True
        )
        for name in WITNESSES
    }
    found = Both(directory, FixedClock(), pens, vkeys)
    await found.speak(*WITNESSES)
    try:
        yield found
    finally:
        with contextlib.suppress(OSError):
            await found.speak()
        await settled()


async def round_of(logs: Logs) -> None:
    await logs.publisher.publish_once()
    await logs.publisher.witness_round()
