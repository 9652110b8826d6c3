"""Puente itself as it is deployed: `puente serve` in a process of its own, with TLS, witnesses aside, fsync on."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Server, serving
from bench.taxii import Place
from certs.signature import Signer
from exchange.cli import setup
from exchange.clock import SystemClock
from exchange.hub import working
from exchange.model.member import Member

READERS = (
    "us-cyber",
    "us-maritime",
    "mx-ciber",
    "mx-aduanas",
    "mx-marina",
    "mx-puerto-pac",
    "us-port-gulf",
    "us-customs",
)
WRITER = "us-customs"


@dataclass(frozen=True, slots=True)
class Hub:
    """A fresh hub that serves, and how to speak with it."""

    server: Server
    place: Place
    signer: Signer


@contextlib.contextmanager
def fresh_hub(directory: Path, port: int) -> Iterator[Hub]:
    """A hub with the sample members and agreement, and nothing in it."""
    home = setup.create(directory, SystemClock(), ports=(port, port + 1))
    _lift_rates(home)
    members, tokens, collection = asyncio.run(_enrol(home))
    command = [sys.executable, "-m", "exchange.cli", "serve", "--home", str(directory)]
    with serving(command, f"https://localhost:{port}/", directory / "serve.log") as server:
        place = Place(
            url=f"https://localhost:{port}/taxii2/us-mx/collections/{collection}/",
            writer=f"Bearer {tokens[WRITER]}",
            readers=tuple(f"Bearer {tokens[slug]}" for slug in READERS),
            ca_file=str(home.ca_file),
        )
        yield Hub(server, place, home.signer(WRITER, members[WRITER].identity_id))


def _lift_rates(home: setup.Home) -> None:
    # One client here asks for as much as it can get; a member's share of a real hub is far below.
    text = home.settings_file.read_text()
    home.settings_file.write_text("rate_per_second = 1000000\nrate_burst = 1000000\n" + text)


async def _enrol(home: setup.Home) -> tuple[dict[str, Member], dict[str, str], str]:
    members = {slug: setup.sample_member(slug) for slug in READERS}
    tokens = {}
    async with working(home.settings(), SystemClock()) as services:
        await setup.establish(services, home)
        for slug, member in members.items():
            await setup.add_member(services, home, member)
            _, tokens[slug] = await services.governance.create_token(setup.OPERATOR, slug, days=1, note="bench")
        rules = await services.rulebook.current()
        collection = rules.collection("indicators")
    if collection is None:
        raise LookupError("the sample collections lack indicators")
    return members, tokens, collection.id
