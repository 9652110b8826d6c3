"""What a run found, as a table for people and as JSON: ratios of one run first, absolute figures with their yardstick."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench.activation import Activation
from bench.feeds import CASES, Feed
from bench.flips import Flips
from bench.growth import Growth
from bench.ledger import CLIENTS, PAGE_OBJECTS, Ledger
from bench.packs import Packs
from bench.policy import Policy
from bench.suite import ROWS, Run

TITLES = {
    "opentaxii": "OpenTAXII",
    "medallion": "medallion",
    "nginx": "nginx",
    "postgres": "PostgreSQL",
    "feeds": "feeds",
}


@dataclass(slots=True)
class Report:
    """Everything measured in one run, and what was not."""

    date: str
    quick: bool
    verifies_per_cpu_second: list[float] = field(default_factory=list)
    hub: Run | None = None
    nginx: dict[str, float] = field(default_factory=dict)
    """Files served per CPU second: `page` and `small`, medians of the rounds."""
    nginx_version: str = ""
    to_nginx: dict[str, list[float]] = field(default_factory=dict)
    """The hub's rate over nginx's, round by round, for the rows that have a counterpart."""
    peers: dict[str, tuple[Run, Run]] = field(default_factory=dict)
    """A peer, and the hub with as many objects."""
    forms: list[Run] = field(default_factory=list)
    """The hub otherwise than with SQLite and one worker; the subject says how."""
    postgres_version: str = ""
    growth: Growth | None = None
    feeds: dict[str, Feed] = field(default_factory=dict)
    policy: Policy | None = None
    activation: dict[str, Activation] = field(default_factory=dict)
    """By store."""
    flips: dict[str, Flips] = field(default_factory=dict)
    """By store."""
    ledger: Ledger | None = None
    packs: Packs | None = None
    not_measured: dict[str, str] = field(default_factory=dict)

    def ratio(self, peer: str, row: str) -> float | None:
        theirs, ours = self.peers.get(peer, (None, None))
        if theirs is None or ours is None or row not in theirs.cells or row not in ours.cells:
            return None
        divisor = theirs.cells[row].per_cpu_second
        return ours.cells[row].per_cpu_second / divisor if divisor else None

    def json(self) -> bytes:
        document: dict[str, Any] = {"machine": machine(), **asdict(self)}
        document["to_nginx"] = {
            row: {"rounds": rounds, "median": median(rounds)} for row, rounds in self.to_nginx.items()
        }
        document["peers"] = {
            peer: {
                "peer": asdict(theirs),
                "hub": asdict(ours),
                "hub_to_peer": {row: self.ratio(peer, row) for row in theirs.cells},
            }
            for peer, (theirs, ours) in self.peers.items()
        }
        if self.hub is not None:
            document["hub"]["bytes_per_object"] = growth(self.hub)
        for store, made in self.activation.items():
            for name, phase in document["activation"][store]["phases"].items():
                del phase["waits_ms"]  # thousands; what the table says of them
                phase |= made.phases[name].told()
        return orjson.dumps(document, option=_JSON)

    def markdown(self) -> str:
        parts = (
            self._heading(),
            self._figures(),
            self._forms(),
            self._growth(),
            self._at_peers_sizes(),
            self._judging(),
            self._activating(),
            self._of_the_ledger(),
            self._of_packs(),
            self._memory(),
            self._of_feeds(),
        )
        return "\n".join([*(line for part in parts for line in part), ""])

    def _heading(self) -> Iterator[str]:
        about = machine()
        yield f"# {'A quick look, not a result' if self.quick else 'Benchmark'}, {self.date}"
        yield ""
        yield f"{about['cpu']}, {about['cores']} cores, {about['kernel']}, Python {about['python']}, {about['openssl']}; Puente {about['puente']}."
        verifies = " and ".join(f"{one:,.0f}" for one in self.verifies_per_cpu_second)
        yield f"Calibration: {verifies} OpenSSL ES256 verifies per CPU second (before and after){self._nginx_rates()}."
        for subject, reason in self.not_measured.items():
            yield ""
            yield f"**{TITLES.get(subject, subject)}: not measured: {reason}**"

    def _nginx_rates(self) -> str:
        if not self.nginx:
            return ""
        return (
            f"; nginx {self.nginx_version} over TLS: {self.nginx['page']:,.0f} pages of 1,000 objects"
            f" ({self.nginx['packed']:,.0f} compressed beforehand) and {self.nginx['small']:,.0f} answers of 200 bytes per CPU second"
        )

    def _figures(self) -> Iterator[str]:
        if self.hub is None:
            return
        yield ""
        yield f"## Puente with {self.hub.objects:,} signed objects, over TLS"
        yield ""
        yield "Rates are per second of the server's CPU time; times are of single requests. Ratios say how many times as much Puente does."
        yield ""
        yield from table(
            [*_OURS, *self._ratio_heads()], [self._row(self.hub, row) for row in ROWS if row in self.hub.cells]
        )

    def _ratio_heads(self) -> list[str]:
        heads = [f"to {TITLES[peer]} {run.version}, both with {run.objects:,}" for peer, (run, _) in self.peers.items()]
        return ["to nginx, same answer size", *heads]

    def _row(self, run: Run, row: str) -> list[str]:
        cell, (title, unit) = run.cells[row], ROWS[row]
        rounds = self.to_nginx.get(row)
        ratios = [median(rounds) if rounds else None, *(self.ratio(peer, row) for peer in self.peers)]
        p99 = "–" if cell.p99_ms is None else f"{cell.p99_ms:,.1f}"
        return [title, f"{figure(cell.per_cpu_second)} {unit}", f"{cell.p50_ms:,.1f}", p99, *map(times, ratios)]

    def _forms(self) -> Iterator[str]:
        if not self.forms:
            return
        runs = [("SQLite, 1 worker", self.hub), *((run.subject, run) for run in self.forms)]
        shown = [(title, run) for title, run in runs if run is not None]
        yield ""
        yield f"## Stores and workers, {self.forms[0].objects:,} objects"
        yield ""
        yield "Per second of the CPU time of the hub's processes and of the database server's. p99 of single requests in brackets, ms."
        if self.postgres_version:
            yield f"PostgreSQL {self.postgres_version}, on the same machine, over a Unix socket."
        yield ""
        rows = [
            [ROWS[row][0], *(_with_p99(run, row) for _, run in shown)]
            for row in ROWS
            if any(row in run.cells for run in self.forms)
        ]
        yield from table(["", *(title for title, _ in shown)], rows)

    def _growth(self) -> Iterator[str]:
        found = self.growth
        if found is None:
            return
        yield ""
        yield "## Growth"
        yield ""
        yield "Per second of the server's CPU time, the median of turns; in brackets the ratio to the smallest, turn by turn."
        yield ""
        rows = [
            [title, *(_against(rates[size], rates[found.sizes[0]]) for size in found.sizes)]
            for title, rates in (
                ("objects in, 1,000 in an envelope", found.ingest),
                ("polls that find nothing", found.polls),
            )
        ]
        yield from table(["objects held", *(f"{size:,}" for size in found.sizes)], rows)
        yield ""
        first, last = found.pages_ms["first"], found.pages_ms["last"]
        yield (
            f"With {found.sizes[-1]:,} placements: a page of 1,000 that was not asked for before takes {median(first):.1f} ms of"
            f" CPU at the beginning and {_against(last, first)} at the end."
        )
        yield ""
        rows = [
            [name, f"{found.seen[name]:,}", *(f"{one:,.1f}" for one in times)]
            for name, times in found.first_byte_ms.items()
        ]
        yield from table(["reader who may see", "objects on a page", "first byte p50 ms", "p99 ms"], rows)
        yield ""
        memory = ", ".join(f"{name} {size:,.0f} MB" for name, size in found.memory_mb.items())
        rate = figure(found.pull.per_cpu_second) if found.pull else "–"
        yield f"A full pull of all of them: {rate} objects per CPU second. Memory (PSS): {memory}."

    def _at_peers_sizes(self) -> Iterator[str]:
        for peer, (theirs, ours) in self.peers.items():
            yield ""
            yield f"## {TITLES[peer]} {theirs.version} and Puente with {theirs.objects:,} objects each"
            yield ""
            yield "Per second of the server's CPU time."
            if peer == "medallion":
                yield "medallion is the reference server; its reads grow with the square of the collection. This measures nothing but that."
            yield ""
            rows = [
                [ROWS[row][0], _rate(theirs, row), _rate(ours, row), times(self.ratio(peer, row))]
                for row in ROWS
                if row in theirs.cells or row in theirs.failed
            ]
            yield from table(["", TITLES[peer], "Puente", "ratio"], rows)
            for row, reason in theirs.failed.items():
                yield ""
                yield f'**{TITLES[peer]} failed at "{ROWS[row][0]}": {reason}**'

    def _judging(self) -> Iterator[str]:
        found = self.policy
        if found is None:
            return
        yield ""
        yield f"## The agreement's evaluator, {found.clauses} clauses"
        yield ""
        yield (
            f"{found.labels:,} labels by {found.recipients} recipient classes ({found.permitted:.0%} permitted), in a thread: "
            f"{found.matrix_seconds:.2f} s by the clock, {found.matrix_cpu_seconds:.2f} s of CPU; "
            f"the event loop waited for its turn {found.loop_held_ms:.0f} ms at most ({found.loop_alone_ms:.0f} ms with nothing beside it)."
        )
        yield ""
        rows = [
            ["with its clauses and obligations, label judged before", f"{found.known_us:.1f}"],
            ["the same, label never seen", f"{found.new_us:.1f}"],
            ["with its sentence and what every clause did", f"{found.told_us:.1f}"],
        ]
        yield from table(["one decision", "µs of CPU"], rows)

    def _activating(self) -> Iterator[str]:
        if not self.activation:
            return
        found = next(iter(self.activation.values()))
        yield ""
        yield f"## A new version under pollers, {found.labels:,} labels by {found.members} recipient classes"
        yield ""
        yield (
            "Requests answered in the process of the benchmark, without HTTP: every member asks once a second what is new, and"
            " four objects a second are placed. The last two columns: the longest that the event loop was kept from its turn by"
            " the clock, neighbours on the machine included, and the most CPU time that the process took meanwhile. PostgreSQL's server has"
            " the same cores."
        )
        yield ""
        rows = [
            [
                store, name, f"{one.pairs:,}", f"{len(one.waits_ms):,}", *(f"{one.at(share):,.1f}" for share in (0.5, 0.99, 1)),
                f"{one.seconds:.2f}", f"{one.held_ms:.0f}", f"{one.held_cpu_ms:.0f}",
            ]
            for store, found in self.activation.items()
            for name, one in found.phases.items()
        ]  # fmt: skip
        head = [
            "store",
            "a version that",
            "pairs",
            "polls",
            "p50 ms",
            "p99 ms",
            "longest",
            "all done, s",
            "held ms",
            "CPU ms",
        ]
        yield from table(head, rows)
        yield from self._flipping()

    def _flipping(self) -> Iterator[str]:
        if not self.flips:
            return
        yield ""
        yield (
            "Versions one after the other, as fast as both countries' approvals are taken by one process, while a served hub is"
            " walked by all its readers twice a second and written to four times. Astray: releases whose leaf names another"
            " version than the one in force at its place."
        )
        yield ""
        rows = [
            [
                store, f"{one.versions:,}", f"{one.per_minute:,.0f}", f"{one.objects_out:,}", f"{one.releases:,}",
                f"{one.astray:,}",
            ]
            for store, one in self.flips.items()
        ]  # fmt: skip
        yield from table(["store", "versions", "a minute", "objects out", "releases in both's log", "astray"], rows)

    def _of_the_ledger(self) -> Iterator[str]:
        found = self.ledger
        if found is None:
            return
        yield ""
        yield f"## The ledger, {CLIENTS} clients in each process"
        yield ""
        yield (
            "Each client appends one entry, with its private part, and waits until it is durable before the next. CPU time is that of all"
            f" processes, the database server's included. An fdatasync took {found.sync_ms:.2f} ms where the databases lie: what is by the"
            " clock depends on it."
        )
        yield ""
        rows = [
            [title, f"{one.per_cpu_second:,.0f}", f"{one.per_second:,.0f}", f"{one.p50_ms:,.1f}", f"{one.p99_ms:,.1f}"]
            for title, one in found.appended.items()
        ]
        yield from table(["entries appended", "per CPU second", "per second", "p50 ms", "p99 ms"], rows)
        yield ""
        yield (
            f"A proof of inclusion in a log of {found.log_leaves:,} entries takes {found.proof_ms:.2f} ms,"
            f" {found.proof_cpu_ms:.2f} ms of CPU."
        )
        yield ""
        yield (
            f"Pages of {PAGE_OBJECTS} objects asked for in the process of the benchmark, without HTTP, and in turns from a hub that writes"
            " no entry for them. Clients that never pause wait for one another: each entry is one of as many that are committed together."
        )
        yield ""
        rows = [
            [
                pace, f"{one.page_ms:.2f}", f"{one.bare_ms:.2f}", f"{one.adds_ms:.2f}", f"{one.adds_cpu_ms:.3f}", f"{one.wait_ms:.2f}",
                f"{one.wait_p99_ms:.1f}",
            ]
            for pace, one in found.recorded.items()
        ]  # fmt: skip
        head = [
            f"{CLIENTS} clients",
            "page p50 ms",
            "without",
            "the entry adds",
            "ms of CPU",
            "its own wait p50 ms",
            "p99 ms",
        ]
        yield from table(head, rows)

    def _of_packs(self) -> Iterator[str]:
        found = self.packs
        if found is None:
            return
        yield ""
        yield f"## An auditor's pack of {found.leaves:,} entries, {found.openings:,} of them opened: {found.pack_mb:,.0f} MB"
        yield ""
        yield (
            f"Written in {found.write_seconds:.1f} s. A receipt of one entry takes the hub {found.receipt_ms:.2f} ms,"
            f" {found.receipt_cpu_ms:.2f} ms of CPU, its checkpoint and all."
        )
        yield ""
        rows = [
            [name, f"{one.seconds:.1f}", f"{one.cpu_seconds:.1f}", f"{one.peak_mb:,.0f}"]
            for name, one in found.verified.items()
        ]
        yield from table(["verified offline by", "seconds", "s of CPU", "peak MB"], rows)

    def _memory(self) -> Iterator[str]:
        if self.hub is None:
            return
        yield ""
        yield "## Memory (PSS of the server's processes, MB)"
        yield ""
        runs = [self.hub, *(run for pair in self.peers.values() for run in pair)]
        moments = list(dict.fromkeys(when for run in runs for when in run.memory_mb))
        rows = [
            [TITLES.get(run.subject, "Puente"), f"{run.objects:,}", *(_megabytes(run.memory_mb.get(when)) for when in moments)]
            for run in runs
        ]  # fmt: skip
        yield from table(["", "objects", *moments], rows)
        if not self.quick:
            yield ""
            yield f"From a tenth of the objects to all of them Puente grew by {growth(self.hub):,.0f} bytes per object."

    def _of_feeds(self) -> Iterator[str]:
        if not self.feeds:
            return
        yield ""
        yield "## Feeds"
        yield ""
        yield "Each in a process of its own; memory is the most it had resident, interpreter and libraries included."
        yield ""
        rows = [
            [
                CASES[case], f"{one.records:,}", f"{one.megabytes:,.0f}", figure(one.per_cpu_second), f"{one.seconds:,.1f}",
                f"{one.peak_mb:,.0f}", f"{one.submitted:,}",
            ]
            for case, one in self.feeds.items()
        ]  # fmt: skip
        yield from table(["", "records", "MB", "records per CPU second", "seconds", "peak MB", "submitted"], rows)


_JSON = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
_OURS = ["", "per CPU second", "p50 ms", "p99 ms"]


def growth(run: Run) -> float:
    """Bytes of memory for each object between a tenth of the load and the whole of it."""
    return (run.memory_mb["full"] - run.memory_mb["tenth"]) * 1_000_000 / (run.objects - run.objects // 10)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table whose columns also line up at a terminal."""
    cells = [list(head), *map(list, rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in (cells[0], rule, *cells[1:]):
        padded = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        yield f"| {' | '.join(padded)} |"


def _rate(run: Run, row: str) -> str:
    return figure(run.cells[row].per_cpu_second) if row in run.cells else "failed"


def _with_p99(run: Run, row: str) -> str:
    cell = run.cells.get(row)
    if cell is None:
        return "–"
    return figure(cell.per_cpu_second) + ("" if cell.p99_ms is None else f" ({cell.p99_ms:,.1f})")


def _against(these: Sequence[float], those: Sequence[float]) -> str:
    return f"{figure(median(these))} ({median(one / other for one, other in zip(these, those, strict=True)):.2f})"


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2g}" if value < 10 else f"{value:,.1f}"


def times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{figure(ratio)}×" if ratio >= 10 else f"{ratio:.2f}×"


def _megabytes(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def machine() -> Mapping[str, Any]:
    """What the figures depend on, and nothing that says whose machine it is."""
    from cryptography.hazmat.backends.openssl.backend import backend

    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": backend.openssl_version_text(),
        "puente": version("puente"),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
