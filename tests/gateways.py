"""Two countries with a gateway each, for tests: what they relay, and what their books say."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from exchange.cli import setup
from exchange.client import Client
from exchange.clock import FixedClock, SystemClock
from exchange.gateway.opening import Opening
from exchange.gateway.relay import Gateway, Run
from exchange.times import as_text
from tests.world import World, make_world

HOUR = 3_600
ASSET = "tos.costabrava.example"


@contextlib.asynccontextmanager
async def gateway_world(directory: Path, **more: Any) -> AsyncIterator[World]:
    """The world of the other tests with a gateway and a second port in each country, and a clock that is moved by hand."""
    clock = FixedClock(as_text(SystemClock().now_us()))
    assets = {"mx-puerto-pac": [ASSET, "203.0.113.0/24"]}
    knobs = {"witness_interval_seconds": 0.2, "checkpoint_interval_seconds": 0.05, "assets": assets}
    async with make_world(directory, clock=clock, **knobs, **more) as made:
        services = made.hub.services
        for slug in (row[0] for row in setup.SAMPLE_ADDITIONS):
            member = setup.sample_member(slug)
            await setup.add_member(services, made.home, member)
            made.members[member.slug] = member
            _, made.tokens[member.slug] = await services.governance.create_token(setup.OPERATOR, member.slug, days=30)
        yield made


def client_of(world: World, slug: str) -> Client:
    signer = world.home.signer(slug, world.members[slug].identity_id)
    return Client(world.hub.url, clock=world.clock, token=world.tokens[slug], ca_file=world.home.ca_file, signer=signer)


async def relay(world: World, slug: str = "mx-gateway", *, again: bool = False, wait: bool = True) -> Run:
    """One run in the next period."""
    if wait:
        world.clock.advance(seconds=HOUR)  # type: ignore[attr-defined]
    async with client_of(world, slug) as client:
        run = await Gateway(client, world.home.root / f"{slug}-book", world.clock).run(again=again)
    assert run.fault is None, run.fault
    return run


async def got(world: World, slug: str, collection: str = "indicators", **match: str) -> list[dict[str, Any]]:
    async with client_of(world, slug) as client:
        return [one async for one in client.pull(collection, match=match)]


async def gateways_of(world: World, slug: str, by: str = "mx-gateway") -> list[dict[str, Any]]:
    identity = world.members[by].identity_id
    return [one for one in await got(world, slug) if one.get("created_by_ref") == identity]


async def standing_for(world: World, original: str, slug: str = "us-maritime") -> dict[str, Any]:
    """What the other country has in an original's stead."""
    with Gateway(client_of(world, "mx-gateway"), world.home.root / "mx-gateway-book", world.clock).book() as book:
        found = book.newest("indicators", original)
        assert found is not None
    return next(one for one in await got(world, slug) if one["id"] == found.new_id)


def opened(world: World, new_id: str) -> Opening:
    with Gateway(client_of(world, "mx-gateway"), world.home.root / "mx-gateway-book", world.clock).book() as book:
        sent = book.sent(new_id)
    assert sent is not None
    return Opening(
        object=sent.new_id, object_version=sent.version, attestation=sent.attestation, original=sent.original_id,
        original_version=sent.original_version, original_sha256=sent.original_sha256, salt=sent.salt.hex(),
    )  # fmt: skip


async def ports(world: World, **more: Any) -> dict[str, Any]:
    """An indicator of the Mexican port, taken in."""
    sent = world.signed("mx-puerto-pac", **more)
    status = await world.post("mx-puerto-pac", sent)
    assert status["success_count"] == 1, status
    return sent
