"""`./dev bench`: Puente, nginx and the TAXII servers of PyPI side by side, in one run on one machine."""

import asyncio
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import click
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench import activation, feeds, flips, ledger, nginx, packs, peers, policy
from bench.corpus import envelopes, indicators
from bench.growth import SIZES, measure_growth
from bench.hub import PARTIAL_READER, Hub, prepare
from bench.processes import free_ports
from bench.report import TITLES, Report
from bench.suite import (
    FAULTS,
    LOADERS,
    OURS,
    ROWS,
    Cell,
    Effort,
    Fresh,
    Run,
    cause,
    counted,
    fill,
    loads,
    ours,
    reads,
    whole,
)
from bench.taxii import FIRST_PAGE, NOTHING_NEW, PAGE_OBJECTS, Running, ask, load, packed_page, pull, pull_gzip
from exchange.clock import Clock, SystemClock
from exchange.times import as_text

RESULTS = Path(__file__).parent / "results"
USUAL = ("hub", "nginx", "medallion", "opentaxii")
FURTHER = ("workers", "postgres", "growth", "feeds", "policy", "activation", "ledger", "packs")
"""Only when named: together they take as long as the rest."""
ROUNDS = 3
"""How often hub and nginx take turns: neighbours on the machine come and go, and a median forgets one visit."""

LABELS = 10_000
"""Twice the distinct labels at which a hub raises an alarm."""

SMALL = b"x" * 200
ONE_BY_ONE = 10_000
"""Objects that the hub's other forms take in one by one: a tenth, for each takes a commit of its own."""
HUB_EFFORT = Effort(polls=8_000, pages=400, lookups=2_000, pulls=3)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another TAXII server: how it is started, and how much it can bear."""

    fresh: Fresh
    package: str
    python: Path
    objects: int
    effort: Effort


PEERS = {
    "opentaxii": Peer(peers.opentaxii, "opentaxii", peers.PEERS_PYTHON, 5_000, Effort(400, 24, 160, 1)),
    "medallion": Peer(peers.medallion, "medallion", Path(sys.executable), 1_000, Effort(4, 4, 24, 1)),
}


def _subjects(_: click.Context, parameter: click.Parameter, value: str) -> frozenset[str]:
    named = frozenset(value.split(","))
    known = (*USUAL, *FURTHER)
    if unknown := named - set(known) - {"all"}:
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: not among {', '.join(known)} / no está entre {', '.join(known)}",
            param=parameter,
        )
    return frozenset(known) if "all" in named else named


@click.command()
@click.option(
    "--objects",
    type=click.IntRange(min=100),
    default=100_000,
    show_default=True,
    help="Signed objects loaded into the hub.",
)
@click.option("--quick", is_flag=True, help="2,000 objects and a tenth of the requests: does it run, not how fast.")
@click.option(
    "--only",
    callback=_subjects,
    default=",".join(USUAL),
    show_default=True,
    help=f"What to measure, by commas, also {', '.join(FURTHER)}, or all. A peer brings the hub at the peer's size.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--record", is_flag=True, help="Write both to bench/results/. Only of a run with at least the usual parts."
)
def main(objects: int, quick: bool, only: frozenset[str], as_json: bool, record: bool) -> None:
    """Measure, and print ratios of one run. A peer that cannot be measured is named with the reason."""
    if quick and record:
        raise click.UsageError("--record: a quick run is no result / una corrida rápida no es un resultado")
    if record and not only >= frozenset(USUAL):
        raise click.UsageError(
            "--record: needs all the usual parts, or --only all / exige las partes usuales, o --only all"
        )
    if quick and click.get_current_context().get_parameter_source("objects") is click.core.ParameterSource.DEFAULT:
        objects = 2_000
    clock = SystemClock()
    report = Report(as_text(clock.now_us())[:10], quick)
    with tempfile.TemporaryDirectory(prefix="puente-bench-") as name, _progress() as say:
        Path(name).chmod(0o755)  # nginx's worker is somebody else
        _measure(report, Bench(Path(name), only, objects, quick, clock, say))
    click.echo(report.json() if as_json else report.markdown(), nl=False)
    if record:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "table.md").write_text(report.markdown())
        (RESULTS / "table.json").write_bytes(report.json())


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: what is asked for, and where its servers keep their files."""

    directory: Path
    only: frozenset[str]
    objects: int
    quick: bool
    clock: Clock
    say: Callable[[str], None]

    def peers(self) -> dict[str, Peer]:
        return {name: peer for name, peer in PEERS.items() if name in self.only}

    def size(self, peer: Peer) -> int:
        return peer.objects // 10 if self.quick else peer.objects

    def effort(self, whole_effort: Effort) -> Effort:
        return whole_effort.less(10) if self.quick else whole_effort


def _measure(report: Report, bench: Bench) -> None:
    report.verifies_per_cpu_second.append(calibrate())
    if "policy" in bench.only:
        bench.say("the agreement's evaluator")
        report.policy = policy.measure(LABELS // 10 if bench.quick else LABELS)
    if "activation" in bench.only:
        _activations(report, bench)
        _flips(report, bench)
    if "ledger" in bench.only:
        _ledger(report, bench)
    if "packs" in bench.only:
        leaves, rounds = (packs.LEAVES // 100, 1) if bench.quick else (packs.LEAVES, packs.ROUNDS)
        report.packs = packs.measure(bench.directory / "packs", leaves, rounds, bench.say)
    if bench.only - {"feeds", "policy", "activation", "ledger", "packs"}:
        _measure_servers(report, bench)
    if "feeds" in bench.only:
        with reported(report, bench.directory, "feeds"):
            bench.say("feeds: a million addresses, 200 MB of CSV, 200 MB of JSON")
            for case, found in feeds.measure(bench.directory / "feeds", 20 if bench.quick else 1):
                report.feeds[case] = found
                bench.say(f"feeds: {feeds.CASES[case]}: {found.per_cpu_second:,.0f} records a second")
    report.verifies_per_cpu_second.append(calibrate())


def _activations(report: Report, bench: Bench) -> None:
    labels = LABELS // 10 if bench.quick else LABELS
    bench.say("versions that close and open, under pollers, SQLite")
    report.activation["SQLite"] = activation.measure(bench.directory / "activation.sqlite", labels, bench.clock)
    with reported(report, bench.directory, "postgres"):
        from bench.postgres import postgres  # its driver is an extra

        with postgres() as server:
            bench.say("versions that close and open, under pollers, PostgreSQL")
            report.activation["PostgreSQL"] = activation.measure(server.empty(), labels, bench.clock)


def _flips(report: Report, bench: Bench) -> None:
    versions = flips.VERSIONS // 10 if bench.quick else flips.VERSIONS
    bench.say(f"{versions} versions one after the other, SQLite")
    where = bench.directory / "flips"
    report.flips["SQLite"] = flips.measure(prepare(where / "of-sqlite"), where / "sqlite", versions, bench.clock)
    with reported(report, bench.directory, "postgres"):
        from bench.postgres import postgres  # its driver is an extra

        with postgres() as server:
            bench.say(f"{versions} versions one after the other, PostgreSQL")
            hub = replace(prepare(where / "of-postgres", url=server.empty()), database=server)
            report.flips["PostgreSQL"] = flips.measure(hub, where / "postgres", versions, bench.clock)


def _ledger(report: Report, bench: Bench) -> None:
    less = 10 if bench.quick else 1
    report.ledger = ledger.measure(bench.directory / "ledger", less, bench.clock, bench.say)
    with reported(report, bench.directory, "postgres"):
        from bench.postgres import postgres  # its driver is an extra

        with postgres() as server:
            for processes in (1, 2):
                title = f"PostgreSQL, {processes} process{'es' * (processes > 1)}"
                bench.say(f"ledger: {ledger.CLIENTS} clients append, {title}")
                report.ledger.appended[title] = ledger.append(server.empty(), processes, less, server.pid)


def _measure_servers(report: Report, bench: Bench) -> None:
    bench.say("a hub with members, agreement and keys, and the corpus")
    hub = prepare(bench.directory / "prepared")
    big = bench.only & {"hub", "nginx", "workers", "postgres"}
    needed = max([bench.objects if big else 0, *map(bench.size, bench.peers().values())])
    corpus = list(indicators(needed, hub.signer, bench.clock))
    if bench.only & {"hub", "nginx"}:
        _hub(report, bench, hub, corpus[: bench.objects])
    if "workers" in bench.only:
        report.forms.append(_form(bench, replace(hub, workers=2), "SQLite, 2 workers", corpus[: bench.objects]))
    if "postgres" in bench.only:
        with reported(report, bench.directory, "postgres"):
            _postgres(report, bench, corpus[: bench.objects])
    if "growth" in bench.only:
        sizes = [size // 100 for size in SIZES] if bench.quick else SIZES
        report.growth = measure_growth(hub, bench.directory / "growth", sizes, bench.clock, bench.say)
    for name, peer in bench.peers().items():
        _peer(report, bench, hub, name, corpus[: bench.size(peer)])


def _hub(report: Report, bench: Bench, hub: Hub, objects: Sequence[bytes]) -> None:
    run = report.hub = Run(OURS, version("puente"), len(objects))
    effort = bench.effort(HUB_EFFORT)
    loads(run, hub.fresh, bench.directory, objects, bench.say)
    place = bench.directory / "puente"
    with hub.fresh(place) as running:
        fill(run, running, objects, bench.say)
        reads(run, running, objects, effort, bench.say)
        ours(run, running, effort, bench.say)
        if "nginx" in bench.only:
            with reported(report, bench.directory, "nginx"):
                _beside_nginx(report, bench, hub, running, objects)
    for one, rows in ((pull, ("pull-8-cold", "pull-8")), (pull_gzip, ("pull-gzip-8-cold", "pull-gzip-8"))):
        with hub.again(place) as running:
            for row in rows:
                bench.say(f"puente: {ROWS[row][0]}")
                run.cells[row] = counted(asyncio.run(one(running.server, running.place, 8)), 8 * len(objects))
    with hub.again(place) as running:
        bench.say("puente: what a reader of about half may see")
        run.cells["pull-part"] = Cell.of(
            asyncio.run(pull(running.server, hub.place_of(PARTIAL_READER), 1, effort.pulls))
        )


def _form(bench: Bench, hub: Hub, title: str, objects: Sequence[bytes]) -> Run:
    """The hub in another of its forms: what it takes in and gives out at the same size, single objects fewer of them."""
    run = Run(title, version("puente"), len(objects))
    effort = bench.effort(HUB_EFFORT)
    few, place = objects[:ONE_BY_ONE], bench.directory / title.replace(" ", "-")
    bench.say(f"{title}: {len(few):,} objects, one by one")
    with hub.fresh(Path(f"{place}-in-1")) as running:
        run.cells["in-1"] = counted(asyncio.run(load(running.server, running.place, few, 1, LOADERS[1])), len(few))
    with hub.fresh(place) as running:
        fill(run, running, objects, bench.say)
        reads(run, running, objects, effort, bench.say)
        ours(run, running, effort, bench.say)
    return run


def _postgres(report: Report, bench: Bench, objects: Sequence[bytes]) -> None:
    from bench.postgres import postgres, version  # its driver is an extra

    with postgres() as server:
        report.postgres_version = version(server)
        hub = prepare(bench.directory / "prepared-postgres", url=server.empty())
        own = list(indicators(len(objects), hub.signer, bench.clock))  # its members have keys of their own
        for workers in (1, 2):
            title = f"PostgreSQL, {workers} worker{'s' * (workers > 1)}"
            report.forms.append(_form(bench, replace(hub, workers=workers, database=server), title, own))


def _beside_nginx(report: Report, bench: Bench, hub: Hub, running: Running, objects: Sequence[bytes]) -> None:
    (port,) = free_ports(1)
    packed = asyncio.run(packed_page(running.server, running.place, "gzip"))
    files = {"page": next(envelopes(objects, PAGE_OBJECTS)), "small": SMALL, "packed": packed}
    secrets = hub.home.settings_file.parent
    effort = bench.effort(HUB_EFFORT)
    questions = {
        "page": ([FIRST_PAGE] * effort.pages, "page"),
        "page-gzip": ([FIRST_PAGE] * effort.pages, "packed"),
        "poll-8": ([NOTHING_NEW] * effort.polls, "small"),
    }
    rates: dict[str, list[float]] = {file: [] for file in files}
    with nginx.nginx(
        bench.directory / "nginx", port, secrets / "tls" / "server.pem", secrets / "keys" / "server.key", files
    ) as server:
        for turn in range(ROUNDS):
            for row, (paths, file) in questions.items():
                bench.say(f"puente and nginx in turns, round {turn + 1} of {ROUNDS}: {file}")
                mine = asyncio.run(
                    ask(running.server, running.place, paths, 8, coding="gzip" if file == "packed" else "")
                )
                url = f"https://localhost:{port}/{file}"
                theirs = asyncio.run(nginx.fetch(server, url, str(hub.home.ca_file), 8, len(paths) // 8))
                rates[file].append(theirs.per_cpu_second)
                report.to_nginx.setdefault(row, []).append(mine.per_cpu_second / theirs.per_cpu_second)
    report.nginx = {file: median(found) for file, found in rates.items()}
    report.nginx_version = nginx.version()


def _peer(report: Report, bench: Bench, hub: Hub, name: str, objects: Sequence[bytes]) -> None:
    peer = PEERS[name]
    theirs = Run(name, "", len(objects))
    with reported(report, bench.directory, name):
        theirs.version = peers.version_of(peer.package, peer.python)
        whole(theirs, peer.fresh, bench.directory, objects, bench.effort(peer.effort), bench.say)
    if name in report.not_measured:
        return
    for row, reason in theirs.failed.items():
        click.echo(click.style(f"\n{TITLES[name]}, {ROWS[row][0]}: FAILED: {reason}", fg="red", bold=True), err=True)
    ours = Run(OURS, version("puente"), len(objects))
    whole(ours, hub.fresh, bench.directory / f"beside-{name}", objects, bench.effort(HUB_EFFORT), bench.say)
    report.peers[name] = (theirs, ours)


@contextlib.contextmanager
def reported(report: Report, directory: Path, name: str) -> Iterator[None]:
    """Whatever keeps a peer from being measured is written down, loudly, and the run goes on."""
    try:
        yield
    except FAULTS as fault:
        text = cause(fault)
        click.echo(click.style(f"\n{TITLES[name]}: NOT MEASURED: {text}", fg="red", bold=True), err=True)
        # The record has the last line only, and no paths: a log speaks of the machine it came from.
        last = text.strip().splitlines()[-1]
        report.not_measured[name] = last.replace(str(directory), "…").replace(str(peers.ROOT), "…")[:300]


def calibrate(seconds: float = 0.5) -> float:
    """ES256 verifies that this machine does in a second of CPU time: the yardstick for absolute figures."""
    key = ec.generate_private_key(ec.SECP256R1())
    message, algorithm = b"x" * 900, ec.ECDSA(hashes.SHA256())
    signature, public = key.sign(message, algorithm), key.public_key()
    began, done = time.process_time(), 0
    while time.process_time() - began < seconds:
        for _ in range(100):
            public.verify(signature, message, algorithm)
        done += 100
    return round(done / (time.process_time() - began))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """One line on standard error that says what is going on and for how long; nothing where no terminal reads it."""
    now = [("", time.monotonic())]
    over = threading.Event()
    began = time.monotonic()

    def show() -> None:
        while not over.wait(0.5):
            text, since = now[0]
            passed = int(time.monotonic() - began)
            line = f"{passed // 60}:{passed % 60:02d}  {text} ({int(time.monotonic() - since)} s)"
            sys.stderr.write(f"\r\x1b[K{line[:118]}")
            sys.stderr.flush()

    def say(text: str) -> None:
        now[0] = (text, time.monotonic())

    if not sys.stderr.isatty():
        yield say
        return
    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield say
    finally:
        over.set()
        thread.join()
        sys.stderr.write("\r\x1b[K")


if __name__ == "__main__":
    main(prog_name="./dev bench")
