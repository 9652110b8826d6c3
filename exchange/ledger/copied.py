"""The files of a copy of the logs, as a reader finds them: each is read once, and what MANIFEST says of it is held against it."""

import os
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from exchange.ledger.findings import Findings
from exchange.ledger.pack import SEAL
from exchange.ledger.tiles import WIDTH

FILE_LIMIT_BYTES = WIDTH * (2 + 0xFFFF)
"""The largest entry bundle there can be; no other file comes near. Anything larger is not read."""


class Files:
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

    def read(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> bytes | None:
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
            data = stream.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            self._findings.add("file-too-large", path)
            return None
        if path in self._digests and sha256(data).hexdigest() != self._digests[path]:
            self._findings.add("file-digest", path)
        return data

    def finish(self, unchecked: Sequence[str]) -> None:
        """Account for what nobody asked for. Files under the `unchecked` folders are only held against MANIFEST."""
        for path in ("README", "verify.py", *(one for one in self.under("schemas/") if SCHEMA.fullmatch(one))):
            self.read(path)
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


SCHEMA = re.compile(r"schemas/[a-z][a-z.]{0,60}\.json")
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def _walk(directory: Path) -> Iterable[Path]:
    for folder, folders, files in os.walk(directory):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in (*files, *links))
