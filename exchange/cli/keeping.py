"""What operators do with the logs on the hub's own machine: write an auditor's pack, look at the clock, derive every row again."""

import asyncio
import sys
from pathlib import Path

import click

from exchange.cli.admin import at_hub
from exchange.cli.output import advance, machine, plain, progress, say, spoken, table
from exchange.cli.packing import LOGS_FOR, Packed, receipt_place, since_when, write_pack
from exchange.cli.setup import OPERATOR, Home
from exchange.cli.words import argument, as_json, command, in_home, new_folder, option
from exchange.errors import LedgerFault
from exchange.fsck.check import Checked, check
from exchange.fsck.logs import Mark
from exchange.hub import open_scan, witness_policies
from exchange.ledger.publisher import Anchors
from exchange.settings import Settings
from exchange.times import as_text
from exchange.web.services import Services


@command("pack", es="Escribe lo que se lleva la auditoría de un país: una carpeta que se verifica sin el centro.")
@in_home
@argument("directory", type=new_folder, help="A new or empty directory.", es="Un directorio nuevo o vacío.")
@option(
    "--for", "whom", type=click.Choice(list(LOGS_FOR)), required=True,
    help="Whose auditor: us or mx, with that country's own log and openings; both, the joint pack without either.",
    es="De quién es la auditoría: us o mx, con el registro y las aperturas de ese país; both, la carpeta conjunta sin ellos.",
)  # fmt: skip
@option(
    "--since", default="",
    help="Since the last audit: a date, a time or 30d. Openings, history and agreements of then on; the logs are always whole.",
    es="Desde la última auditoría: fecha, hora o 30d. Aperturas, historia y acuerdos desde entonces; los registros van siempre completos.",
)  # fmt: skip
@option(
    "--receipt", "receipts", multiple=True, metavar="LOG/INDEX",
    help="An entry to enclose a receipt of.", es="Un asiento del que se incluye un recibo.",
)  # fmt: skip
@as_json
def pack(home: Path, directory: Path, whom: str, since: str, receipts: tuple[str, ...], as_json: bool) -> None:
    """Write what the auditor of a country takes home: a folder that can be verified without the hub."""
    prove = [receipt_place(one, whom) for one in receipts]

    async def work(services: Services) -> list[Packed]:
        since_us = since_when(since, services.clock.now_us()) if since else None
        with progress("") as bar:

            def tell(log: str, done: int, size: int) -> None:
                bar.label = log
                advance(bar, done, size)

            return await write_pack(services, directory, whom, since_us, prove, tell)

    packed = at_hub(home, work)
    if as_json:
        machine({"directory": str(directory), "for": whom, "logs": [vars(one) for one in packed]})
        return
    table(("log", "entries", "root"), [(one.log, one.size, one.root[:16]) for one in packed])
    say(f"Packed in {directory}.", f"Reunido en {directory}.")


@command("clock", es="Compara el reloj con el último asiento; con --confirm, se sigue tras adelantarlo.")
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


@command(
    "fsck",
    es="Deduce todo de nuevo, de los cuerpos a las raíces, y nombra la primera fila errónea; no escribe nada. Termina con 1 si halló"
    " algo.",
)
@in_home
@as_json
def fsck(home: Path, as_json: bool) -> None:
    """Derive everything again, from bodies to roots, and name the first wrong row; writes nothing. Ends with 1 if it found any."""
    settings = Home(home).settings()
    found = asyncio.run(_checked(settings))
    if as_json:
        machine({
            "ok": found.ok,
            "leaves": found.leaves,
            "wrong": [
                {"code": one.code, "table": one.table, "key": one.key, "text": spoken(one.text), "remedy": spoken(one.remedy)}
                for one in found.wrong
            ],
            "counts": found.counts,
        })  # fmt: skip
    else:
        for one in found.wrong:
            click.echo(plain(f"✗ {one.table} {one.key}: {one.code}: {spoken(one.text)} {spoken(one.remedy)}"))
        total = sum(found.leaves.values())
        if found.ok:
            say(f"Every row is what {total} leaves say.", f"Cada fila es lo que dicen {total} asientos.")
        else:
            counts = ", ".join(f"{table} {count}" for table, count in sorted(found.counts.items()))
            say(f"Wrong rows: {counts}.", f"Filas erróneas: {counts}.")
    sys.exit(0 if found.ok else 1)


async def _checked(settings: Settings) -> Checked:
    anchors = Anchors(settings.anchors)

    def mark(log: str) -> Mark | None:
        try:
            anchor = anchors.read(log)
        except LedgerFault:
            return None
        return Mark(anchor.size, anchor.root)

    async with open_scan(settings) as scan:
        total = 0
        for table in ("leaf", "run", "object"):
            async for (count,) in scan.rows(f"SELECT count(*) FROM {table}"):  # noqa: S608
                total += count
        with progress("fsck", total) as bar:
            return await check(scan, witness_policies(settings), mark, lambda _, rows: bar.update(rows))


COMMANDS: tuple[click.Command, ...] = (pack, clock, fsck)
