"""The command line's front door: `puente`, and `python -m exchange.cli`."""

import sys

import click

from certs.faults import Fault
from exchange.cli import admin, agreements, demo, ledger, witnessing
from exchange.cli.output import spanish
from exchange.errors import LedgerFault, Refusal


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="puente")
def puente() -> None:
    """A hub for signed threat indicators between two countries."""


for command in (*admin.COMMANDS, *agreements.COMMANDS, *demo.COMMANDS, *ledger.COMMANDS, *witnessing.COMMANDS):
    puente.add_command(command)


def main() -> None:
    """Run the command line; what goes wrong is one sentence and a non-zero status, never a traceback."""
    try:
        puente.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Refusal as refusal:
        field = f" [{refusal.field}]" if refusal.field else ""
        click.echo(f"{refusal.code}{field}: {refusal.text.in_language('es' if spanish() else 'en')}", err=True)
        sys.exit(1)
    except Fault as fault:
        click.echo(f"{fault.code}: {fault.es if spanish() else fault.en}", err=True)
        sys.exit(1)
    except LedgerFault as fault:
        click.echo(str(fault), err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
