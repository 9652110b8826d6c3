"""The sealed book of a gateway: which object stands for which original, in one SQLite file that only its owner can read.

It never leaves the gateway's own machine and nothing of it is in the hub. Who has it can name every sender: keep it as the
signing key is kept. Without it, objects already sent can neither be followed by a version nor disclosed.

An envelope is written here before it is posted, with all that it stands for, and forgotten when its outcome is written. So
a crash leads to the same bytes being sent again, never to a second object for one original.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from certs.faults import KeyFault
from certs.jcs import canonical
from certs.keys import OTHERS
from exchange.client import Envelope, Packed, SubmitResult
from exchange.errors import Conflict, Text
from exchange.gateway.faults import Unfit
from exchange.model.instant import instant

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS original(
    collection TEXT NOT NULL, id TEXT NOT NULL, version TEXT NOT NULL, seen_us INTEGER NOT NULL, body BLOB NOT NULL,
    state TEXT NOT NULL, code TEXT NOT NULL, en TEXT NOT NULL, es TEXT NOT NULL,
    PRIMARY KEY(collection, id)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alias(
    new_id TEXT PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL, ended INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX IF NOT EXISTS alias_of ON alias(collection, id);
CREATE TABLE IF NOT EXISTS release(
    number INTEGER PRIMARY KEY, new_id TEXT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL, body BLOB NOT NULL,
    attestation TEXT NOT NULL, salt BLOB NOT NULL, original_id TEXT NOT NULL, original_version TEXT NOT NULL,
    original_sha256 TEXT NOT NULL, origin TEXT NOT NULL, UNIQUE(new_id, version)) STRICT;
CREATE TABLE IF NOT EXISTS outbox(
    number INTEGER PRIMARY KEY, collection TEXT NOT NULL, body BLOB NOT NULL, contents BLOB NOT NULL,
    stands BLOB NOT NULL) STRICT;
"""
# original.state: due, waiting, denied, held; code, en, es say why it is not due. What is settled has no row.


@dataclass(frozen=True, slots=True)
class Original:
    """A version read at home, and when at the latest it was added there."""

    collection: str
    id: str
    version: str
    seen_us: int
    body: bytes = field(repr=False)

    @property
    def value(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Sent:
    """The newest version sent of an object, and the original it stands for."""

    new_id: str
    version: str
    sha256: str
    body: bytes = field(repr=False)
    """Unsigned, canonical."""
    attestation: str
    salt: bytes = field(repr=False)
    original_id: str
    original_version: str
    original_sha256: str
    origin: str
    """What its attestation says of the sender, as JSON."""
    collection: str = ""

    @property
    def value(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Sending:
    """An envelope under way, and what is in it."""

    number: int
    collection: str
    envelope: Envelope
    stands: tuple[Sent, ...]


class Book:
    """One gateway's memory. Use it as `with Book(...) as book`."""

    def __init__(self, directory: Path, identity: str) -> None:
        """Raises KeyFault when others have rights to the file, Conflict when it is another gateway's."""
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.directory = directory
        path = directory / "book.sqlite"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        mode = os.fstat(handle).st_mode
        os.close(handle)
        if mode & OTHERS:
            raise KeyFault(
                "key-mode",
                f"Others than its owner have rights to {path}; run chmod 600 on it.",
                f"Otros además de su propietario tienen permisos sobre {path}; ejecute chmod 600.",
            )
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)  # its journal takes the file's mode
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        if self._meta("identity") not in ("", identity):
            self._db.close()
            raise Conflict(
                f"{path} is the book of another gateway.",
                f"{path} es el libro de otra pasarela.",
                code="another-gateway",
                field="--state",
            )
        self._set("identity", identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one run at a time: two would give one original two names. Raises Conflict."""
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Conflict(
                    "This gateway is running already.", "Esta pasarela ya está en marcha.", code="gateway-running"
                ) from None
            yield

    # --- where it stands ---

    @property
    def agreement(self) -> str:
        return self._meta("agreement")

    @agreement.setter
    def agreement(self, name: str) -> None:
        self._set("agreement", name)

    @property
    def batched(self) -> int:
        """The number of the period in which the last batch was made; -1 before the first."""
        return int(self._meta("batched") or -1)

    def cursor(self, collection: str) -> Path:
        return self.directory / f"{collection}.cursor"

    def begin_again(self, collections: Iterable[str]) -> None:
        """Read all originals anew, and look again at what is held. What was sent stays what it is."""
        for one in collections:
            self.cursor(one).unlink(missing_ok=True)
        self._db.execute("UPDATE original SET state = 'due' WHERE state IN ('held', 'denied')")

    def sweep(self, day: int, since_us: int) -> None:
        """Once a day what was denied is due again, for an embargo ends, a consent comes, members join, and no version of it
        says so. What was added before `since_us` is given up."""
        if str(day) != self._meta("swept"):
            with self._transaction():
                self._db.execute("DELETE FROM original WHERE state = 'denied' AND seen_us < ?", (since_us,))
                self._db.execute("UPDATE original SET state = 'due' WHERE state = 'denied'")
                self._set("swept", str(day))

    # --- originals ---

    def saw(self, originals: Iterable[Original]) -> None:
        """Keep what is to be judged: the newest version of each, unless it was sent or is here already."""
        with self._transaction():
            for one in originals:
                row = self._db.execute(
                    "SELECT version FROM original WHERE collection = ? AND id = ?", (one.collection, one.id)
                ).fetchone()
                sent = self.newest(one.collection, one.id)
                known = [text for text in (row and row[0], sent and sent.original_version) if text]
                if all(instant(text) < instant(one.version) for text in known):
                    self._db.execute(
                        "INSERT OR REPLACE INTO original(collection, id, version, seen_us, body, state, code, en, es)"
                        " VALUES(?, ?, ?, ?, ?, 'due', '', '', '')",
                        (one.collection, one.id, one.version, one.seen_us, one.body),
                    )

    def due(self, before_us: int) -> list[Original]:
        """What was added before a time, and waits for nothing but its turn or what it refers to."""
        rows = self._db.execute(
            "SELECT collection, id, version, seen_us, body FROM original WHERE state IN ('due', 'waiting') AND seen_us < ?"
            " ORDER BY collection, id",
            (before_us,),
        )
        return [Original(*row) for row in rows]

    def unsettled(self) -> set[tuple[str, str]]:
        """Collection and id of every original with a version that is not settled."""
        return set(self._db.execute("SELECT collection, id FROM original"))

    def put_off(self, one: Original, why: Unfit) -> None:
        """It waits, is denied, or a person has to look; what nothing can be told of is forgotten."""
        if why.state == "declined":
            self.forget(one)
            return
        self._mark(one.collection, one.id, one.version, why.state, why.code, why.text)

    def forget(self, one: Original) -> None:
        self._db.execute(
            "DELETE FROM original WHERE collection = ? AND id = ? AND version = ?",
            (one.collection, one.id, one.version),
        )

    def held(self) -> list[tuple[str, str, str, str, str, str]]:
        """Collection, id, version, code and both texts of what a person has to look at."""
        return self._db.execute(
            "SELECT collection, id, version, code, en, es FROM original WHERE state = 'held' ORDER BY collection, id"
        ).fetchall()

    def counts(self) -> dict[str, int]:
        found = dict(self._db.execute("SELECT state, count(*) FROM original GROUP BY state"))
        live = self._db.execute("SELECT count(*) FROM alias WHERE ended = 0").fetchone()[0]
        ended = self._db.execute("SELECT count(*) FROM alias WHERE ended = 1").fetchone()[0]
        under_way = self._db.execute("SELECT count(*) FROM outbox").fetchone()[0]
        return {
            "to_judge": found.get("due", 0), "waiting": found.get("waiting", 0), "denied": found.get("denied", 0),
            "held": found.get("held", 0), "under_way": under_way, "standing": live, "revoked": ended,
        }  # fmt: skip

    # --- what stands for what ---

    def alias(self, collection: str, original_id: str) -> str | None:
        """The id that an original was given and that has not ended, whether or not anything was sent under it yet."""
        row = self._db.execute(
            "SELECT new_id FROM alias WHERE collection = ? AND id = ? AND ended = 0", (collection, original_id)
        ).fetchone()
        return str(row[0]) if row else None

    def newest(self, collection: str, original_id: str) -> Sent | None:
        """The newest version sent for an original, revoked or not."""
        return self._sent(
            "WHERE alias.collection = ? AND alias.id = ? ORDER BY number DESC LIMIT 1", collection, original_id
        )

    def standing(self) -> Iterator[Sent]:
        """The newest version of each object that is not revoked."""
        names = self._db.execute("SELECT new_id FROM alias WHERE ended = 0 ORDER BY new_id").fetchall()
        for (new_id,) in names:
            found = self.sent(new_id)
            if found is not None:
                yield found

    def sent(self, new_id: str, version: str | None = None) -> Sent | None:
        """A version that was sent; without `version`, the newest."""
        if version is not None:
            return self._sent("WHERE new_id = ? AND version = ?", new_id, version)
        return self._sent("WHERE new_id = ? ORDER BY number DESC LIMIT 1", new_id)

    def _sent(self, where: str, *values: object) -> Sent | None:
        columns = (
            "new_id, version, sha256, body, attestation, salt, original_id, original_version, original_sha256, origin"
        )
        query = f"SELECT {columns}, collection FROM release JOIN alias USING(new_id) {where}"  # noqa: S608  # our own texts
        row = self._db.execute(query, values).fetchone()
        return Sent(*row) if row else None

    # --- what is under way ---

    def post(self, period: int, batch: Sequence[tuple[str, Envelope, Sequence[Sent]]]) -> None:
        """Keep a period's whole batch, durably, before anything of it is sent; there is no other in this period."""
        with self._transaction():
            self._set("batched", str(period))
            for collection, envelope, stands in batch:
                contents = [[one.id, one.version, one.sha256, one.signed] for one in envelope.contents]
                self._db.execute(
                    "INSERT INTO outbox(collection, body, contents, stands) VALUES(?, ?, ?, ?)",
                    (collection, envelope.body, orjson.dumps(contents), canonical([_row(one) for one in stands])),
                )
                for one in stands:
                    self._db.execute(
                        "INSERT OR IGNORE INTO alias(new_id, collection, id) VALUES(?, ?, ?)",
                        (one.new_id, collection, one.original_id),
                    )

    def under_way(self) -> list[Sending]:
        """Envelopes whose outcome is not known: sent or not, they are to be sent now."""
        found = []
        rows = self._db.execute("SELECT number, collection, body, contents, stands FROM outbox ORDER BY number")
        for number, collection, body, contents, stands in rows:
            packed = tuple(Packed(*row) for row in orjson.loads(contents))
            several = tuple(_of_row(row) for row in orjson.loads(stands))
            found.append(Sending(number, collection, Envelope(body, packed), several))
        return found

    def settle(self, sending: Sending, result: SubmitResult) -> None:
        """Write an envelope's outcome and forget the envelope: both or neither. What the hub refused is held."""
        accepted = {(one.id, one.version) for one in result.accepted}
        refused = {(one.id, one.version): one for one in result.refused}
        with self._transaction():
            for one in sending.stands:
                if {(one.new_id, one.version), _attested(sending, one)} <= accepted:
                    self._keep(one, sending.collection)
                    continue
                why = refused.get((one.new_id, one.version))
                text = why.text if why else Text("The hub refused its attestation.", "El centro rechazó su atestación.")
                code = why.code if why else "attestation-refused"
                self._mark(sending.collection, one.original_id, one.original_version, "held", code, text)
            self._db.execute("DELETE FROM outbox WHERE number = ?", (sending.number,))

    def drop(self, sending: Sending) -> None:
        """Forget an envelope that the hub refused as a whole: nothing of it was stored, and its originals are due again."""
        self._db.execute("DELETE FROM outbox WHERE number = ?", (sending.number,))

    def _keep(self, one: Sent, collection: str) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO release(new_id, version, sha256, body, attestation, salt, original_id, original_version,"
            " original_sha256, origin) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one.new_id, one.version, one.sha256, one.body, one.attestation, one.salt, one.original_id,
                one.original_version, one.original_sha256, one.origin,
            ),
        )  # fmt: skip
        if one.value.get("revoked"):
            self._db.execute("UPDATE alias SET ended = 1 WHERE new_id = ?", (one.new_id,))
        self._db.execute(
            "DELETE FROM original WHERE collection = ? AND id = ? AND version = ?",
            (collection, one.original_id, one.original_version),
        )

    def _mark(self, collection: str, original_id: str, version: str, state: str, code: str, text: Text) -> None:
        self._db.execute(
            "UPDATE original SET state = ?, code = ?, en = ?, es = ? WHERE collection = ? AND id = ? AND version = ?",
            (state, code, text.en, text.es, collection, original_id, version),
        )

    # --- common ---

    def _meta(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta(name, value) VALUES(?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _attested(sending: Sending, one: Sent) -> tuple[str, str]:
    return next(((item.id, item.version) for item in sending.envelope.contents if item.id == one.attestation), ("", ""))


def _row(one: Sent) -> list[str]:
    return [
        one.new_id, one.version, one.sha256, one.body.decode(), one.attestation, one.salt.hex(), one.original_id,
        one.original_version, one.original_sha256, one.origin,
    ]  # fmt: skip


def _of_row(row: Sequence[str]) -> Sent:
    new_id, version, digest, body, attestation, salt, *original = row
    return Sent(new_id, version, digest, body.encode(), attestation, bytes.fromhex(salt), *original)
