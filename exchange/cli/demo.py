"""`puente demo`: signed indicators and real feeds between two countries, refusals with their clause, and an offline audit."""

import asyncio
import contextlib
import gzip
import lzma
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click
import orjson
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from taxii2client.common import TokenAuth, _HTTPConnection
from taxii2client.v21 import Collection as Taxii2Collection
from taxii2client.v21 import as_pages

from certs.faults import Fault
from exchange import observe
from exchange.cli import setup
from exchange.cli.demo_gateway import Pulled, relay, show_stand_in
from exchange.cli.feed_showing import show_standing, standing
from exchange.cli.ledger import read_policies
from exchange.cli.output import advance, plain, progress, say, spoken, table
from exchange.cli.packing import HubCopy
from exchange.cli.stage import Stage, free_ports, stage, write_for_machines
from exchange.cli.upstream import Upstream, run_medallion
from exchange.cli.words import command, new_folder, option
from exchange.clock import SystemClock
from exchange.errors import Conflict, LedgerFault, Refusal, Text, Unavailable
from exchange.ledger.audit import Report, verify_copy, write_copy
from exchange.ledger.entry import LOGS
from feeds.bundles import SUFFIXES
from feeds.catalogue import Source
from feeds.mapping import Mapping as RowMapping
from feeds.report import Papers, Run
from feeds.runner import Job, run_once
from policies.label import TLP_DEFINITIONS
from policies.markings import CAVEAT_MARKINGS

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
VENDORED = Path(__file__).resolve().parents[2] / "tests" / "vectors"
TLP = {word: marking for marking, word in TLP_DEFINITIONS.items()}
NOFORN = next(marking for marking, one in CAVEAT_MARKINGS.items() if one["name"] == "NOFORN")

COSIGN_SECONDS = 30.0
"""The witnesses answer in a tenth of a second; by then something is wrong with one."""

SOCS = ("us-maritime", "mx-aduanas")
"""Who pulls: one of each country."""


@dataclass(frozen=True)
class Plan:
    """What a demo is run with."""

    home: Path
    stay: bool = False
    sources: tuple[tuple[str, Source], ...] = ()
    """The importing member, and what it imports."""
    ports: tuple[int, ...] = ()
    """The hub's two and the four witnesses'; by default any that are free."""
    upstream: Callable[[Sequence[dict[str, Any]]], AbstractContextManager[Upstream]] = run_medallion

    @property
    def card(self) -> Path:
        return self.home.parent / "demo.json"

    @property
    def log(self) -> Path:
        return self.home.parent / "demo.log"


@command(es="Ejecuta todo el intercambio en este equipo y verifica su registro sin conexión.")
@option(
    "--home",
    type=new_folder,
    default=Path("var/demo"),
    show_default=True,
    help="Where it lives; made anew each time. Beside it lie demo.json, for programs, and demo.log.",
    es="Donde vive; se crea de nuevo cada vez. A su lado quedan demo.json, para programas, y demo.log.",
)
@option(
    "--stay",
    is_flag=True,
    help="Leave it running, and print how to reach it.",
    es="Lo deja en marcha y muestra cómo usarlo.",
)
@option(
    "--small",
    is_flag=True,
    help="Load this repository's samples even where more real data is at hand.",
    es="Carga las muestras de este repositorio aunque haya más datos reales a mano.",
)
def demo(home: Path, stay: bool, small: bool) -> None:
    """Run the whole exchange on this machine, and verify its ledger offline."""
    sys.exit(play(Plan(home.absolute(), stay, tuple(_sources(small=small)))))


def play(plan: Plan) -> int:
    """Run the demo; the exit status. What goes wrong is told in both languages, with what to do next."""
    try:
        _clear(plan.home)
        plan.home.parent.mkdir(parents=True, exist_ok=True)
        with plan.log.open("w") as log:
            observe.configure(machine=True, file=log)
            return asyncio.run(_until_told(plan, log))
    except _Stopped as stopped:
        _tell_both(stopped.while_, _text_of(stopped.__cause__ or stopped))
    except (OSError, Refusal, Fault, LedgerFault) as error:
        _tell_both(Text("before anything ran", "antes de empezar"), _text_of(error))
    _tell_next(plan)
    return 1


def _clear(home: Path) -> None:
    if not home.exists():
        return
    if any(home.iterdir()) and not (home / "hub" / "puente.toml").exists():
        raise Conflict(
            f"{home} is not a demo's directory.", f"{home} no es el directorio de una demostración.", code="exists"
        )
    shutil.rmtree(home)


async def _until_told(plan: Plan, log: TextIO) -> int:
    """Play, and on SIGINT or SIGTERM end what was begun, in order."""
    heard: list[signal.Signals] = []
    task = asyncio.current_task()

    def hear(name: signal.Signals) -> None:
        if not heard and task is not None:  # once: a second one must not cut the ending short
            task.cancel()
        heard.append(name)

    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, hear, name)
    try:
        return await _play(plan, log)
    except asyncio.CancelledError:
        if not heard:
            raise
        say("Stopped; nothing is left running.", "Detenida; no queda nada en marcha.")
        return 128 + heard[0]


async def _play(plan: Plan, log: TextIO) -> int:
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        say("Making keys, members, witnesses and a hub …", "Preparando claves, miembros, testigos y un centro …")
        with _step("starting the hub and its witnesses", "al arrancar el centro y sus testigos"):
            ports = plan.ports or free_ports(2 + len(setup.WITNESSES))
            on = await stack.enter_async_context(stage(plan.home, SystemClock(), ports, log))
            write_for_machines(plan.card, on)
        say(
            f"A hub at {on.hub.url}/taxii2/, two witnesses in each country, {len(on.members)} fictional members.",
            f"Un centro en {on.hub.url}/taxii2/, dos testigos en cada país, {len(on.members)} miembros ficticios.",
        )
        with _step("relaying what an operator sent", "al retransmitir lo que envió un operador"):
            relayed = await relay(on)
        with _step("loading the feeds", "al cargar las fuentes"):
            runs = await _load_feeds(on, plan)
        with _step("submitting signed indicators", "al enviar indicadores firmados"):
            sent = await _submit(on)
        with _step("pulling with taxii2-client", "al descargar con taxii2-client"):
            pulled = await asyncio.to_thread(_pull, on)
        problems = [_of_feed(run, run.fault.text) for run in runs if run.fault is not None]
        problems += _show_visibility(sent, pulled)
        problems += show_stand_in(relayed, pulled[SOCS[0]])
        with _step("asking why", "al preguntar por qué"):
            problems += await _show_reasons(on, sent)
            problems += await _show_refusal(on)
        with _step("auditing the ledger", "al auditar el registro"):
            report = await _audit(on, plan.home / "copy")
        problems += [Text(f"{one.file}: {one.en}", f"{one.file}: {one.es}") for one in report.findings]
        _summary(on, runs, pulled, report, time.monotonic() - began)
        for problem in problems:
            _tell_both(Text("running", "durante la ejecución"), problem)
        if problems:
            _tell_next(plan)
        if plan.stay:
            await _stay(plan)
        return 1 if problems else 0


# --- what is told when something fails ---


class _Stopped(Exception):
    """A step failed, and the demo with it. Its cause says why."""

    def __init__(self, while_: Text) -> None:
        super().__init__(while_.en)
        self.while_ = while_


@contextlib.contextmanager
def _step(en: str, es: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _Stopped(Text(en, es)) from error


def _text_of(error: BaseException) -> Text:
    if isinstance(error, Refusal):
        return error.text
    if isinstance(error, Fault):
        return Text(error.en, error.es)
    return Text(f"{type(error).__name__}: {error}", f"{type(error).__name__}: {error}")


def _tell_both(while_: Text, why: Text) -> None:
    click.echo(f"✗ {while_.en}: {plain(why.en)}", err=True)
    click.echo(f"✗ {while_.es}: {plain(why.es)}", err=True)


def _tell_next(plan: Plan) -> None:
    click.echo(f"  Next: see {plan.log} for what happened, mend it, and run the demo again: it begins anew.", err=True)
    click.echo(
        f"  Ahora: vea en {plan.log} qué ocurrió, corríjalo y repita la demostración: empieza de cero.", err=True
    )


# --- feeds ---


def _sources(*, small: bool) -> Iterator[tuple[str, Source]]:
    """Five of the six feeds, by who imports them; the sixth is the partner's TAXII server."""
    real = REAL_DATA if not small and (REAL_DATA / "cisa-kev").exists() else None
    newest = sorted(VENDORED.glob("kev/*.json"))[-1:] or [VENDORED / "kev"]
    kev = real / "cisa-kev" / "kev-2025-08-25.json.xz" if real else newest[0]
    yield "us-cyber", _source("kev", "kev", kev, "CISA (public catalogue)", "CC0-1.0")
    if real:
        yield (
            "us-cyber",
            _source("attack", "stix", real / "mitre-attack", "The MITRE Corporation", "ATT&CK terms of use"),
        )
    else:
        yield "us-cyber", _source("reports", "stix", VENDORED / "oasis-stix", "OASIS Open", "BSD-3-Clause")
    advisories = real / "csaf-oasis" / "csaf" if real else VENDORED / "feeds" / "csaf"
    yield "us-cyber", _source("advisories", "csaf", advisories, "CISA and others, CSAF 2.0", "as each document says")
    events = real / "misp" / "eset" if real else VENDORED / "feeds" / "misp"
    yield "mx-ciber", _source("events", "misp", events, "ESET, MISP events", "BSD-2-Clause")
    addresses = real / "blocklists" / "ipsum" / "level5.txt" if real else VENDORED / "feeds" / "ipsum-level8.txt"
    mapping = RowMapping(format="lines", kind="ip", valid_days=3, full_state=True, confidence=50)
    yield (
        "mx-ciber",
        _source("addresses", "mapped", addresses, "IPsum", "Unlicense", mapping=mapping, vanished="expire"),
    )


def _source(name: str, adapter: str, location: Path | str, publisher: str, licence: str, **more: Any) -> Source:
    return Source(
        name=name, adapter=adapter, location=str(location), publisher=publisher, licence=licence, tlp="clear",
        collection="vulnerabilities", cadence_seconds=3600, good_for_en="demo", good_for_es="demostración", **more,
    )  # fmt: skip


async def _load_feeds(on: Stage, plan: Plan) -> list[Run]:
    directory = on.home.root / "feeds"
    directory.mkdir()
    objects = _upstream_objects()
    with plan.upstream(objects) as upstream:
        password = directory / "upstream.password"
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(upstream.password)
        taxii = _source(
            "upstream", "taxii", upstream.url, "medallion", "none", user=upstream.user, password_file=str(password),
            plain_http=True, loopback=True,
        )  # fmt: skip
        runs = [
            await _load(on, slug, source, directory, await asyncio.to_thread(_records_in, Path(source.location)))
            for slug, source in plan.sources
        ]
        runs.append(await _load(on, "mx-ciber", taxii, directory, len(objects)))
    say("As `puente feed status` shows it:", "Como lo muestra `puente feed status`:")
    now_us = on.clock.now_us()
    show_standing([standing(Papers(directory, run.source), 3600, now_us) for run in runs], f" --state {directory}")
    return runs


async def _load(on: Stage, slug: str, source: Source, directory: Path, expected: int) -> Run:
    async with on.client(slug) as client:
        with progress(f"{f'{source.name}, {source.publisher}':<34.34}", expected) as bar:
            job = Job.of(source, client, directory, on.clock)
            run = await run_once(job, on_progress=lambda run: advance(bar, run.records, expected))
            if run.ok:
                advance(bar, expected, expected)
    return run


def _of_feed(run: Run, text: Text) -> Text:
    return Text(f"{run.source}: {text.en}", f"{run.source}: {text.es}")


def _records_in(location: Path) -> int:
    """About how many records a progress bar is to expect of a file or folder; the adapter itself reads them strictly."""
    files = [location] if location.is_file() else sorted(location.rglob("*")) if location.is_dir() else []
    openers: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}
    count = 0
    for file in files:
        if file.is_file() and file.name.endswith((*SUFFIXES, ".txt")):
            with openers.get(file.suffix, open)(file, "rb") as stream:
                count += _count(stream.read())
    return count


def _count(data: bytes) -> int:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.count(b"\n")
    value = value if isinstance(value, dict) else {}
    event = value.get("Event", {})
    return len(value.get("objects") or event.get("Attribute") or value.get("vulnerabilities") or (value,))


def _upstream_objects() -> list[dict[str, Any]]:
    """What the partner's TAXII server holds: made up, in an address range reserved for documentation (RFC 5737)."""
    return [
        {
            "type": "indicator", "spec_version": "2.1", "id": f"indicator--{uuid.uuid5(uuid.NAMESPACE_URL, str(n))}",
            "created": "2026-11-01T00:00:00.000Z", "modified": "2026-11-01T00:00:00.000Z",
            "name": f"upstream {n}", "pattern": f"[ipv4-addr:value = '198.51.100.{n}']", "pattern_type": "stix",
            "pattern_version": "2.1", "valid_from": "2026-11-01T00:00:00Z", "confidence": 80,
        }
        for n in range(100)
    ]  # fmt: skip


# --- signed indicators ---


@dataclass(frozen=True, slots=True)
class _Signed:
    """One of the demo's indicators, and which of the SOCS must have it in the end."""

    name: Text
    sender: str
    collection: str
    markings: tuple[str, ...]
    expected: tuple[bool, bool]


_PLANNED = (
    _Signed(Text("Mexican port, TLP:GREEN", "puerto mexicano, TLP:GREEN"), "mx-puerto-pac", "indicators", (TLP["green"],), (True, True)),
    _Signed(Text("US customs, TLP:AMBER", "aduana de EE. UU., TLP:AMBER"), "us-customs", "indicators", (TLP["amber"],), (True, True)),
    _Signed(Text("US customs, domestic collection", "aduana de EE. UU., colección nacional"), "us-customs", "us-domestic", (TLP["amber"],), (True, False)),
    _Signed(Text("US customs, marked NOFORN", "aduana de EE. UU., marcado NOFORN"), "us-customs", "indicators", (TLP["amber"], NOFORN), (True, False)),
)  # fmt: skip


def _indicator(name: str, markings: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "indicator", "name": name, "pattern": "[domain-name:value = 'manifiestos.puerto.example']",
        "pattern_type": "stix", "pattern_version": "2.1", "valid_from": "2026-11-01T00:00:00Z", "confidence": 85,
        "indicator_types": ["malicious-activity"], "object_marking_refs": list(markings),
    }  # fmt: skip


async def _submit(on: Stage) -> dict[str, _Signed]:
    """Object id to what was sent under it."""
    sent = {}
    for one in _PLANNED:
        async with on.client(one.sender) as client:
            obj = client.sign(client.prepare(_indicator(one.name.en, one.markings)))
            [result] = await client.submit([obj], one.collection)
            if result.refused:
                raise Unavailable(result.refused[0].text.en, result.refused[0].text.es, code=result.refused[0].code)
            sent[obj["id"]] = one
    return sent


class _Patient(HTTPAdapter):
    """requests waits for ever unless told: with a limit, a hub that went away ends the pull."""

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        return super().send(request, *args, **{**kwargs, "timeout": 60})


def _pull(on: Stage) -> dict[str, Pulled]:
    """What two SOCs get from every collection they may read, by the real taxii2-client over TLS."""
    found: dict[str, Pulled] = {}
    for slug in SOCS:
        found[slug] = {}
        connection = _HTTPConnection(auth=TokenAuth(on.tokens[slug]), verify=str(on.home.ca_file), version="2.1")
        connection.session.trust_env = False  # a CA bundle named in the environment would win over ours
        connection.session.mount("https://", _Patient())
        aliases = (
            "indicators",
            "vulnerabilities",
            "us-domestic" if on.members[slug].country == "US" else "mx-domestic",
        )
        with contextlib.closing(connection):
            for alias in aliases:
                url = f"{on.hub.url}/taxii2/us-mx/collections/{on.collections[alias]}/"
                collection = Taxii2Collection(url, conn=connection)
                for page in as_pages(collection.get_objects, per_request=1000):
                    found[slug].update((obj["id"], obj) for obj in page.get("objects", ()))
    return found


def _show_visibility(sent: Mapping[str, _Signed], pulled: Mapping[str, Pulled]) -> list[Text]:
    click.echo()
    words = {True: spoken(Text("yes", "sí")), False: "no"}
    has = {identity: tuple(identity in pulled[slug] for slug in SOCS) for identity in sent}
    head = ("signed indicator", *(f"{slug} has it" for slug in SOCS))
    table(head, [(spoken(one.name), *(words[flag] for flag in has[key])) for key, one in sent.items()])
    return [
        Text(f"{one.name.en}: shown to the wrong members", f"{one.name.es}: visible para otros miembros de los debidos")
        for key, one in sent.items()
        if has[key] != one.expected
    ]


async def _show_reasons(on: Stage, sent: Mapping[str, _Signed]) -> list[Text]:
    """Why mx-aduanas has not got two of them, clause by clause, in both languages."""
    click.echo()
    problems = []
    async with on.client("us-customs") as english, on.client("us-customs", "es") as spaniard:
        for key, one in sent.items():
            if one.expected[1]:
                continue
            say(f"{one.name.en}: why not to mx-aduanas?", f"{one.name.es}: ¿por qué no a mx-aduanas?")
            for client in (english, spaniard):
                [placement] = (await client.explain(key, "mx-aduanas"))["placements"]
                click.echo(f"  {plain(placement['reason'])}")
                if placement["visible"] or not placement["clause"]:
                    problems.append(Text(f"{one.name.en}: no clause withholds it", f"{one.name.es}: nada lo retiene"))
    return problems


async def _show_refusal(on: Stage) -> list[Text]:
    """An indicator that nobody may send here, refused with the clause in both languages."""
    say("An indicator marked TLP:RED is not taken in:", "Un indicador marcado TLP:RED no se acepta:")
    async with on.client("us-customs") as client:
        obj = client.sign(client.prepare(_indicator("TLP:RED is for people", [TLP["red"]])))
        [result] = await client.submit([obj], "indicators")
    for refused in result.refused:
        click.echo(f"  {plain(refused.text.en)}\n  {plain(refused.text.es)}")
    return [] if result.refused else [Text("TLP:RED was taken in", "se aceptó TLP:RED")]


# --- the ledger ---


async def _audit(on: Stage, copy: Path) -> Report:
    """Take a copy once both countries have cosigned everything, and verify it as an auditor would: offline."""
    publisher = on.hub.services.publisher
    for log, tree in (await on.hub.services.store.trees()).items():
        await publisher.receipt(log, tree.size - 1, wait_seconds=COSIGN_SECONDS)
    await write_copy(copy, HubCopy(on.hub.services, LOGS, countries=("us", "mx")))
    return await asyncio.to_thread(verify_copy, copy, read_policies(on.home.root / "hub" / "witness-policy"))


# --- the end ---


def _summary(on: Stage, runs: Sequence[Run], pulled: Mapping[str, Pulled], report: Report, seconds: float) -> None:
    click.echo()
    head = ("source", "accepted", "refused", "reason")
    table(head, [(run.source, f"{run.accepted:>9,}", f"{run.refused.total():>9,}", _most(run)) for run in runs])
    click.echo()
    say("Pulled with taxii2-client:", "Descargado con taxii2-client:")
    table(("member", "objects"), [(slug, f"{len(pulled[slug]):>9,}") for slug in SOCS])
    click.echo()
    table(
        ("log", "entries", "root", "cosigned by"),
        [(one.name, f"{one.size:>9,}", one.root.hex()[:16], ", ".join(sorted(one.cosigned))) for one in report.logs],
    )
    if report.ok:
        say(
            f"\N{CHECK MARK} The copy of the ledger verifies offline. {seconds:.0f} seconds in all.",
            f"\N{CHECK MARK} La copia del registro se verifica sin conexión. {seconds:.0f} segundos en total.",
        )
        asked = (
            f"puente audit refused --copy {on.home.root / 'copy'} --policy {on.home.root / 'hub' / 'witness-policy'}"
        )
        say(f"  An auditor's question of it: {asked}", f"  Una consulta de auditoría: {asked}")


def _most(run: Run) -> str:
    return ", ".join(f"{code} {count}" for code, count in run.refused.most_common(3))


async def _stay(plan: Plan) -> None:
    click.echo()
    say(
        f"Still running; Ctrl-C ends it. Addresses, tokens and keys of all members: {plan.card}",
        f"Sigue en marcha; Ctrl-C la termina. Direcciones, tokens y claves de todos los miembros: {plan.card}",
    )
    say(f"For example, with {sys.executable}:", f"Por ejemplo, con {sys.executable}:")
    click.echo(SNIPPET.format(card=str(plan.card)))
    sys.stdout.flush()
    with contextlib.suppress(asyncio.CancelledError):  # told to end, as said above: that is no failure
        await asyncio.Event().wait()


SNIPPET = """
import json, os
from taxii2client.common import TokenAuth
from taxii2client.v21 import Server

for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(name, None)  # where set, they would win over verify
demo = json.load(open({card!r}))
token = demo["members"]["mx-ciber"]["token"]
server = Server(demo["base_url"] + "/taxii2/", auth=TokenAuth(token), verify=demo["ca_file"])
for collection in server.default.collections:
    print(collection.title)
"""

COMMANDS: tuple[click.Command, ...] = (demo,)
