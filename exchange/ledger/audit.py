"""The auditor's verifier: checks a copy of the logs (pack.py says what is in it) without asking anybody.

The policies come from the auditor's own disk, never from the copy. MANIFEST finds accidents and says where they are;
against forgery it proves nothing, and nothing relies on it: what counts is the checkpoint, which neither country can
make alone.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exchange.ledger.copied import Files
from exchange.ledger.findings import TEXTS, Finding, Findings
from exchange.ledger.generations import Closing, following, kind, named, number
from exchange.ledger.merkle import EMPTY, HASH_BYTES, Frontier, leaf_hash, root, verify_consistency
from exchange.ledger.note import (
    NOTE_LIMIT_BYTES,
    Checked,
    Checkpoint,
    NoteFault,
    Policy,
    Verifier,
    decimal,
    open_note,
    split_note,
    strict_base64,
)
from exchange.ledger.opened import (
    OPENING_LIMIT_BYTES,
    Line,
    Page,
    adds_to,
    may_speak_of,
    openings_path,
    opens,
    pages_path,
    read_opening,
    read_page,
)
from exchange.ledger.pack import CopySource, Progress, cut_hashes, upper_tiles, write_copy
from exchange.ledger.papers import check_papers
from exchange.ledger.receipt import RECEIPT_LIMIT_BYTES, Proven, Receipt, ReceiptFault
from exchange.ledger.rotation import KeyStory
from exchange.ledger.sense import Events
from exchange.ledger.tiles import HEIGHT, WIDTH, Tile, bundles_of, unbundle

__all__ = [
    "CopySource", "Finding", "LogReport", "Report", "log_of", "verify_copy", "verify_receipt_file", "write_copy",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogReport:
    """What one log holds. A log whose checkpoint was not believed has size 0; of one that was closed for ever, `size` and `root` are
    what is left of it, and `closed` is what its next generation says of that."""

    name: str
    origin: str = ""
    size: int = 0
    root: bytes = b""
    cosigned: Mapping[str, int] = field(default_factory=dict)
    """Witness name to the POSIX time of its cosignature."""
    first_time: str = ""
    last_time: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Kind of event to how many there are."""
    closed: Closing | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found. No finding means: every byte is what both countries' witnesses vouched for."""

    findings: tuple[Finding, ...]
    logs: tuple[LogReport, ...]
    receipts: int = 0
    """Receipts that verified."""

    @property
    def ok(self) -> bool:
        return not self.findings


# --- one log ---


class _Log:
    """Checks one log of a copy: note and quorum, entries, tiles, the kept checkpoint, openings."""

    def __init__(self, name: str, files: Files, findings: Findings, keys: KeyStory) -> None:
        self.name = name
        self._files = files
        self._findings = findings
        self._keys = keys
        self.events = Events(kind(name), findings)
        self.checked: Checked | None = None
        self.closing: Closing | None = None
        """What its first entry says of the generation before."""
        self.ended: Closing | None = None
        """What the next generation says of this one."""
        self._here = Checkpoint("", 0, b"")
        """What the entries in the copy have to lead to."""
        self._note = b""
        self._notes: dict[str, bytes] = {}
        """The checkpoint, and those of the past by their files."""
        self._before: Checkpoint | None = None
        """What the auditor saw last time."""
        self._full: list[bytes] = []
        """The root of each full bundle of 256 entries."""
        self._tail: list[bytes] = []
        """The leaf hashes after the last full bundle."""
        self._doubtful: dict[int, tuple[list[bytes], list[bytes]]] = {}
        """Bundles whose entries and tile disagree: the leaf hashes by each."""
        self._partial: dict[int, list[bytes]] = {}
        """Sizes to prove: the leaf hashes between the last full bundle and that size."""
        self._hashes: dict[int, bytes] = {}
        """Leaves that receipts speak of."""
        self._sizes: set[int] = set()
        self._roots: dict[int, bytes] = {}
        """Of those sizes, and of the whole."""
        self._past: dict[str, Checkpoint] = {}
        """The notes of the past that were believed, by their files."""
        self._indexes: set[int] = set()
        self._first: dict[str, Any] = {}
        self._known = False
        """Whether the history under the signed root could be made out."""

    def read(
        self,
        policies: Mapping[str, Policy],
        kept: bytes | None,
        receipts: Iterable[tuple[int, int]],
        progress: Progress | None,
    ) -> None:
        """`receipts` are the (leaf index, tree size) that receipts in the copy speak of."""
        policy = policies[self.name]
        path = f"{self.name}/checkpoint"
        # 1. The policy is the auditor's own; the note is signed by the log and cosigned by a quorum.
        note = self._files.read(path)
        try:
            self.checked = None if note is None else policy.check(note)
        except NoteFault as fault:
            self._findings.quote(fault.code, path, fault.en, fault.es)
        if note is None or self.checked is None:
            return
        checkpoint = self.checked.checkpoint
        here = self._here = self._left(checkpoint)
        # 2. It is no older than what the auditor has seen, and the notes of the past stand for themselves.
        before = self._before = self._kept(kept, checkpoint)
        self._note, self._notes = note, self._read_past(checkpoint)
        # 3. Every entry is hashed again, and read.
        for index, size in receipts:
            self._indexes.add(index)
            self._sizes.add(size)
        self._sizes.update(one.size for one in (here, before, *self._past.values()) if one is not None)
        self._read_entries(here.size, progress)
        # 4. Entries and tiles lead to the signed root, and the log contains every one it had before.
        self._judge(here)
        # 5. A later generation goes on from a checkpoint that the policy holds for.
        self._follow(policies, checkpoint.origin)

    def judge(self, policy: Policy) -> LogReport:
        """What the log is found to be, once the entries of `both` told which keys signed it when."""
        path = f"{self.name}/checkpoint"
        if self.checked is None:
            return LogReport(self.name)
        checkpoint, here, before = self.checked.checkpoint, self._here, self._before
        self._judge_keys(policy)
        if before is not None and not self._contains(before):
            self._findings.add("kept-fork", path, detail=before.size)
        for file, past in self._past.items():
            if not self._contains(past):
                self._findings.add("past-fork", file, detail=past.size)
        old = f"{self.name}/checkpoint.old"
        if old in self._files.paths:
            self._consistent(f"{self.name}/consistency", self._past.get(old), checkpoint)
        events = self.events
        return LogReport(
            self.name, checkpoint.origin, here.size, here.root, self.checked.cosigned,
            events.first_time, events.last_time, dict(sorted(events.counts.items())), self.ended,
        )  # fmt: skip

    def _left(self, checkpoint: Checkpoint) -> Checkpoint:
        """What the entries in the copy have to lead to: the checkpoint, or of a log that was closed, unless somebody has all of it,
        what its closing says is left."""
        found, ended = checkpoint, self.ended
        if ended is not None and not ended.covers(checkpoint):
            self._findings.add("generation-other", f"{self.name}/checkpoint", detail=following(self.name))
        elif ended is not None and checkpoint == ended.checkpoint and ended.held != checkpoint.size:
            whole = all(f"{self.name}/{tile.path()}" in self._files.paths for tile in bundles_of(checkpoint.size))
            found = found if whole else Checkpoint(checkpoint.origin, ended.held, ended.held_root)
        return found

    def _contains(self, one: Checkpoint) -> bool:
        """As far as the copy can tell."""
        if one.size > self._here.size:
            return self.ended is None or self.ended.covers(one)
        return not self._known or self._roots[one.size] == one.root

    def _follow(self, policies: Mapping[str, Policy], origin: str) -> None:
        before = policies.get(named(kind(self.name), number(self.name) - 1))
        if number(self.name) == 1 or before is None:
            return
        try:
            self.closing = Closing.read(self._first, origin, before)
        except NoteFault as fault:
            self._findings.quote(fault.code, f"{self.name}/checkpoint", fault.en, fault.es, 0)

    def _kept(self, kept: bytes | None, checkpoint: Checkpoint) -> Checkpoint | None:
        path = f"{self.name}/checkpoint"
        if kept is None:
            return None
        try:
            before = Checkpoint.parse(split_note(kept)[0])
            if before.origin != checkpoint.origin:
                raise NoteFault("kept-malformed", "of another log", "de otro registro")
        except NoteFault:
            self._findings.add("kept-malformed", path)
            return None
        if before.size > checkpoint.size:
            self._findings.add("kept-newer", path, detail=before.size)
            return None
        return before

    def _read_past(self, checkpoint: Checkpoint) -> dict[str, bytes]:
        """The notes of the past, by their files. Nothing of them is believed before the entries told who signed then."""
        prefix = f"{self.name}/checkpoints/"
        old = f"{self.name}/checkpoint.old"
        found = [path for path in self._files.under(prefix) if _SIZE.fullmatch(path.removeprefix(prefix))]
        notes = {}
        for path in [*found, *([old] if old in self._files.paths else [])]:
            note = self._files.read(path)
            try:
                past = Checkpoint.parse(split_note(note)[0]) if note is not None else None
            except NoteFault as fault:
                self._findings.quote(fault.code, path, fault.en, fault.es)
                continue
            if note is None or past is None:
                continue
            named = path in (old, f"{prefix}{past.size}")
            if past.origin != checkpoint.origin or past.size > checkpoint.size or not named:
                self._findings.add("past-strange", path)
            else:
                self._past[path], notes[path] = past, note
        return notes

    def _judge_keys(self, policy: Policy) -> None:
        """The checkpoint bears all the signatures that entries ask for; those of the past one of a key of their time."""
        whole = self.checked is not None and self._here == self.checked.checkpoint
        if self._known and whole and kind(self.name) == "both":  # what is lost may have told of other keys
            for key in self._keys.signing.get(self.name, ()):
                try:
                    open_note(self._note, [Verifier.parse(key)])
                except NoteFault:
                    self._findings.add("key-silent", f"{self.name}/checkpoint", detail=key)
        ever = self._keys.verifiers(self.name) if self._known else []
        told = replace(policy, logs=tuple(dict.fromkeys((*policy.logs, *ever))))
        for path, past in self._notes.items():
            try:
                told.check(past)
            except NoteFault as fault:
                self._findings.quote(fault.code, path, fault.en, fault.es)
                del self._past[path]

    def _consistent(self, path: str, old: Checkpoint | None, new: Checkpoint) -> None:
        data = self._files.read(path)
        if data is None or old is None:
            return
        try:
            first, *lines, end = data.decode("ascii").split("\n")
            proof = [strict_base64(line, HASH_BYTES) for line in lines]
            good = first.startswith("old ") and decimal(first[4:]) == old.size and not end
        except ValueError:
            good, proof = False, []
        if not (good and verify_consistency(old.size, new.size, old.root, new.root, proof)):
            self._findings.add("consistency-wrong", path, detail=old.size)

    def _read_entries(self, size: int, progress: Progress | None) -> None:
        for tile in bundles_of(size):
            self._place(tile.n, self._read_bundle(tile))
            if progress is not None:
                progress(self.name, tile.n * WIDTH + tile.width, size)

    def _place(self, n: int, hashes: list[bytes]) -> None:
        """Take these as the leaf hashes of bundle `n`."""
        start, end = n * WIDTH, n * WIDTH + len(hashes)
        if len(hashes) == WIDTH:
            self._full[n:] = [root(hashes), *self._full[n + 1 :]]
        else:
            self._tail = hashes
        self._partial.update({size: hashes[: size - start] for size in self._sizes if start < size <= end})
        self._hashes.update({index: hashes[index - start] for index in self._indexes if start <= index < end})

    def _read_bundle(self, tile: Tile) -> list[bytes]:
        """The leaf hashes of one bundle: by its entries, else by its tile."""
        path, beside = f"{self.name}/{tile.path()}", f"{self.name}/{Tile(0, tile.n, tile.width).path()}"
        data, stored = self._files.read(path), self._files.read(beside)
        by_tile = cut_hashes(stored) if stored is not None and len(stored) == tile.width * HASH_BYTES else None
        if stored is not None and by_tile is None:
            self._findings.add("tile-changed", beside)
        entries = self._entries(path, data, tile)
        if entries is None:
            return by_tile if by_tile is not None else [bytes(HASH_BYTES)] * tile.width
        hashes = [leaf_hash(entry) for entry in entries]
        if by_tile is not None and by_tile != hashes:
            self._doubtful[tile.n] = (hashes, by_tile)
        read = self.events.read
        leaves = [read(path, index, entry) for index, entry in enumerate(entries, tile.n * WIDTH)]
        self._first = self._first if tile.n else leaves[0] or {}
        self._beside(tile, leaves)
        return hashes

    def _entries(self, path: str, data: bytes | None, tile: Tile) -> list[bytes] | None:
        if data is None:
            return None
        try:
            entries = unbundle(data)
        except ValueError:
            entries = []
        if len(entries) != tile.width:
            self._findings.add("bundle-malformed", path, tile.n * WIDTH)
            return None
        return entries

    def _grow(self) -> None:
        """The roots at every size that was asked for, in one walk over the full bundles."""
        full, done = EMPTY, 0
        for size in sorted(self._sizes):
            # The frontier over complete subtrees of 256 leaves has the same hashes as the one over their leaves.
            full = full.extend(self._full[done : size // WIDTH])
            done = size // WIDTH
            tail = self._partial[size] if size % WIDTH else []
            self._roots[size] = Frontier(done << HEIGHT, full.hashes).extend(tail).root()

    def holds(self, receipt: Receipt, proven: Proven) -> bool:
        """Whether a verified receipt is of the same history as this copy, as far as the copy can tell."""
        if self.checked is None or not self._known:
            return True
        size, other = self._here.size, proven.checkpoint
        if not self._contains(other):
            return False
        return receipt.index >= size or self._hashes[receipt.index] == proven.leaf_hash

    def _judge(self, checkpoint: Checkpoint) -> None:
        """Which of entries and tiles lead to the signed root? Where they disagree, the others were changed."""
        self._sizes = {size for size in self._sizes if size <= checkpoint.size}
        self._grow()
        entries_right = self._roots[checkpoint.size] == checkpoint.root
        if not entries_right and self._doubtful:
            for n, (_, by_tile) in self._doubtful.items():
                self._place(n, by_tile)
            self._grow()
        self._known = self._roots[checkpoint.size] == checkpoint.root
        if not self._known:
            self._findings.add("root-mismatch", f"{self.name}/checkpoint")
        for n, pair in self._doubtful.items():
            for offset, (by_entry, by_tile_hash) in enumerate(zip(*pair, strict=True)):
                if by_entry != by_tile_hash:
                    self._blame(Tile(None, n, len(pair[0])), n * WIDTH + offset, entries_right=entries_right)
        for tile, expected in upper_tiles(checkpoint.size, self._full):
            data = self._files.read(f"{self.name}/{tile.path()}")
            if self._known and data is not None and data != expected:
                self._findings.add("tile-changed", f"{self.name}/{tile.path()}")

    def _blame(self, tile: Tile, index: int, *, entries_right: bool) -> None:
        path, beside = (f"{self.name}/{one.path()}" for one in (tile, Tile(0, tile.n, tile.width)))
        if entries_right:
            self._findings.add("tile-changed", beside, index)
        elif self._known:
            self._findings.add("entry-changed", path, index)
        else:
            self._findings.add("entry-or-tile", path, index)
            self._findings.add("entry-or-tile", beside, index)

    def _beside(self, tile: Tile, leaves: list[dict[str, Any] | None]) -> None:
        """Whether what was opened of a bundle is what its leaves committed to, and what was listed what they may mean."""
        opened = self._lines(tile, openings_path(tile.n), leaves, "opening", read_opening, opens)

        def fits(page: Page, leaf: dict[str, Any]) -> bool:
            return may_speak_of(page, leaf) and (page.index not in opened or adds_to(page, opened[page.index]))

        if kind(self.name) == "both":
            self._lines(tile, pages_path(tile.n), leaves, "page", read_page, fits)

    def _lines(
        self,
        tile: Tile,
        name: str,
        leaves: list[dict[str, Any] | None],
        what: str,
        read: Callable[[bytes], Line],
        fits: Callable[[Line, dict[str, Any]], bool],
    ) -> dict[int, Line]:
        """Check a file of lines about leaves; answers with the lines, by which."""
        path = f"{self.name}/{name}"
        if path not in self._files.paths:
            return {}
        data = self._files.read(path, limit_bytes=WIDTH * OPENING_LIMIT_BYTES)
        start, last, about = tile.n * WIDTH, tile.n * WIDTH - 1, dict[int, Line]()
        for line in (data or b"").splitlines(keepends=True):
            try:
                found = read(line)
            except (ValueError, TypeError):
                self._findings.add(f"{what}-malformed", path)
                continue
            leaf = leaves[found.index - start] if start <= found.index < start + len(leaves) else None
            if found.index <= last:
                self._findings.add(f"{what}-malformed", path, found.index)
            elif leaf is None or not fits(found, leaf):
                self._findings.add(f"{what}-wrong", path, found.index)
            last = max(last, found.index)
            about[found.index] = found
        return about


_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CHECKPOINT = re.compile(r"([^/]+(?:/[0-9]+)?)/checkpoint")


# --- the whole copy ---


def verify_copy(
    directory: Path,
    policies: Mapping[str, Policy],
    kept: Mapping[str, bytes] | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Check a copy whole. `policies` and `kept` (the checkpoints of the last audit) map a log to the auditor's own.

    Every log that has a policy must be in the copy. Nothing in the copy is believed before it is checked, and nothing
    is raised for what it holds: everything wrong is a finding.
    """
    findings = Findings()
    files = Files(directory, findings)
    receipts = _Receipts(files, findings, policies)
    keys = KeyStory()
    logs = {name: _Log(name, files, findings, keys) for name in policies}
    for name in sorted(logs, key=lambda log: (list(logs).index(kind(log)), -number(log))):
        # Later generations first: they say what is left of one that was closed.
        logs[name].ended = logs[following(name)].closing if following(name) in logs else None
        logs[name].read(policies, (kept or {}).get(name), receipts.spoken_of(name), on_progress)
    for name in sorted((log for log in logs if kind(log) == "both"), key=number):
        logs[name].events.tell(keys)  # of the keys of all logs, each generation where the one before ended
    reports = [log.judge(policies[name]) for name, log in logs.items()]
    proved = receipts.check(logs)
    shared = [log.events.agreed for name, log in logs.items() if kind(name) == "both" and log.checked is not None]
    if shared:
        check_papers(files, findings, {what: set().union(*(one[what] for one in shared)) for what in shared[0]})
    found = {match[1] for path in files.paths if (match := _CHECKPOINT.fullmatch(path)) is not None}
    strangers = sorted(found - policies.keys())
    for name in strangers:
        findings.add("policy-missing", f"{name}/checkpoint")
    unbelieved = [name for name, log in logs.items() if log.checked is None]
    files.finish([f"{name}/" for name in (*strangers, *unbelieved)])
    return Report(tuple(findings.all), tuple(reports), proved)


class _Receipts:
    """The receipts in a copy: verified by themselves, then held against the copied logs."""

    def __init__(self, files: Files, findings: Findings, policies: Mapping[str, Policy]) -> None:
        self._findings = findings
        self._policies = policies
        self._proven: list[tuple[str, str, Receipt, Proven]] = []
        names = {path.removesuffix(".tlog-proof").removesuffix(".leaf") for path in files.under("receipts/")}
        for name in sorted(names):
            pair = (f"{name}.tlog-proof", f"{name}.leaf")
            if not files.paths.issuperset(pair):
                findings.add("receipt-pair", next((path for path in pair if path in files.paths), name))
                continue
            proof, leaf = files.read(pair[0]), files.read(pair[1])
            if proof is not None and leaf is not None:
                self._verify(pair, proof, leaf)

    def _verify(self, pair: tuple[str, str], proof: bytes, leaf: bytes) -> None:
        path, leaf_path = pair
        try:
            receipt = Receipt.parse(proof)
            log = log_of(receipt, self._policies)
            if log is None:
                self._findings.add("receipt-log", path)
                return
            self._proven.append((log, path, receipt, receipt.verify(leaf, self._policies[log])))
        except ReceiptFault as fault:
            self._findings.quote(fault.code, path, fault.en, fault.es)
            if fault.code == "receipt-inclusion":  # the path or the leaf: only MANIFEST could tell which
                self._findings.quote(fault.code, leaf_path, fault.en, fault.es)

    def spoken_of(self, name: str) -> list[tuple[int, int]]:
        return [(receipt.index, proven.checkpoint.size) for log, _, receipt, proven in self._proven if log == name]

    def check(self, logs: Mapping[str, _Log]) -> int:
        """How many are of the same history as the copy."""
        good = 0
        for log, path, receipt, proven in self._proven:
            if logs[log].holds(receipt, proven):
                good += 1
            else:
                self._findings.add("receipt-fork", path, receipt.index)
        return good


def log_of(receipt: Receipt, policies: Mapping[str, Policy]) -> str | None:
    """The log whose policy speaks for the receipt's origin. Raises ReceiptFault."""
    origin = receipt.origin
    return next((log for log, policy in policies.items() if any(key.name == origin for key in policy.logs)), None)


def verify_receipt_file(proof: Path, leaf: Path, policies: Mapping[str, Policy]) -> Proven:
    """Check one `.tlog-proof` file with the bytes of its leaf. Raises ReceiptFault, OSError."""
    receipt = Receipt.parse(_read_at_most(proof, RECEIPT_LIMIT_BYTES))
    log = log_of(receipt, policies)
    if log is None:
        raise ReceiptFault("receipt-log", TEXTS["receipt-log"].en, TEXTS["receipt-log"].es)
    return receipt.verify(_read_at_most(leaf, NOTE_LIMIT_BYTES), policies[log])


def _read_at_most(path: Path, limit: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(limit + 1)
