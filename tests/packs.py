"""Packs of a whole hub, as auditors of both countries were handed them, with the policies that they have on their own disks."""

import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from certs.jcs import load
from exchange.cli.packing import LOGS_FOR, write_pack
from exchange.ledger.note import Checkpoint, split_note
from tests.world import World, make_world


@dataclass(frozen=True)
class Packs:
    """A hub's packs for `us`, `mx` and `both`, since a moment between two exchanges of objects. The hub is gone."""

    folder: Path

    @property
    def policy(self) -> Path:
        """Of all three logs."""
        return self.folder / "policy"

    @property
    def kept(self) -> Path:
        """What an auditor kept from before that moment."""
        return self.folder / "kept"

    def policy_for(self, whom: str) -> Path:
        """Of the logs that this auditor is given."""
        return self.folder / f"policy-{whom}"

    @property
    def later(self) -> Path:
        """The next `us` pack, of everything, taken when those three had been."""
        return self.folder / "later"

    def of(self, whom: str) -> Path:
        return self.folder / whom


async def make_packs(folder: Path) -> Packs:
    packs = Packs(folder)
    async with make_world(folder / "hub", witness_interval_seconds=0.1, checkpoint_interval_seconds=0.1) as world:
        await _exchange(world)
        await world.cosigned()
        since_us = world.clock.now_us()
        for log in ("both", "us", "mx"):
            note = await world.hub.services.publisher.newest_cosigned(log)
            assert note is not None
            (packs.kept / log).mkdir(parents=True)
            (packs.kept / log / "checkpoint").write_bytes(note)
        for _ in range(3):
            await _exchange(world)
            await world.cosigned()
        for whom, logs in LOGS_FOR.items():
            prove = [(log, size - 1) for log in logs if (size := await _size(world, log))]
            await write_pack(world.hub.services, packs.of(whom), whom, since_us, prove)
            packs.policy_for(whom).mkdir()
            for log in logs:
                shutil.copy(world.settings.witness_policy / log, packs.policy_for(whom) / log)
        shutil.copytree(world.settings.witness_policy, packs.policy)
        await world.cosigned()
        await write_pack(world.hub.services, packs.later, "us", None)
    shutil.rmtree(folder / "hub")
    return packs


async def _exchange(world: World) -> None:
    for slug, other in (("us-customs", "mx-aduanas"), ("mx-marina", "us-maritime")):
        await world.post(slug, world.signed(slug), world.signed(slug))
        await world.pull(other)
    await world.post("mx-marina", world.signed("mx-marina"), to="mx-domestic")


async def _size(world: World, log: str) -> int:
    note = await world.hub.services.publisher.newest_cosigned(log)
    assert note is not None
    return Checkpoint.parse(split_note(note)[0]).size


def entries(pack: Path, log: str) -> list[dict[str, object]]:
    """All entries of a log of a pack that is known to be whole."""
    found = []
    for file in sorted((pack / log / "tile" / "entries").rglob("*")):
        data = file.read_bytes() if file.is_file() else b""
        while data:
            end = 2 + int.from_bytes(data[:2], "big")
            found.append(load(data[2:end], max_bytes=70_000))
            data = data[end:]
    return found


def opened(pack: Path, log: str) -> list[int]:
    """The indexes of the entries whose private parts lie in the pack."""
    return [one["index"] for one in beside(pack, log, "open")]


def beside(pack: Path, log: str, folder: str) -> list[dict[str, Any]]:
    """The lines of `open` or `pages`."""
    lines = [line for file in (pack / log / folder).rglob("*.jsonl") for line in file.read_bytes().splitlines()]
    return [load(line, max_bytes=1_000_000) for line in lines]


def reseal(copy: Path) -> None:
    """What a forger does: MANIFEST is made to agree with the changed files."""
    paths = sorted(one.relative_to(copy).as_posix() for one in copy.rglob("*") if one.is_file())
    lines = "".join(f"{sha256((copy / one).read_bytes()).hexdigest()}  {one}\n" for one in paths if one != "MANIFEST")
    (copy / "MANIFEST").write_text(f"{lines}# sha256 {sha256(lines.encode()).hexdigest()}\n")
