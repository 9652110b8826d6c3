"""`puente cert`: certificates and the trust list, put together from the modules that do the work."""

import click

from exchange.cli import inspecting, issuing, revoking, trusting
from exchange.cli.words import group


@group(es="Certificados de ambos países y la lista de confianza: emitir, renovar, revocar, listar.")
def cert() -> None:
    """Certificates of both countries, and the trust list: issue, renew, revoke, list."""


for module in (issuing, inspecting, revoking, trusting):
    for command in module.COMMANDS:
        cert.add_command(command)

COMMANDS: tuple[click.Command, ...] = (cert,)
