"""A log's own key is replaced, and the log goes on under its origin (ledger design, 2.6).

    one key ── begin: `key.rotate`, signed by both keys ──▶ both sign ── finish: `key.revoke` of the old one ──▶ the new one alone
                                                            both sign ── abort: `key.revoke` of the new one ──▶ the old one alone

Each step is one act, and its entry is where all processes change. In between, verifiers and witnesses are told of the new key:
those that know it and those that do not accept what both sign. A country's own log is anchored with each step, so that it grows
and is signed anew.
"""

import uuid
from collections.abc import Sequence

from exchange.errors import Conflict, LedgerFault, NotFound, Unavailable
from exchange.governance.records import Records
from exchange.ledger.entry import Entry
from exchange.ledger.note import LogKey, Verifier
from exchange.ledger.publisher import Publisher
from exchange.ledger.rotation import Rotation
from exchange.ledger.sequencer import Sequencer
from exchange.store.acts import Act, Record
from exchange.store.answers import LogKeyRow
from exchange.store.changes import KeyTurn
from exchange.store.contract import Outdated, Store

ROTATED = "rotated"
ABORTED = "aborted"
"""Why a key that signed a log signs it no more."""


class LogKeys:
    def __init__(self, store: Store, sequencer: Sequencer, publisher: Publisher, records: Records) -> None:
        self._store = store
        self._sequencer = sequencer
        self._publisher = publisher
        self._records = records

    async def rows(self, log: str) -> list[LogKeyRow]:
        """What signs the log by the size of its tree; also for one that has the key it was opened with."""
        return await self._store.log_keys(log) or [LogKeyRow(log, self._publisher.vkeys[log], 0)]

    async def begin(self, actor: str, log: str, vkey: str) -> Rotation:
        """From here on the key that signs the log and this one both sign it. Raises Conflict, NotFound."""
        [old, *more] = await self._signers(log)
        if more:
            raise Conflict(
                f"Two keys sign log {log}: finish or abort that first.",
                f"Dos llaves firman el registro {log}: termine o anule eso antes.",
                code="log-key-turning",
                field="log",
            )
        if any(row.key == vkey for row in await self.rows(log)):
            raise Conflict(
                "The log was signed with this key before: make a new one.",
                "El registro ya se firmó con esta llave: cree una nueva.",
                code="log-key-known",
                field="vkey",
            )
        new = self._publisher.signing.held(log, vkey)
        if new is None:
            raise NotFound(
                f"No key of log {log} with this verifier key is among the hub's keys.",
                f"Entre las llaves del centro no hay una del registro {log} con esta clave de verificación.",
                code="log-key-missing",
                field="vkey",
            )
        if {old.verifier, new.verifier} - set(self._publisher.policy(log).logs):
            raise NotFound(
                f"The hub's own witness policy of log {log} does not list both keys: add the line “log {vkey}”.",
                f"La política de testigos del propio centro para el registro {log} no lista ambas llaves: agregue la línea «log {vkey}».",
                code="log-key-policy",
                field="vkey",
            )
        rotation = Rotation.signed(log, old, new)
        entry = Entry("both", "key.rotate", actor, f"log:{log}", rotation.pub)
        await self._turn(KeyTurn(log, (old.vkey,), (old.vkey, vkey)), entry)
        return rotation

    async def finish(self, actor: str, log: str) -> tuple[str, Sequence[str]]:
        """From here on the new key alone signs. Raises Unavailable while too few witnesses know it.

        Answers it, and which witnesses do not know it: they cosign no more until they are told.
        """
        old, new = await self._both(log)
        await self._publisher.publish_once()
        await self._publisher.witness_round()
        policy, knowing = self._publisher.policy(log), await self._publisher.rounds.who_takes(log, [new])
        lacking = sorted(set(policy.witness_names()) - knowing)
        if not policy.satisfied(knowing):
            names = ", ".join(lacking)
            raise Unavailable(
                f"Without these witnesses there is no quorum, and they do not know the new key or do not answer: {names}.",
                f"Sin estos testigos no hay quórum, y no conocen la llave nueva o no responden: {names}.",
                code="log-key-unknown",
                retry_after_seconds=60,
            )
        await self._end(actor, log, old, new, ROTATED)
        return new.vkey, lacking

    async def abort(self, actor: str, log: str) -> str:
        """The old key alone signs again; answers the new one, which was never alone."""
        old, new = await self._both(log)
        await self._end(actor, log, new, old, ABORTED)
        return new.vkey

    async def _end(self, actor: str, log: str, gone: LogKey, stays: LogKey, reason: str) -> None:
        entry = Entry("both", "key.revoke", actor, f"log:{log}", {"key": gone.vkey, "reason": reason})
        await self._turn(KeyTurn(log, (gone.vkey, stays.vkey), (stays.vkey,)), entry)

    async def _turn(self, turn: KeyTurn, entry: Entry) -> None:
        entries = (entry, *await self._records.anchors(turn.log))
        try:
            await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(entries), changes=(turn,)))
        except Outdated:
            raise Conflict(
                f"Somebody else changed the keys of log {turn.log} meanwhile.",
                f"Otra persona cambió entretanto las llaves del registro {turn.log}.",
                code="log-key-turning",
                field="log",
            ) from None

    async def _both(self, log: str) -> tuple[LogKey, LogKey]:
        old, *new = await self._signers(log)
        if not new:
            raise Conflict(
                f"One key signs log {log}: nothing is to be finished or aborted.",
                f"Una sola llave firma el registro {log}: no hay nada que terminar ni anular.",
                code="log-key-one",
                field="log",
            )
        return old, new[0]

    async def _signers(self, log: str) -> list[LogKey]:
        """Those of the newest tree that there can be, oldest first."""
        try:
            return await self._publisher.signing.signers(log, NEXT)
        except LedgerFault as fault:
            raise NotFound(
                f"A key that signs log {log} is not among the keys of this machine ({fault}).",
                f"Una llave que firma el registro {log} no está entre las llaves de esta máquina ({fault}).",
                code="log-key-missing",
                field="log",
            ) from None


NEXT = 2**62
"""Larger than every tree: what signs it is what signs from now on."""


def with_key(policy: str, key: Verifier) -> str:
    """A policy file with one more key of its log: below the last one that it has."""
    lines = policy.split("\n")
    last = max((number for number, line in enumerate(lines) if line.startswith(("log ", "log\t"))), default=-1)
    return "\n".join([*lines[: last + 1], f"log {key.vkey}", *lines[last + 1 :]])
