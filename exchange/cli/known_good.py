"""`puente feed warninglists`: by which lists a hub holds back known-good values, and newer editions of them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from certs.jcs import Json, canonical
from certs.keys import replace_file
from exchange.cli.output import listing, say, spoken, word
from exchange.cli.setup import Home
from exchange.cli.words import argument, as_json, group, in_home, option
from exchange.errors import NotFound, Text
from exchange.intake.editions import entries_of, kept, refreshable, why_not
from exchange.intake.warninglists import LIST_BYTES_AT_MOST, REFUSED, documents_at, documents_of, packaged_documents
from feeds.faults import FeedFault
from feeds.fetch import Caps, fetch
from feeds.guard import Reach

MISP = "https://raw.githubusercontent.com/MISP/misp-warninglists/main/lists"

Read = Callable[[str], Awaitable[Json]]
"""One list by its name. Raises NotFound, FeedFault, ValueError for what is no JSON."""


@group(es="Listas con las que el centro retiene valores legítimos conocidos; en la máquina del centro.")
def warninglists() -> None:
    """Lists by which the hub holds back known-good values; at the hub's own machine."""


@warninglists.command("list", es="Las listas que cuentan desde el próximo inicio del centro, y de dónde vienen.")
@in_home
@as_json
def list_lists(home: Path, as_json: bool) -> None:
    """The lists that count from the hub's next start on. `file`: taken since the release; else they came with it."""
    own = kept(Home(home).settings().warninglists)
    rows = [
        (
            name, *_about(document), word("refuses" if name in REFUSED else "holds"), f"{name}.json" if name in own else "-",
            document.get("name", name),
        )
        for name, document in sorted({**packaged_documents(), **own}.items())
    ]  # fmt: skip
    listing(("name", "version", "count", "effect", "file", "what"), rows, as_json=as_json)


@warninglists.command("refresh", es="Toma ediciones más nuevas de las listas en uso; cuentan tras reiniciar el centro.")
@in_home
@argument(
    "origin", metavar="[URL|FOLDER]", required=False,
    help=f"With NAME/list.json of each, as in a checkout of misp-warninglists. Default: {MISP}",
    es=f"Con NOMBRE/list.json de cada una, como en una copia de misp-warninglists. Si falta: {MISP}",
)  # fmt: skip
@option(
    "--also", multiple=True, metavar="NAME", help="A list that is not in use yet, as amazon-aws. May be repeated.",
    es="Una lista que aún no se usa, como amazon-aws. Puede repetirse.",
)  # fmt: skip
@as_json
def refresh(home: Path, origin: str | None, also: tuple[str, ...], as_json: bool) -> None:
    """Take newer editions of the lists in use; they count when the hub is started again.

    One that is older, has lost half of its entries, or names nearly everything is left as it was. Exit
    status 1 if one was.
    """
    folder = Home(home).settings().warninglists
    origin = origin or MISP
    read = from_url(origin, Reach()) if "://" in origin else from_folder(Path(origin))
    rows, good = asyncio.run(renew(folder, read, also))
    listing(("name", "version", "count", "outcome"), rows, as_json=as_json)
    if not as_json:
        say("Start the hub again for them to count.", "Reinicie el centro para que cuenten.")
    sys.exit(0 if good else 1)


async def renew(folder: Path, read: Read, also: tuple[str, ...]) -> tuple[list[tuple[object, ...]], bool]:
    """A row for each list, and whether all could be read and taken."""
    used = {**packaged_documents(), **kept(folder)}
    rows, good = list[tuple[object, ...]](), True
    for name in dict.fromkeys((*sorted(filter(refreshable, used)), *also)):
        old, new = used.get(name), None
        try:
            new = await read(name)
            why = why_not(name, new, old)
        except (FeedFault, NotFound) as fault:
            why = fault.text
        except (OSError, ValueError) as error:
            why = Text(str(error), str(error))
        if why is not None:
            good = False
            rows.append((name, *_about(old), f"{word('not taken')}: {spoken(why)}"))
            continue
        changed = new != old
        if changed:
            await asyncio.to_thread(_keep, folder, name, new)
        rows.append((name, *_about(new), word("taken" if changed else "unchanged")))
    return rows, good


def _keep(folder: Path, name: str, document: Json) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{name}.json", canonical(document))


def _about(document: Json | None) -> tuple[object, object]:
    return (document.get("version", "-"), len(entries_of(document))) if document is not None else ("-", "-")


def from_folder(folder: Path) -> Read:
    known = documents_at(folder)

    async def read(name: str) -> Json:
        if name not in known:
            raise NotFound(f"{folder} does not have it", f"{folder} no la tiene", code="no-list", field="FOLDER")
        return known[name]

    return read


def from_url(base: str, reach: Reach) -> Read:
    async def read(name: str) -> Json:
        address = f"{base.rstrip('/')}/{name}/list.json"
        found = await fetch(address, caps=Caps(LIST_BYTES_AT_MOST, 60.0), reach=reach)
        return documents_of(name, found.body.read()).get(name) if found is not None else None

    return read
