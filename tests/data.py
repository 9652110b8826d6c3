"""Where the real data lies that nobody of this project wrote, and how a test says that it is absent."""

import lzma
from pathlib import Path

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
