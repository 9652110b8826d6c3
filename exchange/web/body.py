"""Reading a request's body: streamed, never beyond its limit, never longer than its deadline."""

import asyncio

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from exchange.errors import Malformed, TooLarge
from exchange.settings import Settings

DRAINED_BYTES = 65_536
"""An unread body up to this size is read and dropped so that the connection stays usable; beyond, it is closed."""


async def read_body(request: web.Request, settings: Settings) -> bytes:
    """The whole body. Raises TooLarge over the limit (chunked or not), Malformed when it is broken or late."""
    limit = settings.body_limit_bytes
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    await _invite(request)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_timeout_seconds):
            while part := await request.content.readany():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise Malformed(
            "The body did not arrive in time.", "El cuerpo no llegó a tiempo.", code="body-timeout"
        ) from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        raise Malformed("The body is broken off.", "El cuerpo está incompleto.", code="body-broken") from None
    return b"".join(parts)


async def _invite(request: web.Request) -> None:
    # RFC 9110, 10.1.1: a client that waits for leave gets it only here, after everything else about it was checked.
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def close_if_unread(request: web.Request, response: web.StreamResponse) -> None:
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
