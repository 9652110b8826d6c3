"""Hub processes of a test: the kennel that starts and ends them, and the settings they read."""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from exchange.cli.setup import Home
from exchange.settings import Settings
from tests.world import Founded

ROOT = Path(__file__).resolve().parents[2]

_NAMES = (
    "host", "port", "mtls_port", "public_url", "checkpoint_interval_seconds", "witness_interval_seconds", "witness_silence_seconds", "database_url",
)  # fmt: skip
_PATHS = ("database", "anchors", "keys", "tls_certificate", "tls_key", "witness_policy", "database_password_file")


@dataclass
class Kennel:
    """The process that forks hubs and kills them."""

    process: asyncio.subprocess.Process

    async def order(self, *words: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        return int(await self.process.stdout.readline())


@contextlib.asynccontextmanager
async def kennel(*prefix: str) -> AsyncIterator[Kennel]:
    """`prefix` comes before its command: what puts it on another network."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *prefix, sys.executable, "-m", "tests.faults.kennel", stdin=pipe, stdout=pipe, cwd=ROOT
    )
    assert process.stdin is not None
    try:
        yield Kennel(process)
    finally:
        process.stdin.close()  # what still runs ends with it
        status = await process.wait()
    assert status == 0


def write_settings(home: Home, settings: Settings) -> None:
    """Settings that `found` chose, where `puente serve` reads them."""
    chosen = settings.model_dump(mode="json")
    lines = [f"{name} = {json.dumps(chosen[name])}" for name in (*_NAMES, *_PATHS) if chosen[name] is not None]
    witnesses = "\n".join(f"{name} = {json.dumps(url)}" for name, url in settings.witnesses.items())
    home.settings_file.parent.mkdir(parents=True, exist_ok=True)
    home.settings_file.write_text("\n".join([*lines, "[witnesses]", witnesses, ""]))


def another_machine(founded: Founded, root: Path) -> tuple[Home, Settings]:
    """What a new machine begins with: a copy of the first one's `hub/` that was never served from. It has the same keys, and
    anchors of its own."""
    shutil.copytree(founded.home.settings_file.parent, root / "hub")
    home = Home(root)
    own = {name: getattr(home.settings(), name) for name in _PATHS if name != "database_password_file"}
    return home, founded.settings.model_copy(update=own)
