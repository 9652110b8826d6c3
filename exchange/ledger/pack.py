"""Writes the copy of the logs that an auditor takes home: plain files that need neither the hub nor its database.

<log>/checkpoint            the cosigned note; everything else of the log follows from its root
<log>/tile/<L>/<N>          hash tiles (c2sp.org/tlog-tiles), the partial ones included
<log>/tile/entries/<N>      the leaves, 256 to a bundle
<log>/open/<index>.json     what a leaf's commitment opens to, for the leaves this auditor may see
receipts/<name>.tlog-proof  with <name>.leaf: receipts that somebody was given
README
MANIFEST                    the SHA-256 of each file, and of itself; `sha256sum -c MANIFEST` reads it
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from certs.jcs import canonical, load
from exchange.ledger.merkle import leaf_hash, root
from exchange.ledger.note import Checkpoint, split_note
from exchange.ledger.tiles import HASH_BYTES, WIDTH, Tile, bundle, bundles_of, tiles_of
from exchange.store.contract import Opening

OPENING_LIMIT_BYTES = 4_000_000
"""The largest lists what an envelope placed: 5,000 objects with the longest ids take 2 MB."""


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
    full = [root(cut_hashes(data)) for data in hashes if len(data) == WIDTH * HASH_BYTES]
    for tile, data in upper_tiles(size, full):
        await asyncio.to_thread(writer.file, f"{log}/{tile.path()}", data)


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
        self.file("MANIFEST", f"{lines}{SEAL}{sha256(lines.encode()).hexdigest()}\n".encode())


SEAL = "# sha256 "
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
