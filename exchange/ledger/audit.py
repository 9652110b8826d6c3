"""The auditor's verifier: checks a copy of the logs (pack.py says what is in it) without asking anybody.

The policies come from the auditor's own disk, never from the copy. MANIFEST finds accidents and says where they are;
against forgery it proves nothing, and nothing relies on it: what counts is the checkpoint, which neither country can
make alone.
"""

import os
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from certs.jcs import JsonError, canonical, load
from exchange.ledger.entry import LEAF_LIMIT_BYTES, commitment
from exchange.ledger.findings import TEXTS, Finding, Findings
from exchange.ledger.merkle import EMPTY, Frontier, leaf_hash, root
from exchange.ledger.note import NOTE_LIMIT_BYTES, Checked, Checkpoint, NoteFault, Policy, split_note
from exchange.ledger.pack import OPENING_LIMIT_BYTES, SEAL, CopySource, cut_hashes, upper_tiles, write_copy
from exchange.ledger.receipt import RECEIPT_LIMIT_BYTES, Proven, Receipt, ReceiptFault
from exchange.ledger.tiles import HASH_BYTES, HEIGHT, WIDTH, Tile, bundles_of, unbundle
from exchange.model.instant import instant

FILE_LIMIT_BYTES = WIDTH * (2 + 0xFFFF)
"""The largest entry bundle there can be; no other file comes near. Anything larger is not read."""

__all__ = [
    "CopySource", "Finding", "LogReport", "Report", "log_of", "verify_copy", "verify_receipt_file", "write_copy",
]  # fmt: skip

Progress = Callable[[str, int, int], None]
"""Called with a log, the leaves checked so far, and its size."""


@dataclass(frozen=True, slots=True)
class LogReport:
    """What one log holds. A log whose checkpoint was not believed has size 0."""

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


# --- the files of a copy ---


class _Files:
    """The copy as found on disk. Each file is read once, and held against MANIFEST as it is."""

    def __init__(self, directory: Path, findings: Findings) -> None:
        self._directory = directory
        self._findings = findings
        self.paths = {path.relative_to(directory).as_posix() for path in _walk(directory)}
        self._read: set[str] = set()
        self._digests: dict[str, str] = {}
        manifest = self.read("MANIFEST")
        self._sealed = manifest is not None and self._take(manifest)
        if manifest is not None and not self._sealed:
            findings.add("manifest-damaged", "MANIFEST")

    def _take(self, manifest: bytes) -> bool:
        """Read MANIFEST; whether it is whole. What can be read of a damaged one is used all the same."""
        text, _, seal = manifest.rpartition(SEAL.encode())
        lines = text.decode("utf-8", "surrogateescape").split("\n")[:-1]
        matches = [match for line in lines if (match := _MANIFEST_LINE.fullmatch(line))]
        self._digests = {match[2]: match[1] for match in matches}
        return len(self._digests) == len(lines) and seal == f"{sha256(text).hexdigest()}\n".encode()

    def under(self, prefix: str) -> list[str]:
        """The files found under a folder."""
        return sorted(path for path in self.paths if path.startswith(prefix))

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or None with a finding. `path` is one of ours, never one that the copy made up."""
        self._read.add(path)
        if path not in self.paths:
            self._findings.add("file-missing", path)
            return None
        file = self._directory / path
        if file.is_symlink() or not file.is_file():
            self._findings.add("file-unexpected", path)
            return None
        with file.open("rb") as stream:
            data = stream.read(FILE_LIMIT_BYTES + 1)
        if len(data) > FILE_LIMIT_BYTES:
            self._findings.add("file-too-large", path)
            return None
        if path in self._digests and sha256(data).hexdigest() != self._digests[path]:
            self._findings.add("file-digest", path)
        return data

    def finish(self, unchecked: Sequence[str]) -> None:
        """Account for what nobody asked for. Files under the `unchecked` folders are only held against MANIFEST."""
        self.read("README")
        for path in sorted(self.paths - self._read):
            if path.startswith(tuple(unchecked)):
                self.read(path)
            else:
                self._findings.add("file-unexpected", path)
        if self._sealed:
            for path in sorted((self.paths & self._read) - self._digests.keys() - {"MANIFEST"}):
                self._findings.add("file-unexpected", path)
            for path in sorted(self._digests.keys() - self.paths - self._read):
                self._findings.add("file-missing", path)


_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def _walk(directory: Path) -> Iterable[Path]:
    for folder, folders, files in os.walk(directory):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in (*files, *links))


# --- what leaf order alone shows ---

_FIELDS = ("log", "t", "time", "req", "actor", "on", "out", "pol")
_ADOPTIONS = frozenset({"policy.activate", "policy.tighten", "policy.lift", "policy.lapse", "policy.expire"})
"""Each gives what is judged by a new number."""
_POL = re.compile(r"(?:.+@([0-9]{1,15}))?", re.DOTALL)


class _Events:
    """Reads a log's entries in order and checks what they say (ledger design, 9): the facts behind the hashes."""

    def __init__(self, log: str, findings: Findings, committed: Iterable[int]) -> None:
        self._log = log
        self._findings = findings
        self.counts: Counter[str] = Counter()
        self.first_time = self.last_time = ""
        self._seq = self._pol = self._activated = 0
        self.commitments: dict[int, str | None] = dict.fromkeys(committed)
        """For the leaves that have an opening: what they committed to."""

    def read(self, file: str, index: int, data: bytes) -> None:
        leaf = self._parse(file, index, data)
        if leaf is None:
            return
        self.counts[leaf["t"]] += 1
        if index in self.commitments:
            self.commitments[index] = leaf.get("c")
        self._order(file, index, leaf)
        self._agreement(file, index, leaf)

    def _parse(self, file: str, index: int, data: bytes) -> dict[str, Any] | None:
        try:
            leaf = load(data, max_bytes=LEAF_LIMIT_BYTES)
        except JsonError as error:
            self._findings.add("leaf-malformed", file, index, error.code)
            return None
        if not isinstance(leaf, dict):
            self._findings.add("leaf-malformed", file, index, "object")
            return None
        if canonical(leaf) != data:
            self._findings.add("leaf-not-canonical", file, index)
        wrong = self._wrong_field(leaf)
        if wrong is not None:
            self._findings.add("leaf-fields", file, index, wrong)
            return None
        return leaf

    def _wrong_field(self, leaf: dict[str, Any]) -> str | None:
        for name in _FIELDS:
            if not isinstance(leaf.get(name), str):
                return name
        if leaf.get("v") != 1:
            return "v"
        if leaf["log"] != self._log:
            return "log"
        if not isinstance(leaf.get("pub"), dict):
            return "pub"
        if _POL.fullmatch(leaf["pol"]) is None:
            return "pol"
        try:
            instant(leaf["time"])
        except ValueError:
            return "time"
        return None if len(leaf["time"]) == 27 else "time"

    def _order(self, file: str, index: int, leaf: dict[str, Any]) -> None:
        # All times have six fraction digits, so that texts compare as times do.
        time = leaf["time"]
        if time < self.last_time:
            self._findings.add("time-order", file, index)
        self.first_time = self.first_time or time
        self.last_time = max(self.last_time, time)
        # In `both` the hub-wide number would tell one country how busy the other is.
        seq = leaf.get("seq")
        if self._log == "both":
            wrong = seq is not None
        else:
            wrong = not isinstance(seq, int) or seq <= self._seq
            self._seq = self._seq if wrong else leaf["seq"]
        if wrong:
            self._findings.add("seq-order", file, index)

    def _agreement(self, file: str, index: int, leaf: dict[str, Any]) -> None:
        match = _POL.fullmatch(leaf["pol"])
        number = int(match[1]) if match and match[1] else 0
        if leaf["t"] in _ADOPTIONS:
            if number <= self._activated:
                self._findings.add("policy-order", file, index)
            self._activated = max(self._activated, number)
        elif leaf["t"] == "release" and number < self._activated:
            self._findings.add("release-superseded", file, index)
        elif leaf["t"] == "release" and number > self._activated and self._log == "both":
            self._findings.add("release-early", file, index)  # a country's own log has no adoptions to compare with
        elif number < self._pol:
            self._findings.add("policy-order", file, index)
        self._pol = max(self._pol, number)


# --- one log ---


class _Log:
    """Checks one log of a copy: note and quorum, entries, tiles, the kept checkpoint, openings."""

    def __init__(self, name: str, files: _Files, findings: Findings) -> None:
        self.name = name
        self._files = files
        self._findings = findings
        self._openings = {}
        for path in files.under(f"{name}/open/"):
            match = _OPENING.fullmatch(path.removeprefix(f"{name}/open/"))
            if match is not None:
                self._openings[int(match[1])] = path
        self._events = _Events(name, findings, self._openings)
        self.checked: Checked | None = None
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
        self._indexes: set[int] = set()
        self._known = False
        """Whether the history under the signed root could be made out."""

    def check(
        self, policy: Policy, kept: bytes | None, receipts: Iterable[tuple[int, int]], progress: Progress | None
    ) -> LogReport:
        """`receipts` are the (leaf index, tree size) that receipts in the copy speak of."""
        path = f"{self.name}/checkpoint"
        # 1. The policy is the auditor's own; the note is signed by the log and cosigned by a quorum.
        note = self._files.read(path)
        try:
            self.checked = None if note is None else policy.check(note)
        except NoteFault as fault:
            self._findings.quote(fault.code, path, fault.en, fault.es)
        if self.checked is None:
            return LogReport(self.name)
        checkpoint = self.checked.checkpoint
        # 2. It is no older than what the auditor has seen.
        before = self._kept(kept, checkpoint)
        # 3. Every entry is hashed again, and read.
        for index, size in receipts:
            self._indexes.add(index)
            self._sizes.add(size)
        self._sizes.add(before.size if before else 0)
        self._read_entries(checkpoint.size, progress)
        # 4. Entries and tiles lead to the signed root, and the log contains the one the auditor saw.
        self._judge(checkpoint)
        if before is not None and self._known and self._root_at(before.size) != before.root:
            self._findings.add("kept-fork", path, detail=before.size)
        # 5. What was opened is what was committed to.
        for index, opening in self._openings.items():
            self._open(index, opening)
        events = self._events
        return LogReport(
            self.name, checkpoint.origin, checkpoint.size, checkpoint.root, self.checked.cosigned,
            events.first_time, events.last_time, dict(sorted(events.counts.items())),
        )  # fmt: skip

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
        for index, entry in enumerate(entries, tile.n * WIDTH):
            self._events.read(path, index, entry)
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

    def _root_at(self, size: int) -> bytes:
        """The root at the copy's own size, or at one of the sizes that were asked for."""
        return _grown(self._full[: size // WIDTH], self._partial.get(size, self._tail) if size % WIDTH else []).root()

    def holds(self, receipt: Receipt, proven: Proven) -> bool:
        """Whether a verified receipt is of the same history as this copy, as far as the copy can tell."""
        if self.checked is None or not self._known:
            return True
        size, other = self.checked.checkpoint.size, proven.checkpoint
        if other.size <= size and self._root_at(other.size) != other.root:
            return False
        return receipt.index >= size or self._hashes[receipt.index] == proven.leaf_hash

    def _judge(self, checkpoint: Checkpoint) -> None:
        """Which of entries and tiles lead to the signed root? Where they disagree, the others were changed."""
        entries_right = self._root_at(checkpoint.size) == checkpoint.root
        if not entries_right:
            for n, (_, by_tile) in self._doubtful.items():
                self._place(n, by_tile)
        self._known = self._root_at(checkpoint.size) == checkpoint.root
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

    def _open(self, index: int, path: str) -> None:
        data = self._files.read(path)
        if data is None:
            return
        try:
            value = load(data, max_bytes=OPENING_LIMIT_BYTES)
            if set(value) != {"payload", "salt"} or canonical(value) + b"\n" != data:
                raise ValueError("not an opening")
            found = b64encode(commitment(bytes.fromhex(value["salt"]), canonical(value["payload"]))).decode()
        except (JsonError, ValueError, TypeError):
            self._findings.add("opening-malformed", path, index)
            return
        if self._events.commitments.get(index) != found:
            self._findings.add("opening-wrong", path, index)


_OPENING = re.compile(r"(0|[1-9][0-9]{0,15})\.json")


def _grown(full: Sequence[bytes], tail: Sequence[bytes]) -> Frontier:
    # The frontier over complete subtrees of 256 leaves has the same hashes as the one over their leaves.
    return Frontier(len(full) << HEIGHT, EMPTY.extend(full).hashes).extend(tail)


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
    files = _Files(directory, findings)
    receipts = _Receipts(files, findings, policies)
    logs = {name: _Log(name, files, findings) for name in policies}
    reports = [
        log.check(policies[name], (kept or {}).get(name), receipts.spoken_of(name), on_progress)
        for name, log in logs.items()
    ]
    proved = receipts.check(logs)
    folders = {path.partition("/")[0] for path in files.paths if "/" in path} - {"receipts"}
    strangers = sorted(name for name in folders - policies.keys() if f"{name}/checkpoint" in files.paths)
    for name in strangers:
        findings.add("policy-missing", f"{name}/checkpoint")
    unbelieved = [name for name, log in logs.items() if log.checked is None]
    files.finish([f"{name}/" for name in (*strangers, *unbelieved)])
    return Report(tuple(findings.all), tuple(reports), proved)


class _Receipts:
    """The receipts in a copy: verified by themselves, then held against the copied logs."""

    def __init__(self, files: _Files, findings: Findings, policies: Mapping[str, Policy]) -> None:
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
