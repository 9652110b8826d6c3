"""Bytes on disk that have no name: a download can be long without being long in memory, and nothing of it stays behind."""

import io
import os
import tempfile
import weakref
from hashlib import sha256
from typing import BinaryIO


class Spool:
    """Written once, then read as often as one likes; given back to the disk when nobody holds it any more."""

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="puente-feed-")
        os.unlink(name)  # noqa: PTH108  # the name goes, the bytes stay until the descriptor is closed
        self._descriptor = descriptor
        self._digest = sha256()
        self._close = weakref.finalize(self, os.close, descriptor)
        self.size = 0

    def write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.pwrite(self._descriptor, view, self.size + len(piece) - len(view)) :]
        self._digest.update(piece)
        self.size += len(piece)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def open(self) -> BinaryIO:
        """A reader from the start, apart from all others."""
        return io.BufferedReader(_Reader(self, self._descriptor), 1 << 16)

    def read(self) -> bytes:
        with self.open() as stream:
            return stream.read()


class _Reader(io.RawIOBase):
    def __init__(self, spool: Spool, descriptor: int) -> None:
        self._spool = spool  # as long as somebody reads, it is held
        self._descriptor = descriptor
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._spool.size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        read = os.preadv(self._descriptor, [buffer], self._place)
        self._place += read
        return read
