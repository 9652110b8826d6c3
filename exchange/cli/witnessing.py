"""What each country runs for itself: `puente witness`."""

import asyncio
import signal
from pathlib import Path

import click

from exchange.cli.output import say
from exchange.clock import SystemClock
from exchange.ledger.witness import Witness
from exchange.ledger.witness import serve as serve_witness

directory = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def witness() -> None:
    """A country's witness: it cosigns a checkpoint only if the log grew out of what it saw before."""


@witness.command("init")
@directory
@click.option("--name", required=True, help="Name of the witness's key, e.g. us-b.witness.example.")
@click.option("--log", "logs", multiple=True, required=True, help="Verifier key of a log to watch; repeatable.")
def create(directory: Path, name: str, logs: tuple[str, ...]) -> None:
    """Make a witness with a fresh key; prints its verifier key for policies."""
    click.echo(Witness.create(directory, name, logs))


@witness.command("serve")
@directory
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8451, show_default=True)
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
