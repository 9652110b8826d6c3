"""What each country runs for itself: `puente witness`."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from certs.jcs import load
from exchange.cli.output import listing, machine, say, table
from exchange.cli.words import a_folder, argument, as_json, group, new_folder, option
from exchange.clock import SystemClock
from exchange.errors import NotFound
from exchange.ledger.generations import of_origin, succeeded
from exchange.ledger.mirror import Copy
from exchange.ledger.note import Checkpoint, Verifier, split_note
from exchange.ledger.opened import Page
from exchange.ledger.pack import Past, write_copy
from exchange.ledger.remembering import State
from exchange.ledger.witness import EVIDENCE_LIMIT_BYTES, MIRROR, REFUSED, RETIRED, Witness, look, retire
from exchange.ledger.witness import serve as serve_witness
from exchange.store.answers import Opening

directory = argument("directory", type=new_folder, help="Where the witness lives.", es="Donde vive el testigo.")
existing = argument("directory", type=a_folder, help="Where the witness lives.", es="Donde vive el testigo.")


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
@option(
    "--mirror/--no-mirror",
    default=True,
    show_default=True,
    help="Cosign only what it holds a copy of. Without, for logs that send no entries.",
    es="Cofirma solo aquello de lo que guarda copia. Sin ello, para registros que no envían asientos.",
)
def create(directory: Path, name: str, logs: tuple[str, ...], mirror: bool) -> None:
    """Make a witness with a fresh key; prints its verifier key for policies."""
    click.echo(Witness.create(directory, name, logs, mirror=mirror))


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


# --- what it remembers ---


@witness.command(
    "show", es="Lo que recuerda: por registro, el mayor punto de control que cofirmó y cuánto guarda de él."
)
@existing
@as_json
def show(directory: Path, as_json: bool) -> None:
    """What it remembers: by log, the largest checkpoint it cosigned, and how much of the log it holds."""
    vkey, state = look(directory)
    mirrors, retired = (directory / MIRROR).is_dir(), (directory / RETIRED).exists()
    rows = list(_rows(directory, state, mirrors=mirrors))
    head = ("log", "cosigned", "root", "mirror")
    if as_json:
        machine({
            "vkey": vkey, "retired": retired, "mirror": mirrors, "time": state.time_seconds,
            "logs": [dict(zip(head, row, strict=True)) for row in rows], "refused": len(list(_files(directory))),
        })  # fmt: skip
        return
    click.echo(vkey)
    if retired:
        say("RETIRED: it never signs again.", "RETIRADO: no volverá a firmar.")
    table(head, [(log, size, root[:16], "–" if held is None else held) for log, size, root, held in rows])
    refused = len(list(_files(directory)))
    at = f"{datetime.fromtimestamp(state.time_seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if state.time_seconds else "–"
    say(f"Last cosignature {at}; {refused} refused checkpoints kept.", f"Última cofirma {at}; {refused} puntos de control rechazados guardados.")  # fmt: skip


def _rows(directory: Path, state: State, *, mirrors: bool) -> Iterator[tuple[str, int, str, int | None]]:
    for origin, log in sorted(state.logs.items()):
        seen = log.checkpoint
        held = Copy(directory / MIRROR, origin).size if mirrors else None
        yield origin, seen.size if seen else 0, seen.root.hex() if seen else "", held


@witness.command("evidence", es="Los puntos de control firmados que se negó a cofirmar: prueba contra el registro.")
@existing
@as_json
def evidence(directory: Path, as_json: bool) -> None:
    """The signed checkpoints that it refused to cosign: evidence against the log."""
    rows = []
    for path in _files(directory):
        value: dict[str, Any] = load(path.read_bytes(), max_bytes=EVIDENCE_LIMIT_BYTES)
        refused = Checkpoint.parse(split_note(value["request"].partition("\n\n")[2].encode())[0])
        at = f"{datetime.fromtimestamp(value['time'], UTC):%Y-%m-%dT%H:%M:%SZ}"
        rows.append((at, refused.origin, refused.size, refused.root.hex(), value["status"], value["reason"], path.name))
    head = ("time", "log", "entries", "root", "status", "reason", "file")
    listing(
        head, sorted(rows) if as_json else [(*row[:3], row[3][:16], *row[4:]) for row in sorted(rows)], as_json=as_json
    )


def _files(directory: Path) -> Iterator[Path]:
    return (directory / REFUSED).glob("*.json")


# --- its copy, and its end ---


class _MirrorCopy:
    """What `write_copy` asks, answered from a witness's mirror; openings it does not have."""

    def __init__(self, directory: Path, state: State) -> None:
        self._copies = {log: Copy(directory / MIRROR, log) for log in state.logs}
        self._notes = {log: one.note for log, one in state.logs.items() if one.note is not None}
        self._origins = {of_origin(origin): origin for origin in self._notes}

    async def logs(self) -> Sequence[str]:
        return list(self._origins)

    async def note(self, log: str) -> bytes:
        return self._notes[self._origins[log]]

    async def held(self, log: str) -> int | None:
        return None

    async def past(self, log: str) -> Past:
        return Past()  # it remembers one checkpoint

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return self._copies[self._origins[log]].leaves(start, end)

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        return []

    async def pages(self, log: str, start: int, end: int) -> list[Page]:
        return []


@witness.command("copy", es="Escribe lo que guarda de los registros, en la forma que `puente ledger verify` lee.")
@existing
@argument("target", type=new_folder, help="A new or empty directory.", es="Un directorio nuevo o vacío.")
def copy(directory: Path, target: Path) -> None:
    """Write what it holds of the logs, in the form that `puente ledger verify` reads."""
    _, state = look(directory)
    if not (directory / MIRROR).is_dir():
        raise NotFound("This witness keeps no mirror.", "Este testigo no guarda copia.", code="no-mirror")
    asyncio.run(write_copy(target, _MirrorCopy(directory, state)))
    say(f"Copied to {target}.", f"Copiado en {target}.")


@witness.command("retire", es="Hace que no vuelva a firmar nunca, esté en marcha o no. No hay vuelta atrás.")
@existing
@option("--reason", required=True, help="Kept beside it.", es="Se guarda junto a él.")
def end(directory: Path, reason: str) -> None:
    """Have it never sign again, running or not. There is no way back."""
    vkey, _ = look(directory)
    retire(directory, reason, SystemClock())
    say(f"Retired: {vkey}. Make a new one with a new name, and have it put into every policy in its place.",
        f"Retirado: {vkey}. Cree uno nuevo con otro nombre y póngalo en su lugar en cada política.")  # fmt: skip


@witness.command(
    "trust",
    es="Confía desde ahora en otra clave de un registro, p. ej. en su rotación, o en la del que lo continúa, lo que lo cierra. Nada se retira.",
)
@existing
@argument("vkey", help="Verifier key of the log.", es="Clave de verificación del registro.")
def trust(directory: Path, vkey: str) -> None:
    """Trust one more key of a log from now on, as for its rotation, or that of a log's next generation, which closes the log; the
    witness must be stopped. Nothing is taken back."""
    one = Witness(directory, SystemClock())
    try:
        one.add_log(vkey)
    finally:
        one.close()
    origin = Verifier.parse(vkey).name
    before = [log for log in look(directory)[1].logs if succeeded(log, [origin])]
    if before:
        say(
            f"Closed, and not cosigned any more: {', '.join(before)}.",
            f"Cerrado, y ya no se cofirma: {', '.join(before)}.",
        )


COMMANDS: tuple[click.Command, ...] = (witness,)
