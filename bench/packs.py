"""An auditor's pack of a great log: how long it takes to write, to verify offline and with what memory, and what a receipt costs."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median

from exchange.clock import SystemClock
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.note import Checkpoint, Policy, new_log_key, new_witness_key, split_note
from exchange.ledger.opened import Page
from exchange.ledger.pack import Past, write_copy
from exchange.ledger.publisher import Anchors, Publisher, Publishing
from exchange.store.acts import Act, Record
from exchange.store.answers import Opening
from exchange.store.contract import Store
from exchange.store.sqlite import SqliteStore

LEAVES = 1_000_000
ENTRIES_AT_ONCE = 500
OPENED_OF = 10
"""One entry in so many has a private part that the auditor may see."""
RECEIPTS = 500
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verifier, as a process of its own, took for the whole pack: the median of some rounds."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Packs:
    leaves: int
    openings: int
    pack_mb: float
    write_seconds: float
    verified: dict[str, Verified]
    receipt_ms: float
    """To prove one entry at the hub, checkpoint and all: the median, by the clock."""
    receipt_cpu_ms: float


class _Source:
    """What `write_copy` asks, from a store whose only great log is `both`."""

    def __init__(self, store: Store, note: bytes) -> None:
        self._store = store
        self._note = note

    async def logs(self) -> Sequence[str]:
        return ("both",)

    async def note(self, log: str) -> bytes:
        return self._note

    async def held(self, log: str) -> int | None:
        return None

    async def past(self, log: str) -> Past:
        return Past()

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return await self._store.leaves(log, start, end)

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        return await self._store.openings(log, start, end)

    async def pages(self, log: str, start: int, end: int) -> list[Page]:
        return []


def measure(directory: Path, leaves: int, rounds: int, say: Callable[[str], None]) -> Packs:
    directory.mkdir()
    seconds, receipts = asyncio.run(_packed(directory, leaves, say))
    pack, policy = directory / "pack", directory / "policy"
    commands = {
        "puente ledger verify": [sys.executable, "-m", "exchange.cli", "ledger", "verify", "--policy", policy, "--json", pack],
        "verify.py": [sys.executable, "-I", pack / "verify.py", "--policy", policy, "--json", pack],
    }  # fmt: skip
    found: dict[str, list[Verified]] = {name: [] for name in commands}
    for number in range(rounds):  # in turns: neighbours on the machine come and go
        for name, command in commands.items():
            say(f"packs: {name}, round {number + 1} of {rounds}")
            found[name].append(_timed([str(word) for word in command]))
    return Packs(
        leaves=leaves,
        openings=(leaves + OPENED_OF - 1) // OPENED_OF,
        pack_mb=sum(one.stat().st_size for one in pack.rglob("*") if one.is_file()) / 1e6,
        write_seconds=seconds,
        verified={name: _median(taken) for name, taken in found.items()},
        receipt_ms=median(seconds for seconds, _ in receipts) * 1_000,
        receipt_cpu_ms=median(cpu_seconds for _, cpu_seconds in receipts) * 1_000,
    )


async def _packed(directory: Path, leaves: int, say: Callable[[str], None]) -> tuple[float, list[tuple[float, float]]]:
    """The log in a database, signed, cosigned and packed: the seconds it took to pack, and some receipts to make."""
    clock, keys = SystemClock(), {log: new_log_key(f"bench.example/audit/{log}") for log in LOGS}
    witness = new_witness_key("witness.example/us")
    policy = f"log {keys['both'].vkey}\nwitness us {witness.vkey}\nquorum us\n"
    (directory / "policy").mkdir()
    (directory / "policy" / "both").write_text(policy)
    (directory / "anchors").mkdir()
    anchors = Anchors(directory / "anchors")
    for log in LOGS:
        anchors.create(log)
    store = SqliteStore(directory / "hub.sqlite", clock)
    publishing = Publishing(keys, dict.fromkeys(LOGS, Policy.parse(policy)), anchors, {})
    publisher = Publisher(store, clock, publishing, asyncio.Event())
    try:
        await publisher.start()
        for start in range(0, leaves, ENTRIES_AT_ONCE):
            say(f"packs: {start:,} of {leaves:,} entries written")
            entries = tuple(
                release_entry(n, opened=n % OPENED_OF == 0) for n in range(start, min(start + ENTRIES_AT_ONCE, leaves))
            )
            [done] = await store.extend([Act(f"bench-{start}", lambda _, found=entries: Record(found))])  # type: ignore[misc]
            if isinstance(done, Exception):
                raise done
        await publisher.publish_once()
        row = await store.checkpoint("both")
        if row is None:
            raise RuntimeError("the log was not signed")
        body = Checkpoint.parse(split_note(row.note)[0]).body()
        await store.add_cosignature("both", row.size, "us", witness.cosign(body, clock.now_us() // 1_000_000))
        note = await publisher.newest_cosigned("both")
        if note is None:
            raise RuntimeError("the log was not cosigned")
        say("packs: the pack is written")
        began = time.perf_counter()
        await write_copy(directory / "pack", _Source(store, note))
        seconds = time.perf_counter() - began
        say("packs: receipts")
        return seconds, [
            await _receipt(publisher, index) for index in random.Random(1).choices(range(leaves), k=RECEIPTS)
        ]
    finally:
        await store.close()


async def _receipt(publisher: Publisher, index: int) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    if await publisher.receipt("both", index) is None:
        raise RuntimeError(f"no receipt of entry {index}")
    return time.perf_counter() - began, time.process_time() - cpu


def release_entry(n: int, *, opened: bool = True) -> Entry:
    """A page about to leave, as most entries of a busy hub are."""
    pub = {
        "kind": "objects", "count": 100, "first": "2026-11-23T17:31:53.000123Z", "last": "2026-11-23T17:31:54.000456Z",
        "items_root": sha256(b"%d" % n).hexdigest(),
    }  # fmt: skip
    private = {"ip": "203.0.113.7", "person": f"analyst {n}", "agent": "bench/1"} if opened else None
    return Entry("both", "release", "mx:mx-aduanas:acct:7f3a", "coll:91a7", pub, private=private)


_CHILD = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds = time.perf_counter() - began
print(json.dumps([done.returncode, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
"""From a process that is small itself: a child's peak counts what its parent had when it forked."""


def _timed(command: list[str]) -> Verified:
    done = subprocess.run([sys.executable, "-I", "-c", _CHILD, *command], capture_output=True, text=True, check=True)
    code, seconds, cpu_seconds, peak_mb = json.loads(done.stdout)
    if code != 0:
        raise RuntimeError(f"the pack was refused: {done.stderr[-300:]}")
    return Verified(seconds, cpu_seconds, peak_mb)


def _median(found: list[Verified]) -> Verified:
    return Verified(
        median(one.seconds for one in found),
        median(one.cpu_seconds for one in found),
        max(one.peak_mb for one in found),
    )
