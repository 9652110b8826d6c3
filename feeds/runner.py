"""Runs a source: read, map, leave out what did not change, submit as a member, and remember what the hub took."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from secrets import randbelow
from typing import Any, TypeVar

import orjson
import structlog

from certs.jcs import JsonError
from certs.keys import replace_file
from exchange.client import Client, Provenance, SubmitResult
from exchange.clock import Clock
from exchange.errors import NotAuthenticated, Refusal, Text, TooFast, Unavailable
from exchange.times import as_text
from feeds.adapter import Adapter, Fetched, Record, Skipped, load_adapter
from feeds.catalogue import Source
from feeds.faults import FeedFault
from feeds.state import Change, FeedState, Sending
from feeds.versions import own_change, passed_change, revocation

BATCH_OBJECTS = 500
FETCHES = 3
LONGEST_WAIT_SECONDS = 120
"""A source that asks for more patience is left until its next turn."""

_PASSING = (NotAuthenticated, TooFast, Unavailable)
"""Refusals of a whole envelope after which the same bytes may still be taken."""

_log = structlog.get_logger("puente.feeds")

Pause = Callable[[float], Awaitable[None]]
T = TypeVar("T")


@dataclass(slots=True)
class Run:
    """What one run of one source did. `fault` is why it ended early."""

    source: str
    records: int = 0
    objects: int = 0
    unchanged: int = 0
    accepted: int = 0
    revoked: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    fault: Refusal | None = None

    @property
    def ok(self) -> bool:
        return self.fault is None


Progress = Callable[[Run], None]


@dataclass(frozen=True)
class Job:
    """One source, and the member's client that submits what is made of it. `directory` holds the feed's memory."""

    source: Source
    adapter: Adapter
    client: Client
    directory: Path
    clock: Clock

    @classmethod
    def of(cls, source: Source, client: Client, directory: Path, clock: Clock) -> "Job":
        """With the installed adapter that the source names. Raises NotFound; ValueError for a client that cannot sign."""
        if client.signer is None:
            raise ValueError("a feed's client needs the operator's signing key")
        return cls(source, load_adapter(source, client.signer.identity_id), client, directory, clock)

    @property
    def state_file(self) -> Path:
        return self.directory / f"{self.source.name}.sqlite"

    @property
    def report_file(self) -> Path:
        """JSON: when the last run ended, and what it did."""
        return self.directory / f"{self.source.name}.run.json"

    @property
    def quarantine_file(self) -> Path:
        """JSON lines: what stands refused, and what the last run could not read, each with its reason."""
        return self.directory / f"{self.source.name}.quarantine.jsonl"


# --- running ---


async def run_once(job: Job, *, on_progress: Progress | None = None, pause: Pause = asyncio.sleep) -> Run:
    """One run. A fault of the source or the hub ends it and is told in the result; what was accepted stays accepted."""
    run = Run(job.source.name)
    with FeedState(job.state_file) as state:
        turn = _Turn(job, state, run, on_progress or (lambda _: None), pause)
        try:
            await turn.take()
        except Refusal as refusal:
            run.fault = refusal
        finally:
            await _to_end(lambda: _write_quarantine(job.quarantine_file, state, turn.skipped))
            await asyncio.to_thread(_write_report, job, run)
    _log.info(
        "feed run", source=run.source, records=run.records, accepted=run.accepted, unchanged=run.unchanged,
        revoked=run.revoked, refused=dict(run.refused), skipped=dict(run.skipped), fault=run.fault and run.fault.code,
    )  # fmt: skip
    return run


async def run_all(
    jobs: Sequence[Job], *, on_progress: Progress | None = None, pause: Pause = asyncio.sleep
) -> list[Run]:
    """Every source once, side by side. One that fails stops no other, whatever goes wrong in it."""
    return list(await asyncio.gather(*(_guarded(job, on_progress, pause) for job in jobs)))


async def keep_running(jobs: Sequence[Job], *, on_run: Progress, pause: Pause = asyncio.sleep) -> None:
    """Every source at its cadence until cancelled, each a little off so that they do not all fetch at once."""

    async def repeat(job: Job) -> None:
        faults = 0
        while True:
            run = await _guarded(job, None, pause)
            on_run(run)
            faults = 0 if run.ok else faults + 1
            await pause(wait_seconds(job.source.cadence_seconds, faults, randbelow(1000) / 1000))

    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(repeat(job))


def wait_seconds(cadence: float, faults: int, chance: float) -> float:
    """Until the next run: the cadence, or after a fault a minute doubling up to the cadence, plus up to a tenth."""
    wait = cadence if faults == 0 else min(cadence, 60.0 * 2 ** min(faults - 1, 20))
    return float(wait * (1 + 0.1 * chance))


async def _to_end(work: Callable[[], T]) -> T:
    """Work in a thread, waited for even when cancelled: it reads the state, and a SQLite connection that is closed under
    a thread takes the process with it, or never lets it end."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def _guarded(job: Job, on_progress: Progress | None, pause: Pause) -> Run:
    try:
        return await run_once(job, on_progress=on_progress, pause=pause)
    except Exception as error:  # noqa: BLE001  # an adapter is others' code: whatever it raises, the other feeds go on
        _log.exception("feed failed", source=job.source.name, exc_info=error)
        fault = FeedFault(
            "feed-adapter-fault",
            f"The adapter failed: {type(error).__name__}.",
            f"El adaptador falló: {type(error).__name__}.",
        )
        return Run(job.source.name, fault=fault)


class _Turn:
    """One run of one source, with its state open."""

    def __init__(self, job: Job, state: FeedState, run: Run, progress: Progress, pause: Pause) -> None:
        self._job = job
        self._state = state
        self._run = run
        self._progress = progress
        self._pause = pause
        self._tried: dict[tuple[str, str], str] = {}
        self.skipped: list[Skipped] = []

    async def take(self) -> None:
        """Raises the Refusal that ended it."""
        # 1. What was under way when the last run ended, byte for byte.
        for sending in self._state.under_way():
            await self._send(sending)
        # 2. What was refused for a reason that may be gone now.
        again = self._state.retriable()
        self._tried = {(one.id, one.version): one.content for one in again}
        await self._submit(iter(again), self._job.source.location)
        # 3. What is new. The cursor moves when all before it is settled.
        while True:
            fetched = await self._fetch()
            if fetched is None:
                return
            await self._settle_all(fetched)
            self._state.move(fetched.cursor)
            if not fetched.more:
                return

    async def _fetch(self) -> Fetched | None:
        for attempt in range(1, FETCHES + 1):
            try:
                return await self._job.adapter.fetch(self._job.source, self._state.cursor)
            except FeedFault as fault:
                passing = fault.code == "feed-unreachable" or fault.retry_after_seconds > 0
                if attempt == FETCHES or not passing or fault.retry_after_seconds > LONGEST_WAIT_SECONDS:
                    raise
                await self._pause(max(float(fault.retry_after_seconds), 2.0**attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _settle_all(self, fetched: Fetched) -> None:
        seen: set[str] = set()
        records = await _to_end(lambda: self._records(fetched))
        await self._submit(self._changes(records, seen), fetched.url)
        # What cannot be read is no withdrawal: only a fetch that was read to its last record says that something is gone.
        if self._job.adapter.full_state and not self.skipped:
            await self._submit(self._withdrawals(seen), fetched.url)

    def _records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        records = self._job.adapter.records(fetched)
        if not self._job.adapter.full_state:
            return records
        found = list(records)
        listed, before = sum(isinstance(one, Record) for one in found), self._state.keys()
        if listed < before * (1 - self._job.source.shrink_limit):
            raise FeedFault(
                "feed-incomplete",
                f"The source lists {listed} records where it listed {before}. If that is right, raise its shrink_limit.",
                f"La fuente lista {listed} registros; antes listaba {before}. Si es correcto, aumente su shrink_limit.",
            )
        return iter(found)

    # --- from records to changes, in a worker thread ---

    def _changes(self, records: Iterator[Record | Skipped], seen: set[str]) -> Iterator[Change]:
        for record in records:
            if isinstance(record, Skipped):
                self._skip(record)
                continue
            self._run.records += 1
            try:
                yield from list(self._of(record, seen))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                text = Text(
                    f"The record does not have the form it should: {type(error).__name__}.",
                    f"El registro no tiene la forma debida: {type(error).__name__}.",
                )
                self._skip(Skipped(record.key, error.code if isinstance(error, JsonError) else "record-form", text))

    def _of(self, record: Record, seen: set[str]) -> Iterator[Change]:
        now_us = self._job.clock.now_us()
        epoch = self._state.epoch(record.key) if self._job.adapter.converts else 0
        for obj in self._job.adapter.objects(Record(record.key, record.value, record.updated, epoch)):
            self._run.objects += 1
            seen.add(obj["id"])
            if self._job.adapter.converts:
                change = own_change(obj, self._state, key=record.key, epoch=epoch, now_us=now_us)
            else:
                change = passed_change(obj, self._state)
            if change is None:
                self._run.unchanged += 1
            elif self._first(change):
                yield change

    def _first(self, change: Change) -> bool:
        """Whether this run has not submitted the version yet. What a source contradicts itself in is not posted: the
        hub would have to treat it as an alarm."""
        before = self._tried.get((change.id, change.version))
        if before is None:
            self._tried[change.id, change.version] = change.content
            return True
        if before == change.content:
            self._run.unchanged += 1
        else:
            text = Text(
                "The source gives this version twice, with different content; the first stands.",
                "La fuente da esta versión dos veces, con contenido distinto; vale la primera.",
            )
            self._skip(Skipped(change.id, "source-contradiction", text))
        return False

    def _withdrawals(self, seen: set[str]) -> Iterator[Change]:
        now_us = self._job.clock.now_us()
        for key, epoch, held in self._state.standing():
            if held.id not in seen:
                yield revocation(held, key=key, epoch=epoch, now_us=now_us)

    def _skip(self, skipped: Skipped) -> None:
        self.skipped.append(skipped)
        self._run.skipped[skipped.code] += skipped.count

    # --- submitting ---

    async def _submit(self, changes: Iterator[Change], url: str) -> None:
        provenance = Provenance(
            self._job.source.name,
            url,
            as_text(self._job.clock.now_us()),
            (self._job.source.marking,),
        )
        while batch := await _to_end(lambda: list(islice(changes, BATCH_OBJECTS))):
            by_version = {(one.id, one.version): one for one in batch}
            before = {one.id: held.sha256 for one in batch if one.own and (held := self._state.own(one.id)) is not None}
            objects = (orjson.loads(one.body) for one in by_version.values())
            async for envelope in self._job.client.pack(
                objects, batch=BATCH_OBJECTS, provenance=provenance, previous=before
            ):
                named = [(one.id, one.version) for one in envelope.contents]
                named += [(one.id, one.version) for one in envelope.refused]
                sending = self._state.post(envelope, [by_version[name] for name in named if name in by_version])
                await self._send(sending)

    async def _send(self, sending: Sending) -> None:
        try:
            result = await self._job.client.send(sending.envelope, self._job.source.collection)
        except _PASSING:
            raise  # the envelope stays, and is what the next run sends first
        except Refusal:
            self._state.drop(sending)
            raise
        self._state.settle(sending, result)
        self._count(sending, result)
        self._progress(self._run)

    def _count(self, sending: Sending, result: SubmitResult) -> None:
        ended = {(one.id, one.version) for one in sending.changes if one.revoked}
        self._run.accepted += len(result.accepted)
        self._run.revoked += sum((one.id, one.version) in ended for one in result.accepted)
        self._run.refused.update(one.code for one in result.refused)


def _write_quarantine(path: Path, state: FeedState, skipped: Sequence[Skipped]) -> None:
    lines: list[dict[str, Any]] = [
        {"name": one.name, "code": one.code, "en": one.text.en, "es": one.text.es, "count": one.count}
        for one in skipped
        if one.code != "tlp-definition"
    ]
    lines += state.quarantine()
    if not lines:
        with suppress(FileNotFoundError):
            path.unlink()
        return
    replace_file(path, b"".join(orjson.dumps(line) + b"\n" for line in lines))


def _write_report(job: Job, run: Run) -> None:
    report = {
        "source": run.source, "ended": as_text(job.clock.now_us()), "records": run.records, "objects": run.objects,
        "accepted": run.accepted, "unchanged": run.unchanged, "revoked": run.revoked, "refused": dict(run.refused),
        "skipped": dict(run.skipped),
        "fault": {"code": run.fault.code, "en": run.fault.text.en, "es": run.fault.text.es} if run.fault else None,
    }  # fmt: skip
    replace_file(job.report_file, orjson.dumps(report))
