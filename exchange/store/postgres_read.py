"""What the hub asks of PostgreSQL: pages, registries, and the ledger's rows. Plain SQL, each query with its plan written down.

The planner has no statistics of a young table, so it is not left the choice: OFFSET 0 keeps a question inside another one
whole, to be asked row by row; `+ 0` and `|| ''` hide a column whose index would be the wrong way in.
"""

from collections.abc import Sequence
from typing import Any

from exchange.ledger.merkle import root
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
from exchange.store.postgres_session import Connection, askable
from exchange.store.runs import PageQuery

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


async def rows(
    db: Connection, query: PageQuery, low: int, limit: int, *, between: tuple[int, int] | None = None
) -> list[Row]:
    """Up to `limit` rows with low < tick <= query.until_us, or within both ticks `between`."""
    value = _Values()
    columns = "p.tick, p.label, o.id, o.version, o.item, p.run"
    labels = value(list(query.labels))
    if query.match.ids:
        # From the ids, and not, as LIMIT would have it, along the collection until they come by.
        sql = (
            f"SELECT f.* FROM unnest({value(list(set(map(askable, query.match.ids))))}::text[]) AS a (id) CROSS JOIN LATERAL (SELECT {columns}"
            f" FROM (SELECT * FROM object WHERE object.id = a.id OFFSET 0) o CROSS JOIN LATERAL (SELECT * FROM placement"
            f" WHERE vid = o.vid OFFSET 0) p WHERE p.collection = {value(query.collection)}"
            f" AND p.tick > {value(low)} AND p.tick <= {value(query.until_us)} AND p.label = ANY({labels}){_conditions(query, value, labels)} OFFSET 0) f"
            f" ORDER BY f.tick LIMIT {value(limit)}"
        )
    elif between is not None or await is_dense(db, query):
        first, last = between or (low + 1, query.until_us)
        sql = (
            f"SELECT {columns} FROM placement p JOIN object o ON o.vid = p.vid"
            f" WHERE p.collection = {value(query.collection)} AND p.tick BETWEEN {value(first)} AND {value(last)}"
            f" AND p.label + 0 = ANY({labels}){_conditions(query, value, labels)} ORDER BY p.tick LIMIT {value(limit)}"
        )
    else:
        # Each label's range is read only as far as the page needs.
        sql = (
            f"SELECT r.* FROM unnest({labels}::bigint[]) AS l (id) CROSS JOIN LATERAL (SELECT {columns}"
            f" FROM placement p JOIN object o ON o.vid = p.vid WHERE p.label = l.id AND p.tick > {value(low)}"
            f" AND p.tick <= {value(query.until_us)}"
            f"{_conditions(query, value, labels)} ORDER BY p.tick LIMIT {value(limit)}) r ORDER BY r.tick LIMIT {value(limit)}"
        )
    return list(map(Row._make, await db.fetch(sql, *value)))


async def is_dense(db: Connection, query: PageQuery) -> bool:
    """Whether scanning the collection by tick beats merging the allowed labels' ranges."""
    total, allowed = await db.fetchrow(
        "SELECT coalesce(sum(placements), 0), coalesce(sum(placements) FILTER (WHERE id = ANY($2)), 0)"
        " FROM label WHERE collection = $1",
        query.collection,
        list(query.labels),
    )
    return bool(float(allowed) >= SCAN_SHARE * float(total))


def _conditions(query: PageQuery, value: _Values, labels: str) -> str:
    match = query.match
    sql = ""
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
        rival = (
            "SELECT 1 FROM (SELECT vid, instant FROM object WHERE object.id = o.id OFFSET 0) o2"
            " CROSS JOIN LATERAL (SELECT * FROM placement WHERE vid = o2.vid OFFSET 0) p2"
            f" WHERE p2.collection = p.collection AND p2.tick > {value(match.added_after_us or 0)}"
            f" AND p2.label = ANY({labels}) AND (o2.instant %s o.instant OR o2.instant = o.instant AND p2.tick < p.tick)"
        )
        if "last" in match.versions:
            parts.append(f"p.newer = 0 OR NOT EXISTS ({rival % '>'})")
        if "first" in match.versions:
            parts.append(f"NOT EXISTS ({rival % '<'})")
    if instants:
        parts.append(f"o.instant = ANY({value(list(map(askable, instants)))})")
    return f"{sql} AND ({' OR '.join(parts)})"


async def has_object(db: Connection, collection: str, labels: Sequence[int], object_id: str) -> bool:
    found = await db.fetchval(
        "SELECT EXISTS (SELECT 1 FROM (SELECT vid FROM object WHERE id = $1 OFFSET 0) o CROSS JOIN LATERAL"
        " (SELECT * FROM placement WHERE vid = o.vid OFFSET 0) p WHERE p.collection = $2 AND p.label = ANY($3))",
        askable(object_id),
        collection,
        list(labels),
    )
    return bool(found)


async def status(db: Connection, status_id: str) -> StatusRow | None:
    row = await db.fetchrow("SELECT id, member, created_us, body FROM status WHERE id = $1", askable(status_id))
    return StatusRow(*row) if row else None


async def list_sizes(db: Connection, member: str, collection: str) -> dict[str, int]:
    found = await db.fetch(
        "SELECT kind, count FROM list_size WHERE member = $1 AND collection = $2", member, collection
    )
    return {row[0]: row[1] for row in found}


async def labels(db: Connection) -> list[LabelRow]:
    found = await db.fetch("SELECT id, collection, facets, country, placements, last_tick FROM label ORDER BY id")
    return [LabelRow(*row) for row in found]


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
        "SELECT number, agreement_id, version, document, approvals, adopted_us FROM agreement"
        " WHERE $1::bigint IS NULL OR number = $1 ORDER BY number DESC LIMIT 1",
        number,
    )
    return AgreementRow(*row) if row else None


# --- the ledger ---


async def trees(db: Connection) -> dict[str, TreeRow]:
    return {row[0]: TreeRow(*row) for row in await db.fetch("SELECT log, size, root FROM tree")}


async def leaves(db: Connection, log: str, start: int, end: int) -> list[bytes]:
    found = await db.fetch(
        "SELECT data FROM leaf WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx", log, start, end
    )
    return [row[0] for row in found]


async def openings(db: Connection, log: str, start: int, end: int) -> list[Opening]:
    found = await db.fetch(
        "SELECT idx, salt, payload FROM leaf_private WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx",
        log,
        start,
        end,
    )
    return [Opening(*row) for row in found]


async def subtree_hashes(db: Connection, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
    """All of them in the caller's snapshot."""
    return [await _subtree(db, log, level, n) for level, n in wanted]


async def _subtree(db: Connection, log: str, level: int, n: int) -> bytes:
    # A stored tile at level t holds the hashes of subtrees of 2**(8t) leaves.
    tile_level, above = divmod(level, 8)
    first = n << above
    data = await _stored_tile(db, log, tile_level, first // 256)
    if data is not None:
        return root(_hashes(data)[first % 256 : first % 256 + (1 << above)])
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
    return root([await _subtree(db, log, tile_level * 8, first + i) for i in range(1 << above)])


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


async def checkpoints(db: Connection, log: str, from_size: int) -> list[CheckpointRow]:
    return [_checkpoint(row) for row in await db.fetch(_CHECKPOINT, log, from_size)]


def _checkpoint(row: Sequence[Any]) -> CheckpointRow:
    log, size, root_hash, note, signed_us, names, lines = row
    return CheckpointRow(log, size, root_hash, note, signed_us, tuple(zip(names or (), lines or (), strict=True)))
