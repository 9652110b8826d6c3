"""C2SP tlog-tiles: how a log's hashes and entries are cut into static files that never change once full."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from exchange.ledger.merkle import HASH_BYTES, HashReader, root_of_joined

HEIGHT = 8
WIDTH = 1 << HEIGHT
"""Hashes in a full tile, entries in a full bundle."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A hash tile (level 0 and up) or an entry bundle (level None). `width` is WIDTH when full."""

    level: int | None
    n: int
    width: int = WIDTH

    def path(self) -> str:
        """`tile/0/x001/067.p/8`, `tile/entries/x001/067`."""
        level = "entries" if self.level is None else str(self.level)
        groups = [f"{self.n % 1000:03d}"]
        rest = self.n // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"


_PATH = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def parse_path(path: str) -> Tile:
    """The tile a path names. Raises ValueError for anything but its one canonical spelling."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError("not a tile path")
    level, groups, width = match.groups()
    tile = Tile(None if level == "entries" else int(level), int(re.sub("[x/]", "", groups)), int(width or WIDTH))
    if tile.width > WIDTH or tile.path() != path:
        raise ValueError("not a tile path")
    return tile


def full_tiles(old: int, new: int) -> Iterator[tuple[int, int]]:
    """The (level, n) of hash tiles that become full when a log grows from `old` to `new` leaves, lower levels first."""
    level = 0
    while new >> (HEIGHT * (level + 1)):
        shift = HEIGHT * (level + 1)
        yield from ((level, n) for n in range(old >> shift, new >> shift))
        level += 1


def tiles_of(size: int) -> Iterator[Tile]:
    """Every hash tile of a log of that size, the partial ones at its edge included."""
    level = 0
    while (count := size >> (HEIGHT * level)) > 0:
        yield from (Tile(level, n) for n in range(count // WIDTH))
        if count % WIDTH:
            yield Tile(level, count // WIDTH, count % WIDTH)
        level += 1


def bundles_of(size: int) -> Iterator[Tile]:
    """Every entry bundle of a log of that size."""
    yield from (Tile(None, n) for n in range(size // WIDTH))
    if size % WIDTH:
        yield Tile(None, size // WIDTH, size % WIDTH)


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each behind its length as a big-endian uint16. Raises ValueError for one that does not fit."""
    if any(len(entry) > 0xFFFF for entry in entries):
        raise ValueError("an entry is longer than 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unbundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ValueError when the lengths do not add up."""
    entries = []
    position = 0
    while position < len(data):
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        if position + 2 > len(data) or end > len(data):
            raise ValueError("a bundle ends inside an entry")
        entries.append(data[position + 2 : end])
        position = end
    return entries


def tile_reader(size: int, read: Callable[[Tile], bytes]) -> HashReader:
    """The hashes of complete subtrees in a log of `size` leaves, each cut from a single tile.

    `read` answers with the bytes of the tiles that `tiles_of(size)` lists. Nothing here verifies them.
    """

    def hashes(asked: list[tuple[int, int]]) -> list[bytes]:
        return [_from_tile(size, read, level, n) for level, n in asked]

    return hashes


def _from_tile(size: int, read: Callable[[Tile], bytes], level: int, n: int) -> bytes:
    # A tile of level t holds the hashes of subtrees of 2**(8t) leaves; up to eight levels above grow out of one tile.
    tile_level, above = divmod(level, HEIGHT)
    start, count = n << above, size >> (HEIGHT * tile_level)
    tile = Tile(tile_level, start // WIDTH, min(WIDTH, count - start // WIDTH * WIDTH))
    data, first = read(tile), start % WIDTH
    if len(data) != tile.width * HASH_BYTES or first + (1 << above) > tile.width:
        raise ValueError(f"{tile.path()} does not hold hash {n} of level {level}")
    return root_of_joined(data[first * HASH_BYTES : (first + (1 << above)) * HASH_BYTES])
