"""RFC 6962 Merkle trees as arithmetic: hashes, roots, growth, and proofs that a reader checks for himself."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

HashReader = Callable[[list[tuple[int, int]]], list[bytes]]
"""Answers (level, n) with the hash of the complete subtree over leaves [n * 2**level, (n + 1) * 2**level)."""

HASH_BYTES = 32
PAIR_BYTES = 2 * HASH_BYTES

EMPTY_ROOT = sha256(b"").digest()
"""RFC 6962, 2.1: the hash of an empty list."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data): RFC 6962, 2.1."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right): RFC 6962, 2.1."""
    return sha256(b"\1" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes (or over the hashes of equally tall complete subtrees)."""
    return root_of_joined(b"".join(hashes))


def root_of_joined(level: bytes) -> bytes:
    """The same over leaf hashes of 32 bytes, one behind the other. Raises ValueError where they end within one."""
    if len(level) % HASH_BYTES:
        raise ValueError(f"{len(level)} bytes are no hashes of {HASH_BYTES}")
    while len(level) > HASH_BYTES:
        # Pairing from the left and carrying an odd last node up gives RFC 6962's split at the largest power of two.
        paired = len(level) // PAIR_BYTES * PAIR_BYTES
        nodes = [sha256(b"\1" + level[i : i + PAIR_BYTES]).digest() for i in range(0, paired, PAIR_BYTES)]
        level = b"".join(nodes) + level[paired:]
    return level or EMPTY_ROOT


def root_of_lines(lines: Iterable[str]) -> bytes:
    """The root over lines of text. Over the lines themselves, without the hash of each, other lines could have the same root."""
    return root([leaf_hash(line.encode()) for line in lines])


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: the roots of its complete subtrees, largest first. With it the tree can grow."""

    size: int
    hashes: tuple[bytes, ...]

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """The frontier after more leaf hashes."""
        size, stack = self.size, list(self.hashes)
        for digest in leaves:
            node, carry = digest, size
            while carry & 1:
                node = sha256(b"\1" + stack.pop() + node).digest()
                carry >>= 1
            stack.append(node)
            size += 1
        return Frontier(size, tuple(stack))

    def push(self, leaf: bytes) -> "Frontier":
        """The frontier after one more leaf hash."""
        return self.extend((leaf,))

    def root(self) -> bytes:
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT

    def encode(self) -> bytes:
        return b"".join(self.hashes)

    @classmethod
    def decode(cls, size: int, data: bytes) -> "Frontier":
        """Raises ValueError when the bytes cannot be the frontier of a tree of that size."""
        if len(data) != 32 * size.bit_count():
            raise ValueError(f"{len(data)} bytes are no frontier of {size} leaves")
        return cls(size, tuple(data[i : i + 32] for i in range(0, len(data), 32)))


EMPTY = Frontier(0, ())
"""Where every tree begins."""


def reader_of(leaves: Sequence[bytes]) -> HashReader:
    """A HashReader over leaf hashes in memory: for small trees, such as the items of one page."""
    return lambda asked: [root(leaves[n << level : (n + 1) << level]) for level, n in asked]


# --- making proofs ---


def _span(start: int, end: int) -> list[tuple[int, int]]:
    """The complete subtrees that leaves [start, end) fall into, from the left; start lies where RFC 6962 splits."""
    parts = []
    while start < end:
        level = min((start & -start).bit_length() - 1 if start else 63, (end - start).bit_length() - 1)
        parts.append((level, start >> level))
        start += 1 << level
    return parts


def _fold(parts: Sequence[bytes]) -> bytes:
    node = parts[-1]
    for left in reversed(parts[:-1]):
        node = node_hash(left, node)
    return node


def _read(spans: Sequence[tuple[int, int]], read: HashReader) -> list[bytes]:
    """One hash for each span of leaves, with a single question to the reader."""
    parts = [_span(start, end) for start, end in spans]
    hashes = iter(read([part for group in parts for part in group]))
    return [_fold([next(hashes) for _ in group]) for group in parts]


def root_at(size: int, read: HashReader) -> bytes:
    """The root the tree had at a size."""
    return _read([(0, size)], read)[0] if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: HashReader) -> list[bytes]:
    """RFC 6962, 2.1.1: the audit path of leaf `index` in the tree of `size` leaves. Raises ValueError out of range."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    spans: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    return _read(spans[::-1], read)


def consistency_proof(old: int, new: int, read: HashReader) -> list[bytes]:
    """RFC 6962, 2.1.2: that the tree of `new` leaves begins with that of `old`. ValueError unless 0 < old <= new."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from {old} to {new}")
    spans: list[tuple[int, int]] = []
    low, high, whole = 0, new, True
    while high - low > old - low:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if old <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low, whole = middle, False
    if not whole:
        spans.append((low, high))
    return _read(spans[::-1], read)


# --- checking proofs: RFC 9162, 2.1.3.2 and 2.1.4.2, step by step ---


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether `proof` shows that `leaf` (a leaf hash) is leaf `index` under the root `expected` of `size` leaves."""
    if not 0 <= index < size:
        return False
    first, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            node = node_hash(sibling, node)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and node == expected


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree under `new_root` grew out of the tree under `old_root`."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        # The empty tree is the beginning of any other: there is nothing to prove.
        return not proof and old_root == EMPTY_ROOT
    # When the old tree is itself a complete subtree of the new one, its root is not repeated in the proof.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    roots = _climb(old - 1, new - 1, path)
    return roots == (old_root, new_root)


def _climb(first: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The old and the new root that a consistency path leads to, or None when it has not the right length."""
    if not path:
        return None
    while first & 1:
        first >>= 1
        last >>= 1
    before = after = path[0]
    for node in path[1:]:
        if last == 0:
            return None
        if first & 1 or first == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            after = node_hash(after, node)
        first >>= 1
        last >>= 1
    return (before, after) if last == 0 else None
