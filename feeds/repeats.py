"""What a member's sources have said already: a value that a list says again is counted with a sighting, and is not a second
indicator.

Beside the states of the single sources lies one file that knows which indicator stands for a pattern. The first source to
have one taken by the hub keeps it; when it has ended there, the next one that still says it makes one of its own.
"""

import sqlite3
from collections.abc import Iterable, Mapping
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
    digest INTEGER PRIMARY KEY, id TEXT NOT NULL, strictness INTEGER NOT NULL, until_us INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS keeper_id ON keeper(id);
CREATE TABLE IF NOT EXISTS counted(
    feed TEXT NOT NULL, key TEXT NOT NULL, keeper TEXT NOT NULL, PRIMARY KEY(feed, key, keeper)) STRICT, WITHOUT ROWID;
"""


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # --- while mapping ---

    def told(self, objects: list[dict[str, Any]], state: FeedState, now_us: int) -> list[dict[str, Any]]:
        """The objects of one record, with a sighting for an indicator that another source of the operator has already, and
        what refers to it pointed at that one. What this source itself keeps stays as it is."""
        if not self._counts:
            return objects
        keepers = {}
        for obj in objects:
            if obj["type"] == "indicator" and not obj.get("revoked"):
                keeper = self._keeper(obj, now_us)
                if keeper not in ("", obj["id"]) and not _stands(state, obj["id"]):
                    keepers[obj["id"]] = keeper
        if not keepers:
            return objects
        return [
            self._sighting(obj, keepers[obj["id"]])
            if obj["id"] in keepers
            else {name: keepers.get(value, value) if isinstance(value, str) else value for name, value in obj.items()}
            for obj in objects
        ]

    def counts_of(self, ids: Iterable[str]) -> frozenset[str]:
        """The ids of the sightings that stood for these indicators. What was seen was seen: no change of a record ends it."""
        if not self._counts:
            return frozenset()
        return frozenset(self._ids.make("sighting", one) for one in ids if one.startswith("indicator--"))

    def _keeper(self, obj: Mapping[str, Any], now_us: int) -> str:
        """The other indicator that says the same to at least as many; "" for none."""
        row = self._db.execute(
            "SELECT id FROM keeper WHERE digest = ? AND until_us > ? AND strictness <= ?",
            (self._digest(obj), now_us, _strictness(obj)),
        ).fetchone()
        return "" if row is None else str(row[0])

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

    def taken(self, changes: Iterable[Change], now_us: int) -> None:
        """The hub took these. Before the state forgets that they were under way: then it is noted again after a crash."""
        told = [one for one in changes if one.own and one.id.startswith(("indicator--", "sighting--"))]
        if not told:
            return
        self._db.execute("BEGIN IMMEDIATE")
        for change in told:
            obj = orjson.loads(change.body)
            if obj["type"] == "indicator":
                self._keep(change, obj, now_us)
            elif not change.revoked:
                row = (self._source.name, change.key, obj["sighting_of_ref"])
                self._db.execute("INSERT OR IGNORE INTO counted VALUES(?, ?, ?)", row)
        self._db.execute("COMMIT")

    def _keep(self, change: Change, obj: Mapping[str, Any], now_us: int) -> None:
        until_us = parse_us(obj["valid_until"]) if "valid_until" in obj else NEVER_US
        digest = self._digest(obj)
        ended = change.revoked or until_us <= now_us
        self._db.execute("DELETE FROM keeper WHERE id = ? AND (? OR digest <> ?)", (change.id, ended, digest))
        if not ended:
            self._db.execute(
                "INSERT INTO keeper VALUES(?, ?, ?, ?) ON CONFLICT(digest) DO UPDATE SET id = excluded.id,"
                " strictness = excluded.strictness, until_us = excluded.until_us"
                " WHERE id = excluded.id OR until_us <= ? OR strictness > excluded.strictness",
                (digest, change.id, _strictness(obj), until_us, now_us),
            )

    # --- before a run ---

    def map_again(self, state: FeedState, now_us: int) -> None:
        """Have the records mapped again whose values were counted for an indicator that has ended."""
        rows = self._db.execute(
            "SELECT key, keeper FROM counted WHERE feed = ?"
            " AND NOT EXISTS (SELECT 1 FROM keeper WHERE id = counted.keeper AND until_us > ?)",
            (self._source.name, now_us),
        ).fetchall()
        if not rows:
            return
        state.renew([key for key, _ in rows])
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "DELETE FROM counted WHERE feed = ? AND key = ? AND keeper = ?", [(self._source.name, *row) for row in rows]
        )
        self._db.execute("COMMIT")


def _stands(state: FeedState, object_id: str) -> bool:
    held = state.own(object_id)
    return held is not None and not held.revoked


def _strictness(obj: Mapping[str, Any]) -> int:
    """Of its TLP; what has none, or one that is not ours, is as if for nobody else."""
    words = [TLP_DEFINITIONS[one] for one in obj.get("object_marking_refs", ()) if one in TLP_DEFINITIONS]
    return max((_STRICTNESS.get(word, len(_STRICTNESS)) for word in words), default=len(_STRICTNESS))
