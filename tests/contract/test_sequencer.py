"""The sequencer: what is committed together, in which order, and what becomes of what it accepted."""

import asyncio
from collections.abc import Sequence
from typing import cast

from exchange.ledger.sequencer import Sequencer
from exchange.store.acts import Act, Done
from exchange.store.contract import Store
from tests.contract.test_store import act, made, new


class Watched:
    """A store that notes what is committed together."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.groups: list[list[str]] = []

    async def extend(self, batch: Sequence[Act], **_: object) -> list[Done | Exception]:
        self.groups.append([one.req for one in batch])
        return await self._store.extend(batch)


async def test_the_sequencer_finishes_what_it_accepted(store: Store) -> None:
    sequencer = Sequencer(store)
    running = asyncio.get_running_loop().create_task(sequencer.run())
    waiting = [asyncio.get_running_loop().create_task(sequencer.append(act(new(made(n))))) for n in range(50)]
    await asyncio.sleep(0)
    sequencer.close()
    results = await asyncio.gather(*waiting)
    await running
    assert sorted(r.leaves[0].index for r in results) == list(range(50))


async def test_what_arrives_together_is_committed_together(store: Store) -> None:
    async def arrive(turns: int) -> Done:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await sequencer.append(act())

    watched = Watched(store)
    sequencer = Sequencer(cast(Store, watched), gather_seconds=60)  # turns decide, however long they take
    running = asyncio.get_running_loop().create_task(sequencer.run())
    await asyncio.gather(*(arrive(turns) for turns in range(5)))
    sequencer.close()
    await running
    assert list(map(len, watched.groups)) == [5]


async def groups(store: Store, patience_seconds: float) -> list[list[str]]:
    """What is committed together of a patient act and three others, each of which comes when the one before it is durable."""
    watched = Watched(store)
    sequencer = Sequencer(cast(Store, watched), gather_seconds=60, patience_seconds=patience_seconds)
    tasks = asyncio.get_running_loop()
    running = tasks.create_task(sequencer.run())
    patient = tasks.create_task(sequencer.append(act()._replace(req="patient"), patient=True))
    await asyncio.sleep(0)
    for req in ("first", "second", "third"):
        await sequencer.append(act(new(made(len(watched.groups))))._replace(req=req))
    await patient
    sequencer.close()
    await running
    return watched.groups


async def test_what_nobody_waits_for_gives_way(store: Store) -> None:
    assert await groups(store, 60) == [["first"], ["second"], ["third"], ["patient"]]


async def test_and_goes_with_the_others_in_the_end(store: Store) -> None:
    """A hub that always has something to write would never come to it."""
    assert await groups(store, 0) == [["first", "patient"], ["second"], ["third"]]
