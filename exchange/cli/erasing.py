"""Private parts of entries at a terminal: `puente ledger open`, `block` and `erase`."""

from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from exchange.cli.admin import at_hub
from exchange.cli.output import say
from exchange.cli.words import a_file, argument, command, in_home, new_file, option
from exchange.governance.privacy import Privacy, Step
from exchange.web.services import Services

the_log = argument(
    "log",
    help="The log: both, us, mx, or one closed for ever or begun since, us/2.",
    es="El registro: both, us, mx, o uno posterior al cierre de otro, us/2.",
)
the_index = argument("index", type=click.IntRange(0), help="The entry's number.", es="El número del asiento.")


def privacy(services: Services) -> Privacy:
    return Privacy(services.store, services.sequencer, services.rulebook, services.clock)


@command(
    "open",
    es="Muestra lo que un asiento solo compromete. Lo bloqueado, solo por un caso de responsabilidad, y queda asentado.",
)
@in_home
@the_log
@the_index
@option(
    "--liability", default="", help="The case for which a blocked part is read.", es="El caso por el que se lee una parte bloqueada."
)  # fmt: skip
def show(home: Path, log: str, index: int, liability: str) -> None:
    """Show what an entry only commits to. What is blocked, only for a case of liability, and an entry says so."""
    opening = at_hub(home, lambda services: privacy(services).read(log, index, liability=liability))
    click.echo(orjson.dumps({"salt": opening.salt.hex(), "payload": orjson.Fragment(opening.payload)}).decode())


the_objects = option(
    "--object", "objects", multiple=True,
    help="An object that the entry tells of, to be erased with it: taken out everywhere and asked back. Repeatable.",
    es="Un objeto del que da cuenta el asiento, que se suprime con él: se quita de todas partes y se pide de vuelta. Puede repetirse.",
)  # fmt: skip


def _step(step: Step, en: str, es: str, done: tuple[str, str]) -> click.Command:
    @command(step, es=es)
    @in_home
    @the_log
    @the_index
    @option("--basis", required=True, help="Code of the legal basis.", es="Código del fundamento legal.")
    @option("--approval", "approvals", type=a_file, multiple=True, help="Repeatable.", es="Puede repetirse.")
    @option(
        "--statement", type=new_file,
        help="Where to write what approvers sign (puente ledger approve).",
        es="Dónde escribir lo que firman las personas aprobadoras (puente ledger approve).",
    )  # fmt: skip
    def run(
        home: Path, log: str, index: int, basis: str, approvals: Sequence[Path], statement: Path | None,
        objects: Sequence[str] = (),
    ) -> None:  # fmt: skip
        given = [one.read_bytes() for one in approvals]
        if statement is not None:
            words = at_hub(home, lambda services: privacy(services).statement(step, log, index, basis, objects))
            statement.write_bytes(orjson.dumps(words) + b"\n")
            return

        async def work(services: Services) -> set[str]:
            lying = [one for name in sorted(set(objects)) for one in await services.release.delivered(name)]
            await privacy(services).do(step, log, index, basis, given, objects, lying)
            return {slug for one in lying for slug in one.holders}

        asked = at_hub(home, work)
        say(f"{done[0]}: {log}/{index}", f"{done[1]}: {log}/{index}")
        if asked:
            say(
                f"{len(asked)} members are asked to drop it: see `puente recall status --open`.",
                f"Se pide a {len(asked)} miembros que lo descarten: vea `puente recall status --open`.",
            )

    run.help = en
    run.text = type(run.text)(en, es)
    return the_objects(run) if step == "erase" else run


COMMANDS: tuple[click.Command, ...] = (
    show,
    _step(
        "block",
        "Block the private part of an entry: it is in no export from now on.",
        "Bloquea la parte privada de un asiento: desde ahora no está en ninguna exportación.",
        ("Blocked", "Bloqueada"),
    ),
    _step(
        "erase",
        "Erase a blocked private part, salt and all, and objects that the entry tells of; the entry and the tree stay.",
        "Suprime una parte privada bloqueada, con su sal, y objetos de los que da cuenta el asiento; el asiento y el árbol permanecen.",
        ("Erased", "Suprimida"),
    ),
)
"""Of `puente ledger`."""
