"""What auditors do at a terminal: take a copy of the logs, verify one offline, check a receipt."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from exchange.cli.admin import as_json, at_hub, in_home
from exchange.cli.output import machine, say, table
from exchange.cli.setup import OPERATOR
from exchange.cli.words import a_file, a_folder, argument, group, new_folder, option
from exchange.errors import NotFound
from exchange.ledger.audit import verify_copy, verify_receipt_file, write_copy
from exchange.ledger.entry import LOGS
from exchange.ledger.note import Policy
from exchange.store.contract import Opening
from exchange.times import as_text
from exchange.web.services import Services

policies_in = option(
    "--policy", "policy", type=a_folder, required=True,
    help="The reader's own directory of witness policies (both, us, mx); never the one that came with the copy.",
    es="El directorio propio de quien verifica, con las políticas de testigos (both, us, mx); nunca el que vino con la copia.",
)  # fmt: skip


class HubCopy:
    """What `write_copy` asks, answered from the hub's store; of the national logs only those asked for."""

    def __init__(self, services: Services, logs: Sequence[str]) -> None:
        self._services = services
        self._logs = logs

    async def logs(self) -> Sequence[str]:
        return self._logs

    async def note(self, log: str) -> bytes:
        found = await self._services.publisher.newest_cosigned(log)
        if found is None:
            raise NotFound(
                f"No checkpoint of {log} is cosigned yet.",
                f"Ningún punto de control de {log} está cofirmado todavía.",
                code="not-cosigned",
            )
        return found

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return await self._services.store.leaves(log, start, end)

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        return await self._services.store.openings(log, start, end)


@group(es="El registro, en el que toda alteración se nota.")
def ledger() -> None:
    """The tamper-evident log."""


@ledger.command("export", es="Escribe una copia de los registros que puede verificarse sin el centro.")
@in_home
@argument("directory", type=new_folder, help="A new or empty directory.", es="Un directorio nuevo o vacío.")
@option("--log", "logs", multiple=True, type=click.Choice(LOGS), help="Default: all three.", es="Si falta: los tres.")
def export(home: Path, directory: Path, logs: tuple[str, ...]) -> None:
    """Write a copy of the logs that can be verified without the hub."""

    async def copy(services: Services) -> None:
        wanted = logs or LOGS
        both = {"us", "mx"} <= set(wanted) or set(wanted) == {"both"}
        to = "both" if both else next(log for log in wanted if log != "both")
        await services.records.exported(OPERATOR, wanted, to=to, openings=True)
        await write_copy(directory, HubCopy(services, wanted))

    at_hub(home, copy)
    say(f"Copied to {directory}.", f"Copiado en {directory}.")


@ledger.command("clock", es="Compara el reloj con el último asiento; con --confirm, se sigue tras adelantarlo.")
@in_home
@option("--confirm", is_flag=True, help="The clock is right: go on.", es="El reloj es correcto: continuar.")
def clock(home: Path, confirm: bool) -> None:
    """Compare the clock with the last entry; with --confirm, go on after it was set forward."""

    async def look(services: Services) -> tuple[str, str]:
        before, now = await services.records.last_time(), as_text(services.clock.now_us())
        if confirm:
            pub = {"before": before, "after": now}
            await services.governance.note(OPERATOR, "clock.step", "clock", pub)
        return before, now

    before, now = at_hub(home, look)
    say(
        f"The last entry is of {before}; the clock says {now}.",
        f"El último asiento es de {before}; el reloj marca {now}.",
    )
    if confirm:
        say("Confirmed: the hub goes on from here.", "Confirmado: el centro continúa desde aquí.")


@ledger.command(
    "verify",
    es="Verifica una copia sin conexión: puntos de control, cofirmas, cada asiento, cada hash. Dice dónde está el primer error.",
)
@policies_in
@argument("directory", type=a_folder, help="The copy.", es="La copia.")
@option(
    "--kept",
    type=a_folder,
    help="Checkpoints kept from last time.",
    es="Puntos de control conservados de la vez anterior.",
)
@as_json
def verify(policy: Path, directory: Path, kept: Path | None, as_json: bool) -> None:
    """Verify a copy offline: checkpoints, cosignatures, every entry, every tile. Names the first wrong byte's place."""
    report = verify_copy(directory, read_policies(policy), _kept(kept))
    if as_json:
        machine({
            "ok": report.ok,
            "findings": [{"file": one.file, "entry": one.entry, "code": one.code, "text": one.en} for one in report.findings],
            "logs": [{"log": log.name, "size": log.size, "root": log.root.hex(), "cosigned": dict(log.cosigned)} for log in report.logs],
        })  # fmt: skip
    else:
        rows = [
            (log.name, log.size, log.root.hex()[:16], _witnesses(log.cosigned), log.last_time[:19])
            for log in report.logs
        ]
        table(("log", "entries", "root", "cosigned by", "last entry"), rows)
        for one in report.findings:
            say(f"✗ {one.file}: {one.code}: {one.en}", f"✗ {one.file}: {one.code}: {one.es}")
        if report.ok:
            say("Verified: every byte is what both countries' witnesses vouched for.", "Verificado: cada byte es el que avalaron los testigos de ambos países.")  # fmt: skip
    sys.exit(0 if report.ok else 1)


@ledger.command("receipt", es="Comprueba un .tlog-proof contra su asiento, sin servidor alguno.")
@policies_in
@argument("proof", type=a_file, help="The .tlog-proof.", es="El archivo .tlog-proof.")
@argument("leaf", type=a_file, help="The entry's bytes.", es="Los bytes del asiento.")
def receipt(policy: Path, proof: Path, leaf: Path) -> None:
    """Check a .tlog-proof against its leaf, without any server."""
    proven = verify_receipt_file(proof, leaf, read_policies(policy))
    who = _witnesses(proven.cosigned)
    say(
        f"Proved: entry {proven.index} of {proven.checkpoint.origin}, size {proven.checkpoint.size}, cosigned by {who}.",
        f"Probado: entrada {proven.index} de {proven.checkpoint.origin}, tamaño {proven.checkpoint.size}, cofirmado por {who}.",
    )


def read_policies(directory: Path) -> dict[str, Policy]:
    """The witness policies of the logs that the directory has files for."""
    return {log: Policy.parse((directory / log).read_text()) for log in LOGS if (directory / log).exists()}


def _kept(directory: Path | None) -> dict[str, bytes] | None:
    if directory is None:
        return None
    return {
        log: (directory / log / "checkpoint").read_bytes() for log in LOGS if (directory / log / "checkpoint").exists()
    }


def _witnesses(times: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {datetime.fromtimestamp(at, UTC):%H:%M:%SZ}" for name, at in sorted(times.items()))


COMMANDS: tuple[click.Command, ...] = (ledger,)
