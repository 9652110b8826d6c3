"""The append transaction on PostgreSQL: lock the head, read the clock, judge, place, record, hash (ledger design, 3.4).

The head row is the only lock, and every writer of every process and machine takes it first: so commits have one order, and
what a reader sees of append k+1 contains append k. A crash anywhere in here is a rollback: the caller saw no answer, the
log has no entry, the objects are not there.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, replace
from typing import Any

import asyncpg

from exchange.clock import Clock
from exchange.ledger.generations import kind
from exchange.ledger.tiles import full_tiles
from exchange.model.member import Collection, Credential, Member, SigningCert
from exchange.model.recall import RecallMark
from exchange.model.statement import Statement
from exchange.store.acts import Act, Done, Stamp, StatusRow, Stepped, ViewChange
from exchange.store.changes import (
    AgreementRow,
    ApprovalRow,
    BlockPrivate,
    Change,
    DraftRow,
    EndCredential,
    ErasePrivate,
    KeyTurn,
    RevokeSigningCert,
    ScheduleRow,
    StateChange,
    TrustListRow,
    rules_anybody,
    stamped,
)
from exchange.store.contract import WRITABLE, Halted, Outdated, must_be_steady
from exchange.store.feed_rows import ReleaseRow
from exchange.store.gathered import Mark as PlacingMark
from exchange.store.leaves import Grown, Leaves
from exchange.store.placing import Laid
from exchange.store.postgres_feeds import note, put_release
from exchange.store.postgres_feeds import record as record_run
from exchange.store.postgres_late import overtaken, settle, step
from exchange.store.postgres_place import Placing
from exchange.store.postgres_read import tile_from_leaves
from exchange.store.postgres_session import Connection, arrays

_Mark = tuple[PlacingMark, int, str, int, int]
"""What `reset` needs to forget an act that failed."""

_HEAD = "SELECT state, last_tick, last_time, seq, agreement, pol, registry, revision, views, moves, citing FROM head WHERE k = 0 FOR UPDATE"
# A statement of its own: what stands beside FOR UPDATE may be computed before the lock is granted, and a clock read then
# could lie before the commits that were waited for.
_UNDER_LOCK = (
    "SELECT log, size, frontier, before, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    " (SELECT coalesce(max(vid), 0) FROM object), (SELECT coalesce(max(id), 0) FROM label) FROM tree WHERE NOT closed"
)
_LOWEST = (
    "INSERT INTO tile (log, level, n, data) SELECT $1::text, 0, $2::bigint, string_agg(hash, ''::bytea ORDER BY idx)"
    " FROM leaf WHERE log = $1 AND idx >= $3 AND idx < $3 + 256 HAVING count(*) = 256"
)
_NOTICED = "UPDATE recall SET noticed = true WHERE id = $1 AND NOT noticed RETURNING 1"
# One statement, for the others wait for the head all the while. Its parts touch different tables.
_FINISH = (
    "WITH l AS (INSERT INTO leaf (log, idx, data, hash) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[])),"
    " s AS (INSERT INTO status (id, member, created_us, body)"
    " SELECT * FROM unnest($5::text[], $6::text[], $7::bigint[], $8::bytea[])),"
    " p AS (INSERT INTO leaf_private (log, idx, salt, payload)"
    " SELECT * FROM unnest($9::text[], $10::bigint[], $11::bytea[], $12::bytea[])),"
    " n AS (UPDATE label l SET placements = l.placements + u.count, last_tick = u.tick,"
    " live = CASE WHEN l.live = 0 AND l.id = ANY($31) THEN 1 ELSE l.live END"
    " FROM unnest($13::bigint[], $14::bigint[], $15::bigint[]) AS u (id, count, tick) WHERE l.id = u.id),"
    " h AS (UPDATE head SET last_tick = $16, last_time = $17, seq = $18, agreement = $19, pol = $20, registry = $21, revision = $22,"
    " views = $28, moves = $29, citing = $30 + (SELECT count(*) FROM label WHERE live = 0 AND id = ANY($31))"
    " WHERE k = 0),"
    " t AS (UPDATE tree t SET size = u.size, root = u.root, frontier = u.frontier"
    " FROM unnest($23::text[], $24::bigint[], $25::bigint[], $26::bytea[], $27::bytea[]) AS u (log, old, size, root, frontier)"
    " WHERE t.log = u.log AND t.size = u.old RETURNING 1)"
    " SELECT count(*) FROM t"
)


async def extend(
    db: Connection,
    batch: Sequence[Act],
    clock: Clock | None,
    until_us: int | None = None,
    logs: frozenset[str] | None = None,
) -> list[Done | Exception]:
    """See Store.extend. Runs in a READ COMMITTED transaction: a stricter one would fail after every wait for the head."""
    transaction = await _Transaction.begin(db, clock, until_us, logs)
    await transaction.placing.prepare(batch)
    results = [await transaction.take(act) for act in batch]
    await transaction.finish()
    return results


class _Transaction:
    """What one group commit carries along: the head, the growing logs, and the rows to write at its end."""

    def __init__(
        self, db: Connection, head: Sequence[Any], under_lock: Sequence[Sequence[Any]], clock: Clock | None,
        until_us: int | None, logs: frozenset[str] | None,
    ) -> None:  # fmt: skip
        self.db = db
        (
            state,
            last_tick,
            last_time,
            seq,
            self.agreement,
            self.pol,
            self.registry,
            self.revision,
            self.views,
            self.moves,
            self.citing,
        ) = head
        if state not in WRITABLE:
            raise Halted(state)
        now_us, last_vid, last_label = under_lock[0][4:]
        if clock is not None:
            now_us = clock.now_us()
        must_be_steady(now_us, last_time, until_us)
        # The clock may step back, and a failover changes it; order may not (ledger design, 3.8).
        self.time_us: int = max(now_us, last_time)
        self.placing = Placing(self.time_us, Laid(last_tick, last_vid + 1), last_label + 1, db=db)
        self.leaves = Leaves(
            [(log, size, frontier, before) for log, size, frontier, before, *_ in under_lock], seq, logs
        )
        self.statuses: list[StatusRow] = []
        self.bare = Stamp(self.time_us)
        """What an act learns that only records."""

    @classmethod
    async def begin(
        cls, db: Connection, clock: Clock | None, until_us: int | None, logs: frozenset[str] | None
    ) -> "_Transaction":
        head = await db.fetchrow(_HEAD)
        return cls(db, head, await db.fetch(_UNDER_LOCK), clock, until_us, logs)

    def mark(self) -> _Mark:
        return self.placing.mark(), self.agreement, self.pol, self.registry, self.views

    def reset(self, mark: _Mark) -> None:
        placing, self.agreement, self.pol, self.registry, self.views = mark
        self.placing.reset(placing)

    async def take(self, act: Act) -> Done | Exception:
        """Apply one act. Its fault is told to its caller; the others go on."""
        undo, alone = None, False
        if not act.only_records:
            alone = self.placing.bears_on_others(act)
            if alone:
                await self.placing.flush()
                await self.db.execute("SAVEPOINT act")
            undo = self.mark()
        leaves, statuses = self.leaves.mark(), len(self.statuses)
        result: Done | Exception
        try:
            result = await self._apply(act, self.bare if undo is None else None)
            if alone:
                await self.placing.flush()
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            result = error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            raise  # the database's fault is no act's
        except Exception as error:  # noqa: BLE001
            result = error
        if isinstance(result, Exception):
            if undo is not None:
                self.reset(undo)
            self.leaves.reset(leaves)
            del self.statuses[statuses:]
        if alone:
            await self.db.execute("ROLLBACK TO act" if isinstance(result, Exception) else "RELEASE act")
        return result

    async def _apply(self, act: Act, stamp: Stamp | None) -> Done:
        """Without a stamp, what the act does beside its entries comes first."""
        if act.agreement not in (None, self.agreement) or (act.until_us is not None and self.time_us >= act.until_us):
            raise Outdated
        if act.moves not in (None, self.moves + self.placing.moves):
            raise Outdated
        if stamp is None:
            stamp = await self._do(act)
        record = act.record(stamp)
        leaves = self.leaves.append(act.req, record, time_us=self.time_us, pol=self.pol)
        if record.status is not None:
            self.statuses.append(record.status)
        if record.recalls:
            await self.db.executemany(
                "INSERT INTO recall (id, member, collection, cause, term, reveals, countries, what, scope, opened_us, due_us, required,"
                " seen_us, acknowledged_us, account, noticed, owes)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
                map(astuple, record.recalls),
            )
        return Done(stamp, leaves)

    async def _do(self, act: Act) -> Stamp:
        await self._must_cite_as(act.citing)
        placed = await self.placing.place(act.objects) if act.objects else ()
        if not act.only_places:
            await self.placing.flush()  # what else it does may concern them
        removed = tuple([await self.placing.remove(removal) for removal in act.removals])
        for change in act.changes:
            await self._change(change)
        if act.sizes:
            await self.db.executemany(
                "INSERT INTO list_size (member, collection, kind, count) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (member, collection, kind) DO UPDATE SET count = excluded.count",
                map(astuple, act.sizes),
            )
        await self._take_down(act)
        if act.settles:
            self.views += await settle(self.db, act.settles)
        taken = await self._step(act.view) if act.view is not None else None
        self.views += self.placing.steps
        return Stamp(self.time_us, placed, removed, taken, tuple(self.placing.moved))

    async def _must_cite_as(self, citing: int | None) -> None:
        if citing not in (None, self.citing) or (citing is not None and await self.placing.turns()):
            raise Outdated

    async def _take_down(self, act: Act) -> None:
        """What the act says beside the objects: of recalls, of values held, of feeds."""
        if act.told and await self.db.fetchval("DELETE FROM relabelled WHERE tick = $1 RETURNING 1", act.told) is None:
            raise Outdated
        if act.noticed and await self.db.fetchval(_NOTICED, act.noticed) is None:
            raise Outdated
        for mark in act.marks:
            await _mark(self.db, mark, self.time_us)
        if act.held:
            await note(self.db, act.held, self.time_us)
        for run in act.runs:
            await record_run(self.db, run)

    async def _step(self, change: ViewChange) -> Stepped:
        if change.registry != self.registry:
            raise Outdated
        laid = self.placing.laid
        taken = await step(self.db, change, self._ahead, self.agreement + self.registry)
        if taken.late:
            laid.last_tick = taken.late[-1].last_tick
        self.views += 1
        return taken

    @property
    def _ahead(self) -> int:
        """What is placed from now on lies behind it."""
        return max(self.placing.laid.last_tick, self.time_us - 1)

    # --- registry and agreements ---

    async def _change(self, change: Change) -> None:
        if isinstance(change, AgreementRow):
            await self._adopt(change)
            return
        if isinstance(change, KeyTurn):
            await _turn_keys(self.db, change, change.since or self.leaves.size(kind(change.log)) + 1)
            return
        if rules_anybody(change):
            self.registry += 1
            await overtaken(self.db, self._ahead)
        await _CHANGES[type(change)](self.db, stamped(change, self.time_us))

    async def _adopt(self, row: AgreementRow) -> None:
        if not row.follows(self.agreement):
            raise Outdated
        await self.db.execute(
            "INSERT INTO agreement (number, agreement_id, version, document, approvals, adopted_us, impact_sha256, overlays, cause)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            *astuple(replace(row, adopted_us=self.time_us)),
        )
        self.agreement = row.number
        await overtaken(self.db, self._ahead)
        self.pol = f"{row.name}@{row.number}"

    # --- the end ---

    async def finish(self) -> None:
        await self.placing.flush()
        grown = list(self.leaves.grown())
        laid = self.placing.laid
        news = [(label, count, tick) for label, (count, tick) in laid.label_news.items()]
        changed = await self.db.fetchval(
            _FINISH, *arrays(self.leaves.rows, 4), *arrays(self.statuses, 4), *arrays(self.leaves.private_rows, 4),
            *arrays(news, 3), laid.last_tick, self.time_us, self.leaves.seq, self.agreement, self.pol, self.registry,
            self.revision + self.placing.changed, *arrays(grown, 5), self.views, self.moves + self.placing.moves,
            self.citing + self.placing.turned, list(self.placing.alive),
        )  # fmt: skip
        if changed != len(grown):
            raise asyncpg.IntegrityConstraintViolationError("a log is not at the size it was read at")
        for one in grown:
            await fill_tiles(self.db, one)


async def fill_tiles(db: Connection, one: Grown) -> None:
    """The tiles that became full."""
    for level, n in full_tiles(one.old_size, one.size):
        if level == 0:
            if await db.execute(_LOWEST, one.log, n, n * 256) != "INSERT 0 1":
                raise LookupError(f"log {one.log} has no tile 0/{n}")
        else:
            data = await tile_from_leaves(db, one.log, level, n, 256)
            await db.execute("INSERT INTO tile (log, level, n, data) VALUES ($1, $2, $3, $4)", one.log, level, n, data)


async def _mark(db: Connection, mark: RecallMark, time_us: int) -> None:
    if mark.account:
        await db.execute(
            "UPDATE recall SET seen_us = coalesce(seen_us, $1), acknowledged_us = $1, account = $2"
            " WHERE id = $3 AND acknowledged_us IS NULL",
            time_us, mark.account, mark.id,
        )  # fmt: skip
    else:
        await db.execute("UPDATE recall SET seen_us = coalesce(seen_us, $1) WHERE id = $2", time_us, mark.id)


def _words(words: Sequence[str]) -> str:
    return " ".join(words)


async def _put_member(db: Connection, m: Member) -> None:
    await db.execute(
        "INSERT INTO member (slug, identity_id, country, kind, roles, sectors, name_en, name_es, status, default_tlp, consents)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (slug) DO UPDATE SET kind = excluded.kind,"
        " roles = excluded.roles, sectors = excluded.sectors, name_en = excluded.name_en, name_es = excluded.name_es,"
        " status = excluded.status, default_tlp = excluded.default_tlp, consents = excluded.consents",
        m.slug, m.identity_id, m.country, m.kind, _words(m.roles), _words(m.sectors), m.name_en, m.name_es, m.status,
        m.default_tlp, m.consents,
    )  # fmt: skip


async def _pass_to(db: Connection, change: StateChange) -> None:
    passed = "UPDATE head SET state = $1 WHERE k = 0 AND state = $2 RETURNING 1"
    if await db.fetchval(passed, change.new, change.old) is None:
        raise Outdated


async def _put_credential(db: Connection, c: Credential) -> None:
    await db.execute(
        "INSERT INTO credential (id, member, kind, digest, created_us, expires_us, ended_us, note, certificate, product)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        c.id, c.member, c.kind, c.digest, c.created_us, c.expires_us, c.ended_us, c.note, c.certificate, c.product,
    )  # fmt: skip


async def _end_credential(db: Connection, change: EndCredential) -> None:
    await db.execute(
        "UPDATE credential SET ended_us = (SELECT last_time FROM head) WHERE id = $1 AND ended_us IS NULL", change.id
    )


async def _put_signing(db: Connection, cert: SigningCert) -> None:
    await db.execute(
        "INSERT INTO signing_cert (thumbprint, member, certificate, added_us) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        cert.thumbprint, cert.member, cert.certificate, cert.added_us,
    )  # fmt: skip


async def _revoke_signing(db: Connection, change: RevokeSigningCert) -> None:
    await db.execute(
        "UPDATE signing_cert SET revoked_us = coalesce(revoked_us, $1), compromised_since_us = $2, reason = $3"
        " WHERE thumbprint = $4",
        change.revoked_us, change.compromised_since_us, change.reason, change.thumbprint,
    )  # fmt: skip


async def _put_collection(db: Connection, c: Collection) -> None:
    await db.execute(
        "INSERT INTO collection (id, alias, title, description, readers, writers) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (id) DO UPDATE SET title = excluded.title, description = excluded.description,"
        " readers = excluded.readers, writers = excluded.writers",
        c.id, c.alias, c.title, c.description, _words(c.readers), _words(c.writers),
    )  # fmt: skip


async def _put_draft(db: Connection, row: DraftRow) -> None:
    await db.execute(
        "INSERT INTO draft (sha256, impact_sha256, agreement_id, version, document, impact, openings, proposed_us)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *astuple(row),
    )


async def _put_approval(db: Connection, row: ApprovalRow) -> None:
    await db.execute(
        "INSERT INTO approval (sha256, impact_sha256, country, approver, decision, approval, given_us)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        *astuple(row),
    )


async def _put_schedule(db: Connection, row: ScheduleRow) -> None:
    put = await db.execute(
        "INSERT INTO schedule (sha256, impact_sha256, scheduled_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        *astuple(row),
    )
    if put != "INSERT 0 1":
        raise Outdated


async def _put_trust_list(db: Connection, row: TrustListRow) -> None:
    await db.execute("INSERT INTO trust_list (version, document) VALUES ($1, $2)", row.version, row.document)


async def _turn_keys(db: Connection, turn: KeyTurn, since: int) -> None:
    rows = await db.fetch("SELECT vkey FROM log_key WHERE log = $1 AND until IS NULL", turn.log)
    signing = {row[0] for row in rows}
    if signing and signing != set(turn.was):
        raise Outdated
    put = "INSERT INTO log_key (log, vkey, since) VALUES ($1, $2, $3)"
    if not signing:
        await db.executemany(put, [(turn.log, key, 0) for key in turn.was])
    await db.executemany(put, [(turn.log, key, since) for key in turn.now if key not in turn.was])
    ended = [(since, turn.log, key) for key in turn.was if key not in turn.now]
    await db.executemany("UPDATE log_key SET until = $1 WHERE log = $2 AND vkey = $3", ended)


async def _put_statement(db: Connection, row: Statement) -> None:
    await db.execute(
        "INSERT INTO statement (id, kind, member, about, words, jws, made_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *astuple(row),
    )


async def _block(db: Connection, one: BlockPrivate) -> None:
    sql = "UPDATE leaf_private SET blocked = true WHERE log = $1 AND idx = $2 AND NOT blocked"
    if await db.execute(sql, one.log, one.index) != "UPDATE 1":
        raise Outdated


async def _erase(db: Connection, one: ErasePrivate) -> None:
    sql = "DELETE FROM leaf_private WHERE log = $1 AND idx = $2 AND blocked"
    if await db.execute(sql, one.log, one.index) != "DELETE 1":
        raise Outdated


_CHANGES: dict[type, Callable[[Connection, Any], Awaitable[None]]] = {
    Member: _put_member,
    Credential: _put_credential,
    EndCredential: _end_credential,
    SigningCert: _put_signing,
    RevokeSigningCert: _revoke_signing,
    Collection: _put_collection,
    DraftRow: _put_draft,
    ApprovalRow: _put_approval,
    ScheduleRow: _put_schedule,
    TrustListRow: _put_trust_list,
    Statement: _put_statement,
    StateChange: _pass_to,
    BlockPrivate: _block,
    ErasePrivate: _erase,
    ReleaseRow: put_release,
}
