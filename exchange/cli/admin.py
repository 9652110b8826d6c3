"""An operator's commands at the hub's own machine: init, serve, member, token, collection. Each is one act with its entry."""

import asyncio
import gc
import signal
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import uvloop

from exchange import observe
from exchange.cli import setup
from exchange.cli.output import machine, say, table
from exchange.clock import SystemClock
from exchange.errors import NotFound
from exchange.hub import running, working
from exchange.model.member import Collection, Country, Member, Status
from exchange.times import as_text
from exchange.web.services import Services

T = TypeVar("T")

in_home = click.option(
    "--home", "home", type=click.Path(path_type=Path, file_okay=False), default=Path("var"), show_default=True,
    help="Directory that `puente init` made.",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON value for machines.")


def at_hub(home: Path, work: Callable[[Services], Awaitable[T]]) -> T:
    """Run one piece of work on the hub's own files; a hub that is serving sees it on its next request."""

    async def run() -> T:
        async with working(setup.Home(home).settings(), SystemClock()) as services:
            return await work(services)

    return asyncio.run(run())


@click.command()
@in_home
@click.option("--port", default=8443, show_default=True)
@click.option("--mtls-port", default=8444, show_default=True)
def init(home: Path, port: int, mtls_port: int) -> None:
    """Make keys, both countries' development PKI, two witnesses, the sample agreement and collections."""
    made = setup.create(home, SystemClock(), ports=(port, mtls_port))
    at_hub(home, lambda services: setup.establish(services, made))
    say(f"Made {home}. Next: puente member add us-cyber", f"Se creó {home}. Siguiente: puente member add us-cyber")


@click.command()
@in_home
def serve(home: Path) -> None:
    """Run the hub until it is told to stop; what it accepted is finished first."""
    observe.configure()

    async def run() -> None:
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        async with running(setup.Home(home).settings(), SystemClock()) as hub:
            # What stands now stands for good; and a large envelope's values are no garbage yet when the collector looks.
            gc.freeze()
            gc.set_threshold(200_000, 10, 50)
            say(f"Serving TAXII 2.1 at {hub.url}/taxii2/", f"Sirviendo TAXII 2.1 en {hub.url}/taxii2/")
            await stop.wait()

    uvloop.run(run())


# --- members ---


@click.group()
def member() -> None:
    """Who takes part."""


@member.command("add")
@in_home
@click.argument("slug")
@click.option(
    "--country", type=click.Choice([one.value for one in Country]), help="Needed unless SLUG is a sample member."
)
@click.option("--kind", default="operator", show_default=True)
@click.option("--role", "roles", multiple=True, help="May be given several times.")
@click.option("--sector", "sectors", multiple=True)
@click.option("--name-en", default="")
@click.option("--name-es", default="")
@click.option("--consents", is_flag=True, help="An operator's standing consent to be named across the border.")
def add_member(
    home: Path, slug: str, country: str | None, kind: str, roles: tuple[str, ...], sectors: tuple[str, ...],
    name_en: str, name_es: str, consents: bool,
) -> None:  # fmt: skip
    """Enrol a member with keys and certificates of its own country, kept under members/SLUG."""
    if country is None:
        new = setup.sample_member(slug)
    else:
        identity = f"identity--{uuid.uuid4()}"
        new = Member(
            slug, identity, Country(country), kind, roles, sectors, name_en or slug, name_es or slug, consents=consents
        )
    at_hub(home, lambda services: setup.add_member(services, setup.Home(home), new))
    say(f"{slug} is enrolled as {new.identity_id}.", f"{slug} quedó inscrito como {new.identity_id}.")


@member.command("list")
@in_home
@as_json
def list_members(home: Path, as_json: bool) -> None:
    """All members, with status."""
    members = at_hub(home, _members)
    if as_json:
        machine([{"slug": m.slug, "country": m.country, "roles": m.roles, "status": m.status} for m in members])
        return
    head = ("member", "country", "kind", "roles", "sectors", "status", "name")
    table(
        head,
        [(m.slug, m.country, m.kind, " ".join(m.roles), " ".join(m.sectors), m.status, m.name_en) for m in members],
    )


async def _members(services: Services) -> list[Member]:
    return list((await services.rulebook.current()).registry.members.values())


def _status(name: str, status: Status, help_text: str) -> None:
    @member.command(name, help=help_text)
    @in_home
    @click.argument("slug")
    def command(home: Path, slug: str) -> None:
        at_hub(home, lambda services: services.governance.set_status(setup.OPERATOR, slug, status))
        say(f"{slug} is {status} from the next request on.", f"{slug} está {status} desde la próxima solicitud.")


_status("suspend", Status.SUSPENDED, "Refuse a member from its next request on.")
_status("reinstate", Status.ACTIVE, "Let a suspended member in again.")
_status("withdraw", Status.WITHDRAWN, "End a membership.")


# --- tokens ---


@click.group()
def token() -> None:
    """API tokens: shown once, kept as a hash, expiring."""


@token.command("create")
@in_home
@click.argument("slug")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 366))
@click.option("--note", default="")
@as_json
def create_token(home: Path, slug: str, days: int, note: str, as_json: bool) -> None:
    """A new token for a member. It is shown now and never again."""
    credential, text = at_hub(
        home, lambda services: services.governance.create_token(setup.OPERATOR, slug, days=days, note=note)
    )
    if as_json:
        machine({"account": credential.id, "token": text, "expires": as_text(credential.expires_us)})
        return
    click.echo(text)
    say(
        f"Use it as the Basic password (any user name), or as a Bearer token. It expires {as_text(credential.expires_us)}.",
        f"Úselo como contraseña Basic (cualquier usuario) o como token Bearer. Vence {as_text(credential.expires_us)}.",
    )


@token.command("list")
@in_home
def list_tokens(home: Path) -> None:
    """All credentials, tokens and certificates, without their secrets."""

    async def ask(services: Services) -> list[tuple[object, ...]]:
        rules = await services.rulebook.current()
        return [
            (c.id, c.member, c.kind, as_text(c.expires_us)[:10], "ended" if c.ended_us else "live", c.note)
            for c in sorted(rules.registry.credentials.values(), key=lambda c: (c.member, c.created_us))
        ]

    table(("account", "member", "kind", "expires", "state", "note"), at_hub(home, ask))


@token.command("revoke")
@in_home
@click.argument("account")
def revoke_token(home: Path, account: str) -> None:
    """End a credential: refused from the next request on."""
    at_hub(home, lambda services: services.governance.end_credential(setup.OPERATOR, account))
    say(f"{account} is ended.", f"{account} quedó sin efecto.")


# --- collections ---


@click.group()
def collection() -> None:
    """TAXII collections and who may use them."""


@collection.command("add")
@in_home
@click.argument("alias")
@click.option("--title", required=True)
@click.option("--description", default="")
@click.option(
    "--reader", "readers", multiple=True, help='"all", country:US, role:agency or member:us-cyber; repeatable.'
)
@click.option("--writer", "writers", multiple=True)
def add_collection(
    home: Path, alias: str, title: str, description: str, readers: tuple[str, ...], writers: tuple[str, ...]
) -> None:
    """Add a collection. Nobody reads or writes it unless an audience says so."""
    new = Collection(str(uuid.uuid4()), alias, title, description or title, readers, writers)
    at_hub(home, lambda services: services.governance.put_collection(setup.OPERATOR, new))
    say(f"{alias} is collection {new.id}.", f"{alias} es la colección {new.id}.")


@collection.command("list")
@in_home
def list_collections(home: Path) -> None:
    """All collections with their audiences."""

    async def ask(services: Services) -> list[Collection]:
        return list((await services.rulebook.current()).registry.collections)

    rows = [(c.alias, c.id, c.title, " ".join(c.readers), " ".join(c.writers)) for c in at_hub(home, ask)]
    if not rows:
        raise NotFound("There are no collections.", "No hay colecciones.")
    table(("alias", "id", "title", "readers", "writers"), rows)


COMMANDS: tuple[click.Command, ...] = (init, serve, member, token, collection)
