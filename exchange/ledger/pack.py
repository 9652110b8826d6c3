"""Writes what an auditor takes home: plain files that need neither the hub nor its database.

<log>/checkpoint            the cosigned note; everything else of the log follows from its root. Of a log that was closed for ever it is
                            the last there was, and the first entry of <log>/2 says how many entries are left
<log>/tile/<L>/<N>          hash tiles (c2sp.org/tlog-tiles), the partial ones included
<log>/tile/entries/<N>      the leaves, 256 to a bundle
<log>/checkpoint.old        the newest cosigned note before the window the pack is of, if it is of one
<log>/consistency           `old <size>`, then the proof from that note to `checkpoint`, a hash a line
<log>/checkpoints/<size>    cosigned notes in between
<log>/open/<N>.jsonl        what commitments open to, of the leaves of bundle N that this auditor may see; a line each
both/pages/<N>.jsonl        which objects pages held, of those leaves of bundle N whose opening, if there is one, does not say it (opened.py)
receipts/<name>.tlog-proof  with <name>.leaf: receipts of selected leaves
agreements/<number>/…       what was in force: agreement.toml, approvals.json, overlays.json
schemas/<kind>.json         JSON Schemas of the entries
verify.py                   a verifier that needs only Python and `cryptography` (offline.py)
README
MANIFEST                    the SHA-256 of each file, and of itself; `sha256sum -c MANIFEST` reads it
"""

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from exchange.ledger.generations import stem
from exchange.ledger.merkle import HASH_BYTES, HashReader, consistency_proof, inclusion_proof, leaf_hash, root
from exchange.ledger.note import Checkpoint, split_note
from exchange.ledger.opened import Page, opening_line, openings_path, page_line, pages_path
from exchange.ledger.receipt import Receipt
from exchange.ledger.tiles import WIDTH, Tile, bundle, bundles_of, tile_reader, tiles_of
from exchange.store.answers import Opening

Progress = Callable[[str, int, int], None]
"""Called with a log, how many of its leaves are done, and its size."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a log was before the checkpoint that is copied: notes that a quorum cosigned."""

    before: bytes | None = None
    """The newest from before the window; None copies all openings, and proves nothing."""
    between: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What lies beside the logs."""

    receipts: Mapping[str, tuple[bytes, bytes]] = field(default_factory=dict)
    """By a name: (receipt, leaf), as somebody was given them."""
    prove: Sequence[tuple[str, int]] = ()
    """(log, index) of leaves to make receipts of, under the copied checkpoints."""
    papers: Mapping[str, bytes] = field(default_factory=dict)
    """Files under `agreements/` and `schemas/`."""


class CopySource(Protocol):
    """Where a copy comes from. What the auditor may not see, the source leaves out."""

    async def logs(self) -> Sequence[str]: ...

    async def note(self, log: str) -> bytes:
        """The cosigned checkpoint up to which the log is to be copied."""
        ...

    async def held(self, log: str) -> int | None:
        """Of a log that was closed for ever, how many entries are left; None of one that goes on, whose note says so."""
        ...

    async def past(self, log: str) -> Past: ...

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]: ...

    async def openings(self, log: str, start: int, end: int) -> list[Opening]: ...

    async def pages(self, log: str, start: int, end: int) -> list[Page]:
        """Of entries in `both`: which objects they speak of, where no opening says it."""
        ...


async def write_copy(
    directory: Path, source: CopySource, enclosed: Enclosed | None = None, on_progress: Progress | None = None
) -> None:
    """Write a copy into a new or empty directory, readable by its owner only: it may hold personal data.

    What memory it takes does not grow with the logs. Raises FileExistsError if something is there, NoteFault for a bad
    note, LookupError for a leaf that is to be proved and is not in the copy.
    """
    enclosed = enclosed or Enclosed()
    writer = await asyncio.to_thread(_Writer, directory)
    for log in await source.logs():
        await _write_log(writer, source, log, on_progress)
    for log, index in enclosed.prove:
        note = await source.note(log)
        size = _checkpoint(note).size
        if index >= size:
            raise LookupError(f"leaf {index} of {log} is not among the {size} that are copied")
        [leaf] = await source.leaves(log, index, index + 1)
        await asyncio.to_thread(writer.receipt, log, index, note, leaf)
    for name, (proof, leaf) in enclosed.receipts.items():
        await asyncio.to_thread(writer.file, f"receipts/{name}.tlog-proof", proof)
        await asyncio.to_thread(writer.file, f"receipts/{name}.leaf", leaf)
    for path, data in enclosed.papers.items():
        await asyncio.to_thread(writer.file, path, data)
    await asyncio.to_thread(writer.finish)


async def _write_log(writer: "_Writer", source: CopySource, log: str, on_progress: Progress | None) -> None:
    note, past = await source.note(log), await source.past(log)
    held = await source.held(log)
    size = _checkpoint(note).size if held is None else held
    since = _checkpoint(past.before).size if past.before is not None else 0
    await asyncio.to_thread(writer.file, f"{log}/checkpoint", note)
    full: list[bytes] = []
    for tile in bundles_of(size):
        start, end = tile.n * WIDTH, tile.n * WIDTH + tile.width
        leaves = await source.leaves(log, start, end)
        hashes = await asyncio.to_thread(writer.bundle, log, tile, leaves)
        if end > since:
            openings = await source.openings(log, max(start, since), end)
            await asyncio.to_thread(writer.lines, f"{log}/{openings_path(tile.n)}", map(opening_line, openings))
            pages = await source.pages(log, max(start, since), end)
            await asyncio.to_thread(writer.lines, f"{log}/{pages_path(tile.n)}", map(page_line, pages))
        if tile.width == WIDTH:
            full.append(root(cut_hashes(hashes)))
        if on_progress is not None:
            on_progress(log, end, size)
    for tile, data in upper_tiles(size, full):
        await asyncio.to_thread(writer.file, f"{log}/{tile.path()}", data)
    await asyncio.to_thread(writer.history, log, size, past)


def _checkpoint(note: bytes) -> Checkpoint:
    return Checkpoint.parse(split_note(note)[0])


class _Writer:
    """Puts files into the copy and remembers their digests for MANIFEST."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise FileExistsError(f"{directory} is not empty")
        directory.chmod(0o700)
        self._directory = directory
        self._digests: dict[str, str] = {}

    def file(self, path: str, data: bytes) -> None:
        target = self._directory / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        self._digests[path] = sha256(data).hexdigest()

    def lines(self, path: str, lines: Iterable[bytes]) -> None:
        """Write a file of lines, if there are any."""
        if data := b"".join(lines):
            self.file(path, data)

    def bundle(self, log: str, tile: Tile, leaves: list[bytes]) -> bytes:
        """Write one bundle and its hash tile; returns the tile."""
        if len(leaves) != tile.width:
            raise LookupError(f"log {log} has {len(leaves)} of the {tile.width} leaves of bundle {tile.n}")
        hashes = b"".join(leaf_hash(leaf) for leaf in leaves)
        self.file(f"{log}/{tile.path()}", bundle(leaves))
        self.file(f"{log}/{Tile(0, tile.n, tile.width).path()}", hashes)
        return hashes

    def history(self, log: str, size: int, past: Past) -> None:
        """The notes of the past, and the proof that the newest of before led to this one."""
        for note in past.between:
            self.file(f"{log}/checkpoints/{_checkpoint(note).size}", note)
        if past.before is None:
            return
        old = _checkpoint(past.before).size
        proof = consistency_proof(old, size, self._reader(log, size)) if old else []
        lines = [f"old {old}", *(b64encode(one).decode() for one in proof), ""]
        self.file(f"{log}/checkpoint.old", past.before)
        self.file(f"{log}/consistency", "\n".join(lines).encode())

    def receipt(self, log: str, index: int, note: bytes, leaf: bytes) -> None:
        """Prove a leaf under the copied checkpoint."""
        size = _checkpoint(note).size
        proof = inclusion_proof(index, size, self._reader(log, size))
        self.file(f"receipts/{stem(log)}-{index}.tlog-proof", Receipt(index, tuple(proof), note).encode())
        self.file(f"receipts/{stem(log)}-{index}.leaf", leaf)

    def _reader(self, log: str, size: int) -> HashReader:
        """The hashes as the tiles in the copy have them."""
        return tile_reader(size, lambda tile: (self._directory / log / tile.path()).read_bytes())

    def finish(self) -> None:
        self.file("README", _README.encode())
        self.file("verify.py", Path(__file__).with_name("offline.py").read_bytes())
        lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(self._digests.items()))
        self.file("MANIFEST", f"{lines}{SEAL}{sha256(lines.encode()).hexdigest()}\n".encode())


SEAL = "# sha256 "
"""Opens MANIFEST's last line, which holds the digest of the lines above it; to sha256sum it is a comment."""

_README = """\
A copy of the ledger of a Puente hub, for auditors. / Copia del registro de un centro Puente, para auditoría.

Verify it with `puente ledger verify`, or without Puente by the verifier enclosed, which needs Python 3.11 and the package
`cryptography`. Give it the policy files that YOU were handed by both countries, and the checkpoints you kept from your
last audit. Take no policy from whoever gave you this copy; and compare verify.py with the one you were given before
(`sha256sum verify.py`), or take it from the source code.
Verifíquela con `puente ledger verify`, o sin Puente con el verificador incluido, que necesita Python 3.11 y el paquete
`cryptography`. Indíquele los archivos de política que ambos países entregaron a USTED y los puntos de control que
conserva de su última auditoría. No acepte una política de quien le dio esta copia; y compare verify.py con el que ya
tenía (`sha256sum verify.py`), o tómelo del código fuente.

    python3 verify.py --policy MY-POLICIES --kept LAST-TIME .

Then keep <log>/checkpoint for the next audit. / Después conserve <log>/checkpoint para la próxima auditoría.

An entry of kind `release` says what was about to leave the hub: if the connection then broke, less was received.
Una entrada de tipo `release` indica lo que iba a salir del centro: si la conexión se cortó, se recibió menos.

The folders `open` may hold personal data: keep and delete this copy as the law asks of you.
Las carpetas `open` pueden contener datos personales: conserve y elimine esta copia conforme a la ley.

<log>/checkpoint       what both countries' witnesses signed / lo que firmaron los testigos de ambos países
<log>/checkpoint.old   the newest of before, with the proof `consistency` / el último anterior, con la prueba `consistency`
<log>/checkpoints/     the last cosigned one of each hour since / el último cofirmado de cada hora desde entonces
<log>/tile/entries/    the entries / los asientos
<log>/tile/0/ 1/ …     their hashes / sus hashes
<log>/open/            openings: / aperturas: c = base64(SHA-256("hub-commit-v1" 0x00 || salt || RFC 8785(payload)))
both/pages/            which objects other entries speak of / de qué objetos tratan los demás asientos
agreements/<number>/   what was in force, and who approved it / lo que estuvo en vigor, y quién lo aprobó
receipts/              proofs of single entries / pruebas de asientos sueltos
schemas/               JSON Schemas of the entries / esquemas JSON de los asientos

Formats / Formatos: c2sp.org/tlog-tiles, tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-proof; RFC 6962.
"""


def cut_hashes(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def upper_tiles(size: int, full: list[bytes]) -> list[tuple[Tile, bytes]]:
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
