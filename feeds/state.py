"""What a feed remembers between runs, in one SQLite file: what the hub took, what it refused, and what is under way.

An envelope is written here before it is posted and forgotten when its outcome is written, in one transaction. After a
crash the very same bytes are posted again, and the hub finds that it has them. To sign them anew would instead give it
the same version with other content, which it must treat as an alarm.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from exchange.client import Envelope, Packed, Refused, SubmitResult
from feeds.listing import NEVER_US

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cursor(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS own(
    id TEXT PRIMARY KEY, key TEXT NOT NULL, epoch INTEGER NOT NULL, content TEXT NOT NULL, modified TEXT NOT NULL,
    sha256 TEXT NOT NULL, body BLOB NOT NULL, revoked INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS own_key ON own(key);
CREATE TABLE IF NOT EXISTS passed(
    id TEXT NOT NULL, version TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY(id, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused(
    id TEXT NOT NULL, version TEXT NOT NULL, content TEXT NOT NULL, body BLOB NOT NULL, own INTEGER NOT NULL,
    key TEXT NOT NULL, epoch INTEGER NOT NULL, revoked INTEGER NOT NULL,
    code TEXT NOT NULL, en TEXT NOT NULL, es TEXT NOT NULL, PRIMARY KEY(id, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox(number INTEGER PRIMARY KEY, body BLOB NOT NULL, contents BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS record(
    digest INTEGER PRIMARY KEY, key TEXT NOT NULL, objects INTEGER NOT NULL, renew_us INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS record_key ON record(key);
CREATE TABLE IF NOT EXISTS run(number INTEGER PRIMARY KEY, ended INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TEMP TABLE listed(key TEXT PRIMARY KEY, mapped INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TEMP TABLE tried(
    id TEXT NOT NULL, version TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY(id, version)) STRICT, WITHOUT ROWID;
"""

_UNDER_WAY, _CLEAN = 1, 2
"""Of the file: whether the last run ended with all it had read."""


@dataclass(frozen=True, slots=True)
class Own:
    """The newest accepted version of an object of the operator's own."""

    id: str
    modified: str
    content: str
    """Digest of the object less `modified`: by it a change is known."""
    sha256: str
    """Hex digest of the signed version, for the next one's prev_sha256."""
    body: bytes = field(repr=False)
    """As it was mapped: unsigned, canonical."""
    revoked: bool


@dataclass(frozen=True, slots=True)
class Change:
    """An object to submit. `own` says whether its versions are ours to date."""

    id: str
    version: str
    content: str
    body: bytes = field(repr=False)
    own: bool
    key: str = ""
    epoch: int = 0
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """A record all of whose objects are settled. It is mapped again when it changes, or from `renew_us` on."""

    digest: int
    key: str
    objects: int
    renew_us: int


@dataclass(frozen=True, slots=True)
class Sending:
    """An envelope under way, and the changes it carries."""

    number: int
    envelope: Envelope
    changes: tuple[Change, ...]


class FeedState:
    """One feed's memory. One process at a time; calls may come from any thread, one after another."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5.0)
        self._db.execute("PRAGMA journal_mode = WAL")
        # Without a sync at each commit, a power cut may take back the last ones, in order: outcomes then, for an envelope
        # is synced before it is sent (`post`), and sent again it is found to be held.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # --- what is known ---

    @property
    def cursor(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT name, value FROM cursor"))

    def own(self, object_id: str) -> Own | None:
        row = self._db.execute(
            "SELECT id, modified, content, sha256, body, revoked FROM own WHERE id = ?", (object_id,)
        ).fetchone()
        return _own(row) if row else None

    def epoch(self, key: str) -> int:
        """The epoch for the ids of something listed now: one more than that of its revoked objects."""
        row = self._db.execute("SELECT epoch, max(revoked) FROM own WHERE key = ? GROUP BY epoch ORDER BY epoch DESC LIMIT 1", (key,)).fetchone()  # fmt: skip
        return 0 if row is None else int(row[0]) + int(row[1])

    def standing(self, key: str) -> list[tuple[int, Own]]:
        """Epoch and newest version of every own object of this key that is not revoked."""
        rows = self._db.execute(
            "SELECT epoch, id, modified, content, sha256, body, revoked FROM own WHERE key = ? AND revoked = 0 ORDER BY id",
            (key,),
        ).fetchall()
        return [(epoch, _own(values)) for epoch, *values in rows]

    def passed(self, object_id: str, version: str) -> str | None:
        """The digest under which a third party's object was taken."""
        row = self._db.execute(
            "SELECT content FROM passed WHERE id = ? AND version = ?", (object_id, version)
        ).fetchone()
        return str(row[0]) if row else None

    def refused(self, object_id: str, content: str) -> bool:
        """Whether this very content was refused for a reason of its own: it would be again."""
        row = self._db.execute("SELECT code FROM refused WHERE id = ? AND content = ?", (object_id, content)).fetchone()
        return row is not None and not passing(str(row[0]))

    def retriable(self) -> list[Change]:
        """What was refused for a reason that may be gone: a source that does not change would never bring it again."""
        rows = self._db.execute(
            "SELECT code, id, version, content, body, own, key, epoch, revoked FROM refused ORDER BY own DESC, id, version"
        )
        return [_change(values) for code, *values in rows if passing(str(code))]

    def held(self, code: str, values: Sequence[str]) -> list[Change]:
        """What was refused with this code and names one of these values: who released one may have released it for this."""
        written = [value.replace("\\", "\\\\").replace("'", "\\'") for value in values]
        rows = self._db.execute(
            "SELECT id, version, content, body, own, key, epoch, revoked FROM refused WHERE code = ? ORDER BY own DESC, id, version",
            (code,),
        )
        changes = [_change(row) for row in rows]
        return [one for one in changes if any(value in orjson.loads(one.body).get("pattern", "") for value in written)]

    def holds(self, code: str) -> bool:
        """Whether anything stands refused with this code."""
        return self._db.execute("SELECT 1 FROM refused WHERE code = ? LIMIT 1", (code,)).fetchone() is not None

    def refusals(self) -> Counter[str]:
        """How many objects stand refused, by code."""
        return Counter(dict(self._db.execute("SELECT code, count(*) FROM refused GROUP BY code")))

    def quarantine(self) -> Iterator[dict[str, Any]]:
        """Every object that stands refused, with its reason."""
        for *texts, body in self._db.execute(
            "SELECT id, version, code, en, es, body FROM refused ORDER BY id, version"
        ):
            yield dict(zip(("id", "version", "code", "en", "es"), texts, strict=True)) | {"object": orjson.loads(body)}

    # --- what the source lists ---

    def settled(self) -> Iterator[tuple[int, int, int]]:
        """Digest, time of renewal and number of objects of every record that was settled, in the order of digests."""
        return self._db.execute("SELECT digest, renew_us, objects FROM record ORDER BY digest")

    def begin(self) -> None:
        """Before a source is read. What a run that did not end may have left without its record gets one, so that it is
        missed when it is not listed any more."""
        if self._db.execute("PRAGMA user_version").fetchone()[0] != _CLEAN:
            self._db.execute(
                "INSERT OR IGNORE INTO record SELECT -min(rowid), key, count(*), 0 FROM own"
                " WHERE revoked = 0 AND key NOT IN (SELECT key FROM record) GROUP BY key"
            )
        self._db.execute(f"PRAGMA user_version = {_UNDER_WAY}")

    def end(self) -> None:
        """After every record was settled."""
        self._db.execute(f"PRAGMA user_version = {_CLEAN}")

    def renewal_us(self) -> int:
        """When the first of the listed records is to be renewed, though its source may not have changed."""
        row = self._db.execute("SELECT min(renew_us) FROM record WHERE renew_us > 0").fetchone()
        return NEVER_US if row[0] is None else int(row[0])

    def renew(self, keys: Sequence[str]) -> None:
        """Have the records of these keys mapped again in the next run."""
        with self._transaction():
            self._db.executemany("UPDATE record SET renew_us = 1 WHERE key = ?", [(key,) for key in keys])

    def list_key(self, key: str, *, mapped: bool) -> None:
        """Note that the source lists this key in this run, and whether a record of it could be mapped."""
        self._db.execute(
            "INSERT INTO listed(key, mapped) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET mapped = mapped | excluded.mapped",
            (key, mapped),
        )

    def is_mapped(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM listed WHERE key = ? AND mapped", (key,)).fetchone() is not None

    def is_listed(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM listed WHERE key = ?", (key,)).fetchone() is not None

    def records_of(self, key: str) -> list[int]:
        """Digests of the settled records of one key: more than one when the source says it twice, with differences."""
        return [int(row[0]) for row in self._db.execute("SELECT digest FROM record WHERE key = ?", (key,))]

    def key_of(self, digest: int) -> str:
        row = self._db.execute("SELECT key FROM record WHERE digest = ?", (digest,)).fetchone()
        return str(row[0])

    def remember(self, settled: Sequence[Settled], gone: Sequence[int]) -> None:
        """Keep the records that are settled, and forget those that are gone."""
        with self._transaction():
            self._db.executemany("DELETE FROM record WHERE digest = ?", [(one,) for one in gone])
            self._db.executemany(
                "INSERT OR REPLACE INTO record(digest, key, objects, renew_us) VALUES(?, ?, ?, ?)",
                [(one.digest, one.key, one.objects, one.renew_us) for one in settled],
            )

    def try_once(self, change: Change) -> str:
        """The content under which this run has met the version before; "" the first time."""
        row = self._db.execute(
            "SELECT content FROM tried WHERE id = ? AND version = ?", (change.id, change.version)
        ).fetchone()
        if row is not None:
            return str(row[0])
        self._db.execute("INSERT INTO tried VALUES(?, ?, ?)", (change.id, change.version, change.content))
        return ""

    # --- what is under way ---

    def post(self, envelope: Envelope, changes: Sequence[Change]) -> Sending:
        """Keep an envelope, durably, before it is sent."""
        contents = {
            "contents": [[one.id, one.version, one.sha256, one.signed] for one in envelope.contents],
            "refused": [[one.id, one.version, one.code, one.text.en, one.text.es] for one in envelope.refused],
            "changes": [
                [one.id, one.version, one.content, one.body.decode(), one.own, one.key, one.epoch, one.revoked]
                for one in changes
            ],
        }
        row = self._durably("INSERT INTO outbox(body, contents) VALUES(?, ?)", (envelope.body, orjson.dumps(contents)))
        return Sending(int(row.lastrowid or 0), envelope, tuple(changes))

    def under_way(self) -> list[Sending]:
        """Envelopes whose outcome is not known: sent or not, they are to be sent now."""
        found = []
        for number, body, contents in self._db.execute("SELECT number, body, contents FROM outbox ORDER BY number"):
            kept = orjson.loads(contents)
            packed = tuple(Packed(*row) for row in kept["contents"])
            # What could not be packed was told when it was packed; it is not in the envelope.
            changes = tuple(_change([*row[:3], row[3].encode(), *row[4:]]) for row in kept["changes"])
            found.append(Sending(number, Envelope(body, packed), changes))
        return found

    def drop(self, sending: Sending) -> None:
        """Forget an envelope that the hub refused as a whole: nothing of it was stored."""
        self._db.execute("DELETE FROM outbox WHERE number = ?", (sending.number,))

    def settle(self, sending: Sending, result: SubmitResult, run: bytes) -> None:
        """Write an envelope's outcome and what the run has done with it, and forget the envelope: all or nothing."""
        changes = {(one.id, one.version): one for one in sending.changes}
        with self._transaction():
            for packed in result.accepted:
                self._take(changes[packed.id, packed.version], packed.sha256)
            for refused in result.refused:
                change = changes.get((refused.id, refused.version))
                if change is not None:
                    self._refuse(change, refused)
            self._db.execute("DELETE FROM outbox WHERE number = ?", (sending.number,))
            self._db.execute("UPDATE run SET body = ? WHERE ended = 0", (run,))

    def _take(self, change: Change, digest: str) -> None:
        if change.own:
            self._db.execute("DELETE FROM refused WHERE id = ?", (change.id,))
            self._db.execute(
                "INSERT OR REPLACE INTO own(id, key, epoch, content, modified, sha256, body, revoked)"
                " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    change.id,
                    change.key,
                    change.epoch,
                    change.content,
                    change.version,
                    digest,
                    change.body,
                    change.revoked,
                ),
            )
        else:
            self._db.execute("DELETE FROM refused WHERE id = ? AND version = ?", (change.id, change.version))
            self._db.execute(
                "INSERT OR REPLACE INTO passed(id, version, content) VALUES(?, ?, ?)",
                (change.id, change.version, change.content),
            )

    def _refuse(self, change: Change, refused: Refused) -> None:
        if change.own:  # its versions are ours: only the last one counts
            self._db.execute("DELETE FROM refused WHERE id = ?", (change.id,))
        self._db.execute(
            "INSERT OR REPLACE INTO refused(id, version, content, body, own, key, epoch, revoked, code, en, es)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                change.id, change.version, change.content, change.body, change.own, change.key, change.epoch, change.revoked,
                refused.code, refused.text.en, refused.text.es,
            ),
        )  # fmt: skip

    def move(self, cursor: Mapping[str, str]) -> None:
        """Replace the cursor: everything up to it is settled."""
        with self._transaction():
            self._db.execute("DELETE FROM cursor")
            self._db.executemany("INSERT INTO cursor(name, value) VALUES(?, ?)", list(cursor.items()))

    # --- what the hub is told of runs ---

    def begin_run(self, run: bytes) -> None:
        """Note, durably, that a run begins, and what the hub will be told of it if it never ends."""
        self._db.execute("UPDATE run SET ended = 1 WHERE ended = 0")
        self._durably("INSERT INTO run(ended, body) VALUES(0, ?)", (run,))

    def end_run(self, run: bytes) -> None:
        self._durably("UPDATE run SET ended = 1, body = ? WHERE ended = 0", (run,))

    def untold(self, at_most: int) -> list[tuple[int, bytes]]:
        """Ended runs that the hub has not taken yet, oldest first."""
        return self._db.execute(
            "SELECT number, body FROM run WHERE ended = 1 ORDER BY number LIMIT ?", (at_most,)
        ).fetchall()

    def forget_run(self, number: int) -> None:
        """Of one that the hub has, or will never take. If this is lost, it is told once more in the same words."""
        self._db.execute("DELETE FROM run WHERE number = ?", (number,))

    def _durably(self, sql: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        self._db.execute("PRAGMA synchronous = FULL")
        cursor = self._db.execute(sql, values)
        self._db.execute("PRAGMA synchronous = NORMAL")
        return cursor

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _own(row: Sequence[Any]) -> Own:
    object_id, modified, content, digest, body, revoked = row
    return Own(object_id, modified, content, digest, body, bool(revoked))


def _change(row: Sequence[Any]) -> Change:
    object_id, version, content, body, own, key, epoch, revoked = row
    return Change(object_id, version, content, body, bool(own), key, epoch, bool(revoked))


_PASSING = frozenset({"agreement", "timestamp-future", "status-silent", "pattern-budget"})


def passing(code: str) -> bool:
    """Whether a refusal may be gone next time though the object is the same: for its cause is the key, the clock, the
    agreement or the hub."""
    if code in ("signature-unstable", "signature-sco", "signature-form"):
        return False
    return code.startswith(("signature-", "attestation-")) or code in _PASSING
