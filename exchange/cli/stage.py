"""Where the demo plays: both countries' PKI, their members, four witness processes and a hub, begun and ended in order."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import aiohttp
import orjson

from exchange.cli import setup
from exchange.client import Client
from exchange.clock import Clock
from exchange.errors import Unavailable
from exchange.hub import Running, running, working
from exchange.model.member import Member

READY_SECONDS = 30.0
"""A witness that does not answer by then will not."""

STOP_SECONDS = 10.0
"""A witness that was told to stop and still runs by then is killed."""

GATEWAY, UNNAMED = "mx-gateway", "mx-puerto-sur"
"""A national gateway, and an operator of its country that does not agree to be named."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything the demo's steps speak with."""

    home: setup.Home
    hub: Running
    clock: Clock
    members: dict[str, Member]
    tokens: dict[str, str]
    collections: dict[str, str]
    """Alias to id."""

    def client(self, slug: str, language: str = "en") -> Client:
        signer = self.home.signer(slug, self.members[slug].identity_id)
        return Client(
            self.hub.url, clock=self.clock, token=self.tokens[slug], ca_file=self.home.ca_file, signer=signer,
            language=language,
        )  # fmt: skip


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.asynccontextmanager
async def stage(directory: Path, clock: Clock, ports: Sequence[int], log: TextIO) -> AsyncIterator[Stage]:
    """Make the directory, start the witnesses, then the hub; whatever happens, all have ended when the block has.

    `ports`: the hub's two and one for each witness. Raises Unavailable when a process does not come up.
    """
    tls, mtls, *witness_ports = ports
    urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(setup.WITNESSES, witness_ports, strict=True)}
    home = setup.create(directory, clock, ports=(tls, mtls), witness_urls=urls)
    settings = home.settings().model_copy(update={"witness_interval_seconds": 1.0, "shutdown_seconds": 5})
    slugs = [row[0] for row in setup.SAMPLE_MEMBERS] + [GATEWAY, UNNAMED]
    members = {slug: setup.sample_member(slug) for slug in slugs}
    members["mx-puerto-pac"] = replace(members["mx-puerto-pac"], consents=True)
    tokens: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        witnesses = {
            name: await stack.enter_async_context(_witness(home.witness(name), port, log))
            for name, port in zip(urls, witness_ports, strict=True)
        }
        async with working(settings, clock) as services:
            await setup.establish(services, home, _sooner(setup.sample_agreement()))
            for slug, member in members.items():
                await setup.add_member(services, home, member)
                _, tokens[slug] = await services.governance.create_token(setup.OPERATOR, slug, days=30, note="demo")
        for name, process in witnesses.items():
            await _answers(name, process, urls[name])
        hub = await stack.enter_async_context(running(settings, clock))
        rules = await hub.services.rulebook.current()
        yield Stage(home, hub, clock, members, tokens, {one.alias: one.id for one in rules.registry.collections})


def _sooner(agreement: bytes) -> bytes:
    """The agreement with its gateways' period of an hour cut to a second, since nobody watches a demo for an hour."""
    hourly = b'period = "1h"'
    if agreement.count(hourly) != 1:
        raise ValueError("the sample agreement has another period than the demo was written for")
    return agreement.replace(hourly, b'period = "1s"')


@contextlib.asynccontextmanager
async def _witness(directory: Path, port: int, log: TextIO) -> AsyncIterator[asyncio.subprocess.Process]:
    # A session of its own: Ctrl-C reaches the demo alone, and the hub says its last words while the witnesses still hear.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exchange.cli", "witness", "serve", str(directory), "--port", str(port),
        stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        await _stop(process)


async def _answers(name: str, process: asyncio.subprocess.Process, url: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as session:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with session.get(f"{url}/health", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
    raise Unavailable(
        f"Witness {name} did not come up at {url}; is the port taken?",
        f"El testigo {name} no arrancó en {url}; ¿está ocupado el puerto?",
        code="witness-absent",
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    for ask in (process.terminate, process.kill):
        with contextlib.suppress(ProcessLookupError):
            ask()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
            return


def write_for_machines(path: Path, on: Stage) -> None:
    """How to reach everything, for programs: one JSON file that only its owner may read."""
    path.unlink(missing_ok=True)
    value = {
        "base_url": on.hub.url,
        "mtls_url": f"https://localhost:{on.hub.mtls_port}",
        "ca_file": str(on.home.ca_file),
        "api_root": f"{on.hub.url}/taxii2/us-mx/",
        "collections": [
            {"alias": row[0], "id": on.collections[row[0]], "readers": row[3], "writers": row[4]}
            for row in setup.SAMPLE_COLLECTIONS
        ],
        "members": {slug: _reach_of(on, slug) for slug in on.members},
        "ledger_url": f"{on.hub.url}/ledger/",
        "witness_policy": str(on.home.root / "hub" / "witness-policy"),
        "witnesses": dict(on.hub.services.settings.witnesses),
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _reach_of(on: Stage, slug: str) -> dict[str, str]:
    keys = on.home.member(slug)
    return {
        "identity_id": on.members[slug].identity_id,
        "country": on.members[slug].country,
        "token": on.tokens[slug],
        "signing_key": str(keys / "signing.key"),
        "signing_certificate": str(keys / "signing.pem"),
        "tls_key": str(keys / "tls.key"),
        "tls_certificate": str(keys / "tls.pem"),
    }
