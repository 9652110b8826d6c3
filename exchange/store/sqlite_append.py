"""The append transaction on SQLite: stamp, judge, place, record, hash; the body that `extend` runs under the lock.

A crash anywhere in here is a rollback: the caller saw no answer, the log has no entry, the objects are not there.
The frontier is read inside the transaction and never kept across commits, so several processes may append to one file.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import Any

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
from exchange.store.sqlite_feeds import note, put_release
from exchange.store.sqlite_feeds import record as record_run
from exchange.store.sqlite_late import overtaken, settle, step
from exchange.store.sqlite_place import Placing
from exchange.store.sqlite_read import tile_from_leaves
from exchange.store.sqlite_rows import insert_rows

_NOTICED = "UPDATE recall SET noticed = 1 WHERE id = ? AND noticed = 0"

_Mark = tuple[PlacingMark, int, str, int, int]
"""What `reset` needs to forget an act that failed."""


def extend(
    db: sqlite3.Connection,
    batch: Sequence[Act],
    now_us: int,
    until_us: int | None = None,
    logs: frozenset[str] | None = None,
) -> list[Done | Exception]:
    """See Store.extend. `now_us` was read by the caller, but stamps rise in commit order all the same."""
    transaction = _Transaction(db, now_us, until_us, logs)
    transaction.placing.prepare(batch)
    results = [transaction.take(act) for act in batch]
    transaction.finish()
    return results


class _Transaction:
    """What one group commit carries along: the head, the growing logs, and the rows to write at its end."""

    def __init__(self, db: sqlite3.Connection, now_us: int, until_us: int | None, logs: frozenset[str] | None) -> None:
        self.db = db
        row = db.execute(
            "SELECT state, last_tick, last_time, seq, agreement, pol, registry, revision, views, moves, citing FROM head"
        ).fetchone()
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
        ) = row
        if state not in WRITABLE:
            raise Halted(state)
        must_be_steady(now_us, last_time, until_us)
        # The clock may step back; order may not (ledger design, 3.8).
        self.time_us: int = max(now_us, last_time)
        self.placing = Placing.begin(db, self.time_us, last_tick)
        self.leaves = Leaves(db.execute("SELECT log, size, frontier, before FROM tree WHERE closed = 0"), seq, logs)
        self.statuses: list[StatusRow] = []

        self.bare = Stamp(self.time_us)
        """What an act learns that only records."""

    def mark(self) -> _Mark:
        return self.placing.mark(), self.agreement, self.pol, self.registry, self.views

    def reset(self, mark: _Mark) -> None:
        placing, self.agreement, self.pol, self.registry, self.views = mark
        self.placing.reset(placing)

    def take(self, act: Act) -> Done | Exception:
        """Apply one act. Its fault is told to its caller; the others go on."""
        undo, alone = None, False
        if not act.only_records:
            alone = self.placing.bears_on_others(act)
            if alone:
                self.placing.flush()
                self.db.execute("SAVEPOINT act")
            undo = self.mark()
        leaves, statuses = self.leaves.mark(), len(self.statuses)
        result: Done | Exception
        try:
            result = self._apply(act, self.bare if undo is None else None)
            if alone:
                self.placing.flush()
        except Exception as error:
            if not self.db.in_transaction:
                raise  # a full disk, a failing one: SQLite has taken back the whole group
            if alone:
                self.db.execute("ROLLBACK TO act")
            if undo is not None:
                self.reset(undo)
            self.leaves.reset(leaves)
            del self.statuses[statuses:]
            result = error
        if alone:
            self.db.execute("RELEASE act")
        return result

    def _apply(self, act: Act, stamp: Stamp | None) -> Done:
        """Without a stamp, what the act does beside its entries comes first."""
        if act.agreement not in (None, self.agreement) or (act.until_us is not None and self.time_us >= act.until_us):
            raise Outdated
        if act.moves not in (None, self.moves + self.placing.moves):
            raise Outdated
        if stamp is None:
            stamp = self._do(act)
        record = act.record(stamp)
        leaves = self.leaves.append(act.req, record, time_us=self.time_us, pol=self.pol)
        if record.status is not None:
            self.statuses.append(record.status)
        if record.recalls:
            self.db.executemany(
                "INSERT INTO recall (id, member, collection, cause, term, reveals, countries, what, scope, opened_us, due_us, required,"
                " seen_us, acknowledged_us, account, noticed, owes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(astuple, record.recalls),
            )
        return Done(stamp, leaves)

    def _do(self, act: Act) -> Stamp:
        self._must_cite_as(act.citing)
        placed = self.placing.place(act.objects) if act.objects else ()
        if not act.only_places:
            self.placing.flush()  # what else it does may concern them
        removed = tuple(self.placing.remove(removal) for removal in act.removals)
        for change in act.changes:
            self._change(change)
        if act.sizes:
            self.db.executemany(
                "INSERT INTO list_size (member, collection, kind, count) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (member, collection, kind) DO UPDATE SET count = excluded.count",
                map(astuple, act.sizes),
            )
        self._take_down(act)
        if act.settles:
            self.views += settle(self.db, act.settles)
        taken = self._step(act.view) if act.view is not None else None
        self.views += self.placing.steps
        return Stamp(self.time_us, placed, removed, taken, tuple(self.placing.moved))

    def _must_cite_as(self, citing: int | None) -> None:
        if citing not in (None, self.citing) or (citing is not None and self.placing.turns()):
            raise Outdated

    def _take_down(self, act: Act) -> None:
        """What the act says beside the objects: of recalls, of values held, of feeds."""
        if act.told and not self.db.execute("DELETE FROM relabelled WHERE tick = ?", (act.told,)).rowcount:
            raise Outdated
        if act.noticed and not self.db.execute(_NOTICED, (act.noticed,)).rowcount:
            raise Outdated
        for mark in act.marks:
            self.db.execute(*_marked(mark, self.time_us))
        if act.held:
            note(self.db, act.held, self.time_us)
        for run in act.runs:
            record_run(self.db, run)

    def _step(self, change: ViewChange) -> Stepped:
        if change.registry != self.registry:
            raise Outdated
        taken = step(self.db, change, self._ahead, self.agreement + self.registry)
        if taken.late:
            self.placing.laid.last_tick = taken.late[-1].last_tick
        self.views += 1
        return taken

    @property
    def _ahead(self) -> int:
        """What is placed from now on lies behind it."""
        return max(self.placing.laid.last_tick, self.time_us - 1)

    # --- registry and agreements ---

    def _change(self, change: Change) -> None:
        if isinstance(change, AgreementRow):
            self._adopt(change)
            return
        if isinstance(change, KeyTurn):
            _turn_keys(self.db, change, change.since or self.leaves.size(kind(change.log)) + 1)
            return
        if rules_anybody(change):
            self.registry += 1
            overtaken(self.db, self._ahead)
        _CHANGES[type(change)](self.db, stamped(change, self.time_us))

    def _adopt(self, row: AgreementRow) -> None:
        if not row.follows(self.agreement):
            raise Outdated
        self.db.execute(
            "INSERT INTO agreement (number, agreement_id, version, document, approvals, adopted_us, impact_sha256, overlays, cause)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            astuple(replace(row, adopted_us=self.time_us)),
        )
        self.agreement = row.number
        overtaken(self.db, self._ahead)
        self.pol = f"{row.name}@{row.number}"

    # --- the end ---

    def finish(self) -> None:
        db = self.db
        self.placing.flush()
        insert_rows(db, "status (id, member, created_us, body)", self.statuses)
        insert_rows(db, "leaf (log, idx, data, hash)", self.leaves.rows)
        insert_rows(db, "leaf_private (log, idx, salt, payload)", self.leaves.private_rows)
        for one in self.leaves.grown():
            grow(db, one)
        citing = self.citing + self.placing.turns()
        db.executemany(
            "UPDATE label SET placements = placements + ?, last_tick = ?, live = CASE live WHEN 0 THEN ? ELSE live END"
            " WHERE id = ?",
            [
                (count, tick, label in self.placing.alive, label)
                for label, (count, tick) in self.placing.laid.label_news.items()
            ],
        )
        db.execute(
            "UPDATE head SET last_tick = ?, last_time = ?, seq = ?, agreement = ?, pol = ?, registry = ?, revision = ?,"
            " views = ?, moves = ?, citing = ?",
            (
                self.placing.laid.last_tick,
                self.time_us,
                self.leaves.seq,
                self.agreement,
                self.pol,
                self.registry,
                self.revision + self.placing.changed,
                self.views,
                self.moves + self.placing.moves,
                citing,
            ),
        )


def grow(db: sqlite3.Connection, one: Grown) -> None:
    """A log's own row, and the tiles that became full."""
    changed = db.execute(
        "UPDATE tree SET size = ?, root = ?, frontier = ? WHERE log = ? AND size = ?",
        (one.size, one.root, one.frontier, one.log, one.old_size),
    )
    if changed.rowcount != 1:
        raise sqlite3.IntegrityError(f"log {one.log} is not at the size it was read at")
    for level, n in full_tiles(one.old_size, one.size):
        data = tile_from_leaves(db, one.log, level, n, 256)
        db.execute("INSERT INTO tile (log, level, n, data) VALUES (?, ?, ?, ?)", (one.log, level, n, data))


def _marked(mark: RecallMark, time_us: int) -> tuple[str, tuple[Any, ...]]:
    if mark.account:
        return (
            "UPDATE recall SET seen_us = coalesce(seen_us, ?), acknowledged_us = ?, account = ?"
            " WHERE id = ? AND acknowledged_us IS NULL",
            (time_us, time_us, mark.account, mark.id),
        )
    return "UPDATE recall SET seen_us = coalesce(seen_us, ?) WHERE id = ?", (time_us, mark.id)


def _words(words: Sequence[str]) -> str:
    return " ".join(words)


def _put_member(db: sqlite3.Connection, m: Member) -> None:
    db.execute(
        "INSERT INTO member (slug, identity_id, country, kind, roles, sectors, name_en, name_es, status, default_tlp, consents)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (slug) DO UPDATE SET kind = excluded.kind,"
        " roles = excluded.roles, sectors = excluded.sectors, name_en = excluded.name_en, name_es = excluded.name_es,"
        " status = excluded.status, default_tlp = excluded.default_tlp, consents = excluded.consents",
        (m.slug, m.identity_id, m.country, m.kind, _words(m.roles), _words(m.sectors), m.name_en, m.name_es, m.status,
         m.default_tlp, m.consents),
    )  # fmt: skip


def _pass_to(db: sqlite3.Connection, change: StateChange) -> None:
    if not db.execute("UPDATE head SET state = ? WHERE state = ?", (change.new, change.old)).rowcount:
        raise Outdated


def _put_credential(db: sqlite3.Connection, c: Credential) -> None:
    db.execute(
        "INSERT INTO credential (id, member, kind, digest, created_us, expires_us, ended_us, note, certificate, product)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (c.id, c.member, c.kind, c.digest, c.created_us, c.expires_us, c.ended_us, c.note, c.certificate, c.product),
    )


def _end_credential(db: sqlite3.Connection, change: EndCredential) -> None:
    db.execute(
        "UPDATE credential SET ended_us = (SELECT last_time FROM head) WHERE id = ? AND ended_us IS NULL", (change.id,)
    )


def _put_signing(db: sqlite3.Connection, cert: SigningCert) -> None:
    db.execute(
        "INSERT INTO signing_cert (thumbprint, member, certificate, added_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (cert.thumbprint, cert.member, cert.certificate, cert.added_us),
    )


def _revoke_signing(db: sqlite3.Connection, change: RevokeSigningCert) -> None:
    db.execute(
        "UPDATE signing_cert SET revoked_us = coalesce(revoked_us, ?), compromised_since_us = ?, reason = ? WHERE thumbprint = ?",
        (change.revoked_us, change.compromised_since_us, change.reason, change.thumbprint),
    )


def _put_collection(db: sqlite3.Connection, c: Collection) -> None:
    db.execute(
        "INSERT INTO collection (id, alias, title, description, readers, writers) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET title = excluded.title, description = excluded.description,"
        " readers = excluded.readers, writers = excluded.writers",
        (c.id, c.alias, c.title, c.description, _words(c.readers), _words(c.writers)),
    )


def _put_draft(db: sqlite3.Connection, row: DraftRow) -> None:
    db.execute(
        "INSERT INTO draft (sha256, impact_sha256, agreement_id, version, document, impact, openings, proposed_us)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        astuple(row),
    )


def _put_approval(db: sqlite3.Connection, row: ApprovalRow) -> None:
    db.execute(
        "INSERT INTO approval (sha256, impact_sha256, country, approver, decision, approval, given_us)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        astuple(row),
    )


def _put_schedule(db: sqlite3.Connection, row: ScheduleRow) -> None:
    put = db.execute(
        "INSERT INTO schedule (sha256, impact_sha256, scheduled_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        astuple(row),
    )
    if not put.rowcount:
        raise Outdated


def _put_trust_list(db: sqlite3.Connection, row: TrustListRow) -> None:
    db.execute("INSERT INTO trust_list (version, document) VALUES (?, ?)", (row.version, row.document))


def _turn_keys(db: sqlite3.Connection, turn: KeyTurn, since: int) -> None:
    signing = {row[0] for row in db.execute("SELECT vkey FROM log_key WHERE log = ? AND until IS NULL", (turn.log,))}
    if signing and signing != set(turn.was):
        raise Outdated
    put = "INSERT INTO log_key (log, vkey, since) VALUES (?, ?, ?)"
    if not signing:
        db.executemany(put, [(turn.log, key, 0) for key in turn.was])
    db.executemany(put, [(turn.log, key, since) for key in turn.now if key not in turn.was])
    ended = [(since, turn.log, key) for key in turn.was if key not in turn.now]
    db.executemany("UPDATE log_key SET until = ? WHERE log = ? AND vkey = ?", ended)


def _put_statement(db: sqlite3.Connection, row: Statement) -> None:
    db.execute(
        "INSERT INTO statement (id, kind, member, about, words, jws, made_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
        astuple(row),
    )


def _block(db: sqlite3.Connection, one: BlockPrivate) -> None:
    sql = "UPDATE leaf_private SET blocked = 1 WHERE log = ? AND idx = ? AND blocked = 0"
    if not db.execute(sql, (one.log, one.index)).rowcount:
        raise Outdated


def _erase(db: sqlite3.Connection, one: ErasePrivate) -> None:
    sql = "DELETE FROM leaf_private WHERE log = ? AND idx = ? AND blocked = 1"
    if not db.execute(sql, (one.log, one.index)).rowcount:
        raise Outdated


_CHANGES: dict[type, Callable[[sqlite3.Connection, Any], None]] = {
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
