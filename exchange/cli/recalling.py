"""`puente recall status`: what members were asked to drop, and who has seen it, said so, or is late."""

from pathlib import Path

from exchange.cli.admin import as_json, at_hub, in_home
from exchange.cli.output import listing, spoken
from exchange.cli.words import group, option
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
    "grant": Text("no longer permitted", "ya no permitido"),
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


def _text(us: int | None) -> str:
    return "" if us is None else as_text(us)


COMMANDS = (recall,)
