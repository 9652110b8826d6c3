"""What a member asks of its hub over the network, with nothing but its own profile: who am I, where may I read and write."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from exchange.cli import profile
from exchange.cli.output import language, listing
from exchange.cli.profile import Profile
from exchange.cli.words import F, as_json, command, in_home, option
from exchange.client import Client
from exchange.clock import SystemClock

T = TypeVar("T")


def as_whom(*, required: bool) -> Callable[[F], F]:
    """The option that chooses a profile."""
    return option(
        "--as",
        "who",
        envvar="PUENTE_PROFILE",
        show_envvar=True,
        required=required,
        help="Profile: a client.toml, its directory, or a slug under members/.",
        es="Perfil: un client.toml, su directorio, o un nombre corto bajo members/.",
    )


def as_member(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a profile, and the profile as `me`."""

    @in_home
    @as_whom(required=True)
    @functools.wraps(function)
    def run(*args: Any, home: Path, who: str, **more: Any) -> None:
        function(*args, me=Profile.load(profile.find(home, who)), **more)

    return run


def at_network(me: Profile, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run one piece of work as the member at its hub."""

    async def run() -> T:
        async with me.client(SystemClock(), language()) as client:
            return await work(client)

    return asyncio.run(run())


async def hold_to_it(me: Profile, client: Client) -> None:
    """See that the hub's logs grew out of what the member saw of them before. Raises Alarm."""
    memory = me.memory(SystemClock())
    if memory is not None:
        await memory.compare(client)


@command("me", es="Quién soy en el centro y hasta cuándo vale mi credencial.")
@as_member
@as_json
def whoami(me: Profile, as_json: bool) -> None:
    """Who I am at the hub, and until when my credential is valid."""
    found = at_network(me, lambda client: client.me())
    head = ("member", "country", "status", "kind", "roles", "sectors", "account", "expires", "name")
    row = (
        found["slug"], found["country"], found["status"], found["kind"], " ".join(found["roles"]),
        " ".join(found["sectors"]), found["account"], found["expires"], found["name"],
    )  # fmt: skip
    listing(head, [row], as_json=as_json)


@command(es="Las colecciones que puedo leer o en las que puedo escribir.")
@as_member
@as_json
def collections(me: Profile, as_json: bool) -> None:
    """The collections I may read or write."""
    found = at_network(me, lambda client: client.collections())
    rows = [(one["alias"], yes(one["can_read"]), yes(one["can_write"]), one["id"], one["title"]) for one in found]
    if as_json:
        rows = [(one["alias"], one["can_read"], one["can_write"], one["id"], one["title"]) for one in found]
    listing(("alias", "read", "write", "id", "title"), rows, as_json=as_json)


def yes(value: bool) -> str:
    """Yes or no in the reader's language."""
    return {("en", True): "yes", ("es", True): "sí"}.get((language(), value), "no")


COMMANDS: tuple[click.Command, ...] = (whoami, collections)
