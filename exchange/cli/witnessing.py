"""What each country runs for itself: `puente witness`."""

import asyncio
import signal
from pathlib import Path

import click

from exchange.cli.output import say
from exchange.cli.words import argument, group, new_folder, option
from exchange.clock import SystemClock
from exchange.ledger.witness import Witness
from exchange.ledger.witness import serve as serve_witness

directory = argument("directory", type=new_folder, help="Where the witness lives.", es="Donde vive el testigo.")


@group(es="El testigo de un país: cofirma un punto de control solo si el registro creció a partir de lo que ya vio.")
def witness() -> None:
    """A country's witness: it cosigns a checkpoint only if the log grew out of what it saw before."""


@witness.command("init", es="Crea un testigo con una clave nueva; muestra su clave de verificación para las políticas.")
@directory
@option(
    "--name",
    required=True,
    help="Name of the witness's key, e.g. us-b.witness.example.",
    es="Nombre de la clave del testigo, p. ej. us-b.witness.example.",
)
@option(
    "--log",
    "logs",
    multiple=True,
    required=True,
    help="Verifier key of a log to watch; repeatable.",
    es="Clave de verificación de un registro que vigilar; puede repetirse.",
)
def create(directory: Path, name: str, logs: tuple[str, ...]) -> None:
    """Make a witness with a fresh key; prints its verifier key for policies."""
    click.echo(Witness.create(directory, name, logs))


@witness.command("serve", es="Responde a las solicitudes de cofirma hasta que se le indique detenerse.")
@directory
@option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on.", es="Dirección en la que escucha."
)
@option("--port", default=8451, show_default=True, help="Port to listen on.", es="Puerto en el que escucha.")
def run(directory: Path, host: str, port: int) -> None:
    """Answer add-checkpoint requests until told to stop."""

    async def answer() -> None:
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        one = Witness(directory, SystemClock())
        try:
            runner = await serve_witness(one, host, port)
            say(f"{one.name} witnesses at http://{host}:{port}/", f"{one.name} atestigua en http://{host}:{port}/")
            await stop.wait()
            await runner.cleanup()
        finally:
            one.close()

    asyncio.run(answer())


COMMANDS: tuple[click.Command, ...] = (witness,)
