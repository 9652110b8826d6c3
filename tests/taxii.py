"""TAXII requests as tests make them, and the objects they are about."""

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
from taxii2client.common import TokenAuth, _HTTPConnection

from certs.jcs import load
from exchange.cli.setup import OPERATOR
from exchange.ledger.note import Checkpoint, split_note
from exchange.model.member import Collection
from exchange.times import as_text, parse_us
from tests.world import TAXII, World

UNKNOWN = "indicator--00000000-0000-4000-8000-000000000000"


async def collection(world: World, readers: tuple[str, ...], writers: tuple[str, ...]) -> str:
    identity = str(uuid.uuid4())
    alias = f"c-{identity[:8]}"
    found = Collection(identity, alias, f"Collection {alias}", "", readers, writers)
    await world.hub.services.governance.put_collection(OPERATOR, found)
    world.collections[alias] = world.collections[identity] = identity
    return identity


async def call(
    world: World, slug: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, Any], Any]:
    """One request below the API root; every answer with a body is TAXII (NEG-03, NEG-04)."""
    sent = world.headers(slug, **({"Content-Type": TAXII} if body is not None else {}), **headers)
    async with world.session.request(method, world.root + path, headers=sent, data=body) as answer:
        data = await answer.read()
        assert answer.headers["Content-Type"] == TAXII
        found = load(data, max_bytes=10_000_000) if data else {}
        if answer.status >= 400:
            assert found["http_status"] == str(answer.status)
            assert found["error_code"] and found["error_id"]
        return answer.status, found, answer.headers


async def get(world: World, path: str, slug: str = "us-cyber") -> dict[str, Any]:
    status, body, _ = await call(world, slug, "GET", path)
    assert status == 200, body
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [one["id"] for one in body.get("objects", [])]


async def add(world: World, to: str, count: int = 1, **more: Any) -> list[dict[str, Any]]:
    sent = [world.signed("us-cyber", **more) for _ in range(count)]
    status = await world.post("us-cyber", *sent, to=to)
    assert status["success_count"] == count, status
    return sent


def version(world: World, obj: dict[str, Any], modified: str) -> dict[str, Any]:
    """Another version of a signed object."""
    plain = {key: value for key, value in obj.items() if key != "extensions"} | {"modified": modified}
    return world.sign("us-cyber", plain)


def times(obj: dict[str, Any], count: int) -> list[str]:
    """Moments after an object's creation, a microsecond apart."""
    created = parse_us(obj["created"])
    return [as_text(created + n) for n in range(1, count + 1)]


async def walk(world: World, path: str, query: str, limit: int, *, keep: bool) -> tuple[list[str], list[int]]:
    """Follow `next`; the ids and the page sizes. `keep` says whether the filters are repeated, as some clients do."""
    found: list[str] = []
    sizes: list[int] = []
    body = await get(world, f"{path}?limit={limit}&{query}")
    while True:
        found += ids(body)
        sizes.append(len(ids(body)))
        assert ("next" in body) == bool(body.get("more")), "PAG-06, PAG-07"
        if not body.get("more"):
            return found, sizes
        body = await get(world, f"{path}?limit={limit}&next={body['next']}{'&' + query if keep else ''}")


@contextlib.contextmanager
def connection(world: World, slug: str) -> Iterator[_HTTPConnection]:
    """The real taxii2-client's connection, as a member."""
    connection = _HTTPConnection(auth=TokenAuth(world.tokens[slug]), verify=str(world.home.ca_file), version="2.1")
    connection.session.trust_env = False  # a CA bundle named in the environment would win over `verify`
    with contextlib.closing(connection):
        yield connection


async def heads(world: World, *logs: str) -> dict[str, Checkpoint]:
    """What a copy of these logs would be taken of."""
    rows = {log: await world.hub.services.store.checkpoint(log) for log in logs}
    return {log: Checkpoint.parse(split_note(row.note)[0]) for log, row in rows.items() if row is not None}


async def leaves(world: World, log: str, kind: str) -> list[dict[str, Any]]:
    """The entries of one kind in a log, oldest first."""
    store = world.hub.services.store
    size = (await store.trees())[log].size
    return [leaf for data in await store.leaves(log, 0, size) if (leaf := orjson.loads(data))["t"] == kind]


async def private_part(world: World, log: str, leaf: dict[str, Any]) -> Any:
    """The private part of an entry."""
    store = world.hub.services.store
    size = (await store.trees())[log].size
    held = [orjson.loads(data) for data in await store.leaves(log, 0, size)]
    [found] = [one for one in await store.openings(log, 0, size) if held[one.index] == leaf]
    return orjson.loads(found.payload)
