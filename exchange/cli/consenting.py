"""`puente consent` and `puente audience`: what an originator controls is released by its word, and who belongs to a group that
its owner may extend. Each is signed with the member's own signing key and handed to the hub over the network."""

from pathlib import Path
from typing import Any

import click

from exchange.api.consents import asked, audiences, granted
from exchange.cli.admin import at_hub
from exchange.cli.asking import as_member, as_whom, at_network, yes
from exchange.cli.output import listing, machine, say, spoken, table
from exchange.cli.profile import Profile, find
from exchange.cli.words import argument, as_json, group, in_home, option
from exchange.client import Client
from exchange.clock import SystemClock
from exchange.errors import Text
from exchange.governance.statements import signed
from exchange.model.statement import Kind
from exchange.times import as_text
from exchange.web.services import Services

_STATES = {
    "open": Text("open", "abierta"),
    "granted": Text("granted", "concedida"),
    "refused": Text("refused", "rechazada"),
    "lapsed": Text("no answer, so no", "sin respuesta, luego no"),
    "standing": Text("standing", "vigente"),
    "over": Text("over", "concluido"),
    "withdrawn": Text("withdrawn", "retirado"),
}

the_case = option(
    "--case", default="", help="The handle that the object's marking bears; none for what has none.",
    es="La referencia que lleva el marcado del objeto; ninguna para lo que no la tiene.",
)  # fmt: skip
the_group = argument("audience", help="A name that the agreement defines.", es="Un nombre que el acuerdo define.")
the_member = argument("slug", help="The member's short name.", es="Nombre corto del miembro.")


def _say(me: Profile, kind: Kind, **words: Any) -> dict[str, Any]:
    """Sign a statement as the member, now, and hand it in."""
    signer = me.must_sign()

    async def work(client: Client) -> dict[str, Any]:
        slug = (await client.me())["slug"]
        given = as_text(SystemClock().now_us())
        return await client.state(signed(signer, slug, kind, given=given, **words))

    return at_network(me, work)


@group(es="El consentimiento de quien controla la entrega de lo que remitió.")
def consent() -> None:
    """The consent of an originator that controls the release of its objects."""


@consent.command("request", es="Pide a un remitente que consienta; sin respuesta a tiempo, es un no.")
@as_member
@argument("originator", help="The member whose consent is asked.", es="El miembro cuyo consentimiento se pide.")
@the_case
@option("--reason", required=True, help="Told to the originator.", es="Se le comunica al remitente.")
def request(me: Profile, originator: str, case: str, reason: str) -> None:
    """Ask an originator to consent; no answer in time is a no."""
    made = at_network(me, lambda client: client.ask_consent(originator, case, reason))
    say(
        f"{made['id']}: asked. No answer until {made['due']} is a no; see `puente consent list`.",
        f"{made['id']}: solicitado. Sin respuesta hasta {made['due']}, es un no; vea `puente consent list`.",
    )


@consent.command("grant", es="Consiente que lo propio se entregue a ciertos miembros o países, hasta una fecha.")
@as_member
@the_case
@option("--to", "members", multiple=True, help="A member; repeatable.", es="Un miembro; puede repetirse.")
@option(
    "--country", "countries", multiple=True, type=click.Choice(["US", "MX"]), help="Everybody of a country.",
    es="Todos los de un país.",
)  # fmt: skip
@option("--until", required=True, help="RFC 3339 time in UTC.", es="Momento RFC 3339 en UTC.")
@option("--answers", "about", default="", help="Id of the request it answers.", es="Id de la solicitud que responde.")
def grant(me: Profile, case: str, members: tuple[str, ...], countries: tuple[str, ...], until: str, about: str) -> None:
    """Consent that one's own be released to members or countries, until a date; never longer than the agreement says."""
    told = _say(me, "consent.grant", about=about, case=case, members=sorted(set(members)),
                countries=sorted(set(countries)), until=until)  # fmt: skip
    whom = " ".join([*sorted(set(members)), *sorted(set(countries))])
    say(
        f"{told['id']}: granted to {whom}. To take it back: puente consent withdraw {told['id']}",
        f"{told['id']}: concedido a {whom}. Para retirarlo: puente consent withdraw {told['id']}",
    )


@consent.command("refuse", es="Rechaza una solicitud.")
@as_member
@argument("about", help="Id of the request.", es="Id de la solicitud.")
def refuse(me: Profile, about: str) -> None:
    """Refuse a request."""
    _say(me, "consent.refuse", about=about)
    say(f"{about} is refused.", f"{about} queda rechazada.")


@consent.command("withdraw", es="Retira un consentimiento: lo que se entregó por él se pide de vuelta.")
@as_member
@argument("about", help="Id of the consent.", es="Id del consentimiento.")
def withdraw(me: Profile, about: str) -> None:
    """Take a consent back: who had something by it is asked to drop it."""
    _say(me, "consent.withdraw", about=about)
    say(f"{about} is withdrawn.", f"{about} queda retirado.")


@consent.command("list", es="Las solicitudes y los consentimientos que me conciernen; en el centro, los de todos.")
@in_home
@as_whom(required=False)
@as_json
def consents(home: Path, who: str | None, as_json: bool) -> None:
    """The requests and consents that concern me; at the hub's own machine, everybody's."""

    async def ask(services: Services) -> dict[str, Any]:
        rules, now_us = await services.rulebook.current(), services.clock.now_us()
        given = await services.statements.granted(None)
        return {
            "requests": [asked(one) for one in await services.statements.asked(None)],
            "consents": [granted(one, rules, now_us, withdrawn=ended) for one, ended in given],
        }

    async def mine(client: Client) -> tuple[dict[str, Any], str]:
        return await client.consents(), (await client.me())["slug"]

    found, me = at_network(Profile.load(find(home, who)), mine) if who is not None else (at_hub(home, ask), "")
    if as_json:
        machine(found)
        return
    rows = [
        (one["id"], spoken(_STATES[one["state"]]), one["originator"], one["case"], one["member"], one["due"], one["reason"])
        for one in found["requests"]
    ]  # fmt: skip
    table(("request", "state", "originator", "case", "member", "due", "reason"), rows)
    click.echo()
    given = [
        (one["id"], spoken(_STATES[one["state"]]), one["originator"], one["case"],
         " ".join([*one["members"], *one["countries"]]), one["until"])
        for one in found["consents"]
    ]  # fmt: skip
    table(("consent", "state", "originator", "case", "member", "until"), given)
    if any((one["state"], one["originator"]) == ("open", me) for one in found["requests"]):
        say(
            "To answer: `puente consent grant --answers REQUEST …` or `puente consent refuse REQUEST`.",
            "Para responder: `puente consent grant --answers SOLICITUD …` o `puente consent refuse SOLICITUD`.",
            err=True,
        )


@group(es="Los grupos con nombre del acuerdo, y quién se agregó a ellos.")
def audience() -> None:
    """The agreement's named groups, and who was added to them."""


@audience.command("add", es="Agrega un miembro a un grupo que el propio país puede ampliar.")
@as_member
@the_group
@the_member
def add(me: Profile, audience: str, slug: str) -> None:
    """Add a member to a group that one's own country may extend."""
    _say(me, "audience.add", audience=audience, to=slug)
    say(f"{slug} is added to {audience}.", f"{slug} queda agregado a {audience}.")


@audience.command("remove", es="Quita a un miembro que se había agregado.")
@as_member
@the_group
@the_member
def remove(me: Profile, audience: str, slug: str) -> None:
    """Take out a member that was added."""
    _say(me, "audience.remove", audience=audience, to=slug)
    say(f"{slug} is out of {audience}.", f"{slug} queda fuera de {audience}.")


@audience.command("list", es="Los grupos a los que pertenezco o que puedo ampliar; en el centro, todos.")
@in_home
@as_whom(required=False)
@as_json
def groups(home: Path, who: str | None, as_json: bool) -> None:
    """The groups that I belong to or may extend; at the hub's own machine, all."""

    async def ask(services: Services) -> list[dict[str, Any]]:
        return audiences(await services.rulebook.current(), None)

    if who is not None:
        found = at_network(Profile.load(find(home, who)), lambda client: client.audiences())
    else:
        found = at_hub(home, ask)
    rows = [
        (one["audience"], one["owner"], one["may_extend"] if as_json else yes(one["may_extend"]),
         " ".join(one["members"]), " ".join(one["added"]))
        for one in found
    ]  # fmt: skip
    listing(("audience", "owner", "may extend", "members", "added"), rows, as_json=as_json)


COMMANDS = (consent, audience)
