"""Closing a log for ever when nobody can give back what it lost, and beginning its next generation.

What the lost entries did is unknown. Against that the hub guards what it can: nothing is placed any more at a time that a lost
entry may have given out, so that no poller misses what comes; numbers of entries and of adoptions go on behind those that are
lost; and the origin is never signed again, so that nothing cosigned in it can come to mean something else. The rest is for
people: members send again what they sent, and whoever was revoked, suspended or deleted in the gap is so once more.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final

from certs.keys import load_secret, replace_file, save_secret
from certs.trust import COUNTRIES
from exchange.errors import NotPermitted
from exchange.ledger.entry import Entry
from exchange.ledger.generations import following, kind, named, number, stem
from exchange.ledger.note import Checkpoint, LogKey, new_log_key
from exchange.ledger.publisher import Anchors
from exchange.ledger.rounds import CLOCK_AHEAD_SECONDS
from exchange.store.changes import AgreementRow
from exchange.store.contract import Succession
from exchange.times import as_text

ABANDONMENT_TYPE: Final = "log-abandonment-approval+jws"
OPERATOR: Final = "hub:puente:acct:operator"

UNKNOWN: Final = ("adoptions", "deletions", "erasures", "keys", "releases", "revocations", "submissions", "suspensions")
"""What lost entries may have told of."""

AHEAD_US: Final = CLOCK_AHEAD_SECONDS * 1_000_000
"""By how much a stamp that is lost may be ahead of what every clock says now: no hub starts that is further ahead of its witnesses."""


def countries_of(log: str) -> tuple[str, ...]:
    """Whose approval it takes."""
    return tuple(COUNTRIES) if kind(log) == "both" else (kind(log).upper(),)


@dataclass(frozen=True, slots=True)
class Loss:
    """One log that is to be closed."""

    typ: ClassVar[str] = ABANDONMENT_TYPE
    log: str
    checkpoint: Checkpoint
    """The last that was cosigned."""
    note: bytes
    held: int
    """How many entries there will be here when it is closed; they have this root."""
    held_root: bytes
    since: int
    """From here on they were put back, and their objects may be missing."""
    signed: int
    """How many it ever had, as far as anybody knows."""
    seen_us: int
    """The newest time by which a witness dated that checkpoint."""
    next: str
    """The public key of the log that goes on in its stead."""

    @property
    def lost(self) -> int:
        return max(0, self.signed - self.held)

    @property
    def next_origin(self) -> str:
        return self.next.partition("+")[0]

    @property
    def statement(self) -> dict[str, Any]:
        """What its approvers sign."""
        one = self.checkpoint
        return {
            "act": "log.close", "origin": one.origin, "size": one.size, "root": one.root.hex(), "held": self.held,
            "held_root": self.held_root.hex(), "lost": self.lost, "next": self.next,
        }  # fmt: skip

    @property
    def countries(self) -> tuple[str, ...]:
        return countries_of(self.log)

    def succession(self, before: int) -> Succession:
        """`before`: the entries of the generations before this one."""
        return Succession(self.log, before + max(self.signed, self.held))

    def entry(self, after_us: int, approvals: list[str]) -> Entry:
        """The first of the next generation."""
        one = self.checkpoint
        pub = {
            "log": self.log, "origin": one.origin, "size": one.size, "root": one.root.hex(), "note": self.note.decode(),
            "held": self.held, "held_root": self.held_root.hex(), "lost": self.lost, "next": self.next_origin,
            "unknown": list(UNKNOWN), "after": as_text(after_us), "approvals": approvals,
        } | ({"from": self.since} if self.since < self.held else {})  # fmt: skip
        return Entry(kind(self.log), "log.close", OPERATOR, f"log:{self.log}", pub)

    def opening(self, policy_sha256: str) -> Entry:
        """What both countries learn of it: not how long the log was."""
        log = following(self.log)
        pub = {
            "log": log, "origin": self.next_origin, "key": self.next, "witness_policy": policy_sha256,
            "previous": self.checkpoint.origin,
        }  # fmt: skip
        return Entry("both", "log.open", OPERATOR, f"log:{log}", pub)

    def adoption(self, newest: AgreementRow | None) -> list[AgreementRow]:
        """The agreement in force by what is left, under a number that none of the lost entries can have given to another one:
        each adoption is an entry of `both`."""
        if newest is None or kind(self.log) != "both":
            return []
        return [replace(newest, number=newest.number + self.lost + 1, adopted_us=0, cause="abandon")]


class NextLogs:
    """The files of a log that is about to begin: its key, its line in the witness policy, its anchor."""

    def __init__(self, keys: Path, policies: Path, anchors: Anchors) -> None:
        self._keys = keys
        self._policies = policies
        self._anchors = anchors

    def vkey(self, log: str, origin: str) -> str:
        """The public key of the log after this one, whose origin is given; made when it is first asked for. Raises NotPermitted for
        a file that holds the key of another."""
        path = self._keys / f"log-{stem(following(log))}.key"
        base = origin.removesuffix(f"/{number(log)}") if number(log) > 1 else origin
        name = named(base, number(log) + 1)
        if not path.exists():
            save_secret(new_log_key(name).encode().encode() + b"\n", path)
        key = LogKey.decode(load_secret(path).decode().strip())
        if key.name != name:
            raise NotPermitted(
                f"{path.name} is the key of {key.name}, not of {name}.",
                f"{path.name} es la clave de {key.name}, no de {name}.",
                code="recover-key",
            )
        return key.vkey

    def begin(self, loss: Loss) -> str:
        """Everything a hub needs to start with it; the digest of the witness policy as it is then. A crash here changes nothing but
        that the hub does not start: done again, it goes on."""
        path = self._policies / kind(loss.log)
        lines = path.read_text().split("\n")
        line = f"log {loss.next}"
        if line not in lines:
            last = max(place for place, one in enumerate(lines) if one.split(" ", 1)[0] == "log")
            replace_file(path, "\n".join([*lines[: last + 1], line, *lines[last + 1 :]]).encode())
        if not self._anchors.there(following(loss.log)):
            self._anchors.create(following(loss.log))
        return sha256(path.read_bytes()).hexdigest()
