"""What is recorded of the logs themselves: where one begins, who read or took a copy, and that neither country changes its own.

An anchor is a salted digest of a national log's newest checkpoint, in `both`. It tells the other country neither the log's
size nor its rate, and yet that log cannot be rewritten later: in a dispute its country shows salt, size and root.
"""

import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from certs.jcs import canonical
from exchange.ledger.entry import HUB, LOGS, Entry, national
from exchange.ledger.generations import in_order, kind
from exchange.ledger.merkle import EMPTY_ROOT
from exchange.ledger.note import Checkpoint
from exchange.ledger.sequencer import Sequencer
from exchange.rules import Caller
from exchange.store.acts import Act, Done, Record
from exchange.store.answers import TreeRow
from exchange.store.contract import Store

LEAVES_AT_ONCE = 512
"""Read at a time where a log is looked through."""

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

    async def read_here(self, actor: str, question: str, logs: Sequence[str], *, words: Mapping[str, Any]) -> Done:
        """An operator's question, in each log that it was put to. Neither country learns from its own how much the other's log
        answered: `words` are committed to in `both`, where no pack opens them."""
        return await self._write([
            Entry(one, "audit.read", actor, "audit", {"question": question, "logs": [log for log in logs if kind(log) == one]},
                  private=words if one == "both" else None)
            for one in dict.fromkeys(map(kind, logs))
        ])  # fmt: skip

    async def began(self, actor: str, pub: Mapping[str, Any], witnesses: Mapping[str, str]) -> Done:
        """A process of the hub begins. What an operator changed while none ran is told with it: settings, and the witnesses
        (names to public keys) whose cosignatures count."""
        digest = sha256(canonical(dict(witnesses))).hexdigest()
        last = await self._last_start()
        entries = [Entry("both", "log.start", actor, "hub", {**pub, "witnesses": digest})]
        if last is not None and last["config"] != pub["config"]:
            told = {"command": "settings", "before": last["config"], "after": pub["config"]}
            entries.append(Entry("both", "admin", actor, "hub", told))
        if last is None or last.get("witnesses") != digest:
            entries += changed_witnesses(actor, await self._witnesses(), witnesses)
        return await self._write(entries)

    async def _last_start(self) -> Mapping[str, Any] | None:
        for tree in reversed(await self._generations("both")):
            end = tree.size
            while end:
                start = max(0, end - LEAVES_AT_ONCE)
                for data in reversed(await self._store.leaves(tree.log, start, end)):
                    if b'"t":"log.start"' in data and (leaf := orjson.loads(data))["t"] == "log.start":
                        found: Mapping[str, Any] = leaf["pub"]
                        return found
                end = start
        return None

    async def _witnesses(self) -> dict[str, str]:
        """Whose keys the log tells of, by name."""
        known: dict[str, str] = {}
        places = [
            (tree, start) for tree in await self._generations("both") for start in range(0, tree.size, LEAVES_AT_ONCE)
        ]
        for tree, start in places:
            for data in await self._store.leaves(tree.log, start, min(tree.size, start + LEAVES_AT_ONCE)):
                if b'"on":"witness:' in data:
                    leaf = orjson.loads(data)
                    name = leaf["on"].removeprefix("witness:")
                    if leaf["t"] in ("key.add", "key.rotate"):
                        known[name] = leaf["pub"]["key"]
                    elif known.get(name) == leaf["pub"]["key"]:
                        del known[name]
        return known

    async def _generations(self, log: str) -> list[TreeRow]:
        trees = await self._store.trees()
        return [trees[one] for one in in_order(trees) if kind(one) == log]

    async def exported(
        self, actor: str, heads: Mapping[str, Checkpoint], *, to: str, openings: bool, since: Mapping[str, int],
        pages: Sequence[str] = (),
    ) -> Done:  # fmt: skip
        """A copy of these logs, up to these checkpoints, is about to leave: in each of them, and the national logs are
        anchored with it. `to` says for whom it is: us, mx or both; `since`, after which size openings are in it, and with
        those of `both` the lists of what members of the countries `pages` published and were given."""
        entries = []
        for log, head in heads.items():
            pub = {"for": to, "size": head.size, "root": head.root.hex(), "openings": openings}
            if log in since:
                pub["since"] = since[log]
            if kind(log) == "both" and pages:
                pub["pages"] = list(pages)
            entries.append(Entry(kind(log), "pack.export", actor, f"log:{log}", pub))
        return await self._write([*entries, *await self.anchors()])

    async def anchor(self) -> Done:
        """Bind what each national log is now into the log that both countries have."""
        return await self._write(await self.anchors())

    async def last_time(self) -> str:
        """The time of the last entry in any log, as it stands there; "" before there is one."""
        times = [""]
        for log, tree in (await self._store.trees()).items():
            times += [
                orjson.loads(data)["time"] for data in await self._store.leaves(log, max(tree.size - 1, 0), tree.size)
            ]
        return max(times)

    async def anchors(self, *logs: str) -> list[Entry]:
        """Of these logs, or of all, the entries that bind them; `both` needs none."""
        entries: list[Entry] = []
        newest = [tree.log for country in LOGS[1:] for tree in (await self._generations(country))[-1:]]
        for log in (one for one in newest if one in (logs or newest)):
            size, root = await self._newest(log)
            entries += anchored(log, size, root, secrets.token_bytes(32))
        return entries

    async def _newest(self, log: str) -> tuple[int, bytes]:
        row = await self._store.checkpoint(log)
        return (row.size, row.root) if row is not None else (0, EMPTY_ROOT)

    async def _write(self, entries: Sequence[Entry]) -> Done:
        return await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(tuple(entries))))


def changed_witnesses(actor: str, known: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Entry]:
    """Keys that count from now on, and those that count no longer. A name may get another key: its witness was retired."""
    for name, key in sorted(now.items()):
        pub: dict[str, Any] = {"key": key, "purpose": "witness"}
        if known.get(name) == key:
            continue
        if known:
            yield Entry("both", "key.rotate", actor, f"witness:{name}", {**pub, "after": sorted(known.values())})
        else:
            yield Entry("both", "key.add", actor, f"witness:{name}", pub)
    for name, key in sorted(known.items()):
        if now.get(name) != key:
            yield Entry("both", "key.revoke", actor, f"witness:{name}", {"key": key, "reason": "policy"})


def anchored(log: str, size: int, root: bytes, salt: bytes) -> tuple[Entry, Entry]:
    """The digest for both countries, and what opens it for the log's own."""
    pub = {"log": log, "digest": anchor_digest(size, root, salt).hex()}
    opening = {"size": size, "root": root.hex(), "salt": salt.hex()}
    return (
        Entry("both", "anchor", HUB, f"log:{log}", pub),
        Entry(kind(log), "anchor", HUB, f"log:{log}", {**pub, **opening}),
    )


def anchor_digest(size: int, root: bytes, salt: bytes) -> bytes:
    return sha256(_ANCHOR_DOMAIN + salt + b"%d:" % size + root).digest()
