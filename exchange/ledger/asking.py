"""The log's side of the witness protocol: what is sent to a witness, and what its answer means. Nothing here is verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import aiohttp

from exchange.ledger.mirror import Piece
from exchange.ledger.note import decimal
from exchange.ledger.remembering import COPY_MEDIA_TYPE, SIZE_MEDIA_TYPE, Request

ANSWER_LIMIT_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The witness answered with signature lines, not yet verified."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Behind:
    """The witness has seen another size than the one that was proved from."""

    size: int


@dataclass(frozen=True, slots=True)
class Copying:
    """The witness mirrors the log and holds only so many of its entries."""

    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The witness will not cosign this, now or later."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No usable answer this time; ask again in the next round."""

    reason: str


Said = Cosigned | Behind | Copying | Refused | Unreachable


async def add_checkpoint(
    session: aiohttp.ClientSession, url: str, old: int, proof: Sequence[bytes], note: bytes, timeout_seconds: float
) -> Said:
    """Ask the witness at this submission prefix to cosign a note. Whatever the network does becomes an answer."""
    return await _post(session, url, "add-checkpoint", Request(old, tuple(proof), note).encode(), timeout_seconds)


async def add_entries(session: aiohttp.ClientSession, url: str, piece: Piece, timeout_seconds: float) -> Said:
    """Give the mirror at this submission prefix a piece of the log; Copying when it holds it now, or another size."""
    answer = await _post(session, url, "add-entries", piece.encode(), timeout_seconds)
    return Copying(answer.size) if isinstance(answer, Behind) else answer


async def _post(session: aiohttp.ClientSession, url: str, what: str, body: bytes, timeout_seconds: float) -> Said:
    try:
        async with session.post(
            f"{url.rstrip('/')}/{what}",
            data=body,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            allow_redirects=False,
        ) as response:
            data = await _bounded(response)
            return _understood(response.status, response.content_type, data.decode())
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        return Unreachable(f"{type(error).__name__}: {error}")


async def newest_checkpoint(
    session: aiohttp.ClientSession, url: str, origin: str, timeout_seconds: float
) -> bytes | Unreachable | None:
    """The note that the witness at this prefix cosigned last for the origin, not verified; None if it has none."""
    try:
        async with session.get(
            f"{url.rstrip('/')}/{sha256(origin.encode()).hexdigest()}/checkpoint",
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            allow_redirects=False,
        ) as response:
            if response.status == 200:
                return await _bounded(response)
            return None if response.status == 404 else Unreachable(f"HTTP {response.status}")
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        return Unreachable(f"{type(error).__name__}: {error}")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > ANSWER_LIMIT_BYTES:
            raise ValueError("the answer is too large")
    return bytes(data)


def _understood(status: int, media_type: str, text: str) -> Said:
    if media_type == SIZE_MEDIA_TYPE and status in (200, 409):
        return Behind(decimal(text.removesuffix("\n")))
    if media_type == COPY_MEDIA_TYPE and status == 503:
        return Copying(decimal(text.removesuffix("\n")))
    if status == 200:
        lines = text.removesuffix("\n").split("\n")
        if all(line.startswith("\N{EM DASH} ") for line in lines):
            return Cosigned(tuple(lines))
        return Unreachable("the answer holds other things than signature lines")
    if status >= 500 or status == 429:
        return Unreachable(f"HTTP {status}")
    return Refused(status, text[:500])
