"""Unpacking as bytes arrive, a bounded piece at a time: a small bomb costs no more memory than a large file."""

import lzma
import zlib
from collections.abc import Iterator

from feeds.faults import FeedFault

CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Of HTTP's Content-Encoding."""

_PIECE_BYTES = 1 << 18
_XZ_MEMORY_BYTES = 256_000_000


class Unpacking:
    """`coding` is "gzip", "deflate", "xz", or "" for bytes as they are. Raises FeedFault for what is not that."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._begin()
        self._begun = False

    def push(self, data: bytes) -> Iterator[bytes]:
        if not self._coding:
            yield data
            return
        try:
            while data:
                if self._done:  # one stream after another, as parallel packers write them; zeros are padding
                    data = data.lstrip(b"\0")
                    if not data:
                        return
                    self._begin()
                self._begun = True
                yield from self._pieces(data)
                data = self._packed.unused_data if self._done else b""
        except (lzma.LZMAError, zlib.error):
            raise broken() from None

    def end(self) -> None:
        """Raises FeedFault unless what was pushed is whole."""
        if self._coding and not (self._begun and self._done):
            raise broken()

    def _begin(self) -> None:
        self._done = False
        self._packed: lzma.LZMADecompressor | zlib._Decompress = (
            lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
            if self._coding == "xz"
            else zlib.decompressobj(CODINGS.get(self._coding, 0))
        )

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        packed = self._packed
        while not self._done:
            piece = packed.decompress(data, _PIECE_BYTES)
            self._done = packed.eof
            data = b"" if isinstance(packed, lzma.LZMADecompressor) else packed.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < _PIECE_BYTES:
                return


def coding_of(name: str) -> str:
    """How a file is packed, by its name."""
    return "xz" if name.endswith(".xz") else "gzip" if name.endswith(".gz") else ""


def broken() -> FeedFault:
    return FeedFault("feed-form", "The source's packing is broken.", "La compresión de la fuente está dañada.")
