"""The copy of the logs that an auditor takes home, and the verifier that checks it without asking anybody.

    <log>/checkpoint            the cosigned note; everything else of the log follows from its root
    <log>/tile/<L>/<N>          hash tiles (c2sp.org/tlog-tiles), the partial ones included
    <log>/tile/entries/<N>      the leaves, 256 to a bundle
    <log>/open/<index>.json     what a leaf's commitment opens to, for the leaves this auditor may see
    receipts/<name>.tlog-proof  with <name>.leaf: receipts that somebody was given
    README
    MANIFEST                    the SHA-256 of each file, and of itself; `sha256sum -c MANIFEST` reads it

The policies come from the auditor's own disk, never from the copy. MANIFEST finds accidents and says where they are; against
forgery it proves nothing, and nothing relies on it: what counts is the checkpoint, which neither country can make alone.
"""

import asyncio
import os
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from certs.jcs import JsonError, canonical, load
from exchange.errors import Text
from exchange.ledger.entry import LEAF_LIMIT_BYTES, commitment
from exchange.ledger.merkle import EMPTY, Frontier, leaf_hash, root
from exchange.ledger.note import NOTE_LIMIT_BYTES, Checked, Checkpoint, NoteFault, Policy, split_note
from exchange.ledger.receipt import RECEIPT_LIMIT_BYTES, Proven, Receipt, ReceiptFault
from exchange.ledger.tiles import HASH_BYTES, HEIGHT, WIDTH, Tile, bundle, bundles_of, tiles_of, unbundle
from exchange.model.instant import instant
from exchange.store.contract import Opening

FILE_LIMIT_BYTES = WIDTH * (2 + 0xFFFF)
"""The largest entry bundle there can be; no other file comes near. Anything larger is not read."""

OPENING_LIMIT_BYTES = 1_000_000
FINDINGS_PER_FILE = 100
"""One bad file should not bury the others."""

Progress = Callable[[str, int, int], None]
"""Called with a log, the leaves checked so far, and its size."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: in which file, at which leaf if at one, and why."""

    file: str
    entry: int | None
    code: str
    en: str
    es: str


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


_TEXTS = {
    "file-missing": Text("The file is missing.", "Falta el archivo."),
    "file-unexpected": Text("The file does not belong to the copy.", "El archivo no pertenece a la copia."),
    "file-too-large": Text("The file is too large to be what it should be.", "El archivo es demasiado grande para ser lo que debería."),
    "file-digest": Text("The file is not the one MANIFEST speaks of.", "El archivo no es el que menciona MANIFEST."),
    "manifest-damaged": Text("MANIFEST itself is damaged.", "El propio MANIFEST está dañado."),
    "policy-missing": Text("You gave no policy for this log: it was not checked.", "Usted no indicó una política para este registro: no se verificó."),
    "kept-malformed": Text("Your kept checkpoint of this log cannot be read.", "No se puede leer el punto de control que usted conserva de este registro."),
    "kept-newer": Text("You have seen {detail} leaves of this log before; this copy has fewer.", "Usted ya había visto {detail} hojas de este registro; esta copia tiene menos."),
    "kept-fork": Text("This log does not contain the one you saw before, at {detail} leaves. Keep both checkpoints: they are signed evidence.", "Este registro no contiene el que usted vio antes, con {detail} hojas. Conserve ambos puntos de control: son evidencia firmada."),
    "root-mismatch": Text("Neither the entries nor the tiles hash to the root that was signed.", "Ni las entradas ni las losetas producen la raíz firmada."),
    "bundle-malformed": Text("The bundle cannot be cut into its entries.", "El paquete no puede separarse en sus entradas."),
    "entry-changed": Text("The entry is not the one that was logged.", "La entrada no es la que se registró."),
    "entry-or-tile": Text("Entry and tile do not agree, and neither agrees with the checkpoint.", "La entrada y la loseta no coinciden entre sí ni con el punto de control."),
    "tile-changed": Text("The tile is not the one of this log.", "La loseta no es la de este registro."),
    "opening-malformed": Text("The opening cannot be read.", "No se puede leer la apertura."),
    "opening-wrong": Text("The opening is not what the leaf committed to.", "La apertura no es lo que la hoja comprometió."),
    "receipt-pair": Text("A receipt needs its .tlog-proof and its .leaf file.", "Un recibo requiere su archivo .tlog-proof y su archivo .leaf."),
    "receipt-log": Text("The receipt is of a log for which you gave no policy.", "El recibo es de un registro para el que usted no indicó una política."),
    "receipt-fork": Text("The receipt is of another history than this copy. Keep both: they are signed evidence.", "El recibo es de una historia distinta de la de esta copia. Conserve ambos: son evidencia firmada."),
    "leaf-malformed": Text("The entry is not the JSON of an event: {detail}", "La entrada no es el JSON de un evento: {detail}"),
    "leaf-not-canonical": Text("The entry is not in canonical form.", "La entrada no está en forma canónica."),
    "leaf-fields": Text("The entry's field {detail} is missing or wrong.", "El campo {detail} de la entrada falta o es incorrecto."),
    "time-order": Text("The entry is dated before the one ahead of it.", "La entrada tiene fecha anterior a la precedente."),
    "seq-order": Text("The hub-wide number does not rise, or stands where it must not.", "El número global no crece, o aparece donde no debe."),
    "policy-order": Text("The entry names an older agreement than an entry ahead of it.", "La entrada nombra un acuerdo anterior al de una entrada precedente."),
    "release-superseded": Text("A release under an agreement that had been superseded.", "Una entrega conforme a un acuerdo ya sustituido."),
}  # fmt: skip


class _Findings:
    """Gathers what is wrong, at most FINDINGS_PER_FILE of one file."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, code: str, file: str, entry: int | None = None, detail: object = "") -> None:
        text = _TEXTS[code]
        self.quote(code, file, text.en.format(detail=detail), text.es.format(detail=detail), entry)

    def quote(self, code: str, file: str, en: str, es: str, entry: int | None = None) -> None:
        self._counts[file] += 1
        if self._counts[file] <= FINDINGS_PER_FILE:
            name = file.encode("utf-8", "backslashreplace").decode()
            self.all.append(Finding(name, entry, code, en, es))


# --- writing a copy ---


class CopySource(Protocol):
    """Where a copy comes from. What the auditor may not see, the source leaves out."""

    async def logs(self) -> Sequence[str]: ...

    async def note(self, log: str) -> bytes:
        """The cosigned checkpoint up to which the log is to be copied."""
        ...

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]: ...

    async def openings(self, log: str, start: int, end: int) -> list[Opening]: ...


async def write_copy(
    directory: Path, source: CopySource, receipts: Mapping[str, tuple[bytes, bytes]] | None = None
) -> None:
    """Write a copy into a new or empty directory, readable by its owner only: it may hold personal data.

    `receipts` maps a name to (receipt, leaf). Raises FileExistsError if something is there, NoteFault for a bad note.
    """
    writer = await asyncio.to_thread(_Writer, directory)
    for log in await source.logs():
        await _write_log(writer, source, log)
    for name, (proof, leaf) in (receipts or {}).items():
        await asyncio.to_thread(writer.file, f"receipts/{name}.tlog-proof", proof)
        await asyncio.to_thread(writer.file, f"receipts/{name}.leaf", leaf)
    await asyncio.to_thread(writer.finish)


async def _write_log(writer: "_Writer", source: CopySource, log: str) -> None:
    note = await source.note(log)
    size = Checkpoint.parse(split_note(note)[0]).size
    await asyncio.to_thread(writer.file, f"{log}/checkpoint", note)
    hashes: list[bytes] = []
    for tile in bundles_of(size):
        start = tile.n * WIDTH
        leaves = await source.leaves(log, start, start + tile.width)
        openings = await source.openings(log, start, start + tile.width)
        hashes.append(await asyncio.to_thread(writer.bundle, log, tile, leaves, openings))
    full = [root(_cut(data)) for data in hashes if len(data) == WIDTH * HASH_BYTES]
    for tile, data in _upper_tiles(size, full):
        await asyncio.to_thread(writer.file, f"{log}/{tile.path()}", data)


class _Writer:
    """Puts files into the copy and remembers their digests for MANIFEST."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise FileExistsError(f"{directory} is not empty")
        self._directory = directory
        self._digests: dict[str, str] = {}

    def file(self, path: str, data: bytes) -> None:
        target = self._directory / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        self._digests[path] = sha256(data).hexdigest()

    def bundle(self, log: str, tile: Tile, leaves: list[bytes], openings: Iterable[Opening]) -> bytes:
        """Write one bundle, its hash tile and its openings; returns the tile."""
        if len(leaves) != tile.width:
            raise LookupError(f"log {log} has {len(leaves)} of the {tile.width} leaves of bundle {tile.n}")
        hashes = b"".join(leaf_hash(leaf) for leaf in leaves)
        self.file(f"{log}/{tile.path()}", bundle(leaves))
        self.file(f"{log}/{Tile(0, tile.n, tile.width).path()}", hashes)
        for opening in openings:
            payload = load(opening.payload, max_bytes=OPENING_LIMIT_BYTES)
            text = canonical({"payload": payload, "salt": opening.salt.hex()}) + b"\n"
            self.file(f"{log}/open/{opening.index}.json", text)
        return hashes

    def finish(self) -> None:
        self.file("README", _README.encode())
        lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(self._digests.items()))
        self.file("MANIFEST", f"{lines}{_SEAL}{sha256(lines.encode()).hexdigest()}\n".encode())


_SEAL = "# sha256 "
"""Opens MANIFEST's last line, which holds the digest of the lines above it; to sha256sum it is a comment."""

_README = """\
A copy of the ledger of a Puente hub, for auditors. / Copia del registro de un nodo Puente, para auditoría.

Verify it with `puente ledger verify`, giving the policy files that YOU were handed by both countries, and the
checkpoints you kept from your last audit. Do not take a policy from whoever gave you this copy.
Verifíquela con `puente ledger verify`, indicando los archivos de política que ambos países entregaron a USTED y los
puntos de control que conserva de su última auditoría. No acepte una política de quien le dio esta copia.

An entry of kind `release` says what was about to leave the hub: if the connection then broke, less was received.
Una entrada de tipo `release` indica lo que iba a salir del nodo: si la conexión se cortó, se recibió menos.

The folders `open` may hold personal data: keep and delete this copy as the law asks of you.
Las carpetas `open` pueden contener datos personales: conserve y elimine esta copia conforme a la ley.

Formats / Formatos: c2sp.org/tlog-tiles, tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-proof; RFC 6962.
Openings / Aperturas: c = base64(SHA-256("hub-commit-v1" 0x00 || salt || RFC 8785(payload))).
"""


def _cut(data: bytes) -> list[bytes]:
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def _upper_tiles(size: int, full: list[bytes]) -> list[tuple[Tile, bytes]]:
    """The tiles from level 1 up with their bytes, given the roots of the full tiles of level 0."""
    tiles, level, hashes = [], 0, full
    for tile in tiles_of(size):
        if tile.level is None or tile.level == 0:
            continue
        if tile.level != level + 1:
            hashes = [root(hashes[i : i + WIDTH]) for i in range(0, len(hashes) // WIDTH * WIDTH, WIDTH)]
            level = tile.level - 1
        tiles.append((tile, b"".join(hashes[tile.n * WIDTH : tile.n * WIDTH + tile.width])))
    return tiles


# --- the files of a copy ---


class _Files:
    """The copy as found on disk. Each file is read once, and held against MANIFEST as it is."""

    def __init__(self, directory: Path, findings: _Findings) -> None:
        self._directory = directory
        self._findings = findings
        self.paths = {path.relative_to(directory).as_posix() for path in _walk(directory)}
        self._read: set[str] = set()
        self._digests: dict[str, str] = {}
        manifest = self.read("MANIFEST")
        if manifest is not None and not self._take(manifest):
            findings.add("manifest-damaged", "MANIFEST")

    def _take(self, manifest: bytes) -> bool:
        text, found, seal = manifest.rpartition(_SEAL.encode())
        for line in text.decode("utf-8", "surrogateescape").split("\n")[:-1]:
            match = _MANIFEST_LINE.fullmatch(line)
            if match is None or match[2] in self._digests:
                return False
            self._digests[match[2]] = match[1]
        return bool(found) and seal == f"{sha256(text).hexdigest()}\n".encode()

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
        if len(data) > FILE_LIMIT_BYTES and path != "MANIFEST":
            self._findings.add("file-too-large", path)
            return None
        if path in self._digests and sha256(data).hexdigest() != self._digests[path]:
            self._findings.add("file-digest", path)
        return data

    def finish(self, unchecked: Sequence[str]) -> None:
        """Account for what nobody asked for. Files under the `unchecked` folders are only held against MANIFEST."""
        self.read("README")
        for path in sorted(self.paths - self._read):
            self.read(path)
            if not path.startswith(tuple(unchecked)):
                self._findings.add("file-unexpected", path)
        for path in sorted(self.paths - self._digests.keys() - {"MANIFEST"}):
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
_POL = re.compile(r"(?:.+@([0-9]{1,15}))?", re.DOTALL)


class _Events:
    """Reads a log's entries in order and checks what they say (ledger design, 9): the facts behind the hashes."""

    def __init__(self, log: str, findings: _Findings, committed: Iterable[int]) -> None:
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
        rises = isinstance(seq, int) and seq > self._seq
        if (seq is not None) if self._log == "both" else not rises:
            self._findings.add("seq-order", file, index)
        elif rises:
            self._seq = seq

    def _agreement(self, file: str, index: int, leaf: dict[str, Any]) -> None:
        match = _POL.fullmatch(leaf["pol"])
        number = int(match[1]) if match and match[1] else 0
        if leaf["t"] == "policy.activate":
            if number <= self._activated:
                self._findings.add("policy-order", file, index)
            self._activated = max(self._activated, number)
        elif leaf["t"] == "release" and number < self._activated:
            self._findings.add("release-superseded", file, index)
        elif number < self._pol:
            self._findings.add("policy-order", file, index)
        self._pol = max(self._pol, number)


# --- one log ---


class _Log:
    """Checks one log of a copy: note and quorum, entries, tiles, the kept checkpoint, openings."""

    def __init__(self, name: str, files: _Files, findings: _Findings) -> None:
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
        asked = list(receipts)
        self._read_entries(checkpoint.size, {size for _, size in asked} | {before.size if before else 0}, progress,
                           {index for index, _ in asked})  # fmt: skip
        # 4. Entries and tiles lead to the signed root, and the log contains the one the auditor saw.
        self._judge(checkpoint)
        if before is not None and self.root_at(before.size) != before.root:
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

    def _read_entries(self, size: int, sizes: set[int], progress: Progress | None, indexes: set[int]) -> None:
        for tile in bundles_of(size):
            start, end = tile.n * WIDTH, tile.n * WIDTH + tile.width
            hashes = self._read_bundle(tile)
            if len(hashes) == WIDTH:
                self._full.append(root(hashes))
            else:
                self._tail = hashes
            self._partial.update({at: hashes[: at - start] for at in sizes if start < at <= end and at % WIDTH})
            self._hashes.update({at: hashes[at - start] for at in indexes if start <= at < end})
            if progress is not None:
                progress(self.name, end, size)

    def _read_bundle(self, tile: Tile) -> list[bytes]:
        """The leaf hashes of one bundle: by its entries, else by its tile."""
        path, beside = f"{self.name}/{tile.path()}", f"{self.name}/{Tile(0, tile.n, tile.width).path()}"
        data, stored = self._files.read(path), self._files.read(beside)
        by_tile = _cut(stored) if stored is not None and len(stored) == tile.width * HASH_BYTES else None
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

    def root_at(self, size: int) -> bytes:
        """The root at the copy's own size, or at one of the sizes that were asked for."""
        count = size // WIDTH
        tail = self._partial.get(size, self._tail) if size % WIDTH else []
        return _grown(self._full[:count], tail).root()

    def holds(self, receipt: Receipt, proven: Proven) -> bool:
        """Whether a verified receipt is of the same history as this copy."""
        if self.checked is None:
            return True
        size, other = self.checked.checkpoint.size, proven.checkpoint
        if other.size <= size and self.root_at(other.size) != other.root:
            return False
        return receipt.index >= size or self._hashes[receipt.index] == proven.leaf_hash

    def _judge(self, checkpoint: Checkpoint) -> None:
        entries_right = self.root_at(checkpoint.size) == checkpoint.root
        tiles_right = not entries_right and self._by_tiles(checkpoint.size) == checkpoint.root
        if not entries_right and not tiles_right:
            self._findings.add("root-mismatch", f"{self.name}/checkpoint")
        for n, (by_entries, by_tile) in self._doubtful.items():
            tile = Tile(0, n, len(by_entries))
            beside, path = f"{self.name}/{tile.path()}", f"{self.name}/{Tile(None, n, tile.width).path()}"
            for offset, pair in enumerate(zip(by_entries, by_tile, strict=True)):
                if pair[0] == pair[1]:
                    continue
                index = n * WIDTH + offset
                if entries_right:
                    self._findings.add("tile-changed", beside, index)
                elif tiles_right:
                    self._findings.add("entry-changed", path, index)
                else:
                    self._findings.add("entry-or-tile", path, index)
                    self._findings.add("entry-or-tile", beside, index)
        for tile, expected in _upper_tiles(checkpoint.size, self._full):
            data = self._files.read(f"{self.name}/{tile.path()}")
            if data is not None and data != expected:
                self._findings.add("tile-changed", f"{self.name}/{tile.path()}")

    def _by_tiles(self, size: int) -> bytes:
        """The root that the tiles of level 0 lead to; replaces what the entries led to, if it is the signed one."""
        full, tail = list(self._full), self._tail
        for n, (_, by_tile) in self._doubtful.items():
            if len(by_tile) == WIDTH:
                full[n] = root(by_tile)
            else:
                tail = by_tile
        return _grown(full, tail if size % WIDTH else []).root()

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

    Every log that has a policy must be in the copy. Nothing in the copy is believed before it is checked, and nothing is
    raised for what it holds: everything wrong is a finding.
    """
    findings = _Findings()
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

    def __init__(self, files: _Files, findings: _Findings, policies: Mapping[str, Policy]) -> None:
        self._findings = findings
        self._policies = policies
        self._proven: list[tuple[str, str, Receipt, Proven]] = []
        names = {path.removesuffix(".tlog-proof").removesuffix(".leaf") for path in files.under("receipts/")}
        for name in sorted(names):
            pair = (f"{name}.tlog-proof", f"{name}.leaf")
            if not files.paths.issuperset(pair):
                findings.add("receipt-pair", next(path for path in files.under(name) if path.startswith(name)))
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
        raise ReceiptFault("receipt-log", _TEXTS["receipt-log"].en, _TEXTS["receipt-log"].es)
    return receipt.verify(_read_at_most(leaf, NOTE_LIMIT_BYTES), policies[log])


def _read_at_most(path: Path, limit: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(limit + 1)
