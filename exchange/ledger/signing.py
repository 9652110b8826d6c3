"""With which keys a hub signs a log: those of the size of its tree, so that all its processes change at one place in the log.

A process that lacks one of them does not sign: with the others alone it would say something else than the rest of the hub.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certs.keys import load_secret
from exchange.errors import LedgerFault
from exchange.ledger.generations import stem
from exchange.ledger.note import Checkpoint, LogKey, NoteFault, Policy, Verifier, open_note, split_note
from exchange.store.answers import LogKeyRow
from exchange.store.contract import Store

_KEY_ID = "[0-9a-f]" * 8
"""Not the number of a generation."""

FindKey = Callable[[str, str], LogKey | None]
"""Another key of a log, by its vkey, if this process has it."""


def no_other(log: str, vkey: str) -> None:
    """Of a hub whose logs have the keys that they were opened with."""


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The log keys of a directory: `log-both.key`, after a closing `log-both.2.key`, and beside it, while a log passes to
    another, `log-both.<key id>.key`."""

    directory: Path

    def main(self, log: str) -> LogKey:
        return _read(self.place(log))

    def find(self, log: str, vkey: str) -> LogKey | None:
        """Looked for anew each time: a key may be brought to a machine whose hub runs."""
        for path in (self.place(log), *sorted(self.directory.glob(f"log-{stem(log)}.{_KEY_ID}.key"))):
            if (key := _read(path)).vkey == vkey:
                return key
        return None

    def place(self, log: str) -> Path:
        """Where the key is that a log was opened with, or, after a rotation, the one that signs it now."""
        return self.directory / f"log-{stem(log)}.key"

    def path(self, log: str, key: LogKey) -> Path:
        """Where a key is kept that a log is given."""
        return self.directory / f"log-{stem(log)}.{key.verifier.key_id.hex()}.key"


def _read(path: Path) -> LogKey:
    return LogKey.decode(load_secret(path).decode().strip())


class Signing:
    """One per publisher. `keys`: of the logs that are open, by log the key it was opened with, or any of its own once rows tell
    which sign. `policies`: of every generation."""

    def __init__(self, store: Store, keys: Mapping[str, LogKey], find: FindKey, policies: Mapping[str, Policy]) -> None:
        self._store = store
        self._keys = keys
        self._policies = policies
        self.origins = {log: policy.logs[0].name for log, policy in policies.items()}
        """Of every generation."""
        self._find = find
        self._held: dict[str, LogKey] = {key.vkey: key for key in keys.values()}

    @property
    def logs(self) -> Collection[str]:
        """Those that are open."""
        return self._keys.keys()

    async def verifiers(self, log: str) -> list[Verifier]:
        """Every key that this log was ever signed with, as far as rows and the hub's own policy tell: a database that was
        restored from before a rotation shall be known for what it is."""
        rows = await self._store.log_keys(log)
        return [*{self._keys[log].verifier, *(Verifier.parse(row.key) for row in rows), *self._policies[log].logs}]

    async def named(self, log: str, size: int) -> list[str]:
        """The vkeys that sign the tree of a size. Raises LedgerFault (`log-key-missing`) where nothing tells of a second key, and
        this process was given another than the first."""
        rows = await self._store.log_keys(log)
        if rows:
            return [row.key for row in rows if _covers(row, size)]
        key, last = self._keys[log], await self._store.checkpoint(log)
        if last is not None and key.line(split_note(last.note)[0]) not in split_note(last.note)[1]:
            raise LedgerFault("log-key-missing", f"log {log} is signed with another key than {key.vkey}")
        return [key.vkey]

    async def signers(self, log: str, size: int) -> list[LogKey]:
        """The keys that sign the tree of a size. Raises LedgerFault (`log-key-missing`) where this process lacks one."""
        keys = []
        for vkey in await self.named(log, size):
            key = self.held(log, vkey)
            if key is None:
                raise LedgerFault(
                    "log-key-missing", f"the key {vkey} signs log {log}, and this process does not have it"
                )
            keys.append(key)
        return keys

    async def said(self, log: str, note: bytes) -> Checkpoint | None:
        """What this log once said, if the note bears its signature."""
        try:
            return Checkpoint.parse(open_note(note, await self.verifiers(log)).body)
        except NoteFault:
            return None

    def held(self, log: str, vkey: str) -> LogKey | None:
        """A key that this process has."""
        key = self._held.get(vkey) or self._find(log, vkey)
        if key is not None:
            self._held[vkey] = key
        return key


def _covers(row: LogKeyRow, size: int) -> bool:
    return row.since <= size and (row.until is None or size < row.until)


def sign(body: str, keys: Sequence[LogKey]) -> bytes:
    """The whole note, with a line of each key."""
    first, *others = keys
    return first.sign(body) + "".join(f"{key.line(body)}\n" for key in others).encode()
