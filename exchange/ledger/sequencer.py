"""The sequencer: everything that changes the hub queues here, and is committed in groups, in order, with its entries.

While one group is being committed the next one gathers: the running commit is the batching window, so a lone act
waits for nobody and a thousand at once share one fsync (ledger design, 3.3). What places nothing goes first, for a page waits
for its release leaf; whoever queues two acts without awaiting the first has said that their order is nothing to him.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from exchange.clock import Clock
from exchange.errors import Unavailable
from exchange.store.acts import Act, Done
from exchange.store.contract import ClockStepped, Halted, Outdated, Store

GROUP_ACTS = 500
GROUP_OBJECTS = 4000
"""A group holds the lock for some 40 µs an object: larger ones would make a poll's release leaf wait too long."""

BESIDE_OBJECTS = 500
"""The same of a group in which somebody waits who places nothing: 20 ms. One act of those that place goes with it in any case."""

GATHER_SECONDS = 0.005
"""A group waits no longer than this for requests that have arrived but not yet queued their acts: about one fsync."""

CLOCK_STEP_US = 5_000_000
"""How far the clock may run ahead of the time that has passed since this process's last commit (ledger design, 3.8)."""

_CODES = {Halted: "ledger-halted", ClockStepped: "clock-step"}

_log = structlog.get_logger("puente.sequencer")

_QUIET_TURNS = 2
"""Of the event loop: in one a request is read from its connection, in the next it is handled."""

QUEUE_ACTS = 10_000
"""Beyond this the hub says 503 rather than gather a backlog it cannot drain."""

PATIENCE_SECONDS = 0.1
"""What nobody waits for gives way to all others for so long, and then goes with them: a busy hub gets on with it, too."""


@dataclass(slots=True)
class _Waiting:
    act: Act
    future: asyncio.Future[Done]
    until: float = 0.0
    """By the loop's time: when a patient one goes with the others."""


class Sequencer:
    """Owns the order of all writes of this process. `run` must be running; `append` then returns durable results."""

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        logs: Iterable[str] | None = None,
        *,
        gather_seconds: float = GATHER_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """With a `clock`, nothing is stamped by one that was set forward: see CLOCK_STEP_US. With `logs`, nothing is written to
        others: a log may be closed, and a next one begun, while this process slept."""
        self._store = store
        self._clock = clock
        self._logs = frozenset(logs) if logs is not None else None
        self._gather_seconds = gather_seconds
        self._patience_seconds = patience_seconds
        self._offset_us: int | None = None
        """By how much stamps were ahead of the steady clock, at most."""
        self._placing: deque[_Waiting] = deque()
        self._others: deque[_Waiting] = deque()
        self._patient: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self.accepted = 0
        """How many acts were queued so far."""
        self.committed = asyncio.Event()
        """Set after each group that wrote something; the publisher clears it."""

    async def append(self, act: Act, *, patient: bool = False) -> Done:
        """Commit one act. Returns when it is durable. A `patient` one gives way to others, for nobody waits to be answered.

        Raises Outdated when the agreement changed meanwhile (decide again), Unavailable when the ledger cannot be
        written (nothing may be shown or sent then), and whatever the act's own `record` raised.
        """
        if self._closing or self._waiting >= QUEUE_ACTS:
            raise _unavailable()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(act, loop.create_future(), loop.time() + self._patience_seconds)
        (self._patient if patient else self._placing if _objects(act) else self._others).append(waiting)
        self.accepted += 1
        self._arrived.set()
        return await waiting.future

    async def run(self) -> None:
        """Commit groups until `close`; what was accepted before closing is still committed."""
        left = False
        while not (self._closing and not self._waiting):
            await self._arrived.wait()
            if not left:  # what a group had no room for has waited long enough
                await self._gather()
            group = self._take()
            left = bool(self._placing or self._others)
            if group:
                await self._commit(group)

    def close(self) -> None:
        """Accept nothing more; `run` ends when the queue is empty."""
        self._closing = True
        self._arrived.set()

    async def _gather(self) -> None:
        """Let what has arrived queue too. A commit costs as much CPU as handling a request, however many acts are in it."""
        now = asyncio.get_running_loop().time
        until, quiet = now() + self._gather_seconds, 0
        while quiet < _QUIET_TURNS and self._waiting < GROUP_ACTS and now() < until:
            before = self._waiting
            await asyncio.sleep(0)
            quiet = 0 if self._waiting > before else quiet + 1

    def _take(self) -> list[_Waiting]:
        group = [self._others.popleft() for _ in range(min(len(self._others), GROUP_ACTS))]
        objects, at_most = 0, BESIDE_OBJECTS if group else GROUP_OBJECTS
        while self._placing and (objects == 0 or len(group) < GROUP_ACTS):
            size = _objects(self._placing[0].act)
            if objects and objects + size > at_most:
                break
            objects += size
            group.append(self._placing.popleft())
        if self._patient and (not group or self._patient[0].until <= asyncio.get_running_loop().time()):
            group.append(self._patient.popleft())
        if not self._waiting and not self._closing:
            self._arrived.clear()
        return group

    @property
    def _waiting(self) -> int:
        return len(self._placing) + len(self._others) + len(self._patient)

    async def _commit(self, group: list[_Waiting]) -> None:
        # Read first: what the commit takes is no step.
        steady_us = self._clock.steady_us() if self._clock is not None else 0
        until_us = None if self._offset_us is None else steady_us + self._offset_us + CLOCK_STEP_US
        try:
            results = await self._store.extend([waiting.act for waiting in group], until_us=until_us, logs=self._logs)
        except Exception as error:  # noqa: BLE001  # the group's fault is every waiter's answer; the loop must live on
            # The outcome is unknown: it may be committed. Nobody is told success; a retry finds duplicates.
            for waiting in group:
                _settle(waiting.future, _unavailable(error))
            return
        self.committed.set()
        self._see(results, steady_us)
        for waiting, result in zip(group, results, strict=True):
            _settle(waiting.future, result)

    def _see(self, results: Sequence[Done | Exception], steady_us: int) -> None:
        """After a step back stamps stand still: the offset stays what it was, as if they had gone on."""
        stamped = next((one.stamp.time_us for one in results if isinstance(one, Done)), None)
        if self._clock is not None and stamped is not None:
            self._offset_us = max(stamped - steady_us, self._offset_us or stamped - steady_us)


def _objects(act: Act) -> int:
    """What an act counts as in a group; 0 for one that places nothing."""
    return len(act.objects) + len(act.removals) + act.weight


def _settle(future: asyncio.Future[Done], result: Done | Exception) -> None:
    if future.done():  # its caller went away; the act stands all the same
        return
    if isinstance(result, Done):
        future.set_result(result)
    else:
        future.set_exception(result)


def _unavailable(cause: Exception | None = None) -> Unavailable:
    code = next((code for kind, code in _CODES.items() if isinstance(cause, kind)), "ledger-busy")
    if isinstance(cause, ClockStepped):
        _log.error("the clock was set forward; confirm it: puente ledger clock --confirm", reason=str(cause))
    refusal = Unavailable(
        "The exchange log cannot be written now, so nothing was done. Try again shortly.",
        "El registro del intercambio no puede escribirse ahora, por lo que no se hizo nada. Intente de nuevo en breve.",
        code=code,
    )
    refusal.__cause__ = cause
    return refusal


__all__ = ["Outdated", "Sequencer"]
