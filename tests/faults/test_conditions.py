"""What befalls a machine: its disk is full, its clock jumps or stands still, its database is a copy that another hub has too."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from exchange.clock import FixedClock
from exchange.errors import LedgerFault
from exchange.store.acts import Done
from exchange.store.contract import Store
from exchange.store.sqlite import SqliteStore
from exchange.store.sqlite import connect as connected
from tests.contract.test_store import act, made, new
from tests.faults.logs import Logs, new_pens
from tests.faults.test_statements import sound
from tests.places import Place, open_at
from tests.postgres import Cluster, Databases


async def test_a_full_disk_ends_what_is_under_way_and_nothing_else(tmp_path: Path) -> None:
    """SQLite is let have so many pages and no more: each act is either durable, or refused whole; with room again it goes on."""
    writing: list[sqlite3.Connection] = []

    def small(path: Path) -> sqlite3.Connection:
        writing.append(connected(path))
        return writing[-1]

    clock, pens = FixedClock(), new_pens()
    store = SqliteStore(tmp_path / "hub.sqlite", clock, writing=small)
    logs = Logs.over(store, tmp_path, pens, clock=clock)
    await logs.publisher.start()
    pages = writing[0].execute("PRAGMA page_count").fetchone()[0]
    writing[0].execute(f"PRAGMA max_page_count = {pages + 40}")
    told: list[Done] = []
    refused = 0
    for number in range(200):
        before = {log: tree.size for log, tree in (await store.trees()).items()}
        try:
            [result] = await store.extend([act(*(new(made(100 * number + n, name="x" * 2000)) for n in range(20)))])
            await logs.publisher.publish_once()
        except sqlite3.OperationalError as error:
            result = error
        if isinstance(result, Done):
            told.append(result)
        else:
            assert "full" in str(result)
            assert {log: tree.size for log, tree in (await store.trees()).items()} == before
            refused += 1
    assert told and refused
    assert logs.publisher.halted is None
    await sound(store, told)
    writing[0].execute("PRAGMA max_page_count = 1073741823")
    [result] = await store.extend([act(new(made(1_000_000)))])
    assert isinstance(result, Done)
    await logs.publisher.publish_once()
    await logs.check()
    await sound(store, [*told, result])
    await store.close()


@pytest.mark.parametrize(
    "microseconds", [-1, -3_600_000_000, 0, 3_600_000_000], ids=["back", "an hour back", "frozen", "an hour on"]
)
async def test_order_holds_whatever_the_clock_does(place: Place, tmp_path: Path, microseconds: int) -> None:
    clock, pens = FixedClock(), new_pens()
    store = await open_at(place, clock)
    logs = Logs.over(store, tmp_path, pens, clock=clock)
    await logs.publisher.start()
    told: list[Done] = []
    for number in range(6):
        [result] = await store.extend([act(*(new(made(10 * number + n)) for n in range(3)))])
        assert isinstance(result, Done)
        told.append(result)
        await logs.publisher.publish_once()
        clock.advance(seconds=microseconds / 1_000_000)
    ticks = [placed.tick for done in told for placed in done.stamp.placed]
    times = [done.stamp.time_us for done in told]
    assert ticks == sorted(set(ticks)) and times == sorted(times)
    await logs.check()
    await sound(store, told)
    await store.close()


async def copied(place: Place, databases: Any, tmp_path: Path) -> Place:
    """A database copy, as a cloned machine has one."""
    if isinstance(place, Path):
        return Path(shutil.copy(place, tmp_path / "copy.sqlite"))
    made_of: Databases = databases()
    url = made_of.at(f"{place.rpartition('/')[2].partition('?')[0]}_copy")
    await made_of._order(
        f'CREATE DATABASE "{url.rpartition("/")[2].partition("?")[0]}" TEMPLATE "{place.rpartition("/")[2].partition("?")[0]}"'
    )
    return url


async def test_two_hubs_on_a_copy_of_one_database_never_sign_two_roots(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """They share the anchors, as two that were started from one home do. Whoever signs first goes on; the other halts for good."""
    clock, pens = FixedClock(), new_pens()
    store = await open_at(place, clock)
    logs = Logs.over(store, tmp_path, pens, clock=clock)
    await logs.publisher.start()
    await store.extend([act(new(made(1)))])
    await logs.publisher.publish_once()
    await store.close()
    other_place = await copied(place, lambda: request.getfixturevalue("databases"), tmp_path)

    hubs: list[tuple[Store, Logs]] = []
    for where in (place, other_place):
        one = await open_at(where, clock)
        hubs.append((one, Logs.over(one, tmp_path, pens, clock=clock)))
        await hubs[-1][1].publisher.start()
    for number, (one, _) in enumerate(hubs, 2):
        await one.extend([act(new(made(number)))])
    for _ in range(2):
        for _, each in hubs:
            await each.publisher.publish_once()
    first, second = (each.publisher for _, each in hubs)
    assert first.halted is None
    assert second.halted == "fork"
    roots: dict[tuple[str, int], set[bytes]] = {}
    for log, pen in pens.items():
        for checkpoint in pen.signed:
            roots.setdefault((log, checkpoint.size), set()).add(checkpoint.root)
    assert all(len(found) == 1 for found in roots.values())
    [(one, _), (other, _)] = hubs
    assert (await other.epochs()).state == "fork", "fenced, for every process and across restarts"
    again = Logs.over(other, tmp_path, pens, clock=clock)
    with pytest.raises(LedgerFault):
        await again.publisher.start()
    await one.close()
    await other.close()


async def test_a_server_that_falls_between_append_and_signature(server: Cluster, tmp_path: Path) -> None:
    """PostgreSQL stops as if its power was cut, ten times, after what was acknowledged and before it was signed."""
    place = await Databases(server.url).fresh(empty=True)
    clock, pens = FixedClock(), new_pens()
    told: list[Done] = []
    for number in range(10):
        store = await open_at(place, clock)
        logs = Logs.over(store, tmp_path, pens, clock=clock)
        await logs.publisher.start()
        await sound(store, told)
        [result] = await store.extend([act(*(new(made(10 * number + n)) for n in range(5)))])
        assert isinstance(result, Done)
        told.append(result)
        server.fall()
        server.start()
        await logs.publisher.publish_once()
        await logs.check()
        await sound(store, told)
        await store.close()
