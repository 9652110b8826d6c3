"""`puente feed held`: values that the hub held back because they are known to be good, and letting them in."""

from pathlib import Path

import click

from exchange.cli.admin import at_hub
from exchange.cli.output import listing, say
from exchange.cli.setup import OPERATOR
from exchange.cli.words import F, argument, as_json, group, in_home, option
from exchange.errors import Malformed
from exchange.holding import DAYS_AT_MOST, Held
from exchange.model.member import Country
from exchange.times import as_text
from exchange.web.services import Services

the_value = argument(
    "value", metavar="VALUE", help="As `held list` shows it.", es="Como la muestra `held list`."
)  # fmt: skip
of_reason = option(
    "--reason", required=True, help="A sentence for the log.", es="Una frase para el registro."
)  # fmt: skip


def for_whom(function: F) -> F:
    member = option("--as", "slug", default="", help="For one member.", es="Para un miembro.")
    country = option(
        "--country", type=click.Choice([one.value for one in Country]), help="For all of a country.", es="Para todos los de un país."
    )  # fmt: skip
    return member(country(function))


@group(es="Valores retenidos por ser legítimos conocidos; en la máquina del centro.")
def held() -> None:
    """Values held back because they are known to be good; at the hub's own machine."""


@held.command("list", es="Qué se retuvo, de quién, por qué lista, y hasta cuándo está liberado.")
@in_home
@option("--as", "slug", default="", help="Of one member.", es="De un miembro.")
@as_json
def list_held(home: Path, slug: str, as_json: bool) -> None:
    """What was held of whom, by which list, and until when it is released. `asset of` says whose own it is."""

    async def ask(services: Services) -> list[Held]:
        rules = await services.rulebook.current()
        return await services.holding.held(rules, [slug] if slug else list(rules.registry.members))

    rows = [
        (
            one.row.value, one.row.member, one.row.list_name, one.row.asset or "-", one.row.object_id, as_text(one.row.held_us)[:19],
            as_text(one.until_us)[:19] if one.until_us else "-",
        )
        for one in at_hub(home, ask)
    ]  # fmt: skip
    listing(("value", "member", "list", "asset of", "object", "held", "released until"), rows, as_json=as_json)


@held.command(
    "release", es="Acepta un valor retenido de un miembro, o de todos los de un país, por unos días; se asienta."
)
@in_home
@the_value
@for_whom
@of_reason
@option(
    "--days", type=click.IntRange(1, DAYS_AT_MOST), default=30, show_default=True, help="For how long.", es="Por cuánto tiempo."
)  # fmt: skip
def release(home: Path, value: str, slug: str, country: str | None, reason: str, days: int) -> None:
    """Accept a held value from a member, or from all of a country, for some days; recorded in that country's log.

    Feeds submit again what was held; others must submit it anew. It is exchanged, and never on a block list.
    """
    audience = _audience(slug, country)
    row = at_hub(home, lambda s: s.holding.release(OPERATOR, value, audience, reason=reason, days=days))
    until = as_text(row.until_us)[:19]
    say(f"{value} is accepted from {audience} until {until}.", f"{value} se acepta de {audience} hasta {until}.")


@held.command("end", es="Vuelve a retener un valor liberado; se asienta.")
@in_home
@the_value
@for_whom
@of_reason
def end(home: Path, value: str, slug: str, country: str | None, reason: str) -> None:
    """Hold a released value again; recorded."""
    audience = _audience(slug, country)
    at_hub(home, lambda s: s.holding.release(OPERATOR, value, audience, reason=reason, days=0))
    say(f"{value} is held again for {audience}.", f"{value} se retiene de nuevo para {audience}.")


def _audience(slug: str, country: str | None) -> str:
    if bool(slug) == bool(country):
        raise Malformed("Say --as MEMBER or --country.", "Indique --as MIEMBRO o --country.", field="--as")
    return f"member:{slug}" if slug else f"country:{country}"
