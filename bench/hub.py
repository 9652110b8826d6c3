"""Puente itself as it is deployed: `puente serve` in a process of its own, with TLS, witnesses aside, fsync on."""

import asyncio
import contextlib
import json
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.processes import free_ports, serving
from bench.taxii import Place, Running
from certs.signature import Signer
from exchange.cli import setup
from exchange.clock import SystemClock
from exchange.hub import working
from exchange.model.member import Country, Member

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


STRANGER = Member(
    "mx-cruce", f"identity--{uuid.uuid4()}", Country.MX, "operator", ("operator",), ("trade.crossing",), "Crossing", "Cruce"
)  # fmt: skip
"""An operator who may see nothing of medium confidence from the other country."""


class Database(Protocol):
    """A PostgreSQL server for the hub's copies (bench/postgres.py)."""

    pid: int

    def copy(self, of: str) -> str:
        """The URL of a database of its own with the same content."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub with the sample members and agreement and nothing in it, and how to speak with it once it runs."""

    home: setup.Home
    collection: str
    tokens: Mapping[str, str]
    signer: Signer
    address: str
    workers: int = 1
    database: Database | None = None

    @property
    def place(self) -> Place:
        return self.place_of(*READERS)

    def place_of(self, *readers: str) -> Place:
        """The collection as these members read it."""
        return Place(
            url=f"{self.address}taxii2/us-mx/collections/{self.collection}/",
            writer=f"Bearer {self.tokens[WRITER]}",
            readers=tuple(f"Bearer {self.tokens[slug]}" for slug in readers),
            ca_file=str(self.home.ca_file),
        )

    def copy(self, directory: Path) -> None:
        """A copy of it in a directory of its own: every copy knows the same members, keys and tokens."""
        shutil.copytree(self.home.root, directory)
        if self.database is not None:
            file = setup.Home(directory).settings_file
            url = self.home.settings().database_url
            file.write_text(file.read_text().replace(json.dumps(url), json.dumps(self.database.copy(url))))

    @contextlib.contextmanager
    def fresh(self, directory: Path) -> Iterator[Running]:
        """A copy of it, served."""
        self.copy(directory)
        with self.again(directory) as running:
            yield running

    @contextlib.contextmanager
    def again(self, directory: Path) -> Iterator[Running]:
        """A copy that was stopped, started once more on what it holds."""
        command = [
            sys.executable, "-m", "exchange.cli", "serve", "--home", str(directory), "--workers", str(self.workers)
        ]  # fmt: skip
        with serving(command, self.address, directory / "serve.log") as server:
            if self.database is not None:
                server = replace(server, database=self.database.pid)
            yield Running(server, self.place)


def prepare(directory: Path, *, url: str = "") -> Hub:
    """Make the hub that the others are copies of: in a SQLite file, or in the empty PostgreSQL database at that URL."""
    port, mtls_port = free_ports(2)
    home = setup.create(
        directory, SystemClock(), ports=(port, mtls_port), database={"database_url": url} if url else None
    )
    _lift_rates(home)
    setup.fail_open(home.settings().witness_policy)  # none runs here
    members, tokens, collection = asyncio.run(_enrol(home))
    signer = home.signer(WRITER, members[WRITER].identity_id)
    return Hub(home, collection, tokens, signer, f"https://localhost:{port}/")


def _lift_rates(home: setup.Home) -> None:
    # One client here asks for as much as it can get; a member's share of a real hub is far below.
    text = home.settings_file.read_text()
    home.settings_file.write_text("rate_per_second = 1000000\nrate_burst = 1000000\n" + text)


async def _enrol(home: setup.Home) -> tuple[dict[str, Member], dict[str, str], str]:
    members = {slug: setup.sample_member(slug) for slug in (*READERS, PARTIAL_READER)} | {STRANGER.slug: STRANGER}
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
