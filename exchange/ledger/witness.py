"""The witness that each country runs: it cosigns a log's checkpoint only if the log grew out of what it saw before.

It speaks C2SP tlog-witness over HTTP. Its directory holds everything it is:

    witness.key     its secret key, mode 0600
    state.json      per log: the trusted keys, and the largest checkpoint it ever cosigned
    refused/        signed checkpoints that contradict that: evidence against the log
    mirror/         what it holds of each log (mirror.py); without this folder it holds nothing and cosigns all the same
    reader.token    who shows it may read the mirror, mode 0600
    retired.json    it will never sign again, and why
    lock            held while it runs, so that no second process shares the state

A witness is worth exactly its memory. One that lost its state, or was restored from a backup, could be made to cosign
a second history: it must be retired (new name, new key), never restarted. It retires by itself when it is shown a
cosignature of its own that it does not remember.
"""

import asyncio
import contextlib
import fcntl
import os
import ssl
import threading
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from secrets import token_urlsafe

import structlog
from aiohttp import web

from certs.jcs import JsonError, canonical
from exchange.clock import Clock
from exchange.errors import LedgerFault
from exchange.ledger.generations import succeeded
from exchange.ledger.merkle import verify_consistency
from exchange.ledger.mirror import PIECE_LIMIT_BYTES, Copy, Piece, write_durably
from exchange.ledger.note import (
    Checkpoint,
    NoteFault,
    WitnessKey,
    new_witness_key,
    open_note,
    split_note,
)
from exchange.ledger.remembering import (
    BROKEN,
    COPY_MEDIA_TYPE,
    RETIRED_ANSWER,
    SIZE_MEDIA_TYPE,
    TEXT,
    Answer,
    LogState,
    Request,
    State,
    objection,
    with_log,
)
from exchange.ledger.tiles import parse_path

_log = structlog.get_logger("puente.witness")

BODY_LIMIT_BYTES = 131_072
"""63 proof lines and a note with some post-quantum signatures fit; anything larger is not a checkpoint."""

EVIDENCE_LIMIT_BYTES = 4 * BODY_LIMIT_BYTES
"""Of one file: a request, and two notes that contradict it."""

EVIDENCE_LIMIT = 1_000
"""Evidence files kept. One is enough to convict a log; more than this is somebody filling the disk."""

READ_SECONDS = 10

ENTRIES_LIMIT_BYTES = PIECE_LIMIT_BYTES + BODY_LIMIT_BYTES

MIRROR = "mirror"
REFUSED = "refused"
RETIRED = "retired.json"
READER = "reader.token"


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
        self._retired = False
        self._copies: dict[str, Copy] = {}
        try:
            self._remember()
        except LedgerFault:
            self.close()
            raise

    def _remember(self) -> None:
        """Look for what shows that the state is an old one, and open the mirror. Raises LedgerFault."""
        if (self._directory / RETIRED).exists():
            raise LedgerFault("witness-retired", f"witness {self.name} is retired: make a new one with a new name")
        if not (self._directory / MIRROR).exists():
            return
        for origin in self._state.logs:
            copy = self._copy_of(origin)
            with contextlib.suppress(FileNotFoundError):
                self._must_remember(origin, (copy.directory / "checkpoint").read_bytes())
        if self._retired:
            raise LedgerFault("witness-retired", f"the state of witness {self.name} is older than its own last cosignature, which its mirror holds: it is retired; make a new one with a new name")  # fmt: skip

    def _is_retired(self) -> bool:
        return self._retired or (self._directory / RETIRED).exists()  # a command may have retired it meanwhile

    def _copy_of(self, origin: str) -> Copy:
        if origin not in self._copies:
            try:
                self._copies[origin] = Copy(self._directory / MIRROR, origin)
            except (OSError, JsonError, ValueError, KeyError, TypeError) as error:
                raise LedgerFault("witness-mirror", f"the mirror of {origin} cannot be read ({error})") from None
        return self._copies[origin]

    def _must_remember(self, origin: str, note: bytes) -> None:
        """Retire if the note bears a cosignature of this witness over more than it remembers, or of a later time."""
        try:
            found = open_note(note, [self._key.verifier])
            seen = Checkpoint.parse(found.body)
        except NoteFault:
            return  # not ours, or not whole
        held = self._state.logs[origin].checkpoint
        later = (found.signatures[0].time_seconds or 0) > self._state.time_seconds
        if later or held is None or seen.size > held.size or (seen.size == held.size and seen.root != held.root):
            self._retired = True
            _log.critical("witness retired", witness=self.name, reason="it forgot a cosignature of its own", log=origin)
            retire(
                self._directory, "it was shown a cosignature of its own that it does not remember", self._clock, note
            )

    @classmethod
    def create(cls, directory: Path, name: str, logs: Iterable[str], *, mirror: bool = False) -> str:
        """Make a witness that trusts these log vkeys; returns its own vkey. Raises LedgerFault if there is one.

        With `mirror` it cosigns only what it holds a copy of.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any((directory / file).exists() for file in ("witness.key", "state.json")):
            raise LedgerFault("witness-exists", f"there is a witness in {directory} already")
        key = new_witness_key(name)
        state = State({})
        for vkey in logs:
            state = with_log(state, vkey)
        if mirror:
            (directory / MIRROR).mkdir(mode=0o700)
            write_durably(directory / READER, f"{token_urlsafe(32)}\n".encode())
        # State first: a crash in between leaves no key that could be used without its memory.
        write_durably(directory / "state.json", state.encode())
        write_durably(directory / "witness.key", key.encode().encode() + b"\n")
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
        """Trust a log from now on, or one more key of a log (rotation). Nothing is taken back. Trusting a log's next generation
        closes it. Raises NoteFault."""
        with self._lock:
            self._persist(with_log(self._state, vkey))

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
                return BROKEN
            if self._is_retired():
                return RETIRED_ANSWER
            try:
                return self._answer(body)
            except OSError as error:
                _log.critical("witness state not written", witness=self.name, reason=str(error))
                return BROKEN

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
            note = log.open(request.note)
        except NoteFault as fault:
            return Answer(403, f"{fault.en}\n")
        # 3. Is my own cosignature on it, and do I remember that?
        self._must_remember(offered.origin, request.note)
        if self._retired:
            return RETIRED_ANSWER
        # 4. Did it grow out of what was seen before, is it not closed, and do I hold it?
        refusal = objection(log.checkpoint, request, offered) or self._closed(offered) or self._not_held(offered)
        if refusal is not None:
            if refusal.evidence:
                with contextlib.suppress(OSError):  # a full disk must not turn the refusal into a fault of ours
                    self._keep_evidence(log, request, refusal)
            return refusal
        # 5. Remember, then answer.
        now_seconds = self._clock.now_us() // 1_000_000
        if now_seconds < self._state.time_seconds:
            return Answer(503, "the clock of this witness went back\n")
        line = self._key.cosign(note.body, now_seconds)
        kept = log.cosigned(note, line)
        self._persist(State({**self._state.logs, offered.origin: kept}, now_seconds))
        if offered.origin in self._copies:
            write_durably(self._copies[offered.origin].directory / "checkpoint", kept.note or b"")
        return Answer(200, f"{line}\n")

    def _closed(self, offered: Checkpoint) -> Answer | None:
        """A log whose next generation this witness was told to trust is closed for ever: no more of it is cosigned."""
        if not succeeded(offered.origin, self._state.logs):
            return None
        return Answer(403, "this log is closed: another goes on in its stead\n", evidence=True)

    def _not_held(self, offered: Checkpoint) -> Answer | None:
        """Why the mirror keeps this witness from cosigning."""
        if not self.mirrors:
            return None
        copy = self._copy_of(offered.origin)
        if copy.size != offered.size:
            return Answer(503, f"{copy.size}\n", COPY_MEDIA_TYPE)
        if copy.frontier.root() != offered.root:
            return Answer(422, "the entries that this witness holds have another root\n", evidence=True)
        return None

    # --- the mirror ---

    @property
    def mirrors(self) -> bool:
        return (self._directory / MIRROR).exists()

    def keep(self, body: bytes) -> Answer:
        """Handle one piece of a log's growth: it is on disk before this answers."""
        with self._lock:
            if self._broken or self._is_retired():
                return BROKEN if self._broken else RETIRED_ANSWER
            try:
                return self._keep(body)
            except OSError as error:
                _log.critical("mirror not written", witness=self.name, reason=str(error))
                return BROKEN

    def _keep(self, body: bytes) -> Answer:
        try:
            piece = Piece.parse(body)
            offered = Checkpoint.parse(split_note(piece.note)[0])
        except ValueError as error:
            return Answer(400, f"{error}\n")
        log = self._state.logs.get(offered.origin)
        if log is None or not self.mirrors:
            return Answer(404, "unknown origin, or no mirror\n")
        try:
            log.open(piece.note)
        except NoteFault as fault:
            return Answer(403, f"{fault.en}\n")
        copy = self._copy_of(offered.origin)
        if piece.start != copy.size:
            return Answer(409, f"{copy.size}\n", SIZE_MEDIA_TYPE)
        root = copy.after(piece.leaves).root()
        if not verify_consistency(piece.end, offered.size, root, offered.root, piece.proof):
            # No evidence: anybody could send other entries beside a true checkpoint.
            return Answer(422, "these entries are not those of the checkpoint\n")
        copy.extend(piece)
        return Answer(200, f"{copy.size}\n", SIZE_MEDIA_TYPE)

    def may_read(self, token: str) -> bool:
        """Whether this is what the country's auditors, and its recovery, show to read the mirror."""
        with contextlib.suppress(OSError):
            return compare_digest(token.encode(), (self._directory / READER).read_bytes().strip())
        return False

    def bundle(self, origin_hash: str, path: str) -> bytes | None:
        """An entry bundle of the log whose origin has this hash, None if there is none."""
        for origin, copy in list(self._copies.items()):
            if sha256(origin.encode()).hexdigest() == origin_hash:
                with contextlib.suppress(ValueError):
                    return copy.bundle(parse_path(path))
        return None

    def _persist(self, state: State) -> None:
        try:
            write_durably(self._directory / "state.json", state.encode())
        except OSError:
            # Nobody knows which state is on disk now. Only a restart, which reads it, may go on.
            self._broken = True
            raise
        self._state = state

    def _keep_evidence(self, log: LogState, request: Request, refusal: Answer) -> None:
        # Named by the note, so that one contradiction sent a thousand times with other proofs is one file.
        _log.critical("log refused", witness=self.name, status=refusal.status, reason=refusal.text.strip())
        folder = self._directory / REFUSED
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{sha256(request.note).hexdigest()}.json"
        if path.exists() or sum(1 for _ in folder.iterdir()) >= EVIDENCE_LIMIT:
            return
        evidence = {
            "time": self._clock.now_us() // 1_000_000,
            "status": refusal.status,
            "reason": refusal.text.strip(),
            "held": None if log.note is None else log.note.decode(),
            "copied": self._copied(request),
            "request": request.encode().decode(),
        }
        write_durably(path, canonical(evidence) + b"\n")

    def _copied(self, request: Request) -> str | None:
        """The signed checkpoint that the mirror was last led to: it may contradict the refused one as well."""
        copy = self._copies.get(Checkpoint.parse(split_note(request.note)[0]).origin)
        return None if copy is None or copy.note is None else copy.note.decode()


def retire(directory: Path, reason: str, clock: Clock, note: bytes = b"") -> None:
    """Have the witness in this directory never sign again, running or not. There is no way back."""
    if not (directory / RETIRED).exists():
        value = {"time": clock.now_us() // 1_000_000, "reason": reason, "note": note.decode()}
        write_durably(directory / RETIRED, canonical(value) + b"\n")


def look(directory: Path) -> tuple[str, State]:
    """The vkey and the memory of the witness in this directory, which may be running. Raises LedgerFault."""
    key = _read_key(directory)
    try:
        return key.vkey, State.decode((directory / "state.json").read_bytes(), key.verifier)
    except (OSError, JsonError, NoteFault, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerFault("witness-state", f"the state of witness {key.name} is lost or damaged ({error})") from None


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


# --- over HTTP ---


def application(witness: Witness) -> web.Application:
    """The witness as an aiohttp application. Who may reach it is for the country's network to say."""

    async def add_checkpoint(request: web.Request) -> web.Response:
        # A log's signature is the only credential there is (c2sp.org/tlog-witness). The fsync runs off the event loop.
        return _response(await asyncio.to_thread(witness.answer, await _read(request, BODY_LIMIT_BYTES)))

    async def add_entries(request: web.Request) -> web.Response:
        return _response(await asyncio.to_thread(witness.keep, await _read(request, ENTRIES_LIMIT_BYTES)))

    async def entries(request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not witness.may_read(token):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        match = request.match_info
        data = await asyncio.to_thread(witness.bundle, match["origin"], f"tile/entries/{match['path']}")
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type="application/octet-stream")

    async def checkpoint(request: web.Request) -> web.Response:
        note = witness.checkpoint(request.match_info["origin"])
        if note is None:
            raise web.HTTPNotFound
        return web.Response(body=note, content_type=TEXT, charset="utf-8", headers={"Cache-Control": "no-cache"})

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "name": witness.name, "vkey": witness.vkey})

    app = web.Application(client_max_size=ENTRIES_LIMIT_BYTES)
    app.router.add_post("/add-checkpoint", add_checkpoint)
    app.router.add_post("/add-entries", add_entries)
    app.router.add_get("/{origin:[0-9a-f]{64}}/tile/entries/{path:.+}", entries)
    app.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", checkpoint)
    app.router.add_get("/health", health)
    return app


async def _read(request: web.Request, limit_bytes: int) -> bytes:
    async with asyncio.timeout(READ_SECONDS):
        body = await request.read()
    if len(body) > limit_bytes:
        raise web.HTTPRequestEntityTooLarge(limit_bytes, len(body))
    return body


def _response(answer: Answer) -> web.Response:
    # As bytes, or aiohttp would add a charset to a media type that clients compare whole.
    return web.Response(status=answer.status, body=answer.text.encode(), content_type=answer.media_type)


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
