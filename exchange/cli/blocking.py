"""`puente edl`: what a member's block lists hold and why not more, and letting a list fall that was held."""

from pathlib import Path
from typing import Any

import click

from exchange.cli.admin import at_hub
from exchange.cli.output import listing, machine, say, spoken
from exchange.cli.setup import OPERATOR
from exchange.cli.words import argument, as_json, group, in_home, option
from exchange.edl.lists import Shown
from exchange.edl.table import FOREVER
from exchange.edl.values import KINDS, Reason
from exchange.errors import NotFound, Text
from exchange.model.member import Collection, Member
from exchange.times import as_text
from exchange.web.services import Services

REASONS: dict[Reason, Text] = {
    "revoked": Text("revoked by its originator", "revocado por su remitente"),
    "not-for-blocking": Text(
        "the agreement does not say that it may serve to block", "el acuerdo no dice que pueda servir para bloquear"
    ),
    "not-yet-valid": Text("not valid yet", "aún no es válido"),
    "expired": Text("no longer valid", "ya no es válido"),
    "pattern-type": Text("not a STIX pattern", "no es un patrón STIX"),
    "pattern-compound": Text(
        "its pattern says more than “equal to this, or to that”", "su patrón dice más que «igual a esto, o a aquello»"
    ),
    "property": Text("a property that no list has", "una propiedad que ninguna lista contiene"),
    "unreadable": Text("a value that cannot be read as what it should be", "un valor que no puede leerse como debería"),
    "known-good": Text("known to be good, or a member's own", "conocido como legítimo, o propio de un miembro"),
}


@group(es="Listas de bloqueo, para lo que no habla TAXII.")
def edl() -> None:
    """Block lists, for what does not speak TAXII."""


the_list = argument("name", metavar="LIST", help="Alias of a collection.", es="Alias de una colección.")


@edl.command("show", es="Lo que contendrían las listas de un miembro ahora, y cuánto queda fuera y por qué.")
@in_home
@the_list
@option("--as", "slug", required=True, help="The member's short name.", es="Nombre corto del miembro.")
@as_json
def show(home: Path, name: str, slug: str, as_json: bool) -> None:
    """What a member's lists would hold now, and how much is left out and why. Nothing is given, nothing recorded."""

    async def ask(services: Services) -> Shown:
        return await services.lists.show(*await _found(services, name, slug))

    shown = at_hub(home, ask)
    entries = [entry for kind in KINDS for entry in shown.entries[kind]]
    rows = [
        (entry.kind, entry.text, entry.indicators[0].confidence, _until(entry.indicators[0].until_us), entry.indicators[0].id)
        for entry in entries
    ]  # fmt: skip
    head = ("type", "value", "confidence", "expires", "object")
    if as_json:
        told: dict[str, Any] = {
            "entries": [dict(zip(head, row, strict=True)) for row in rows],
            "left_out": dict(shown.left),
            "held": dict(shown.held),
        }
        machine(told)
        return
    listing(head, rows, as_json=False)
    click.echo()
    counts = [(reason, count, spoken(REASONS[reason])) for reason, count in sorted(shown.left.items())]
    listing(("reason", "count", "what"), counts, as_json=False)
    for kind, now in shown.held.items():
        say(
            f"{kind} has fallen to {now} and is held for devices. To let it: puente edl release {name} --as {slug}",
            f"{kind} cayó a {now} y se retiene para los dispositivos. Para permitirlo: puente edl release {name} --as {slug}",
        )


@edl.command("release", es="Permite que las listas retenidas de una colección queden como son ahora; se asienta.")
@in_home
@the_list
@option("--as", "slug", default="", help="One member only.", es="Solo las de un miembro.")
def release(home: Path, name: str, slug: str) -> None:
    """Let the held lists of a collection be what they are now; recorded."""

    async def work(services: Services) -> list[tuple[Member, Shown]]:
        rules = await services.rulebook.current()
        slugs = [slug] if slug else [one.slug for one in rules.registry.members.values()]
        held = []
        for one in slugs:
            found, collection = await _found(services, name, one)
            shown = await services.lists.show(found, collection)
            if shown.held:
                await services.lists.let_fall(OPERATOR, found, collection)
                held.append((found, shown))
        return held

    held = at_hub(home, work)
    if not held:
        raise NotFound(f"No list of {name} is held.", f"No se retiene ninguna lista de {name}.", code="nothing-held")
    for member, shown in held:
        kinds = ", ".join(f"{kind} {now}" for kind, now in shown.held.items())
        say(f"Released for {member.slug}: {kinds}.", f"Liberado para {member.slug}: {kinds}.")


async def _found(services: Services, name: str, slug: str) -> tuple[Member, Collection]:
    rules = await services.rulebook.current()
    member, collection = rules.registry.members.get(slug), rules.collection(name)
    if member is None:
        raise NotFound(f"There is no member {slug}.", f"No existe el miembro {slug}.", field="--as")
    if collection is None:
        raise NotFound(f"There is no collection {name}.", f"No existe la colección {name}.", field="LIST")
    return member, collection


def _until(until_us: int) -> str:
    return "" if until_us >= FOREVER else as_text(until_us)[:10]


COMMANDS: tuple[click.Command, ...] = (edl,)
