"""Every small tree against a naive one, and every altered proof refused."""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.ledger import merkle
from exchange.ledger.merkle import EMPTY, EMPTY_ROOT, Frontier, leaf_hash, node_hash
from exchange.ledger.tiles import (
    WIDTH,
    Tile,
    bundle,
    bundles_of,
    full_tiles,
    parse_path,
    tile_reader,
    tiles_of,
    unbundle,
)

LARGEST = 300
LEAVES = [leaf_hash(b"%d" % i) for i in range(LARGEST)]


@cache
def naive_root(start: int, end: int) -> bytes:
    """RFC 6962, 2.1, word by word, over some of the leaves."""
    if end - start <= 1:
        return LEAVES[start] if end > start else EMPTY_ROOT
    k = start + split(end - start)
    return sha256(b"\1" + naive_root(start, k) + naive_root(k, end)).digest()


def naive_path(m: int, start: int, end: int) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*naive_path(m, start, start + k), naive_root(start + k, end)]
    return [*naive_path(m - k, start + k, end), naive_root(start, start + k)]


def naive_consistency(m: int, start: int, end: int, whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == end - start:
        return [] if whole else [naive_root(start, end)]
    k = split(end - start)
    if m <= k:
        return [*naive_consistency(m, start, start + k, whole), naive_root(start + k, end)]
    return [*naive_consistency(m - k, start + k, end, False), naive_root(start, start + k)]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


ROOTS = [naive_root(0, size) for size in range(LARGEST + 1)]
_hash = cache(lambda level, n: merkle.reader_of(LEAVES)([(level, n)])[0])


def READ(asked: list[tuple[int, int]]) -> list[bytes]:  # noqa: N802  # as constant as the leaves it reads
    return [_hash(*one) for one in asked]


def flipped(proof: list[bytes]) -> list[list[bytes]]:
    return [[*proof[:i], bytes([node[0] ^ 1]) + node[1:], *proof[i + 1 :]] for i, node in enumerate(proof)]


def test_the_hashes_are_those_of_the_rfc() -> None:
    # The empty tree, the empty leaf and a node: known from RFC 6962 implementations.
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def test_lines_are_hashed_before_they_make_a_root() -> None:
    """Else a list of one would be its own root, and where one line ends could be moved."""
    assert merkle.root_of_lines(["one"]) == leaf_hash(b"one")
    assert merkle.root_of_lines(["ab", "c"]) == node_hash(leaf_hash(b"ab"), leaf_hash(b"c"))
    assert merkle.root_of_lines(["ab", "c"]) != merkle.root_of_lines(["a", "bc"])
    with pytest.raises(ValueError, match="33 bytes"):
        merkle.root_of_joined(bytes(33))


def test_roots_and_frontiers_of_every_small_tree() -> None:
    frontier = EMPTY
    for size in range(LARGEST + 1):
        leaves = LEAVES[:size]
        assert merkle.root(leaves) == merkle.root_of_joined(b"".join(leaves)) == ROOTS[size]
        assert merkle.root_at(size, READ) == ROOTS[size]
        assert EMPTY.extend(leaves) == frontier
        assert frontier.root() == ROOTS[size]
        assert Frontier.decode(size, frontier.encode()) == frontier
        if size < LARGEST:
            frontier = frontier.push(LEAVES[size])


def test_a_frontier_of_the_wrong_length_is_refused() -> None:
    data = EMPTY.extend(LEAVES[:5]).encode()
    for size, bad in [(4, data), (5, data[:-1]), (5, data + bytes(32)), (7, data), (0, data)]:
        with pytest.raises(ValueError, match="frontier"):
            Frontier.decode(size, bad)


def test_every_proof_of_every_tree_up_to_300_is_the_naive_one_and_verifies() -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, READ)
            assert proof == naive_path(index, 0, size), (index, size)
            assert merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size]), (index, size)
            old = index + 1
            proof = merkle.consistency_proof(old, size, READ)
            assert proof == naive_consistency(old, 0, size), (old, size)
            assert merkle.verify_consistency(old, size, ROOTS[old], ROOTS[size], proof), (old, size)


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65, 127, 128, 129, 130])
def test_no_altered_proof_of_a_leaf_verifies(size: int) -> None:
    top = ROOTS[size]
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, READ)
        leaf = LEAVES[index]
        for altered in flipped(proof):
            assert not merkle.verify_inclusion(leaf, index, size, altered, top)
        for altered in ([*proof, top], proof[:-1] if proof else [leaf], [*proof[::-1], leaf], [top, *proof]):
            assert not merkle.verify_inclusion(leaf, index, size, altered, top)
        assert not merkle.verify_inclusion(leaf, size, size, proof, top)
        assert not merkle.verify_inclusion(leaf, -1, size, proof, top)
        assert not merkle.verify_inclusion(LEAVES[(index + 1) % LARGEST], index, size, proof, top)
        if size > 1:
            assert not merkle.verify_inclusion(leaf, (index + 1) % size, size, proof, top)


def test_no_altered_consistency_proof_verifies() -> None:
    for new in [*range(1, 20), 31, 32, 33, 64, 65, 100]:
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, READ)
            before, after = ROOTS[old], ROOTS[new]
            for altered in [*flipped(proof), [*proof, after], proof[:-1] if proof else [before], [before, *proof]]:
                assert not merkle.verify_consistency(old, new, before, after, altered), (old, new)
            assert not merkle.verify_consistency(old, new, bytes(32), after, proof)
            assert not merkle.verify_consistency(old, new, before, bytes(32), proof)
            assert not merkle.verify_consistency(new + 1, new, before, after, proof)
            assert not merkle.verify_consistency(-1, new, before, after, proof)


def test_the_empty_tree_begins_every_tree_without_a_proof() -> None:
    for new in (0, 1, 7):
        assert merkle.verify_consistency(0, new, EMPTY_ROOT, ROOTS[new], [])
        assert not merkle.verify_consistency(0, new, EMPTY_ROOT, ROOTS[new], [ROOTS[new]])
        assert not merkle.verify_consistency(0, new, bytes(32), ROOTS[new], [])
    assert not merkle.verify_consistency(0, 0, EMPTY_ROOT, bytes(32), [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_no_proof_for_a_leaf_outside(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        merkle.inclusion_proof(index, size, READ)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_no_proof_from_a_size_outside(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="consistency"):
        merkle.consistency_proof(old, new, READ)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=8), max_size=80), st.integers(0, 80))
def test_growing_in_steps_is_growing_at_once(entries: list[bytes], cut: int) -> None:
    leaves = [leaf_hash(entry) for entry in entries]
    assert EMPTY.extend(leaves[:cut]).extend(leaves[cut:]) == EMPTY.extend(leaves)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**40), st.data())
def test_proofs_of_huge_trees_have_the_length_of_the_rfc(size: int, data: st.DataObject) -> None:
    """The hashes are made up, but each proof asks once, only for complete subtrees, and not for more than needed."""
    asked: list[tuple[int, int]] = []

    def read(wanted: list[tuple[int, int]]) -> list[bytes]:
        asked.extend(wanted)
        return [bytes(32)] * len(wanted)

    proof = merkle.inclusion_proof(data.draw(st.integers(0, size - 1)), size, read)
    assert len(proof) <= (size - 1).bit_length()
    assert all((n + 1) << level <= size for level, n in asked)


# --- tiles ---


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(63, 999, 1), "tile/63/999.p/1"),
        (Tile(None, 1000, 255), "tile/entries/x001/000.p/255"),
    ],
)
def test_tile_paths(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/300",
        "tile/-1/000",
        "tile/0/../000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "entries/000",
    ],
)
def test_other_spellings_of_tile_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="tile path"):
        parse_path(path)


def test_the_tiles_of_70000_leaves_are_those_of_the_specification() -> None:
    tiles = list(tiles_of(70_000))
    by_level = [[tile for tile in tiles if tile.level == level] for level in range(4)]
    assert [len(level) for level in by_level] == [274, 2, 1, 0]
    assert [level[-1].width for level in by_level[:3]] == [112, 17, 1]
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert sum(tile.width for tile in bundles_of(70_000)) == 70_000


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_full_tiles_are_those_that_growing_completes(one: int, other: int) -> None:
    old, new = sorted((one, other))
    before = {(tile.level, tile.n) for tile in tiles_of(old) if tile.width == WIDTH}
    after = {(tile.level, tile.n) for tile in tiles_of(new) if tile.width == WIDTH}
    grown = list(full_tiles(old, new))
    assert set(grown) == after - before
    assert len(grown) == len(set(grown))
    assert grown == sorted(grown)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_come_back(entries: list[bytes]) -> None:
    data = bundle(entries)
    assert unbundle(data) == entries
    for cut in {1, len(data) // 2, len(data) - 1} & set(range(1, len(data))):
        if data[:cut] != bundle(entries[: len(unbundle_or_none(data[:cut]) or ())]):
            assert unbundle_or_none(data[:cut]) is None


def unbundle_or_none(data: bytes) -> list[bytes] | None:
    try:
        return unbundle(data)
    except ValueError:
        return None


def test_an_entry_over_65535_bytes_cannot_be_framed() -> None:
    assert unbundle(bundle([bytes(0xFFFF)])) == [bytes(0xFFFF)]
    with pytest.raises(ValueError, match="65,535"):
        bundle([bytes(0x10000)])


def test_proofs_read_from_tiles() -> None:
    size = 70_000
    leaves = [leaf_hash(b"%d" % i) for i in range(size)]
    levels = [leaves]
    while len(levels[-1]) >= WIDTH:
        below = levels[-1]
        levels.append([merkle.root(below[i : i + WIDTH]) for i in range(0, len(below) // WIDTH * WIDTH, WIDTH)])
    files = {
        tile.path(): b"".join(levels[tile.level or 0][tile.n * WIDTH : tile.n * WIDTH + tile.width])
        for tile in tiles_of(size)
    }
    read = tile_reader(size, lambda tile: files[tile.path()])
    top = merkle.root(leaves)
    assert merkle.root_at(size, read) == top
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = merkle.inclusion_proof(index, size, read)
        assert merkle.verify_inclusion(leaves[index], index, size, proof, top)
    for old in (1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999, 70_000):
        proof = merkle.consistency_proof(old, size, read)
        assert merkle.verify_consistency(old, size, merkle.root(leaves[:old]), top, proof)
    with pytest.raises((ValueError, KeyError)):
        read([(0, size)])
    with pytest.raises(ValueError, match="does not hold"):
        tile_reader(300, lambda _: bytes(10))([(0, 0)])
