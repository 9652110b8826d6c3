"""Where lost leaves can be had again: an auditor's copy, or the mirrors that witnesses keep."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import aiohttp

from exchange.ledger.note import NOTE_LIMIT_BYTES, Checkpoint, NoteFault, Policy, note_text, split_note
from exchange.ledger.tiles import WIDTH, Tile, unbundle

BUNDLE_LIMIT_BYTES = WIDTH * (2 + 0xFFFF)
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)


class SourceFault(Exception):
    """The source has not got it, or what it has cannot be read."""


class Source(Protocol):
    """Nothing that a source says is believed: its leaves must hash to a root that the operator's own policy accepts."""

    async def notes(self, log: str, origin: str) -> list[bytes]:
        """Checkpoints of the log, with the signatures there are."""
        ...

    async def file(self, log: str, origin: str, path: str) -> bytes | None:
        """A file of the log by its C2SP path, None when there is none. Raises SourceFault."""
        ...


class Folder:
    """An audit copy on disk (ledger/pack.py)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def notes(self, log: str, origin: str) -> list[bytes]:
        found = await self.file(log, origin, "checkpoint")
        return [] if found is None else [found]

    async def file(self, log: str, origin: str, path: str) -> bytes | None:
        return await asyncio.to_thread(self._read, self._directory / log / path)

    @staticmethod
    def _read(path: Path) -> bytes | None:
        try:
            with path.open("rb") as stream:
                return stream.read(BUNDLE_LIMIT_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceFault(f"{path}: {error.strerror}") from None


class Mirrors:
    """Witnesses that keep the leaves they cosigned: `<url>/<sha256 of the origin>/checkpoint` and `…/tile/entries/…`."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str], tokens: Sequence[str]) -> None:
        """`tokens`: of each witness, in the same order, what its `reader.token` holds."""
        self._session = session
        self._urls = [url.rstrip("/") for url in urls]
        self._tokens = dict(zip(self._urls, tokens, strict=True))

    @property
    def address(self) -> str:
        return " ".join(self._urls)

    def each(self) -> list["Mirrors"]:
        """Every one of them by itself."""
        return [Mirrors(self._session, [url], [token]) for url, token in self._tokens.items()]

    async def notes(self, log: str, origin: str) -> list[bytes]:
        found = []
        for url in self._urls:
            try:
                note = await self._get(url, origin, "checkpoint", NOTE_LIMIT_BYTES)
            except SourceFault:
                continue  # the others may do
            found += [note] if note is not None else []
        return found

    async def file(self, log: str, origin: str, path: str) -> bytes | None:
        faults = []
        for url in self._urls:
            try:
                found = await self._get(url, origin, path, BUNDLE_LIMIT_BYTES)
            except SourceFault as fault:
                faults.append(str(fault))
                continue
            if found is not None:
                return found
        if faults:
            raise SourceFault("; ".join(faults))
        return None

    async def _get(self, url: str, origin: str, path: str, limit_bytes: int) -> bytes | None:
        address = f"{url}/{sha256(origin.encode()).hexdigest()}/{path}"
        try:
            async with self._session.get(
                address,
                headers={"Authorization": f"Bearer {self._tokens[url]}"},
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise SourceFault(f"{address}: HTTP {answer.status}")
                data = await answer.content.read(limit_bytes + 1)
                while more := await answer.content.read(limit_bytes + 1 - len(data)):
                    data += more
                return data
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise SourceFault(f"{address}: {type(error).__name__}") from None


async def newest(source: Source, log: str, policy: Policy) -> tuple[Checkpoint, bytes] | None:
    """The largest checkpoint of a log for which the policy holds, with its note. Witnesses' lines on one text are put together."""
    lines: dict[str, dict[str, None]] = {}
    for origin in dict.fromkeys(key.name for key in policy.logs):
        for note in await source.notes(log, origin):
            try:
                body, signed = split_note(note)
            except NoteFault:
                continue
            lines.setdefault(body, {}).update(dict.fromkeys(signed))
    good = []
    for body, signed_by in lines.items():
        note = note_text(f"{body}\n".encode(), signed_by)
        try:
            good.append((policy.check(note).checkpoint, note))
        except NoteFault:
            continue
    return max(good, key=lambda one: one[0].size, default=None)


async def entries(source: Source, log: str, checkpoint: Checkpoint, start: int) -> AsyncIterator[list[bytes]]:
    """The leaves from `start` up to the checkpoint's size, a bundle at a time. Raises SourceFault."""
    for n in range(start // WIDTH, -(-checkpoint.size // WIDTH)):
        width = min(WIDTH, checkpoint.size - n * WIDTH)
        data = await source.file(log, checkpoint.origin, Tile(None, n, width).path())
        if data is None and width < WIDTH:  # the source may have grown past it: then the bundle is full there
            data = await source.file(log, checkpoint.origin, Tile(None, n).path())
        if data is None:
            raise SourceFault(f"{log}: {Tile(None, n, width).path()} is missing")
        try:
            leaves = unbundle(data)[:width]
        except ValueError as error:
            raise SourceFault(f"{log}: {Tile(None, n, width).path()}: {error}") from None
        if len(leaves) != width:
            raise SourceFault(f"{log}: {Tile(None, n, width).path()} has {len(leaves)} of {width} leaves")
        yield leaves[max(0, start - n * WIDTH) :]
