"""One careful download: https to public addresses only, few redirects, every byte and second counted."""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO

import aiohttp
from aiohttp import hdrs
from yarl import URL

from certs.faults import KeyFault
from certs.keys import load_secret
from feeds.faults import FeedFault
from feeds.guard import Reach, check_address, check_text, check_url
from feeds.spool import Spool
from feeds.unpack import CODINGS, Unpacking, coding_of

REDIRECTS = 3
_REDIRECTED = frozenset((301, 302, 303, 307, 308))
_PASSING = frozenset((429, 500, 502, 503, 504))

USER_AGENT = "puente-feeds/0.1"


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of one download is read. Sizes count after unpacking, so a small bomb is a large file."""

    size_bytes: int = 200_000_000
    deadline_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Credential:
    """What one host is told, and no other: a redirect that leaves it goes on without."""

    header: str = ""
    """Name of the header that carries it."""
    query: str = ""
    """Name of the query parameter that does."""
    secret: str = field(default="", repr=False)

    def put(self, url: URL, headers: dict[str, str]) -> tuple[URL, dict[str, str]]:
        if self.header:
            return url, {**headers, self.header: self.secret}
        return (url.update_query({self.query: self.secret}) if self.query else url), headers

    def hidden(self, url: URL) -> str:
        """The URL as it may be kept and shown."""
        return str(url.without_query_params(self.query) if self.query else url)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A body, unpacked, with the validators to ask conditionally next time."""

    url: str
    body: Spool = field(repr=False)
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
    credential: Credential | None = None,
    body: bytes = b"",
    ca_file: str = "",
    user_agent: str = USER_AGENT,
    accept: str = "application/json, */*;q=0.1",
) -> Downloaded | None:
    """Download one URL; None when it has not changed since the validators were given.

    The address that a name resolves to is judged and then connected to, with no second look-up in between; each of at
    most three redirects is judged like the first URL. No cookie or proxy setting takes part, and the credential is for
    the origin of `address` alone. A JSON `body` is posted, and follows no redirect. Raises FeedFault.
    """
    url = check_url(address, reach)
    home, known = url.origin(), credential or Credential()
    headers: dict[str, str] = {hdrs.USER_AGENT: user_agent, hdrs.ACCEPT: accept, hdrs.ACCEPT_ENCODING: "gzip, deflate"}
    conditions = {hdrs.IF_NONE_MATCH: etag, hdrs.IF_MODIFIED_SINCE: last_modified}
    headers |= {name: value for name, value in conditions.items() if value}
    if body:
        headers[hdrs.CONTENT_TYPE] = "application/json"
    try:
        async with asyncio.timeout(caps.deadline_seconds), _session(reach, ca_file) as session:
            for _ in range(REDIRECTS + 1):
                sent = known.put(url, headers) if url.origin() == home else (url, headers)
                async with session.request(
                    "POST" if body else "GET", sent[0], headers=sent[1], data=body or None, allow_redirects=False
                ) as response:
                    if response.status in _REDIRECTED and not body:
                        url = _next_url(url, response.headers.get(hdrs.LOCATION, ""), reach)
                        continue
                    found = await _answer(url, response, caps)
                    return found and replace(found, url=known.hidden(url))
    except TimeoutError:
        raise FeedFault(
            "feed-slow",
            f"The source did not finish within {caps.deadline_seconds:g} seconds.",
            f"La fuente no terminó en {caps.deadline_seconds:g} segundos.",
        ) from None
    except aiohttp.ClientConnectorCertificateError:
        raise FeedFault(
            "feed-certificate",
            "The source's certificate is not for its name, or nobody vouches for it.",
            "El certificado de la fuente no es de su nombre, o nadie responde por él.",
        ) from None
    except (aiohttp.ClientError, OSError) as error:
        raise FeedFault(
            "feed-unreachable",
            f"The source cannot be reached: {type(error).__name__}.",
            f"No se puede contactar a la fuente: {type(error).__name__}.",
        ) from None
    raise FeedFault("feed-redirect", "The source redirects too often.", "La fuente redirige demasiadas veces.")


def _session(reach: Reach, ca_file: str) -> aiohttp.ClientSession:
    def checked_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        # The last moment before connecting, and the very address that is connected to: nothing can rebind after it.
        check_address(str(info[4][0]), reach)
        return socket.socket(info[0], info[1], info[2])

    trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector = aiohttp.TCPConnector(socket_factory=checked_socket, use_dns_cache=False, force_close=True, ssl=trusted)
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


def retry_after_seconds(headers: Mapping[str, str]) -> int:
    """How long a server asks to be left alone: seconds, or a date by its own clock (RFC 9110, 10.2.3)."""
    said = headers.get(hdrs.RETRY_AFTER, "").strip()
    if said.isascii() and said.isdigit():
        return int(said[:6])
    try:
        return max(
            0, round((parsedate_to_datetime(said) - parsedate_to_datetime(headers.get(hdrs.DATE, ""))).total_seconds())
        )
    except (ValueError, TypeError):
        return 0


async def _answer(url: URL, response: aiohttp.ClientResponse, caps: Caps) -> Downloaded | None:
    if response.status == 304:
        return None
    if response.status != 200:
        wait = retry_after_seconds(response.headers) if response.status in _PASSING else 0
        raise FeedFault(
            "feed-http",
            f"The source answered {response.status}.",
            f"La fuente respondió {response.status}.",
            retry_after_seconds=wait,
        )
    coding = response.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if coding not in ("", "identity", *CODINGS):
        raise FeedFault(
            "feed-form", "The source's encoding is not known.", "No se conoce la codificación de la fuente."
        )
    sent, packed, spool = Unpacking(coding if coding in CODINGS else ""), Unpacking(coding_of(url.path)), Spool()
    async for part in response.content.iter_chunked(65_536):
        # In a thread: what is unpacked and written may be a thousand times what came.
        await asyncio.to_thread(_write, spool, packed, sent.push(part), caps.size_bytes)
    sent.end()
    packed.end()
    return Downloaded(
        str(url),
        spool,
        response.headers.get(hdrs.CONTENT_TYPE, ""),
        response.headers.get(hdrs.ETAG, ""),
        response.headers.get(hdrs.LAST_MODIFIED, ""),
    )


def _write(spool: Spool, packed: Unpacking, parts: Iterable[bytes], limit: int) -> None:
    for part in parts:
        for piece in packed.push(part):
            if spool.size + len(piece) > limit:
                raise _too_large(limit)
            spool.write(piece)


# --- local files ---


def open_local(path: Path, limit: int) -> BinaryIO:
    """A local file, unpacked if its name ends in .xz or .gz. Raises FeedFault beyond `limit` bytes."""
    try:
        if path.stat().st_size > limit:
            raise _too_large(limit)
        coding = coding_of(path.name)
        if not coding:
            return path.open("rb")
        with path.open("rb") as stream:
            return unpacked(iter(lambda: stream.read(65_536), b""), coding, limit).open()
    except OSError as error:
        raise FeedFault(
            "feed-unreachable", f"{path} cannot be read: {error.strerror}.", f"No se puede leer {path}."
        ) from None


def read_local(path: Path, limit: int) -> bytes:
    """All of a local file, for what is no longer than fits. Raises FeedFault."""
    with open_local(path, limit) as stream:
        return stream.read()


def unpacked(parts: Iterable[bytes], coding: str, limit: int) -> Spool:
    """What packed bytes hold. Raises FeedFault."""
    spool, packed = Spool(), Unpacking(coding)
    _write(spool, packed, parts, limit)
    packed.end()
    return spool


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


def secret_of(path: str) -> str:
    """A password or key from its file. Raises FeedFault (`feed-password`) for one that others can read."""
    try:
        return load_secret(Path(path)).decode().strip()
    except (KeyFault, OSError, UnicodeDecodeError):
        raise FeedFault(
            "feed-password",
            f"{path} cannot be read, or others can read it too; run chmod 600 on it.",
            f"No se puede leer {path}, o también otros pueden leerlo; ejecute chmod 600.",
        ) from None
