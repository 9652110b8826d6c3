"""How an answer is compressed: the codings, and what a client said of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from exchange.release.deflate import deflate
from exchange.release.zstd import compress


class Coding(Enum):
    """Named as in Content-Encoding; of two that a client likes as well, the first is taken."""

    ZSTD = "zstd"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True)
class Packing:
    """The coding that a client takes best; `demanded` when it says that it cannot read the plain form."""

    coding: Coding
    demanded: bool = False


class Packed(Protocol):
    """Content compressed by itself."""

    @property
    def data(self) -> bytes: ...

    def around(self, head: bytes, tail: bytes) -> tuple[bytes, ...]:
        """What is sent, in pieces: head, content and a short tail."""
        ...


_PACKERS: Final[Mapping[Coding, Callable[[bytes], Packed]]] = {Coding.ZSTD: compress, Coding.GZIP: deflate}


def pack(coding: Coding, content: bytes) -> Packed:
    """Takes milliseconds for a page: not for the event loop."""
    return _PACKERS[coding](content)


def packed(coding: Coding, content: bytes) -> bytes:
    """A whole body, compressed."""
    return b"".join(pack(coding, content).around(b"", b""))
