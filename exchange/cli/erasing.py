"""Private parts of entries at a terminal: `puente ledger open`, `block` and `erase`."""

from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from exchange.cli.admin import at_hub, in_home
from exchange.cli.output import say
from exchange.cli.words import a_file, argument, command, new_file, option
from exchange.governance.privacy import Privacy, Step
from exchange.ledger.entry import LOGS
from exchange.web.services import Services

the_log = argument("log", type=click.Choice(LOGS), help="The log.", es="El registro.")
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
    def run(home: Path, log: str, index: int, basis: str, approvals: Sequence[Path], statement: Path | None) -> None:
        given = [one.read_bytes() for one in approvals]
        if statement is not None:
            words = at_hub(home, lambda services: privacy(services).statement(step, log, index, basis))
            statement.write_bytes(orjson.dumps(words) + b"\n")
            return
        at_hub(home, lambda services: privacy(services).do(step, log, index, basis, given))
        say(f"{done[0]}: {log}/{index}", f"{done[1]}: {log}/{index}")

    run.help = en
    run.text = type(run.text)(en, es)
    return run


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
        "Erase a blocked private part, salt and all; the entry and the tree stay.",
        "Suprime una parte privada bloqueada, con su sal; el asiento y el árbol permanecen.",
        ("Erased", "Suprimida"),
    ),
)
"""Of `puente ledger`."""
