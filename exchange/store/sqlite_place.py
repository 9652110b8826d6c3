"""Placing objects on SQLite: one question and three inserts for a whole act, however many objects it has,
and one question more for each id that is here already, however many versions it has.

Runs inside the append transaction (sqlite_append.py); a crash in here is its rollback.
"""

import sqlite3
from collections.abc import Collection, Container, Mapping, Sequence

from exchange.store.acts import MovedRun, NewObject, Placed, Removal, Withdrawn
from exchange.store.graph import followers, join, tells_of_citing
from exchange.store.placing import Held, Judged, Laid, Lying, apart, chosen, judge_all, lay
from exchange.store.sqlite_graph import drive, relabel
from exchange.store.sqlite_read import id_key, number_list
from exchange.store.sqlite_rows import insert_rows
from exchange.store.sqlite_runs import blank, insert

_IDS_AT_ONCE = 500

_COLUMNS = (
    "id, vid, instant, created, revoked, owner, holder, sha256,"
    " EXISTS (SELECT 1 FROM placement p WHERE p.vid = object.vid AND p.collection = :collection)"
)
# As store.placing.Held says: these speak for all. The first that came is asked for whatever it is.
_THAT_MATTER = (
    f"SELECT {_COLUMNS} FROM object INDEXED BY object_key WHERE id_key = :key AND again = 0 AND id = :id"
    + "".join(
        f" UNION SELECT * FROM (SELECT {_COLUMNS} FROM object WHERE id = :id AND again = 1 {rest})"
        for rest in (
            "AND instant = :instant",
            "AND holder = :holder ORDER BY instant LIMIT 1",
            "AND holder = '' ORDER BY instant LIMIT 1",
            "AND holder = :holder AND instant < :instant ORDER BY instant DESC LIMIT 1",
            "AND holder = :holder AND revoked = 1 ORDER BY instant LIMIT 1",
            "AND instant = (SELECT max(instant) FROM object WHERE id = :id AND again = 1)",
        )
    )
)

# A run that nothing was taken out of, and none of whose rows has a rival, holds newest versions alone.
_LIVE = (
    "SELECT l.id, l.live, EXISTS (SELECT 1 FROM run INDEXED BY run_label WHERE run.label = l.id AND odd = 0)"
    " OR EXISTS (SELECT 1 FROM run r INDEXED BY run_label CROSS JOIN placement p ON p.collection = r.collection"
    " AND p.tick BETWEEN r.first_tick AND r.first_tick + r.count - 1 CROSS JOIN object o ON o.vid = p.vid"
    " WHERE r.label = l.id AND NOT EXISTS (SELECT 1 FROM object n INDEXED BY object_key JOIN placement q ON q.vid = n.vid"
    " WHERE n.id_key = o.id_key AND n.id = o.id AND n.holder = o.holder AND n.instant > o.instant"
    " AND q.collection = p.collection)) FROM label l WHERE l.live >= 0 AND l.id IN"
)

Mark = tuple[int, bool, dict[int, list[int]], int, int, set[int]]
"""What `Placing.reset` needs to forget an act that failed."""


class Placing:
    """Judges and stores the objects of a group's acts, giving each its tick.

    `label_news` gathers what each label gained, as [count, last tick]. `changed` says that rows placed earlier may read
    differently now: a version got a rival, or went.
    """

    def __init__(self, db: sqlite3.Connection, time_us: int, last_tick: int) -> None:
        self._db = db
        self.time_us = time_us
        self.last_tick = last_tick
        self._label_ids: dict[str, int] = {}
        self.label_news: dict[int, list[int]] = {}
        self.changed = False
        self.moves = 0
        self.moved: list[MovedRun] = []
        """What became news by the act at hand, beside what it placed."""
        self.steps = 0
        """How many views that was a step of."""
        self.turned = 0
        """How often a label that tells of citing came to hold something, or ceased to, as far as it is written."""
        self.alive = set[int]()
        """Labels that surely hold something now, and may not have before."""

    def mark(self) -> Mark:
        self.moved, self.steps = [], 0
        news = {label: list(news) for label, news in self.label_news.items()}
        return self.last_tick, self.changed, news, self.moves, self.turned, set(self.alive)

    def reset(self, mark: Mark) -> None:
        """Forget an act that failed. Its label may be rolled back too, so their numbers are asked for anew."""
        self.last_tick, self.changed, self.label_news, self.moves, self.turned, self.alive = mark
        self._label_ids.clear()

    def place(self, objects: Sequence[NewObject]) -> tuple[Placed, ...]:
        """What became of each object, in order."""
        return tuple(placed for part in apart(objects) for placed in self._place(part))

    def _place(self, objects: Sequence[NewObject]) -> list[Placed]:
        keys = {new.object.id: id_key(new.object.id) for new in objects}
        held, referred = self._held(objects, keys)
        judged = judge_all(objects, held)
        self._mark(judged)
        if judged.going:
            drive(self._db, join(judged))
            placed = self._store(judged, keys, held)
            self._follow(
                [
                    new.object.id
                    for new, one in zip(objects, judged.placed, strict=True)
                    if one.tick and new.object.id in referred
                ],
                placed,
            )
        return judged.placed

    def _mark(self, judged: Judged) -> None:
        self.changed = self.changed or judged.changed
        if judged.superseded:
            vids = ",".join(str(int(vid)) for vid in judged.superseded)
            self._db.execute(f"UPDATE placement SET newer = 1 WHERE vid IN ({vids})")
            self._db.execute(
                f"UPDATE run SET odd = 1 WHERE first_tick IN (SELECT run FROM placement WHERE vid IN ({vids}))"
            )

    def _follow(self, changed: Sequence[str], placed: Collection[int] = ()) -> None:
        """Put what refers to these ids, and must lie under another label now, there."""
        moving = drive(self._db, followers(changed, placed)) if changed else []
        if moving:
            made = relabel(self._db, self, moving)
            self.moved += made.moved
            self.steps += len(made.rows)
            self.changed, self.moves = True, self.moves + 1
            labels = {self.label(one.facets, one.lain.collection, one.lain.country) for one in moving}
            self._look_again(labels | {one.lain.label for one in moving})

    def _store(self, judged: Judged, keys: Mapping[str, int], held: Container[str]) -> set[int]:
        """Write what is placed; the numbers of its versions."""
        next_vid: int = self._db.execute("SELECT coalesce(max(vid), 0) + 1 FROM object").fetchone()[0]
        laid = Laid(self.last_tick, next_vid, label_news=self.label_news)
        labels = {name: self.label(name, one.collection, one.country) for name, one in judged.labels.items()}
        lay(judged, labels, self.time_us, laid)
        self.last_tick = laid.last_tick
        insert_rows(
            self._db,
            "object (vid, id, instant, holder, type, version, created, revoked, owner, sha256, item, id_key, again)",
            [(*row, keys[row[1]], row[1] in held) for row in laid.versions],
        )
        insert_rows(self._db, "placement (collection, tick, label, vid, newer, run)", laid.placements)
        self.alive.update([run.label for run in laid.runs if not run.odd])
        insert(self._db, laid.runs)
        self._db.executemany(
            "INSERT OR IGNORE INTO reference (id_key, vid, id) VALUES (?, ?, ?)",
            [(id_key(ref), vid, ref) for vid, ref in laid.references],
        )
        self._db.executemany(
            "INSERT INTO relabelled (tick, collection, id, label, former, placed, again)"
            " SELECT ?1, collection, ?2, ?3, label, tick, 0 FROM placement INDEXED BY placement_vid"
            " WHERE vid = ?4 AND collection = ?5 AND (label <> ?3 OR EXISTS (SELECT 1 FROM placement p JOIN object o"
            " ON o.vid = p.vid WHERE p.collection = ?5 AND p.tick = ?1 AND o.revoked = 1))",
            [(tick, id_, label, vid, collection) for tick, collection, id_, label, vid in laid.followed],
        )
        doubtful = {run.label for run in laid.runs if run.odd}
        if laid.followed:
            since = min(row[0] for row in laid.followed)
            doubtful.update([
                row[0] for row in self._db.execute("SELECT former FROM relabelled WHERE tick >= ?", (since,))
            ])  # fmt: skip
        self._look_again(doubtful)
        return {row[3] for row in laid.placements}

    def _look_again(self, labels: Collection[int]) -> None:
        """Whether the newest version of something lies under these labels, of those that tell of citing."""
        if not labels:
            return
        for label, before, live in self._db.execute(f"{_LIVE} ({number_list(sorted(labels))})").fetchall():
            self.alive.discard(label)
            if live != before:
                self._db.execute("UPDATE label SET live = ? WHERE id = ?", (live, label))
                self.turned += 1
                self.moves += not live  # who read what it let open is to look again

    def turns(self) -> int:
        """How often such a label turned, with what is still to be written."""
        if not self.alive:
            return self.turned
        sql = f"SELECT count(*) FROM label WHERE live = 0 AND id IN ({number_list(sorted(self.alive))})"
        return self.turned + int(self._db.execute(sql).fetchone()[0])

    def _held(self, objects: Sequence[NewObject], keys: Mapping[str, int]) -> tuple[dict[str, list[Held]], set[str]]:
        """By id, the versions that a new one is judged by; not all of them, for there may be thousands. And the ids that something
        refers to."""
        known: set[str] = set()
        referred: set[str] = set()
        for start in range(0, len(objects), _IDS_AT_ONCE):
            part = [new.object.id for new in objects[start : start + _IDS_AT_ONCE]]
            marks = ",".join(["(?, ?)"] * len(part))
            for one, held, cited in self._db.execute(
                f"WITH asked (id, id_key) AS (VALUES {marks}), found AS MATERIALIZED (SELECT id, EXISTS (SELECT 1 FROM"
                " object INDEXED BY object_key WHERE object.id_key = asked.id_key AND object.id = asked.id) AS held, EXISTS"
                " (SELECT 1 FROM reference r WHERE r.id_key = asked.id_key AND r.id = asked.id) AS cited FROM asked)"
                " SELECT * FROM found WHERE held OR cited",
                [value for id_ in part for value in (id_, keys[id_])],
            ):
                known.update((one,) if held else ())
                referred.update((one,) if cited else ())
        matter = {
            new.object.id: self._that_matter(new, keys[new.object.id]) for new in objects if new.object.id in known
        }
        return matter, referred

    def _that_matter(self, new: NewObject, key: int) -> list[Held]:
        asked = {
            "id": new.object.id, "key": key, "instant": new.object.instant, "holder": new.holder, "collection": new.collection
        }  # fmt: skip
        return list(map(Held._make, self._db.execute(_THAT_MATTER, asked)))

    def label(self, name: str, collection: str, country: str) -> int:
        """The number of a label."""
        known = self._label_ids.get(name)
        if known is None:
            row = self._db.execute("SELECT id FROM label WHERE facets = ?", (name,)).fetchone()
            if row is None:
                row = self._db.execute(
                    "INSERT INTO label (collection, facets, country, placements, last_tick, live) VALUES (?, ?, ?, 0, 0, ?)"
                    " RETURNING id",
                    (collection, name, country, 0 if tells_of_citing(name) else -1),
                ).fetchone()
            known = self._label_ids[name] = int(row[0])
        return known

    # --- taking out ---

    def remove(self, removal: Removal) -> tuple[Withdrawn, ...] | None:
        """See Stamp.removed."""
        lying = self._db.execute(
            "SELECT o.vid, o.instant, o.owner, o.version, p.label, p.run, p.tick, l.facets FROM object o INDEXED BY object_key"
            " JOIN placement p ON p.vid = o.vid JOIN label l ON l.id = p.label"
            " WHERE o.id_key = ? AND o.id = ? AND p.collection = ? ORDER BY o.instant",
            (id_key(removal.id), removal.id, removal.collection),
        )
        rows = list(map(Lying._make, lying))
        going = chosen(removal, rows)
        if going is None:
            return None
        for one in going:
            blank(self._db, one.run, one.tick)
            self._db.execute("DELETE FROM placement WHERE vid = ? AND collection = ?", (one.vid, removal.collection))
            self._db.execute("UPDATE label SET placements = placements - 1 WHERE id = ?", (one.label,))
            self._db.execute(
                "DELETE FROM reference WHERE vid = ?1 AND NOT EXISTS (SELECT 1 FROM placement WHERE vid = ?1)",
                (one.vid,),
            )
            # The row stays: it keeps the id its owner's, and the version what it was. Observables have neither owner nor
            # version, and go with their last placement.
            self._db.execute(
                "DELETE FROM object WHERE vid = ? AND created = ''"
                " AND NOT EXISTS (SELECT 1 FROM placement WHERE placement.vid = object.vid)",
                (one.vid,),
            )
        self.changed = self.changed or bool(going)
        if going:
            self._look_again({row.label for row in rows})  # where one went, an older one may be the newest again
            self._follow([removal.id])
        return tuple(Withdrawn(one.version, one.facets) for one in going)
