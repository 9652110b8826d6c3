"""What the hub asks of SQLite: pages, registries, and the ledger's rows. Plain SQL, each query with its plan written down."""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

from exchange.ledger.merkle import Frontier, leaf_hash, root
from exchange.model.member import Collection, Country, Credential, Member, SigningCert, Status
from exchange.model.page import Page, Row
from exchange.store.contract import (
    AgreementRow,
    CheckpointRow,
    LabelRow,
    Opening,
    Registry,
    RevokedCert,
    StatusRow,
    TreeRow,
    TrustListRow,
)
from exchange.store.runs import RUN_OBJECTS, PageQuery

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


def rows(
    db: sqlite3.Connection, query: PageQuery, low: int, limit: int, *, between: tuple[int, int] | None = None
) -> list[Row]:
    """Up to `limit` rows with low < tick <= query.until_us, or within both ticks `between`. SQLite's planner is never left the
    choice: the wrong plan costs a hundred times the right one."""
    conditions, values = _conditions(query, query.match.added_after_us or 0)
    columns = "p.tick, p.label, o.id, o.version, o.item, p.run"
    if query.match.ids:
        marks = ",".join("?" * len(query.match.ids))
        sql = (
            f"SELECT {columns} FROM object o INDEXED BY object_key CROSS JOIN placement p INDEXED BY placement_vid ON p.vid = o.vid"
            f" WHERE o.id_key IN ({marks}) AND o.id IN ({marks}) AND p.collection = ? AND p.tick > ? AND p.tick <= ?"
            f" AND p.label IN ({number_list(query.labels)}){conditions} ORDER BY p.tick LIMIT ?"
        )
        ids = query.match.ids
        found = db.execute(sql, (*map(id_key, ids), *ids, query.collection, low, query.until_us, *values, limit))
    elif between is not None or is_dense(db, query):
        first, last = between or (low + 1, query.until_us)
        sql = (
            f"SELECT {columns} FROM placement p NOT INDEXED CROSS JOIN object o ON o.vid = p.vid"
            f" WHERE p.collection = ? AND p.tick BETWEEN ? AND ? AND p.label IN ({number_list(query.labels)})"
            f"{conditions} ORDER BY p.tick LIMIT ?"
        )
        found = db.execute(sql, (query.collection, first, last, *values, limit))
    else:
        sql = (
            f"SELECT {columns} FROM run r INDEXED BY run_label CROSS JOIN placement p NOT INDEXED"
            " CROSS JOIN object o ON o.vid = p.vid WHERE r.label = ? AND r.first_tick BETWEEN ? AND ? AND p.collection = ?"
            f" AND p.tick BETWEEN max(r.first_tick, ?) AND min(r.first_tick + r.count - 1, ?){conditions}"
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


def is_dense(db: sqlite3.Connection, query: PageQuery) -> bool:
    """Whether scanning the collection by tick beats merging the allowed labels' ranges."""
    total, allowed = db.execute(
        f"SELECT coalesce(sum(placements), 0), coalesce(sum(placements) FILTER (WHERE id IN ({number_list(query.labels)})), 0)"
        " FROM label WHERE collection = ?",
        (query.collection,),
    ).fetchone()
    return bool(allowed >= SCAN_SHARE * total)


def _conditions(query: PageQuery, low: int) -> tuple[str, list[Any]]:
    match = query.match
    sql = ""
    values: list[Any] = []
    if match.types:
        sql += f" AND o.type IN ({','.join('?' * len(match.types))})"
        values += match.types
    if match.spec_versions and "2.1" not in match.spec_versions:
        sql += " AND 0"  # everything held is STIX 2.1
    if "all" in match.versions:
        return sql, values
    # TAXII 2.1, 3.4.1: first and last among what matches the rest of the request *and this reader may see*.
    visible = (
        "CROSS JOIN placement p2 INDEXED BY placement_vid ON p2.vid = o2.vid"
        f" AND p2.collection = p.collection AND p2.tick > {int(low)} AND p2.label IN ({number_list(query.labels)})"
    )
    # The version that came first is found by its key, those that came after it by their instants.
    first_one = f"SELECT 1 FROM object o2 INDEXED BY object_key {visible} WHERE o2.id_key = o.id_key AND o2.again = 0 AND o2.id = o.id"
    later_one = f"SELECT 1 FROM object o2 INDEXED BY object_version {visible} WHERE o2.id = o.id AND o2.again = 1"

    def rival(which: str) -> str:
        rivals = (f"EXISTS ({of} AND o2.instant {which} o.instant) OR EXISTS ({of} AND o2.instant = o.instant AND p2.tick < p.tick)"
                  for of in (first_one, later_one))  # fmt: skip
        return f"NOT ({' OR '.join(rivals)})"

    parts = []
    instants = [word for word in match.versions if word not in ("first", "last")]
    if "last" in match.versions:
        parts.append(f"p.newer = 0 OR {rival('>')}")
    if "first" in match.versions:
        parts.append(rival("<"))
    if instants:
        parts.append(f"o.instant IN ({','.join('?' * len(instants))})")
        values += instants
    return f"{sql} AND ({' OR '.join(parts)})", values


def number_list(labels: Sequence[int]) -> str:
    """For IN (…): whole numbers, and nothing else."""
    return ",".join(str(int(label)) for label in labels)


def has_object(db: sqlite3.Connection, collection: str, labels: Sequence[int], object_id: str) -> bool:
    row = db.execute(
        "SELECT 1 FROM object o INDEXED BY object_key CROSS JOIN placement p INDEXED BY placement_vid ON p.vid = o.vid"
        f" WHERE o.id_key = ? AND o.id = ? AND p.collection = ? AND p.label IN ({number_list(labels)}) LIMIT 1",
        (id_key(object_id), object_id, collection),
    ).fetchone()
    return row is not None


def status(db: sqlite3.Connection, status_id: str) -> StatusRow | None:
    row = db.execute("SELECT id, member, created_us, body FROM status WHERE id = ?", (status_id,)).fetchone()
    return StatusRow(*row) if row else None


def list_sizes(db: sqlite3.Connection, member: str, collection: str) -> dict[str, int]:
    return dict(
        db.execute("SELECT kind, count FROM list_size WHERE member = ? AND collection = ?", (member, collection))
    )


def labels(db: sqlite3.Connection) -> list[LabelRow]:
    return [
        LabelRow(*row)
        for row in db.execute("SELECT id, collection, facets, country, placements, last_tick FROM label ORDER BY id")
    ]


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
        "SELECT number, agreement_id, version, document, approvals, adopted_us FROM agreement"
        " WHERE ? IS NULL OR number = ? ORDER BY number DESC LIMIT 1",
        (number, number),
    ).fetchone()
    return AgreementRow(*row) if row else None


# --- the ledger ---


def trees(db: sqlite3.Connection) -> dict[str, TreeRow]:
    return {row[0]: TreeRow(*row) for row in db.execute("SELECT log, size, root FROM tree")}


def leaves(db: sqlite3.Connection, log: str, start: int, end: int) -> list[bytes]:
    # Cast, so that a row edited into text is still bytes that hash to something else, not a surprise.
    rows = db.execute(
        "SELECT CAST(data AS BLOB) FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx", (log, start, end)
    )
    return [row[0] for row in rows]


def openings(db: sqlite3.Connection, log: str, start: int, end: int) -> list[Opening]:
    rows = db.execute(
        "SELECT idx, salt, payload FROM leaf_private WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx",
        (log, start, end),
    )
    return [Opening(*row) for row in rows]


def subtree_hashes(db: sqlite3.Connection, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
    return [_subtree(db, log, level, n) for level, n in wanted]


def _subtree(db: sqlite3.Connection, log: str, level: int, n: int) -> bytes:
    if level == 0:
        row = db.execute("SELECT hash FROM leaf WHERE log = ? AND idx = ?", (log, n)).fetchone()
        if row is None:
            raise LookupError(f"log {log} has no leaf {n}")
        return bytes(row[0])
    # A stored tile at level t holds the hashes of subtrees of 2**(8t) leaves.
    tile_level, above = divmod(level, 8)
    first = n << above
    data = _stored_tile(db, log, tile_level, first // 256)
    if data is not None:
        return root(_hashes(data)[first % 256 : first % 256 + (1 << above)])
    if tile_level == 0:
        rows = db.execute(
            "SELECT hash FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx",
            (log, first, first + (1 << above)),
        )
        return root([row[0] for row in rows])
    if above == 0:
        # The tile that would hold it is not full yet; the one below it is, and its root is the hash asked for.
        below = _stored_tile(db, log, tile_level - 1, first)
        if below is None:
            raise LookupError(f"log {log} has no complete subtree {level}/{n}")
        return root(_hashes(below))
    return root([_subtree(db, log, tile_level * 8, first + i) for i in range(1 << above)])


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


def checkpoints(db: sqlite3.Connection, log: str, from_size: int) -> list[CheckpointRow]:
    rows = db.execute(
        "SELECT log, size, root, CAST(note AS BLOB), signed_us FROM checkpoint WHERE log = ? AND size >= ? ORDER BY size",
        (log, from_size),
    ).fetchall()
    return [_with_cosignatures(db, row) for row in rows]


def _with_cosignatures(db: sqlite3.Connection, row: tuple[str, int, bytes, bytes, int]) -> CheckpointRow:
    lines = db.execute("SELECT witness, line FROM cosignature WHERE log = ? AND size = ? ORDER BY witness", row[:2])
    return CheckpointRow(*row, cosignatures=tuple((witness, line) for witness, line in lines))


def reread_root(db: sqlite3.Connection, log: str, frontier: Frontier, end: int) -> bytes:
    """The root after re-hashing the stored leaf bytes from frontier.size to end: what a publisher trusts, not the hash column."""
    return frontier.extend([leaf_hash(data) for data in leaves(db, log, frontier.size, end)]).root()
