"""`puente token`: credentials for machines, each told with what to paste into the product that it is for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from certs.keys import replace_secret
from exchange.cli import products, setup
from exchange.cli.admin import at_hub
from exchange.cli.output import language, listing, machine, plain, say, spoken
from exchange.cli.words import argument, as_json, group, in_home, of_member, option
from exchange.errors import NotFound, Text
from exchange.governance.credentials import warning_days
from exchange.model.member import Credential
from exchange.model.product import PRODUCTS
from exchange.times import as_text
from exchange.web.services import Services


@group(es="Tokens de la API: se muestran una vez, se guardan como resumen y vencen.")
def token() -> None:
    """API tokens: shown once, kept as a hash, expiring."""


@token.command("create", es="Un token nuevo para un miembro. Se muestra ahora y nunca más.")
@in_home
@of_member
@option(
    "--for",
    "product",
    type=click.Choice(list(PRODUCTS)),
    help="The product that will use it: tells what to paste there, and lets the hub meet its habits.",
    es="El producto que lo usará: indica qué pegar en él y permite que el centro se adapte a sus costumbres.",
)
@option(
    "--collection",
    "name",
    default="",
    help="With --for: alias of the collection it reads; the first that it may, otherwise.",
    es="Con --for: alias de la colección que lee; si no, la primera que pueda.",
)
@option(
    "--days", default=90, show_default=True, type=click.IntRange(1, 366), help="How long it lives.", es="Cuánto dura."
)
@option("--note", default="", help="What it is for.", es="Para qué es.")
@option(
    "--save",
    is_flag=True,
    help="Write it to members/SLUG/token (token-PRODUCT with --for), mode 0600, instead of showing it.",
    es="Lo escribe en members/SLUG/token (token-PRODUCTO con --for), con modo 0600, en lugar de mostrarlo.",
)
@as_json
def create_token(
    home: Path, slug: str, product: str | None, name: str, days: int, note: str, save: bool, as_json: bool
) -> None:
    """A new token for a member. It is shown now and never again."""

    async def work(services: Services) -> tuple[Credential, str, products.Place | None]:
        at = await _place(services, setup.Home(home), slug, name) if product else None
        made = await services.governance.create_token(setup.OPERATOR, slug, days=days, note=note, product=product or "")
        return *made, at

    credential, text, at = at_hub(home, work)
    told: dict[str, Any] = {"account": credential.id, "token": text, "expires": as_text(credential.expires_us)}
    if save:
        path = setup.Home(home).member(slug) / (f"token-{product}" if product else "token")
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        replace_secret(path, text.encode() + b"\n")
        del told["token"]
        told["token_file"] = str(path)
    if at is not None and product is not None:
        # What is saved is not shown as well: the lines then say where it is.
        at = replace(at, token=f"<{told['token_file']}>" if save else text)
    if as_json:
        if at is not None and product is not None:
            rows = products.fields(product, at, language())
            told |= {"product": product, "fields": [{"name": field, "value": value} for field, value in rows]}
            told["notes"] = products.notes(product, language())
        machine(told)
        return
    _tell(told, product, at)


def _tell(told: dict[str, Any], product: str | None, at: products.Place | None) -> None:
    expires = told["expires"]
    if at is not None and product is not None:
        click.echo("\n".join(plain(line) for line in products.told(product, at, language()).splitlines()))
        click.echo()
    elif "token" in told:
        click.echo(told["token"])
        say(
            f"Use it as the Basic password (any user name), or as a Bearer token. It expires {expires}.",
            f"Úselo como contraseña Basic (cualquier usuario) o como token Bearer. Vence {expires}.",
        )
        return
    if "token_file" in told:
        say(
            f"Saved as {told['token_file']}. It expires {expires}.",
            f"Guardado en {told['token_file']}. Vence {expires}.",
        )
    else:
        say(f"It is shown this once. It expires {expires}.", f"Se muestra esta única vez. Vence {expires}.")


async def _place(services: Services, home: setup.Home, slug: str, name: str) -> products.Place:
    """Raises NotFound for a member, or for a collection that it may not read."""
    rules = await services.rulebook.current()
    member = rules.registry.members.get(slug)
    if member is None:
        raise NotFound(f"There is no member {slug}.", f"No existe el miembro {slug}.", field="member")
    readable = [one for one in rules.registry.collections if one.can_read(member)]
    found = next((one for one in readable if name in ("", one.alias, one.id)), None)
    if found is None:
        raise NotFound(
            f"{slug} reads no such collection.", f"{slug} no lee ninguna colección así.", field="--collection"
        )
    settings = services.settings
    return products.Place(
        settings.public_url, settings.api_root, found.id, found.alias, found.title, token="", ca_file=str(home.ca_file)
    )  # fmt: skip


@token.command("list", es="Todas las credenciales, tokens y certificados, sin sus secretos.")
@in_home
@as_json
def list_tokens(home: Path, as_json: bool) -> None:
    """All credentials, tokens and certificates, without their secrets."""

    async def ask(services: Services) -> list[tuple[object, ...]]:
        rules, now_us = await services.rulebook.current(), services.clock.now_us()
        return [
            (c.id, c.member, c.kind, c.product, as_text(c.expires_us)[:10], _state(c, now_us, as_json=as_json), c.note)
            for c in sorted(rules.registry.credentials.values(), key=lambda c: (c.member, c.created_us))
        ]

    listing(("account", "member", "kind", "product", "expires", "state", "note"), at_hub(home, ask), as_json=as_json)


def _state(credential: Credential, now_us: int, *, as_json: bool) -> str:
    if credential.ended_us:
        text = Text("ended", "sin efecto")
    elif credential.expires_us <= now_us:
        text = Text("expired", "vencida")
    elif warning_days(credential, now_us) is not None:
        text = Text("ends soon", "por vencer")
    else:
        text = Text("live", "vigente")
    return text.en if as_json else spoken(text)


@token.command("revoke", es="Deja sin efecto una credencial: se rechaza desde la próxima solicitud.")
@in_home
@argument("account", help="As `token list` names it.", es="Como la nombra `token list`.")
def revoke_token(home: Path, account: str) -> None:
    """End a credential: refused from the next request on."""
    at_hub(home, lambda services: services.governance.end_credential(setup.OPERATOR, account))
    say(f"{account} is ended.", f"{account} quedó sin efecto.")


COMMANDS: tuple[click.Command, ...] = (token,)
