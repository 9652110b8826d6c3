"""Entries on their way into the logs: which index each gets, what is hashed, and what is kept apart. The same for every
engine; nothing here is written anywhere."""

import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from certs.jcs import canonical
from exchange.errors import LedgerFault
from exchange.ledger.entry import Entry, commitment, encode
from exchange.ledger.merkle import Frontier, leaf_hash
from exchange.store.contract import RECOVERING, LeafRef, Record

Mark = tuple[int, int, int, dict[str, int]]
"""What `Leaves.reset` needs to forget an act that failed."""


class Grown(NamedTuple):
    """A log after the group: what its `tree` row becomes."""

    log: str
    old_size: int
    size: int
    root: bytes
    frontier: bytes


class Leaves:
    """What one group commit adds to the logs, as rows to be written at its end.

    `trees` are the rows read under the lock: (log, size, frontier). `seq` is the hub's last entry number.
    """

    def __init__(self, trees: Iterable[tuple[str, int, bytes]], seq: int) -> None:
        self.seq = seq
        self._trees = {log: Frontier.decode(size, frontier) for log, size, frontier in trees}
        self._added: dict[str, list[bytes]] = {log: [] for log in self._trees}
        self.rows: list[tuple[str, int, bytes, bytes]] = []
        """(log, index, data, hash)"""
        self.private_rows: list[tuple[str, int, bytes, bytes]] = []
        """(log, index, salt, payload): what commitments open to."""

    def size(self, log: str) -> int:
        """Of a log as it will be, with what was added."""
        return self._trees[log].size + len(self._added[log])

    def mark(self) -> Mark:
        counts = {log: len(hashes) for log, hashes in self._added.items()}
        return self.seq, len(self.rows), len(self.private_rows), counts

    def reset(self, mark: Mark) -> None:
        self.seq, rows, private, counts = mark
        del self.rows[rows:]
        del self.private_rows[private:]
        for log, count in counts.items():
            del self._added[log][count:]

    def append(self, req: str, record: Record, *, time_us: int, pol: str) -> tuple[LeafRef, ...]:
        """Give the entries of one act their places."""
        opened: dict[int, str] = {}
        return tuple(self._append(req, entry, opened, time_us, pol) for entry in record.entries)

    def _append(self, req: str, entry: Entry, opened: dict[int, str], time_us: int, pol: str) -> LeafRef:
        hashes = self._added[entry.log]
        index = self.size(entry.log)
        self.seq += 1
        committed = None
        if entry.private is not None:
            # Entries of one act that share their private part share one commitment, opened once.
            committed = opened.get(id(entry.private))
            if committed is None:
                salt, payload = secrets.token_bytes(32), canonical(dict(entry.private))
                committed = opened[id(entry.private)] = b64encode(commitment(salt, payload)).decode()
                self.private_rows.append((entry.log, index, salt, payload))
        # Of all the hub's entries the number would tell one country how many the other has.
        seen = None if entry.log == "both" else index + self.size("both") + 1
        data = encode(entry, time_us=time_us, req=req, pol=pol, seq=seen, commitment_b64=committed)
        digest = leaf_hash(data)
        hashes.append(digest)
        self.rows.append((entry.log, index, data, digest))
        return LeafRef(entry.log, index, digest)

    def grown(self) -> Iterator[Grown]:
        """The logs that got entries."""
        for log, hashes in self._added.items():
            if hashes:
                before = self._trees[log]
                after = before.extend(hashes)
                yield Grown(log, before.size, after.size, after.root(), after.encode())


def put_back(
    state: str, log: str, size: int, frontier: bytes, start: int, entries: Sequence[bytes]
) -> tuple[list[tuple[str, int, bytes, bytes]], Grown]:
    """Leaves that a log lost, as rows, and what its `tree` row becomes. Raises LedgerFault where nothing may be put back."""
    if not state.startswith(RECOVERING):
        raise LedgerFault("not-recovering", f"the hub is {state}")
    if size != start:
        raise LedgerFault("recover-moved", f"log {log} has {size} leaves, not {start}: somebody else recovers too")
    rows = [(log, index, data, leaf_hash(data)) for index, data in enumerate(entries, start)]
    after = Frontier.decode(size, frontier).extend([row[3] for row in rows])
    return rows, Grown(log, size, after.size, after.root(), after.encode())
