"""What grows with the number of objects: the same hub with 10,000, 100,000 and a million of them, asked the same in turns.

The bulk is not what is measured. It is appended through the store, as the sequencer would, from one signed object with its id,
times and pattern replaced: nobody verifies a signature on the way out. What is measured goes over HTTP, signed and judged.
"""

import asyncio
import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from statistics import median

import orjson

from bench.corpus import indicators
from bench.hub import PARTIAL_READER, STRANGER, Hub
from bench.load import Wire, Work, measure
from bench.suite import LOADERS, Cell
from bench.taxii import NOTHING_NEW, PAGE_OBJECTS, Place, Running, ask, load, pull
from exchange.cli import setup
from exchange.clock import Clock, SystemClock
from exchange.hub import open_store
from exchange.ledger.entry import Entry
from exchange.model.instant import instant
from exchange.model.page import Filter
from exchange.model.stix import StixObject, item_hash
from exchange.store.acts import Act, Done, NewObject, Record, Stamp
from exchange.store.contract import Store
from exchange.times import as_text
from policies.label import Label

SIZES = (10_000, 100_000, 1_000_000)
LABELS = 400
LABELS_AT_ONCE = 20
ENVELOPE = 1_000
TURNS = 3
INGEST = 10_000
"""Objects that each size takes in over HTTP, over all turns."""
PAGES = 40
"""Of each kind and turn, none of them asked for before."""
FIRST_BYTES = 120

WATCHER = "mx-ciber"
READERS = {"all": WATCHER, "half": "us-port-gulf", "1 %": PARTIAL_READER, "nothing": STRANGER.slug}
"""Who may see so much of the bulk: an authority of the other country, an operator of the originators' own, one who may only
read back what is its own, and one who has nothing there."""


@dataclass(slots=True)
class Growth:
    """By size: rates per server CPU second of intake and polls; a page's CPU at the beginning and end of the largest, in
    ms; the first byte by reader, in ms, median and p99; memory around a full pull of the largest, in MB."""

    sizes: tuple[int, ...]
    ingest: dict[int, list[float]] = field(default_factory=dict)
    polls: dict[int, list[float]] = field(default_factory=dict)
    pages_ms: dict[str, list[float]] = field(default_factory=dict)
    first_byte_ms: dict[str, tuple[float, float]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    """Objects on the page that each reader got, on average: that they may see what is said of them."""
    pull: Cell | None = None
    memory_mb: dict[str, float] = field(default_factory=dict)


def measure_growth(hub: Hub, directory: Path, sizes: Sequence[int], clock: Clock, say: Callable[[str], None]) -> Growth:
    """Fill one hub for each size, then ask them in turns."""
    found = Growth(tuple(sizes))
    directory.mkdir()
    fresh = list(indicators(min(INGEST, sizes[-1] // 10), hub.signer, clock))
    homes = {}
    for size in sizes:
        say(f"growth: {size:,} objects, appended")
        homes[size] = directory / str(size)
        hub.copy(homes[size])
        asyncio.run(_fill(setup.Home(homes[size]), hub.collection, fresh[0], size, clock))
    _largest(found, hub, homes[sizes[-1]], say)
    share = len(fresh) // TURNS
    for turn in range(TURNS):
        for size in sizes if turn % 2 == 0 else reversed(sizes):
            say(f"growth: intake and polls with {size:,} objects, turn {turn + 1} of {TURNS}")
            with hub.again(homes[size]) as running:
                part = fresh[turn * share : (turn + 1) * share]
                taken = asyncio.run(load(running.server, running.place, part, ENVELOPE, LOADERS[ENVELOPE]))
                found.ingest.setdefault(size, []).append(taken.per_cpu_second)
                polled = asyncio.run(ask(running.server, running.place, [NOTHING_NEW] * 3_000, 8))
                found.polls.setdefault(size, []).append(polled.per_cpu_second)
    return found


# --- the largest ---


def _largest(found: Growth, hub: Hub, home: Path, say: Callable[[str], None]) -> None:
    draw = random.Random(len(READERS))
    first, last = asyncio.run(_ticks(setup.Home(home)))
    with hub.again(home) as running:
        found.memory_mb["start"] = running.server.usage().pss_mb
        say(f"growth: everything out of {found.sizes[-1]:,} objects")
        everything = asyncio.run(pull(running.server, hub.place_of(WATCHER), 1))
        if everything.done != found.sizes[-1]:
            raise RuntimeError(f"{everything.done:,} instead of {found.sizes[-1]:,}")
        found.pull = Cell.of(everything)
        found.memory_mb["after a full pull"] = running.server.usage().pss_mb
        end = (last - first) // 50
        for turn, (name, begin) in itertools.product(range(TURNS), (("first", first), ("last", last - 2 * end))):
            say(f"growth: {name} pages, turn {turn + 1} of {TURNS}")
            paths = [_page_after(draw.randrange(begin, begin + end)) for _ in range(PAGES)]
            asked = asyncio.run(ask(running.server, hub.place_of(READERS["half"]), paths, 1))
            found.pages_ms.setdefault(name, []).append(asked.cpu_seconds * 1000 / len(paths))
        for name, slug in READERS.items():
            say(f"growth: the first byte for a reader of {name}")
            paths = [_page_after(draw.randrange(first, last)) for _ in range(FIRST_BYTES)]
            times, counts = asyncio.run(_first_bytes(running, hub.place_of(slug), paths))
            found.first_byte_ms[name] = (median(times), sorted(times)[len(times) * 99 // 100])
            found.seen[name] = round(sum(counts) / len(counts))
        found.memory_mb["after the rest"] = running.server.usage().pss_mb


def _page_after(tick: int) -> str:
    """Every tick is another question: none is answered from pages that are kept."""
    return f"objects/?limit={PAGE_OBJECTS}&added_after={as_text(tick)}"


async def _first_bytes(running: Running, place: Place, paths: Sequence[str]) -> tuple[list[float], list[int]]:
    """Milliseconds until the head of each answer is there, and how many objects came."""
    times: list[float] = []
    counts: list[int] = []

    async def work(wire: Wire) -> int:
        for path in paths:
            before = time.perf_counter()
            body, _ = await wire.ask("GET", place.url + path, headers=place.headers(place.readers[0]))
            times.append((wire.head_at - before) * 1000)
            counts.append(body.count(b'"pattern_type"'))
        return len(paths)

    works: list[Work] = [work]
    await measure(running.server, works, ca_file=place.ca_file)
    return times, counts


async def _ticks(home: setup.Home) -> tuple[int, int]:
    """Where the bulk begins, and where it ends."""
    store = await open_store(home.settings(), SystemClock())
    try:
        rows = await store.labels()
        page = await store.page(rows[0].collection, [row.id for row in rows], Filter(), 0, 1, until_us=2**62)
        return page.rows[0].tick, max(row.last_tick for row in rows)
    finally:
        await store.close()


# --- the bulk ---


async def _fill(home: setup.Home, collection: str, model: bytes, count: int, clock: Clock) -> None:
    store = await open_store(home.settings(), clock)
    try:
        for objects in _envelopes(collection, model, count):
            await _append(store, objects)
    finally:
        await store.close()


async def _append(store: Store, objects: tuple[NewObject, ...]) -> None:
    def record(stamp: Stamp) -> Record:
        entries = [
            Entry("us", "admin", "us:us-customs:acct:bench", f"coll:{new.collection}",
                  {"command": new.object.id, "after": new.object.sha256.hex()})
            for new in objects
        ]  # fmt: skip
        return Record(tuple(entries))

    [done] = await store.extend([Act(str(uuid.uuid4()), record, objects=objects)])
    if not isinstance(done, Done):
        raise RuntimeError(str(done))


def _envelopes(collection: str, model: bytes, count: int) -> Iterator[tuple[NewObject, ...]]:
    labels = bulk_labels()
    turn = itertools.cycle(range(LABELS))
    objects = bulk_objects(model, count)
    while part := list(itertools.islice(objects, ENVELOPE)):
        here = [labels[next(turn)] for _ in range(LABELS_AT_ONCE)]
        yield tuple(
            NewObject(obj, label.originator, "", collection, text, label.country)
            for obj, (label, text) in zip(part, itertools.cycle(here), strict=False)
        )


def bulk_labels() -> list[tuple[Label, str]]:
    """One in a hundred is of the reader who may read back its own, the rest of an authority of the other country: half at
    TLP:AMBER, which that country's operators may see, half above it. All of medium confidence, so that no operator abroad may."""
    own = Label(
        "indicators", PARTIAL_READER, "MX", ("operator",), ("trade.port",), "amber", "clear", (), None, "indicator", "med",
        "originator-signed", "none", "",
    )  # fmt: skip
    theirs = replace(own, originator="us-customs", country="US", roles=("agency",), sectors=("trade.customs",))
    labels = []
    for number in range(LABELS):
        label = own if number % 100 == 0 else replace(theirs, tlp="amber" if number % 2 else "amber+strict")
        label = replace(label, feed=f"bench-{number}")
        labels.append((label, label.encode()))
    return labels


def bulk_objects(model: bytes, count: int) -> Iterator[StixObject]:
    """As long as the model, and each with an id and a pattern of its own."""
    value = orjson.loads(model)
    old_id, old_name, version = value["id"].encode(), value["name"].encode(), value["modified"]
    draw = random.Random(count)
    for number in range(count):
        new_id = f"indicator--{uuid.UUID(int=draw.getrandbits(128), version=4)}"
        body = model.replace(old_id, new_id.encode()).replace(old_name, b"bulk %011d" % number)
        digest = sha256(body).digest()
        yield StixObject(
            new_id, "indicator", version, instant(version), value["created"], False, value["created_by_ref"], body, digest,
            item_hash(new_id, version, digest),
        )  # fmt: skip
