"""What is asked of every TAXII 2.1 server alike: take objects in, answer polls that find nothing, give everything out."""

import asyncio
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from bench.corpus import envelopes
from bench.load import Measured, Wire, Work, measure
from bench.processes import Server

TAXII = "application/taxii+json;version=2.1"
PAGE_OBJECTS = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """A collection at a server: its URL, and one Authorization header for each client."""

    url: str
    writer: str
    readers: tuple[str, ...]
    ca_file: str | None = None

    def headers(self, authorization: str) -> dict[str, str]:
        return {"Accept": TAXII, "Content-Type": TAXII, "Authorization": authorization}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs, and its one collection."""

    server: Server
    place: Place


async def load(server: Server, place: Place, objects: Sequence[bytes], batch: int, clients: int) -> Measured:
    """Every object in envelopes of `batch`, from several clients at once. Done is what the statuses call a success."""
    waiting = iter(list(envelopes(objects, batch)))

    async def work(wire: Wire) -> int:
        stored = 0
        for body in waiting:
            answer, _ = await wire.ask("POST", f"{place.url}objects/", headers=place.headers(place.writer), body=body, expect=202)  # fmt: skip
            status = orjson.loads(answer)
            if status["failure_count"]:
                raise RuntimeError(f"refused: {status['failures'][0]}")
            stored += status["success_count"]
        return stored

    return await measure(server, [work] * clients, ca_file=place.ca_file)


async def pull(server: Server, place: Place, clients: int, rounds: int = 1) -> Measured:
    """The whole collection page after page, by several clients at once. Done is the objects that came."""

    def puller(authorization: str) -> Work:
        async def work(wire: Wire) -> int:
            return sum([await walk(wire, place, authorization) for _ in range(rounds)])

        return work

    return await measure(server, [puller(one) for one in _cycle(place.readers, clients)], ca_file=place.ca_file)


async def pull_gzip(server: Server, place: Place, clients: int, rounds: int = 1) -> Measured:
    """The same in gzip, as real clients ask for it. What came is unpacked and counted when the last has all: here clients and
    server share their cores."""
    came: list[bytes] = []

    def puller(authorization: str) -> Work:
        async def work(wire: Wire) -> int:
            for _ in range(rounds):
                await walk(wire, place, authorization, came)
            return 0

        return work

    measured = await measure(server, [puller(one) for one in _cycle(place.readers, clients)], ca_file=place.ca_file)
    measured.done = sum([_objects_in(zlib.decompress(body, zlib.MAX_WBITS | 16)) for body in came])
    return measured


async def walk(wire: Wire, place: Place, authorization: str, packed: list[bytes] | None = None) -> int:
    """Everything, page after page: how many objects came. With `packed` in gzip, whose bodies go there uncounted."""
    headers = place.headers(authorization) | ({} if packed is None else {"Accept-Encoding": "gzip"})
    objects, following = 0, ""
    while True:
        url = f"{place.url}objects/?limit={PAGE_OBJECTS}{following}"
        body, _ = await wire.ask("GET", url, headers=headers)
        if packed is None:
            objects += _objects_in(body)
        else:
            packed.append(body)  # its head is not compressed, for `next` is each reader's own
        head = body[:400] + body[-400:]  # `next` stands before the objects or after them; parsing is not measured
        if b'"more":true' not in head.replace(b": ", b":"):
            return objects
        following = f"&next={quote(_next(body), safe='')}"


def _objects_in(body: bytes) -> int:
    return body.count(b'"pattern_type"')


def _next(body: bytes) -> str:
    for part in (body[:400], body[-400:]):
        compact = part.replace(b": ", b":")
        if b'"next":"' in compact:
            return compact.partition(b'"next":"')[2].partition(b'"')[0].decode()
    return str(orjson.loads(body)["next"])


NOTHING_NEW = "objects/?added_after=2099-01-01T00:00:00.000000Z"
"""A poll that finds nothing: what most requests of most days are. (OpenTAXII asks for all six digits.)"""

FIRST_PAGE = f"objects/?match[type]=indicator&limit={PAGE_OBJECTS}"


async def ask(server: Server, place: Place, paths: Sequence[str], clients: int, *, coding: str = "") -> Measured:
    """These questions, shared out among several clients. Done is requests."""
    waiting = iter(paths)
    more = {"Accept-Encoding": coding} if coding else {}

    def asker(authorization: str) -> Work:
        async def work(wire: Wire) -> int:
            answered = 0
            for path in waiting:
                await wire.ask("GET", f"{place.url}{path}", headers=place.headers(authorization) | more)
                answered += 1
            return answered

        return work

    return await measure(server, [asker(one) for one in _cycle(place.readers, clients)], ca_file=place.ca_file)


async def packed_page(server: Server, place: Place, coding: str) -> bytes:
    """The first page as it leaves in gzip or zstd."""
    found = b""

    async def work(wire: Wire) -> int:
        nonlocal found
        headers = place.headers(place.readers[0]) | {"Accept-Encoding": coding}
        found, answered = await wire.ask("GET", f"{place.url}{FIRST_PAGE}", headers=headers)
        if answered.get("Content-Encoding") != coding:
            raise RuntimeError(f"the page did not come in {coding}")
        return 1

    await measure(server, [work], ca_file=place.ca_file)
    return found


async def poll(server: Server, place: Place, clients: int, rounds: int, every: float) -> Measured:
    """Polls that find nothing, as pollers make them: over connections that stand, each one every so many seconds, and not
    all at the same moment."""

    async def once(wire: Wire, authorization: str) -> None:
        await wire.ask("GET", f"{place.url}{NOTHING_NEW}", headers=place.headers(authorization))

    async def before(wire: Wire) -> int:
        await once(wire, place.readers[0])
        return 1

    def poller(number: int, authorization: str) -> Work:
        async def work(wire: Wire) -> int:
            begin = time.perf_counter() + every * number / clients
            for turn in range(rounds):
                await asyncio.sleep(max(0, begin + every * turn - time.perf_counter()))
                await once(wire, authorization)
            return rounds

        return work

    pollers = [poller(number, one) for number, one in enumerate(_cycle(place.readers, clients))]
    return await measure(server, pollers, ca_file=place.ca_file, before=before)


def _cycle(values: tuple[str, ...], count: int) -> Iterator[str]:
    return (values[number % len(values)] for number in range(count))
