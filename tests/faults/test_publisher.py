"""The publisher broken at each of its statements, raced by another one, and given databases that were tampered with.

Whatever happens, it signs one root per size, goes on after a crash, and halts only when there is reason to.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from exchange.clock import FixedClock
from exchange.errors import LedgerFault
from exchange.ledger.entry import LOGS
from exchange.ledger.merkle import inclusion_proof, leaf_hash, verify_inclusion
from exchange.ledger.publisher import CHECKPOINTS_AT_ONCE, Anchors, Publisher
from exchange.ledger.rounds import Asking, Rounds
from exchange.ledger.signing import Signing
from exchange.ledger.tiles import HEIGHT
from exchange.ledger.witness import Witness, serve
from exchange.store.answers import CheckpointRow
from exchange.store.contract import Halted, Store
from tests.faults.crash import Crash, CrashAt
from tests.faults.logs import Logs, Pen, new_pens, policies_of
from tests.world import settled

# --- at each statement ---


STEPS = {
    Publisher.publish_once.__code__, Publisher._publish.__code__, Publisher._own_claims.__code__, Publisher._agree.__code__,
    Publisher._rehash.__code__, Signing.said.__code__, Signing.verifiers.__code__, Signing.signers.__code__,
    Publisher._tree.__code__, Anchors.read.__code__, Anchors.write.__code__,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a crash leaves a file open
async def test_publishing_may_end_at_any_statement(tmp_path: Path) -> None:
    """Loaded again after each, the log goes on where it was: "failed", and "failed but done" of the statement before."""
    pens = new_pens()
    at = 0
    crashed = True
    while crashed:
        at += 1
        logs = Logs.open(tmp_path, pens)
        await logs.publisher.start()
        await logs.append(LOGS[at % 3])
        try:
            with CrashAt(STEPS, at):
                await logs.publisher.publish_once()
            crashed = False
        except Crash:
            await asyncio.sleep(0.001)  # the loop drops the dead publisher's turn, as the kernel does a dead process's
        await logs.check()
        await logs.store.close()

        again = Logs.open(tmp_path, pens)
        await again.publisher.start()
        await again.publisher.publish_once()
        assert again.publisher.halted is None
        await again.check()
        for log, tree in (await again.store.trees()).items():
            newest = await again.store.checkpoint(log)
            assert (newest.size if newest else 0) == tree.size == again.anchor(log).size
        await again.store.close()
    assert at > 100, "the tracing does not work here"


async def test_a_disk_that_fails_ends_one_round_only(tmp_path: Path) -> None:
    """Anchors cannot be written for a while: nothing is signed meanwhile, and nothing halts."""
    logs = Logs.open(tmp_path, new_pens())
    await logs.publisher.start()
    blocked = tmp_path / "anchors" / "both.new"
    blocked.mkdir()
    await logs.append()
    working = asyncio.get_running_loop().create_task(logs.publisher.run())
    await asyncio.sleep(0.1)
    assert await logs.store.checkpoint("both") is None
    blocked.rmdir()
    while await logs.store.checkpoint("both") is None:
        logs.publisher._committed.set()
        await asyncio.sleep(0.02)
    assert logs.publisher.halted is None
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    await logs.store.close()


async def test_a_publisher_that_is_told_to_stop_while_it_wakes_stops(tmp_path: Path) -> None:
    """Python 3.11's asyncio.wait_for loses a cancellation that comes together with what it waits for."""
    logs = Logs.open(tmp_path, new_pens())
    await logs.publisher.start()
    working = asyncio.get_running_loop().create_task(logs.publisher.run())
    while not (logs.publisher._committed._waiters and logs.publisher._wake_witnesses._waiters):
        await asyncio.sleep(0.01)  # until both loops have had their first round, and wait
    logs.publisher._committed.set()
    logs.publisher._wake_witnesses.set()
    await asyncio.sleep(0)  # the events' waiters are done; who waits for them has not run yet
    working.cancel()
    done, _ = await asyncio.wait([working], timeout=60)
    assert done, "the publisher did not hear that it should stop"
    await logs.store.close()


# --- two at once ---


async def test_two_publishers_on_one_database_take_turns(tmp_path: Path) -> None:
    pens = new_pens()
    hubs = [Logs.open(tmp_path, pens), Logs.open(tmp_path, pens)]
    for hub in hubs:
        await hub.publisher.start()

    async def work(hub: Logs, log: str) -> None:
        for number in range(60):
            await hub.append(log, 1 + number % 3)
            await hub.publisher.publish_once()

    async with asyncio.TaskGroup() as tasks:
        for hub in hubs:
            for log in LOGS:
                tasks.create_task(work(hub, log))
    for hub in hubs:
        assert hub.publisher.halted is None
        await hub.publisher.publish_once()
        await hub.check()
        await hub.store.close()


async def test_a_publisher_sees_that_another_halted(tmp_path: Path) -> None:
    pens = new_pens()
    first, second = Logs.open(tmp_path, pens), Logs.open(tmp_path, pens)
    await first.publisher.start()
    await second.publisher.start()
    await first.append()
    await first.store.halt("fork")
    signed = len(pens["both"].signed)
    await second.publisher.publish_once()
    assert second.publisher.halted == "fork"
    assert len(pens["both"].signed) == signed
    await first.store.close()
    await second.store.close()


# --- tampered with ---

Edit = Callable[[sqlite3.Connection], object]

EDITS: dict[str, tuple[Edit, str]] = {
    "a leaf that was signed": (lambda db: db.execute("UPDATE leaf SET data = CAST(replace(data, 'admin', 'nimda') AS BLOB) WHERE log = 'both' AND idx = 2"), "fork"),
    "a leaf not signed yet": (lambda db: db.execute("UPDATE leaf SET data = CAST(replace(data, 'admin', 'nimda') AS BLOB) WHERE log = 'both' AND idx = 6"), "rows-changed"),
    "a lost leaf": (lambda db: db.execute("DELETE FROM leaf WHERE log = 'both' AND idx = 3"), "rows-missing"),
    "the root": (lambda db: db.execute("UPDATE tree SET root = zeroblob(32) WHERE log = 'both'"), "rows-changed"),
    "the size": (lambda db: db.execute("UPDATE tree SET size = 4 WHERE log = 'both'"), "rollback"),
    "the root of a checkpoint": (lambda db: db.execute("UPDATE checkpoint SET root = zeroblob(32) WHERE log = 'both'"), "rows-changed"),
    "the note of a checkpoint": (lambda db: db.execute("UPDATE checkpoint SET note = replace(note, 'both', 'boot') WHERE log = 'both'"), "rows-changed"),
    "a checkpoint for what is not there": (lambda db: db.execute("UPDATE checkpoint SET size = 9 WHERE log = 'both'"), "rows-changed"),
}  # fmt: skip


def edit(directory: Path, change: Edit) -> None:
    with sqlite3.connect(directory / "hub.sqlite") as db:
        change(db)
    db.close()


@asynccontextmanager
async def five_signed_two_not(directory: Path, pens: dict[str, Pen]) -> AsyncIterator[Logs]:
    logs = Logs.open(directory, pens)
    await logs.publisher.start()
    await logs.append(count=5)
    await logs.publisher.publish_once()
    await logs.append(count=2)
    yield logs
    await logs.store.close()


def roots_by_size(pens: dict[str, Pen]) -> dict[int, set[bytes]]:
    found: dict[int, set[bytes]] = {}
    for one in pens["both"].signed:
        found.setdefault(one.size, set()).add(one.root)
    return found


@pytest.mark.parametrize("name", EDITS)
async def test_edited_rows_are_noticed_at_the_next_start(tmp_path: Path, name: str) -> None:
    change, code = EDITS[name]
    pens = new_pens()
    async with five_signed_two_not(tmp_path, pens):
        pass
    anchor = (tmp_path / "anchors/both.json").read_bytes()
    edit(tmp_path, change)
    again = Logs.open(tmp_path, pens)
    with pytest.raises(LedgerFault) as fault:
        await again.publisher.start()
    assert fault.value.code == code
    assert len(await again.store.checkpoints("both", 1)) == 1
    assert (tmp_path / "anchors/both.json").read_bytes() == anchor
    await again.store.close()


@pytest.mark.parametrize("name", [name for name in EDITS if name not in ("a leaf that was signed", "a lost leaf")])
async def test_edited_rows_are_not_signed_by_a_running_hub(tmp_path: Path, name: str) -> None:
    """It halts, for every process and across restarts. Leaves it hashed before are hashed again at the next start."""
    change, code = EDITS[name]
    pens = new_pens()
    async with five_signed_two_not(tmp_path, pens) as logs:
        edit(tmp_path, change)
        await logs.publisher.publish_once()
        assert logs.publisher.halted == code
        assert (await logs.store.epochs()).state == code
        assert len(await logs.store.checkpoints("both", 1)) == 1
        assert logs.anchor("both").size == 5
        await logs.publisher.publish_once()
        assert set(roots_by_size(pens)) == {5}


async def test_an_edited_frontier_is_noticed_by_what_grows_from_it(tmp_path: Path) -> None:
    pens = new_pens()
    async with five_signed_two_not(tmp_path, pens) as logs:
        edit(
            tmp_path, lambda db: db.execute("UPDATE tree SET frontier = zeroblob(length(frontier)) WHERE log = 'both'")
        )
        await logs.append()
        await logs.publisher.publish_once()
        assert logs.publisher.halted == "rows-changed"
        assert logs.anchor("both").size == 5


async def test_a_lost_anchor_is_no_fresh_start(tmp_path: Path) -> None:
    pens = new_pens()
    async with five_signed_two_not(tmp_path, pens) as logs:
        (tmp_path / "anchors/both.json").unlink()
        await logs.publisher.publish_once()
        assert logs.publisher.halted == "anchor-missing"


# --- an old database ---


async def backup(logs: Logs, target: Path) -> None:
    with sqlite3.connect(logs.directory / "hub.sqlite") as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()


def restore(directory: Path, kept: Path) -> None:
    for file in directory.glob("hub.sqlite*"):
        file.unlink()
    shutil.copy(kept, directory / "hub.sqlite")


async def test_an_old_backup_is_not_signed(tmp_path: Path) -> None:
    pens = new_pens()
    async with five_signed_two_not(tmp_path, pens) as logs:
        await backup(logs, tmp_path / "backup.sqlite")
        await logs.publisher.publish_once()
    restore(tmp_path, tmp_path / "backup.sqlite")
    old = Logs.open(tmp_path, pens)
    await old.publisher.start()  # the backup holds all that was signed: unsigned leaves of its time are signed again
    await old.store.close()

    other = tmp_path / "other"
    async with five_signed_two_not(other, pens := new_pens()) as logs:
        await backup(logs, tmp_path / "backup.sqlite")
        await logs.append()
        await logs.publisher.publish_once()
    restore(other, tmp_path / "backup.sqlite")
    old = Logs.open(other, pens)
    with pytest.raises(LedgerFault, match="rollback"):
        await old.publisher.start()
    await old.store.close()
    edit(other, lambda db: db.execute("UPDATE head SET state = 'open'"))
    old = Logs.open(other, pens)
    await old.append(count=1)  # had it started all the same, it would now sign another root for size 8
    await old.publisher.publish_once()
    assert old.publisher.halted == "fork"
    assert all(len(roots) == 1 for roots in roots_by_size(pens).values())
    await old.store.close()


@asynccontextmanager
async def witnessed(directory: Path) -> AsyncIterator[tuple[dict[str, Pen], Callable[[Path], Logs]]]:
    """Two witnesses that answer, and a way to open logs that know them."""
    clock = FixedClock()
    pens = new_pens()
    vkeys, urls, runners, running = {}, {}, [], []
    for name in ("us-a", "mx-a"):
        vkeys[name] = Witness.create(directory / name, f"{name}.witness.example", [pen.vkey for pen in pens.values()])
        running.append(Witness(directory / name, clock))
        runners.append(await serve(running[-1], "127.0.0.1", 0))
        urls[name] = f"http://127.0.0.1:{runners[-1].addresses[0][1]}"
    policies = policies_of(pens, vkeys)
    yield pens, lambda where: Logs.open(where, pens, clock=clock, policies=policies, witnesses=urls)
    for runner in runners:
        await runner.cleanup()
    for witness in running:
        witness.close()
    await settled()


async def test_a_machine_restored_with_its_anchors_learns_it_from_a_witness(tmp_path: Path) -> None:
    """And before it signs or releases anything: the clone's own files all agree with each other."""
    async with witnessed(tmp_path) as (pens, opened):
        hub = opened(tmp_path / "hub")
        await hub.publisher.start(ask_witnesses=True)
        await hub.append(count=3)
        await hub.publisher.publish_once()
        await hub.publisher.witness_round()
        await backup(hub, tmp_path / "backup.sqlite")
        shutil.copytree(tmp_path / "hub/anchors", tmp_path / "clone/anchors")
        await hub.append(count=2)
        await hub.publisher.publish_once()
        await hub.publisher.witness_round()
        assert await hub.publisher.newest_cosigned("both") is not None
        assert await hub.publisher.newest_cosigned("us") is not None, "an empty log can be audited too"
        await hub.publisher.start(ask_witnesses=True)  # a restart of the true one is welcome
        await hub.store.close()

        restore(tmp_path / "clone", tmp_path / "backup.sqlite")
        clone = opened(tmp_path / "clone")
        await clone.publisher.start()  # by its own files it cannot know
        with pytest.raises(LedgerFault, match=r"rollback: log both has 3 leaves, witness ..-a says 5"):
            await clone.publisher.start(ask_witnesses=True)
        assert (await clone.store.epochs()).state == "rollback", "at the next start the witnesses might not answer"
        with pytest.raises(Halted):
            await clone.append()
        await clone.publisher.publish_once()
        assert clone.publisher.halted == "rollback"
        await clone.store.close()

        restore(tmp_path / "clone", tmp_path / "backup.sqlite")
        clone = opened(tmp_path / "clone")
        await clone.append(count=2)  # grown to the size that the witnesses know, with other leaves
        with pytest.raises(LedgerFault, match=r"fork: log both: witness ..-a holds another root for size 5"):
            await clone.publisher.start(ask_witnesses=True)
        assert all(len(roots) == 1 for roots in roots_by_size(pens).values())
        await clone.store.close()


async def test_a_clone_that_signs_before_it_asked_is_halted_by_the_witnesses(tmp_path: Path) -> None:
    async with witnessed(tmp_path) as (_, opened):
        hub = opened(tmp_path / "hub")
        await hub.publisher.start()
        await hub.append(count=3)
        await hub.publisher.publish_once()
        await backup(hub, tmp_path / "backup.sqlite")
        shutil.copytree(tmp_path / "hub/anchors", tmp_path / "clone/anchors")
        await hub.append(count=2)
        await hub.publisher.publish_once()
        await hub.publisher.witness_round()
        await hub.store.close()
        restore(tmp_path / "clone", tmp_path / "backup.sqlite")
        clone = opened(tmp_path / "clone")
        await clone.publisher.start()
        await clone.append(count=4)
        await clone.publisher.publish_once()
        await clone.publisher.witness_round()
        assert clone.publisher.halted == "fork"
        assert await clone.publisher.newest_cosigned("both") is None
        assert list((tmp_path / "us-a/refused").iterdir()), "the witness keeps the evidence"
        await clone.store.close()


async def test_witnesses_that_are_away_do_not_keep_the_hub_from_starting(tmp_path: Path) -> None:
    pens = new_pens()
    vkey = Witness.create(tmp_path / "w", "us-a.witness.example", [pen.vkey for pen in pens.values()])
    logs = Logs.open(
        tmp_path / "hub", pens, policies=policies_of(pens, {"us-a": vkey}), witnesses={"us-a": "http://127.0.0.1:9"}
    )
    await logs.publisher.start(ask_witnesses=True)
    await logs.append()
    await logs.publisher.publish_once()
    await logs.publisher.witness_round()
    assert logs.publisher.halted is None
    await logs.store.close()


# --- proofs ---


async def test_great_subtrees_are_made_once_and_receipts_read_few_checkpoints(tmp_path: Path) -> None:
    """They never change, and at the edge of a log one is made from many tiles; an old entry has a year of checkpoints behind it."""
    logs = Logs.open(tmp_path, new_pens())
    await logs.append(count=700)
    for _ in range(2 * CHECKPOINTS_AT_ONCE):
        await logs.append()
        await logs.publisher.publish_once()
    counting = Counting(logs.store)
    rounds = Rounds(
        cast("Store", counting), FixedClock(), Asking(logs.publisher.signing, {}, {}, 1, 1), logs.publisher._halt
    )
    size = (await logs.store.trees())["both"].size
    for index in (650, 0, 699, 1, 300):
        read = await rounds.reader("both", inclusion_proof, index, size)
        [leaf] = await logs.store.leaves("both", index, index + 1)
        proof = inclusion_proof(index, size, read)
        assert verify_inclusion(leaf_hash(leaf), index, size, proof, await rounds.root_at("both", size))
    great = [one for one in counting.hashes if one[0] >= HEIGHT]
    assert len(set(great)) == len(great) == 3
    publisher = Publisher(cast("Store", counting), FixedClock(), logs.publisher._with, asyncio.Event())
    assert await publisher.receipt("both", 3) is not None
    assert counting.rows == CHECKPOINTS_AT_ONCE
    await logs.store.close()


class Counting:
    """Takes down what proofs ask a store for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.hashes: list[tuple[int, int]] = []
        self.rows = 0

    async def subtree_hashes(self, log: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        self.hashes += wanted
        return await self.store.subtree_hashes(log, wanted)

    async def checkpoints(self, log: str, from_size: int, limit: int | None = None) -> list[CheckpointRow]:
        found = await self.store.checkpoints(log, from_size, limit)
        self.rows += len(found)
        return found
