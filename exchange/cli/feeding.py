"""Outside sources at a terminal: `puente feed`. A feed is an ordinary member: it is run with a member's profile."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import orjson
from click._termui_impl import ProgressBar

from exchange import observe
from exchange.cli.asking import as_member
from exchange.cli.feed_showing import (
    is_well,
    show_left_out,
    show_source,
    show_standing,
    standing,
    tell_fault,
    tell_left,
)
from exchange.cli.feed_trial import BLANK, chosen, declared, in_catalogue, of_source, sources, test
from exchange.cli.holds import held
from exchange.cli.known_good import warninglists
from exchange.cli.output import advance, language, listing, machine, progress, say, spoken
from exchange.cli.profile import Profile
from exchange.cli.words import argument, as_json, group, new_file, new_folder, option
from exchange.client.envelopes import version_of
from exchange.clock import SystemClock
from exchange.errors import Conflict, Malformed
from feeds.catalogue import Source, load, parse, written
from feeds.report import Papers, Run
from feeds.runner import Job
from feeds.schedule import keep_running, run_all

STATE = Path("var/feeds")
in_state = option(
    "--state", type=new_folder, default=STATE, show_default=True,
    help="What feeds remember between runs; back it up with the keys.",
    es="Lo que las fuentes recuerdan entre ejecuciones; respáldelo con las claves.",
)  # fmt: skip


@group(es="Fuentes externas, que envían como cualquier miembro.")
def feed() -> None:
    """Outside sources, which submit as any member does."""


@feed.command("list", es="El catálogo: qué es cada fuente, para qué sirve, y cuándo se leyó por última vez.")
@in_catalogue
@in_state
@as_json
def list_sources(catalogue: Path | None, state: Path, as_json: bool) -> None:
    """The catalogue: what each source is, what it is good for, and when it was last read."""
    found = sources(catalogue).values()
    last = {one.name: Papers(state, one.name).last().get("ended", "")[:19] for one in found}
    if not as_json:
        for one in found:
            show_source(one, last[one.name])
        return
    machine([
        {
            "name": one.name, "adapter": one.adapter, "publisher": one.publisher, "licence": one.licence, "tlp": one.tlp,
            "collection": one.collection, "every": f"{one.cadence_seconds} s", "calls": one.calls, "last_run": last[one.name] or "-",
            "what": one.good_for(language()),
        }
        for one in found
    ])  # fmt: skip


# --- one's own catalogue ---


@feed.command("add", es="Añade una fuente a un catálogo propio, que se crea si no existe.")
@option(
    "--catalogue", type=new_file, required=True, help="The catalogue to add it to.", es="El catálogo al que se añade."
)
@of_source
@declared
@option(
    "--from",
    "base",
    metavar="SOURCE",
    help="Begin with a source of this release.",
    es="Parte de una fuente de esta versión.",
)
@option("--publisher", help="Who publishes it.", es="Quién la publica.")
@option("--licence", help="Under which licence.", es="Con qué licencia.")
@option(
    "--tlp",
    type=click.Choice(["clear", "green", "amber", "amber+strict"]),
    help="What is made of it is marked so.",
    es="La marca de lo que se obtenga.",
)
@option(
    "--collection",
    help="Where it goes in the hub, by id or alias.",
    es="A qué colección del centro va, por id o alias.",
)
@option(
    "--every",
    "cadence_seconds",
    type=click.IntRange(min=60),
    help="Seconds between two runs.",
    es="Segundos entre dos ejecuciones.",
)
@option("--password-file", help="A file of mode 0600 with its key.", es="Un archivo de modo 0600 con su clave.")
@option("--good-for-en", help="What it is good for, in English.", es="Para qué sirve, en inglés.")
@option("--good-for-es", help="What it is good for, in Spanish.", es="Para qué sirve, en español.")
def add(catalogue: Path, name: str, base: str | None, mapping: dict[str, Any], **given: Any) -> None:
    """Add a source to a catalogue of one's own, which is made if it does not exist.

    Whatever else a source and its mapping can say is written into the file by hand: docs/feeds.md has the list.
    """
    known = load(catalogue) if catalogue.exists() else {}
    if name in known:
        raise Conflict(
            f"There is a source {name} already.", f"Ya existe una fuente {name}.", code="exists", field="SOURCE"
        )
    row = (
        chosen(None, base).model_dump(exclude_defaults=True)
        if base
        else {**BLANK, **({"mapping": {}} if mapping else {})}
    )
    row |= {key: value for key, value in given.items() if value is not None} | {"name": name}
    if mapping:
        row["mapping"] = {**row.get("mapping", {}), **mapping}
        row["adapter"] = "mapped"
    source = parse(row)
    with catalogue.open("a", encoding="utf-8") as file:
        file.write(("\n" if known else "") + written(source))
    say(
        f"{catalogue} has {name} now; try it: puente feed test {name} --catalogue {catalogue}",
        f"{catalogue} ya contiene {name}; pruébela: puente feed test {name} --catalogue {catalogue}",
    )


@feed.command("pause", es="Deja de leer una fuente hasta que se reanude.")
@in_state
@of_source
def pause(state: Path, name: str) -> None:
    """Leave a source alone until it is resumed; a process that runs for ever heeds it within a minute."""
    state.mkdir(parents=True, exist_ok=True)
    Papers(state, name).pause_file.touch()
    say(f"{name} is paused.", f"{name} está en pausa.")


@feed.command("resume", es="Reanuda una fuente en pausa.")
@in_state
@of_source
def resume(state: Path, name: str) -> None:
    """Go on with a source that was paused."""
    Papers(state, name).pause_file.unlink(missing_ok=True)
    say(f"{name} goes on at its next turn.", f"{name} continúa en su próximo turno.")


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
    if not forever:
        wanted = [one for one in wanted if not (every and _is_paused(state, one.name))]
        if resting := [one.name for one in wanted if _is_paused(state, one.name)]:
            raise Conflict(
                f"Paused: {', '.join(resting)}. Resume it first: puente feed resume {resting[0]}",
                f"En pausa: {', '.join(resting)}. Reanúdela antes: puente feed resume {resting[0]}",
                code="feed-paused",
                field="SOURCE",
            )
    with ExitStack() as stack:
        if forever:
            observe.configure()
        else:  # a person watches the bar and reads the table; what else there is to say is kept
            state.mkdir(parents=True, exist_ok=True)
            observe.configure(machine=True, file=stack.enter_context((state / "feeds.log").open("a")))
        runs = asyncio.run(_run(me, wanted, state, forever=forever))
    head = ("source", "records", "objects", "accepted", "unchanged", "revoked", "held", "refused", "skipped", "fault")
    listing(head, [_row(one) for one in runs], as_json=as_json)
    for one in runs:
        if one.fault is not None:
            tell_fault(one.source, spoken(one.fault.text), err=True)
    tell_left([one.source for one in runs if one.refused or one.skipped], _at(state), err=True)
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
        one.source, one.records, one.objects, one.accepted, one.unchanged, one.revoked, one.held, one.rejected,
        one.skipped.total(), one.fault.code if one.fault is not None else "-",
    )  # fmt: skip


# --- what became of it ---


@feed.command("status", es="Cómo va cada fuente: última ejecución, última buena, qué se aceptó y qué no.")
@in_catalogue
@in_state
@as_json
def status(catalogue: Path | None, state: Path, as_json: bool) -> None:
    """How each source fares: its last run, its last good one, what was taken and what was not.

    `late`: no good run for twice its cadence. Exit status 1 when a source fails or is late.
    """
    cadences = {name: one.cadence_seconds for name, one in sources(catalogue).items()}
    now_us = SystemClock().now_us()
    names = sorted(path.name.removesuffix(".run.json") for path in state.glob("*.run.json"))
    rows = [standing(Papers(state, name), cadences.get(name, 0), now_us) for name in names]
    if as_json:
        machine([{key: value for key, value in one.items() if key not in ("why", "every")} for one in rows])
    else:
        show_standing(rows, _at(state))
    sys.exit(0 if all(map(is_well, rows)) else 1)


def _at(state: Path) -> str:
    return f" --state {state}" if state != STATE else ""


def _is_paused(state: Path, name: str) -> bool:
    return Papers(state, name).pause_file.exists()


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
                    version_of(one["object"]) if "object" in one else "-",
                    one["code"],
                    one[language()],
                )
            )
    if as_json:
        machine([dict(zip(("source", "object", "version", "code", "reason"), row, strict=True)) for row in rows])
        return
    for row in rows:
        show_left_out(*map(str, row))
    if not rows:
        say("Nothing was left out.", "Nada quedó fuera.")


feed.add_command(test)
feed.add_command(held)
feed.add_command(warninglists)
COMMANDS: tuple[click.Command, ...] = (feed,)
