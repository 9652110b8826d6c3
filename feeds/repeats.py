"""What a member's sources have said already: a value that a list says again is counted with a sighting, and is not a second
indicator.

Beside the states of the single sources lies one file that knows which indicator stands for a pattern. The first source to
have one taken by the hub keeps it; when it has ended there, the next one that still says it makes one of its own.
"""

import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self

import orjson

from exchange.times import parse_us
from feeds.catalogue import Source
from feeds.identity import Identities
from feeds.listing import NEVER_US
from feeds.state import Change, FeedState
from policies.label import TLP_DEFINITIONS

FILE: Final = "said_before.sqlite"
"""No source has this name: theirs have no underscore."""

_STRICTNESS: Final = {word: rank for rank, word in enumerate(("clear", "green", "amber", "amber+strict"))}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keeper(
    digest INTEGER PRIMARY KEY, id BLOB NOT NULL, strictness INTEGER NOT NULL, until_us INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS counted(
    feed TEXT NOT NULL, key TEXT NOT NULL, digest INTEGER NOT NULL, keeper BLOB NOT NULL,
    PRIMARY KEY(feed, key, digest)) STRICT, WITHOUT ROWID;
"""
# A keeper is found by its pattern alone: a second index in random order would cost a million records a minute.


class Repeats:
    """One source's view of the book that all sources of a directory share. Calls come from any thread, one after another;
    other sources and processes may write at the same time."""

    def __init__(self, directory: Path, source: Source, operator: str) -> None:
        self._source = source
        self._counts = source.mapping is not None and source.mapping.repeats == "count"
        self._ids = Identities(operator, source.name)
        # Who may read another collection, or does not know this operator's objects, has not been told of the value.
        self._place = blake2b(f"{operator} {source.collection} ".encode(), digest_size=8)
        self._db = sqlite3.connect(directory / FILE, check_same_thread=False, isolation_level=None, timeout=30.0)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._counted: list[tuple[str, str, int, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with closing(self._db):
            self.taken((), None, 0)

    # --- while mapping ---

    def told(self, key: str, objects: list[dict[str, Any]], state: FeedState, now_us: int) -> list[dict[str, Any]]:
        """The objects of one record, with a sighting for an indicator that another source of the operator has already, and
        what refers to it pointed at that one. What this source itself keeps stays as it is."""
        if not self._counts:
            return objects
        keepers = {}
        for obj in objects:
            if obj["type"] == "indicator" and not obj.get("revoked"):
                digest, id_ = self._digest(obj), _short(obj["id"])
                keeper = self._keeper(digest, _strictness(obj), now_us)
                if keeper is not None and keeper != id_ and not _stands(state, obj["id"]):
                    keepers[obj["id"]] = f"indicator--{uuid.UUID(bytes=keeper)}"
                    self._counted.append((self._source.name, key, digest, keeper))
        if not keepers:
            return objects
        return [
            self._sighting(obj, keepers[obj["id"]])
            if obj["id"] in keepers
            else {name: keepers.get(value, value) if isinstance(value, str) else value for name, value in obj.items()}
            for obj in objects
        ]

    def _keeper(self, digest: int, strictness: int, now_us: int) -> bytes | None:
        """The indicator that says the same to at least as many."""
        row = self._db.execute(
            "SELECT id FROM keeper WHERE digest = ? AND until_us > ? AND strictness <= ?", (digest, now_us, strictness)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _sighting(self, obj: Mapping[str, Any], keeper: str) -> dict[str, Any]:
        kept = (
            "created",
            "modified",
            "description",
            "confidence",
            "labels",
            "external_references",
            "object_marking_refs",
        )
        seen = {"first_seen": obj.get("valid_from"), "last_seen": obj.get("modified")}
        return {
            "type": "sighting", "spec_version": "2.1", "id": self._ids.make("sighting", obj["id"]),
            "created_by_ref": self._ids.operator, "sighting_of_ref": keeper,
            **{name: obj[name] for name in kept if name in obj},
            **{name: time for name, time in seen.items() if time is not None},
        }  # fmt: skip

    def _digest(self, obj: Mapping[str, Any]) -> int:
        one = self._place.copy()
        one.update(f"{obj['pattern_type']} {obj['pattern']}".encode("utf-8", "surrogatepass"))
        return int.from_bytes(one.digest(), "little", signed=True)

    # --- when the hub has answered ---

    def taken(self, changes: Iterable[Change], state: FeedState | None, now_us: int) -> None:
        """The hub took these. Before the state knows: it has the version before, and after a crash this is noted again."""
        told = [one for one in changes if one.own and one.id.startswith("indicator--")]
        if not told and not self._counted:
            return
        self._db.execute("BEGIN IMMEDIATE")
        for change in told:
            obj = orjson.loads(change.body)
            held = state.own(change.id) if state is not None and obj["modified"] != obj["created"] else None
            if held is not None:
                row = (self._digest(orjson.loads(held.body)), _short(change.id))
                self._db.execute("DELETE FROM keeper WHERE digest = ? AND id = ?", row)
            self._keep(change, obj, now_us)
        self._db.executemany("INSERT OR REPLACE INTO counted VALUES(?, ?, ?, ?)", self._counted)
        self._db.execute("COMMIT")
        self._counted.clear()

    def _keep(self, change: Change, obj: Mapping[str, Any], now_us: int) -> None:
        until_us = parse_us(obj["valid_until"]) if "valid_until" in obj else NEVER_US
        if not change.revoked and until_us > now_us:
            self._db.execute(
                "INSERT INTO keeper VALUES(?, ?, ?, ?) ON CONFLICT(digest) DO UPDATE SET id = excluded.id,"
                " strictness = excluded.strictness, until_us = excluded.until_us"
                " WHERE until_us <= ? OR strictness > excluded.strictness",
                (self._digest(obj), _short(change.id), _strictness(obj), until_us, now_us),
            )

    # --- before a run ---

    def map_again(self, state: FeedState, now_us: int) -> None:
        """Have the records mapped again whose values were counted for an indicator that has ended."""
        rows = self._db.execute(
            "SELECT key, digest FROM counted WHERE feed = ? AND NOT EXISTS ("
            "SELECT 1 FROM keeper WHERE digest = counted.digest AND id = counted.keeper AND until_us > ?)",
            (self._source.name, now_us),
        ).fetchall()
        if not rows:
            return
        state.renew([key for key, _ in rows])
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "DELETE FROM counted WHERE feed = ? AND key = ? AND digest = ?", [(self._source.name, *row) for row in rows]
        )
        self._db.execute("COMMIT")


def _short(object_id: str) -> bytes:
    """An id without its type, as sixteen bytes."""
    return bytes.fromhex(object_id.partition("--")[2].replace("-", ""))


def _stands(state: FeedState, object_id: str) -> bool:
    held = state.own(object_id)
    return held is not None and not held.revoked


def _strictness(obj: Mapping[str, Any]) -> int:
    """Of its TLP; what has none, or one that is not ours, is as if for nobody else."""
    words = [TLP_DEFINITIONS[one] for one in obj.get("object_marking_refs", ()) if one in TLP_DEFINITIONS]
    return max((_STRICTNESS.get(word, len(_STRICTNESS)) for word in words), default=len(_STRICTNESS))
