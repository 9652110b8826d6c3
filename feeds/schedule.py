"""Many sources side by side and for ever: each at its cadence, slower while it fails, not at all while it is paused."""

import asyncio
from collections.abc import Sequence
from secrets import randbelow

import structlog

from exchange.times import parse_us
from feeds.faults import FeedFault
from feeds.report import Run
from feeds.runner import Job, Pause, Progress, run_once
from feeds.telling import ADAPTER

PAUSED_SECONDS = 60.0
"""How often a paused source is looked at, whether it still is."""

_log = structlog.get_logger("puente.feeds")


async def run_all(
    jobs: Sequence[Job], *, on_progress: Progress | None = None, pause: Pause = asyncio.sleep
) -> list[Run]:
    """Every source once, side by side. One that fails stops no other, whatever goes wrong in it."""
    return list(await asyncio.gather(*(_guarded(job, on_progress, pause) for job in jobs)))


async def keep_running(jobs: Sequence[Job], *, on_run: Progress, pause: Pause = asyncio.sleep) -> None:
    """Every source at its cadence until cancelled, each a little off so that they do not all fetch at once.

    What was due while nobody ran it is run now; what is not due yet waits for its turn, also after a restart.
    """

    async def repeat(job: Job) -> None:
        await pause(_left_seconds(job))
        while True:
            if job.papers.pause_file.exists():
                await pause(PAUSED_SECONDS)
                continue
            run = await _guarded(job, None, pause)
            on_run(run)
            await pause(_wait(job, randbelow(1000) / 1000))

    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(repeat(job))


def wait_seconds(cadence: float, faults: int, chance: float, at_least: float = 0.0) -> float:
    """Until the next run: the cadence, plus up to a tenth. After a fault a minute, doubling up to the cadence: a source
    that is broken for good is tried as often as a good one, and no more. `at_least` is what it asked for itself."""
    wait = cadence if faults == 0 else min(cadence, 60.0 * 2 ** min(faults - 1, 20))
    return float(max(wait, at_least) * (1 + 0.1 * chance))


def _wait(job: Job, chance: float = 0.0) -> float:
    """After the last run, whichever process ran it."""
    last = job.papers.last()
    asked = float(last.get("retry_after_seconds", 0))
    return wait_seconds(job.source.cadence_seconds, int(last.get("faults", 0)), chance, asked)


def _left_seconds(job: Job) -> float:
    """Until the turn of a source that another process ran last."""
    last = job.papers.last()
    if not last:
        return 0.0
    return max(0.0, _wait(job) - (job.clock.now_us() - parse_us(last["ended"])) / 1_000_000)


async def _guarded(job: Job, on_progress: Progress | None, pause: Pause) -> Run:
    try:
        return await run_once(job, on_progress=on_progress, pause=pause)
    except Exception as error:  # noqa: BLE001  # an adapter is others' code: whatever it raises, the other feeds go on
        _log.exception("feed failed", source=job.source.name, exc_info=error)
        fault = FeedFault(
            ADAPTER,
            f"The adapter failed: {type(error).__name__}.",
            f"El adaptador falló: {type(error).__name__}.",
        )
        run = Run(job.source.name, job.source.calls, fault=fault)
        now_us = job.clock.now_us()
        await asyncio.to_thread(job.papers.write_report, run, now_us, now_us)
        return run
