"""What auditors do at a terminal: verify a copy of the logs offline, check a receipt.

What needs the hub's own files is elsewhere, and is loaded when it is asked for: verifying needs a small part of it all.
"""

import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from exchange.cli.output import advance, machine, progress, say, table
from exchange.cli.words import FrontDoor, a_file, a_folder, argument, as_json, command, option
from exchange.ledger.audit import verify_copy, verify_receipt_file
from exchange.ledger.entry import LOGS
from exchange.ledger.generations import separate
from exchange.ledger.note import Policy

WHERE = {
    "receipt": "ledger", "verify": "ledger",
    "clock": "keeping", "fsck": "keeping", "pack": "keeping",
    "open": "erasing", "block": "erasing", "erase": "erasing",
    "approve": "recovering", "recover": "recovering",
    "rotate-key": "rotating",
}  # fmt: skip

policies_in = option(
    "--policy", "policy", type=a_folder, required=True,
    help="The reader's own directory of witness policies (both, us, mx); never the one that came with the copy.",
    es="El directorio propio de quien verifica, con las políticas de testigos (both, us, mx); nunca el que vino con la copia.",
)  # fmt: skip


@click.group(cls=FrontDoor, where=WHERE, es="El registro, en el que toda alteración se nota.")
def ledger() -> None:
    """The tamper-evident log."""


@command(
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
    with progress("") as bar:

        def tell(log: str, done: int, size: int) -> None:
            bar.label = log
            advance(bar, done, size)

        policies = read_policies(policy)
    report = verify_copy(directory, policies, _kept(kept, policies), tell)
    if as_json:
        machine({
            "ok": report.ok,
            "findings": [{"file": one.file, "entry": one.entry, "code": one.code, "text": one.en} for one in report.findings],
            "logs": [{"log": log.name, "size": log.size, "root": log.root.hex(), "cosigned": dict(log.cosigned)}
                     | ({} if log.closed is None else {"closed": True, "lost": log.closed.lost}) for log in report.logs],
        })  # fmt: skip
    else:
        rows = [
            (log.name, log.size, log.root.hex()[:16], _witnesses(log.cosigned), log.last_time[:19])
            for log in report.logs
        ]
        table(("log", "entries", "root", "cosigned by", "last entry"), rows)
        for log in report.logs:
            if log.closed is not None:
                say(
                    f"{log.name} is closed for ever: {log.closed.held} entries are left, {log.closed.lost} are lost, and what those did"
                    " is unknown.",
                    f"{log.name} está cerrado para siempre: quedan {log.closed.held} asientos, se perdieron {log.closed.lost} y se"
                    " desconoce lo que estos hicieron.",
                )
        for one in report.findings:
            say(f"✗ {one.file}: {one.code}: {one.en}", f"✗ {one.file}: {one.code}: {one.es}")
        if report.ok:
            say("Verified: every byte is what both countries' witnesses vouched for.", "Verificado: cada byte es el que avalaron los testigos de ambos países.")  # fmt: skip
    sys.exit(0 if report.ok else 1)


@command("receipt", es="Comprueba un .tlog-proof contra su asiento, sin servidor alguno.")
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
    """The witness policies of the logs that the directory has files for, of each generation."""
    return separate({log: Policy.parse((directory / log).read_text()) for log in LOGS if (directory / log).exists()})


def _kept(directory: Path | None, logs: Iterable[str]) -> dict[str, bytes] | None:
    if directory is None:
        return None
    paths = {log: directory / log / "checkpoint" for log in logs}
    return {log: path.read_bytes() for log, path in paths.items() if path.exists()}


def _witnesses(times: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {datetime.fromtimestamp(at, UTC):%H:%M:%SZ}" for name, at in sorted(times.items()))


COMMANDS: tuple[click.Command, ...] = (ledger, verify, receipt)
