"""One careful download: https to public addresses only, few redirects, every byte and second counted."""

import asyncio
import lzma
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import hdrs
from yarl import URL

from feeds.faults import FeedFault
from feeds.guard import Reach, check_address, check_text, check_url

REDIRECTS = 3
_REDIRECTED = frozenset((301, 302, 303, 307, 308))
_PASSING = frozenset((429, 500, 502, 503, 504))

USER_AGENT = "puente-feeds/0.1"

_CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_XZ_MEMORY_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of one download is read. Sizes count after unpacking, so a small bomb is a large file."""

    size_bytes: int = 200_000_000
    deadline_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A body, unpacked, with the validators to ask conditionally next time."""

    url: str
    body: bytes = field(repr=False)
    content_type: str = ""
    etag: str = ""
    last_modified: str = ""


async def fetch(
    address: str,
    *,
    caps: Caps,
    reach: Reach,
    etag: str = "",
    last_modified: str = "",
    accept: str = "application/json, */*;q=0.1",
) -> Downloaded | None:
    """Download one URL; None when it has not changed since the validators were given.

    The address that a name resolves to is judged and then connected to, with no second look-up in between; each of at
    most three redirects is judged like the first URL. No cookie, proxy setting or credential takes part.
    Raises FeedFault.
    """
    url = check_url(address, reach)
    headers = {hdrs.USER_AGENT: USER_AGENT, hdrs.ACCEPT: accept, hdrs.ACCEPT_ENCODING: "gzip, deflate"}
    conditions = {hdrs.IF_NONE_MATCH: etag, hdrs.IF_MODIFIED_SINCE: last_modified}
    headers |= {name: value for name, value in conditions.items() if value}
    try:
        async with asyncio.timeout(caps.deadline_seconds), _session(reach) as session:
            for _ in range(REDIRECTS + 1):
                async with session.get(url, headers=headers, allow_redirects=False) as response:
                    if response.status in _REDIRECTED:
                        url = _next_url(url, response.headers.get(hdrs.LOCATION, ""), reach)
                        continue
                    return await _answer(url, response, caps)
    except TimeoutError:
        raise FeedFault(
            "feed-slow",
            f"The source did not finish within {caps.deadline_seconds:g} seconds.",
            f"La fuente no terminó en {caps.deadline_seconds:g} segundos.",
        ) from None
    except (aiohttp.ClientError, OSError) as error:
        raise FeedFault(
            "feed-unreachable",
            f"The source cannot be reached: {type(error).__name__}.",
            f"No se puede contactar a la fuente: {type(error).__name__}.",
        ) from None
    raise FeedFault("feed-redirect", "The source redirects too often.", "La fuente redirige demasiadas veces.")


def _session(reach: Reach) -> aiohttp.ClientSession:
    def checked_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        # The last moment before connecting, and the very address that is connected to: nothing can rebind after it.
        check_address(str(info[4][0]), reach)
        return socket.socket(info[0], info[1], info[2])

    connector = aiohttp.TCPConnector(socket_factory=checked_socket, use_dns_cache=False, force_close=True)
    return aiohttp.ClientSession(
        connector=connector, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    )


def _next_url(url: URL, location: str, reach: Reach) -> URL:
    if not location:
        raise FeedFault("feed-redirect", "A redirect leads nowhere.", "Una redirección no lleva a ninguna parte.")
    check_text(location)
    try:
        joined = url.join(URL(location))
    except ValueError:
        raise FeedFault(
            "feed-redirect", "A redirect leads nowhere.", "Una redirección no lleva a ninguna parte."
        ) from None
    return check_url(str(joined), reach)


async def _answer(url: URL, response: aiohttp.ClientResponse, caps: Caps) -> Downloaded | None:
    if response.status == 304:
        return None
    if response.status != 200:
        seconds = response.headers.get(hdrs.RETRY_AFTER, "")
        wait = int(seconds[:6]) if response.status in _PASSING and seconds.isascii() and seconds.isdigit() else 0
        raise FeedFault(
            "feed-http",
            f"The source answered {response.status}.",
            f"La fuente respondió {response.status}.",
            retry_after_seconds=wait,
        )
    coding = response.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    body = await _body(response, coding, caps.size_bytes)
    return Downloaded(
        str(url),
        await asyncio.to_thread(unpack, body, url.path, caps.size_bytes),
        response.headers.get(hdrs.CONTENT_TYPE, ""),
        response.headers.get(hdrs.ETAG, ""),
        response.headers.get(hdrs.LAST_MODIFIED, ""),
    )


async def _body(response: aiohttp.ClientResponse, coding: str, limit: int) -> bytes:
    if coding not in ("", "identity", *_CODINGS):
        raise FeedFault(
            "feed-form", "The source's encoding is not known.", "No se conoce la codificación de la fuente."
        )
    inflate = zlib.decompressobj(_CODINGS[coding]) if coding in _CODINGS else None
    parts, size = [], 0
    async for part in response.content.iter_chunked(65_536):
        try:
            piece = inflate.decompress(part, limit + 1 - size) if inflate else part
        except zlib.error:
            raise _broken() from None
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        parts.append(piece)
    if inflate is not None and not inflate.eof:
        raise _broken()
    return b"".join(parts)


# --- packed files ---


def unpack(data: bytes, name: str, limit: int) -> bytes:
    """The content of a file, unpacked if its name ends in .xz or .gz. Raises FeedFault beyond `limit` bytes."""
    try:
        if name.endswith(".xz"):
            xz = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
            content, whole = xz.decompress(data, limit + 1), xz.eof
        elif name.endswith(".gz"):
            gz = zlib.decompressobj(_CODINGS["gzip"])
            content, whole = gz.decompress(data, limit + 1), gz.eof
        else:
            content, whole = data, True
    except (lzma.LZMAError, zlib.error):
        raise _broken() from None
    if len(content) > limit:
        raise _too_large(limit)
    if not whole:
        raise _broken()
    return content


def read_local(path: Path, limit: int) -> bytes:
    """A local file, unpacked. Raises FeedFault."""
    try:
        if path.stat().st_size > limit:
            raise _too_large(limit)
        return unpack(path.read_bytes(), path.name, limit)
    except OSError as error:
        raise FeedFault(
            "feed-unreachable", f"{path} cannot be read: {error.strerror}.", f"No se puede leer {path}."
        ) from None


def local_path(location: str) -> Path | None:
    """The path of a local source (`file:///…` or a plain path), None for a URL."""
    if location.startswith("file://"):
        return Path(location.removeprefix("file://"))
    return None if "://" in location else Path(location)


def validators(cursor: Mapping[str, str], location: str) -> dict[str, str]:
    """What was kept of the last download of this very location, as arguments of `fetch`."""
    if cursor.get("location") != location:
        return {}
    return {name: cursor[name] for name in ("etag", "last_modified") if cursor.get(name)}


def _too_large(limit: int) -> FeedFault:
    return FeedFault(
        "feed-size",
        f"The source is larger than the {limit} bytes it is allowed.",
        f"La fuente supera los {limit} bytes permitidos.",
    )


def _broken() -> FeedFault:
    return FeedFault("feed-form", "The source's packing is broken.", "La compresión de la fuente está dañada.")
