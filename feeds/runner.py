"""Runs a source: read, map, leave out what did not change, submit as a member, and remember what the hub took."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
import structlog

from certs.jcs import JsonError, canonical
from exchange.client import Client, Provenance, SubmitResult
from exchange.clock import Clock
from exchange.errors import NotAuthenticated, Refusal, Text, TooFast, Unavailable
from exchange.times import as_text
from feeds.adapter import AGAIN, Adapter, Fetched, Record, Skipped, load_adapter
from feeds.catalogue import HOW_IT_IS_READ, Source
from feeds.faults import FeedFault
from feeds.listing import NEVER_US, Digester, Listing
from feeds.repeats import Repeats
from feeds.report import HELD, TOLD_AT_MOST, Papers, Run, misshapen
from feeds.state import Change, FeedState, Sending, Settled
from feeds.telling import ADAPTER, INTERRUPTED, Telling
from feeds.versions import ending, own_change, passed_change

BATCH_OBJECTS = 500
BREATH_RECORDS = 5_000
"""After so many records without a change the run shows how far it is, and can be stopped."""

HOPELESS_RECORDS = 200
"""When so many come first and hardly one can be mapped, the source is not what its catalogue entry says."""

TRIES = 3
FETCHES_AT_MOST = 10_000
"""Of one run, by sources that come in pages: what is left, if it ever ends, is the next run's."""

LONGEST_WAIT_SECONDS = 120
"""A source that asks for more patience is left until its next turn."""

_PASSING = (NotAuthenticated, TooFast, Unavailable)
"""Refusals of a whole envelope after which the same bytes may still be taken."""

_log = structlog.get_logger("puente.feeds")

Pause = Callable[[float], Awaitable[None]]
Progress = Callable[[Run], None]
T = TypeVar("T")


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
    def operator(self) -> str:
        return self.client.signer.identity_id if self.client.signer is not None else ""

    @property
    def state_file(self) -> Path:
        return self.directory / f"{self.source.name}.sqlite"

    @property
    def papers(self) -> Papers:
        return Papers(self.directory, self.source.name)


async def run_once(job: Job, *, on_progress: Progress | None = None, pause: Pause = asyncio.sleep) -> Run:
    """One run. A fault of the source or the hub ends it and is told in the result; what was accepted stays accepted."""
    run, began_us = Run(job.source.name, job.source.calls), job.clock.now_us()
    with FeedState(job.state_file) as state, Repeats(job.directory, job.source, job.operator) as repeats:
        telling = Telling(job.source, state, run, job.papers.last().get("last_good", ""))
        turn = _Turn(job, state, repeats, run, telling, on_progress or (lambda _: None), pause)
        code, broken = INTERRUPTED, None
        telling.begin(began_us)
        try:
            await turn.take()
            code = ""
        except Refusal as refusal:
            run.fault, code = refusal, refusal.code
        except Exception as error:  # noqa: BLE001  # raised below, when it is told
            broken, code = error, ADAPTER
        finally:
            telling.end(job.clock.now_us(), code)
            await _to_end(lambda: job.papers.write_quarantine(state.quarantine(), turn.skipped if turn.read else None))
            left = await _to_end(lambda: job.papers.left(state.refusals(), run if turn.read else None))
            await asyncio.to_thread(job.papers.write_report, run, began_us, job.clock.now_us(), left)
        if isinstance(run.fault, FeedFault) or not isinstance(run.fault, _PASSING):
            await telling.tell(job.client)
        if broken is not None:
            raise broken
    _log.info(
        "feed run", source=run.source, records=run.records, accepted=run.accepted, unchanged=run.unchanged,
        revoked=run.revoked, refused=dict(run.refused), skipped=dict(run.skipped), fault=run.fault and run.fault.code,
    )  # fmt: skip
    return run


async def _to_end(work: Callable[[], T]) -> T:
    """Work in a thread, waited for even when cancelled: it reads the state, and a SQLite connection that is closed under
    a thread takes the process with it, or never lets it end."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


class _Turn:
    """One run of one source, with its state open."""

    def __init__(
        self, job: Job, state: FeedState, repeats: Repeats, run: Run, telling: Telling, progress: Progress, pause: Pause
    ) -> None:
        self._job = job
        self._repeats = repeats
        self._telling = telling
        self._state = state
        self._run = run
        self._progress = progress
        self._pause = pause
        self._settled: list[Settled] = []
        self._gone: list[int] = []
        self._unnamed = False
        self._wrong = 0
        self._listing: Listing | None = None
        self.skipped: list[Skipped] = []
        self.read = False
        """Whether there was anything to read: else the source had not changed, or did not answer."""

    async def take(self) -> None:
        """Raises the Refusal that ended it."""
        # 1. What was under way when the last run ended, byte for byte.
        for sending in self._state.under_way():
            await self._send(sending)
        # 2. What was refused for a reason that may be gone now.
        again = self._state.retriable() + await self._released()
        for one in again:
            self._state.try_once(one)
        await self._submit(iter(again), self._job.source.location)
        await _to_end(lambda: self._repeats.map_again(self._state, self._job.clock.now_us()))
        # 3. What is new. The cursor moves when all before it is settled.
        for _ in range(FETCHES_AT_MOST):
            fetched = await self._fetch()
            if fetched is None:
                return
            self.read = True
            self._run.sha256 = fetched.cursor.get("sha256", "")
            await self._settle_all(fetched)
            self._state.move(fetched.cursor)
            self._run.cursor = fetched.cursor
            if not fetched.more:
                if self._listing is not None:
                    await _to_end(self._state.end)
                return

    async def _released(self) -> list[Change]:
        """What the hub held back for values that somebody there has released since."""
        if not self._state.holds(HELD):
            return []
        values = await self._job.client.released()
        return await _to_end(lambda: self._state.held(HELD, values)) if values else []

    async def _fetch(self) -> Fetched | None:
        cursor = self._state.cursor
        if self._listing is None and await _to_end(self._state.renewal_us) <= self._job.clock.now_us():
            cursor[AGAIN] = "yes"
        # One that failed the last time is asked once: the waiting between its runs grows instead (schedule.py).
        tries = 1 if self._job.papers.last().get("faults") else TRIES
        for attempt in range(1, tries + 1):
            try:
                return await self._job.adapter.fetch(self._job.source, cursor)
            except FeedFault as fault:
                passing = fault.code == "feed-unreachable" or fault.retry_after_seconds > 0
                if attempt == tries or not passing or fault.retry_after_seconds > LONGEST_WAIT_SECONDS:
                    raise
                await self._pause(max(float(fault.retry_after_seconds), 2.0**attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _settle_all(self, fetched: Fetched) -> None:
        if not self._job.adapter.converts:
            records = await _to_end(lambda: self._job.adapter.records(fetched))
            await self._submit(self._passed_on(records), fetched.url)
            return
        if self._listing is None:
            await _to_end(self._state.begin)
            self._listing = await _to_end(lambda: Listing(self._state.settled()))
        listing = self._listing
        records = await _to_end(lambda: self._job.adapter.records(fetched))
        await self._submit(self._made(records, listing), fetched.url)
        if self._job.adapter.full_state and not fetched.more:
            self._check_size(self._run.records, len(listing))
            # What cannot be read is no withdrawal: only a fetch of which every record is known by name says what is gone.
            if not self._unnamed:
                await self._submit(self._vanished(listing), fetched.url)

    def _check_size(self, listed: int, before: int) -> None:
        if listed < before * (1 - self._job.source.shrink_limit):
            raise FeedFault(
                "feed-incomplete",
                f"The source lists {listed} records where it listed {before}, so nothing counts as gone. If that is"
                " right, raise its shrink_limit.",
                f"La fuente lista {listed} registros; antes listaba {before}, por lo que nada se da por retirado. Si es"
                " correcto, aumente su shrink_limit.",
            )

    # --- from records to changes, in a worker thread; None is a breath ---

    def _passed_on(self, records: Iterator[Record | Skipped]) -> Iterator[Change | None]:
        for record in self._told(records):
            if record is not None:
                yield from self._mapped(record, lambda obj, _: self._passed(obj))

    def _passed(self, obj: dict[str, Any]) -> Change | None:
        change, new = passed_change(obj, self._state)
        if not new:
            self._state.try_once(change)  # other content of this version, further on, is the source's contradiction
        return change if new else None

    def _made(self, records: Iterator[Record | Skipped], listing: Listing) -> Iterator[Change | None]:
        now_us, run, source = self._job.clock.now_us(), self._run, self._job.source
        digester = Digester(
            f"{self._job.adapter.edition} {source.model_dump_json(exclude_defaults=True, exclude=HOW_IT_IS_READ)}"
        )
        for record in self._told(records):
            if record is None:
                yield None
                continue
            try:
                digest = digester.digest(record.raw or canonical(record.value))
            except JsonError as error:
                self._skip(misshapen(record, error))
                continue
            known = listing.meet(digest, now_us)
            if known is not None:
                run.objects += known
                run.unchanged += known
                continue
            objects, made = run.objects, frozenset[str]()
            if not self._state.is_mapped(record.key):
                epoch = self._state.epoch(record.key)
                numbered = Record(record.key, record.value, record.updated, epoch, b"", record.lifetime_seconds)
                mapped = yield from self._mapped(numbered, lambda obj, one: own_change(obj, self._state, one, now_us))
                if mapped is None:
                    continue
                made = mapped
                self._state.list_key(record.key, mapped=True)
                # What a record said before and says no more has ended, whatever the source does with whole records.
                yield from self._ended(record.key, made, "expire" if source.vanished == "expire" else "revoke", now_us)
            # Said twice with a difference, the first stands; both are known next time.
            lifetime_us = record.lifetime_seconds * 500_000
            renew_us = now_us + lifetime_us if lifetime_us and made else NEVER_US
            self._settled.append(Settled(digest, record.key, run.objects - objects, renew_us))

    def _ended(
        self, key: str, made: frozenset[str], how: Literal["revoke", "expire"], now_us: int
    ) -> Iterator[Change | None]:
        for epoch, held in self._state.standing(key):
            if made and held.id.startswith("sighting--"):
                continue  # what was seen was seen; only a withdrawal of the whole record takes it back
            if held.id not in made:
                change = ending(held, how, Record(key, None, epoch=epoch), now_us)
                if change is not None and self._first(change):
                    yield change

    def _told(self, records: Iterator[Record | Skipped]) -> Iterator[Record | None]:
        for record in records:
            if isinstance(record, Skipped):
                self._skip(record)
                continue
            self._run.records += 1
            if self._run.records % BREATH_RECORDS == 0:
                yield None
            yield record

    def _mapped(
        self, record: Record, change_of: Callable[[dict[str, Any], Record], Change | None]
    ) -> Generator[Change, None, frozenset[str] | None]:
        """Returns the ids of what the record was mapped to; None when it could not be."""
        try:
            objects = list(self._job.adapter.objects(record))
            made = frozenset(obj["id"] for obj in objects)
            if self._job.adapter.converts:
                objects = self._repeats.told(record.key, objects, self._state, self._job.clock.now_us())
            changes = [change_of(obj, record) for obj in objects]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._skip(misshapen(record, error))
            return None
        self._run.objects += len(objects)
        for change in changes:
            if change is None:
                self._run.unchanged += 1
            elif self._first(change):
                yield change
        return made | frozenset(obj["id"] for obj in objects)

    def _first(self, change: Change) -> bool:
        """Whether this run has not submitted the version yet. What a source contradicts itself in is not posted: the
        hub would have to treat it as an alarm."""
        before = self._state.try_once(change)
        if before == change.content:
            self._run.unchanged += 1
        elif before:
            text = Text(
                "The source gives this version twice, with different content; the first stands.",
                "La fuente da esta versión dos veces, con contenido distinto; vale la primera.",
            )
            self._skip(Skipped(change.id, "source-contradiction", text, key=change.id))
        return not before

    def _vanished(self, listing: Listing) -> Iterator[Change | None]:
        now_us, how = self._job.clock.now_us(), self._job.source.vanished
        for digest in listing.missed():
            key = self._state.key_of(digest)
            # A record that changed, or that another one still stands for.
            listed = self._state.is_listed(key) or any(map(listing.has_met, self._state.records_of(key)))
            if not listed and how != "keep":
                yield from self._ended(key, frozenset(), how, now_us)
            self._gone.append(digest)

    def _skip(self, skipped: Skipped) -> None:
        """Raises FeedFault when there are many and hardly anything good is among them."""
        if skipped.key:
            self._state.list_key(skipped.key, mapped=False)
        else:
            self._unnamed = True
        if len(self.skipped) < TOLD_AT_MOST:
            self.skipped.append(skipped)
        self._run.skipped[skipped.code] += skipped.count
        self._wrong += skipped.code.startswith(("row-", "record-"))
        if self._wrong == HOPELESS_RECORDS and self._run.objects <= self._wrong // 100:
            raise FeedFault(
                "feed-form",
                f"Hardly one of the first {HOPELESS_RECORDS} records is what the source should publish.",
                f"Casi ninguno de los primeros {HOPELESS_RECORDS} registros es lo que la fuente debe publicar.",
            )

    # --- submitting ---

    async def _submit(self, changes: Iterator[Change | None], url: str) -> None:
        provenance = Provenance(
            self._job.source.name,
            url,
            as_text(self._job.clock.now_us()),
            (self._job.source.marking,),
        )
        ended: bool | FeedFault = False
        while not ended:
            batch, ended = await _to_end(lambda: _batch(changes))
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
            await _to_end(self._remember)
            if not batch and not ended:
                self._progress(self._run)
        if isinstance(ended, FeedFault):
            raise ended  # what came before the break was good

    def _remember(self) -> None:
        """All changes of these records were sent and answered: a record comes here after its last one was taken."""
        if self._settled or self._gone:
            self._state.remember(self._settled, self._gone)
            self._settled.clear()
            self._gone.clear()

    async def _send(self, sending: Sending) -> None:
        try:
            result = await self._job.client.send(sending.envelope, self._job.source.collection)
        except _PASSING:
            raise  # the envelope stays, and is what the next run sends first
        except Refusal:
            self._state.drop(sending)
            raise
        self._count(sending, result)
        taken = {(one.id, one.version) for one in result.accepted}
        self._repeats.taken(
            (one for one in sending.changes if (one.id, one.version) in taken), self._state, self._job.clock.now_us()
        )
        self._state.settle(sending, result, self._telling.words(self._job.clock.now_us(), INTERRUPTED))
        self._progress(self._run)

    def _count(self, sending: Sending, result: SubmitResult) -> None:
        ended = {(one.id, one.version) for one in sending.changes if one.revoked}
        self._run.accepted += len(result.accepted)
        self._run.revoked += sum((one.id, one.version) in ended for one in result.accepted)
        self._run.refused.update(one.code for one in result.refused)


def _batch(changes: Iterator[Change | None]) -> tuple[list[Change], bool | FeedFault]:
    """The next changes, and whether they were the last, for good or because the source broke off."""
    batch: list[Change] = []
    try:
        for change in changes:
            if change is None:
                return batch, False
            batch.append(change)
            if len(batch) == BATCH_OBJECTS:
                return batch, False
    except FeedFault as fault:
        return batch, fault
    return batch, True
