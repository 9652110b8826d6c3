"""What auditors do at a terminal: take a copy of the logs, verify one offline, check a receipt."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from exchange.cli.admin import as_json, at_hub, in_home
from exchange.cli.output import machine, say, table
from exchange.errors import NotFound
from exchange.ledger.audit import verify_copy, verify_receipt_file, write_copy
from exchange.ledger.entry import LOGS
from exchange.ledger.note import Policy
from exchange.store.contract import Opening
from exchange.web.services import Services

policies_in = click.option(
    "--policy", "policy", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True,
    help="The reader's own directory of witness policies (both, us, mx); never the one that came with the copy.",
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


@click.group()
def ledger() -> None:
    """The tamper-evident log."""


@ledger.command("export")
@in_home
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--log", "logs", multiple=True, type=click.Choice(LOGS), help="Default: all three.")
def export(home: Path, directory: Path, logs: tuple[str, ...]) -> None:
    """Write a copy of the logs that can be verified without the hub."""
    at_hub(home, lambda services: write_copy(directory, HubCopy(services, logs or LOGS)))
    say(f"Copied to {directory}.", f"Copiado en {directory}.")


@ledger.command("verify")
@policies_in
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--kept", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Checkpoints kept from last time."
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


@ledger.command("receipt")
@policies_in
@click.argument("proof", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("leaf", type=click.Path(path_type=Path, exists=True, dir_okay=False))
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
