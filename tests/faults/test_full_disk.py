"""The disk of a PostgreSQL is full: each act is durable or refused whole, nothing halts, and with room again all goes on.

A disk of so many megabytes is a tmpfs, which root may mount; the write-ahead log lies elsewhere, as a server without room for
that ends by itself.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from exchange.clock import FixedClock
from exchange.store.acts import Done
from tests.contract.test_store import act, made, new
from tests.faults.logs import Logs, new_pens
from tests.faults.test_statements import sound
from tests.netns import may_make_them
from tests.places import open_at
from tests.postgres import Databases, NoPostgres, cluster, programs

SMALL = "24m"


@dataclass(frozen=True)
class Disk:
    path: Path

    def grow(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=256m", self.path], check=True)


@pytest.fixture
def disk() -> Iterator[Disk]:
    try:
        programs()
    except NoPostgres as reason:
        pytest.skip(str(reason))
    path = Path(tempfile.mkdtemp(prefix="disk"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=777", "tmpfs", path], capture_output=True
    )
    try:
        if mounted.returncode:
            if os.environ.get("CI") and may_make_them():
                pytest.fail("a tmpfs cannot be mounted, though this machine has the rights to")
            pytest.skip("A FULL DISK OF POSTGRESQL IS NOT TESTED: it takes the right to mount a tmpfs")
        shutil.chown(path, "postgres")  # as the server runs, where we are root
        yield Disk(path)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", path], check=True)
        shutil.rmtree(path)


async def test_a_full_disk_ends_what_is_under_way_and_nothing_else(disk: Disk, tmp_path: Path) -> None:
    with cluster() as server:
        await _fill(disk, server.url, tmp_path)


async def _fill(disk: Disk, url: str, directory: Path) -> None:
    databases = Databases(url)
    await databases._order(f"CREATE TABLESPACE small LOCATION '{disk.path}'")
    await databases._order("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
    clock, pens = FixedClock(), new_pens()
    store = await open_at(databases.at("small"), clock)
    logs = Logs.over(store, directory, pens, clock=clock)
    await logs.publisher.start()
    told: list[Done] = []
    refused = 0
    for number in range(120):
        # What cannot be compressed: long values are, before they are written.
        acts = [act(new(made(1_000 * number + n, name=secrets.token_hex(4_000)))) for n in range(20)]
        before = {log: tree.size for log, tree in (await store.trees()).items()}
        try:
            results = await store.extend(acts)
        except asyncpg.DiskFullError:
            refused += 1
            assert {log: tree.size for log, tree in (await store.trees()).items()} == before
        else:
            assert all(isinstance(one, Done) for one in results)
            told += [one for one in results if isinstance(one, Done)]
        clock.advance(seconds=1)
        try:
            await logs.publisher.publish_once()
        except asyncpg.DiskFullError:
            refused += 1
        if refused > 5:
            break
    assert told and refused
    assert logs.publisher.halted is None
    await sound(store, told)

    disk.grow()
    [result] = await store.extend([act(new(made(1_000_000)))])
    assert isinstance(result, Done)
    await logs.publisher.publish_once()
    await logs.check()
    await sound(store, [*told, result])
    await store.close()
