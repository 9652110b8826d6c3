"""A receipt: the proof that a leaf is in a log whose checkpoint both countries cosigned. It verifies without any server.

The file is a C2SP tlog-proof:

    c2sp.org/tlog-proof@v1
    index 12
    base64(hash)
    ...

    (the cosigned checkpoint)
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass

from exchange.ledger.merkle import leaf_hash, verify_inclusion
from exchange.ledger.note import Checkpoint, NoteFault, Policy

_HEADER = "c2sp.org/tlog-proof@v1"
HASHES_AT_MOST = 64


class ReceiptFault(Exception):
    """A receipt that proves nothing. `code` is stable, the texts say why."""

    def __init__(self, code: str, en: str, es: str) -> None:
        super().__init__(f"{code}: {en}")
        self.code = code
        self.en = en
        self.es = es


@dataclass(frozen=True, slots=True)
class Proven:
    """What a receipt shows: where the leaf is, under which checkpoint, and when each witness saw it."""

    index: int
    checkpoint: Checkpoint
    witnesses: dict[str, int]


@dataclass(frozen=True, slots=True)
class Receipt:
    index: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        lines = [_HEADER, f"index {self.index}", *(b64encode(digest).decode() for digest in self.proof), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """Raises ReceiptFault for anything but a tlog-proof file."""
        head, split, note = data.partition(b"\n\n")
        lines = head.decode("utf-8", "replace").split("\n")
        try:
            if not split or lines[0] != _HEADER or len(lines) > HASHES_AT_MOST + 2:
                raise ValueError
            index = int(lines[1].removeprefix("index "))
            proof = tuple(b64decode(line, validate=True) for line in lines[2:])
            receipt = cls(index, proof, note)
            if any(len(digest) != 32 for digest in proof) or receipt.encode() != data:
                raise ValueError
        except (ValueError, IndexError, Base64Error):
            raise ReceiptFault("receipt-form", "This is not a tlog-proof file.", "Este no es un archivo tlog-proof.") from None
        return receipt

    def verify(self, leaf: bytes, policy: Policy) -> Proven:
        """Check the leaf's bytes against the receipt, under the reader's own policy. Raises ReceiptFault."""
        try:
            checkpoint, times = policy.open(self.note)
        except NoteFault as fault:
            raise ReceiptFault(
                "receipt-checkpoint", f"The checkpoint is not to be trusted: {fault}.", f"El punto de control no es confiable: {fault}."
            ) from None
        if not verify_inclusion(leaf_hash(leaf), self.index, checkpoint.size, self.proof, checkpoint.root):
            raise ReceiptFault(
                "receipt-inclusion", "The leaf is not in the log at this place.", "La hoja no está en el registro en ese lugar."
            )
        return Proven(self.index, checkpoint, times)


