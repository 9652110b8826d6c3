"""Answers as HTTP has them: compressed for who can read that, tagged where they may be asked for again, finished at the end."""

import asyncio
import gzip
import subprocess
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
import requests
from taxii2client.v21 import Collection
from urllib3.util.request import make_headers

from exchange.hub import running, working
from tests.taxii import UNKNOWN, connection
from tests.unit.test_zstd import read
from tests.world import TAXII, World, found, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

OBJECTS = 12


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("answers")) as made:
        await made.post("us-cyber", *[made.signed("us-cyber", name=f"señal {n}") for n in range(OBJECTS)])
        yield made


def objects(world: World) -> str:
    return f"{world.root}collections/{world.collections['indicators']}/objects/"


async def bare(world: World, method: str, url: str, slug: str = "us-cyber", **headers: str) -> tuple[int, bytes, Any]:
    """Status, the bytes as they were sent, and headers."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=world.trusting()), auto_decompress=False) as session,
        session.request(
            method,
            url,
            headers=world.headers(slug, **headers),
            skip_auto_headers=["Accept-Encoding"],
        ) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


# --- gzip ---


async def test_a_page_is_sent_as_gzip(world: World) -> None:
    """Each member finds its own `next` in front of the same compressed objects."""
    url = f"{objects(world)}?limit=9"
    plain: dict[str, bytes] = {}
    for slug in ("us-cyber", "us-customs"):
        status, plain[slug], headers = await bare(world, "GET", url, slug)
        assert (status, headers.get("Content-Encoding"), headers["Vary"]) == (200, None, "Accept-Encoding")
        assert headers["Cache-Control"] == "no-store"
    assert plain["us-cyber"] != plain["us-customs"], "cursors are bound to who asked"
    for slug in plain:
        status, packed, headers = await bare(world, "GET", url, slug, **{"Accept-Encoding": "br, gzip"})
        assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, "gzip", "Accept-Encoding")
        assert headers["Content-Length"] == str(len(packed))
        assert headers["X-Audit-Leaf"] and headers["Content-Type"] == TAXII
        reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
        sent = orjson.loads(reader.decompress(packed))
        assert reader.eof and not reader.unused_data, "one member"
        assert sent["objects"] == orjson.loads(plain[slug])["objects"]
        assert len(packed) < len(plain[slug]) / 2
        status, nothing, head = await bare(world, "HEAD", url, slug, **{"Accept-Encoding": "gzip"})
        assert (nothing, head["Content-Encoding"]) == (b"", "gzip")
        assert abs(int(head["Content-Length"]) - len(packed)) < 20, "cursors differ by a few bytes"
        status, _, headers = await bare(world, "GET", url, slug, **{"Accept-Encoding": "gzip;q=0.5, identity"})
        assert "Content-Encoding" not in headers


async def test_the_first_time_too(world: World) -> None:
    """Whether it is compressed depends on what is asked and on what the answer has, on nothing that happened before."""
    for limit, accept, coding in ((5, "gzip", "gzip"), (6, "gzip, identity;q=0", "gzip"), (7, "identity;q=0", None)):
        url = f"{objects(world)}?limit={limit}"
        status, body, headers = await bare(world, "GET", url, **{"Accept-Encoding": accept})
        assert (status, headers.get("Content-Encoding")) == (200, coding)
        assert orjson.loads(gzip.decompress(body) if coding else body)["more"]


async def test_zstd_for_who_names_it(world: World) -> None:
    """One frame, as a reader wants it that stops after the first; and of small answers, what cannot be read otherwise."""
    url = f"{objects(world)}?limit=12"
    _, plain, _ = await bare(world, "GET", url)
    for accept in ("gzip, deflate, zstd", "zstd", "gzip;q=0.5, zstd;q=0.6"):
        status, packed, headers = await bare(world, "GET", url, **{"Accept-Encoding": accept})
        assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, "zstd", "Accept-Encoding")
        assert headers["Content-Length"] == str(len(packed))
        assert orjson.loads(read(packed))["objects"] == orjson.loads(plain)["objects"]
    _, packed, headers = await bare(world, "GET", world.root, **{"Accept-Encoding": "zstd, identity;q=0"})
    assert (headers["Content-Encoding"], "title" in orjson.loads(read(packed))) == ("zstd", True)


async def test_small_answers_are_sent_as_they_are_unless_that_is_refused(world: World) -> None:
    empty = f"{objects(world)}?added_after=2099-01-01T00:00:00Z"
    missing = f"{objects(world)}{UNKNOWN}/"
    for url, status in ((empty, 200), (missing, 404), (world.root, 200)):
        for _ in range(3):
            found_status, body, headers = await bare(world, "GET", url, **{"Accept-Encoding": "gzip"})
            assert (found_status, headers.get("Content-Encoding")) == (status, None)
        demanded = {"Accept-Encoding": "gzip, *;q=0"}
        found_status, packed, headers = await bare(world, "GET", url, **demanded)
        assert (found_status, headers["Content-Encoding"]) == (status, "gzip")
        assert orjson.loads(gzip.decompress(packed)).keys() == orjson.loads(body).keys()
        _, nothing, head = await bare(world, "HEAD", url, **demanded)
        assert (nothing, head["Content-Encoding"]) == (b"", "gzip")


async def test_manifests_are_pages_too(world: World) -> None:
    url = objects(world).replace("/objects/", "/manifest/")
    _, plain, _ = await bare(world, "GET", url)
    _, packed, headers = await bare(world, "GET", url, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == plain


async def test_clients_read_it(world: World) -> None:
    """aiohttp, requests, curl and taxii2-client, none of which is told that anything is compressed."""
    url = f"{objects(world)}?limit=10"
    headers = world.headers("us-cyber", **{"Accept-Encoding": "gzip, deflate"})
    _, plain, _ = await bare(world, "GET", url)
    expected = orjson.loads(plain)["objects"]
    async with world.session.get(url, headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert (await answer.json(content_type=None))["objects"] == expected

    def by_requests() -> requests.Response:
        return requests.get(url, headers=headers, verify=str(world.home.ca_file), timeout=20)

    for accept, coding in (("gzip, deflate", "gzip"), (make_headers(accept_encoding=True)["accept-encoding"], "zstd")):
        headers["Accept-Encoding"] = accept
        response = await asyncio.to_thread(by_requests)
        assert response.headers["Content-Encoding"] == coding, "urllib3 asks for zstd where it can read it"
        assert response.json()["objects"] == expected

    def by_taxii2_client() -> Any:
        with connection(world, "us-cyber") as wire:
            return Collection(url.split("objects/")[0], conn=wire).get_objects(limit=10)

    assert (await asyncio.to_thread(by_taxii2_client))["objects"] == expected

    def by_curl() -> bytes:
        authorization = f"Authorization: {headers['Authorization']}"
        command = ["curl", "-sS", "--compressed", "--cacert", str(world.home.ca_file), "-H", authorization, url]
        return subprocess.run(command, capture_output=True, timeout=20, check=True).stdout

    try:
        assert orjson.loads(await asyncio.to_thread(by_curl))["objects"] == expected
    except FileNotFoundError:
        pytest.skip("no curl here")


# --- entity tags ---


async def test_what_is_known_is_not_sent_again(world: World) -> None:
    status_id = (await world.post("us-cyber", world.signed("us-cyber")))["id"]
    one = world.signed("us-cyber")
    await world.post("us-cyber", one)
    collection = f"{world.root}collections/{world.collections['indicators']}/"
    kept = "private, no-cache"
    for url, caching in {
        f"{world.hub.url}/taxii2/": kept,
        world.root: kept,
        f"{world.root}collections/": kept,
        collection: kept,
        f"{world.root}status/{status_id}/": kept,
        f"{world.hub.url}/ledger/us/leaf/0": "private, max-age=31536000, immutable",
        f"{world.hub.url}/api/v1/openapi.json": kept,
        f"{collection}objects/{one['id']}/": "no-store",
    }.items():
        slug = "aud-us" if "/ledger/" in url else "us-cyber"
        status, body, headers = await bare(world, "GET", url, slug)
        tag = headers["ETag"]
        assert (status, headers["Cache-Control"]) == (200, caching), url
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            status, nothing, again = await bare(world, "GET", url, slug, **{"If-None-Match": known})
            assert (status, nothing, again["ETag"], again["Cache-Control"]) == (304, b"", tag, caching)
            assert again["Vary"] == "Accept-Encoding"
        status, nothing, head = await bare(world, "HEAD", url, slug)
        assert (status, nothing, head["ETag"], head["Content-Length"]) == (200, b"", tag, str(len(body)))
        assert (await bare(world, "HEAD", url, slug, **{"If-None-Match": tag}))[0] == 304
        status, same, _ = await bare(world, "GET", url, slug, **{"If-None-Match": '"other", nonsense'})
        assert (status, same) == (200, body)


async def test_a_changed_thing_has_another_tag(world: World) -> None:
    one = world.signed("us-cyber")
    await world.post("us-cyber", one)
    url = f"{objects(world)}{one['id']}/"
    tag = (await bare(world, "GET", url))[2]["ETag"]
    newer = {**world.indicator("us-cyber"), "id": one["id"], "created": one["created"]}
    await world.post("us-cyber", world.sign("us-cyber", newer))
    status, body, headers = await bare(world, "GET", url, **{"If-None-Match": tag})
    assert status == 200 and headers["ETag"] != tag
    assert orjson.loads(body)["objects"][0]["modified"] == newer["modified"]


async def test_what_is_not_to_be_kept_has_no_tag(world: World) -> None:
    """A page is recorded as released each time: its entry, not its bytes, is what is asked for. Refusals neither."""
    for url, slug in ((objects(world), "us-cyber"), (f"{world.hub.url}/api/v1/me", "us-cyber"), (world.root, "nobody")):
        headers = {"Authorization": "Bearer no"} if slug == "nobody" else {}
        status, _, answered = await bare(world, "GET", url, "us-cyber", **headers, **{"If-None-Match": "*"})
        assert status == (401 if slug == "nobody" else 200)
        assert "ETag" not in answered
        assert answered["Cache-Control"] == "no-store"


# --- the end ---


async def test_a_submission_in_flight_is_taken_in_when_the_hub_stops(tmp_path: Path) -> None:
    """Half of it came before: the rest is waited for, answered with 202, and durable."""
    async with found(tmp_path) as founded:
        body = orjson.dumps({"objects": [founded.signed("us-cyber")]})
        collection = founded.collections["indicators"]
        head = "\r\n".join(
            [
                f"POST /taxii2/us-mx/collections/{collection}/objects/ HTTP/1.1",
                "Host: localhost",
                *[f"{name}: {value}" for name, value in founded.headers("us-cyber").items()],
                f"Content-Type: {TAXII}",
                f"Content-Length: {len(body)}",
                "Expect: 100-continue",
                "",
                "",
            ]
        ).encode()
        stopping = asyncio.Event()

        async def serve(started: asyncio.Future[int]) -> None:
            async with running(founded.settings, founded.clock) as hub:
                started.set_result(hub.port)
                await stopping.wait()

        async with asyncio.TaskGroup() as tasks:
            started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            serving = tasks.create_task(serve(started))
            port = await started
            reader, writer = await asyncio.open_connection("localhost", port, ssl=founded.trusting())
            writer.write(head)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(body[:100])
            await writer.drain()
            stopping.set()
            while True:
                try:
                    _, other = await asyncio.open_connection("localhost", port)
                    other.close()
                    await asyncio.sleep(0.05)
                except ConnectionError:
                    break
            assert not serving.done()
            writer.write(body[100:])
            answer = await reader.read()
            writer.close()
        assert answer.startswith(b"HTTP/1.1 202")
        assert b'"success_count":1' in answer
        async with working(founded.settings, founded.clock) as services:
            assert len(await services.store.held(orjson.loads(body)["objects"][0]["id"])) == 1


async def test_it_stops_in_time_whoever_is_connected(tmp_path: Path) -> None:
    """Over TLS: one client that never answers, one that rests, one that never shook hands. No other limit ends them."""
    never = dict.fromkeys(("header_timeout_seconds", "write_timeout_seconds", "keepalive_seconds"), 3600)
    async with found(tmp_path, shutdown_seconds=1, **never) as founded:
        async with running(founded.settings, founded.clock) as hub:
            silent = await asyncio.open_connection("localhost", hub.port)
            resting = await asyncio.open_connection("localhost", hub.port, ssl=founded.trusting())
            resting[1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await resting[0].readline()).startswith(b"HTTP/1.1 200")
            resting[1].transport.pause_reading()
        for _, writer in (silent, resting):
            writer.transport.abort()


async def test_a_handshake_must_be_made_in_time(tmp_path: Path) -> None:
    """Before it the hub's own connections do not begin; TLS has the time that a head has."""
    async with found(tmp_path, header_timeout_seconds=1) as founded, running(founded.settings, founded.clock) as hub:
        reader, writer = await asyncio.open_connection("localhost", hub.port)
        assert await reader.read() == b""
        writer.close()
