"""A gateway's run: read what its own country's operators submitted, ask the hub what may cross without their names, and send
that, once a period and in no order.

1 what was under way when the last run ended, byte for byte
2 what is new at home, kept with the time by which it was there
3 when a period has ended since the last batch: what was there before it ended, judged by the hub, transformed, scanned
4 one batch: each object with an attestation of its own, shuffled, kept, sent
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from secrets import SystemRandom, token_bytes
from typing import Any, Final

import orjson
import structlog

from certs.faults import SignatureFault
from certs.jcs import canonical
from certs.origin import GATEWAY_RELEASE, SALT_BYTES, Origin, commitment
from certs.signature import NOTICE, attestation
from exchange.client import Client, Envelope, SubmitResult
from exchange.client.envelopes import version_of
from exchange.clock import Clock
from exchange.errors import NotAuthenticated, Refusal, Text, TooFast, Unavailable
from exchange.gateway.anonymise import REFERRING, Brief, revoked, stand_in
from exchange.gateway.book import Book, Original, Sending, Sent
from exchange.gateway.faults import State, Unfit
from exchange.gateway.traces import Traces
from exchange.times import as_millis_text, parse_us

ASKED_AT_ONCE: Final = 500
PAIRS_AT_ONCE: Final = 200
BYTES_AT_ONCE: Final = 2_000_000
DAY_US: Final = 86_400 * 1_000_000
WAIT_US: Final = 90 * DAY_US
"""How long something waits for what it refers to, or for the agreement to let it cross."""

RETRY_SECONDS: Final = 60.0

_PASSING = (NotAuthenticated, TooFast, Unavailable)
"""Refusals of a whole envelope after which the same bytes may still be taken."""

_log = structlog.get_logger("puente.gateway")

Pause = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Run:
    """What one run did. `fault` is why it ended early."""

    read: int = 0
    sent: int = 0
    revoked: int = 0
    waiting: int = 0
    held: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    """What does not cross this way, by the hub's reason or the transform's."""
    fault: Refusal | None = None


@dataclass(frozen=True, slots=True)
class _Draft:
    """One object to send, before it is signed."""

    collection: str
    value: dict[str, Any]
    origin: dict[str, Any]
    original: Original
    previous: Sent | None


@dataclass(frozen=True)
class Gateway:
    """The gateway's member at its hub, and where its book is. Several runs of one gateway exclude each other."""

    client: Client
    directory: Path
    clock: Clock

    @property
    def identity(self) -> str:
        if self.client.signer is None:
            raise ValueError("a gateway's client needs its signing key")
        return self.client.signer.identity_id

    def book(self) -> Book:
        return Book(self.directory, self.identity)

    async def run(self, *, again: bool = False) -> Run:
        """One run. With `again`, everything at home is read and judged anew, what is held too.

        A fault of the hub ends it and is told in the result. Raises Conflict when another run is at it.
        """
        run = Run()
        with self.book() as book, book.alone():
            try:
                await _Turn(self, book, run).take(again=again)
            except Refusal as refusal:
                run.fault = refusal
        _log.info(
            "gateway run", read=run.read, sent=run.sent, revoked=run.revoked, waiting=run.waiting, held=dict(run.held),
            left=dict(run.left), fault=run.fault and run.fault.code,
        )  # fmt: skip
        return run

    async def keep_running(self, *, on_run: Callable[[Run], None], pause: Pause = asyncio.sleep) -> None:
        """A run soon after the end of every period, until cancelled; after a fault, again in a minute."""
        while True:
            run = await self.run()
            on_run(run)
            if run.fault is not None:
                await pause(RETRY_SECONDS)
                continue
            period_us = await self.period_us() or 3_600_000_000
            rest = (period_us - self.clock.now_us() % period_us) / 1_000_000
            await pause(rest + SystemRandom().uniform(1.0, max(2.0, period_us / 20_000_000)))

    async def period_us(self) -> int | None:
        return _period_us(await self.client.judgements([]))


_Pair = tuple[list[dict[str, Any]], Sent]
"""An attestation and the object that it covers, and what the book will say of it."""


class _Turn:
    """One run, with its book open."""

    def __init__(self, gateway: Gateway, book: Book, run: Run) -> None:
        self._client = gateway.client
        self._identity = gateway.identity
        self._clock = gateway.clock
        self._book = book
        self._run = run
        self._made: dict[tuple[str, str], str] = {}
        """New ids that this batch gives to originals."""

    async def take(self, *, again: bool) -> None:
        """Raises the Refusal that ended it."""
        # 1
        for sending in self._book.under_way():
            await self._send(sending)
        terms = await self._client.judgements([])
        collections = await self._collections()
        if again or self._book.agreement != terms["agreement"]:
            # Under another agreement other originals may need the gateway: all are looked at again.
            self._book.begin_again(collections)
        # 2
        for name in collections:
            await self._read(name)
        self._book.agreement = str(terms["agreement"])
        # 3
        period_us = _period_us(terms)
        if period_us is None:
            raise _not_agreed()
        period = self._clock.now_us() // period_us
        if period <= self._book.batched:
            return
        now_us = self._clock.now_us()
        self._book.sweep(now_us // DAY_US, now_us - WAIT_US)
        drafts = await self._drafts(period * period_us, period_us)
        # 4
        if drafts:
            self._book.post(period, await self._packed(drafts))
        for sending in self._book.under_way():
            await self._send(sending)

    async def _collections(self) -> list[str]:
        """Where it may read and write: what an original's readers read, its stand-in must come to."""
        found = await self._client.collections()
        return [str(one["alias"]) for one in found if one["can_read"] and one["can_write"]]

    async def _read(self, collection: str) -> None:
        async for page in self._client.pages(collection, state=self._book.cursor(collection)):
            if not page.objects:
                continue
            seen_us = parse_us(page.last)  # of the newest on the page: none of them came later
            originals = [
                Original(collection, str(one["id"]), version_of(one), seen_us, canonical(one))
                for one in page.objects
                if one.get("created_by_ref") != self._identity
                and one.get("type") != NOTICE  # the hub's word to this member
            ]
            self._run.read += len(originals)
            self._book.saw(originals)

    # --- judging and making ---

    async def _drafts(self, before_us: int, period_us: int) -> list[_Draft]:
        """What is to be sent, what others refer to first."""
        drafts: list[_Draft] = []
        due = sorted(self._book.due(before_us), key=lambda one: one.id.partition("--")[0] in REFERRING)
        for several in _chunks(iter(due), ASKED_AT_ONCE):
            answer = await self._client.judgements([(one.collection, one.id, one.version) for one in several])
            for one, judged in zip(several, answer["judgements"], strict=True):
                draft = self._draft(one, judged, before_us, period_us)
                if draft is not None:
                    drafts.append(draft)
        return drafts + await self._gone(before_us, period_us)

    def _end(self, collection: str, ref: str, known: Sequence[str]) -> str | None:
        """By what id the other country knows what is referred to: another's own, or what stands for it."""
        found = self._book.newest(collection, ref)
        standing = found.new_id if found is not None and not found.value.get("revoked") else None
        return self._made.get((collection, ref)) or standing or (ref if ref in known else None)

    def _draft(self, one: Original, judged: Mapping[str, Any], at_us: int, period_us: int) -> _Draft | None:
        sent = self._book.newest(one.collection, one.id)
        standing = sent if sent is not None and not sent.value.get("revoked") else None
        original = one.value
        if judged["code"] != "relay" or original.get("revoked"):
            if standing is None:
                self._put_off(one, _left(judged["code"] if judged["code"] != "relay" else "revoked"), at_us)
                return None
            # What stands for it no longer may, or its sender ended it.
            return self._ending(one, standing, at_us, period_us)
        try:
            return self._made_of(one, original, judged, standing, period_us)
        except Unfit as why:
            self._put_off(one, why, at_us)
            return None

    def _made_of(
        self, one: Original, original: dict[str, Any], judged: Mapping[str, Any], standing: Sent | None, period_us: int
    ) -> _Draft:
        """Raises Unfit."""
        kind = original["type"]
        new_id = self._book.alias(one.collection, one.id) or f"{kind}--{uuid.uuid4()}"
        brief = Brief(
            new_id=new_id,
            identity=self._identity,
            period_us=period_us,
            markings=tuple(judged["object_marking_refs"]),
            ends=lambda ref: self._end(one.collection, ref, judged["known"]),
            previous=standing.value if standing else None,
        )
        value = stand_in(original, brief, Traces.of(original, judged["traces"], judged["assets"]))
        self._made[one.collection, one.id] = new_id
        return _Draft(one.collection, value, judged["origin"], one, standing)

    def _put_off(self, one: Original, why: Unfit, at_us: int) -> None:
        if why.state == "waiting" and one.seen_us + WAIT_US < at_us:
            why = Unfit("declined", why.code, why.text)
        self._book.put_off(one, why)
        if why.state == "waiting":
            self._run.waiting += 1
        else:
            (self._run.held if why.state == "held" else self._run.left)[why.code] += 1

    def _ending(self, one: Original, standing: Sent, at_us: int, period_us: int) -> _Draft:
        value = revoked(standing.value, at_us=at_us, period_us=period_us)
        return _Draft(one.collection, value, orjson.loads(standing.origin), one, standing)

    async def _gone(self, at_us: int, period_us: int) -> list[_Draft]:
        """Revocations of what stands for originals that their senders took back out of the hub."""
        drafts = []
        unsettled = self._book.unsettled()
        standing = (one for one in self._book.standing() if (one.collection, one.original_id) not in unsettled)
        for several in _chunks(standing, ASKED_AT_ONCE):
            asked = [(one.collection, one.original_id, one.original_version) for one in several]
            answer = await self._client.judgements(asked)
            for one, judged in zip(several, answer["judgements"], strict=True):
                if judged["code"] == "absent":
                    original = Original(one.collection, one.original_id, one.original_version, at_us, b"{}")
                    drafts.append(self._ending(original, one, at_us, period_us))
        return drafts

    # --- sending ---

    async def _packed(self, drafts: Sequence[_Draft]) -> list[tuple[str, Envelope, list[Sent]]]:
        """The batch: shuffled, and each object beside its own attestation, so that neither order nor company tells."""
        shuffled = list(drafts)
        SystemRandom().shuffle(shuffled)
        batch = []
        for collection in sorted({one.collection for one in shuffled}):
            pairs = self._signed(one for one in shuffled if one.collection == collection)
            for part in _parts(pairs, min(BYTES_AT_ONCE, await self._client.body_limit() // 2)):
                objects = [value for pair in part for value in pair[0]]
                (envelope,) = [one async for one in self._client.pack(objects, batch=len(objects))]
                batch.append((collection, envelope, [sent for _, sent in part]))
        return batch

    def _signed(self, drafts: Iterator[_Draft]) -> Iterator[_Pair]:
        for one in drafts:
            try:
                yield self._pair(one)
            except SignatureFault as fault:
                self._put_off(one.original, Unfit("held", fault.code, Text(fault.en, fault.es)), 0)

    def _pair(self, draft: _Draft) -> _Pair:
        previous = draft.previous
        signed = self._client.sign(draft.value, prev_sha256=previous.sha256 if previous else None)
        digest = sha256(canonical(signed)).hexdigest()
        salt = token_bytes(SALT_BYTES)
        original = draft.original
        # Of a revocation after deletion there is no original any more: it commits to the one before.
        of = previous.original_sha256 if previous and original.body == b"{}" else sha256(original.body).hexdigest()
        origin = Origin.read(draft.origin)
        made = attestation(
            id=f"object-attestation--{uuid.uuid4()}",
            created_by_ref=self._identity,
            created=as_millis_text(self._clock.now_us()),
            covers=[
                {
                    "id": signed["id"],
                    "version": signed["modified"],
                    "sha256": digest,
                    "origin_commitment": commitment(salt, bytes.fromhex(of)),
                }
            ],
            attestation_type=GATEWAY_RELEASE,
            origin=origin,
            object_marking_refs=signed["object_marking_refs"],
        )
        sent = Sent(
            signed["id"], signed["modified"], digest, canonical(draft.value), made["id"], salt, original.id,
            original.version, of, canonical(draft.origin).decode(), draft.collection,
        )  # fmt: skip
        return [self._client.sign(made), signed], sent

    async def _send(self, sending: Sending) -> None:
        try:
            result = await self._client.send(sending.envelope, sending.collection)
        except _PASSING:
            raise  # the envelope stays, and is what the next run sends first
        except Refusal:
            self._book.drop(sending)
            raise
        self._book.settle(sending, result)
        self._count(sending, result)

    def _count(self, sending: Sending, result: SubmitResult) -> None:
        accepted = {one.id for one in result.accepted}
        for one in sending.stands:
            if one.new_id in accepted:
                self._run.sent += 1
                self._run.revoked += bool(one.value.get("revoked"))
        self._run.held.update(one.code for one in result.refused)


def _parts(pairs: Iterator[_Pair], limit: int) -> Iterator[list[_Pair]]:
    """Pairs by envelope, none torn apart: an attestation counts only beside what it covers."""
    part: list[_Pair] = []
    size = 0
    for pair in pairs:
        weight = sum(len(canonical(value)) for value in pair[0])
        if part and (len(part) >= PAIRS_AT_ONCE or size + weight > limit):
            yield part
            part, size = [], 0
        part.append(pair)
        size += weight
    if part:
        yield part


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while several := list(islice(items, size)):
        yield several


_FOR_GOOD = frozenset({"absent", "named", "assurance", "revoked"})
"""Reasons that only another version or another agreement can change: then it is read again."""


def _left(code: str) -> Unfit:
    state: State = "declined" if code in _FOR_GOOD else "denied"
    return Unfit(state, code, Text("The agreement does not let it cross.", "El acuerdo no deja que cruce."))


def _period_us(terms: Mapping[str, Any]) -> int | None:
    seconds = terms.get("period_seconds")
    return seconds * 1_000_000 if isinstance(seconds, int) and seconds > 0 else None


def _not_agreed() -> Unavailable:
    return Unavailable(
        "The agreement in force has no [anonymity]: nothing may be relayed under it.",
        "El acuerdo vigente no tiene [anonymity]: bajo él no puede retransmitirse nada.",
        code="anonymity-not-agreed",
    )
