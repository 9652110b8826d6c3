"""The guard's door with as little as possible behind it: four members, no ledger, and routes that a test brings."""

import asyncio
import contextlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestClient

from exchange.clock import FixedClock
from exchange.governance.credentials import new_token
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Country, Credential, Member, Status
from exchange.release.page import Release
from exchange.rules import RuleBook
from exchange.settings import Settings
from exchange.store.answers import Epochs, Registry
from exchange.store.contract import Store
from exchange.web.routes import Route
from exchange.web.server import Server
from exchange.web.services import Services

CLOCK = FixedClock()
MEMBERS = {
    slug: Member(slug, f"identity--{slug}", Country.US, "agency", roles, (), slug, slug, status)
    for slug, roles, status in (
        ("us-cyber", ("agency",), Status.ACTIVE),
        ("aud-us", ("auditor",), Status.ACTIVE),
        ("us-gone", ("agency",), Status.SUSPENDED),
        ("us-fast", ("agency",), Status.ACTIVE),
    )
}
TOKENS: dict[str, str] = {}
CREDENTIALS: dict[str, Credential] = {}
for _slug in MEMBERS:
    _credential, TOKENS[_slug] = new_token(_slug, now_us=CLOCK.now_us(), days=1, note="")
    CREDENTIALS[_credential.id] = _credential


class Register:
    """As much of a store as the guard asks: who is a member, and that nothing changed."""

    async def epochs(self) -> Epochs:
        return Epochs("open", 0, 0, 1, 0, 0, 0)

    async def registry(self) -> Registry:
        return Registry(1, MEMBERS, CREDENTIALS, (), {}, (), None)

    async def agreement(self, number: int | None = None) -> None:
        return None


def services(settings: Settings) -> Services:
    store = cast(Store, Register())
    rulebook, sequencer = RuleBook(store, CLOCK), Sequencer(store)
    sequencer.close()  # nothing can be written: refusals are counted
    release = Release(store, sequencer, rulebook, CLOCK, cache_bytes=0)
    found = SimpleNamespace(settings=settings, clock=CLOCK, store=store, rulebook=rulebook, release=release)
    return cast(Services, found)


class HubServer(BaseTestServer):
    def __init__(self, settings: Settings, routes: Sequence[Route]) -> None:
        super().__init__()
        self._settings = settings
        self._routes = routes

    async def _make_runner(self, **kwargs: Any) -> web.ServerRunner:
        return web.ServerRunner(Server(services(self._settings), self._routes))


Client = TestClient[web.BaseRequest, None]


def as_(slug: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[slug]}", **more}


async def raw(port: int, *parts: bytes, pause: float = 0.0, host: str = "127.0.0.1") -> bytes:
    """Send bytes over one connection, read all that comes back until the server closes it. What leaves it open is followed by a
    request that closes it."""
    reader, writer = await asyncio.open_connection(host, port)
    got = b""
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        while data := await reader.read(65536):
            got += data
            if b"\r\nConnection: close\r\n" in got:
                writer.write_eof()  # the server would wait ten seconds for what it was not sent
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return got


def request(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: hub", *lines, "", ""]).encode()
