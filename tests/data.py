"""Where the real data lies that nobody of this project wrote, and how a test says that it is absent."""

import json
import lzma
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
VENDORED = Path(__file__).resolve().parent / "vectors"


def shared(relative: str) -> Path:
    """The path of a real data file, or a loud skip when this machine has no copy."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"real data {relative} is not beside this checkout")
    return path


def read_shared(relative: str) -> bytes:
    """The bytes of a real data file, unpacked when it is stored as .xz."""
    path = shared(relative)
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def documents(*signs: bytes) -> Iterator[tuple[str, Any]]:
    """(path, value) of every JSON document of the real data whose bytes have all `signs`; one a line where it is so."""
    shared("INDEX.md")
    for path in sorted(SHARED.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(SHARED))
            data = _read(path)
            if all(sign in data for sign in signs):
                yield from ((name, value) for value in _values(data))


@cache
def _read(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _values(data: bytes) -> Iterator[Any]:
    try:
        yield json.loads(data)
    except ValueError:
        # Some files are broken on purpose; some have a document on each line.
        for line in data.splitlines() if data.startswith(b"{") else ():
            try:
                yield json.loads(line)
            except ValueError:
                return
