"""What the hub asks of PostgreSQL: pages, registries, and the ledger's rows. Plain SQL, each query with its plan written down.

The planner has no statistics of a young table, so it is not left the choice: OFFSET 0 keeps a question inside another one
whole, to be asked row by row; `+ 0` and `|| ''` hide a column whose index would be the wrong way in.
"""

from collections.abc import Sequence
from typing import Any

from exchange.ledger.merkle import root
from exchange.model.member import Collection, Country, Credential, Member, SigningCert, Status
from exchange.model.page import Page, Row
from exchange.model.statement import Statement
from exchange.model.view import Window
from exchange.store import postgres_feeds
from exchange.store.acts import StatusRow
from exchange.store.answers import (
    ITEMS_BEGIN,
    PUBLICATIONS_NEAR,
    RUNS_BEGIN,
    CheckpointRow,
    CitingRow,
    LabelRow,
    LogKeyRow,
    Opening,
    Proposals,
    Publication,
    Registry,
    RevokedCert,
    Sample,
    TreeRow,
)
from exchange.store.changes import AgreementRow, ApprovalRow, DraftRow, ScheduleRow, TrustListRow
from exchange.store.graph import citing_of
from exchange.store.postgres_session import Connection, askable
from exchange.store.runs import MANY_LABELS, RUN_OBJECTS, PageQuery

SCAN_SHARE = 0.2
"""With at least this share of a collection's placements allowed, scanning by tick beats merging label ranges."""


# --- pages ---


async def page(db: Connection, query: PageQuery) -> Page:
    """See Store.page."""
    found = await rows(db, query, query.low_us, query.limit + 1)
    return Page(tuple(found[: query.limit]), len(found) > query.limit, query.low_us)


class _Values(list[Any]):
    """Parameters in the order they are numbered in."""

    def __call__(self, value: object) -> str:
        self.append(value)
        return f"${len(self)}"


_COLUMNS = "p.tick, p.label, o.id, o.version, o.item, p.run, p.tick - p.run AS position"


async def rows(db: Connection, query: PageQuery, low: int, limit: int) -> list[Row]:
    """Up to `limit` rows with low < tick <= query.until_us."""
    found = await _native(db, query, max(low, query.begins), limit)
    if query.view is not None:
        found = sorted([*found, *await _late(db, query, query.view.member, low, limit)])[:limit]
    return found


async def rows_between(db: Connection, query: PageQuery, first: int, last: int, limit: int) -> list[Row]:
    """Up to `limit` rows of runs that lie side by side and are shown, by the ticks they were placed at."""
    value = _Values()
    labels = value(list(query.labels))
    sql = (
        f"SELECT {_COLUMNS} FROM placement p JOIN object o ON o.vid = p.vid"
        f" WHERE p.collection = {value(query.collection)} AND p.tick BETWEEN {value(first)} AND {value(last)}"
        f" AND p.label + 0 = ANY({labels}){_conditions(query, value, labels)} ORDER BY p.tick LIMIT {value(limit)}"
    )
    return list(map(Row._make, await db.fetch(sql, *value)))


async def _native(db: Connection, query: PageQuery, low: int, limit: int) -> list[Row]:
    """What lies where it was placed."""
    value = _Values()
    labels = value(list(query.labels))
    shown = f" AND {shown_where_placed(query, 'p')}" if query.view is not None else ""
    if query.match.ids:
        # From the ids, and not, as LIMIT would have it, along the collection until they come by.
        sql = (
            f"SELECT f.* FROM unnest({value(_ids(query))}::text[]) AS a (id) CROSS JOIN LATERAL (SELECT {_COLUMNS}"
            f" FROM (SELECT * FROM object WHERE object.id = a.id OFFSET 0) o CROSS JOIN LATERAL (SELECT * FROM placement"
            f" WHERE vid = o.vid OFFSET 0) p WHERE p.collection = {value(query.collection)}"
            f" AND p.tick > {value(low)} AND p.tick <= {value(query.until_us)} AND p.label = ANY({labels}){shown}{_conditions(query, value, labels)} OFFSET 0) f"
            f" ORDER BY f.tick LIMIT {value(limit)}"
        )
    elif await is_dense(db, query):
        sql = (
            f"SELECT {_COLUMNS} FROM placement p JOIN object o ON o.vid = p.vid"
            f" WHERE p.collection = {value(query.collection)} AND p.tick BETWEEN {value(low + 1)} AND {value(query.until_us)}"
            f" AND p.label + 0 = ANY({labels}){shown}{_conditions(query, value, labels)} ORDER BY p.tick LIMIT {value(limit)}"
        )
    else:
        # Each label's range is read only as far as the page needs.
        sql = (
            f"SELECT r.* FROM unnest({labels}::bigint[]) AS l (id) CROSS JOIN LATERAL (SELECT {_COLUMNS}"
            f" FROM placement p JOIN object o ON o.vid = p.vid WHERE p.label = l.id AND p.tick > {value(low)}"
            f" AND p.tick <= {value(query.until_us)}{shown}"
            f"{_conditions(query, value, labels)} ORDER BY p.tick LIMIT {value(limit)}) r ORDER BY r.tick LIMIT {value(limit)}"
        )
    return list(map(Row._make, await db.fetch(sql, *value)))


async def _late(db: Connection, query: PageQuery, member: str, low: int, limit: int) -> list[Row]:
    """What was released late to the member, with the ticks it got then."""
    value = _Values()
    labels, whose = value(list(query.labels)), value(member)
    columns = f"p.tick - p.run + l.tick AS tick{_COLUMNS.removeprefix('p.tick')}"
    if query.match.ids:
        sources = (
            f"unnest({value(_ids(query))}::text[]) AS a (id)"
            " CROSS JOIN LATERAL (SELECT * FROM object WHERE object.id = a.id OFFSET 0) o"
            " CROSS JOIN LATERAL (SELECT * FROM placement WHERE vid = o.vid OFFSET 0) p"
            f" CROSS JOIN LATERAL (SELECT tick FROM late_run WHERE member = {whose} AND run = p.run OFFSET 0) l"
        )
    else:
        sources = (
            f"(SELECT * FROM late_run WHERE member = {whose} AND collection = {value(query.collection)}"
            f" AND tick > {value(low - RUN_OBJECTS)} ORDER BY tick OFFSET 0) l CROSS JOIN LATERAL (SELECT * FROM placement"
            " WHERE collection = l.collection AND tick BETWEEN l.run AND l.run + l.count - 1 ORDER BY tick OFFSET 0) p"
            " CROSS JOIN LATERAL (SELECT * FROM object WHERE vid = p.vid OFFSET 0) o"
        )
    sql = (
        f"SELECT f.* FROM (SELECT {columns} FROM {sources} WHERE p.collection = {value(query.collection)}"
        f" AND p.label = ANY({labels}) AND p.tick - p.run + l.tick BETWEEN {value(low + 1)} AND {value(query.until_us)}"
        f"{_conditions(query, value, labels)} OFFSET 0) f ORDER BY f.tick LIMIT {value(limit)}"
    )
    return list(map(Row._make, await db.fetch(sql, *value)))


def _ids(query: PageQuery) -> list[str]:
    return list(set(map(askable, query.match.ids)))


def shown_where_placed(query: PageQuery, alias: str, tick: str = "tick") -> str:
    """Whether a placement, or a run, is shown where it was placed."""
    if query.view is None:
        return "true"
    windows = " ".join(
        f"WHEN {alias}.label = ANY('{{{','.join(map(str, labels))}}}'::bigint[]) THEN {_within(shown, f'{alias}.{tick}')}"
        for shown, labels in query.alike.items()
    )
    cases = f" AND CASE {windows} ELSE true END" if windows else ""
    # Not where it was placed what is shown where it was before.
    member = query.view.member.replace("'", "''")
    run = f"{alias}.{'run' if tick == 'tick' else tick}"
    if query.view.elsewhere:
        cases += f" AND NOT EXISTS (SELECT 1 FROM late_run e WHERE e.member = '{member}' AND e.run = {run} OFFSET 0)"
    return f"({alias}.{tick} > {int(query.view.floor)}{cases})"


def _within(windows: Sequence[Window], tick: str) -> str:
    parts = [f"{tick} > {int(after)} AND {tick} <= {int(until)}" for after, until in windows]
    return " OR ".join(parts) or "false"


async def is_dense(db: Connection, query: PageQuery) -> bool:
    """Whether scanning the collection by tick beats merging the allowed labels' ranges."""
    if len(query.labels) > MANY_LABELS and not await _as_many_runs(db, query):
        return True
    total, allowed = await db.fetchrow(
        "SELECT coalesce(sum(placements), 0), coalesce(sum(placements) FILTER (WHERE id = ANY($2)), 0)"
        " FROM label WHERE collection = $1",
        query.collection,
        list(query.labels),
    )
    return bool(float(allowed) >= SCAN_SHARE * float(total))


async def _as_many_runs(db: Connection, query: PageQuery) -> bool:
    """Whether behind the place there are as many runs as labels to seek them by."""
    sql = "SELECT 1 FROM run WHERE collection = $1 AND first_tick > $2 ORDER BY first_tick LIMIT 1 OFFSET $3"
    return bool(await db.fetchval(sql, query.collection, query.low_us - RUN_OBJECTS, len(query.labels)))


def _conditions(query: PageQuery, value: _Values, labels: str) -> str:
    match = query.match
    sql = f" AND (p.newer = 0 OR {_uncovered(query, 'o', 'p', labels)})"
    if match.types:
        sql += f" AND o.type = ANY({value(list(map(askable, match.types)))})"
    if match.spec_versions and "2.1" not in match.spec_versions:
        sql += " AND false"  # everything held is STIX 2.1
    if "all" in match.versions:
        return sql
    parts = []
    instants = [word for word in match.versions if word not in ("first", "last")]
    if len(instants) < len(match.versions):
        # TAXII 2.1, 3.4.1: first and last among what matches the rest of the request *and this reader may see*.
        rival = _rival(query, value, labels)
        if "last" in match.versions:
            parts.append(f"p.newer = 0 OR NOT EXISTS ({rival % '>'})")
        if "first" in match.versions:
            parts.append(f"NOT EXISTS ({rival % '<'})")
    if instants:
        parts.append(f"o.instant = ANY({value(list(map(askable, instants)))})")
    return f"{sql} AND ({' OR '.join(parts)})"


def _rival(query: PageQuery, value: _Values, labels: str) -> str:
    """Another version of the object, shown to this reader behind `added_after`, that lies on a side (%s) of it."""
    low = value(query.match.added_after_us or 0)
    behind = f"p2.tick > {low}"
    if query.view is not None:
        behind = (
            f"(p2.tick > {low} AND {shown_where_placed(query, 'p2')} OR EXISTS (SELECT 1 FROM late_run l2"
            f" WHERE l2.member = {value(query.view.member)} AND l2.run = p2.run AND p2.tick - p2.run + l2.tick > {low}))"
        )
    return (
        "SELECT 1 FROM (SELECT vid, id, instant, holder FROM object WHERE object.id = o.id OFFSET 0) o2"
        " CROSS JOIN LATERAL (SELECT * FROM placement WHERE vid = o2.vid OFFSET 0) p2"
        f" WHERE p2.collection = p.collection AND p2.label = ANY({labels}) AND {behind}"
        " AND (o2.instant %s o.instant OR o2.instant = o.instant AND p2.tick < p.tick)"
        f" AND (p2.newer = 0 OR {_uncovered(query, 'o2', 'p2', labels)})"
    )


def _uncovered(query: PageQuery, version: str, placement: str, labels: str) -> str:
    """Whether the newest version that its holder has here lies under an allowed label: a tightening covers what was before."""
    return (
        "(SELECT p3.label FROM (SELECT vid, instant FROM object"
        f" WHERE object.id = {version}.id AND object.holder = {version}.holder ORDER BY instant DESC OFFSET 0) o3"
        f" CROSS JOIN LATERAL (SELECT label, tick FROM placement WHERE vid = o3.vid AND collection = {placement}.collection"
        f" OFFSET 0) p3 WHERE p3.tick <= {query.covering_us} ORDER BY o3.instant DESC LIMIT 1) = ANY({labels})"
    )


async def status(db: Connection, status_id: str) -> StatusRow | None:
    row = await db.fetchrow("SELECT id, member, created_us, body FROM status WHERE id = $1", askable(status_id))
    return StatusRow(*row) if row else None


async def list_sizes(db: Connection, member: str, collection: str) -> dict[str, int]:
    found = await db.fetch(
        "SELECT kind, count FROM list_size WHERE member = $1 AND collection = $2", member, collection
    )
    return {row[0]: row[1] for row in found}


async def labels(db: Connection, since: int = -1) -> list[LabelRow]:
    columns = "SELECT id, collection, facets, country, placements, last_tick FROM label"
    # Each part by its own index. With OR, or to be sorted by the server, the whole table would be looked through.
    found = await db.fetch(
        f"{columns} WHERE last_tick > $1 UNION ALL {columns} WHERE joined > 0 AND joined > $1 AND last_tick + 0 <= $1",
        since,
    )
    return sorted([LabelRow(*row) for row in found], key=lambda row: row.id)


async def citing(db: Connection, known: int) -> tuple[int, list[CitingRow]]:
    """See Store.citing."""
    sql = (
        "SELECT h.citing, l.id, l.live, l.facets FROM head h LEFT JOIN ("
        "SELECT id, live, facets FROM label WHERE id > $1 AND live >= 0"
        " UNION ALL SELECT id, live, '' FROM label WHERE id <= $1 AND live = 0) l ON true ORDER BY l.id"
    )
    return citing_of(await db.fetch(sql, known))


# --- registry ---


async def registry(db: Connection) -> Registry:
    """All of it in the caller's snapshot."""
    trust = await db.fetchrow("SELECT version, document FROM trust_list ORDER BY version DESC LIMIT 1")
    signing = await db.fetch("SELECT thumbprint, member, certificate, added_us FROM signing_cert")
    revoked = await db.fetch(
        "SELECT thumbprint, revoked_us, compromised_since_us, reason FROM signing_cert WHERE revoked_us IS NOT NULL"
    )
    return Registry(
        epoch=await db.fetchval("SELECT registry FROM head"),
        members={m.slug: m for m in await _members(db)},
        credentials={c.id: c for c in await _credentials(db)},
        signing=tuple(SigningCert(*row) for row in signing),
        revoked={row[0]: RevokedCert(*row) for row in revoked},
        collections=tuple(await _collections(db)),
        trust_list=TrustListRow(*trust) if trust else None,
        statements=tuple([one for one in await statements(db) if one.binds]),
        releases=await postgres_feeds.releases(db),
    )


async def _members(db: Connection) -> list[Member]:
    found = await db.fetch(
        "SELECT slug, identity_id, country, kind, roles, sectors, name_en, name_es, status, default_tlp, consents"
        " FROM member ORDER BY slug"
    )
    return [
        Member(slug, identity, Country(country), kind, tuple(roles.split()), tuple(sectors.split()), en, es,
               Status(status), tlp, consents)
        for slug, identity, country, kind, roles, sectors, en, es, status, tlp, consents in found
    ]  # fmt: skip


async def _credentials(db: Connection) -> list[Credential]:
    found = await db.fetch(
        "SELECT id, member, kind, digest, created_us, expires_us, ended_us, note, certificate, product FROM credential"
    )
    return [Credential(*row) for row in found]


async def _collections(db: Connection) -> list[Collection]:
    found = await db.fetch("SELECT id, alias, title, description, readers, writers FROM collection ORDER BY position")
    return [
        Collection(id_, alias, title, description, tuple(readers.split()), tuple(writers.split()))
        for id_, alias, title, description, readers, writers in found
    ]


async def agreement(db: Connection, number: int | None) -> AgreementRow | None:
    row = await db.fetchrow(
        f"{_AGREEMENTS} WHERE $1::bigint IS NULL OR number = $1 ORDER BY number DESC LIMIT 1", number
    )
    return AgreementRow(*row) if row else None


async def agreements(db: Connection) -> list[AgreementRow]:
    return [AgreementRow(*row) for row in await db.fetch(f"{_AGREEMENTS} ORDER BY number")]


_AGREEMENTS = "SELECT number, agreement_id, version, document, approvals, adopted_us, impact_sha256, overlays, cause FROM agreement"


async def statements(db: Connection) -> list[Statement]:
    sql = "SELECT id, kind, member, about, words, jws, made_us FROM statement ORDER BY position"
    return [Statement(*row) for row in await db.fetch(sql)]


async def proposals(db: Connection, sha256: str | None, version: tuple[str, int] | None) -> Proposals:
    """See Store.proposals."""
    asked: Sequence[object] = ()
    of = ""
    if sha256 is not None:
        of, asked = "WHERE sha256 = $1", (sha256,)
    elif version is not None:
        of, asked = "WHERE sha256 IN (SELECT sha256 FROM draft WHERE agreement_id = $1 AND version = $2)", version
    drafts = await db.fetch(
        "SELECT sha256, impact_sha256, agreement_id, version, document, impact, openings, proposed_us"
        f" FROM draft {of} ORDER BY position",
        *asked,
    )
    approvals = await db.fetch(
        "SELECT sha256, impact_sha256, country, approver, decision, approval, given_us"
        f" FROM approval {of} ORDER BY given_us, country, approver",
        *asked,
    )
    scheduled = await db.fetch(f"SELECT sha256, impact_sha256, scheduled_us FROM schedule {of}", *asked)
    return Proposals(
        tuple([DraftRow(*row) for row in drafts]),
        tuple([ApprovalRow(*row) for row in approvals]),
        tuple([ScheduleRow(*row) for row in scheduled]),
    )


async def samples(db: Connection, since_us: int) -> list[Sample]:
    found = await db.fetch(
        "WITH s AS (SELECT label, count(*) AS n, max(vid) AS vid FROM placement WHERE tick >= $1 GROUP BY label)"
        " SELECT s.label, s.n, o.id FROM s JOIN object o ON o.vid = s.vid ORDER BY s.label",
        since_us,
    )
    return [Sample(*row) for row in found]


# --- the ledger ---


async def log_keys(db: Connection, log: str) -> list[LogKeyRow]:
    sql = "SELECT log, vkey, since, until FROM log_key WHERE log = $1 ORDER BY since"
    return [LogKeyRow(*row) for row in await db.fetch(sql, log)]


async def trees(db: Connection) -> dict[str, TreeRow]:
    return {row[0]: TreeRow(*row) for row in await db.fetch("SELECT log, size, root, before, closed FROM tree")}


async def leaves(db: Connection, log: str, start: int, end: int) -> list[bytes]:
    found = await db.fetch(
        "SELECT data FROM leaf WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx", log, start, end
    )
    return [row[0] for row in found]


async def openings(db: Connection, log: str, start: int, end: int) -> list[Opening]:
    found = await db.fetch(
        "SELECT idx, salt, payload FROM leaf_private WHERE log = $1 AND idx >= $2 AND idx < $3"
        " AND NOT blocked ORDER BY idx",
        log,
        start,
        end,
    )
    return [Opening(*row) for row in found]


async def publications(db: Connection, ticks: Sequence[int]) -> list[list[Publication]]:
    """See Store.publications."""
    found: list[list[Publication]] = [[] for _ in ticks]
    for number, *row in await db.fetch(_PUBLICATIONS, [b"%016d" % tick for tick in ticks]):
        found[number - 1].append(Publication(*row))
    return found


def _nearest(begins: bytes) -> str:
    first, size = f"substr(payload, {len(begins) + 1}, 16)", len(begins)
    return (
        f"(SELECT log, idx FROM leaf_private WHERE substr(payload, 1, {size}) = '\\x{begins.hex()}' AND {first} <= t.tick"
        f" ORDER BY {first} DESC LIMIT {PUBLICATIONS_NEAR})"
    )


_PUBLICATIONS = (
    "SELECT t.n, p.log, p.idx, l.data FROM unnest($1::bytea[]) WITH ORDINALITY t (tick, n)"
    f" CROSS JOIN LATERAL ({_nearest(ITEMS_BEGIN)} UNION ALL {_nearest(RUNS_BEGIN)}) p"
    " JOIN leaf l ON l.log = p.log AND l.idx = p.idx"
)


async def opening(db: Connection, log: str, index: int) -> Opening | None:
    row = await db.fetchrow(
        "SELECT idx, salt, payload, blocked FROM leaf_private WHERE log = $1 AND idx = $2", log, index
    )
    return Opening(*row) if row else None


_Tiles = dict[tuple[int, int], list[bytes] | None]
"""Tiles by level and number, cut into their hashes: the steps of a proof lie side by side in few of them."""


async def subtree_hashes(db: Connection, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
    """All of them in the caller's snapshot."""
    tiles: _Tiles = {}
    return [await _subtree(db, log, level, n, tiles) for level, n in wanted]


async def _subtree(db: Connection, log: str, level: int, n: int, tiles: _Tiles) -> bytes:
    # A stored tile at level t holds the hashes of subtrees of 2**(8t) leaves.
    tile_level, above = divmod(level, 8)
    first = n << above
    hashes = await _cut_tile(db, log, tile_level, first // 256, tiles)
    if hashes is not None:
        return root(hashes[first % 256 : first % 256 + (1 << above)])
    if tile_level == 0:
        hashes = await _leaf_hashes(db, log, first, first + (1 << above))
        if len(hashes) != 1 << above:
            raise LookupError(f"log {log} has no complete subtree {level}/{n}")
        return root(hashes)
    if above == 0:
        # The tile that would hold it is not full yet; the one below it is, and its root is the hash asked for.
        below = await _stored_tile(db, log, tile_level - 1, first)
        if below is None:
            raise LookupError(f"log {log} has no complete subtree {level}/{n}")
        return root(_hashes(below))
    return root([await _subtree(db, log, tile_level * 8, first + i, tiles) for i in range(1 << above)])


async def _cut_tile(db: Connection, log: str, level: int, n: int, tiles: _Tiles) -> list[bytes] | None:
    if (level, n) not in tiles:
        data = await _stored_tile(db, log, level, n)
        tiles[level, n] = None if data is None else _hashes(data)
    return tiles[level, n]


def _hashes(tile_data: bytes) -> list[bytes]:
    return [tile_data[i : i + 32] for i in range(0, len(tile_data), 32)]


async def _leaf_hashes(db: Connection, log: str, start: int, end: int) -> list[bytes]:
    found = await db.fetch(
        "SELECT hash FROM leaf WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx", log, start, end
    )
    return [row[0] for row in found]


async def _stored_tile(db: Connection, log: str, level: int, n: int) -> bytes | None:
    data: bytes | None = await db.fetchval(
        "SELECT data FROM tile WHERE log = $1 AND level = $2 AND n = $3", log, level, n
    )
    return data


async def tile_from_leaves(db: Connection, log: str, level: int, n: int, width: int) -> bytes:
    """Hash tile (level, n) of `width` hashes, built from the leaves (level 0) or from the full tiles below."""
    if level == 0:
        hashes = await _leaf_hashes(db, log, n * 256, n * 256 + width)
    else:
        below = await db.fetch(
            "SELECT data FROM tile WHERE log = $1 AND level = $2 AND n >= $3 AND n < $4 ORDER BY n",
            log,
            level - 1,
            n * 256,
            n * 256 + width,
        )
        hashes = [root(_hashes(row[0])) for row in below]
    if len(hashes) != width:
        raise LookupError(f"log {log} has no tile {level}/{n} of width {width}")
    return b"".join(hashes)


async def tile(db: Connection, log: str, level: int, n: int, width: int) -> bytes:
    full = await _stored_tile(db, log, level, n)
    if full is not None:
        return full[: width * 32]
    return await tile_from_leaves(db, log, level, n, width)


_CHECKPOINT = (
    "SELECT c.log, c.size, c.root, c.note, c.signed_us,"
    " (SELECT array_agg(s.witness ORDER BY s.witness) FROM cosignature s WHERE s.log = c.log AND s.size = c.size),"
    " (SELECT array_agg(s.line ORDER BY s.witness) FROM cosignature s WHERE s.log = c.log AND s.size = c.size)"
    " FROM checkpoint c WHERE c.log = $1 AND c.size >= $2 ORDER BY c.size"
)


async def checkpoint(db: Connection, log: str, size: int | None) -> CheckpointRow | None:
    sql = f"{_CHECKPOINT} {'DESC' if size is None else 'ASC'} LIMIT 1"
    row = await db.fetchrow(sql, log, size or 0)
    return _checkpoint(row) if row else None


async def checkpoints(db: Connection, log: str, from_size: int, limit: int | None) -> list[CheckpointRow]:
    return [_checkpoint(row) for row in await db.fetch(f"{_CHECKPOINT} LIMIT $3", log, from_size, limit)]


def _checkpoint(row: Sequence[Any]) -> CheckpointRow:
    log, size, root_hash, note, signed_us, names, lines = row
    return CheckpointRow(log, size, root_hash, note, signed_us, tuple(zip(names or (), lines or (), strict=True)))
