"""Putting a log's lost leaves back, on PostgreSQL."""

from collections.abc import Sequence

from exchange.clock import Clock
from exchange.store.contract import RECOVERING, Act, Done, Floor
from exchange.store.leaves import put_back
from exchange.store.postgres_append import extend, fill_tiles
from exchange.store.postgres_session import Connection, arrays


async def recovering(db: Connection, state: str) -> str:
    await db.fetchrow("SELECT state FROM head WHERE k = 0 FOR UPDATE")
    await db.execute(f"UPDATE head SET state = $1 WHERE k = 0 AND state NOT LIKE '{RECOVERING}%'", state)
    return str(await db.fetchval("SELECT state FROM head WHERE k = 0"))


async def restore(db: Connection, log: str, start: int, entries: Sequence[bytes]) -> None:
    state = await db.fetchval("SELECT state FROM head WHERE k = 0 FOR UPDATE")
    size, frontier = await db.fetchrow("SELECT size, frontier FROM tree WHERE log = $1", log)
    rows, grown = put_back(state, log, size, frontier, start, entries)
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


async def reopen(db: Connection, floor: Floor, act: Act, clock: Clock | None) -> Done:
    await db.execute(
        "UPDATE head SET state = 'open', last_tick = greatest(last_tick, $1), last_time = greatest(last_time, $2),"
        " seq = greatest(seq, $3) WHERE k = 0",
        *floor,
    )
    [result] = await extend(db, [act], clock)
    if isinstance(result, Exception):
        raise result
    return result
