"""The hub's own HTTP server: connections that are counted, timed and closed in order, each request led to the guard."""

import asyncio
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import structlog
from aiohttp import web

from exchange.observe import http_logger
from exchange.settings import Settings
from exchange.web.body import Room
from exchange.web.routes import Guard, Request, Route, Table
from exchange.web.services import Services

_log = structlog.get_logger("puente.web")

BACKLOG = 1024
"""Connections that may wait to be accepted: every member's pollers come at the full minute."""

OTHER_FILES = 200
"""That are open beside the connections: the database, the logs, the witnesses'."""

WATCH_SECONDS = 0.5
"""How often connections are looked through for those whose time is up. Their time is counted in these rounds: while the hub's own
machine stands still nothing can be read from anybody, and no client answers for that."""

_AT_ONCE = 0.1
"""aiohttp reads 0 as "for ever"."""

HEADER_LINES = 64
"""Clients send a dozen. With 8 kB a line at most, an unfinished head is bounded."""
LINE_BYTES = 16_384
"""Of the request line: `match[id]` may list some hundred ids."""


class Connection(web.RequestHandler):
    """One client's connection. A head that is begun must be finished, and what is sent must be read, each in its time."""

    __slots__ = ("_address", "_busy", "_head_since", "_house", "_line", "_stuck_since")

    def __init__(self, house: "Server", **settings: Any) -> None:
        super().__init__(house, **settings)
        self._house = house
        self._line: asyncio.Transport | None = None
        self._address = ""
        self._busy = False
        self._head_since: int | None = None
        self._stuck_since: int | None = None
        """Rounds of the watch."""

    # --- what asyncio tells ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        line = cast(asyncio.Transport, transport)
        self._address = (line.get_extra_info("peername") or ("",))[0]
        if not self._house.admit(self, self._address):
            line.abort()
            return
        self._line = line
        self._head_since = self._house.rounds
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._line is not None:
            self._line = None
            self._house.left(self, self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._line is None:
            return
        if self._head_since is None and not self._busy:
            self._head_since = self._house.rounds
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_since = self._house.rounds

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck_since = None

    # --- from one request to the next ---

    def request_begins(self) -> None:
        self._busy, self._head_since = True, None

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> tuple[Any, bool]:
        if self._house.closing:
            resp.force_close()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._busy = False
            if self._house.closing:  # it was begun before, and said that the connection stays
                self.close()

    # --- what the server asks ---

    def is_late(self, settings: Settings) -> str:
        """What the client let time run out for; "" while it is in time."""
        if self._house.seconds_since(self._head_since) > settings.header_timeout_seconds:
            return "head"
        if self._house.seconds_since(self._stuck_since) > settings.write_timeout_seconds:
            return "reading"
        return ""

    @property
    def is_full(self) -> bool:
        """Whether what is sent waits for the client to read."""
        return self._stuck_since is not None

    def end_if_idle(self) -> None:
        """End the connection unless a request is being answered: its body may still be on its way."""
        if not self._busy:
            self.force_close()

    def cut(self) -> None:
        """End the connection at once: what was not read yet is forgotten."""
        if self._line is not None:
            self._line.abort()


class Server(web.Server):
    """Listens, keeps the connections within their limits, and stops in order."""

    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        settings = services.settings
        table = Table(routes)
        room = Room(settings.bodies_limit_bytes)
        guard = Guard(services, table)

        def request(message: Any, payload: Any, protocol: Connection, writer: Any, task: Any) -> Request:
            protocol.request_begins()
            loop = asyncio.get_running_loop()
            return Request(message, payload, protocol, writer, task, loop, services=services, table=table, room=room)

        super().__init__(
            guard.answer,  # type: ignore[arg-type]  # the requests it is handed are those made here
            request_factory=request,  # type: ignore[arg-type]  # and their connections are ours
            access_log=None,
            logger=http_logger(),
            keepalive_timeout=settings.keepalive_seconds,
            max_line_size=LINE_BYTES,
            max_headers=HEADER_LINES,
            auto_decompress=False,
        )
        self._settings = settings
        self.closing = False
        self.rounds = 0
        """Of the watch, so far."""
        self._listeners: list[asyncio.Server] = []
        self._open: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    async def listen(self, port: int, context: ssl.SSLContext | None) -> int:
        """Serve on the port, or on a free one for 0; the port that it is."""
        _allow_files(self._settings.connections_limit + OTHER_FILES)
        host = self._settings.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=port != 0)
        self._listeners.append(
            await asyncio.get_running_loop().create_server(
                self,
                sock=listener,
                ssl=context,
                backlog=BACKLOG,
                ssl_handshake_timeout=self._settings.header_timeout_seconds if context else None,
                ssl_shutdown_timeout=self._settings.write_timeout_seconds if context else None,
            )
        )
        return int(listener.getsockname()[1])

    # --- who is connected ---

    def admit(self, connection: Connection, address: str) -> bool:
        """Whether one more connection, from there, is within the limits."""
        full = len(self._open) >= self._settings.connections_limit
        if full or self._by_address[address] >= self._settings.connections_per_address:
            self._refused[address] += 1
            return False
        self._open.add(connection)
        self._by_address[address] += 1
        self._empty.clear()
        return True

    def left(self, connection: Connection, address: str) -> None:
        self._open.discard(connection)
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if not self._open:
            self._empty.set()

    def seconds_since(self, since: int | None) -> float:
        """How long ago that round was; 0 for None."""
        return 0 if since is None else (self.rounds - since) * WATCH_SECONDS

    async def watch(self) -> None:
        """End the connections whose clients let time run out, for as long as the hub runs."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.rounds += 1
            for connection in list(self._open):
                if late := connection.is_late(self._settings):
                    _log.info("connection ended", late=late)
                    connection.cut()
            if self._refused:
                _log.warning("connections refused", count=self._refused.total(), addresses=len(self._refused))
                self._refused.clear()

    # --- the end ---

    async def close(self) -> None:
        """No new connections; what was accepted is answered, and read by its client; then the end, in any case in time."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        await asyncio.sleep(0)  # what has arrived is begun
        for connection in list(self._open):
            connection.end_if_idle()
        try:
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("connections cut", count=len(self._open))
            await self.shutdown(_AT_ONCE)
            for connection in list(self._open):
                connection.cut()


def _allow_files(count: int) -> None:
    """Most shells allow 1,024 open files where the system would allow many more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
