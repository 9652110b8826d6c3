"""Slow, huge, crowded and malicious clients on real sockets, and how the server stops whatever they do."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from exchange.model.member import Access
from exchange.rules import Caller
from exchange.settings import Settings
from exchange.web.negotiate import JSON
from exchange.web.pieces import Pieces
from exchange.web.routes import Request, Route
from exchange.web.server import HEADER_LINES, WATCH_SECONDS, Server
from tests.gate import TOKENS, raw, request, services

PAGE = bytes(1_000_003)
PAGES = 40
"""Together more than the kernel's buffers hold, so that a client who does not read is felt."""

TOKEN = f"Authorization: Bearer {TOKENS['us-cyber']}"
PING = request("GET", "/healthz")
LAST = request("GET", "/healthz", "Connection: close")


class Gate:
    """A handler that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


class Running:
    def __init__(self, server: Server, port: int, gate: Gate) -> None:
        self.server = server
        self.port = port
        self.gate = gate


@contextlib.asynccontextmanager
async def running(**knobs: Any) -> AsyncIterator[Running]:
    gate = Gate()

    async def alive(request: Request, caller: Caller) -> web.Response:
        return web.Response(body=b"alive")

    async def page(request: Request, caller: Caller) -> web.StreamResponse:
        return Pieces([PAGE] * PAGES, {"Content-Type": JSON})

    async def wait(request: Request, caller: Caller) -> web.Response:
        gate.reached.set()
        await gate.opened.wait()
        return web.Response(body=b"waited")

    async def take(request: Request, caller: Caller) -> web.Response:
        return web.Response(body=b"%d" % len(await request.body()))

    async def hold(request: Request, caller: Caller) -> web.Response:
        await request.body()
        return await wait(request, caller)

    routes = (
        Route("GET", "/healthz", Access.ANYONE, alive),
        Route("GET", "/page", Access.ANYONE, page),
        Route("GET", "/wait", Access.ANYONE, wait),
        Route("POST", "/take", Access.MEMBER, take),
        Route("POST", "/hold", Access.MEMBER, hold),
    )
    server = Server(services(Settings(**knobs)), routes)
    port = await server.listen(0, None)
    watching = asyncio.get_running_loop().create_task(server.watch())
    try:
        yield Running(server, port, gate)
    finally:
        gate.opened.set()
        await server.close()
        watching.cancel()


def post(path: str, length: int, *lines: str) -> bytes:
    return request("POST", path, TOKEN, f"Content-Length: {length}", *lines)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side ends the connection, one way or the other."""
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            got += data
    return bytes(got)


# --- slow ones ---


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Slow: "], ids=["nothing", "half"])
async def test_a_head_must_be_finished_in_time(begun: bytes) -> None:
    async with running(header_timeout_seconds=1) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(begun)
        assert await ended(reader) == b""
        writer.close()


async def test_a_dripping_head_is_not_waited_for() -> None:
    """Neither on a connection that was good before."""
    async with running(header_timeout_seconds=1) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(PING)
        assert (await reader.readuntil(b"alive")).startswith(b"HTTP/1.1 200")

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for one in PING[:-2] + b"X: " + b"x" * 1000:
                    writer.write(bytes([one]))
                    await writer.drain()
                    await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as both:
            dripping = both.create_task(drip())
            assert await ended(reader) == b""
            dripping.cancel()
        writer.close()


async def test_a_connection_that_rests_is_left_alone_until_its_time() -> None:
    async with running(header_timeout_seconds=1) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        for _ in range(2):
            writer.write(PING)
            await reader.readuntil(b"alive")
            until = hub.server.rounds + 1 + 2 / WATCH_SECONDS  # longer than a head may take
            while hub.server.rounds < until:
                await asyncio.sleep(0.05)
        writer.close()
    async with running(keepalive_seconds=1) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(PING)
        await reader.readuntil(b"alive")
        assert await ended(reader) == b""
        writer.close()


async def connected(port: int, window: int = 4096) -> tuple[socket.socket, asyncio.AbstractEventLoop]:
    """A client that can keep next to nothing, so that what it does not read stays with the server."""
    client, loop = socket.socket(), asyncio.get_running_loop()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", port))
    return client, loop


async def test_who_does_not_read_is_cut_off() -> None:
    async with running(write_timeout_seconds=1) as hub:
        client, loop = await connected(hub.port)
        await loop.sock_sendall(client, request("GET", "/page"))
        while not hub.server.connections:
            await asyncio.sleep(0.01)
        while hub.server.connections:
            await asyncio.sleep(0.1)
        client.close()


async def test_who_reads_slowly_gets_all_of_it() -> None:
    """Longer than the time-out in all: what counts is that something is read."""
    async with running(write_timeout_seconds=1) as hub:
        client, loop = await connected(hub.port, window=262_144)
        await loop.sock_sendall(client, request("GET", "/page", "Connection: close"))
        got = 0
        for _ in range(20):
            got += len(await loop.sock_recv(client, 262_144))
            await asyncio.sleep(0.1)
        while data := await loop.sock_recv(client, 1 << 20):
            got += len(data)
        assert got > len(PAGE) * PAGES
        client.close()


async def test_a_page_in_flight_is_not_copied_for_each_who_reads_it() -> None:
    async with running() as hub:
        clients = [await connected(hub.port) for _ in range(3)]
        for client, loop in clients:
            await loop.sock_sendall(client, request("GET", "/page"))
        while sum(one.is_full for one in hub.server.connections) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # what is not made to wait would send on
        held = [one.transport.get_write_buffer_size() for one in hub.server.connections if one.transport is not None]
        assert len(held) == 3
        assert 0 < max(held) < len(PAGE)
        for client, _ in clients:
            client.close()


# --- many ones ---


async def alive(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(PING)
        await writer.drain()
    return reader, writer


@pytest.mark.parametrize("knob", ["connections_limit", "connections_per_address"])
async def test_connections_are_counted(knob: str) -> None:
    async with running(**{knob: 2}) as hub:
        kept = [await alive(hub.port) for _ in range(2)]
        for reader, _ in kept:
            assert await reader.readuntil(b"alive")
        refused, writer = await alive(hub.port)
        assert await ended(refused) == b""
        writer.close()
        kept[0][1].close()
        while len(hub.server.connections) > 1:
            await asyncio.sleep(0.01)
        again, writer = await alive(hub.port)
        assert await again.readuntil(b"alive")
        for open_one in (writer, kept[1][1]):
            open_one.close()


async def test_there_are_files_for_as_many() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        async with running(connections_limit=600):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(800, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- huge ones ---


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{n}: 1" for n in range(HEADER_LINES + 5)],
        ["X-Long: " + "x" * 9000],
        ["X-Long: " + "x" * 2_000_000],
    ],
    ids=["many", "long", "endless"],
)
async def test_heads_have_a_size(lines: list[str]) -> None:
    async with running() as hub:
        got = await raw(hub.port, request("GET", "/healthz", *lines), PING)
        assert got.startswith(b"HTTP/1.0 400")
        assert got.count(b"HTTP/1.") == 1


async def test_a_request_line_has_a_size() -> None:
    async with running() as hub:
        assert (await raw(hub.port, request("GET", "/healthz?x=" + "x" * 15_000, "Connection: close"))).startswith(
            b"HTTP/1.1 200"
        )
        assert (await raw(hub.port, request("GET", "/healthz?x=" + "x" * 17_000))).startswith(b"HTTP/1.0 400")


async def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    async with running(body_limit_bytes=1000) as hub:
        got = await raw(hub.port, post("/take", 100_000))  # and not a byte of it
        assert got.startswith(b"HTTP/1.1 413")
        assert b"Connection: close" in got


async def test_all_bodies_together_have_a_limit() -> None:
    """What one request holds, until it is answered, another cannot have; a declared length is believed before reading."""
    async with running(bodies_limit_bytes=1000) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(post("/hold", 700) + b"x" * 700)
        await hub.gate.reached.wait()
        refused = await raw(hub.port, post("/take", 301, "Connection: close"))
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 2" in refused and b"bodies-full" in refused
        dripped = request("POST", "/take", TOKEN, "Transfer-Encoding: chunked")
        chunk = b"12c\r\n" + b"x" * 300 + b"\r\n"
        assert (await raw(hub.port, dripped + chunk + b"1\r\nx\r\n0\r\n\r\n", LAST)).startswith(b"HTTP/1.1 503")
        assert (await raw(hub.port, dripped + chunk + b"0\r\n\r\n", LAST)).startswith(b"HTTP/1.1 200")
        hub.gate.opened.set()
        assert await reader.readuntil(b"waited")
        writer.close()
        last = post("/take", 1000, "Connection: close") + b"x" * 1000
        assert (await raw(hub.port, last)).endswith(b"1000"), "all of it was given back"


# --- malicious ones ---

HOST = b"Host: hub\r\n"
SMUGGLED = b"GET /page HTTP/1.1\r\nHost: hub\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 5\r\n 6\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"X: 1\rTransfer-Encoding: chunked\r\n",
        b"X: 1\nContent-Length: 5\r\n",
        b"X: \x00\r\n",
        b": empty\r\n",
    ],
)
async def test_two_ways_to_read_a_request_are_none(lines: bytes) -> None:
    """RFC 9112, 6.3 and 11.2: never 200 with a second request found in what the first may have meant as its body."""
    async with running() as hub:
        head = b"POST /take HTTP/1.1\r\n" + HOST + TOKEN.encode() + b"\r\n" + lines + b"\r\n"
        got = await raw(hub.port, head + b"0\r\n\r\n" + SMUGGLED)
        # Who closes on bytes that it does not read resets the connection, and with it may go the answer.
        assert got == b"" or got.startswith(b"HTTP/1.0 400"), got[:200]
        assert got.count(b"HTTP/1.") <= 1


@pytest.mark.parametrize(
    "chunk", [b"5;\r\nhello", b"5\nhello\r\n", b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"-1\r\nx\r\n"]
)
async def test_chunks_have_one_spelling(chunk: bytes) -> None:
    async with running() as hub:
        got = await raw(hub.port, request("POST", "/take", TOKEN, "Transfer-Encoding: chunked"), chunk + SMUGGLED)
        assert not got.startswith(b"HTTP/1.1 200")
        assert b"\r\n\r\n" + PAGE[:100] not in got


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 ", b"http/1.1", b""])
async def test_other_versions_of_http_are_none_of_ours(version: bytes) -> None:
    async with running() as hub:
        got = await raw(hub.port, b"GET /healthz " + version + b"\r\n" + HOST + b"\r\n")
        assert got == b"" or got.split()[1] == b"400"


async def test_an_upgrade_is_not_taken_up() -> None:
    async with running() as hub:
        upgrade = request("GET", "/healthz", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(upgrade)
        assert (await reader.readuntil(b"alive")).startswith(b"HTTP/1.1 200")
        writer.close()


# --- the end ---


async def test_what_was_accepted_is_answered_and_nothing_new_is() -> None:
    async with running(shutdown_seconds=20) as hub:
        idle_reader, idle_writer = await alive(hub.port)
        await idle_reader.readuntil(b"alive")
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(request("GET", "/wait"))
        await hub.gate.reached.wait()
        async with asyncio.TaskGroup() as both:
            closing = both.create_task(hub.server.close())
            assert await ended(idle_reader) == b"", "who asks nothing is not waited for"
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", hub.port)
            assert not closing.done()
            hub.gate.opened.set()
            got = await ended(reader)
        assert got.startswith(b"HTTP/1.1 200") and got.endswith(b"waited")
        for one in (writer, idle_writer):
            one.close()


async def test_a_page_being_sent_is_sent_to_its_end() -> None:
    """And its end is the connection's, though the answer began as one that leaves it open."""
    async with running(shutdown_seconds=3600) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(request("GET", "/page"))
        got = len(await reader.readexactly(1000))
        async with asyncio.TaskGroup() as both:
            both.create_task(hub.server.close())
            await asyncio.sleep(0.1)
            got += len(await ended(reader))
        assert got > len(PAGE) * PAGES
        writer.close()


async def test_it_ends_whatever_clients_do() -> None:
    """One does not read, one rests, one has begun a head, one a body, and one handler never ends: no other limit ends them."""
    never = dict.fromkeys(
        ("header_timeout_seconds", "body_timeout_seconds", "write_timeout_seconds", "keepalive_seconds"), 3600
    )
    async with running(shutdown_seconds=1, **never) as hub:
        stalled, loop = await connected(hub.port)
        await loop.sock_sendall(stalled, request("GET", "/page"))
        others = []
        for sent in (PING, b"GET / HT", post("/take", 1000) + b"x", request("GET", "/wait")):
            others.append(await asyncio.open_connection("127.0.0.1", hub.port))
            others[-1][1].write(sent)
        await hub.gate.reached.wait()
        await hub.server.close()
        for reader, writer in others:
            await ended(reader)
            writer.close()
        stalled.close()
