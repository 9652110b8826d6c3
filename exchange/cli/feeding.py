"""Outside sources at a terminal: `puente feed`. A feed is an ordinary member: it is run with a member's profile."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson
from click._termui_impl import ProgressBar

from certs.jcs import canonical
from exchange import observe
from exchange.cli.admin import as_json
from exchange.cli.asking import as_member
from exchange.cli.output import advance, language, listing, machine, plain, progress, say, spoken, table
from exchange.cli.profile import Profile
from exchange.cli.words import a_file, argument, group, new_folder, option
from exchange.client.envelopes import version_of
from exchange.clock import SystemClock
from exchange.errors import Malformed, NotFound, Text
from exchange.intake.pattern import check_pattern
from exchange.intake.validate import validate
from exchange.intake.warninglists import Warninglists
from feeds.adapter import Record, Skipped, load_adapter
from feeds.catalogue import Source, load, packaged
from feeds.report import Run
from feeds.runner import Job
from feeds.schedule import keep_running, run_all

SHOWN = 10
TRIED = 10_000
"""Objects that `feed test` looks at: enough to see what is wrong with a source, soon enough for a person."""

in_catalogue = option(
    "--catalogue", type=a_file, help="A catalogue of one's own. Default: the one of this release.",
    es="Un catálogo propio. Si falta: el de esta versión.",
)  # fmt: skip
in_state = option(
    "--state", type=new_folder, default=Path("var/feeds"), show_default=True,
    help="What feeds remember between runs; back it up with the keys.",
    es="Lo que las fuentes recuerdan entre ejecuciones; respáldelo con las claves.",
)  # fmt: skip
of_source = argument("name", metavar="SOURCE", help="Its name in the catalogue.", es="Su nombre en el catálogo.")


def sources(catalogue: Path | None) -> dict[str, Source]:
    return load(catalogue) if catalogue is not None else packaged()


def chosen(catalogue: Path | None, name: str) -> Source:
    known = sources(catalogue)
    if name not in known:
        raise NotFound(
            f"There is no source {name}; there are {', '.join(known)}.",
            f"No existe la fuente {name}; existen {', '.join(known)}.",
            code="no-source",
            field="SOURCE",
        )
    return known[name]


@group(es="Fuentes externas, que envían como cualquier miembro.")
def feed() -> None:
    """Outside sources, which submit as any member does."""


@feed.command("list", es="El catálogo: qué es cada fuente, para qué sirve, y cuándo se leyó por última vez.")
@in_catalogue
@in_state
@as_json
def list_sources(catalogue: Path | None, state: Path, as_json: bool) -> None:
    """The catalogue: what each source is, what it is good for, and when it was last read."""
    head = ("name", "adapter", "publisher", "licence", "tlp", "collection", "every", "last run", "what")
    rows = [
        (
            one.name, one.adapter, one.publisher, one.licence, one.tlp, one.collection, f"{one.cadence_seconds} s",
            _last(state, one.name).get("ended", "-")[:19], one.good_for(language()),
        )
        for one in sources(catalogue).values()
    ]  # fmt: skip
    listing(head, rows, as_json=as_json)


# --- test ---


@feed.command("test", es="Lee una fuente una vez y muestra qué saldría de ella y qué se rechazaría; no envía nada.")
@in_catalogue
@of_source
@option(
    "--identity",
    default="identity--00000000-0000-4000-8000-000000000000",
    help="Whose objects they would be.",
    es="De quién serían los objetos.",
)
@as_json
def test(catalogue: Path | None, name: str, identity: str, as_json: bool) -> None:
    """Read a source once, and show what would come of it and what would be refused; submits nothing.

    Judged is what an object shows by itself: STIX rules, patterns, known-good values. Signature, agreement and what the
    hub already holds are left to the hub.
    """
    source = chosen(catalogue, name)
    adapter = load_adapter(source, identity)
    fetched = asyncio.run(adapter.fetch(source, {}))
    first: list[dict[str, Any]] = []
    wrong: list[tuple[str, str, str, str]] = []
    looked = 0
    lists = Warninglists.packaged()
    for found in islice(_objects(adapter, fetched), TRIED) if fetched is not None else ():
        if isinstance(found, Skipped):
            wrong.append((found.name, found.code, "", spoken(found.text)))
            continue
        looked += 1
        if looked <= SHOWN:
            first.append(found)
        wrong += [(str(found.get("id")), *one) for one in _faults(found, lists)][:1]
    if as_json:
        machine(
            {
                "source": name,
                "looked_at": looked,
                "first": first,
                "refused": [dict(zip(("object", "code", "field", "reason"), row, strict=True)) for row in wrong],
            }
        )
    else:
        for one in first:
            click.echo(plain(canonical(one).decode()))
        if wrong:
            table(("object", "code", "field", "reason"), wrong)
        say(
            f"{looked} objects looked at, {len(wrong)} would be left out. Nothing was submitted.",
            f"{looked} objetos examinados, {len(wrong)} quedarían fuera. No se envió nada.",
        )
    sys.exit(1 if wrong else 0)


def _objects(adapter: Any, fetched: Any) -> Iterator[dict[str, Any] | Skipped]:
    for record in adapter.records(fetched):
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            yield from list(adapter.objects(Record(record.key, record.value, record.updated)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"{type(error).__name__}: {error}"
            yield Skipped(
                record.key,
                "record-form",
                Text(f"The record does not have its form: {said}", f"El registro no tiene la forma debida: {said}"),
            )


def _faults(obj: dict[str, Any], lists: Warninglists) -> Iterator[tuple[str, str, str]]:
    """Why the hub would refuse the object, as far as it shows by itself: code, field, reason."""
    for finding in validate(obj):
        if finding.level == "reject":
            yield finding.code, finding.field, spoken(Text(finding.en, finding.es))
    if obj.get("type") != "indicator" or obj.get("pattern_type") != "stix":
        return
    for fault in check_pattern(obj["pattern"]):
        if fault.level == "reject":
            yield fault.code, "pattern", spoken(Text(fault.en, fault.es))
    for hit in lists.hits(obj["pattern"]):
        yield "warninglist", "pattern", f"{hit.value}: {hit.list_name}"


# --- run ---


@feed.command("run", es="Lee fuentes y envía lo nuevo como el miembro del perfil.")
@as_member
@in_catalogue
@in_state
@argument("names", nargs=-1, metavar="[SOURCE]...", help="Names in the catalogue.", es="Nombres del catálogo.")
@option("--all", "every", is_flag=True, help="All of the catalogue.", es="Todas las del catálogo.")
@option(
    "--forever",
    is_flag=True,
    help="Each at its cadence, until stopped.",
    es="Cada una a su ritmo, hasta que se detenga.",
)
@as_json
def run(
    me: Profile, catalogue: Path | None, state: Path, names: tuple[str, ...], every: bool, forever: bool, as_json: bool
) -> None:
    """Read sources and submit what is new, as the profile's member. Exit status 1 if one failed or anything was refused."""
    if every == bool(names):
        raise Malformed("Name sources, or say --all.", "Nombre fuentes o indique --all.", field="SOURCE")
    me.must_sign()
    wanted = list(sources(catalogue).values()) if every else [chosen(catalogue, name) for name in names]
    with ExitStack() as stack:
        if forever:
            observe.configure()
        else:  # a person watches the bar and reads the table; what else there is to say is kept
            state.mkdir(parents=True, exist_ok=True)
            observe.configure(machine=True, file=stack.enter_context((state / "feeds.log").open("a")))
        runs = asyncio.run(_run(me, wanted, state, forever=forever))
    head = ("source", "records", "objects", "accepted", "unchanged", "revoked", "refused", "skipped", "fault")
    listing(head, [_row(one) for one in runs], as_json=as_json)
    for one in runs:
        if one.fault is not None:
            say(f"{one.source}: {one.fault.text.en}", f"{one.source}: {one.fault.text.es}", err=True)
    sys.exit(0 if all(one.ok and not one.refused for one in runs) else 1)


async def _run(me: Profile, wanted: list[Source], state: Path, *, forever: bool) -> list[Run]:
    clock = SystemClock()
    async with me.client(clock, language()) as client:
        jobs = [Job.of(source, client, state, clock) for source in wanted]
        if forever:
            await keep_running(jobs, on_run=lambda _: None)  # the runner logs each run
        with ExitStack() as stack:
            bar = stack.enter_context(progress("feed"))
            return await run_all(jobs, on_progress=run_progress(bar))


def run_progress(bar: ProgressBar[int]) -> Callable[[Run], None]:
    """Move a bar by what runs have done with their objects, however many run side by side."""
    seen: dict[str, Run] = {}

    def step(run: Run) -> None:
        seen[run.source] = run
        done = sum(one.accepted + one.refused.total() + one.unchanged for one in seen.values())
        advance(bar, done, sum(one.objects for one in seen.values()))

    return step


def _row(one: Run) -> tuple[object, ...]:
    return (
        one.source, one.records, one.objects, one.accepted, one.unchanged, one.revoked, one.refused.total(),
        one.skipped.total(), one.fault.code if one.fault is not None else "-",
    )  # fmt: skip


# --- what became of it ---


@feed.command("status", es="La última ejecución de cada fuente.")
@in_state
@as_json
def status(state: Path, as_json: bool) -> None:
    """The last run of each source."""
    rows = []
    for path in sorted(state.glob("*.run.json")):
        one = _last(state, path.name.removesuffix(".run.json"))
        rows.append((
            one["source"], one["ended"][:19], one["accepted"], one["unchanged"], one["revoked"], sum(one["refused"].values()),
            sum(one["skipped"].values()), one["fault"]["code"] if one["fault"] else "-",
        ))  # fmt: skip
    listing(
        ("source", "ended", "accepted", "unchanged", "revoked", "refused", "skipped", "fault"), rows, as_json=as_json
    )


@feed.command("errors", es="Lo que quedó fuera, objeto por objeto, con su motivo.")
@in_state
@argument("name", metavar="[SOURCE]", required=False, help="Default: all.", es="Si falta: todas.")
@as_json
def errors(state: Path, name: str | None, as_json: bool) -> None:
    """What was left out, object by object, with its reason."""
    rows = []
    for path in sorted(state.glob(f"{name or '*'}.quarantine.jsonl")):
        for line in path.read_bytes().splitlines():
            one = orjson.loads(line)
            rows.append(
                (
                    path.name.removesuffix(".quarantine.jsonl"),
                    one.get("id") or one.get("name"),
                    version_of(one.get("object", {})),
                    one["code"],
                    one[language()],
                )
            )
    listing(("source", "object", "version", "code", "reason"), rows, as_json=as_json)


def _last(state: Path, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads((state / f"{name}.run.json").read_bytes())
    except FileNotFoundError:
        return {}
    return found


COMMANDS: tuple[click.Command, ...] = (feed,)
