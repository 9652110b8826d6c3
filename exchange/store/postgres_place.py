"""Placing objects on PostgreSQL: what a whole group needs to know is asked at once, and what it places is written at once.

A round trip is what costs here (store/gathered.py says what gathers, and until when).
Runs inside the append transaction (postgres_append.py); a crash in here is its rollback.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from exchange.store.acts import Act, NewObject, Placed, Removal, Withdrawn
from exchange.store.gathered import Gathered
from exchange.store.graph import followers, join
from exchange.store.placing import Held, Lying, apart, chosen, judge_all
from exchange.store.postgres_graph import drive, relabel
from exchange.store.postgres_session import Connection, arrays, askable
from exchange.store.runs import Run

_COLUMNS = (
    "o.id, o.vid, o.instant, o.created, o.revoked, o.owner, o.holder, o.sha256,"
    " EXISTS (SELECT 1 FROM placement p WHERE p.vid = o.vid AND p.collection = k.collection)"
)
# LIMIT keeps a lateral question a loop over one index. As store.placing.Held says: these versions speak for all.
_HELD = (
    "WITH known AS MATERIALIZED (SELECT a.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])"
    " AS a (id, instant, holder, collection) CROSS JOIN LATERAL (SELECT 1 FROM object WHERE object.id = a.id LIMIT 1) f)"
    " SELECT h.* FROM known k CROSS JOIN LATERAL ("
    + " UNION ALL ".join(
        f"(SELECT {_COLUMNS} FROM object o WHERE o.id = k.id {rest})"
        for rest in (
            "AND o.instant = k.instant",
            "AND o.holder = k.holder ORDER BY o.instant LIMIT 1",
            "AND o.holder = '' ORDER BY o.instant LIMIT 1",
            "AND o.holder = k.holder AND o.instant < k.instant ORDER BY o.instant DESC LIMIT 1",
            "AND o.holder = k.holder AND o.revoked ORDER BY o.instant LIMIT 1",
            "AND o.instant = (SELECT max(n.instant) FROM object n WHERE n.id = k.id)",
        )
    )
    + ") h"
)

_WRITE = (
    "WITH l AS (INSERT INTO label (id, collection, facets, country, live, placements, last_tick)"
    " SELECT *, 0, 0 FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::smallint[])),"
    " o AS (INSERT INTO object (vid, id, instant, holder, type, version, created, revoked, owner, sha256, item)"
    " SELECT * FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],"
    " $13::boolean[], $14::text[], $15::bytea[], $16::bytea[])),"
    " p AS (INSERT INTO placement (collection, tick, label, vid, newer, run)"
    " SELECT * FROM unnest($17::text[], $18::bigint[], $19::bigint[], $20::bigint[], $21::smallint[], $22::bigint[]))"
    " INSERT INTO run (first_tick, collection, label, count, odd, ends, items, bodies)"
    " SELECT * FROM unnest($23::bigint[], $24::text[], $25::bigint[], $26::int[], $27::smallint[], $28::bytea[], $29::bytea[],"
    " $30::bytea[])"
)

_SUPERSEDE = (
    "WITH marked AS (UPDATE placement SET newer = 1 WHERE vid = ANY($1) RETURNING run)"
    " UPDATE run SET odd = 1 WHERE first_tick IN (SELECT run FROM marked)"
)


_RELABELLED = (
    "INSERT INTO relabelled (tick, collection, id, label, former, placed, again)"
    " SELECT f.tick, f.collection, f.id, f.label, p.label, p.tick, false"
    " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS f (tick, collection, id, label, vid)"
    " CROSS JOIN LATERAL (SELECT * FROM placement WHERE vid = f.vid OFFSET 0) p"
    " WHERE p.collection = f.collection AND (p.label <> f.label OR EXISTS (SELECT 1 FROM placement n JOIN object o"
    " ON o.vid = n.vid WHERE n.collection = f.collection AND n.tick = f.tick AND o.revoked)) RETURNING former"
)

# A run that nothing was taken out of, and none of whose rows has a rival, holds newest versions alone. OFFSET keeps the questions
# about the others loops over indexes.
_LIVE = (
    "SELECT l.id, l.live, EXISTS (SELECT 1 FROM run WHERE run.label = l.id AND odd = 0 OFFSET 0)"
    " OR EXISTS (SELECT 1 FROM (SELECT * FROM run WHERE run.label = l.id OFFSET 0) r"
    " CROSS JOIN LATERAL (SELECT * FROM placement WHERE collection = r.collection"
    " AND tick BETWEEN r.first_tick AND r.first_tick + r.count - 1 OFFSET 0) p"
    " CROSS JOIN LATERAL (SELECT * FROM object WHERE vid = p.vid OFFSET 0) o"
    " WHERE NOT EXISTS (SELECT 1 FROM object n WHERE n.id = o.id AND n.holder = o.holder AND n.instant > o.instant"
    " AND EXISTS (SELECT 1 FROM placement q WHERE q.vid = n.vid AND q.collection = p.collection OFFSET 0) OFFSET 0))"
    " FROM label l WHERE l.live >= 0 AND l.id = ANY($1)"
)


@dataclass(slots=True)
class Placing(Gathered):
    """Judges and stores the objects of a group's acts, giving each its tick."""

    db: Connection = field(kw_only=True)

    async def prepare(self, batch: Sequence[Act]) -> None:
        """Ask beforehand what the acts will need to know, once for all of them."""
        objects = self.expect(batch)
        if objects:
            self.held = await self._ask(objects)
            self.labels = await self._numbers(list({new.label for act in batch for new in act.objects}))
            referred = await self.db.fetch(
                "SELECT a.id FROM unnest($1::text[]) AS a (id) WHERE EXISTS (SELECT 1 FROM reference WHERE reference.id = a.id)",
                [new.object.id for new in objects],
            )
            self.referred.update([row[0] for row in referred])

    async def _numbers(self, names: Sequence[str]) -> dict[str, int]:
        sql = "SELECT facets, id FROM label WHERE md5(facets) IN (SELECT md5(n) FROM unnest($1::text[]) AS n) AND facets = ANY($1)"
        return {row[0]: row[1] for row in await self.db.fetch(sql, names)}

    async def place(self, objects: Sequence[NewObject]) -> tuple[Placed, ...]:
        """What became of each object, in order."""
        return tuple([placed for part in apart(objects) for placed in await self._place(part)])

    async def _place(self, objects: Sequence[NewObject]) -> list[Placed]:
        ids = [new.object.id for new in objects]
        if not self.touched.isdisjoint(ids):
            await self.flush()
            self.learn(ids, await self._ask(objects))
        judged = judge_all(objects, self.held)
        if any(new.refs for new in objects):
            await self.flush()
            await drive(self.db, join(judged))
            self.labels |= await self._numbers(list(judged.labels.keys() - self.labels.keys()))
        self.gather(judged, ids)
        referred = [id_ for id_, one in zip(ids, judged.placed, strict=True) if one.tick and id_ in self.referred]
        if referred:
            await self._follow(referred, {row[3] for row in self.laid.placements})
        return judged.placed

    async def _follow(self, changed: Sequence[str], placed: Collection[int] = ()) -> None:
        """Put what refers to these ids, and must lie under another label now, there."""
        await self.flush()
        moving = await drive(self.db, followers(changed, placed))
        if moving:
            self.labels |= await self._numbers(list({one.facets for one in moving} - self.labels.keys()))
            for one in moving:
                self.name(one.facets, one.lain.collection, one.lain.country)
            await self.flush()
            made = await relabel(self.db, self.laid, self.time_us, self.labels, moving)
            self.moved += made.moved
            self.steps += made.steps
            self.changed, self.moves = True, self.moves + 1
            await self._look_again({self.labels[one.facets] for one in moving} | {one.lain.label for one in moving})

    async def _ask(self, objects: Iterable[NewObject]) -> dict[str, list[Held]]:
        """By id, the versions that a new one is judged by; not all of them, for there may be thousands."""
        asked = [(new.object.id, new.object.instant, new.holder, new.collection) for new in objects]
        found: dict[str, dict[int, Held]] = {}
        for row in await self.db.fetch(_HELD, *arrays(asked, 4)):
            one = Held._make(row)
            found.setdefault(one.id, {})[one.vid] = one
        return {id_: list(versions.values()) for id_, versions in found.items()}

    async def flush(self) -> None:
        """Write what gathered."""
        rows = self.take()
        if rows.placements or rows.labels:
            await self.db.execute(
                _WRITE, *arrays(rows.labels, 5), *arrays(rows.versions, 11), *arrays(rows.placements, 6),
                *arrays([run.columns for run in rows.runs], 8),
            )  # fmt: skip
        if rows.superseded:
            await self.db.execute(_SUPERSEDE, rows.superseded)
        doubtful = set(rows.doubtful)
        if rows.followed:
            former = await self.db.fetch(_RELABELLED, *arrays(rows.followed, 5))
            doubtful.update([row[0] for row in former])
        if rows.references:
            await self.db.execute(
                "INSERT INTO reference (vid, id) SELECT * FROM unnest($1::bigint[], $2::text[]) ON CONFLICT DO NOTHING",
                *arrays(rows.references, 2),
            )
        await self._look_again(doubtful)

    async def _look_again(self, labels: Collection[int]) -> None:
        """Whether the newest version of something lies under these labels, of those that tell of citing."""
        if not labels:
            return
        for label, before, live in await self.db.fetch(_LIVE, list(labels)):
            self.alive.discard(label)
            if live != (before == 1):
                await self.db.execute("UPDATE label SET live = $1 WHERE id = $2", int(live), label)
                self.turned += 1
                self.moves += not live  # who read what it let open is to look again

    async def turns(self) -> int:
        """How often such a label turned, with what is still to be written."""
        if not self.alive:
            return self.turned
        sql = "SELECT count(*) FROM label WHERE live = 0 AND id = ANY($1)"
        return self.turned + int(await self.db.fetchval(sql, list(self.alive)))

    # --- taking out ---

    async def remove(self, removal: Removal) -> tuple[Withdrawn, ...] | None:
        """See Stamp.removed."""
        lying = await self.db.fetch(
            "SELECT o.vid, o.instant, o.owner, o.version, p.label, p.run, p.tick, l.facets"
            " FROM (SELECT * FROM object WHERE id = $1 OFFSET 0) o"
            " CROSS JOIN LATERAL (SELECT * FROM placement WHERE vid = o.vid OFFSET 0) p JOIN label l ON l.id = p.label"
            " WHERE p.collection = $2 ORDER BY o.instant",
            askable(removal.id),
            removal.collection,
        )
        rows = list(map(Lying._make, lying))
        going = chosen(removal, rows)
        if going is None:
            return None
        for one in going:
            await self._take_out(one, removal.collection)
        self.changed = self.changed or bool(going)
        self.touched.add(removal.id)
        if going:
            await self._look_again({row.label for row in rows})  # where one went, an older one may be the newest again
            await self._follow([removal.id])
        return tuple(Withdrawn(one.version, one.facets) for one in going)

    async def _take_out(self, one: Lying, collection: str) -> None:
        row = await self.db.fetchrow("SELECT ends, items, bodies FROM run WHERE first_tick = $1", one.run)
        ends, bodies = Run(*row).without(one.tick - one.run)
        await self.db.execute(
            "UPDATE run SET odd = 1, ends = $1, bodies = $2 WHERE first_tick = $3", ends, bodies, one.run
        )
        await self.db.execute("DELETE FROM placement WHERE vid = $1 AND collection = $2", one.vid, collection)
        await self.db.execute("UPDATE label SET placements = placements - 1 WHERE id = $1", one.label)
        await self.db.execute(
            "DELETE FROM reference WHERE vid = $1 AND NOT EXISTS (SELECT 1 FROM placement WHERE placement.vid = $1)",
            one.vid,
        )
        # The row stays: it keeps the id its owner's, and the version what it was. Observables have neither owner nor
        # version, and go with their last placement.
        await self.db.execute(
            "DELETE FROM object WHERE vid = $1 AND created = ''"
            " AND NOT EXISTS (SELECT 1 FROM placement WHERE placement.vid = object.vid)",
            one.vid,
        )
