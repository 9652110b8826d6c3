"""What a check must remember of millions of rows, in a file that vanishes with it."""

import sqlite3
from collections.abc import Iterator
from hashlib import sha256


class Scratch:
    """Commitments and whether they were opened; objects that leaves say were submitted; what was released under a run."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("BEGIN")
        self._db.execute(
            "CREATE TABLE commitment (c BLOB PRIMARY KEY, log TEXT, idx INTEGER, opened INTEGER) WITHOUT ROWID"
        )
        self._db.execute("CREATE TABLE submitted (k BLOB PRIMARY KEY, id TEXT, leaf TEXT, held INTEGER) WITHOUT ROWID")
        self._db.execute("CREATE TABLE taken_out (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def close(self) -> None:
        self._db.close()

    def commit(self, c: bytes, log: str, index: int, *, opened: bool) -> None:
        self._db.execute(
            "INSERT INTO commitment VALUES (?, ?, ?, ?) ON CONFLICT (c) DO UPDATE SET opened = max(opened, excluded.opened)",
            (c, log, index, opened),
        )

    def unopened(self) -> Iterator[tuple[str, int]]:
        yield from self._db.execute("SELECT log, idx FROM commitment WHERE opened = 0 ORDER BY log, idx")

    def submit(self, object_id: str, version: str, digest: str, leaf: str) -> None:
        key = _key(object_id, version, digest)
        self._db.execute("INSERT OR IGNORE INTO submitted VALUES (?, ?, ?, 0)", (key, object_id, leaf))

    def hold(self, object_id: str, version: str, digest: str) -> bool:
        """Note that the object is held; whether it was submitted."""
        held = self._db.execute("UPDATE submitted SET held = 1 WHERE k = ?", (_key(object_id, version, digest),))
        return held.rowcount == 1

    def take_out(self, object_id: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO taken_out VALUES (?)", (object_id,))

    def lost(self) -> Iterator[tuple[str, str]]:
        """(id, leaf) of what was submitted, never taken out, and is not held."""
        yield from self._db.execute(
            "SELECT id, leaf FROM submitted s WHERE held = 0 AND NOT EXISTS (SELECT 1 FROM taken_out t WHERE t.id = s.id)"
            " ORDER BY leaf"
        )


def _key(object_id: str, version: str, digest: str) -> bytes:
    return sha256(f"{object_id} {version} {digest}".encode()).digest()[:16]
