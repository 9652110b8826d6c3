"""The thread that judges objects beside the event loop. What waits for it is judged together, whoever sent it.

While some are judged the next ones gather, as acts do before the sequencer: a lone object waits for nobody, and a hundred that
came one by one share the way to the thread and back, which costs as much as judging one of them.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

from exchange.intake.examine import Desk, Examined, Failure, judge

AT_ONCE_OBJECTS = 100
"""Examined in one go off the event loop: some 15 ms, the longest that another envelope, or the writer, waits."""

Made = TypeVar("Made")


class _Part(NamedTuple):
    """Objects of one envelope, each with the desk it is to be laid on, and who waits for what comes of them."""

    objects: Sequence[tuple[Any, Desk]]
    outcomes: asyncio.Future[list[Examined | Failure]]


class Examiner:
    """One thread: two would take the interpreter from each other."""

    def __init__(self, turn: threading.Lock) -> None:
        """`turn` is held while objects are judged (Store.turn)."""
        self._turn = turn
        self._thread = ThreadPoolExecutor(1, "examiner")
        self._waiting: deque[_Part] = deque()
        self._busy = False

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def run(self, work: Callable[..., Made], *values: Any) -> Made:
        """Do something else on the same thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *values)

    async def judge(self, values: Sequence[Any], desk: Desk) -> list[Examined | Failure]:
        """What comes of each object, in order. Others take their turn between the parts of a large envelope."""
        loop = asyncio.get_running_loop()
        outcomes: list[Examined | Failure] = []
        for start in range(0, len(values), AT_ONCE_OBJECTS):
            part = _Part([(value, desk) for value in values[start : start + AT_ONCE_OBJECTS]], loop.create_future())
            self._waiting.append(part)
            if not self._busy:
                self._busy = True
                loop.call_soon(self._begin)  # so that what arrived with it comes along
            outcomes += await part.outcomes
        return outcomes

    def _begin(self) -> None:
        parts = [self._waiting.popleft()]
        room = AT_ONCE_OBJECTS - len(parts[0].objects)
        while self._waiting and len(self._waiting[0].objects) <= room:
            room -= len(self._waiting[0].objects)
            parts.append(self._waiting.popleft())
        asked = asyncio.get_running_loop().run_in_executor(self._thread, self._judge, parts)
        asked.add_done_callback(partial(self._settle, parts))

    def _judge(self, parts: Sequence[_Part]) -> list[Examined | Failure]:
        with self._turn:
            return judge(list(chain.from_iterable(part.objects for part in parts)))

    def _settle(self, parts: Sequence[_Part], asked: asyncio.Future[list[Examined | Failure]]) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            self._begin()  # first: it judges while these are told
        fault = asked.exception()
        outcomes = iter(asked.result() if fault is None else ())
        for part in parts:
            found = list(islice(outcomes, len(part.objects)))
            if part.outcomes.done():  # its caller went away
                continue
            if fault is None:
                part.outcomes.set_result(found)
            else:
                part.outcomes.set_exception(fault)
