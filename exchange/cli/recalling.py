"""`puente recall`: what members were asked to drop. To operators who has seen it, said so, or is late; to a member its own."""

from pathlib import Path
from typing import Any

from exchange.cli.admin import at_hub
from exchange.cli.asking import as_member, at_network
from exchange.cli.output import listing, machine, say, spoken, table
from exchange.cli.profile import Profile
from exchange.cli.words import argument, as_json, group, in_home, option
from exchange.errors import Text
from exchange.release.recall import Recall
from exchange.times import as_text
from exchange.web.services import Services

_STATES = {
    "open": Text("not seen", "sin ver"),
    "seen": Text("seen", "visto"),
    "acknowledged": Text("acknowledged", "confirmado"),
    "overdue": Text("overdue", "vencido"),
}
_CAUSES = {
    "delete": Text("taken out by its originator", "eliminado por su remitente"),
    "marking": Text("marked more strictly", "marcado con mayor restricción"),
    "revoke": Text("revoked by its originator", "revocado por su remitente"),
    "grant": Text("no longer permitted", "ya no permitido"),
    "suspension": Text("its originator is suspended", "su remitente está suspendido"),
    "compromise": Text("signed by a compromised key", "firmado con una clave comprometida"),
    "erasure": Text("erased for a person's sake", "suprimido en favor de una persona"),
}


@group(es="Lo que se pidió a los miembros que descarten.")
def recall() -> None:
    """What members were asked to drop."""


@recall.command("status", es="Por miembro: qué debe descartar, hasta cuándo, y si lo vio, lo confirmó o está vencido.")
@in_home
@option("--to", "slug", default="", help="One member only.", es="Solo un miembro.")
@option("--open", "pending", is_flag=True, help="Only what is not acknowledged.", es="Solo lo que no se ha confirmado.")
@as_json
def status(home: Path, slug: str, pending: bool, as_json: bool) -> None:
    """By member: what it must drop, until when, and whether it saw it, acknowledged it, or is late."""

    async def ask(services: Services) -> list[tuple[Recall, str]]:
        aliases = {one.id: one.alias for one in (await services.rulebook.current()).registry.collections}
        found = await services.recalls.everybodys()
        return [(one, aliases.get(one.row.collection, one.row.collection)) for one in found]

    rows = [
        (
            one.row.member,
            one.state if as_json else spoken(_STATES[one.state]),
            _text(one.row.due_us),
            alias,
            one.row.cause if as_json else spoken(_CAUSES[one.row.cause]),
            as_text(one.row.opened_us),
            _text(one.row.seen_us),
            _text(one.row.acknowledged_us),
            one.row.id,
        )
        for one, alias in at_hub(home, ask)
        if slug in ("", one.row.member) and not (pending and one.state == "acknowledged")
    ]
    head = ("member", "state", "due", "collection", "cause", "opened", "seen", "acknowledged", "recall")
    listing(head, rows, as_json=as_json)


@recall.command("list", es="Lo que se pide a mi organización que descarte, por qué y hasta cuándo.")
@as_member
@option("--open", "pending", is_flag=True, help="Only what is not acknowledged.", es="Solo lo que no se ha confirmado.")
@as_json
def mine(me: Profile, pending: bool, as_json: bool) -> None:
    """What my organisation is asked to drop, why, and until when. That I was told so is recorded."""
    found = [
        one
        for one in at_network(me, lambda client: client.recalls())
        if not (pending and one["state"] == "acknowledged")
    ]
    if as_json:
        machine(found)
        return
    rows = [
        (spoken(_STATES[one["state"]]), one["due"] or "", _reason(one), _what(one["what"]), one["id"]) for one in found
    ]
    table(("state", "due", "cause", "what", "recall"), rows)


@recall.command("acknowledge", es="Declara que lo retirado se descartó.")
@as_member
@argument("recall_id", metavar="RECALL", help="As `recall list` shows it.", es="Como lo muestra `recall list`.")
def acknowledge(me: Profile, recall_id: str) -> None:
    """Say that what is recalled was dropped."""
    told = at_network(me, lambda client: client.acknowledge(recall_id))
    say(f"{told['id']} is acknowledged.", f"{told['id']} queda confirmado.")


def _reason(told: dict[str, Any]) -> str:
    """As much of it as the agreement lets be told."""
    return spoken(_CAUSES[told["cause"]]) if "cause" in told else str(told.get("class", ""))


def _what(what: dict[str, Any]) -> str:
    objects = [" ".join([one["id"], *one["versions"]]) for one in what.get("objects", ())]
    labels = [" ".join([one["originator"], one["class"], one["tlp"]]) for one in what.get("labels", ())]
    return "; ".join([*objects, *labels])


def _text(us: int | None) -> str:
    return "" if us is None else as_text(us)


COMMANDS = (recall,)
