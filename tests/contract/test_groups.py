"""Acts that are committed together: none of them is judged or kept otherwise than alone, whatever becomes of its neighbours."""

import asyncio

from exchange.model.versions import Verdict
from exchange.store.acts import Act, Done, NewObject, Record, Removal, Stamp
from exchange.store.contract import Outdated, Store
from exchange.store.runs import RUN_OBJECTS
from tests.contract.test_store import COLLECTION, act, check_log, made, new
from tests.places import Place, ask


async def verdicts(store: Store, *acts: Act) -> list[Verdict | type[Exception]]:
    results = await store.extend(acts)
    return [one.stamp.placed[0].verdict if isinstance(one, Done) else type(one) for one in results]


def failing(*objects: NewObject) -> Act:
    def refuse(stamp: Stamp) -> Record:
        raise RuntimeError("no")

    return Act("bad", refuse, objects=objects)


async def test_neighbours_of_one_label_lie_in_one_run(store: Store, place: Place) -> None:
    numbers = [*range(RUN_OBJECTS + 6)]
    acts = [act(new(made(number))) for number in numbers]
    others = [act(new(made(1_000), label="b")), failing(new(made(1_001))), act(new(made(1_002)), new(made(1_003)))]
    results = await store.extend([*acts, *others, act(new(made(1_004)))])
    assert [isinstance(one, Done) for one in results].count(False) == 1
    ticks = [placed.tick for one in results if isinstance(one, Done) for placed in one.stamp.placed]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert await ask(place, "SELECT count(*) FROM run") == 4, "64 and 6, the one between, and what came behind it"
    assert await ask(place, "SELECT count(*) FROM placement p JOIN run r ON r.first_tick = p.run"
                            " WHERE p.tick < r.first_tick OR p.tick >= r.first_tick + r.count") == 0  # fmt: skip
    for number, tick in zip([*numbers, 1_000, 1_002, 1_003, 1_004], ticks, strict=True):
        [held] = await store.held(made(number).id)
        assert (held.body, held.placements[0][0]) == (made(number).body, tick)
    await check_log(store)


async def test_one_object_in_several_acts_is_judged_as_if_they_came_one_by_one(store: Store) -> None:
    found = await verdicts(
        store, act(new(made(1))), act(new(made(1))), failing(new(made(1, 3))), act(new(made(1, name="other"))),
        act(new(made(1, 5))), act(new(made(1, 9)), removals=(Removal(COLLECTION, made(1).id, "us-cyber"),)),
        act(new(made(1, 5, name="other"))),
    )  # fmt: skip
    assert found == [
        Verdict.STORED, Verdict.DUPLICATE, RuntimeError, Verdict.CONFLICT, Verdict.STORED, Verdict.STORED, Verdict.CONFLICT
    ]  # fmt: skip
    assert await store.held(made(1).id) == []
    await check_log(store)


async def test_an_act_that_has_one_object_twice_leaves_no_trace_when_it_fails(store: Store) -> None:
    twice = new(made(1))
    assert await verdicts(store, failing(twice, twice), act(new(made(2)))) == [RuntimeError, Verdict.STORED]
    assert await store.held(made(1).id) == []
    await check_log(store)


async def test_what_was_asked_for_an_act_that_is_not_written_is_no_answer_for_another(store: Store) -> None:
    for version in range(3):
        assert await verdicts(store, act(new(made(1, version)))) == [Verdict.STORED]
    outdated, conflict = act(new(made(1, 5)), agreement=7), act(new(made(1, 1, name="other")))
    assert await verdicts(store, outdated, conflict) == [Outdated, Verdict.CONFLICT]


async def test_acts_of_many_callers_at_once_keep_their_own(store: Store) -> None:
    results = await asyncio.gather(*(store.extend([act(new(made(n))), act(new(made(n + 100)))]) for n in range(20)))
    assert all(isinstance(one, Done) for group in results for one in group)
    await check_log(store)
