"""Agreements compared at a terminal: what another would change over what the hub holds, and which clauses ever apply."""

import re
from pathlib import Path
from typing import Any

import click

from exchange.cli import profile
from exchange.cli.admin import at_hub
from exchange.cli.agreeing import as_read
from exchange.cli.asking import as_whom, at_network
from exchange.cli.output import listing, machine, say, table, word
from exchange.cli.profile import Profile
from exchange.cli.words import argument, as_json, command, in_home, option
from exchange.errors import Malformed
from exchange.governance.comparing import IN_FORCE, Asked, compare, held_agreement, tried
from exchange.rules import Rules
from exchange.times import as_text
from exchange.web.services import Services
from policies.clauses import Agreement
from policies.matrix import Coverage

_LINE = ("direction", "recipient", "kind", "clause", "labels", "objects", "examples")

old_agreement = argument(
    "old", help="A file, or what the hub calls it: in-force, a version, a digest.",
    es="Un archivo, o como lo llama el centro: in-force, una versión, una huella.",
)  # fmt: skip
new_agreement = argument("new", help="The same.", es="Lo mismo.")


Ref = Agreement | str


def ref(text: str) -> Ref:
    """A file's agreement, or the name of one that the hub holds."""
    return as_read(Path(text)) if Path(text).is_file() else text


async def _found(services: Services, rules: Rules, one: Ref) -> Agreement:
    return await held_agreement(services.store, rules, one) if isinstance(one, str) else one


@command(
    "diff", es="Qué cambia de un acuerdo a otro sobre lo que guarda el centro: pares ganados y perdidos, con ejemplos."
)
@in_home
@as_whom(required=False)
@old_agreement
@new_agreement
@as_json
def diff(home: Path, who: str | None, old: str, new: str, as_json: bool) -> None:
    """What changes from one agreement to another over what the hub holds: pairs gained and lost, with examples.

    With a profile (--as) the hub is asked over the network, and tells what that member may know; without, its own files.
    """
    if who is not None:
        me = Profile.load(profile.find(home, who))
        _show(at_network(me, lambda client: client.difference(new, old=old)), as_json=as_json)
        return
    before, after = ref(old), ref(new)
    _show(at_hub(home, lambda services: _compared(services, before, after, None)), as_json=as_json)


@command("simulate", es="Qué se habría entregado o retenido de lo recibido desde entonces, con otro acuerdo.")
@in_home
@new_agreement
@option(
    "--since", default="30d", show_default=True,
    help="How far back: 36h, 30d.", es="Desde hace cuánto: 36h, 30d.",
)  # fmt: skip
@as_json
def simulate(home: Path, new: str, since: str, as_json: bool) -> None:
    """What of that which came since then would have been released or withheld under another agreement."""
    past_us, after = back_us(since), ref(new)
    _show(at_hub(home, lambda services: _compared(services, IN_FORCE, after, past_us)), as_json=as_json)


@command("coverage", es="Qué cláusulas no ejercita ninguna prueba ni ningún objeto del centro.")
@in_home
@new_agreement
@as_json
def cover(home: Path, new: str, as_json: bool) -> None:
    """Which clauses no test and no object at the hub exercises."""

    wanted = ref(new)

    async def ask(services: Services) -> list[Coverage]:
        rules = await services.rulebook.current()
        return await tried(services.store, rules, await _found(services, rules, wanted))

    found = at_hub(home, ask)
    listing(
        ("clause", "kind", "tests", "live"),
        [(one.clause, one.kind if as_json else word(one.kind), one.tests, one.live) for one in found],
        as_json=as_json,
    )
    untried = [one.clause for one in found if not one.tests]
    if untried and not as_json:
        say(f"No test exercises: {', '.join(untried)}", f"Ninguna prueba ejercita: {', '.join(untried)}")


async def _compared(services: Services, old: Ref, new: Ref, back_us: int | None) -> dict[str, Any]:
    rules = await services.rulebook.current()
    since_us = services.clock.now_us() - back_us if back_us is not None else 0
    before, after = await _found(services, rules, old), await _found(services, rules, new)
    found = await compare(services.store, rules, before, after, Asked(None, since_us))
    return {**found, "since": as_text(since_us)} if since_us else found


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        machine(found)
        return
    shown = [{**line, "kind": word(line["kind"]), "examples": " ".join(line["examples"])} for line in found["lines"]]
    table(_LINE, [tuple(line[name] for name in _LINE) for line in shown])
    pairs, objects = found["pairs"], found["objects"]
    say(
        f"{found['old']} → {found['new']}: {pairs['gained']} pairs gained ({objects['gained']} deliveries), "
        f"{pairs['lost']} lost ({objects['lost']}), {pairs['changed']} changed ({objects['changed']}).",
        f"{found['old']} → {found['new']}: {pairs['gained']} pares ganados ({objects['gained']} entregas), "
        f"{pairs['lost']} perdidos ({objects['lost']}), {pairs['changed']} modificados ({objects['changed']}).",
    )


def back_us(text: str) -> int:
    """`36h` or `30d`, as microseconds."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([hd])", text, re.ASCII)
    if match is None:
        raise Malformed(
            "--since takes hours or days, such as 36h or 30d.",
            "--since admite horas o días, como 36h o 30d.",
            field="--since",
        )
    return int(match[1]) * {"h": 3_600, "d": 86_400}[match[2]] * 1_000_000


COMMANDS: tuple[click.Command, ...] = (diff, simulate, cover)
