"""The copy of a log that a national witness keeps: it cosigns only what it holds, so that its country's auditors can read the
log, and a hub that lost its disk can be recovered, without asking whoever runs the hub.

The log sends its growth in pieces, before it asks for a cosignature:

    start 512                           where the copy ends
    end 768                             where this piece ends
    note 283                            length of the checkpoint that follows, in bytes
    base64(hash)                        consistency proof from `end` to that checkpoint
    ...

    (the checkpoint, signed by the log) (the entries, framed as a tlog-tiles bundle)

Each piece proves itself: what the copy holds, with these entries behind it, is a beginning of the log that was signed. The
files are those of tlog-tiles; c2sp.org/tlog-mirror is not spoken, because there a mirror may not be the witness itself.
"""

import contextlib
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from certs.jcs import canonical, load
from exchange.ledger.merkle import Frontier, leaf_hash
from exchange.ledger.note import decimal, strict_base64
from exchange.ledger.tiles import WIDTH, Tile, bundle, bundles_of, unbundle

PIECE_LIMIT_BYTES = 4_000_000
PROOF_LIMIT = 63
_STATE_LIMIT_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Some entries, and the proof that with them the copy is a beginning of a signed log."""

    start: int
    end: int
    proof: tuple[bytes, ...]
    note: bytes
    leaves: tuple[bytes, ...]

    def encode(self) -> bytes:
        proof = [b64encode(digest).decode() for digest in self.proof]
        lines = [f"start {self.start}", f"end {self.end}", f"note {len(self.note)}", *proof, "", ""]
        return "\n".join(lines).encode() + self.note + bundle(self.leaves)

    @classmethod
    def parse(cls, body: bytes) -> "Piece":
        """Raises ValueError for anything but such a piece."""
        head, gap, rest = body.partition(b"\n\n")
        lines = head.decode("ascii").split("\n")
        if not gap or not 3 <= len(lines) <= 3 + PROOF_LIMIT:
            raise ValueError("not: start, end, note, at most 63 hashes, an empty line, a checkpoint, entries")
        start, end, length = (_number(line, name) for line, name in zip(lines, ("start", "end", "note"), strict=False))
        leaves = tuple(unbundle(rest[length:]))
        if start + len(leaves) != end or not leaves:
            raise ValueError("the entries are not as many as start and end say")
        return cls(start, end, tuple(strict_base64(line, 32) for line in lines[3:]), rest[:length], leaves)


def _number(line: str, name: str) -> int:
    word, _, number = line.partition(" ")
    if word != name:
        raise ValueError(f"expected {name}")
    return decimal(number)


class Copy:
    """One log's entries on disk. Files first, then the size that makes them count: a crash in between is forgotten."""

    def __init__(self, directory: Path, origin: str) -> None:
        """Raises OSError, ValueError or KeyError for a copy that is there and cannot be read."""
        self.directory = directory / sha256(origin.encode()).hexdigest()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.frontier = Frontier(0, ())
        self.note: bytes | None = None
        """The signed checkpoint that the last piece led to."""
        with contextlib.suppress(FileNotFoundError):
            value = load((self.directory / "copy.json").read_bytes(), max_bytes=_STATE_LIMIT_BYTES)
            self.frontier = Frontier.decode(int(value["size"]), bytes.fromhex(value["frontier"]))
            self.note = value["note"].encode()

    @property
    def size(self) -> int:
        return self.frontier.size

    def after(self, leaves: Sequence[bytes]) -> Frontier:
        """What the copy's frontier would be with these entries behind it."""
        return self.frontier.extend(leaf_hash(leaf) for leaf in leaves)

    def extend(self, piece: Piece) -> None:
        """Keep a piece that was verified; durable when this returns. Raises OSError."""
        frontier = self.after(piece.leaves)
        first = piece.start // WIDTH * WIDTH
        held = [*self.leaves(first, piece.start), *piece.leaves]
        for begin in range(first, piece.end, WIDTH):
            part = held[begin - first : begin - first + WIDTH]
            tile = Tile(None, begin // WIDTH, len(part))
            path = self.directory / tile.path()
            _make(path.parent)
            write_durably(path, bundle(part))
        state = {"v": 1, "size": piece.end, "frontier": frontier.encode().hex(), "note": piece.note.decode()}
        write_durably(self.directory / "copy.json", canonical(state) + b"\n")
        if piece.start % WIDTH:
            (self.directory / Tile(None, piece.start // WIDTH, piece.start % WIDTH).path()).unlink(missing_ok=True)
        self.frontier, self.note = frontier, piece.note

    def leaves(self, start: int, end: int) -> list[bytes]:
        """Entries that the copy holds. Raises FileNotFoundError when a bundle is gone."""
        found: list[bytes] = []
        for n in range(start // WIDTH, -(-end // WIDTH)):
            width = min(WIDTH, self.size - n * WIDTH)
            entries = unbundle((self.directory / Tile(None, n, width).path()).read_bytes())
            found += entries[max(0, start - n * WIDTH) : end - n * WIDTH]
        return found

    def bundle(self, tile: Tile) -> bytes | None:
        """A bundle as tlog-tiles serves it, None for one that this size does not have."""
        if tile.level is not None or tile.n * WIDTH + tile.width > self.size:
            return None
        return bundle(self.leaves(tile.n * WIDTH, tile.n * WIDTH + tile.width))

    def bundles(self) -> list[Tile]:
        return list(bundles_of(self.size))


def write_durably(path: Path, data: bytes) -> None:
    """Durable and whole before it returns: temporary file, fsync, rename, fsync of the directory. Mode 0600."""
    temporary = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _make(folder: Path) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in missing:
        _sync(one.parent)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
