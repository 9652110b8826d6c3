"""What the hub asks of SQLite: pages, registries, and the ledger's rows. Plain SQL, each query with its plan written down."""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Any

from exchange.ledger.merkle import Frontier, leaf_hash, root
from exchange.model.member import Collection, Country, Credential, Member, SigningCert, Status
from exchange.model.page import Filter, Page, Row
from exchange.model.statement import Statement
from exchange.model.view import Window
from exchange.store import sqlite_feeds
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
from exchange.store.runs import MANY_LABELS, RUN_OBJECTS, PageQuery

SCAN_SHARE = 0.2
"""With at least this share of a collection's placements allowed, scanning by tick beats merging label ranges."""


def id_key(object_id: str) -> int:
    """What an id is found by: half of its 64-byte entry in a random index, where each new object soils another page, costs
    more than reading it. Two ids may share a key, so whoever asks by it asks for the id too; nobody can make many do so."""
    return int.from_bytes(sha256(object_id.encode()).digest()[:8], "big", signed=True)


# --- pages ---


def page(db: sqlite3.Connection, query: PageQuery) -> Page:
    """See Store.page."""
    low = query.low_us
    if not query.labels:
        return Page((), False, low)
    db.execute("BEGIN")  # one snapshot for the plan and the rows
    try:
        found = rows(db, query, low, query.limit + 1)
    finally:
        db.execute("COMMIT")
    return Page(tuple(found[: query.limit]), len(found) > query.limit, low)


def rows(db: sqlite3.Connection, query: PageQuery, low: int, limit: int) -> list[Row]:
    """Up to `limit` rows with low < tick <= query.until_us. SQLite's planner is never left the choice: the wrong plan costs a
    hundred times the right one."""
    found = _native(db, query, max(low, query.begins), limit)
    if query.view is not None:
        found = list(islice(heapq.merge(found, _late(db, query, query.view.member, low, limit)), limit))
    return found


_COLUMNS = "p.tick, p.label, o.id, o.version, o.item, p.run, p.tick - p.run"


def rows_between(db: sqlite3.Connection, query: PageQuery, first: int, last: int, limit: int) -> list[Row]:
    """Up to `limit` rows of a run that is shown, by the ticks they were placed at."""
    conditions, values = _conditions(query)
    sql = (
        f"SELECT {_COLUMNS} FROM placement p NOT INDEXED CROSS JOIN object o ON o.vid = p.vid"
        f" WHERE p.collection = ? AND p.tick BETWEEN ? AND ?{conditions} ORDER BY p.tick LIMIT ?"
    )
    return list(map(Row._make, db.execute(sql, (query.collection, first, last, *values, limit))))


def _native(db: sqlite3.Connection, query: PageQuery, low: int, limit: int) -> list[Row]:
    """What lies where it was placed."""
    conditions, values = _conditions(query)
    shown = f" AND {_shown(query, 'p')}" if query.view is not None else ""
    if query.match.ids:
        marks = ",".join("?" * len(query.match.ids))
        sql = (
            f"SELECT {_COLUMNS} FROM object o INDEXED BY object_key CROSS JOIN placement p INDEXED BY placement_vid ON p.vid = o.vid"
            f" WHERE o.id_key IN ({marks}) AND o.id IN ({marks}) AND p.collection = ? AND p.tick > ? AND p.tick <= ?"
            f" AND p.label IN ({_allowed(query.labels)}){shown}{conditions} ORDER BY p.tick LIMIT ?"
        )
        ids = query.match.ids
        found = db.execute(sql, (*map(id_key, ids), *ids, query.collection, low, query.until_us, *values, limit))
    elif is_dense(db, query):
        sql = (
            f"SELECT {_COLUMNS} FROM placement p NOT INDEXED CROSS JOIN object o ON o.vid = p.vid"
            f" WHERE p.collection = ? AND p.tick BETWEEN ? AND ? AND p.label IN ({_allowed(query.labels)})"
            f"{shown}{conditions} ORDER BY p.tick LIMIT ?"
        )
        found = db.execute(sql, (query.collection, low + 1, query.until_us, *values, limit))
    else:
        sql = (
            f"SELECT {_COLUMNS} FROM run r INDEXED BY run_label CROSS JOIN placement p NOT INDEXED"
            " CROSS JOIN object o ON o.vid = p.vid WHERE r.label = ? AND r.first_tick BETWEEN ? AND ? AND p.collection = ?"
            f" AND p.tick BETWEEN max(r.first_tick, ?) AND min(r.first_tick + r.count - 1, ?){shown}{conditions}"
            " ORDER BY r.first_tick, p.tick LIMIT ?"
        )
        first, last = low + 1, query.until_us
        bounds = (
            first - RUN_OBJECTS,
            last,
            query.collection,
            first,
            last,
        )  # the run that holds `first` begins after the first
        ranges = [db.execute(sql, (label, *bounds, *values, limit)) for label in query.labels]
        # Ticks are unique, so the merge is by tick alone; each range is read only as far as the page needs.
        return list(map(Row._make, islice(heapq.merge(*ranges), limit)))
    return list(map(Row._make, found))


def _late(db: sqlite3.Connection, query: PageQuery, member: str, low: int, limit: int) -> list[Row]:
    """What was released late to the member, with the ticks it got then."""
    conditions, values = _conditions(query)
    columns = f"p.tick - p.run + l.tick AS tick{_COLUMNS.removeprefix('p.tick')}"
    if query.match.ids:
        marks = ",".join("?" * len(query.match.ids))
        sql = (
            f"SELECT {columns} FROM object o INDEXED BY object_key CROSS JOIN placement p INDEXED BY placement_vid ON p.vid = o.vid"
            " CROSS JOIN late_run l INDEXED BY late_run_run ON l.member = ? AND l.run = p.run"
            f" WHERE o.id_key IN ({marks}) AND o.id IN ({marks})"
        )
        head: tuple[Any, ...] = (member, *map(id_key, query.match.ids), *query.match.ids)
    else:
        sql = (
            f"SELECT {columns} FROM late_run l NOT INDEXED CROSS JOIN placement p NOT INDEXED"
            " ON p.collection = l.collection AND p.tick BETWEEN l.run AND l.run + l.count - 1"
            " CROSS JOIN object o ON o.vid = p.vid WHERE l.member = ? AND l.collection = ? AND l.tick > ?"
        )
        head = (member, query.collection, low - RUN_OBJECTS)
    sql += (
        f" AND p.collection = ? AND p.label IN ({_allowed(query.labels)})"
        f" AND p.tick - p.run + l.tick BETWEEN ? AND ?{conditions} ORDER BY l.tick, p.tick LIMIT ?"
    )
    found = db.execute(sql, (*head, query.collection, low + 1, query.until_us, *values, limit))
    return list(map(Row._make, found))


def _shown(query: PageQuery, alias: str) -> str:
    """Whether a placement is shown where it was placed."""
    if query.view is None:
        return "1"
    windows = " ".join(
        f"WHEN {alias}.label IN ({number_list(labels)}) THEN {_within(shown, alias)}"
        for shown, labels in query.alike.items()
    )
    cases = f" AND CASE {windows} ELSE 1 END" if windows else ""
    return f"({alias}.tick > {int(query.view.floor)}{cases}{elsewhere(query, f'{alias}.run')})"


def elsewhere(query: PageQuery, run: str) -> str:
    """That a run is not shown where it was placed because it is shown where it was before."""
    if query.view is None or not query.view.elsewhere:
        return ""
    member = query.view.member.replace("'", "''")
    return f" AND NOT EXISTS (SELECT 1 FROM late_run e INDEXED BY late_run_run WHERE e.member = '{member}' AND e.run = {run})"


def _within(windows: Sequence[Window], alias: str) -> str:
    parts = [f"{alias}.tick > {int(after)} AND {alias}.tick <= {int(until)}" for after, until in windows]
    return " OR ".join(parts) or "0"


def is_dense(db: sqlite3.Connection, query: PageQuery) -> bool:
    """Whether scanning the collection by tick beats merging the allowed labels' ranges."""
    if len(query.labels) > MANY_LABELS and not _as_many_runs(db, query):
        return True
    total, allowed = db.execute(
        f"SELECT coalesce(sum(placements), 0), coalesce(sum(placements) FILTER (WHERE id IN ({_allowed(query.labels)})), 0)"
        " FROM label WHERE collection = ?",
        (query.collection,),
    ).fetchone()
    return bool(allowed >= SCAN_SHARE * total)


def _as_many_runs(db: sqlite3.Connection, query: PageQuery) -> bool:
    """Whether behind the place there are as many runs as labels to seek them by."""
    sql = "SELECT 1 FROM run INDEXED BY run_collection WHERE collection = ? AND first_tick > ? ORDER BY first_tick LIMIT 1 OFFSET ?"
    return db.execute(sql, (query.collection, query.low_us - RUN_OBJECTS, len(query.labels))).fetchone() is not None


def _conditions(query: PageQuery) -> tuple[str, list[Any]]:
    match = query.match
    values: list[Any] = [*match.types]
    if "all" in match.versions:
        versions: tuple[str, ...] = ("all",)
    else:
        instants = [word for word in match.versions if word not in ("first", "last")]
        versions = tuple("" if word in instants else word for word in match.versions)
        values += _rival_values(query) * (len(versions) - len(instants)) + instants
    # SQLite knows a statement again by its text: what differs from question to question is bound, the rest written once.
    shape = Filter(
        None, (), ("",) * len(match.types), versions, () if "2.1" in match.spec_versions else match.spec_versions[:1]
    )
    return _condition_sql(PageQuery("", query.labels, shape, 0, 0, 0, query.view)), values


@lru_cache(maxsize=128)
def _condition_sql(query: PageQuery) -> str:
    match = query.match
    sql = f" AND (p.newer = 0 OR {_uncovered(query, 'o', 'p')})"
    if match.types:
        sql += f" AND o.type IN ({','.join('?' * len(match.types))})"
    if match.spec_versions:
        sql += " AND 0"  # everything held is STIX 2.1
    if "all" in match.versions:
        return sql
    parts = []
    # TAXII 2.1, 3.4.1: first and last among what matches the rest of the request *and this reader may see*.
    if "last" in match.versions:
        parts.append(f"p.newer = 0 OR NOT ({_rivals(query, '>')})")
    if "first" in match.versions:
        parts.append(f"NOT ({_rivals(query, '<')})")
    if instants := match.versions.count(""):
        parts.append(f"o.instant IN ({','.join('?' * instants)})")
    return f"{sql} AND ({' OR '.join(parts)})"


# The version of an id that came first is found by its key, those that came after it by their instants.
_FIRST_ONE = "object {0} INDEXED BY object_key CROSS JOIN placement {1} INDEXED BY placement_vid ON {1}.vid = {0}.vid"
_LATER_ONE = _FIRST_ONE.replace("object_key", "object_version")


def _rivals(query: PageQuery, order: str) -> str:
    """Whether another version of the object, shown to this reader behind `added_after`, lies on that side of it."""
    behind = "p2.tick > ?"
    if query.view is not None:
        behind = (
            f"(p2.tick > ? AND {_shown(query, 'p2')} OR EXISTS (SELECT 1 FROM late_run l2 INDEXED BY late_run_run"
            " WHERE l2.member = ? AND l2.run = p2.run AND p2.tick - p2.run + l2.tick > ?))"
        )
    shown = (
        f"p2.collection = p.collection AND p2.label IN ({number_list(query.labels)}) AND {behind}"
        f" AND (p2.newer = 0 OR {_uncovered(query, 'o2', 'p2')})"
    )
    found = (
        f"EXISTS (SELECT 1 FROM {versions.format('o2', 'p2')} WHERE {same} AND {side} AND {shown})"
        for versions, same in ((_FIRST_ONE, "o2.id_key = o.id_key AND o2.again = 0 AND o2.id = o.id"),
                               (_LATER_ONE, "o2.id = o.id AND o2.again = 1"))
        for side in (f"o2.instant {order} o.instant", "o2.instant = o.instant AND p2.tick < p.tick")
    )  # fmt: skip
    return " OR ".join(found)


def _rival_values(query: PageQuery) -> list[Any]:
    """What one `_rivals` has places for."""
    low = query.match.added_after_us or 0
    return [low] * 4 if query.view is None else [low, query.view.member, low] * 4


def _uncovered(query: PageQuery, version: str, placement: str) -> str:
    """Whether the newest version that its holder has here lies under an allowed label: a tightening covers what was before."""
    here = f"o3.holder = {version}.holder AND p3.collection = {placement}.collection AND p3.tick <= {query.covering_us}"
    return (
        f"(SELECT label FROM (SELECT p3.label, o3.instant FROM {_FIRST_ONE.format('o3', 'p3')}"
        f" WHERE o3.id_key = {version}.id_key AND o3.again = 0 AND o3.id = {version}.id AND {here}"
        f" UNION ALL SELECT * FROM (SELECT p3.label, o3.instant FROM {_LATER_ONE.format('o3', 'p3')}"
        f" WHERE o3.id = {version}.id AND o3.again = 1 AND {here} ORDER BY o3.instant DESC LIMIT 1))"
        f" ORDER BY instant DESC LIMIT 1) IN ({number_list(query.labels)})"
    )


@lru_cache(maxsize=128)
def _allowed(labels: tuple[int, ...]) -> str:
    """What a reader may see: some hundred labels, the same for page after page."""
    return number_list(labels)


def number_list(labels: Sequence[int]) -> str:
    """For IN (…): whole numbers, and nothing else."""
    return ",".join(str(int(label)) for label in labels)


def status(db: sqlite3.Connection, status_id: str) -> StatusRow | None:
    row = db.execute("SELECT id, member, created_us, body FROM status WHERE id = ?", (status_id,)).fetchone()
    return StatusRow(*row) if row else None


def list_sizes(db: sqlite3.Connection, member: str, collection: str) -> dict[str, int]:
    return dict(
        db.execute("SELECT kind, count FROM list_size WHERE member = ? AND collection = ?", (member, collection))
    )


def labels(db: sqlite3.Connection, since: int = -1) -> list[LabelRow]:
    return [
        LabelRow(*row)
        for row in db.execute(
            "SELECT id, collection, facets, country, placements, last_tick FROM label WHERE id IN ("
            "SELECT id FROM label INDEXED BY label_last WHERE last_tick > ?1"
            " UNION SELECT id FROM label INDEXED BY label_joined WHERE joined > 0 AND joined > ?1) ORDER BY id",
            (since,),
        )
    ]


def citing(db: sqlite3.Connection, known: int) -> tuple[int, list[CitingRow]]:
    """See Store.citing."""
    sql = (
        "SELECT h.citing, l.id, l.live, l.facets FROM head h LEFT JOIN ("
        "SELECT id, live, facets FROM label WHERE id > ?1 AND live >= 0"
        " UNION ALL SELECT id, live, '' FROM label WHERE id <= ?1 AND live = 0) l ON true ORDER BY l.id"
    )
    return citing_of(db.execute(sql, (known,)).fetchall())


# --- registry ---


def registry(db: sqlite3.Connection) -> Registry:
    db.execute("BEGIN")
    try:
        return Registry(
            epoch=db.execute("SELECT registry FROM head").fetchone()[0],
            members={m.slug: m for m in _members(db)},
            credentials={c.id: c for c in _credentials(db)},
            signing=tuple(
                SigningCert(*row)
                for row in db.execute("SELECT thumbprint, member, certificate, added_us FROM signing_cert")
            ),
            revoked={
                row[0]: RevokedCert(*row)
                for row in db.execute(
                    "SELECT thumbprint, revoked_us, compromised_since_us, reason FROM signing_cert WHERE revoked_us IS NOT NULL"
                )
            },
            collections=tuple(_collections(db)),
            trust_list=_trustnumber_list(db),
            statements=tuple([one for one in statements(db) if one.binds]),
            releases=sqlite_feeds.releases(db),
        )
    finally:
        db.execute("COMMIT")


def _members(db: sqlite3.Connection) -> Iterator[Member]:
    for row in db.execute(
        "SELECT slug, identity_id, country, kind, roles, sectors, name_en, name_es, status, default_tlp, consents"
        " FROM member ORDER BY slug"
    ):
        slug, identity, country, kind, roles, sectors, en, es, status, tlp, consents = row
        yield Member(slug, identity, Country(country), kind, tuple(roles.split()), tuple(sectors.split()), en, es,
                     Status(status), tlp, bool(consents))  # fmt: skip


def _credentials(db: sqlite3.Connection) -> Iterator[Credential]:
    for row in db.execute(
        "SELECT id, member, kind, digest, created_us, expires_us, ended_us, note, certificate, product FROM credential"
    ):
        yield Credential(*row)


def _collections(db: sqlite3.Connection) -> Iterator[Collection]:
    for id_, alias, title, description, readers, writers in db.execute(
        "SELECT id, alias, title, description, readers, writers FROM collection ORDER BY position"
    ):
        yield Collection(id_, alias, title, description, tuple(readers.split()), tuple(writers.split()))


def _trustnumber_list(db: sqlite3.Connection) -> TrustListRow | None:
    row = db.execute("SELECT version, document FROM trust_list ORDER BY version DESC LIMIT 1").fetchone()
    return TrustListRow(*row) if row else None


def agreement(db: sqlite3.Connection, number: int | None) -> AgreementRow | None:
    row = db.execute(
        f"{_AGREEMENTS} WHERE ? IS NULL OR number = ? ORDER BY number DESC LIMIT 1", (number, number)
    ).fetchone()
    return AgreementRow(*row) if row else None


def agreements(db: sqlite3.Connection) -> list[AgreementRow]:
    return [AgreementRow(*row) for row in db.execute(f"{_AGREEMENTS} ORDER BY number")]


_AGREEMENTS = "SELECT number, agreement_id, version, document, approvals, adopted_us, impact_sha256, overlays, cause FROM agreement"


def statements(db: sqlite3.Connection) -> list[Statement]:
    sql = "SELECT id, kind, member, about, words, jws, made_us FROM statement ORDER BY position"
    return [Statement(*row) for row in db.execute(sql)]


def proposals(db: sqlite3.Connection, sha256: str | None, version: tuple[str, int] | None) -> Proposals:
    """See Store.proposals."""
    asked: Sequence[object] = ()
    of = ""
    if sha256 is not None:
        of, asked = "WHERE sha256 = ?", (sha256,)
    elif version is not None:
        of, asked = "WHERE sha256 IN (SELECT sha256 FROM draft WHERE agreement_id = ? AND version = ?)", version
    drafts = db.execute(
        "SELECT sha256, impact_sha256, agreement_id, version, document, impact, openings, proposed_us"
        f" FROM draft {of} ORDER BY position",
        asked,
    )
    approvals = db.execute(
        "SELECT sha256, impact_sha256, country, approver, decision, approval, given_us"
        f" FROM approval {of} ORDER BY given_us, country, approver",
        asked,
    )
    scheduled = db.execute(f"SELECT sha256, impact_sha256, scheduled_us FROM schedule {of}", asked)
    return Proposals(
        tuple([DraftRow(*row) for row in drafts]),
        tuple([ApprovalRow(*row) for row in approvals]),
        tuple([ScheduleRow(*row) for row in scheduled]),
    )


def samples(db: sqlite3.Connection, since_us: int) -> list[Sample]:
    found = db.execute(
        "WITH s AS (SELECT label, count(*) AS n, max(vid) AS vid FROM placement WHERE tick >= ? GROUP BY label)"
        " SELECT s.label, s.n, o.id FROM s JOIN object o ON o.vid = s.vid ORDER BY s.label",
        (since_us,),
    )
    return [Sample(*row) for row in found]


# --- the ledger ---


def log_keys(db: sqlite3.Connection, log: str) -> list[LogKeyRow]:
    sql = "SELECT log, vkey, since, until FROM log_key WHERE log = ? ORDER BY since"
    return [LogKeyRow(*row) for row in db.execute(sql, (log,))]


def trees(db: sqlite3.Connection) -> dict[str, TreeRow]:
    rows = db.execute("SELECT log, size, root, before, closed FROM tree")
    return {log: TreeRow(log, size, root, before, bool(closed)) for log, size, root, before, closed in rows}


def leaves(db: sqlite3.Connection, log: str, start: int, end: int) -> list[bytes]:
    # Cast, so that a row edited into text is still bytes that hash to something else, not a surprise.
    rows = db.execute(
        "SELECT CAST(data AS BLOB) FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx", (log, start, end)
    )
    return [row[0] for row in rows]


def openings(db: sqlite3.Connection, log: str, start: int, end: int) -> list[Opening]:
    rows = db.execute(
        "SELECT idx, salt, payload FROM leaf_private WHERE log = ? AND idx >= ? AND idx < ?"
        " AND blocked = 0 ORDER BY idx",
        (log, start, end),
    )
    return [Opening(*row) for row in rows]


def publications(db: sqlite3.Connection, ticks: Sequence[int]) -> list[list[Publication]]:
    """See Store.publications."""
    return [list(map(Publication._make, db.execute(_PUBLICATIONS, (b"%016d" % tick,)))) for tick in ticks]


def _nearest(index: str, begins: bytes) -> str:
    first, size = f"substr(payload, {len(begins) + 1}, 16)", len(begins)
    return (
        f"SELECT * FROM (SELECT log, idx FROM leaf_private INDEXED BY {index} WHERE substr(payload, 1, {size}) = X'{begins.hex()}'"
        f" AND {first} <= ?1 ORDER BY {first} DESC LIMIT {PUBLICATIONS_NEAR})"
    )


_PUBLICATIONS = (
    f"SELECT p.log, p.idx, l.data FROM ({_nearest('leaf_private_items', ITEMS_BEGIN)} UNION ALL"
    f" {_nearest('leaf_private_runs', RUNS_BEGIN)}) p CROSS JOIN leaf l ON l.log = p.log AND l.idx = p.idx"
)


def opening(db: sqlite3.Connection, log: str, index: int) -> Opening | None:
    row = db.execute(
        "SELECT idx, salt, payload, blocked FROM leaf_private WHERE log = ? AND idx = ?", (log, index)
    ).fetchone()
    return Opening(row[0], row[1], row[2], bool(row[3])) if row else None


_Tiles = dict[tuple[int, int], list[bytes] | None]
"""Tiles by level and number, cut into their hashes: the steps of a proof lie side by side in few of them."""


def subtree_hashes(db: sqlite3.Connection, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
    tiles: _Tiles = {}
    return [_subtree(db, log, level, n, tiles) for level, n in wanted]


def _subtree(db: sqlite3.Connection, log: str, level: int, n: int, tiles: _Tiles) -> bytes:
    # A stored tile at level t holds the hashes of subtrees of 2**(8t) leaves.
    tile_level, above = divmod(level, 8)
    first = n << above
    hashes = _cut_tile(db, log, tile_level, first // 256, tiles)
    if hashes is not None:
        return root(hashes[first % 256 : first % 256 + (1 << above)])
    if tile_level == 0:
        rows = db.execute(
            "SELECT hash FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx",
            (log, first, first + (1 << above)),
        ).fetchall()
        if len(rows) != 1 << above:
            raise LookupError(f"log {log} has no complete subtree {level}/{n}")
        return root([row[0] for row in rows])
    if above == 0:
        # The tile that would hold it is not full yet; the one below it is, and its root is the hash asked for.
        below = _stored_tile(db, log, tile_level - 1, first)
        if below is None:
            raise LookupError(f"log {log} has no complete subtree {level}/{n}")
        return root(_hashes(below))
    return root([_subtree(db, log, tile_level * 8, first + i, tiles) for i in range(1 << above)])


def _cut_tile(db: sqlite3.Connection, log: str, level: int, n: int, tiles: _Tiles) -> list[bytes] | None:
    if (level, n) not in tiles:
        data = _stored_tile(db, log, level, n)
        tiles[level, n] = None if data is None else _hashes(data)
    return tiles[level, n]


def _hashes(tile_data: bytes) -> list[bytes]:
    return [tile_data[i : i + 32] for i in range(0, len(tile_data), 32)]


def _stored_tile(db: sqlite3.Connection, log: str, level: int, n: int) -> bytes | None:
    row = db.execute("SELECT data FROM tile WHERE log = ? AND level = ? AND n = ?", (log, level, n)).fetchone()
    return bytes(row[0]) if row else None


def tile_from_leaves(db: sqlite3.Connection, log: str, level: int, n: int, width: int) -> bytes:
    """Hash tile (level, n) of `width` hashes, built from the leaves (level 0) or from the full tiles below."""
    if level == 0:
        rows = db.execute(
            "SELECT hash FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx", (log, n * 256, n * 256 + width)
        )
        hashes = [row[0] for row in rows]
    else:
        below = (_stored_tile(db, log, level - 1, n * 256 + i) for i in range(width))
        hashes = [root(_hashes(data)) for data in below if data]
    if len(hashes) != width:
        raise LookupError(f"log {log} has no tile {level}/{n} of width {width}")
    return b"".join(hashes)


def tile(db: sqlite3.Connection, log: str, level: int, n: int, width: int) -> bytes:
    full = _stored_tile(db, log, level, n)
    if full is not None:
        return full[: width * 32]
    return tile_from_leaves(db, log, level, n, width)


def checkpoint(db: sqlite3.Connection, log: str, size: int | None) -> CheckpointRow | None:
    row = db.execute(
        "SELECT log, size, root, CAST(note AS BLOB), signed_us FROM checkpoint WHERE log = ? AND size >= ?"
        f" ORDER BY size {'DESC' if size is None else 'ASC'} LIMIT 1",
        (log, size or 0),
    ).fetchone()
    return _with_cosignatures(db, row) if row else None


def checkpoints(db: sqlite3.Connection, log: str, from_size: int, limit: int | None) -> list[CheckpointRow]:
    rows = db.execute(
        "SELECT log, size, root, CAST(note AS BLOB), signed_us FROM checkpoint WHERE log = ? AND size >= ? ORDER BY size LIMIT ?",
        (log, from_size, -1 if limit is None else limit),
    ).fetchall()
    return [_with_cosignatures(db, row) for row in rows]


def _with_cosignatures(db: sqlite3.Connection, row: tuple[str, int, bytes, bytes, int]) -> CheckpointRow:
    lines = db.execute("SELECT witness, line FROM cosignature WHERE log = ? AND size = ? ORDER BY witness", row[:2])
    return CheckpointRow(*row, cosignatures=tuple((witness, line) for witness, line in lines))


def reread_root(db: sqlite3.Connection, log: str, frontier: Frontier, end: int) -> bytes:
    """The root after re-hashing the stored leaf bytes from frontier.size to end: what a publisher trusts, not the hash column."""
    return frontier.extend([leaf_hash(data) for data in leaves(db, log, frontier.size, end)]).root()
