"""Every statement of the append and of publishing fails once, before it is done and after, on both stores; then all is loaded
again, and the invariants hold (ledger design, 3.2 and 8)."""

import sqlite3
from functools import partial
from pathlib import Path

import orjson
import pytest

from exchange.clock import FixedClock
from exchange.ledger.entry import LOGS, Entry
from exchange.model.page import Filter
from exchange.store.acts import Act, Done, Record, Removal
from exchange.store.changes import AgreementRow
from exchange.store.contract import Outdated, Store
from exchange.store.postgres import PostgresStore
from exchange.store.sqlite import SqliteStore
from exchange.times import as_text
from tests.contract.test_store import COLLECTION, FOREVER, act, check_log, made, new
from tests.faults.fuses import Fuse, FusedServer, fused_sqlite
from tests.faults.logs import Logs, Pen, new_pens
from tests.places import Place, open_at

ALL = Filter(versions=("all",))


async def fused(place: Place, fuse: Fuse, clock: FixedClock) -> Store:
    if isinstance(place, Path):
        return SqliteStore(place, clock, writing=partial(fused_sqlite, fuse))
    return await PostgresStore.open(FusedServer(place, fuse=fuse), clock)


def broken(place: Place, *, done: bool) -> Fuse:
    error = sqlite3.OperationalError if isinstance(place, Path) else ConnectionResetError
    return Fuse(done=done, error=error)


def batch(number: int, adopted: int) -> list[Act]:
    """One of each kind: objects under two labels, a version after another, a deletion, an adoption, and a release by it."""
    first = made(10 * number + 1)
    row = AgreementRow(adopted + 1, "us-mx", adopted + 1, b"document", b"[]", 0)
    activated = {"agreement": row.name, "sha256": "0" * 64, "impact_sha256": "0" * 64, "approvers": {}}
    adoption = Entry("both", "policy.activate", "hub:puente:acct:hub", "agreement:us-mx", activated)
    page = {"kind": "objects", "first": as_text(number), "last": as_text(number), "count": 1, "items_root": "0" * 64}
    release = Entry("both", "release", "mx:mx-ciber:acct:1", f"coll:{COLLECTION}", page, private={"n": number})
    return [
        act(new(first), new(made(10 * number + 2), label="b")),
        act(new(made(10 * number + 1, 5)), log="both"),
        act(removals=(Removal(COLLECTION, first.id, "us-cyber", ("first",)),)),
        Act(f"adopt-{number}", lambda _: Record((adoption,)), changes=(row,)),
        Act(f"release-{number}", lambda _: Record((release,)), agreement=adopted + 1),
        Act(f"stale-{number}", lambda _: Record((release,)), agreement=adopted),
    ]


async def sound(store: Store, told: list[Done]) -> None:
    """I1, I4 by `check_log`; I2, I3, I7, I8 here; I5, I6, I9 by `Logs.check`."""
    await check_log(store)
    labels = [row.id for row in await store.labels()]
    until = (await store.epochs()).last_tick
    rows = (await store.page(COLLECTION, labels, ALL, 0, 100_000, until_us=until)).rows if labels else ()
    ticks = [row.tick for row in rows]
    assert ticks == sorted(set(ticks)) and (not ticks or ticks[-1] <= until)  # I2
    leaves = {log: await store.leaves(log, 0, FOREVER) for log in LOGS}
    told_of = {orjson.loads(data)["pub"].get("command") for log in LOGS for data in leaves[log]}
    assert {row.id for row in rows} <= told_of  # I3
    for done in told:
        for leaf in done.leaves:
            assert len(leaves[leaf.log]) > leaf.index  # I7
    number = 0
    for data in leaves["both"]:
        entry = orjson.loads(data)
        pol = int(entry["pol"].rpartition("@")[2] or 0)
        assert pol == number + (entry["t"] == "policy.activate")  # I8
        number = pol


@pytest.mark.timeout(400)
@pytest.mark.parametrize("done", [False, True], ids=["failed", "failed-but-done"])
async def test_every_statement_may_fail(place: Place, tmp_path: Path, done: bool) -> None:
    pens, clock = new_pens(), FixedClock()
    fuse = broken(place, done=done)
    struck: set[str] = set()
    told: list[Done] = []
    at = 0
    while at == 0 or fuse.blown:
        at += 1
        clock.advance(seconds=1)
        adopted = await _adopted(place, clock)
        before = await _sizes(place, clock)
        store = await fused(place, fuse, clock)
        logs = Logs.over(store, tmp_path, pens, clock=clock)
        await logs.publisher.start()
        results: list[Done | Exception] = []
        fuse.arm(at)
        try:
            results = await store.extend(batch(at, adopted))
            await logs.publisher.publish_once()
        except (sqlite3.OperationalError, OSError):
            pass
        fuse.armed = False
        struck.add(fuse.blown.split(" ", 1)[0])
        told += [one for one in results if isinstance(one, Done)]
        if results:  # of the two releases that are decided under one number each, the one in force alone went through
            assert isinstance(results[-1], Done) != isinstance(results[-2], Done) or fuse.blown
            assert isinstance(results[-1], Outdated) == isinstance(results[3], Done) or not isinstance(
                results[-1], Done
            )
        await store.close()
        await _loaded(place, tmp_path, pens, clock, told, before)
    assert at > 20, "the fuse does not work here"
    assert {"INSERT", "UPDATE", "COMMIT", "DELETE"} <= struck or "WITH" in struck


async def _loaded(
    place: Place, directory: Path, pens: dict[str, Pen], clock: FixedClock, told: list[Done], before: dict[str, int]
) -> None:
    """What a restart finds, and that it goes on from there."""
    store = await open_at(place, clock)
    logs = Logs.over(store, directory, pens, clock=clock)
    await logs.publisher.start()
    await logs.check()
    await sound(store, told)
    await logs.publisher.publish_once()
    assert logs.publisher.halted is None
    await logs.check()
    for log, tree in (await store.trees()).items():
        assert tree.size >= before[log]
        newest = await store.checkpoint(log)
        assert (newest.size if newest else 0) == tree.size == logs.anchor(log).size
    await store.close()


async def _adopted(place: Place, clock: FixedClock) -> int:
    store = await open_at(place, clock)
    number = (await store.epochs()).agreement
    await store.close()
    return number


async def _sizes(place: Place, clock: FixedClock) -> dict[str, int]:
    store = await open_at(place, clock)
    sizes = {log: tree.size for log, tree in (await store.trees()).items()}
    await store.close()
    return sizes
