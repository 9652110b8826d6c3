"""Placing objects on SQLite: one question and three inserts for a whole group of acts, however many objects they have,
and one question more for each id that is here already, however many versions it has.

Runs inside the append transaction (sqlite_append.py); a crash in here is its rollback.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from exchange.store.acts import Act, NewObject, Placed, Removal, Withdrawn
from exchange.store.gathered import Gathered
from exchange.store.graph import followers, join
from exchange.store.placing import FollowedRow, Held, Laid, Lying, apart, chosen, judge_all
from exchange.store.sqlite_graph import drive, relabel
from exchange.store.sqlite_read import id_key, number_list
from exchange.store.sqlite_rows import insert_rows
from exchange.store.sqlite_runs import blank, insert

_IDS_AT_ONCE = 512

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


@dataclass(slots=True)
class Placing(Gathered):
    """Judges and stores the objects of a group's acts, giving each its tick."""

    db: sqlite3.Connection = field(kw_only=True)

    @classmethod
    def begin(cls, db: sqlite3.Connection, time_us: int, last_tick: int) -> "Placing":
        last_vid, last_label = db.execute(
            "SELECT (SELECT coalesce(max(vid), 0) FROM object), (SELECT coalesce(max(id), 0) FROM label)"
        ).fetchone()
        return cls(time_us, Laid(last_tick, last_vid + 1), last_label + 1, db=db)

    def prepare(self, batch: Sequence[Act]) -> None:
        """Ask beforehand what the acts will need to know, once for all of them."""
        self.held, referred = self._ask(self.expect(batch))
        self.referred |= referred

    def place(self, objects: Sequence[NewObject]) -> tuple[Placed, ...]:
        """What became of each object, in order."""
        return tuple(placed for part in apart(objects) for placed in self._place(part))

    def _place(self, objects: Sequence[NewObject]) -> list[Placed]:
        ids = [new.object.id for new in objects]
        if not self.touched.isdisjoint(ids):
            self.flush()
            self.learn(ids, self._ask(objects)[0])
        judged = judge_all(objects, self.held)
        if any(new.refs for new in objects):
            self.flush()
            drive(self.db, join(judged))
        self._know(judged.labels)
        self.gather(judged, ids)
        referred = [id_ for id_, one in zip(ids, judged.placed, strict=True) if one.tick and id_ in self.referred]
        if referred:
            self._follow(referred, {row[3] for row in self.laid.placements})
        return judged.placed

    def _follow(self, changed: Sequence[str], placed: Collection[int] = ()) -> None:
        """Put what refers to these ids, and must lie under another label now, there."""
        self.flush()
        moving = drive(self.db, followers(changed, placed))
        if moving:
            self._know({one.facets for one in moving})
            for one in moving:
                self.name(one.facets, one.lain.collection, one.lain.country)
            self.flush()
            made = relabel(self.db, self.laid, self.time_us, self.labels, moving)
            self.moved += made.moved
            self.steps += made.steps
            self.changed, self.moves = True, self.moves + 1
            self._look_again({self.labels[one.facets] for one in moving} | {one.lain.label for one in moving})

    def _know(self, names: Iterable[str]) -> None:
        """Find the numbers of labels that are not known yet."""
        for name in names:
            if name not in self.labels:
                row = self.db.execute("SELECT id FROM label WHERE facets = ?", (name,)).fetchone()
                if row is not None:
                    self.labels[name] = int(row[0])

    def flush(self) -> None:
        """Write what gathered."""
        rows = self.take()
        insert_rows(
            self.db,
            "label (id, collection, facets, country, live, placements, last_tick)",
            [(*row, 0, 0) for row in rows.labels],
        )
        insert_rows(
            self.db,
            "object (vid, id, instant, holder, type, version, created, revoked, owner, sha256, item, id_key, again)",
            [(*row, id_key(row[1]), row[1] in self.held) for row in rows.versions],
        )
        insert_rows(self.db, "placement (collection, tick, label, vid, newer, run)", rows.placements)
        insert(self.db, rows.runs)
        if rows.superseded:
            vids = number_list(rows.superseded)
            self.db.execute(f"UPDATE placement SET newer = 1 WHERE vid IN ({vids})")
            self.db.execute(
                f"UPDATE run SET odd = 1 WHERE first_tick IN (SELECT run FROM placement WHERE vid IN ({vids}))"
            )
        if rows.references:
            self.db.executemany(
                "INSERT OR IGNORE INTO reference (id_key, vid, id) VALUES (?, ?, ?)",
                [(id_key(ref), vid, ref) for vid, ref in rows.references],
            )
        doubtful = set(rows.doubtful)
        if rows.followed:
            doubtful.update(self._relabelled(rows.followed))
        self._look_again(doubtful)

    def _relabelled(self, followed: Sequence[FollowedRow]) -> list[int]:
        """Take down what somebody may have to be told of; under which labels the versions before lie."""
        self.db.executemany(
            "INSERT INTO relabelled (tick, collection, id, label, former, placed, again)"
            " SELECT ?1, collection, ?2, ?3, label, tick, 0 FROM placement INDEXED BY placement_vid"
            " WHERE vid = ?4 AND collection = ?5 AND (label <> ?3 OR EXISTS (SELECT 1 FROM placement p JOIN object o"
            " ON o.vid = p.vid WHERE p.collection = ?5 AND p.tick = ?1 AND o.revoked = 1))",
            [(tick, id_, label, vid, collection) for tick, collection, id_, label, vid in followed],
        )
        since = min(row[0] for row in followed)
        return [row[0] for row in self.db.execute("SELECT former FROM relabelled WHERE tick >= ?", (since,))]

    def _look_again(self, labels: Collection[int]) -> None:
        """Whether the newest version of something lies under these labels, of those that tell of citing."""
        if not labels:
            return
        for label, before, live in self.db.execute(f"{_LIVE} ({number_list(sorted(labels))})").fetchall():
            self.alive.discard(label)
            if live != before:
                self.db.execute("UPDATE label SET live = ? WHERE id = ?", (live, label))
                self.turned += 1
                self.moves += not live  # who read what it let open is to look again

    def turns(self) -> int:
        """How often such a label turned, with what is still to be written."""
        if not self.alive:
            return self.turned
        sql = f"SELECT count(*) FROM label WHERE live = 0 AND id IN ({number_list(sorted(self.alive))})"
        return self.turned + int(self.db.execute(sql).fetchone()[0])

    def _ask(self, objects: Sequence[NewObject]) -> tuple[dict[str, list[Held]], set[str]]:
        """By id, the versions that a new one is judged by; not all of them, for there may be thousands. And the ids that something
        refers to."""
        known: set[str] = set()
        referred: set[str] = set()
        for start in range(0, len(objects), _IDS_AT_ONCE):
            part = [new.object.id for new in objects[start : start + _IDS_AT_ONCE]]
            # Filled up to a power of two, so that there are few texts to prepare.
            part += part[-1:] * ((1 << (len(part) - 1).bit_length()) - len(part))
            marks = ",".join(["(?, ?)"] * len(part))
            for one, held, cited in self.db.execute(
                f"WITH asked (id, id_key) AS (VALUES {marks}), found AS MATERIALIZED (SELECT id, EXISTS (SELECT 1 FROM"
                " object INDEXED BY object_key WHERE object.id_key = asked.id_key AND object.id = asked.id) AS held, EXISTS"
                " (SELECT 1 FROM reference r WHERE r.id_key = asked.id_key AND r.id = asked.id) AS cited FROM asked)"
                " SELECT * FROM found WHERE held OR cited",
                [value for id_ in part for value in (id_, id_key(id_))],
            ):
                known.update((one,) if held else ())
                referred.update((one,) if cited else ())
        return {new.object.id: self._that_matter(new) for new in objects if new.object.id in known}, referred

    def _that_matter(self, new: NewObject) -> list[Held]:
        asked = {
            "id": new.object.id, "key": id_key(new.object.id), "instant": new.object.instant, "holder": new.holder,
            "collection": new.collection,
        }  # fmt: skip
        return list(map(Held._make, self.db.execute(_THAT_MATTER, asked)))

    # --- taking out ---

    def remove(self, removal: Removal) -> tuple[Withdrawn, ...] | None:
        """See Stamp.removed."""
        lying = self.db.execute(
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
            blank(self.db, one.run, one.tick)
            self.db.execute("DELETE FROM placement WHERE vid = ? AND collection = ?", (one.vid, removal.collection))
            self.db.execute("UPDATE label SET placements = placements - 1 WHERE id = ?", (one.label,))
            self.db.execute(
                "DELETE FROM reference WHERE vid = ?1 AND NOT EXISTS (SELECT 1 FROM placement WHERE vid = ?1)",
                (one.vid,),
            )
            # The row stays: it keeps the id its owner's, and the version what it was. Observables have neither owner nor
            # version, and go with their last placement.
            self.db.execute(
                "DELETE FROM object WHERE vid = ? AND created = ''"
                " AND NOT EXISTS (SELECT 1 FROM placement WHERE placement.vid = object.vid)",
                (one.vid,),
            )
        self.changed = self.changed or bool(going)
        self.touched.add(removal.id)
        if going:
            self._look_again({row.label for row in rows})  # where one went, an older one may be the newest again
            self._follow([removal.id])
        return tuple(Withdrawn(one.version, one.facets) for one in going)
