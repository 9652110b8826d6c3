"""Killed a hundred times while it writes and signs: nothing acknowledged is lost or moved, and no size gets two roots."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certs.jcs import load
from exchange.clock import SystemClock
from exchange.ledger.entry import LOGS
from exchange.ledger.merkle import Frontier, leaf_hash
from exchange.ledger.note import new_log_key
from exchange.ledger.publisher import Anchors
from exchange.store.sqlite import SqliteStore
from tests.faults.loader import publisher_of

KILLS = 100
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
async def test_a_hundred_kills(tmp_path: Path) -> None:
    """Invariants I1, I4, I5, I6, I7 and I9 of the ledger design."""
    (tmp_path / "anchors").mkdir()
    for log in LOGS:
        (tmp_path / f"{log}.key").write_text(new_log_key(f"test.example/audit/{log}").encode())
        Anchors(tmp_path / "anchors").create(log)
    chance = random.Random(20261124)
    acknowledged: dict[tuple[str, int], str] = {}
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.loader", str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()  # it is at work; from here on any moment will do
        assert first, "the loader did not start after a kill"
        time.sleep(chance.uniform(0.0, 0.08))
        process.kill()
        for line in (first, *process.stdout.read().splitlines(keepends=True)):
            if line.endswith("\n"):  # a line cut short was not read by anybody
                log, index, req = line.split()
                place = (log, int(index))
                assert place not in acknowledged, "two acknowledgements for one place"
                acknowledged[place] = req
        process.wait()
        process.stdout.close()
    store = SqliteStore(tmp_path / "hub.sqlite", SystemClock())
    publisher = publisher_of(tmp_path, store, asyncio.Event())
    await publisher.start()
    await publisher.publish_once()
    assert publisher.halted is None
    signed = 0
    for log, tree in (await store.trees()).items():
        leaves = await store.leaves(log, 0, tree.size)
        assert len(leaves) == tree.size
        frontier = Frontier(0, ())
        roots = {row.size: row.root for row in await store.checkpoints(log, 1)}
        for number, leaf in enumerate(leaves):
            if (log, number) in acknowledged:
                assert load(leaf, max_bytes=10_000)["req"] == acknowledged.pop((log, number))
            frontier = frontier.push(leaf_hash(leaf))
            if number + 1 in roots:
                assert roots[number + 1] == frontier.root()
                signed += 1
        assert frontier.root() == tree.root
        assert max(roots) == tree.size
        anchor = Anchors(tmp_path / "anchors").read(log)
        assert (anchor.size, anchor.root) == (tree.size, tree.root)
    assert not acknowledged
    assert signed >= len(LOGS)
    await store.close()
