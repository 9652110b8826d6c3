"""Placing objects on SQLite: one question and three inserts for a whole act, however many objects it has,
and one question more for each id that is here already, however many versions it has.

Runs inside the append transaction (sqlite_append.py); a crash in here is its rollback.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from exchange.model.instant import instant
from exchange.model.versions import Known, Verdict, judge, leaves_gap
from exchange.store.contract import NewObject, Placed, Removal, Withdrawn
from exchange.store.sqlite_runs import NewRun, blank, cut, insert
from exchange.times import as_text, parse_us

_IDS_AT_ONCE = 500

_COLUMNS = "id, vid, instant, created, revoked, owner, holder, sha256"
# Versions of one id under one holder have one owner and one `created` (model.versions.judge lets no others in), so the
# first speaks for all: beside it, those of the same instant, the newest before it, the first that revokes, and the newest with
# their twins.
_THAT_MATTER = " UNION ".join(
    f"SELECT * FROM (SELECT {_COLUMNS} FROM object WHERE id = :id {rest})"
    for rest in (
        "AND instant = :instant",
        "AND holder = :holder ORDER BY instant LIMIT 1",
        "AND holder = '' ORDER BY instant LIMIT 1",
        "AND holder = :holder AND instant < :instant ORDER BY instant DESC LIMIT 1",
        "AND holder = :holder AND revoked = 1 ORDER BY instant LIMIT 1",
        "AND instant = (SELECT max(instant) FROM object WHERE id = :id)",
    )
)

Mark = tuple[int, bool, dict[int, list[int]]]
"""What `Placing.reset` needs to forget an act that failed."""


class _Held(NamedTuple):
    """One version with the id of a new object."""

    id: str
    vid: int
    instant: str
    created: str
    revoked: int
    owner: str
    holder: str
    sha256: bytes

    @property
    def known(self) -> Known:
        return Known(self.instant, self.created, bool(self.revoked), self.owner, self.holder, self.sha256)


class _Going(NamedTuple):
    """An object on its way in: its place in the act, the number of its version where that is held already."""

    new: NewObject
    number: int
    vid: int | None
    newer: int
    gap: bool

    @property
    def body(self) -> bytes:
        return self.new.object.body


class Placing:
    """Judges and stores the objects of a group's acts, giving each its tick.

    `label_news` gathers what each label gained, as [count, last tick]. `changed` says that rows placed earlier may read
    differently now: a version got a rival, or went.
    """

    def __init__(self, db: sqlite3.Connection, time_us: int, last_tick: int) -> None:
        self._db = db
        self._time_us = time_us
        self._time_text = instant(as_text(time_us))
        self.last_tick = last_tick
        self._label_ids: dict[str, int] = {}
        self.label_news: dict[int, list[int]] = {}
        self.changed = False

    def mark(self) -> Mark:
        return self.last_tick, self.changed, {label: list(news) for label, news in self.label_news.items()}

    def reset(self, mark: Mark) -> None:
        """Forget an act that failed. Its label may be rolled back too, so their numbers are asked for anew."""
        self.last_tick, self.changed, self.label_news = mark
        self._label_ids.clear()

    def place(self, objects: Sequence[NewObject]) -> tuple[Placed, ...]:
        """What became of each object, in order."""
        return tuple(placed for part in _apart(objects) for placed in self._place(part))

    def _place(self, objects: Sequence[NewObject]) -> list[Placed]:
        """Objects with ids that all differ: none of them bears on another."""
        held = self._held(objects)
        placed: list[Placed] = []
        going: dict[int, list[_Going]] = {}  # by label, in order of first appearance
        for new in objects:
            others = held.get(new.object.id, ())
            known = [one.known for one in others]
            verdict, same, newer = self._judged(new, others, known)
            if verdict is Verdict.STORED:
                vid = same.vid if same is not None else None
                gap = leaves_gap(new.object, new.previous, new.holder, known)
                going.setdefault(self._label(new), []).append(_Going(new, len(placed), vid, newer, gap))
            placed.append(Placed(verdict))
        self._store(going, placed)
        return placed

    def _judged(
        self, new: NewObject, held: Sequence["_Held"], known: Sequence[Known]
    ) -> tuple[Verdict, "_Held | None", int]:
        """The verdict; the row of the very same version, for one that only needs another place; whether it has rivals."""
        if not held:
            return Verdict.STORED, None, 0
        verdict = judge(new.object, new.owner, new.holder, known)
        if not verdict.success:
            return verdict, None, 0
        same = next((one for one in held if one.instant == new.object.instant and one.holder == new.holder), None)
        if same is not None and self._is_placed(same.vid, new.collection):
            return Verdict.DUPLICATE, None, 0
        return Verdict.STORED, same, self._mark_rivals(new, same, held)

    def _store(self, going: dict[int, list["_Going"]], placed: list[Placed]) -> None:
        """Give ticks, label after label, and write; `placed` learns them."""
        next_vid: int = self._db.execute("SELECT coalesce(max(vid), 0) + 1 FROM object").fetchone()[0]
        versions: list[tuple[object, ...]] = []
        placements: list[tuple[object, ...]] = []
        runs: list[NewRun] = []
        for label, of_label in going.items():
            for part in cut(of_label):
                first = self._next_tick(part)
                for tick, one in enumerate(part, start=first):
                    vid = one.vid
                    if vid is None:
                        vid, next_vid = next_vid, next_vid + 1
                        versions.append(_version_row(vid, one.new))
                    placements.append((one.new.collection, tick, label, vid, one.newer, first))
                    placed[one.number] = Placed(Verdict.STORED, tick, one.gap)
                self.last_tick = first + len(part) - 1
                odd = max(one.newer for one in part)
                runs.append(NewRun(part[0].new.collection, first, label, odd, [one.new.object for one in part]))
            news = self.label_news.setdefault(label, [0, 0])
            news[0] += len(of_label)
            news[1] = self.last_tick
        self._db.executemany(
            "INSERT INTO object (vid, id, instant, holder, type, version, created, revoked, owner, sha256, item)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            versions,
        )
        self._db.executemany(
            "INSERT INTO placement (collection, tick, label, vid, newer, run) VALUES (?, ?, ?, ?, ?, ?)", placements
        )
        insert(self._db, runs)

    def _next_tick(self, part: Sequence["_Going"]) -> int:
        """The first tick of a run. An author's clock may run ahead of ours, but no tick lies before its object's
        `modified`: a client whose cursor is the greatest `modified` it saw (Cortex XSOAR) would lose what is added until
        that moment."""
        tick = max(self._time_us, self.last_tick + 1)
        latest = max((one.new.object for one in part), key=lambda obj: obj.instant)
        return tick if latest.instant <= self._time_text else max(tick, parse_us(latest.version) + 1)

    def _held(self, objects: Sequence[NewObject]) -> dict[str, list[_Held]]:
        """By id, the versions that a new one is judged by; not all of them, for there may be thousands."""
        known: set[str] = set()
        for start in range(0, len(objects), _IDS_AT_ONCE):
            part = [new.object.id for new in objects[start : start + _IDS_AT_ONCE]]
            marks = ",".join(["(?)"] * len(part))
            known.update(
                row[0]
                for row in self._db.execute(
                    f"WITH asked (id) AS (VALUES {marks})"
                    " SELECT id FROM asked WHERE EXISTS (SELECT 1 FROM object WHERE object.id = asked.id)",
                    part,
                )
            )
        return {
            new.object.id: [
                _Held(*row)
                for row in self._db.execute(
                    _THAT_MATTER, {"id": new.object.id, "instant": new.object.instant, "holder": new.holder}
                )
            ]
            for new in objects
            if new.object.id in known
        }

    def _is_placed(self, vid: int, collection: str) -> bool:
        found = self._db.execute("SELECT 1 FROM placement WHERE vid = ? AND collection = ?", (vid, collection))
        return found.fetchone() is not None

    def _mark_rivals(self, new: NewObject, same: _Held | None, held: Sequence["_Held"]) -> int:
        """Mark what the new version may supersede; 1 when it may itself be superseded (a late old version, or a twin of
        another holder). Only marks: what the reader may see decides which is the latest."""
        rivals = [one for one in held if one is not same]
        if not rivals:
            return 0
        self.changed = True
        newest = max(one.instant for one in rivals)
        if same is None and new.object.instant >= newest:
            # Every version with a later one was marked when that came; the newest alone can be without a mark.
            vids = ",".join(str(int(one.vid)) for one in rivals if one.instant == newest)
            self._db.execute(f"UPDATE placement SET newer = 1 WHERE vid IN ({vids})")
            self._db.execute(
                f"UPDATE run SET odd = 1 WHERE first_tick IN (SELECT run FROM placement WHERE vid IN ({vids}))"
            )
        return int(newest >= new.object.instant)

    def _label(self, new: NewObject) -> int:
        known = self._label_ids.get(new.label)
        if known is None:
            row = self._db.execute("SELECT id FROM label WHERE facets = ?", (new.label,)).fetchone()
            if row is None:
                row = self._db.execute(
                    "INSERT INTO label (collection, facets, country, placements, last_tick) VALUES (?, ?, ?, 0, 0) RETURNING id",
                    (new.collection, new.label, new.country),
                ).fetchone()
            known = self._label_ids[new.label] = int(row[0])
        return known

    # --- taking out ---

    def remove(self, removal: Removal) -> tuple[Withdrawn, ...] | None:
        """See Stamp.removed."""
        rows = self._db.execute(
            "SELECT o.vid, o.instant, o.owner, o.version, p.label, p.run, p.tick, l.facets FROM object o"
            " JOIN placement p ON p.vid = o.vid JOIN label l ON l.id = p.label"
            " WHERE o.id = ? AND p.collection = ? ORDER BY o.instant",
            (removal.id, removal.collection),
        ).fetchall()
        own = [row for row in rows if row[2] == removal.owner]
        if rows and not own:
            return None
        chosen = own
        if "all" not in removal.versions:
            wanted = {
                own[0][1] if word == "first" else own[-1][1] if word == "last" else word
                for word in removal.versions
                if own
            }
            chosen = [row for row in own if row[1] in wanted]
        for vid, _, _, _, label, run, tick, _ in chosen:
            blank(self._db, run, tick)
            self._db.execute("DELETE FROM placement WHERE vid = ? AND collection = ?", (vid, removal.collection))
            self._db.execute("UPDATE label SET placements = placements - 1 WHERE id = ?", (label,))
            # The row stays: it keeps the id its owner's, and the version what it was. Observables have neither owner nor
            # version, and go with their last placement.
            self._db.execute(
                "DELETE FROM object WHERE vid = ? AND created = ''"
                " AND NOT EXISTS (SELECT 1 FROM placement WHERE placement.vid = object.vid)",
                (vid,),
            )
        self.changed = self.changed or bool(chosen)
        return tuple(Withdrawn(row[3], row[7]) for row in chosen)


def _version_row(vid: int, new: NewObject) -> tuple[object, ...]:
    obj = new.object
    return (vid, obj.id, obj.instant, new.holder, obj.type, obj.version, obj.created, obj.revoked, new.owner, obj.sha256,
            obj.item)  # fmt: skip


def _apart(objects: Sequence[NewObject]) -> Iterator[Sequence[NewObject]]:
    """The objects in order, cut where an id comes again: its second version is judged against the first."""
    if len(objects) < 2 or len({new.object.id for new in objects}) == len(objects):
        yield objects
        return
    part: list[NewObject] = []
    seen: set[str] = set()
    for new in objects:
        if new.object.id in seen:
            yield part
            part, seen = [], set()
        part.append(new)
        seen.add(new.object.id)
    yield part
