"""What every store promises, asked of each engine: order, atomicity, versions, pages, and a log that re-hashes to its root."""

import asyncio
import random
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs.jcs import canonical
from exchange.clock import FixedClock
from exchange.errors import LedgerFault
from exchange.ledger.entry import Entry
from exchange.ledger.merkle import inclusion_proof, leaf_hash, root, verify_inclusion
from exchange.model.member import Country, Credential, Member
from exchange.model.page import Filter
from exchange.model.stix import StixObject
from exchange.model.versions import Known, Verdict, judge
from exchange.model.view import EVER, NOW, View, Window
from exchange.store.acts import (
    Act,
    Done,
    ListSize,
    NewObject,
    Record,
    Removal,
    Stamp,
    Turn,
    ViewChange,
    Waiting,
    Withdrawn,
)
from exchange.store.answers import CheckpointRow
from exchange.store.contract import Outdated, Store
from exchange.store.runs import PageQuery
from exchange.store.sqlite import connect
from exchange.store.sqlite_read import id_key
from exchange.store.sqlite_runs import spans
from exchange.times import as_text
from tests.places import Place, ask, emptied, open_at, order
from tests.postgres import Databases

FOREVER = 2**62
COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"


def made(number: int, version: int = 0, **more: object) -> StixObject:
    value = {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid.UUID(int=number, version=4)}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": f"2026-01-01T00:00:00.{version:03d}Z",
        "name": f"n{number}",
        **more,
    }
    return StixObject.of(value, canonical(value))


def marking(version: int, **definition: str) -> StixObject:
    created = f"2026-01-01T00:00:00.{version:03d}Z"
    value = {"type": "marking-definition", "id": "marking-definition--1", "created": created, "definition": definition}
    return StixObject.of(value, canonical(value))


def address(**more: object) -> StixObject:
    value = {"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "198.51.100.7", **more}
    return StixObject.of(value, canonical(value))


def new(obj: StixObject, label: str = "a", owner: str = "us-cyber", holder: str = "") -> NewObject:
    return NewObject(obj, owner, holder, COLLECTION, label, "US")


def act(*objects: NewObject, log: str = "us", agreement: int | None = None, removals: tuple[Removal, ...] = ()) -> Act:
    def record(stamp: Stamp) -> Record:
        stored = [o for o, p in zip(objects, stamp.placed, strict=True) if p.verdict is Verdict.STORED]
        entries = [Entry(log, "admin", "us:us-cyber:acct:1", "coll", {"command": o.object.id}) for o in stored]
        return Record(tuple(entries))

    return Act(str(uuid.uuid4()), record, agreement=agreement, objects=objects, removals=removals)


async def check_log(store: Store) -> None:
    """Every log's leaves re-hash to its root, and every leaf can be proved (invariants I1, I4)."""
    for log, tree in (await store.trees()).items():
        leaves = await store.leaves(log, 0, tree.size + 10)
        assert len(leaves) == tree.size
        hashes = [leaf_hash(leaf) for leaf in leaves]
        assert root(hashes) == tree.root
        for index in {0, tree.size // 2, tree.size - 1} if tree.size else set():
            wanted: list[tuple[int, int]] = []
            inclusion_proof(index, tree.size, lambda asked: wanted.extend(asked) or [bytes(32)] * len(asked))
            found = dict(zip(wanted, await store.subtree_hashes(log, wanted), strict=True))
            proof = inclusion_proof(index, tree.size, lambda asked: [found[one] for one in asked])
            assert verify_inclusion(hashes[index], index, tree.size, proof, tree.root)


async def done(store: Store, one: Act) -> Done:
    [result] = await store.extend([one])
    assert isinstance(result, Done)
    return result


@pytest.mark.rule("SRT-07")
async def test_ticks_rise_with_a_frozen_clock_and_leaves_follow(store: Store) -> None:
    first = await done(store, act(new(made(1)), new(made(2))))
    second = await done(store, act(new(made(3))))
    ticks = [placed.tick for placed in (*first.stamp.placed, *second.stamp.placed)]
    assert ticks == sorted(set(ticks))
    assert [leaf.index for leaf in (*first.leaves, *second.leaves)] == [0, 1, 2]
    await check_log(store)


@pytest.mark.rule("SRT-09")
async def test_ticks_rise_when_the_clock_steps_back(place: Place) -> None:
    clock = FixedClock()
    store = await open_at(place, clock)
    first = await done(store, act(new(made(1))))
    clock.advance(seconds=-3600)
    second = await done(store, act(new(made(2))))
    assert second.stamp.placed[0].tick > first.stamp.placed[0].tick
    assert second.stamp.time_us >= first.stamp.time_us
    await store.close()


@pytest.mark.peer("DAR-4")
async def test_a_failing_act_leaves_no_trace_and_does_not_stop_its_group(store: Store) -> None:
    def refuse(stamp: Stamp) -> Record:
        raise RuntimeError("no")

    bad = Act("bad", refuse, objects=(new(made(2), label="never seen"),))
    results = await store.extend([act(new(made(1))), bad, act(new(made(3)))])
    assert isinstance(results[1], RuntimeError)
    assert isinstance(results[0], Done)
    assert isinstance(results[2], Done)
    assert await store.held(made(2).id) == []
    assert {row.facets for row in await store.labels()} == {"a"}
    assert results[2].leaves[0].index == 1
    await check_log(store)


async def test_an_act_decided_before_the_agreement_ended_is_not_written_after(store: Store) -> None:
    now_us = FixedClock().now_us()
    early, late = (act(new(made(number)))._replace(until_us=now_us + number) for number in (1, 0))
    before, after = await store.extend([early, late])
    assert isinstance(before, Done)
    assert isinstance(after, Outdated)
    await check_log(store)


async def test_an_act_decided_under_another_agreement_is_not_written(store: Store) -> None:
    [result] = await store.extend([act(new(made(1)), agreement=7)])
    assert isinstance(result, Outdated)
    assert (await store.trees())["us"].size == 0


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (new(made(1)), new(made(1)), Verdict.DUPLICATE),
        (new(made(1)), new(made(1, name="other")), Verdict.CONFLICT),
        (new(made(1)), new(made(1, 5), owner="mx-ciber"), Verdict.NOT_OWNER),
        (new(made(1)), new(made(1, 5, created="2025-01-01T00:00:00.000Z")), Verdict.CREATED_CHANGED),
        (new(made(1, 3, revoked=True)), new(made(1, 5)), Verdict.AFTER_REVOCATION),
        (new(made(1, 3, revoked=True)), new(made(1, 1)), Verdict.STORED),
        (new(made(1)), new(made(1, 5)), Verdict.STORED),
        (new(made(1)), new(made(1, 5), owner="mx-ciber", holder="mx-ciber"), Verdict.NOT_OWNER),
        (new(made(1), holder="us-cyber"), new(made(1, name="x"), owner="mx-ciber", holder="mx-ciber"), Verdict.STORED),
        (new(made(1)), new(made(1, revoked=True)), Verdict.CONFLICT),
        (new(made(1)), new(made(1, object_marking_refs=["marking-definition--x"])), Verdict.CONFLICT),
        (new(marking(0)), new(marking(0, statement="other")), Verdict.CONFLICT),
        (new(marking(0)), new(marking(1)), Verdict.NOT_VERSIONED),
        (new(address()), new(address(resolves_to_refs=["mac-addr--x"])), Verdict.DUPLICATE),
    ],
)
@pytest.mark.rule("TIM-06", "TIM-09", "TIM-10", "TIM-11", "TIM-12", "TIM-13", "MRK-10", "SCO-07")
@pytest.mark.trap(8, 9)
@pytest.mark.rule("ADD-03", "ADD-13")
async def test_version_rules(store: Store, first: NewObject, second: NewObject, verdict: Verdict) -> None:
    """TIM-06, TIM-09, TIM-10, TIM-11: judged under the lock."""
    await done(store, act(first))
    assert (await done(store, act(second))).stamp.placed[0].verdict is verdict


@pytest.mark.trap(10)
async def test_a_gap_between_versions_is_seen_and_stops_nothing(store: Store) -> None:
    """A version that names another one before it than the hub holds: news of what was withheld on the way."""
    first, second, third = (made(1, version) for version in (1, 3, 5))

    async def gap(obj: StixObject, previous: StixObject | None) -> bool:
        named = new(obj)._replace(previous=previous.sha256 if previous else b"")
        placed = (await done(store, act(named))).stamp.placed[0]
        assert placed.verdict is Verdict.STORED
        return placed.gap

    assert not await gap(first, None)
    assert not await gap(third, first)
    assert await gap(second, third), "a later one is not before it"
    assert await gap(made(1, 7), second), "the newest earlier one counts"
    assert not await gap(made(1, 9), made(1, 7))
    assert await gap(made(2), first), "nothing is held before it"


@pytest.mark.parametrize("seed", range(6))
async def test_a_few_versions_speak_for_all_of_them(store: Store, place: Place, seed: int) -> None:
    """The store asks for the versions that matter only; the verdict is that of the rule over all there are."""
    dice = random.Random(seed)
    rows: list[tuple[StixObject, str, str, str]] = []  # with owner, holder, collection
    for _ in range(120):
        holder = dice.choice(["", "", "us-cyber", "mx-ciber"])
        owner = holder or dice.choice(["us-cyber", "us-cyber", "mx-ciber"])
        changes: dict[str, object] = {"revoked": True} if dice.random() < 0.05 else {}
        if dice.random() < 0.1:
            changes["created"] = "2025-01-01T00:00:00.000Z"
        obj = made(dice.randrange(3), dice.randrange(40), **changes)
        collection = dice.choice([COLLECTION, "second"])
        known = [
            Known(one.instant, one.created, one.revoked, whose, held, one.sha256)
            for one, whose, held, _ in rows
            if one.id == obj.id
        ]
        expected = judge(obj, owner, holder, known) if known else Verdict.STORED
        if expected.success:
            here = (obj, owner, holder, collection) in rows
            expected = Verdict.DUPLICATE if here else Verdict.STORED
        [placed] = (
            await done(store, act(new(obj, owner=owner, holder=holder)._replace(collection=collection)))
        ).stamp.placed
        assert placed.verdict is expected
        if placed.verdict is Verdict.STORED:
            rows.append((obj, owner, holder, collection))
    unmarked = await ask(
        place,
        "SELECT count(*) FROM placement p JOIN object o USING (vid) WHERE p.newer = 0 AND EXISTS"
        " (SELECT 1 FROM object r WHERE r.id = o.id AND r.vid <> o.vid AND r.instant >= o.instant)",
    )
    assert unmarked == 0


async def test_thousands_of_versions_of_one_object_do_not_hold_the_lock(store: Store) -> None:
    """It took 82 seconds for 4,000 when each was judged by all before it; a few now, and all others wait for it."""
    result = await done(store, act(*[new(versioned(number)) for number in range(6000)]))
    assert {placed.verdict for placed in result.stamp.placed} == {Verdict.STORED}


def versioned(number: int) -> StixObject:
    value = {
        "type": "indicator",
        "id": "indicator--1",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": f"2026-01-01T00:00:00.{number:06d}Z",
    }
    return StixObject.of(value, canonical(value))


async def test_ids_that_share_their_key_are_two_ids(tmp_path: Path) -> None:
    """SQLite finds ids by half a hash; that two share it is rare, not impossible."""
    place = tmp_path / "hub.sqlite"
    store = await open_at(place)
    await done(store, act(new(made(1)), new(made(2), owner="mx-ciber")))
    await order(place, f"UPDATE object SET id_key = {id_key(made(2).id)}")
    [found] = (await store.page(COLLECTION, [1], Filter(ids=(made(2).id,)), 0, 9, until_us=FOREVER)).rows
    assert found.id == made(2).id
    assert [one.id for one in await store.held(made(2).id)] == [made(2).id]
    again = (await done(store, act(new(made(2, 1), owner="mx-ciber")))).stamp.placed
    assert [one.verdict for one in again] == [Verdict.STORED]
    removal = Removal(COLLECTION, made(2).id, "mx-ciber")
    assert [len(one or ()) for one in (await done(store, act(removals=(removal,)))).stamp.removed] == [2]
    assert not (await store.page(COLLECTION, [1], Filter(ids=(made(2).id,)), 0, 9, until_us=FOREVER)).rows
    await store.close()


@pytest.mark.peer("MED-1", "MED-4a")
async def test_a_page_takes_as_many_steps_of_a_large_collection_as_of_a_small_one(tmp_path: Path) -> None:
    """Of SQLite's machine; PostgreSQL's plans are in tests/faults."""
    store = await open_at(tmp_path / "hub.sqlite")
    db = connect(tmp_path / "hub.sqlite", read_only=True)

    def steps(match: Filter) -> int:
        taken: list[None] = []
        db.set_progress_handler(lambda: taken.append(None), 1)
        assert spans(db, PageQuery(COLLECTION, (1,), match, 0, 10, FOREVER)).spans
        db.set_progress_handler(None, 1)
        return len(taken)

    async def grown(first: int, last: int) -> list[int]:
        for start in range(first, last, 250):
            await done(store, act(*(new(made(number)) for number in range(start, start + 250))))
        return [steps(match) for match in (Filter(), Filter(types=("indicator",)), Filter(ids=(made(first).id,)))]

    small = await grown(0, 250)
    large = await grown(250, 2000)
    assert all(2 * before > after for before, after in zip(small, large, strict=True)), (small, large)
    db.close()
    await store.close()


@pytest.mark.rule("ADD-17")
async def test_the_same_object_twice_in_one_envelope_is_stored_once(store: Store) -> None:
    result = await done(store, act(new(made(1)), new(made(1))))
    assert [placed.verdict for placed in result.stamp.placed] == [Verdict.STORED, Verdict.DUPLICATE]


@pytest.mark.rule("DEL-07", "DEL-12", "SRT-06")
async def test_deleting_and_adding_again_gives_a_later_tick(store: Store) -> None:
    first = await done(store, act(new(made(1))))
    removal = Removal(COLLECTION, made(1).id, "us-cyber")
    assert (await done(store, act(removals=(removal,)))).stamp.removed == ((Withdrawn(made(1).version, "a"),),)
    assert (await done(store, act(removals=(removal,)))).stamp.removed == ((),)
    again = await done(store, act(new(made(1))))
    assert again.stamp.placed[0].tick > first.stamp.placed[0].tick
    foreign = Removal(COLLECTION, made(1).id, "mx-ciber")
    assert (await done(store, act(removals=(foreign,)))).stamp.removed == (None,)


async def test_what_lists_last_held_is_written_with_an_act_or_not_at_all(store: Store) -> None:
    def size(kind: str, count: int, member: str = "mx-ciber") -> ListSize:
        return ListSize(member, COLLECTION, kind, count)

    def with_sizes(*sizes: ListSize, agreement: int | None = None) -> Act:
        return act(agreement=agreement)._replace(sizes=sizes)

    before = await store.epochs()
    await store.extend(
        [with_sizes(size("ipv4", 3), size("urls", 1)), with_sizes(size("ipv4", 9), size("ipv4", 5, "us-cyber"))]
    )
    assert await store.list_sizes("mx-ciber", COLLECTION) == {"ipv4": 9, "urls": 1}
    assert await store.list_sizes("us-cyber", COLLECTION) == {"ipv4": 5}
    assert await store.list_sizes("mx-ciber", "another") == {}
    [refused] = await store.extend([with_sizes(size("ipv4", 0), agreement=7)])
    assert isinstance(refused, Outdated)
    assert await store.list_sizes("mx-ciber", COLLECTION) == {"ipv4": 9, "urls": 1}
    assert await store.epochs() == before, "nobody's rules are read anew for it"


async def test_a_credential_keeps_what_it_was_made_for(store: Store) -> None:
    member = Member("us-cyber", "identity--1", Country.US, "agency", ("agency",), (), "A", "B")
    credential = Credential("c1", "us-cyber", "token", b"d" * 32, 1, 2, note="n", product="elastic")
    await store.extend([act()._replace(changes=(member, credential))])
    assert (await store.registry()).credentials == {"c1": credential}


@pytest.mark.parametrize("text", ["indicator--\0", "\0", "", "\N{REPLACEMENT CHARACTER}", "'; --", "%"])
async def test_no_text_from_outside_is_more_than_not_found(store: Store, text: str) -> None:
    """PostgreSQL refuses NUL, and with it all else in the transaction."""
    await done(store, act(new(made(1))))
    labels = [row.id for row in await store.labels()]
    for match in (Filter(ids=(text,)), Filter(types=(text,)), Filter(versions=(text,))):
        assert (await store.page(COLLECTION, labels, match, 0, 9, until_us=FOREVER)).rows == ()
        assert (await store.spans(COLLECTION, labels, match, 0, 9, until_us=FOREVER)).spans == ()
    assert await store.held(text) == []
    assert await store.status(text) is None
    [removed, other] = await store.extend([act(removals=(Removal(COLLECTION, text, "us-cyber"),)), act(new(made(2)))])
    assert isinstance(removed, Done)
    assert removed.stamp.removed == ((),)
    assert isinstance(other, Done)


async def test_a_second_root_for_a_size_cannot_be_kept(store: Store) -> None:
    """Invariant I5."""
    await store.add_checkpoint(CheckpointRow("us", 4, b"a" * 32, b"note", 1))
    await store.add_checkpoint(CheckpointRow("us", 4, b"a" * 32, b"note", 2))
    with pytest.raises(LedgerFault, match="fork"):
        await store.add_checkpoint(CheckpointRow("us", 4, b"b" * 32, b"note", 3))


async def test_tiles_become_full_and_prove(store: Store) -> None:
    for start in range(0, 700, 175):
        await done(store, act(*(new(made(n)) for n in range(start, start + 175))))
    await check_log(store)
    assert len(await store.tile("us", 0, 1, 256)) == 8192
    assert len(await store.tile("us", 0, 2, 188)) == 188 * 32
    assert len(await store.tile("us", 1, 0, 2)) == 64


def step(number: int, *turns: Turn, waiting: tuple[Waiting, ...] = (), runs_at_most: int = 9) -> Act:
    change = ViewChange("mx-ciber", number, 0, b"o", 0, EVER, turns, waiting, runs_at_most)
    return act()._replace(view=change)


async def test_a_view_takes_one_step_at_a_time(store: Store) -> None:
    """Late runs get ticks behind all there are, in the order of placement, as many at a time as are asked for; of two steps from
    one place the second is refused, and what it would have done with it."""
    label = 1
    runs = [
        (await done(store, act(new(made(number)), new(made(10 + number))))).stamp.placed[0].tick for number in range(3)
    ]
    opened, waiting = Turn(label, True, (Window(NOW, EVER),), 0), (Waiting(label, COLLECTION, NOW),)
    first, second = await store.extend(
        [step(0, opened, waiting=waiting, runs_at_most=2), step(0, opened, waiting=waiting)]
    )
    assert isinstance(first, Done) and isinstance(second, Outdated)
    assert [(late.run, late.size, late.label) for late in first.stamp.step.late] == [
        (run, 2, label) for run in runs[:2]
    ]
    view = await store.view("mx-ciber")
    assert view is not None and view.settled(label) == runs[1]
    [since, _] = view.windows[label][0]
    rest = await done(store, step(1, waiting=(Waiting(label, COLLECTION, since),)))
    assert [late.run for late in rest.stamp.step.late] == runs[2:]
    view = await store.view("mx-ciber")
    assert view is not None and view.settled(label) == EVER
    ticks = [late.tick for late in (*first.stamp.step.late, *rest.stamp.step.late)]
    assert ticks == [ticks[0], ticks[0] + 2, ticks[0] + 4] and ticks[0] > runs[2] + 1
    assert [late.tick for late in await store.late("mx-ciber", COLLECTION)] == ticks
    added = (await done(store, act(new(made(20))))).stamp.placed[0].tick
    page = await store.page(COLLECTION, [label], Filter(), 0, 9, until_us=FOREVER, view=view)
    assert [row.tick for row in page.rows] == [*range(ticks[0], ticks[0] + 6), added]
    assert await store.ripe([(label, runs[0]), (99, 0)]) == {label: runs[1]}
    assert await store.ripe([(label, added)]) == {}
    await done(store, step(2, Turn(label, False)))
    assert await store.late("mx-ciber", COLLECTION) == []


async def test_a_step_judged_by_another_registry_is_refused(store: Store) -> None:
    member = Member("us-cyber", "identity--1", Country.US, "agency", ("agency",), (), "A", "B")
    _, refused = await store.extend([act()._replace(changes=(member,)), step(0)])
    assert isinstance(refused, Outdated)
    assert await store.view("mx-ciber") is None


async def test_two_stores_on_one_database_share_one_order(place: Place) -> None:
    stores = [await open_at(place) for _ in range(2)]
    results = await asyncio.gather(*(stores[n % 2].extend([act(new(made(n)))]) for n in range(40)))
    ticks = [r.stamp.placed[0].tick for [r] in results if isinstance(r, Done)]
    assert len(set(ticks)) == 40
    await check_log(stores[0])
    for store in stores:
        await store.close()


async def test_what_cannot_be_answered_at_once_is_answered_all_the_same(store: Store) -> None:
    """A question about one id is asked on the event loop (SQLite), and taken from there when there is too much of it."""
    count = 4_000
    await done(store, act(*(new(made(1, 0, modified=stamp(n))) for n in range(count)), new(made(2))))
    labels = [row.id for row in await store.labels()]
    every = Filter(ids=(made(1).id,), versions=("all",))
    found = await store.spans(COLLECTION, labels, every, 0, count, until_us=FOREVER)
    assert (sum(span.size for span in found.spans), found.more) == (count, False)
    assert len((await store.page(COLLECTION, labels, every, 0, count, until_us=FOREVER)).rows) == count
    assert len((await store.page(COLLECTION, labels, Filter(ids=(made(2).id,)), 0, 9, until_us=FOREVER)).rows) == 1


@pytest.mark.rule("PAG-02")
async def test_a_page_of_hundreds_of_runs_is_what_one_of_few_is(store: Store) -> None:
    """Under hundreds of labels lie as many runs; a page of them is read in few steps. Where it was placed and released late, with
    gaps where something was taken out, whatever a page begins with."""
    objects = [made(number, more="ñ" * (number % 7)) for number in range(1_300)]
    labels = [f"label {number // 3 if number < 300 else number}" for number in range(len(objects))]
    placed = (await done(store, act(*map(new, objects, labels)))).stamp.placed
    ids = [row.id for row in await store.labels()]
    gone = {0, 7, 8, 600, 1_299}
    await done(store, act(removals=tuple([Removal(COLLECTION, objects[one].id, "us-cyber") for one in sorted(gone)])))
    lies = {
        one.tick: obj.body for number, (one, obj) in enumerate(zip(placed, objects, strict=True)) if number not in gone
    }
    assert await walked(store, ids) == lies

    opened = [Turn(label, True, (Window(NOW, EVER),), 0) for label in ids]
    waiting = tuple([Waiting(label, COLLECTION, NOW) for label in ids])
    late = (await done(store, step(0, *opened, waiting=waiting, runs_at_most=10_000))).stamp.step.late
    assert len(late) == 1_100
    again = {run.tick + n: lies[run.run + n] for run in late for n in range(run.size) if run.run + n in lies}
    assert await walked(store, ids, await store.view("mx-ciber")) == again and len(again) == len(lies)


async def walked(store: Store, labels: list[int], view: View | None = None) -> dict[int, bytes]:
    """Everything, by tick, in pages of 700."""
    found: dict[int, bytes] = {}
    after, more = 0, True
    while more:
        page = await store.spans(COLLECTION, labels, Filter(), after, 700, until_us=FOREVER, view=view)
        for span in page.spans:
            parts = orjson.loads(b"[%b]" % span.content)
            assert len(parts) == span.size and len(span.items) == 32 * span.size
            found |= {span.first_tick + n: canonical(one) for n, one in enumerate(parts)}
        after, more = page.spans[-1].first_tick + page.spans[-1].size - 1, page.more
    return found


def stamp(number: int) -> str:
    return f"2026-01-01T00:{number // 1000:02d}:00.{number % 1000:03d}Z"


# --- pages against a small reference model ---

VERSIONS = st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from("abc"))
ACTS = st.lists(st.one_of(st.lists(VERSIONS, min_size=1, max_size=12), st.integers(0, 5)), max_size=12)
"""Submissions of versions (number, version, label), and removals of all versions of a number."""


PAGES = given(
    acts=ACTS,
    labels=st.sets(st.sampled_from("abc")),
    match=st.sampled_from([("last",), ("first",), ("all",), ("first", "last"), ("2026-01-01T00:00:00.002",)]),
    limit=st.integers(1, 7),
    after=st.integers(0, 20),
    before=st.integers(0, 20) | st.just(1000),
    by_id=st.booleans(),
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@PAGES
@pytest.mark.rule("FLT-01", "FLT-20", "FLT-28", "FLT-29", "FLT-30", "FLT-31", "FLT-32", "FLT-33", "FLT-43")
@pytest.mark.rule("FLT-46", "PAG-02", "PAG-22")
async def test_pages_are_what_the_model_says(tmp_path: Path, **drawn: Any) -> None:
    await compare_pages(await emptied(tmp_path / "hub.sqlite"), **drawn)


@pytest.fixture
def database_url(databases: Databases) -> str:
    return asyncio.run(databases.fresh())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@PAGES
async def test_pages_of_postgres_are_what_the_model_says(database_url: str, **drawn: Any) -> None:
    """Fewer examples: each takes twenty times as long to set up."""
    await compare_pages(await emptied(database_url), **drawn)


async def compare_pages(
    place: Place,
    acts: list[list[tuple[int, int, str]] | int],
    labels: set[str],
    match: tuple[str, ...],
    limit: int,
    after: int,
    before: int,
    by_id: bool,
) -> None:
    """First and last are judged among what the reader may see and asked for, and who may not see the newest version sees none.
    Rows and bytes tell the same, whatever was superseded or taken out meanwhile."""
    store = await open_at(place)
    placed: list[tuple[int, int, int, str]] = []
    for one in acts:
        if isinstance(one, int):
            await done(store, act(removals=(Removal(COLLECTION, made(one).id, "us-cyber"),)))
            placed = [row for row in placed if row[1] != one]
            continue
        stamp = (
            await done(store, act(*[new(made(number, version), label=label) for number, version, label in one]))
        ).stamp
        placed += [(p.tick, *of) for p, of in zip(stamp.placed, one, strict=True) if p.verdict is Verdict.STORED]
    placed.sort()
    low = placed[after][0] if after < len(placed) else 0
    until = placed[before][0] if before < len(placed) else FOREVER
    wanted = {0, 3} if by_id else set(range(6))
    newest = {row[1]: row for row in sorted(placed, key=lambda row: row[2])}
    shown = [row for row in placed if row[3] in labels and newest[row[1]][3] in labels]
    seen = [row for row in shown if row[0] > low and row[1] in wanted]

    def matches(row: tuple[int, int, int, str]) -> bool:
        family = [other[2] for other in seen if other[1] == row[1]]
        return (
            "all" in match
            or ("last" in match and row[2] == max(family))
            or ("first" in match and row[2] == min(family))
            or f"2026-01-01T00:00:00.00{row[2]}" in match
        )

    expected = [row for row in seen if matches(row) and row[0] <= until]
    ids = tuple(made(number).id for number in sorted(wanted)) if by_id else ()
    allowed = [row.id for row in await store.labels() if row.facets in labels]
    question = Filter(low, ids=ids, versions=match)
    got: list[int] = []
    bodies: list[bytes] = []
    position = 0
    while True:
        page = await store.page(COLLECTION, allowed, question, position, limit, until_us=until)
        got += [row.tick for row in page.rows]
        assert len(page.rows) == limit or not page.more
        found = await store.spans(COLLECTION, allowed, question, position, limit, until_us=until)
        assert (found.more, found.low_us) == (page.more, page.low_us)
        ticks = [tick for span in found.spans for tick in range(span.first_tick, span.last_tick + 1)]
        assert ticks == [row.tick for row in page.rows]
        assert b"".join(span.items for span in found.spans) == b"".join(row.item for row in page.rows)
        bodies += [span.content for span in found.spans]
        if not page.more:
            break
        position = page.rows[-1].tick
    assert got == [row[0] for row in expected], as_text(low)
    assert b",".join(bodies) == b",".join(made(number, version).body for _, number, version, _ in expected)
    for number in {row[1] for row in placed}:
        held = await store.held(made(number).id)
        assert sorted(one.body for one in held) == sorted(made(*row[1:3]).body for row in placed if row[1] == number)
    await store.close()
