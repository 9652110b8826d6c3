"""What a member remembers of the logs, and the question that keeps a hub honest: does what you show begin with what I saw?

    seen/<log>/checkpoint       the newest checkpoint that the hub showed, cosigned as the member's own policy asks
    seen/alarms/<sha256>.json   what contradicts it, as it came: signed evidence, mode 0600

The folder is also what `puente ledger verify --kept` takes.
"""

from base64 import b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from certs.jcs import JsonError, canonical, load
from certs.keys import replace_file, save_secret
from exchange.client.verify import EvidenceFault, verify_receipt
from exchange.clock import Clock
from exchange.errors import Conflict, NotFound
from exchange.ledger.entry import LEAF_LIMIT_BYTES
from exchange.ledger.generations import Closing, following
from exchange.ledger.merkle import EMPTY_ROOT, verify_consistency
from exchange.ledger.note import Checkpoint, NoteFault, Policy, strict_base64
from exchange.ledger.receipt import ReceiptFault

SEEN = "X-Audit-Seen"
PROOF = "X-Audit-Proof"
PROOF_LIMIT = 63


class Alarm(EvidenceFault):
    """The hub shows another history than before, or less of it. Both are signed: tell your agency, and both countries."""

    status = 4

    def __init__(self, code: str, en: str, es: str, evidence: Path) -> None:
        super().__init__(code, f"{en} Evidence: {evidence}", f"{es} Evidencia: {evidence}")
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Shown:
    """A hub's newest cosigned checkpoint, and the proof that it grew out of the one that it was told of."""

    note: bytes
    proof: str


class Shows(Protocol):
    """A client, as far as it is asked here."""

    async def checkpoint(self, log: str, seen: Checkpoint) -> Shown: ...

    async def leaf(self, log: str, index: int) -> bytes: ...

    async def receipt(self, log: str, index: int) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Memory:
    """One member's, about one hub. Nothing in it is taken from the hub unverified."""

    directory: Path
    policies: Mapping[str, Policy]
    clock: Clock

    def last(self, log: str) -> tuple[Checkpoint, bytes]:
        """What was seen last, and its note. Before anything was, the empty log. Raises NoteFault for a file that was changed."""
        try:
            note = (self.directory / log / "checkpoint").read_bytes()
        except FileNotFoundError:
            return Checkpoint(self.policies[log].logs[0].name, 0, EMPTY_ROOT), b""
        return self.policies[log].check(note).checkpoint, note

    async def compare(self, hub: Shows) -> None:
        """Ask of each log for which there is a policy, and remember the answers. Raises Alarm."""
        for log in self.policies:
            await self._compare(hub, log)

    async def _compare(self, hub: Shows, log: str) -> None:
        seen, note = self.last(log)
        try:
            shown = await hub.checkpoint(log, seen)
        except NotFound as refusal:
            if seen.size:
                raise self._alarm(log, "history-gone", note, str(refusal).encode()) from None
            return  # nothing is cosigned yet
        except Conflict as refusal:
            if refusal.code == "log-closed" and await self._is_closed(hub, log, seen):
                return  # for ever, as both countries have cosigned: what was seen stays kept
            raise self._alarm(log, refusal.code, note, str(refusal).encode()) from None
        try:
            new = self.policies[log].check(shown.note).checkpoint
        except NoteFault as fault:
            raise self._alarm(log, fault.code, note, shown.note) from None
        if new.origin != seen.origin or new.size < seen.size:
            raise self._alarm(log, "history-shorter", note, shown.note)
        if not verify_consistency(seen.size, new.size, seen.root, new.root, _hashes(shown.proof)):
            raise self._alarm(log, "history-fork", note, shown.note, shown.proof)
        if new.size > seen.size or not note:
            path = self.directory / log / "checkpoint"
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, shown.note)

    async def _is_closed(self, hub: Shows, log: str, seen: Checkpoint) -> bool:
        """Whether the next generation, as the member's own policy has it, says that this one was closed, no earlier than it was
        seen. Without a policy of the next one nothing says so."""
        after = self.policies.get(following(log))
        if after is None:
            return False
        try:
            leaf, receipt = await hub.leaf(following(log), 0), await hub.receipt(following(log), 0)
            if receipt is None or verify_receipt(receipt, leaf, after).index != 0:
                return False
            said = load(leaf, max_bytes=LEAF_LIMIT_BYTES)
            covered = Closing.read(said, after.logs[0].name, self.policies[log]).covers(seen)
            return covered and await self._provable(hub, log, seen.origin) < seen.size
        except (NotFound, ReceiptFault, NoteFault, JsonError):
            return False

    async def _provable(self, hub: Shows, log: str, origin: str) -> int:
        """Up to where the hub can still prove a closed log: what was seen of that must be proved, as ever."""
        try:
            shown = await hub.checkpoint(log, Checkpoint(origin, 0, EMPTY_ROOT))
        except NotFound:
            return 0
        return self.policies[log].check(shown.note).checkpoint.size

    def _alarm(self, log: str, code: str, seen: bytes, shown: bytes, proof: str = "") -> Alarm:
        value = {
            "time": self.clock.now_us() // 1_000_000,
            "log": log,
            "code": code,
            "seen": seen.decode(),
            "shown": b64encode(shown).decode(),
            "proof": proof,
        }
        folder = self.directory / "alarms"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One contradiction of a kind convicts; a client that asks each minute must not fill the disk.
        path = folder / f"{sha256(code.encode() + seen).hexdigest()}.json"
        if not path.exists():
            save_secret(canonical(value) + b"\n", path)
        return Alarm(
            code,
            f"The hub does not show that its log {log} grew out of the one you saw before. Do not rely on it; tell both countries.",
            f"El centro no demuestra que su registro {log} creció a partir del que usted vio. No confíe en él; avise a ambos países.",
            path,
        )


def _hashes(header: str) -> tuple[bytes, ...]:
    """The proof of the header; one that cannot be read proves nothing."""
    words = [word.strip() for word in header.split(",") if word.strip()]
    try:
        return tuple(strict_base64(word, 32) for word in words[: PROOF_LIMIT + 1])
    except (ValueError, Base64Error):
        return (b"",)
