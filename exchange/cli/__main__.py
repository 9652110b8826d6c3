"""The command line's front door: `puente`, and `python -m exchange.cli`."""

import sys
from collections.abc import Sequence

import click

from certs.faults import Fault
from certs.jcs import JsonError
from exchange.cli import (
    admin,
    agreements,
    asking,
    blocking,
    certificates,
    consenting,
    demo,
    desk,
    feeding,
    gateway,
    giving,
    ledger,
    recalling,
    taking,
    tokens,
    witnessing,
)  # fmt: skip
from exchange.cli.output import language, plain, spanish
from exchange.cli.words import Option, group
from exchange.client import Alarm, EvidenceFault
from exchange.errors import LedgerFault, Refusal
from exchange.ledger.note import NoteFault
from exchange.ledger.receipt import ReceiptFault


@group(
    context_settings={"help_option_names": ["-h", "--help"]},
    es="Un centro para indicadores de amenaza firmados entre dos países.",
)
@click.version_option(
    package_name="puente", cls=Option, help="Show the version and exit.", es="Muestra la versión y termina."
)
def puente() -> None:
    """A hub for signed threat indicators between two countries."""


for module in (
    admin,
    agreements,
    asking,
    blocking,
    certificates,
    consenting,
    demo,
    desk,
    feeding,
    gateway,
    giving,
    ledger,
    recalling,
    taking,
    tokens,
    witnessing,
):
    for command in module.COMMANDS:
        puente.add_command(command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line, by default this process's own; what goes wrong is one sentence and a non-zero status, never a traceback."""
    try:
        puente.main(args, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Refusal as refusal:
        field = f" [{refusal.field}]" if refusal.field else ""
        click.echo(plain(f"{refusal.code}{field}: {refusal.text.in_language(language())}"), err=True)
        sys.exit(1)
    except Alarm as alarm:
        click.echo(plain(f"{alarm.code}: {alarm.es if spanish() else alarm.en}"), err=True)
        sys.exit(4)
    except (Fault, JsonError, NoteFault, ReceiptFault, EvidenceFault) as fault:
        click.echo(plain(f"{fault.code}: {fault.es if spanish() else fault.en}"), err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(plain(f"{error.filename}: {error.strerror}" if error.filename else str(error)), err=True)
        sys.exit(1)
    except UnicodeDecodeError as error:
        click.echo(f"not UTF-8 / no es UTF-8: {error.reason}", err=True)
        sys.exit(1)
    except LedgerFault as fault:
        click.echo(str(fault), err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
