"""The command line's front door: `puente`, and `python -m exchange.cli`."""

import sys
from collections.abc import Sequence

import click

from certs.faults import Fault
from exchange.cli.output import language, plain, spanish
from exchange.cli.words import FrontDoor, Option
from exchange.errors import LedgerFault, Refusal

WHERE = {
    "init": "admin", "serve": "admin", "member": "admin", "collection": "admin",
    "agreement": "agreements", "explain": "agreements", "access": "agreements",
    "me": "asking", "collections": "asking",
    "edl": "blocking",
    "cert": "certificates",
    "consent": "consenting", "audience": "consenting",
    "demo": "demo",
    "audit": "desk",
    "feed": "feeding",
    "gateway": "gateway",
    "sign": "giving", "submit": "giving",
    "ledger": "ledger",
    "recall": "recalling",
    "pull": "taking", "verify": "taking",
    "token": "tokens",
    "witness": "witnessing",
}  # fmt: skip


@click.command(
    cls=FrontDoor,
    where=WHERE,
    context_settings={"help_option_names": ["-h", "--help"]},
    es="Un centro para indicadores de amenaza firmados entre dos países.",
)
@click.version_option(
    package_name="puente", cls=Option, help="Show the version and exit.", es="Muestra la versión y termina."
)
def puente() -> None:
    """A hub for signed threat indicators between two countries."""


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
    except Fault as fault:
        click.echo(plain(f"{fault.code}: {fault.es if spanish() else fault.en}"), err=True)
        sys.exit(fault.status)
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
