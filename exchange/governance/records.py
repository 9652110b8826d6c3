"""What is recorded of the logs themselves: where one begins, who read or took a copy, and that neither country changes its own.

An anchor is a salted digest of a national log's newest checkpoint, in `both`. It tells the other country neither the log's
size nor its rate, and yet that log cannot be rewritten later: in a dispute its country shows salt, size and root.
"""

import secrets
import uuid
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from exchange.ledger.entry import HUB, LOGS, Entry, national
from exchange.ledger.merkle import EMPTY_ROOT
from exchange.ledger.note import Checkpoint
from exchange.ledger.sequencer import Sequencer
from exchange.rules import Caller
from exchange.store.contract import Act, Done, Record, Store

_ANCHOR_DOMAIN = b"hub-anchor-v1\0"


class Records:
    """Entries that have no other effect. Whoever reads or exports has them written first."""

    def __init__(self, store: Store, sequencer: Sequencer) -> None:
        self._store = store
        self._sequencer = sequencer

    async def opened(self, actor: str, keys: Mapping[str, tuple[str, str, str]]) -> Done:
        """The logs begin: by log its origin, its public key and the digest of its witness policy."""
        return await self._write([
            Entry("both", "log.open", actor, f"log:{log}", {"log": log, "origin": origin, "key": key, "witness_policy": policy})
            for log, (origin, key, policy) in keys.items()
        ])  # fmt: skip

    async def read(
        self, caller: Caller, question: str, logs: Sequence[str], rows: int, *, words: Mapping[str, Any], **pub: str
    ) -> Done:
        """An auditor's question, before its answer leaves. `words`: what was asked exactly, which only a commitment tells;
        `pub` may hold the answer's `sha256` and a sample's `seed`."""
        told = {"question": question, "logs": list(logs), "rows": rows, **pub}
        private = {**words, **caller.private}
        log = national(caller.member.country)
        return await self._write([Entry(log, "audit.read", caller.actor, "audit", told, private=private)])

    async def exported(
        self, actor: str, heads: Mapping[str, Checkpoint], *, to: str, openings: bool, since: Mapping[str, int]
    ) -> Done:
        """A copy of these logs, up to these checkpoints, is about to leave: in each of them, and the national logs are
        anchored with it. `to` says for whom it is: us, mx or both; `since`, after which size openings are in it."""
        entries = []
        for log, head in heads.items():
            pub = {"for": to, "size": head.size, "root": head.root.hex(), "openings": openings}
            if log in since:
                pub["since"] = since[log]
            entries.append(Entry(log, "pack.export", actor, f"log:{log}", pub))
        return await self._write([*entries, *await self._anchors()])

    async def anchor(self) -> Done:
        """Bind what each national log is now into the log that both countries have."""
        return await self._write(await self._anchors())

    async def last_time(self) -> str:
        """The time of the last entry in any log, as it stands there; "" before there is one."""
        times = [""]
        for log, tree in (await self._store.trees()).items():
            times += [
                orjson.loads(data)["time"] for data in await self._store.leaves(log, max(tree.size - 1, 0), tree.size)
            ]
        return max(times)

    async def _anchors(self) -> list[Entry]:
        entries: list[Entry] = []
        for log in LOGS[1:]:
            size, root = await self._newest(log)
            entries += anchored(log, size, root, secrets.token_bytes(32))
        return entries

    async def _newest(self, log: str) -> tuple[int, bytes]:
        row = await self._store.checkpoint(log)
        return (row.size, row.root) if row is not None else (0, EMPTY_ROOT)

    async def _write(self, entries: Sequence[Entry]) -> Done:
        return await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(tuple(entries))))


def anchored(log: str, size: int, root: bytes, salt: bytes) -> tuple[Entry, Entry]:
    """The digest for both countries, and what opens it for the log's own."""
    pub = {"log": log, "digest": anchor_digest(size, root, salt).hex()}
    opening = {"size": size, "root": root.hex(), "salt": salt.hex()}
    return (
        Entry("both", "anchor", HUB, f"log:{log}", pub),
        Entry(log, "anchor", HUB, f"log:{log}", {**pub, **opening}),
    )


def anchor_digest(size: int, root: bytes, salt: bytes) -> bytes:
    return sha256(_ANCHOR_DOMAIN + salt + b"%d:" % size + root).digest()
