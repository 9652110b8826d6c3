"""An answer in pieces: sent slice by slice as the client reads, so that a slow one holds a slice and not a page."""

from collections.abc import Iterator, Mapping, Sequence

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

SLICE_BYTES = 131_072
"""What a connection holds of its own, encrypted: the page itself is shared by all who are sent it."""

SHORT_BYTES = 4096
"""An end as short as this goes with what is before it: a write costs more than the copy."""


class Pieces(web.StreamResponse):
    """200 with a body of several pieces. They are never joined: a page is megabytes."""

    _send_headers_immediately = False

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self.pieces = pieces
        self.content_length = sum(map(len, pieces))

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.method == hdrs.METH_HEAD:
            self.pieces = ()
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        parts = [part for piece in self.pieces for part in _slices(piece)]
        while len(parts) > 1 and len(parts[-1]) < SHORT_BYTES:
            parts[-2:] = [b"".join(parts[-2:])]
        for part in parts:
            await self.write(part)
        await super().write_eof(data)


def _slices(piece: bytes) -> Iterator[bytes | memoryview]:
    if len(piece) <= SLICE_BYTES:
        yield piece
        return
    whole = memoryview(piece)
    for start in range(0, len(piece), SLICE_BYTES):
        yield whole[start : start + SLICE_BYTES]
