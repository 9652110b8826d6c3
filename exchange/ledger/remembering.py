"""What a witness decides, and what it remembers: pure, so that both can be tested by themselves."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from certs.jcs import canonical, load
from exchange.ledger.merkle import EMPTY_ROOT, verify_consistency
from exchange.ledger.note import (
    LOG_TYPE,
    Checkpoint,
    Note,
    NoteFault,
    Signature,
    Verifier,
    decimal,
    note_text,
    open_note,
    split_note,
    strict_base64,
)

PROOF_LIMIT = 63
STATE_LIMIT_BYTES = 10_000_000
SIZE_MEDIA_TYPE = "text/x.tlog.size"
COPY_MEDIA_TYPE = "text/x.puente.copy-size"
"""Of the 503 that says how many entries the mirror holds, when they are not those of the checkpoint."""
TEXT = "text/plain"

# --- the decision: pure ---


@dataclass(frozen=True, slots=True)
class Request:
    """What a log sends: from which size it proves, how, and the note it wants cosigned."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        lines = [f"old {self.old}", *(b64encode(digest).decode() for digest in self.proof), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, body: bytes) -> "Request":
        """Raises ValueError for anything but an add-checkpoint body."""
        head, gap, note = body.partition(b"\n\n")
        first, *lines = head.decode("ascii").split("\n")
        if not gap or not first.startswith("old ") or len(lines) > PROOF_LIMIT:
            raise ValueError("not: old <size>, at most 63 hashes, an empty line, a checkpoint")
        return cls(decimal(first.removeprefix("old ")), tuple(strict_base64(line, 32) for line in lines), note)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the log. `evidence` marks a signed checkpoint that contradicts an earlier one."""

    status: int
    text: str
    media_type: str = TEXT
    evidence: bool = False


BROKEN = Answer(500, "this witness could not write its state and must be restarted\n")
RETIRED_ANSWER = Answer(503, "this witness is retired\n")


def objection(held: Checkpoint | None, request: Request, offered: Checkpoint) -> Answer | None:
    """Why a checkpoint with a valid log signature must not be cosigned, or None (c2sp.org/tlog-witness).

    `held` is the largest checkpoint this witness cosigned for the origin, None if it never did.
    """
    size = held.size if held else 0
    other_root = held is not None and offered.size == held.size and offered.root != held.root
    if request.old > offered.size:
        return Answer(400, "the old size is larger than the checkpoint\n")
    if request.old != size:
        return Answer(409, f"{size}\n", SIZE_MEDIA_TYPE, evidence=other_root)
    if other_root:
        return Answer(422, "another root was cosigned for this size\n", evidence=True)
    if offered.size == 0 and offered.root != EMPTY_ROOT:
        return Answer(422, "the root of an empty tree is another\n", evidence=True)
    # From size zero there is nothing to prove, and nothing may be sent as a proof.
    if not verify_consistency(size, offered.size, held.root if held else EMPTY_ROOT, offered.root, request.proof):
        return Answer(422, "the consistency proof does not verify\n", evidence=True)
    return None


# --- the state ---


@dataclass(frozen=True, slots=True)
class LogState:
    """One log the witness watches: the keys it trusts for the origin, and the last note it cosigned."""

    keys: tuple[Verifier, ...]
    note: bytes | None = None
    """Signed by the log and by this witness."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        return Checkpoint.parse(split_note(self.note)[0]) if self.note is not None else None

    @property
    def lines(self) -> tuple[Signature, ...]:
        """The log's own signatures on the last note."""
        return open_note(self.note, self.keys).signatures if self.note is not None else ()

    def open(self, note: bytes) -> Note:
        """A note of this log. Raises NoteFault, also where only keys signed it that others came after and that what was
        cosigned last did without: those were replaced, and whoever has one still is not the log."""
        opened = open_note(note, self.keys)
        first = min((self.keys.index(one.key) for one in self.lines), default=0)
        if all(self.keys.index(one.key) < first for one in opened.signatures):
            raise NoteFault(
                "note-replaced-key",
                "Only a key signed the note that was replaced.",
                "Solo firmó la nota una llave que fue reemplazada.",
            )
        return opened

    def cosigned(self, note: Note, line: str) -> "LogState":
        """With this note, and the cosignature on it. Of one tree every signature is kept: no key is replaced by asking anew."""
        found = {one.key: one.line for one in note.signatures}
        if self.note is not None and split_note(self.note)[0] == note.body:
            found = {one.key: one.line for one in self.lines} | found
        return replace(self, note=note_text(f"{note.body}\n".encode(), [*found.values(), line]))


@dataclass(frozen=True, slots=True)
class State:
    """All that a witness remembers."""

    logs: Mapping[str, LogState]
    time_seconds: int = 0
    """Of its newest cosignature: no later one may be dated before it."""

    def encode(self) -> bytes:
        logs = {
            origin: {
                "keys": [key.vkey for key in log.keys],
                "note": None if log.note is None else log.note.decode(),
            }
            for origin, log in self.logs.items()
        }
        return canonical({"v": 1, "time": self.time_seconds, "logs": logs}) + b"\n"

    @classmethod
    def decode(cls, data: bytes, own: Verifier) -> "State":
        """Read the state and check its own cosignatures, so that damage is noticed. ValueError, KeyError, TypeError."""
        value = load(data, max_bytes=STATE_LIMIT_BYTES)
        if value["v"] != 1:
            raise ValueError("unknown version")
        logs = {origin: _log_state(origin, log, own) for origin, log in value["logs"].items()}
        return cls(logs, int(value["time"]))


def _log_state(origin: str, value: dict[str, Any], own: Verifier) -> LogState:
    note = None if value["note"] is None else value["note"].encode()
    state = LogState(tuple(Verifier.parse(vkey) for vkey in value["keys"]), note)
    if note is not None and Checkpoint.parse(open_note(note, [own]).body).origin != origin:
        raise ValueError("a note stands under another origin")
    return state


def with_log(state: State, vkey: str) -> State:
    key = Verifier.parse(vkey)
    if key.kind != LOG_TYPE:
        raise NoteFault("key-malformed", "This is not the key of a log.", "Esta no es la llave de un registro.")
    log = state.logs.get(key.name, LogState(()))
    if key in log.keys:
        return state
    return replace(state, logs={**state.logs, key.name: replace(log, keys=(*log.keys, key))})
