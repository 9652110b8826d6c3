"""A receipt: the proof that a leaf is in a log whose checkpoint both countries cosigned. It verifies without a server.

The file is a C2SP tlog-proof (c2sp.org/tlog-proof):

    c2sp.org/tlog-proof@v1
    extra base64(anything)      optional, and proved by nothing
    index 12
    base64(hash)                the audit path, from the leaf's sibling up
    ...

    (the cosigned checkpoint)

A page of objects is one leaf that holds the root over its items; an ItemProof leads from one object to that leaf.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from certs.faults import Fault
from certs.jcs import JsonError, load
from exchange.ledger.merkle import inclusion_proof, leaf_hash, reader_of, verify_inclusion
from exchange.ledger.note import NOTE_LIMIT_BYTES, Checkpoint, NoteFault, Policy, decimal, split_note, strict_base64

_HEADER = "c2sp.org/tlog-proof@v1"
_ITEM_HEADER = "puente-item-proof@v1"

PROOF_LIMIT = 63
"""Hashes in a path: sizes stay below 2**63."""

LEAF_LIMIT_BYTES = 0xFFFF
"""What an entry bundle can frame (c2sp.org/tlog-tiles)."""

RECEIPT_LIMIT_BYTES = NOTE_LIMIT_BYTES + 100_000


class ReceiptFault(Fault, ValueError):
    """A receipt that proves nothing. `code` is stable, the texts say why."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a receipt shows: where the leaf is, under which checkpoint, and when each witness saw it."""

    index: int
    leaf_hash: bytes
    checkpoint: Checkpoint
    cosigned: Mapping[str, int]
    """Witness name in the reader's policy to the POSIX time of its cosignature."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The place of one leaf, the path from it to the root, and the cosigned checkpoint with that root."""

    index: int
    proof: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None
    """Carried along, proved by nothing."""

    def encode(self) -> bytes:
        extra = [] if self.extra is None else [f"extra {b64encode(self.extra).decode()}"]
        lines = [_HEADER, *extra, f"index {self.index}", *_base64_lines(self.proof), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """Read a tlog-proof file; every value has one spelling. Raises ReceiptFault."""
        try:
            if len(data) > RECEIPT_LIMIT_BYTES:
                raise ValueError("too large")
            head, gap, note = data.partition(b"\n\n")
            header, *lines = head.decode("ascii").split("\n")
            if header != _HEADER or not gap:
                raise ValueError("no header")
            extra = None
            if lines[0].startswith("extra "):
                extra = strict_base64(lines.pop(0).removeprefix("extra "))
            return cls(_field(lines[0], "index"), _hashes(lines[1:]), note, extra)
        except (ValueError, IndexError):
            raise _malformed() from None

    @property
    def origin(self) -> str:
        """The log it speaks of, nothing verified yet: to choose the policy by. Raises ReceiptFault."""
        try:
            return Checkpoint.parse(split_note(self.note)[0]).origin
        except NoteFault:
            raise _malformed() from None

    def verify(self, leaf: bytes, policy: Policy) -> Proven:
        """Check that these bytes are the leaf, under the reader's own policy. Raises ReceiptFault."""
        # 1. The checkpoint is signed by a log of the policy and cosigned by its quorum.
        try:
            checked = policy.check(self.note)
        except NoteFault as fault:
            raise ReceiptFault(
                fault.code,
                f"The checkpoint is not to be trusted. {fault.en}",
                f"El punto de control no es confiable. {fault.es}",
            ) from None
        # 2. The path leads from the leaf to the root of that checkpoint (RFC 9162, 2.1.3.2).
        digest, checkpoint = leaf_hash(leaf), checked.checkpoint
        if not verify_inclusion(digest, self.index, checkpoint.size, self.proof, checkpoint.root):
            raise ReceiptFault(
                "receipt-inclusion",
                f"These bytes are not leaf {self.index} of the log.",
                f"Estos bytes no son la hoja {self.index} del registro.",
            )
        return Proven(self.index, digest, checkpoint, checked.cosigned)


@dataclass(frozen=True, slots=True)
class ItemProof:
    """That one object version is item `index` of the `count` that a leaf with an `items_root` speaks of."""

    index: int
    count: int
    proof: tuple[bytes, ...]

    @classmethod
    def of(cls, items: Sequence[bytes], index: int) -> "ItemProof":
        """Prove one of a page's items; `items` are their hashes in page order (`StixObject.item`)."""
        return cls(index, len(items), tuple(inclusion_proof(index, len(items), reader_of(items))))

    def encode(self) -> bytes:
        lines = [_ITEM_HEADER, f"index {self.index}", f"count {self.count}", *_base64_lines(self.proof), ""]
        return "\n".join(lines).encode()

    @classmethod
    def parse(cls, data: bytes) -> "ItemProof":
        """Raises ReceiptFault."""
        try:
            header, index, count, *lines, end = data[:RECEIPT_LIMIT_BYTES].decode("ascii").split("\n")
            if header != _ITEM_HEADER or end:
                raise ValueError("no header, or no final newline")
            return cls(_field(index, "index"), _field(count, "count"), _hashes(lines))
        except ValueError:
            raise _malformed() from None

    def verify(self, leaf: bytes, object_id: str, version: str, digest: bytes) -> None:
        """Check that the leaf speaks of this object version with this SHA-256. Raises ReceiptFault.

        The leaf itself is proved by its receipt.
        """
        try:
            entry = load(leaf, max_bytes=LEAF_LIMIT_BYTES)
            root, count = bytes.fromhex(entry["pub"]["items_root"]), entry["pub"]["count"]
        except (JsonError, KeyError, TypeError, ValueError):
            raise ReceiptFault(
                "receipt-no-items", "The leaf speaks of no items.", "La hoja no se refiere a ningún elemento."
            ) from None
        item = leaf_hash(f"{object_id} {version} {digest.hex()}".encode())
        if count != self.count or not verify_inclusion(item, self.index, self.count, self.proof, root):
            raise ReceiptFault(
                "receipt-item",
                f"{object_id} in this version is not among the leaf's items.",
                f"{object_id} en esta versión no está entre los elementos de la hoja.",
            )


def _base64_lines(hashes: Sequence[bytes]) -> list[str]:
    return [b64encode(digest).decode() for digest in hashes]


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > PROOF_LIMIT:
        raise ValueError("the path is too long")
    return tuple(strict_base64(line, 32) for line in lines)


def _field(line: str, name: str) -> int:
    word, _, number = line.partition(" ")
    if word != name:
        raise ValueError(f"no {name}")
    return decimal(number)


def _malformed() -> ReceiptFault:
    return ReceiptFault(
        "receipt-malformed", "This is not a receipt (tlog-proof).", "Esto no es un recibo (tlog-proof)."
    )
