"""Puente itself as it is deployed: `puente serve` in a process of its own, with TLS, witnesses aside, fsync on."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.processes import free_ports, serving
from bench.taxii import Place, Running
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
    "us-port-gulf",
    "us-customs",
)
"""Members who may see everything that the writer sends, so that what comes out can be counted."""

WRITER = "us-customs"
PARTIAL_READER = "mx-puerto-pac"
"""An operator of the other country: the sample agreement lets it see what is of high confidence, about half."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub with the sample members and agreement and nothing in it, and how to speak with it once it runs."""

    home: setup.Home
    place: Place
    partial: Place
    """The same collection, to a reader who may see only part of it."""
    signer: Signer
    address: str

    @contextlib.contextmanager
    def fresh(self, directory: Path) -> Iterator[Running]:
        """A copy of it, served from a directory of its own: every copy knows the same members, keys and tokens."""
        shutil.copytree(self.home.root, directory)
        with self.again(directory) as running:
            yield running

    @contextlib.contextmanager
    def again(self, directory: Path) -> Iterator[Running]:
        """A copy that was stopped, started once more on what it holds."""
        command = [sys.executable, "-m", "exchange.cli", "serve", "--home", str(directory)]
        with serving(command, self.address, directory / "serve.log") as server:
            yield Running(server, self.place)


def prepare(directory: Path) -> Hub:
    """Make the hub that the others are copies of."""
    port, mtls_port = free_ports(2)
    home = setup.create(directory, SystemClock(), ports=(port, mtls_port))
    _lift_rates(home)
    members, tokens, collection = asyncio.run(_enrol(home))
    address = f"https://localhost:{port}/"
    place = Place(
        url=f"{address}taxii2/us-mx/collections/{collection}/",
        writer=f"Bearer {tokens[WRITER]}",
        readers=tuple(f"Bearer {tokens[slug]}" for slug in READERS),
        ca_file=str(home.ca_file),
    )
    partial = replace(place, readers=(f"Bearer {tokens[PARTIAL_READER]}",))
    return Hub(home, place, partial, home.signer(WRITER, members[WRITER].identity_id), address)


def _lift_rates(home: setup.Home) -> None:
    # One client here asks for as much as it can get; a member's share of a real hub is far below.
    text = home.settings_file.read_text()
    home.settings_file.write_text("rate_per_second = 1000000\nrate_burst = 1000000\n" + text)


async def _enrol(home: setup.Home) -> tuple[dict[str, Member], dict[str, str], str]:
    members = {slug: setup.sample_member(slug) for slug in (*READERS, PARTIAL_READER)}
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
