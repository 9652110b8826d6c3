"""One gzip member out of pieces that were compressed apart, as every reader of gzip sees it."""

import gzip
import subprocess
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.release.deflate import deflate


def member(head: bytes, content: bytes, tail: bytes) -> bytes:
    return b"".join(deflate(content).around(head, tail))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=3000).map(lambda some: some * 7), st.binary(max_size=20))
def test_what_goes_in_comes_out(head: bytes, content: bytes, tail: bytes) -> None:
    """By readers that check the length and CRC-32 at the end."""
    packed = member(head, content, tail)
    assert gzip.decompress(packed) == head + content + tail
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert reader.decompress(packed) + reader.flush() == head + content + tail
    assert reader.eof and not reader.unused_data, "one member: some clients stop after the first"


@pytest.mark.parametrize("size", [0, 1, 65_534, 65_535, 65_536, 200_000])
def test_heads_of_any_length(size: int) -> None:
    """A stored block holds 65,535 bytes."""
    head = b"x" * size
    assert gzip.decompress(member(head, b"content" * 100_000, b"]}")) == head + b"content" * 100_000 + b"]}"


def test_one_piece_serves_every_head() -> None:
    piece = deflate(b'{"type":"indicator"}' * 1000)
    for head in (b'{"more":false,"objects":[', b'{"more":true,"next":"a","objects":['):
        assert gzip.decompress(b"".join(piece.around(head, b"]}"))) == head + b'{"type":"indicator"}' * 1000 + b"]}"
    assert len(piece.data) < 1000


def test_the_gzip_command_agrees() -> None:
    packed = member(b"head", b"content" * 10_000, b"tail")
    try:
        done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, timeout=20, check=False)
    except FileNotFoundError:
        pytest.skip("no gzip command here")
    assert (done.returncode, done.stdout) == (0, b"head" + b"content" * 10_000 + b"tail")


def test_any_altered_piece_is_noticed() -> None:
    packed = bytearray(member(b"head", b"content" * 100, b"tail"))
    packed[-8] ^= 1
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(bytes(packed))
