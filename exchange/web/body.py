"""Reading a request's body: streamed, never beyond its limit, never longer than its deadline, and all of them together
never beyond what the process has room for."""

import asyncio
from contextlib import nullcontext

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from exchange.errors import Malformed, TooLarge, Unavailable
from exchange.settings import Settings

DRAINED_BYTES = 65_536
"""An unread body up to this size is read and dropped so that the connection stays usable; beyond, it is closed."""


class Room:
    """How much of all the bodies that are being read and worked on this process holds at once."""

    def __init__(self, limit_bytes: int) -> None:
        self.left = limit_bytes

    def must_have(self, size: int) -> None:
        """Raise Unavailable unless so many bytes would find room now."""
        if size > self.left:
            raise Unavailable(
                "The hub is taking in as much as it can hold. Try again shortly.",
                "El centro está recibiendo todo lo que puede contener. Intente de nuevo en breve.",
                code="bodies-full",
                retry_after_seconds=2,
            )


class Held:
    """One request's part of the room, from its body's first byte until it is answered."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._size = 0

    def take(self, size: int) -> None:
        self.room.must_have(size)
        self.room.left -= size
        self._size += size

    def let_go(self) -> None:
        self.room.left += self._size
        self._size = 0


async def read_body(request: web.BaseRequest, settings: Settings, held: Held) -> bytes:
    """The whole body. Raises TooLarge over the limit (chunked or not), Malformed when it is broken or late, Unavailable
    when there is no room for it."""
    limit = settings.body_limit_bytes
    length = request.content_length or 0
    if length > limit:
        raise _too_large(limit)
    held.room.must_have(length)
    await _invite(request)
    parts: list[bytes] = []
    size = 0
    try:
        # What came with the head is here: no time can run out.
        async with nullcontext() if request.content.is_eof() else asyncio.timeout(settings.body_timeout_seconds):
            while part := await request.content.readany():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                held.take(len(part))
                parts.append(part)
    except TimeoutError:
        raise Malformed(
            "The body did not arrive in time.", "El cuerpo no llegó a tiempo.", code="body-timeout"
        ) from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        raise Malformed("The body is broken off.", "El cuerpo está incompleto.", code="body-broken") from None
    return b"".join(parts)


async def _invite(request: web.BaseRequest) -> None:
    # RFC 9110, 10.1.1: a client that waits for leave gets it only here, after everything else about it was checked.
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def close_if_unread(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """After an answer that leaves a body unread, never read the rest of it as the next request (RFC 9112, 9.3)."""
    if request.content.is_eof():
        return
    small = request.content_length is not None and request.content_length <= DRAINED_BYTES
    if not small or hdrs.EXPECT in request.headers:
        response.force_close()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit} bytes.", f"El cuerpo supera los {limit} bytes.", code="body-too-large"
    )
