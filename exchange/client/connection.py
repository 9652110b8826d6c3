"""One member's connection to one hub: TLS against a given CA, patience while it is busy, refusals in its words."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import hdrs
from yarl import URL

from certs.jcs import JsonError, load
from exchange.clock import Clock
from exchange.errors import (
    Conflict,
    Malformed,
    NotAcceptable,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    NotStix,
    Refusal,
    TooFast,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from exchange.times import as_datetime

TAXII = "application/taxii+json;version=2.1"
JSON = "application/json"

ANSWER_LIMIT_BYTES = 128_000_000
"""The largest answer that is read: a page of objects of the largest size the hub takes stays below it."""

DEPTH_LIMIT = 40
"""The hub's objects may be 32 levels deep, and lie in an envelope."""

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
"""A hub that asks for more patience than this is told to the caller instead."""

_PASSING = frozenset((429, 502, 503, 504))

_KINDS: dict[int, type[Refusal]] = {
    400: Malformed,
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    406: NotAcceptable,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedMedia,
    422: NotStix,
}

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    value: Any = field(default=None, repr=False)
    """The body as JSON, where JSON was asked for."""


class Connection:
    """Sends requests to one hub and to no other host: redirects are refused, so no credential ever follows one.

    Requests are repeated when the hub is busy (429, 502, 503, 504, its Retry-After honoured) and when the connection
    broke. That is safe: the hub takes the same bytes twice as one submission.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        token: str | None = None,
        ca_file: Path | str | None = None,
        client_cert: tuple[Path | str, Path | str] | None = None,
        language: str = "en",
        timeout_seconds: float = 60.0,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self.base = _base(base_url)
        self._clock = clock
        self._token = token
        self._language = language
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=10.0)
        self._tls = _context(ca_file, client_cert) if self.base.scheme == "https" else None
        self._pause = pause
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: str = JSON,
        headers: Mapping[str, str] | None = None,
        json: bool = True,
    ) -> Answer:
        """One request below the hub's address, repeated while that makes sense.

        With `json` the answer is parsed, and one cut short counts as a broken connection. Raises the Refusal that the
        hub answered with, TooFast or Unavailable when patience ends, and Unavailable (`hub-unreachable`) when no
        connection can be made.
        """
        url = self.base.joinpath(path.lstrip("/")).with_query(query or {})
        sent = {hdrs.ACCEPT: accept, hdrs.ACCEPT_LANGUAGE: self._language, **(headers or {})}
        if self._token is not None:
            sent[hdrs.AUTHORIZATION] = f"Bearer {self._token}"
        if body is not None:
            sent[hdrs.CONTENT_TYPE] = TAXII
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(method, url, body, sent, json=json)
            except _Passing as passing:
                if attempt == ATTEMPTS or passing.seconds > LONGEST_PAUSE_SECONDS:
                    raise passing.refusal from None
                await self._pause(max(passing.seconds, _backoff(attempt)))
        raise AssertionError("the last attempt raises")

    async def _once(self, method: str, url: URL, body: bytes | None, sent: Mapping[str, str], *, json: bool) -> Answer:
        if self._session is None:
            raise RuntimeError("a Connection is used inside its `async with` block")
        try:
            sending = None if body is None else BytesIO(body)  # bytes beyond a megabyte would be written at one go
            async with self._session.request(
                method, url, data=sending, headers=sent, allow_redirects=False
            ) as response:
                data = await _read(response)
                answer = Answer(response.status, response.headers.copy(), data)
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unavailable(
                f"The hub's certificate is not to be trusted: {error.certificate_error}.",
                "El certificado del centro no es confiable.",
                code="hub-certificate",
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _Passing(_unreachable(error)) from None
        self._judge(answer)
        if not json:
            return answer
        try:
            return replace(answer, value=_load(data))
        except JsonError as error:
            # It was cut, or something between us and the hub answered in its stead.
            cut = Unavailable(
                f"The hub's answer is not JSON. {error.en}",
                f"La respuesta del centro no es JSON. {error.es}",
                code="hub-answer",
            )
            raise _Passing(cut) from None

    def _judge(self, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            return
        if 300 <= answer.status < 400:
            raise Unavailable(
                "The hub answered with a redirect; check its address.",
                "El centro respondió con una redirección; verifique su dirección.",
                code="hub-redirect",
            )
        seconds = self._retry_after(answer.headers.get(hdrs.RETRY_AFTER, ""))
        refusal = refusal_of(answer, retry_after_seconds=ceil(seconds))
        if answer.status in _PASSING:
            raise _Passing(refusal, seconds)
        raise refusal

    def _retry_after(self, text: str) -> float:
        """RFC 9110, 10.2.3: seconds, or a date. 0 when there is none that can be read."""
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            until: datetime = parsedate_to_datetime(text)
            return max(0.0, (until - as_datetime(self._clock.now_us())).total_seconds())
        except (ValueError, TypeError):
            return 0.0


class _Passing(Exception):
    """A fault that may be gone in a moment."""

    def __init__(self, refusal: Refusal, seconds: float = 0.0) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.seconds = seconds


def refusal_of(answer: Answer, *, retry_after_seconds: int = 0) -> Refusal:
    """The hub's error message (TAXII 2.1, 3.6.1) as the Refusal it was made of. Its sentence has one language only."""
    try:
        message = _load(answer.body)
    except JsonError:
        message = {}
    message = message if isinstance(message, dict) else {}
    text = str(message.get("description") or f"HTTP {answer.status}")[:2000]
    code = str(message.get("error_code") or f"http-{answer.status}")[:64]
    if answer.status == 429:
        return TooFast(text, text, retry_after_seconds=retry_after_seconds)
    if answer.status == 503 or answer.status not in _KINDS:
        return Unavailable(text, text, code=code, retry_after_seconds=retry_after_seconds)
    refusal = _KINDS[answer.status](text, text, code=code)
    details = message.get("details")
    if isinstance(details, dict) and isinstance(details.get("field"), str):
        refusal.field = details["field"]
    return refusal


def _load(data: bytes) -> Any:
    return load(data, max_bytes=ANSWER_LIMIT_BYTES, max_depth=DEPTH_LIMIT)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_chunked(65_536):
        size += len(part)
        if size > ANSWER_LIMIT_BYTES:
            raise TooLarge(
                f"The hub's answer is larger than {ANSWER_LIMIT_BYTES} bytes; ask for smaller pages.",
                f"La respuesta del centro supera {ANSWER_LIMIT_BYTES} bytes; pida páginas más pequeñas.",
                code="hub-answer-size",
            )
        parts.append(part)
    return b"".join(parts)


def _backoff(attempt: int) -> float:
    """Doubling, with jitter: members that were refused together do not come back together."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1), LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret


def _base(text: str) -> URL:
    """Raises Malformed for an address that would carry a credential in clear text, or in itself."""
    url = URL(text)
    if url.scheme not in ("https", "http") or not url.host or url.user or url.password or url.query_string:
        raise Malformed(
            "The hub's address must be https://host[:port].",
            "La dirección del centro debe ser https://host[:puerto].",
            code="hub-address",
            field="base_url",
        )
    if url.scheme == "http" and not _is_loopback(url.host):
        raise Malformed(
            "Plain http is for a hub on this machine only.",
            "El http sin cifrar es solo para un centro en esta misma máquina.",
            code="hub-address",
            field="base_url",
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(ca_file: Path | str | None, client_cert: tuple[Path | str, Path | str] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_cert is not None:
        context.load_cert_chain(*client_cert)
    return context


def _unreachable(error: BaseException) -> Unavailable:
    return Unavailable(
        f"The hub cannot be reached: {type(error).__name__}.",
        f"No se puede contactar al centro: {type(error).__name__}.",
        code="hub-unreachable",
    )
