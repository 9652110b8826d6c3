"""The demo's national gateway: an operator that may not be named submits, and the other country has an object in its stead."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import click
import orjson

from exchange.cli.output import say, spoken, table
from exchange.cli.stage import GATEWAY, UNNAMED, Stage
from exchange.errors import Text, Unavailable
from exchange.gateway.relay import Gateway
from exchange.model.member import Member
from policies.label import TLP_DEFINITIONS

GREEN = next(marking for marking, word in TLP_DEFINITIONS.items() if word == "green")

Pulled = dict[str, dict[str, Any]]
"""What a member was given, by id."""


class Relayed(NamedTuple):
    """What the operator sent, and what the gateway's book says was sent in its stead."""

    sender: Member
    gateway: Member
    original: dict[str, Any]
    stand_in: str


async def relay(on: Stage) -> Relayed:
    """Submit as an operator that does not agree to be named, and have the gateway relay it once the period is over.

    Raises the gateway's fault, and Unavailable when nothing was relayed.
    """
    draft = {
        "type": "indicator", "name": "Crane controller at Sur Azul", "description": "Seen on our pier by our own people.",
        "pattern": "[ipv4-addr:value = '198.51.100.77']", "pattern_type": "stix", "pattern_version": "2.1",
        "valid_from": "2026-11-01T00:00:00Z", "confidence": 80, "indicator_types": ["malicious-activity"],
        "object_marking_refs": [GREEN],
    }  # fmt: skip
    async with on.client(UNNAMED) as client:
        original = client.sign(client.prepare(draft))
        [result] = await client.submit([original], "indicators")
    if result.refused:
        raise Unavailable(result.refused[0].text.en, result.refused[0].text.es, code=result.refused[0].code)
    async with on.client(GATEWAY) as client:
        gateway = Gateway(client, on.home.root / "gateway", on.clock)
        period_us = await gateway.period_us() or 0
        await asyncio.sleep((period_us - on.clock.now_us() % max(period_us, 1)) / 1_000_000)
        run = await gateway.run()
        with gateway.book() as book:
            sent = book.newest("indicators", original["id"])
    if run.fault is not None:
        raise run.fault
    if sent is None:
        raise Unavailable("The gateway relayed nothing.", "La pasarela no retransmitió nada.", code="not-relayed")
    return Relayed(on.members[UNNAMED], on.members[GATEWAY], original, sent.new_id)


def show_stand_in(relayed: Relayed, abroad: Pulled) -> list[Text]:
    """Both objects side by side, and whether anything that the other country has tells whose it is."""
    sender, gateway, original, stand_in = relayed
    found = abroad.get(stand_in, {})
    names = {sender.identity_id: sender, gateway.identity_id: gateway}
    click.echo()
    say(
        f"{sender.name_en} does not agree to be named. What crosses in its stead (here each second; the sample agreement has an hour):",
        f"{sender.name_es} no acepta ser nombrado. Lo que cruza en su lugar (aquí cada segundo; el acuerdo de muestra fija una hora):",
    )

    def row(what: Text, value: Mapping[str, Any]) -> tuple[str, ...]:
        by = names.get(value.get("created_by_ref", ""))
        signer = "-" if by is None else spoken(Text(by.name_en, by.name_es))
        return spoken(what), value.get("id", "-"), signer, value.get("name", "-"), value.get("pattern", "-")

    table(
        ("what", "id", "signer", "name", "value"),
        [row(Text("original, stays", "original, se queda"), original), row(Text("stand-in", "sustituto"), found)],
    )
    words = [
        word.encode() for word in (sender.slug, sender.name_en, sender.name_es, sender.identity_id, original["id"])
    ]
    told = [key for key, one in abroad.items() if any(word in orjson.dumps(one) for word in words)]
    if found and not told:
        say(
            f"  Nothing of the {len(abroad):,} objects that us-maritime has names it. Only Mexico can say whose it was: puente gateway disclose",
            f"  Nada en los {len(abroad):,} objetos que tiene us-maritime lo nombra. Solo México puede decir de quién era: puente gateway disclose",
        )
        return []
    return [Text(f"the stand-in: {told or 'not there'}", f"el sustituto: {told or 'no está'}")]
