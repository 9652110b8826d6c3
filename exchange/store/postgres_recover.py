"""Putting a log's lost leaves back, and closing one whose leaves nobody has any more, on PostgreSQL."""

from collections.abc import Sequence

from exchange.clock import Clock
from exchange.ledger.generations import following
from exchange.ledger.merkle import EMPTY_ROOT
from exchange.store.acts import Act, Done
from exchange.store.contract import RECOVERING, Floor, Succession
from exchange.store.leaves import must_be_open, put_back
from exchange.store.postgres_append import extend, fill_tiles
from exchange.store.postgres_session import Connection, arrays


async def recovering(db: Connection, state: str) -> str:
    await db.fetchrow("SELECT state FROM head WHERE k = 0 FOR UPDATE")
    await db.execute(f"UPDATE head SET state = $1 WHERE k = 0 AND state NOT LIKE '{RECOVERING}%'", state)
    return str(await db.fetchval("SELECT state FROM head WHERE k = 0"))


async def restore(db: Connection, log: str, start: int, entries: Sequence[bytes]) -> None:
    state = await db.fetchval("SELECT state FROM head WHERE k = 0 FOR UPDATE")
    tree = await db.fetchrow("SELECT log, size, frontier, closed FROM tree WHERE log = $1", log)
    rows, grown = put_back(state, tree, start, entries)
    await db.execute(
        "INSERT INTO leaf (log, idx, data, hash) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[])",
        *arrays(rows, 4),
    )
    await db.execute(
        "UPDATE tree SET size = $1, root = $2, frontier = $3 WHERE log = $4",
        grown.size,
        grown.root,
        grown.frontier,
        log,
    )
    await fill_tiles(db, grown)


async def reopen(
    db: Connection, floor: Floor, act: Act, successions: Sequence[Succession], clock: Clock | None
) -> Done:
    await db.execute(
        "UPDATE head SET state = 'open', last_tick = greatest(last_tick, $1), last_time = greatest(last_time, $2),"
        " seq = greatest(seq, $3) WHERE k = 0",
        *floor,
    )
    for one in successions:
        closed = await db.fetchval("UPDATE tree SET closed = true WHERE log = $1 AND NOT closed RETURNING log", one.log)
        must_be_open(one.log, closed=closed is None)
        await db.execute(
            "INSERT INTO tree (log, size, root, frontier, before, closed) VALUES ($1, 0, $2, '', $3, false)",
            following(one.log), EMPTY_ROOT, one.before,
        )  # fmt: skip
    [result] = await extend(db, [act], clock)
    if isinstance(result, Exception):
        raise result
    return result
