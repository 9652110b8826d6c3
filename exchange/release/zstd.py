"""A page compressed once by Zstandard, and sent behind a head that differs for each member: one frame out of stored blocks.

A frame is a header and blocks (RFC 8878, 3.1.1). What stands around the objects goes into raw blocks, which leave the
decoder's state as it was; the objects' own blocks were made by themselves and refer to nothing before them. Frames one after
another would be simpler, but not every reader goes on after the first.
"""

import sys
from dataclasses import dataclass, field

if sys.version_info >= (3, 14):
    from compression.zstd import CompressionParameter, ZstdCompressor
else:
    from backports.zstd import CompressionParameter, ZstdCompressor

LEVEL = 3
"""Of Zstandard: less time than zlib's 3, and fewer bytes."""

_WINDOW_LOG = 21  # 2 MB; a reader of HTTP need not bear more than 8 (RFC 9659)
_HEADER = b"\x28\xb5\x2f\xfd\x00\x58"  # the magic number; no sizes, dictionaries or checksums; that window
_BLOCK_BYTES = 131_072  # the most that a block may hold (RFC 8878, 3.1.1.2.4)
_OPTIONS: dict[int, int] = {
    CompressionParameter.compression_level: LEVEL,
    CompressionParameter.window_log: _WINDOW_LOG,
    CompressionParameter.content_size_flag: 0,
    CompressionParameter.checksum_flag: 0,
    CompressionParameter.dict_id_flag: 0,
}


@dataclass(frozen=True, slots=True)
class Blocks:
    """Bytes as blocks of a frame, that more can follow."""

    data: bytes = field(repr=False)

    def around(self, head: bytes, tail: bytes) -> tuple[bytes, ...]:
        """One frame of head, content and a short tail."""
        starts = range(0, len(head), _BLOCK_BYTES)
        before = b"".join([_raw(head[start : start + _BLOCK_BYTES], last=False) for start in starts])
        return _HEADER + before, self.data, _raw(tail, last=True)


def compress(content: bytes) -> Blocks:
    """Takes milliseconds for a page: not for the event loop."""
    frame = ZstdCompressor(options=_OPTIONS).compress(content, ZstdCompressor.FLUSH_BLOCK)
    if content and not frame.startswith(_HEADER):
        raise ValueError("Zstandard writes another header than the one its blocks are to be sent under")
    return Blocks(frame[len(_HEADER) :])


def _raw(content: bytes, *, last: bool) -> bytes:
    return (len(content) << 3 | last).to_bytes(3, "little") + content
