"""An operator's commands at the hub's own machine: init, serve, member, collection. Each is one act with its entry."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from exchange import observe
from exchange.cli import setup
from exchange.cli.output import language, listing, say
from exchange.cli.words import argument, as_json, command, group, in_home, of_member, option
from exchange.cli.workers import share
from exchange.clock import Clock, SystemClock
from exchange.errors import Conflict, NotFound
from exchange.hub import open_store, running, working
from exchange.intake.validate import prepare
from exchange.model.member import Collection, Country, Member, Status
from exchange.settings import Settings
from exchange.web.services import Services

T = TypeVar("T")


def at_hub(home: Path, work: Callable[[Services], Awaitable[T]]) -> T:
    """Run one piece of work on the hub's own files; a hub that is serving sees it on its next request."""

    async def run() -> T:
        async with working(setup.Home(home).settings(), SystemClock()) as services:
            return await work(services)

    return asyncio.run(run())


@command(
    es="Crea las claves, la PKI de desarrollo de ambos países, cuatro testigos, el acuerdo de muestra y las colecciones."
)
@in_home
@option("--port", default=8443, show_default=True, help="For clients with tokens.", es="Para clientes con token.")
@option(
    "--mtls-port",
    default=8444,
    show_default=True,
    help="For clients with certificates.",
    es="Para clientes con certificado.",
)
@option(
    "--database-url",
    default="",
    help="postgresql://user@host/name, an empty database; without it, a SQLite file. Never with a password in it.",
    es="postgresql://usuario@host/nombre, una base de datos vacía; sin ella, un archivo SQLite. Nunca con contraseña.",
)
@option(
    "--database-password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the database's password, mode 0600; else PGPASSFILE counts.",
    es="Archivo con la contraseña de la base de datos, modo 0600; si falta, vale PGPASSFILE.",
)
def init(home: Path, port: int, mtls_port: int, database_url: str, database_password_file: Path | None) -> None:
    """Make keys, both countries' development PKI, four witnesses, the sample agreement and collections."""
    database: dict[str, Any] = {"database_url": database_url} if database_url else {}
    if database_url and database_password_file is not None:
        database["database_password_file"] = database_password_file.absolute()
    if database_url:
        asyncio.run(_must_be_empty(Settings.of(database)))
    made = setup.create(home, SystemClock(), ports=(port, mtls_port), database=database)
    at_hub(home, lambda services: setup.establish(services, made))
    say(f"Made {home}. Next: puente member add us-cyber", f"Se creó {home}. Siguiente: puente member add us-cyber")


async def _must_be_empty(settings: Settings) -> None:
    """Before anything is made: what a database holds is signed with other keys than new ones."""
    store = await open_store(settings, SystemClock())
    try:
        held = any(tree.size for tree in (await store.trees()).values())
    finally:
        await store.close()
    if held:
        raise Conflict("The database holds a hub already.", "La base de datos ya contiene un centro.", code="exists",
                       field="database_url")  # fmt: skip


@command(es="Pone en marcha el centro hasta que se le indique detenerse; antes termina lo que ya aceptó.")
@in_home
@option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that share the ports; rates are counted in each.",
    es="Procesos que comparten los puertos; los límites se cuentan en cada uno.",
)
def serve(home: Path, workers: int) -> None:
    """Run the hub until it is told to stop; what it accepted is finished first."""
    observe.configure()
    settings = setup.Home(home).settings()
    prepare()
    if workers > 1:
        share(workers, settings)
    _save_memory()
    sys.setswitchinterval(SWITCH_SECONDS)

    uvloop.run(serve_until_told(settings, SystemClock(), named=workers > 1))


async def serve_until_told(settings: Settings, clock: Clock, *, named: bool = False) -> None:
    """The hub, until SIGTERM or SIGINT. `named`: it says which of several processes it is."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with running(settings, clock) as hub:
        gc.freeze()  # what stands now stands for good
        # So does what is judged of a version, in no cycles: it is not to bring on a collection of garbage while everybody's views
        # follow. What garbage in cycles there is then stays too: for each version some hundreds of values, rarely thousands.
        hub.services.release.grants.when_judged = gc.freeze
        who = f" ({os.getpid()})" if named else ""
        say(f"Serving TAXII 2.1 at {hub.url}/taxii2/{who}", f"Sirviendo TAXII 2.1 en {hub.url}/taxii2/{who}")
        await stop.wait()


SWITCH_SECONDS = 0.001
"""How long a thread that judges, writes or reads keeps the interpreter from the loop's own. An answer goes to and fro between
threads some ten times, and with Python's five milliseconds it waits so long each time that any of them is at work."""


def _save_memory() -> None:
    """Before any thread begins: one heap for all of them, since glibc's heap for each keeps what a large envelope took.
    It gives little back at once, since a page of a megabyte would be given back and asked for again with every answer.
    And the values of a large envelope are no garbage yet when the collector first looks."""
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        for option, value in _MALLOC.items():
            libc.mallopt(option, value)
    gc.set_threshold(*GC_THRESHOLDS)


GC_THRESHOLDS = 100_000, 20, 50
"""To look over so many new values takes 60 to 85 ms in which nobody is answered. With half of them intake of large envelopes was once found slower,
by a fifth; of small ones it is not."""
_MALLOC = {-8: 1, -1: 32_000_000, -3: 16_000_000}
"""M_ARENA_MAX, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h; other C libraries have no mallopt, or ignore it."""


# --- members ---


@group(es="Quiénes participan.")
def member() -> None:
    """Who takes part."""


@member.command(
    "add",
    es="Inscribe a un miembro con claves, certificados de su propio país y un perfil, en members/SLUG.",
)
@in_home
@of_member
@option(
    "--country",
    type=click.Choice([one.value for one in Country]),
    help="Needed unless SLUG is a sample member.",
    es="Necesario si SLUG no es un miembro de muestra.",
)
@option(
    "--kind",
    default="operator",
    show_default=True,
    help="agency, operator, auditor, gateway …",
    es="agency (dependencia), operator (operador), auditor, gateway (pasarela nacional) …",
)
@option(
    "--role", "roles", multiple=True, help="A role; may be given several times.", es="Una función; puede repetirse."
)
@option(
    "--sector", "sectors", multiple=True, help="A sector; may be given several times.", es="Un sector; puede repetirse."
)
@option(
    "--identity",
    default="",
    help="Its identity's id, where a trust list names it already. Default: a new one.",
    es="El id de su identidad, si una lista de confianza ya la nombra. Si falta: uno nuevo.",
)
@option("--name-en", default="", help="Name in English.", es="Nombre en inglés.")
@option("--name-es", default="", help="Name in Spanish.", es="Nombre en español.")
@option(
    "--consents",
    is_flag=True,
    help="An operator's standing consent to be named across the border.",
    es="Consentimiento permanente de un operador para ser nombrado al otro lado de la frontera.",
)
def add_member(
    home: Path, slug: str, country: str | None, kind: str, roles: tuple[str, ...], sectors: tuple[str, ...],
    identity: str, name_en: str, name_es: str, consents: bool,
) -> None:  # fmt: skip
    """Enrol a member with keys, certificates of its own country and a profile, kept under members/SLUG."""
    if country is None:
        new = setup.sample_member(slug)
        new = replace(new, identity_id=identity or new.identity_id)
    else:
        identity = identity or f"identity--{uuid.uuid4()}"
        new = Member(
            slug, identity, Country(country), kind, roles, sectors, name_en or slug, name_es or slug, consents=consents
        )
    at_hub(home, lambda services: setup.add_member(services, setup.Home(home), new))
    say(f"{slug} is enrolled as {new.identity_id}.", f"{slug} quedó inscrito como {new.identity_id}.")


@member.command("list", es="Todos los miembros, con su situación.")
@in_home
@as_json
def list_members(home: Path, as_json: bool) -> None:
    """All members, with status."""
    rows = [
        (m.slug, m.country, m.kind, " ".join(m.roles), " ".join(m.sectors), m.status, m.name(language()))
        for m in at_hub(home, _members)
    ]
    listing(("member", "country", "kind", "roles", "sectors", "status", "name"), rows, as_json=as_json)


async def _members(services: Services) -> list[Member]:
    return list((await services.rulebook.current()).registry.members.values())


def _status(name: str, status: Status, en: str, es: str) -> None:
    @member.command(name, help=en, es=es)
    @in_home
    @of_member
    def change(home: Path, slug: str) -> None:
        at_hub(home, lambda services: services.governance.set_status(setup.OPERATOR, slug, status))
        say(f"{slug} is {status} from the next request on.", f"{slug} está {status} desde la próxima solicitud.")


_status(
    "suspend",
    Status.SUSPENDED,
    "Refuse a member from its next request on.",
    "Rechaza a un miembro desde su próxima solicitud.",
)
_status("reinstate", Status.ACTIVE, "Let a suspended member in again.", "Readmite a un miembro suspendido.")
_status("withdraw", Status.WITHDRAWN, "End a membership.", "Pone fin a una participación.")


# --- collections ---


@group(es="Colecciones TAXII y quiénes pueden usarlas.")
def collection() -> None:
    """TAXII collections and who may use them."""


@collection.command("add", es="Agrega una colección. Nadie la lee ni escribe en ella si ninguna audiencia lo dice.")
@in_home
@argument("alias", help="Its short name.", es="Su nombre corto.")
@option("--title", required=True, help="What clients show; unique.", es="Lo que muestran los clientes; único.")
@option("--description", default="", help="One sentence more.", es="Una frase más.")
@option(
    "--reader",
    "readers",
    multiple=True,
    help='"all", country:US, role:agency or member:us-cyber; repeatable.',
    es='"all" (todos), country:US, role:agency o member:us-cyber; puede repetirse.',
)
@option("--writer", "writers", multiple=True, help="The same, for submitting.", es="Lo mismo, para enviar.")
def add_collection(
    home: Path, alias: str, title: str, description: str, readers: tuple[str, ...], writers: tuple[str, ...]
) -> None:
    """Add a collection. Nobody reads or writes it unless an audience says so."""
    new = Collection(str(uuid.uuid4()), alias, title, description or title, readers, writers)
    at_hub(home, lambda services: services.governance.put_collection(setup.OPERATOR, new))
    say(f"{alias} is collection {new.id}.", f"{alias} es la colección {new.id}.")


@collection.command("list", es="Todas las colecciones con sus audiencias.")
@in_home
@as_json
def list_collections(home: Path, as_json: bool) -> None:
    """All collections with their audiences."""

    async def ask(services: Services) -> list[Collection]:
        return list((await services.rulebook.current()).registry.collections)

    rows = [(c.alias, c.id, c.title, " ".join(c.readers), " ".join(c.writers)) for c in at_hub(home, ask)]
    if not rows:
        raise NotFound("There are no collections.", "No hay colecciones.")
    listing(("alias", "id", "title", "readers", "writers"), rows, as_json=as_json)


COMMANDS: tuple[click.Command, ...] = (init, serve, member, collection)
