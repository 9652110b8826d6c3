"""Entries on their way into the logs: which index each gets, what is hashed, and what is kept apart. The same for every
engine; nothing here is written anywhere."""

import secrets
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from certs.jcs import canonical
from exchange.errors import LedgerFault
from exchange.ledger.entry import Entry, commitment, encode
from exchange.ledger.generations import kind
from exchange.ledger.merkle import Frontier, leaf_hash
from exchange.store.acts import LeafRef, Record
from exchange.store.contract import RECOVERING, Halted

Mark = tuple[int, int, int]
"""What `Leaves.reset` needs to forget an act that failed."""

_SALT_BYTES = 32
_SALTS_AT_ONCE = 16
"""The system is asked once for as many: a question takes longer than its answer."""


class Grown(NamedTuple):
    """A log after the group: what its `tree` row becomes."""

    log: str
    old_size: int
    size: int
    root: bytes
    frontier: bytes


class Leaves:
    """What one group commit adds to the logs, as rows to be written at its end.

    `trees` are the rows of open logs, read under the lock: (log, size, frontier, before). `seq` is the hub's last entry number;
    `logs`, where they are given, which logs those must be.
    """

    def __init__(
        self, trees: Iterable[tuple[str, int, bytes, int]], seq: int, logs: frozenset[str] | None = None
    ) -> None:
        self.seq = seq
        rows = {kind(row[0]): row for row in trees}
        self._names = {one: log for one, (log, *_) in rows.items()}
        if logs is not None and logs != set(self._names.values()):
            raise Halted("the logs are not those that this process was started for")
        self._trees = {one: Frontier.decode(size, frontier) for one, (_, size, frontier, _) in rows.items()}
        self._before = {one: before for one, (*_, before) in rows.items()}
        self._added: dict[str, list[bytes]] = {one: [] for one in self._trees}
        self.rows: list[tuple[str, int, bytes, bytes]] = []
        """(log, index, data, hash)"""
        self.private_rows: list[tuple[str, int, bytes, bytes]] = []
        """(log, index, salt, payload): what commitments open to."""
        self._salts: list[bytes] = []
        """Not used yet. What is left when the group ends is used by nobody."""

    def size(self, kind: str) -> int:
        """Of the open log of this kind as it will be, with what was added."""
        return self._trees[kind].size + len(self._added[kind])

    def mark(self) -> Mark:
        return self.seq, len(self.rows), len(self.private_rows)

    def reset(self, mark: Mark) -> None:
        self.seq, rows, private = mark
        for log, *_ in self.rows[rows:]:
            self._added[kind(log)].pop()
        del self.rows[rows:]
        del self.private_rows[private:]

    def append(self, req: str, record: Record, *, time_us: int, pol: str) -> tuple[LeafRef, ...]:
        """Give the entries of one act their places."""
        opened: dict[int, bytes] = {}
        return tuple([self._append(req, entry, opened, time_us, pol) for entry in record.entries])

    def _append(self, req: str, entry: Entry, opened: dict[int, bytes], time_us: int, pol: str) -> LeafRef:
        log, added = self._names[entry.log], self._added[entry.log]
        index = self._trees[entry.log].size + len(added)
        self.seq += 1
        private, committed = entry.private, None
        if private is not None:
            # Entries of one act that share their private part share one commitment, opened once.
            committed = opened.get(id(private))
            if committed is None:
                salt, payload = self._salt(), _canonical(private)
                committed = opened[id(private)] = b2a_base64(commitment(salt, payload), newline=False)
                self.private_rows.append((log, index, salt, payload))
        # Of all the hub's entries the number would tell one country how many the other has.
        seen = None if entry.log == "both" else self._before[entry.log] + index + self._shared() + 1
        data = encode(entry, time_us=time_us, req=req, pol=pol, seq=seen, commitment_b64=committed)
        digest = leaf_hash(data)
        added.append(digest)
        self.rows.append((log, index, data, digest))
        return LeafRef(log, index, digest)

    def _salt(self) -> bytes:
        if not self._salts:
            some = secrets.token_bytes(_SALTS_AT_ONCE * _SALT_BYTES)
            self._salts = [some[start : start + _SALT_BYTES] for start in range(0, len(some), _SALT_BYTES)]
        return self._salts.pop()

    def _shared(self) -> int:
        """How many entries both countries have."""
        return self._before["both"] + self.size("both")

    def grown(self) -> Iterator[Grown]:
        """The logs that got entries."""
        for log, hashes in self._added.items():
            if hashes:
                before = self._trees[log]
                after = before.extend(hashes)
                yield Grown(self._names[log], before.size, after.size, after.root(), after.encode())


def _canonical(private: Mapping[str, Any] | bytes) -> bytes:
    return private if isinstance(private, bytes) else canonical(dict(private))


def put_back(
    state: str, tree: tuple[str, int, bytes, bool], start: int, entries: Sequence[bytes]
) -> tuple[list[tuple[str, int, bytes, bytes]], Grown]:
    """Leaves that a log lost, as rows, and what its `tree` row (log, size, frontier, closed) becomes. Raises LedgerFault where
    nothing may be put back."""
    log, size, frontier, closed = tree
    if not state.startswith(RECOVERING):
        raise LedgerFault("not-recovering", f"the hub is {state}")
    must_be_open(log, closed=closed)
    if size != start:
        raise LedgerFault("recover-moved", f"log {log} has {size} leaves, not {start}: somebody else recovers too")
    rows = [(log, index, data, leaf_hash(data)) for index, data in enumerate(entries, start)]
    after = Frontier.decode(size, frontier).extend([row[3] for row in rows])
    return rows, Grown(log, size, after.size, after.root(), after.encode())


def must_be_open(log: str, *, closed: bool | None) -> None:
    """Raise LedgerFault for a log that is closed, or that is not there (None)."""
    if closed is None or closed:
        raise LedgerFault("log-closed", f"log {log} is closed for ever")
