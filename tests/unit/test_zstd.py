"""One Zstandard frame out of pieces that were compressed apart, as every reader of it sees it."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.release.zstd import compress

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor


def frame(head: bytes, content: bytes, tail: bytes) -> bytes:
    return b"".join(compress(content).around(head, tail))


def read(packed: bytes) -> bytes:
    """By a reader that stops after the first frame, and that is given no size beforehand."""
    reader = ZstdDecompressor(options={DecompressionParameter.window_log_max: 23})  # 8 MB (RFC 9659)
    found = reader.decompress(packed)
    assert reader.eof
    assert not reader.unused_data
    return found


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=3000).map(lambda some: some * 7), st.binary(max_size=20))
def test_what_goes_in_comes_out(head: bytes, content: bytes, tail: bytes) -> None:
    assert read(frame(head, content, tail)) == head + content + tail


@pytest.mark.parametrize("size", [0, 1, 131_071, 131_072, 131_073, 400_000])
def test_heads_and_contents_of_any_length(size: int) -> None:
    """A block holds 131,072 bytes."""
    for content in (b"content" * 100_000, bytes(size), b""):
        assert read(frame(b"x" * size, content, b"]}")) == b"x" * size + content + b"]}"


def test_one_piece_serves_every_head() -> None:
    piece = compress(b'{"type":"indicator"}' * 1000)
    for head in (b'{"more":false,"objects":[', b'{"more":true,"next":"a","objects":['):
        assert read(b"".join(piece.around(head, b"]}"))) == head + b'{"type":"indicator"}' * 1000 + b"]}"
    assert len(piece.data) < 100
