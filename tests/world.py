"""A whole exchange for tests: two countries, ten members, a hub on loopback with TLS, two witnesses in each country."""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import SubjectAlternativeName, load_pem_x509_certificate

from certs.authority import hub_authority
from certs.jcs import canonical
from certs.signature import attestation
from exchange.cli import setup
from exchange.clock import Clock, SystemClock
from exchange.hub import Running, running, working
from exchange.ledger.witness import Witness, serve
from exchange.model.member import Member
from exchange.model.observables import sco_id
from exchange.model.stix import UNVERSIONED
from exchange.settings import Settings
from exchange.times import as_datetime, as_millis_text

TAXII = "application/taxii+json;version=2.1"
TLP2 = {
    "clear": "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
    "green": "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
    "amber": "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
    "amber+strict": "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
    "red": "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
}


@dataclass
class Founded:
    """An exchange whose members are enrolled and whose witnesses answer. No hub runs yet."""

    home: setup.Home
    settings: Settings
    clock: Clock
    members: dict[str, Member]
    tokens: dict[str, str]
    collections: dict[str, str]
    witnesses: dict[str, Witness]
    """As they run."""

    @property
    def root(self) -> str:
        return f"{self.settings.public_url}/taxii2/us-mx/"

    def trusting(self) -> ssl.SSLContext:
        """What a client needs to believe the hub."""
        return ssl.create_default_context(cafile=str(self.home.ca_file))

    def indicator(self, slug: str, *, tlp: str = "amber", **more: Any) -> dict[str, Any]:
        """An unsigned indicator of a member, made now."""
        now = as_millis_text(self.clock.now_us())
        return {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--{uuid.uuid4()}",
            "created_by_ref": self.members[slug].identity_id,
            "created": now,
            "modified": now,
            "indicator_types": ["malicious-activity"],
            "name": "señal",
            "pattern": "[ipv4-addr:value = '198.51.100.7']",
            "pattern_type": "stix",
            "pattern_version": "2.1",
            "valid_from": "2026-01-01T00:00:00Z",
            "confidence": 80,
            "object_marking_refs": [TLP2[tlp]],
            **more,
        }

    def signed(self, slug: str, **more: Any) -> dict[str, Any]:
        return self.sign(slug, self.indicator(slug, **more))

    def sign(self, slug: str, obj: dict[str, Any]) -> dict[str, Any]:
        signer = self.home.signer(slug, self.members[slug].identity_id)
        return signer.sign(obj, signed_at=as_datetime(self.clock.now_us()).strftime("%Y-%m-%dT%H:%M:%SZ"))

    def observed(self, slug: str, value: str, *marks: str) -> list[dict[str, Any]]:
        """An address, and the attestation by which a member vouches for it; both under these markings."""
        now_us = self.clock.now_us()
        plain = {"type": "ipv4-addr", "spec_version": "2.1", "value": value, "object_marking_refs": list(marks)}
        address: dict[str, Any] = {**plain, "id": sco_id(plain)}
        made = attestation(
            id=f"object-attestation--{uuid.uuid4()}",
            created_by_ref=self.members[slug].identity_id,
            created=as_millis_text(now_us),
            covers=[{"id": address["id"], "version": UNVERSIONED, "sha256": sha256(canonical(address)).hexdigest()}],
            object_marking_refs=marks,
        )
        return [address, self.sign(slug, made)]

    def related(self, slug: str, source: str, target: str, *marks: str) -> dict[str, Any]:
        """A signed relationship."""
        base = self.indicator(slug)
        kept = {name: base[name] for name in ("spec_version", "created_by_ref", "created", "modified", "confidence")}
        ends = {"relationship_type": "related-to", "source_ref": source, "target_ref": target}
        name = f"relationship{base['id'].removeprefix('indicator')}"
        refs = list(marks) or base["object_marking_refs"]
        return self.sign(slug, kept | ends | {"type": "relationship", "id": name, "object_marking_refs": refs})

    def headers(self, slug: str, **more: str) -> dict[str, str]:
        return {"Accept": TAXII, "Authorization": f"Bearer {self.tokens[slug]}", **more}


@dataclass
class World(Founded):
    """The same with its hub running in this process."""

    hub: Running
    session: aiohttp.ClientSession

    async def post(self, slug: str, *objects: dict[str, Any], to: str = "indicators", **headers: str) -> dict[str, Any]:
        """POST an envelope; the status resource."""
        url = f"{self.root}collections/{self.collections[to]}/objects/"
        more = {"Content-Type": TAXII, **headers}
        async with self.session.post(
            url, json={"objects": list(objects)}, headers=self.headers(slug, **more)
        ) as answer:
            assert answer.status == 202, await answer.text()
            found: dict[str, Any] = await answer.json(content_type=None)
            return found

    async def get(self, slug: str, path: str, **headers: str) -> tuple[int, dict[str, Any], Any]:
        """GET below the API root: status, body, headers."""
        async with self.session.get(self.root + path, headers=self.headers(slug, **headers)) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def cosigned(self) -> None:
        """Wait until both countries' witnesses have cosigned all there is now."""
        for log, tree in (await self.hub.services.store.trees()).items():
            while tree.size and await self.hub.services.publisher.receipt(log, tree.size - 1, wait_seconds=20) is None:
                pass

    async def pull(self, slug: str, collection: str = "indicators", query: str = "") -> list[str]:
        """Ids of what a member gets, following `next`."""
        ids: list[str] = []
        following = ""
        while True:
            path = f"collections/{self.collections[collection]}/objects/?{query}{following}"
            status, body, _ = await self.get(slug, path)
            assert status == 200, body
            ids += [obj["id"] for obj in body.get("objects", [])]
            if not body.get("more"):
                return ids
            following = f"&next={body['next']}"


_ports = itertools.count(os.getpid() * 61)
"""Below those that a kernel gives away by itself: between here and the listening nobody else is given it. Another process's tests
begin elsewhere."""


def free_port() -> int:
    """A port nobody listens on now: discovery must advertise it before the hub listens."""
    for number in _ports:
        port = 10_000 + number % 20_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable")


async def settled() -> None:
    """Transports of both ends of a connection close on the loop's next turns: those are counted, for time may pass without any."""
    for _ in range(50):
        await asyncio.sleep(0.002)


def _valid_today(home: setup.Home) -> None:
    """Clients judge the hub's certificate by the machine's clock, whatever the world's says: without this, all tests of whole hubs
    fail ninety days after the day at which worlds begin."""
    file, now = home.root / "hub" / "tls" / "server.pem", datetime.now(UTC)
    held = load_pem_x509_certificate(file.read_bytes())
    names = held.extensions.get_extension_for_class(SubjectAlternativeName).value
    key = held.public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    authority = hub_authority(home.root / "pki" / "hub", now=now)
    issued = authority.issue([str(one.value) for one in names], now=now, public_key=key)
    file.write_bytes(issued.certificate.public_bytes(Encoding.PEM))


@contextlib.asynccontextmanager
async def found(
    directory: Path, *, clock: Clock | None = None, witnesses_at: str = "127.0.0.1", **knobs: Any
) -> AsyncIterator[Founded]:
    """All but the hub, until the block ends."""
    clock = clock or SystemClock()
    home = setup.create(directory, clock)
    _valid_today(home)
    async with contextlib.AsyncExitStack() as stack:
        urls, witnesses = {}, {}
        for name in setup.WITNESSES:
            witness = witnesses[name] = Witness(home.witness(name), clock)
            stack.callback(witness.close)
            runner = await serve(witness, witnesses_at, 0)
            stack.push_async_callback(runner.cleanup)
            urls[name] = f"http://{witnesses_at}:{runner.addresses[0][1]}"
        port = free_port()
        ports = {"port": port, "mtls_port": 0, "public_url": f"https://localhost:{port}"}
        values = home.settings().model_dump() | ports | {"witnesses": urls} | knobs
        settings = Settings.model_validate(values)
        members = {row[0]: setup.sample_member(row[0]) for row in setup.SAMPLE_MEMBERS}
        tokens = {}
        async with working(settings, clock) as services:
            await setup.establish(services, home)
            for slug, member in members.items():
                await setup.add_member(services, home, member)
                _, tokens[slug] = await services.governance.create_token(setup.OPERATOR, slug, days=30)
            rules = await services.rulebook.current()
        collections = {one.alias: one.id for one in rules.registry.collections}
        yield Founded(home, settings, clock, members, tokens, collections, witnesses)


@contextlib.asynccontextmanager
async def make_world(
    directory: Path, *, clock: Clock | None = None, notices: bool = True, **knobs: Any
) -> AsyncIterator[World]:
    """Everything running on loopback until the block ends; without `notices`, what is withdrawn is told by the API alone."""
    async with contextlib.AsyncExitStack() as stack:
        founded = await stack.enter_async_context(found(directory, clock=clock, **knobs))
        if not notices:
            (founded.settings.keys / "notice.key").unlink()
        yield await stack.enter_async_context(opened(founded))


@contextlib.asynccontextmanager
async def opened(founded: Founded) -> AsyncIterator[World]:
    """Its hub running until the block ends, and somebody who can ask it."""
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(founded.settings, founded.clock))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=founded.trusting()), timeout=aiohttp.ClientTimeout(total=30)
            )
        )
        yield World(**vars(founded), hub=hub, session=session)
    await settled()
