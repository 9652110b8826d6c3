"""The witness that each country runs: it cosigns a log's checkpoint only if the log grew out of what it saw before.

It speaks C2SP tlog-witness over HTTP. Its directory holds everything it is:

    witness.key     its secret key, mode 0600
    state.json      per log: the trusted keys, and the largest checkpoint it ever cosigned
    refused/        signed checkpoints that contradict that: evidence against the log
    lock            held while it runs, so that no second process shares the state

A witness is worth exactly its memory. One that lost its state, or was restored from a backup, could be made to cosign
a second history: it must be retired (new name, new key), never restarted.
"""

import asyncio
import contextlib
import fcntl
import os
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from aiohttp import web

from certs.jcs import JsonError, canonical, load
from exchange.clock import Clock
from exchange.errors import LedgerFault
from exchange.ledger.merkle import EMPTY_ROOT, verify_consistency
from exchange.ledger.note import (
    LOG_TYPE,
    Checkpoint,
    NoteFault,
    Verifier,
    WitnessKey,
    decimal,
    new_witness_key,
    note_text,
    open_note,
    split_note,
    strict_base64,
)

_log = structlog.get_logger("puente.witness")

BODY_LIMIT_BYTES = 131_072
"""63 proof lines and a note with some post-quantum signatures fit; anything larger is not a checkpoint."""

PROOF_LIMIT = 63
EVIDENCE_LIMIT = 1_000
"""Evidence files kept. One is enough to convict a log; more than this is somebody filling the disk."""

READ_SECONDS = 10
STATE_LIMIT_BYTES = 10_000_000
ANSWER_LIMIT_BYTES = 65_536
SIZE_MEDIA_TYPE = "text/x.tlog.size"

_TEXT = "text/plain"


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
    media_type: str = _TEXT
    evidence: bool = False


_BROKEN = Answer(500, "this witness could not write its state and must be restarted\n")


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


class Witness:
    """A witness at work on its directory. Threads may share it: one request is handled at a time."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        """Take up the work. Raises LedgerFault when the state is missing, damaged, or in use by another process."""
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._key = _read_key(directory)
        self._process_lock = _exclusive(directory / "lock")
        try:
            self._state = State.decode((directory / "state.json").read_bytes(), self._key.verifier)
        except (OSError, JsonError, NoteFault, ValueError, KeyError, TypeError, AttributeError) as error:
            self.close()
            raise LedgerFault("witness-state", f"the state of witness {self._key.name} is lost or damaged ({error}); a witness without its memory must be retired: make a new one with a new name") from None  # fmt: skip
        self._broken = False

    @classmethod
    def create(cls, directory: Path, name: str, logs: Iterable[str]) -> str:
        """Make a witness that trusts these log vkeys; returns its own vkey. Raises LedgerFault if there is one."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any((directory / file).exists() for file in ("witness.key", "state.json")):
            raise LedgerFault("witness-exists", f"there is a witness in {directory} already")
        key = new_witness_key(name)
        state = State({})
        for vkey in logs:
            state = _with_log(state, vkey)
        # State first: a crash in between leaves no key that could be used without its memory.
        _write(directory / "state.json", state.encode())
        _write(directory / "witness.key", key.encode().encode() + b"\n")
        return key.vkey

    @property
    def name(self) -> str:
        return self._key.name

    @property
    def vkey(self) -> str:
        """What policies list for this witness."""
        return self._key.vkey

    def close(self) -> None:
        """Let another process take over."""
        os.close(self._process_lock)

    def add_log(self, vkey: str) -> None:
        """Trust a log from now on, or one more key of a log (rotation). Nothing is taken back. Raises NoteFault."""
        with self._lock:
            self._persist(_with_log(self._state, vkey))

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """The newest cosigned note of the log whose origin has this SHA-256 (hex), or None."""
        for origin, log in self._state.logs.items():
            if sha256(origin.encode()).hexdigest() == origin_hash:
                return log.note
        return None

    def answer(self, body: bytes) -> Answer:
        """Handle one add-checkpoint request. The new state is on disk before a cosignature is given out."""
        with self._lock:
            if self._broken:
                return _BROKEN
            try:
                return self._answer(body)
            except OSError as error:
                _log.critical("witness state not written", witness=self.name, reason=str(error))
                return _BROKEN

    def _answer(self, body: bytes) -> Answer:
        # 1. What log is it about?
        try:
            request = Request.parse(body)
            offered = Checkpoint.parse(split_note(request.note)[0])
        except ValueError as error:
            return Answer(400, f"{error}\n")
        log = self._state.logs.get(offered.origin)
        if log is None:
            return Answer(404, "unknown origin\n")
        # 2. Did that log sign it?
        try:
            note = open_note(request.note, log.keys)
        except NoteFault as fault:
            return Answer(403, f"{fault.en}\n")
        # 3. Did it grow out of what was seen before?
        refusal = objection(log.checkpoint, request, offered)
        if refusal is not None:
            if refusal.evidence:
                with contextlib.suppress(OSError):  # a full disk must not turn the refusal into a fault of ours
                    self._keep_evidence(log, request, refusal)
            return refusal
        # 4. Remember, then answer.
        now_seconds = self._clock.now_us() // 1_000_000
        if now_seconds < self._state.time_seconds:
            return Answer(503, "the clock of this witness went back\n")
        line = self._key.cosign(note.body, now_seconds)
        log_lines = [one.line for one in note.signatures]
        kept = replace(log, note=note_text(note.body.encode() + b"\n", [*log_lines, line]))
        self._persist(State({**self._state.logs, offered.origin: kept}, now_seconds))
        return Answer(200, f"{line}\n")

    def _persist(self, state: State) -> None:
        try:
            _write(self._directory / "state.json", state.encode())
        except OSError:
            # Nobody knows which state is on disk now. Only a restart, which reads it, may go on.
            self._broken = True
            raise
        self._state = state

    def _keep_evidence(self, log: LogState, request: Request, refusal: Answer) -> None:
        # Named by the note, so that one contradiction sent a thousand times with other proofs is one file.
        _log.critical("log refused", witness=self.name, status=refusal.status, reason=refusal.text.strip())
        folder = self._directory / "refused"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{sha256(request.note).hexdigest()}.json"
        if path.exists() or sum(1 for _ in folder.iterdir()) >= EVIDENCE_LIMIT:
            return
        evidence = {
            "time": self._clock.now_us() // 1_000_000,
            "status": refusal.status,
            "reason": refusal.text.strip(),
            "held": None if log.note is None else log.note.decode(),
            "request": request.encode().decode(),
        }
        _write(path, canonical(evidence) + b"\n")


def _with_log(state: State, vkey: str) -> State:
    key = Verifier.parse(vkey)
    if key.kind != LOG_TYPE:
        raise NoteFault("key-malformed", "This is not the key of a log.", "Esta no es la llave de un registro.")
    log = state.logs.get(key.name, LogState(()))
    if key in log.keys:
        return state
    return replace(state, logs={**state.logs, key.name: replace(log, keys=(*log.keys, key))})


def _read_key(directory: Path) -> WitnessKey:
    path = directory / "witness.key"
    try:
        if path.stat().st_mode & 0o077:
            raise LedgerFault("witness-key", f"{path} may be read by others; it must have mode 0600")
        return WitnessKey.decode(path.read_text().strip())
    except (OSError, NoteFault) as error:
        raise LedgerFault("witness-key", f"the key of the witness cannot be read: {error}") from None


def _exclusive(path: Path) -> int:
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise LedgerFault("witness-running", f"another process is this witness already: {path}") from None
    return lock


def _write(path: Path, data: bytes) -> None:
    """Durable and whole before it returns: temporary file, fsync, rename, fsync of the directory. Mode 0600."""
    temporary = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# --- over HTTP ---


def application(witness: Witness) -> web.Application:
    """The witness as an aiohttp application. Who may reach it is for the country's network to say."""

    async def add_checkpoint(request: web.Request) -> web.Response:
        # A log's signature is the only credential there is (c2sp.org/tlog-witness). The fsync runs off the event loop.
        async with asyncio.timeout(READ_SECONDS):
            body = await request.read()
        answer = await asyncio.to_thread(witness.answer, body)
        # As bytes, or aiohttp would add a charset to a media type that clients compare whole.
        return web.Response(status=answer.status, body=answer.text.encode(), content_type=answer.media_type)

    async def checkpoint(request: web.Request) -> web.Response:
        note = witness.checkpoint(request.match_info["origin"])
        if note is None:
            raise web.HTTPNotFound
        return web.Response(body=note, content_type=_TEXT, charset="utf-8", headers={"Cache-Control": "no-cache"})

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "name": witness.name, "vkey": witness.vkey})

    app = web.Application(client_max_size=BODY_LIMIT_BYTES)
    app.router.add_post("/add-checkpoint", add_checkpoint)
    app.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", checkpoint)
    app.router.add_get("/health", health)
    return app


async def serve(witness: Witness, host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> web.AppRunner:
    """Listen; port 0 takes any free one. The caller cleans up the runner, then closes the witness."""
    runner = web.AppRunner(application(witness), access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


# --- the log's side ---


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The witness answered with signature lines, not yet verified."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Behind:
    """The witness has seen another size than the one that was proved from."""

    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The witness will not cosign this, now or later."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No usable answer this time; ask again in the next round."""

    reason: str


async def add_checkpoint(
    session: aiohttp.ClientSession, url: str, old: int, proof: Sequence[bytes], note: bytes, timeout_seconds: float
) -> Cosigned | Behind | Refused | Unreachable:
    """Ask the witness at this submission prefix to cosign a note. Whatever the network does becomes an answer."""
    body = Request(old, tuple(proof), note).encode()
    try:
        async with session.post(
            f"{url.rstrip('/')}/add-checkpoint",
            data=body,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            allow_redirects=False,
        ) as response:
            data = await _bounded(response)
            return _understood(response.status, response.content_type, data.decode())
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        return Unreachable(f"{type(error).__name__}: {error}")


async def newest_checkpoint(
    session: aiohttp.ClientSession, url: str, origin: str, timeout_seconds: float
) -> bytes | Unreachable | None:
    """The note that the witness at this prefix cosigned last for the origin, not verified; None if it has none."""
    try:
        async with session.get(
            f"{url.rstrip('/')}/{sha256(origin.encode()).hexdigest()}/checkpoint",
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            allow_redirects=False,
        ) as response:
            if response.status == 200:
                return await _bounded(response)
            return None if response.status == 404 else Unreachable(f"HTTP {response.status}")
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        return Unreachable(f"{type(error).__name__}: {error}")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > ANSWER_LIMIT_BYTES:
            raise ValueError("the answer is too large")
    return bytes(data)


def _understood(status: int, media_type: str, text: str) -> Cosigned | Behind | Refused | Unreachable:
    if status == 200:
        lines = text.removesuffix("\n").split("\n")
        if all(line.startswith("\N{EM DASH} ") for line in lines):
            return Cosigned(tuple(lines))
        return Unreachable("the answer holds other things than signature lines")
    if status == 409 and media_type == SIZE_MEDIA_TYPE:
        return Behind(decimal(text.removesuffix("\n")))
    if status >= 500 or status == 429:
        return Unreachable(f"HTTP {status}")
    return Refused(status, text[:500])
