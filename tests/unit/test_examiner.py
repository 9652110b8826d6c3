"""What waits for the examiner is judged together, and everybody is told of his own."""

import asyncio
import threading
from typing import Any, cast

import pytest

from exchange.intake.examine import Desk, Failure
from exchange.intake.examiner import AT_ONCE_OBJECTS, Examiner
from exchange.settings import Settings


class Turn:
    """A lock that counts."""

    def __init__(self) -> None:
        self.taken = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self.taken += 1

    def __exit__(self, *fault: object) -> None:
        self._lock.release()


def desk_of(limit: int) -> Desk:
    """One on which nothing that is laid is an object, which is told before anything else is looked at."""
    names = dict.fromkeys(Desk._fields)
    return Desk(**cast(dict[str, Any], names | {"settings": Settings(object_limit_bytes=limit)}))


@pytest.fixture
def turn() -> Turn:
    return Turn()


async def asked(examiner: Examiner, values: list[Any], desk: Desk) -> list[str]:
    return [one.code for one in await examiner.judge(values, desk) if isinstance(one, Failure)]


async def test_what_came_one_by_one_is_judged_together_each_on_its_desk(turn: Turn) -> None:
    examiner = Examiner(cast(threading.Lock, turn))
    wide, narrow = desk_of(1_000), desk_of(10)
    long = "x" * 20
    found = await asyncio.gather(
        *(asked(examiner, [long], desk) for desk in (wide, narrow, wide)),
        asked(examiner, [1, long], narrow),
    )
    assert found == [
        ["stix-not-object"], ["object-too-large"], ["stix-not-object"], ["stix-not-object", "object-too-large"]
    ]  # fmt: skip
    assert turn.taken == 1
    examiner.close()


async def test_a_large_envelope_lets_others_take_their_turn(turn: Turn) -> None:
    examiner = Examiner(cast(threading.Lock, turn))
    order: list[str] = []

    async def one(name: str, count: int) -> None:
        assert len(await asked(examiner, [0] * count, desk_of(10))) == count
        order.append(name)

    await asyncio.gather(one("large", 3 * AT_ONCE_OBJECTS), one("small", 1))
    assert order == ["small", "large"]
    assert turn.taken == 4, "no more at once than is good for others"
    examiner.close()


async def test_who_went_away_keeps_nobody_from_the_answer(turn: Turn) -> None:
    examiner = Examiner(cast(threading.Lock, turn))
    with turn:
        gone = asyncio.ensure_future(asked(examiner, [1], desk_of(10)))
        stays = asyncio.ensure_future(asked(examiner, [2], desk_of(10)))
        await asyncio.sleep(0.01)
        gone.cancel()
    assert await stays == ["stix-not-object"]
    examiner.close()
