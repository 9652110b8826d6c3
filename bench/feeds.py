"""Feeds that are longer than memory: how fast their rows are read and mapped, what that takes, and what a second run costs.

Each case is a process of its own, so that its memory is its own: `python -m bench.feeds CASE DIRECTORY RECORDS`.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from exchange.client import Client, Envelope, Provenance, SubmitResult
from exchange.client.envelopes import pack
from exchange.clock import SystemClock
from exchange.intake.warninglists import Warninglists
from feeds.adapter import Record, load_adapter
from feeds.catalogue import Source, packaged
from feeds.runner import Job, run_once

OPERATOR = "identity--00000000-0000-4000-8000-000000000000"
RECORDS = 1_000_000
CSV_RECORDS, JSON_RECORDS = 860_000, 460_000
"""Some 200 MB each."""

CASES = {
    "feed-list": "a list of addresses, read and mapped",
    "feed-csv": "CSV of 200 MB (URLhaus), read and mapped",
    "feed-json": "JSON of 200 MB (ThreatFox), read and mapped, two objects each",
    "feed-first": "the list, run for the first time, less signing and the hub",
    "feed-again": "the list again with another banner: nothing is submitted",
    "feed-guard": "patterns of one value each, asked of the known-good lists",
}


@dataclass(frozen=True, slots=True)
class Feed:
    """One case. Memory is the most that its process ever had resident, interpreter and libraries included."""

    records: int
    megabytes: float
    seconds: float
    cpu_seconds: float
    peak_mb: float
    submitted: int = 0

    @property
    def per_cpu_second(self) -> float:
        return self.records / self.cpu_seconds


def measure(directory: Path, divisor: int) -> Iterator[tuple[str, Feed]]:
    """Every case, with so many times fewer records."""
    directory.mkdir(exist_ok=True)
    for case in CASES:
        records = {"feed-csv": CSV_RECORDS, "feed-json": JSON_RECORDS}.get(case, RECORDS) // divisor
        command = [sys.executable, "-m", "bench.feeds", case, str(directory), str(records)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or f"{case} failed")
        yield case, Feed(**orjson.loads(done.stdout.splitlines()[-1]))  # the runner logs above it


# --- in the child ---


def _lines(case: str, count: int) -> Iterator[str]:
    if case == "feed-csv":
        for n in range(count):
            yield (
                f'"{n}","2026-11-20 12:{n // 60 % 60:02d}:{n % 60:02d}","http://198.51.100.{n % 250}:{n % 60_000 + 1}/{n:x}/bin.sh?session=0123456789abcdef","online",'
                f'"2026-11-21 10:00:00","malware_download","32-bit,elf,mips,Mozi","https://urlhaus.abuse.ch/url/{n}/","geenensp"\n'
            )
    elif case == "feed-json":
        for n in range(count):
            value = {
                "ioc_value": f"198.51.{n // 250 % 250}.{n % 250}:{n % 60_000 + 1}", "ioc_type": "ip:port", "threat_type": "botnet_cc",
                "malware": "win.vidar", "malware_alias": None, "malware_printable": f"Family {n % 200}",
                "first_seen_utc": f"2026-11-20 13:{n // 60 % 60:02d}:{n % 60:02d}", "last_seen_utc": None, "confidence_level": 75, "is_compromised": False,
                "reference": f"https://vendor.example/reports/{n}", "tags": "vidar,stealer", "anonymous": 0, "reporter": "crep1x",
            }  # fmt: skip
            yield f'{"{" if n == 0 else ","}\n"{n}":[{orjson.dumps(value).decode()}]'
        yield "}"
    elif case == "feed-guard":
        for n in range(count):
            wide = f"{11 + n // 16_777_216}.{n // 65_536 % 256}.{n // 256 % 256}.{n % 256}"
            yield (
                f"[ipv4-addr:value = '{wide}']\n", f"[domain-name:value = 'a{n}.b.{n:x}.example']\n",
                f"[url:value = 'https://h{n}.example/{n:x}?session=1']\n", f"[ipv6-addr:value = '2a0f::{n // 65_536:x}:{n % 65_536:x}']\n",
            )[n % 4]  # fmt: skip
    else:
        yield f"# {case}\n"
        for n in range(count):
            yield f"{11 + n // 16_777_216}.{n // 65_536 % 256}.{n // 256 % 256}.{n % 256}\n"


class Taking(Client):
    """A client whose hub takes everything, at once and unsigned: what is measured is the feed."""

    taken = 0

    async def pack(
        self,
        objects: Iterable[Mapping[str, Any]],
        *,
        batch: int = 1_000,
        provenance: Provenance | None = None,
        previous: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Envelope]:
        for envelope in pack(objects, None, now_us=0, batch=batch):
            yield envelope

    async def released(self) -> list[str]:
        return []

    async def report_run(self, feed: str, run: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    async def send(self, envelope: Envelope, collection: str) -> SubmitResult:
        self.taken += len(envelope.contents)
        return SubmitResult({}, envelope.contents, envelope.refused, ())


def _source(case: str, path: Path) -> Source:
    name = {"feed-csv": "urlhaus", "feed-json": "threatfox"}.get(case, "cert-pl")
    base = packaged()[name]
    mapping = base.mapping
    if mapping is not None and name == "cert-pl":
        mapping = mapping.model_copy(update={"kind": "ip"})
    limits = {"location": str(path), "size_limit_bytes": 1_000_000_000, "mapping": mapping, "secret_in": ""}
    return base.model_copy(update=limits)


async def _map(source: Source) -> int:
    adapter = load_adapter(source, OPERATOR)
    fetched = await adapter.fetch(source, {})
    if fetched is None:
        raise RuntimeError("the feed is empty")
    records = 0
    for record in adapter.records(fetched):
        if isinstance(record, Record):
            records += 1
            for _ in adapter.objects(record):
                pass
    return records


def _guard(path: Path) -> int:
    """As intake asks of each indicator: addresses of both kinds, domains and URLs in turn."""
    lists = Warninglists.packaged({"us-port": ["198.51.100.0/24", "port.example"]})
    with path.open() as file:
        return sum(lists.hits(line.rstrip()) == () for line in file)


async def _run(source: Source, directory: Path) -> tuple[int, int]:
    clock = SystemClock()
    async with Taking("https://hub.example", clock=clock, token="t") as client:
        run = await run_once(Job(source, load_adapter(source, OPERATOR), client, directory / "state", clock))
        if run.fault is not None:
            raise RuntimeError(run.fault.text.en)
        return run.records, client.taken


def main(case: str, directory: Path, count: int) -> None:
    path = directory / ("feed-again.txt" if case in ("feed-first", "feed-again") else f"{case}.txt")
    with path.open("w") as file:
        file.writelines(_lines(case, count))
    source = _source(case, path)
    if case == "feed-guard":
        Warninglists.packaged()  # once, at a hub's start
    wall, cpu, taken = time.monotonic(), time.process_time(), 0
    if case in ("feed-first", "feed-again"):
        records, taken = asyncio.run(_run(source, directory))
    elif case == "feed-guard":
        records = _guard(path)
    else:
        records = asyncio.run(_map(source))
    done = Feed(
        records, path.stat().st_size / 1e6, time.monotonic() - wall, time.process_time() - cpu, _peak_mb(), taken
    )  # fmt: skip
    sys.stdout.write(orjson.dumps(asdict(done)).decode())


def _peak_mb() -> float:
    # VmHWM, not ru_maxrss: the latter counts what the parent had when it forked.
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
