"""Ending a halt: `puente ledger recover`, and the approvals that it takes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import aiohttp
import click
import orjson

from certs.jcs import load
from certs.keys import load_key, load_secret, read_certificate, replace_file
from exchange.cli.output import advance, listing, progress, say
from exchange.cli.setup import Home
from exchange.cli.words import a_file, argument, command, in_home, new_file, new_folder, option
from exchange.clock import SystemClock
from exchange.errors import Malformed
from exchange.governance.abandoning import ABANDONMENT_TYPE, Loss, NextLogs
from exchange.governance.approvals import LIMIT_BYTES, sign
from exchange.governance.privacy import ERASURE_TYPE
from exchange.governance.recovery import RECOVERY_TYPE, Gap, Recovered, Recovery
from exchange.hub import open_store, witness_policies
from exchange.ledger.asking import Cosigned
from exchange.ledger.catching_up import catch_up
from exchange.ledger.entry import LOGS
from exchange.ledger.generations import following, kind, stem
from exchange.ledger.note import Policy
from exchange.ledger.publisher import Anchors
from exchange.ledger.sources import Folder, Mirrors, Source, SourceFault
from exchange.settings import Settings
from exchange.store.contract import Store

TYPES = {"log.recover": RECOVERY_TYPE, "log.close": ABANDONMENT_TYPE, "block": ERASURE_TYPE, "erase": ERASURE_TYPE}
"""By act, what an approval of it is."""


@command(
    "recover",
    es="Repone los asientos que perdió una base restaurada y termina la detención. Sin --approval dice qué hay que aprobar."
    " Puede repetirse tras una interrupción.",
)
@in_home
@option(
    "--from", "sources", multiple=True, required=True,
    help="An audit copy's directory, or the address of a witness that keeps the leaves; several addresses may be given.",
    es="El directorio de una copia de auditoría, o la dirección de un testigo que conserva los asientos; pueden darse varias.",
)  # fmt: skip
@option(
    "--token", "tokens", type=a_file, multiple=True,
    help="The reader.token of each witness, in the order of their addresses.",
    es="El reader.token de cada testigo, en el orden de sus direcciones.",
)  # fmt: skip
@option("--approval", "approvals", type=a_file, multiple=True, help="Repeatable.", es="Puede repetirse.")
@option(
    "--document", "documents", type=a_file, multiple=True,
    help="A trust list, agreement or overlay that came into force since the backup; repeatable.",
    es="Una lista de confianza, un acuerdo o una restricción que entró en vigor después de la copia; puede repetirse.",
)  # fmt: skip
@option(
    "--abandon", type=click.Choice(LOGS), multiple=True,
    help="Close this log for ever: nobody can give back what it lost. It goes on as the next one; what the lost leaves did stays"
    " unknown. Repeatable.",
    es="Cerrar este registro para siempre: nadie puede devolver lo que perdió. Continúa como el siguiente; lo que hicieron los asientos"
    " perdidos queda desconocido. Puede repetirse.",
)  # fmt: skip
@option(
    "--statements", type=new_folder,
    help="Where to write what each log's approvers sign (puente ledger approve).",
    es="Dónde escribir lo que firman las personas aprobadoras de cada registro (puente ledger approve).",
)  # fmt: skip
def recover(
    home: Path, sources: Sequence[str], tokens: Sequence[Path], approvals: Sequence[Path], documents: Sequence[Path],
    abandon: Sequence[str], statements: Path | None,
) -> None:  # fmt: skip
    """Put back the leaves that a restored database lost, and end the halt. Without --approval, say what is to be approved. May be
    repeated after it was interrupted."""
    settings = Home(home).settings()
    secrets = [load_secret(one).decode().strip() for one in tokens]
    found = asyncio.run(
        _recover(
            settings, sources, secrets, [one.read_bytes() for one in approvals], [one.read_bytes() for one in documents],
            abandon,
        )
    )  # fmt: skip
    if isinstance(found, Recovered):
        for object_id, version in found.lost:
            click.echo(f"{object_id} {version}")
        _tell(found)
        return
    rows = [
        (one.log, one.held if isinstance(one, Loss) else one.mine, one.checkpoint.size, one.checkpoint.root.hex()[:16],
         one.lost if isinstance(one, Loss) else "–")
        for one in found
    ]  # fmt: skip
    listing(("log", "held", "entries", "root", "lost"), rows, as_json=False)
    for one in found:
        if isinstance(one, Loss):
            say(
                f"{one.log} is to be closed for ever, and {following(one.log)} to begin. Before it does, every witness must trust its"
                f" key, and every policy list it: {one.next}",
                f"{one.log} se cerrará para siempre y comenzará {following(one.log)}. Antes, cada testigo debe confiar en su clave y"
                f" cada política incluirla: {one.next}",
                err=True,
            )
    if statements is not None:
        statements.mkdir(parents=True, exist_ok=True)
        for one in found:
            if isinstance(one, Loss):
                (statements / f"abandon-{stem(one.log)}.json").write_bytes(orjson.dumps(one.statement) + b"\n")
            elif one.lost or kind(one.log) == "both":
                (statements / f"recover-{stem(one.log)}.json").write_bytes(orjson.dumps(one.statement) + b"\n")


def _tell(found: Recovered) -> None:
    count = sum(found.leaves.values())
    for one in found.closed:
        say(
            f"{one.log} is closed for ever with {one.held} entries; {one.lost} are lost, and what they did is unknown: submissions,"
            " deletions, revocations, suspensions, adoptions, releases. It goes on as"
            f" {one.next_origin}. Have members send again what they submitted since the backup, and repeat every revocation,"
            " suspension, deletion, erasure and tightening of that time BEFORE you start the hub.",
            f"{one.log} queda cerrado para siempre con {one.held} asientos; se perdieron {one.lost} y se desconoce lo que hicieron:"
            " envíos, eliminaciones, revocaciones, suspensiones, adopciones, entregas. Continúa como"
            f" {one.next_origin}. Pida a los miembros que reenvíen lo enviado desde la copia y repita toda revocación, suspensión,"
            " eliminación, supresión y restricción de ese tiempo ANTES de poner en marcha el nodo.",
            err=True,
        )
    say(
        f"{count} leaves are back; the objects above, {len(found.lost)}, must be sent again. The hub may be started.",
        f"Se repusieron {count} asientos; los objetos anteriores, {len(found.lost)}, deben enviarse de nuevo."
        " Puede ponerse en marcha el nodo.",
        err=True,
    )


async def _recover(
    settings: Settings,
    sources: Sequence[str],
    tokens: Sequence[str],
    approvals: Sequence[bytes],
    documents: Sequence[bytes],
    abandon: Sequence[str],
) -> Recovered | list[Gap | Loss]:
    anchors = Anchors(settings.anchors)
    async with _opened(settings) as store, _source(sources, tokens, witness_policies(settings)) as source:
        with progress("recover") as bar:
            recovery = Recovery(
                store, SystemClock(), witness_policies(settings), anchors, source,
                lambda _, done, size: advance(bar, done, size),
                abandon=abandon, next_logs=NextLogs(settings.keys, settings.witness_policy, anchors),
            )  # fmt: skip
            if approvals:
                return await recovery.run(approvals, documents)
            return await recovery.plan()


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    store = await open_store(settings, SystemClock())
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _source(
    sources: Sequence[str], tokens: Sequence[str], policies: Mapping[str, Policy]
) -> AsyncIterator[Source]:
    urls = [one for one in sources if one.startswith(("http://", "https://"))]
    if len(tokens) != len(urls):
        raise Malformed(
            "Give one --token for each address of a witness, in their order, and none with a directory.",
            "Indique un --token por cada dirección de testigo, en su orden, y ninguno con un directorio.",
            code="recover-from",
            field="--token",
        )
    if not urls and len(sources) == 1:
        yield Folder(Path(sources[0]))
        return
    if len(urls) != len(sources):
        raise Malformed(
            "Give one directory, or addresses of witnesses.",
            "Indique un directorio, o direcciones de testigos.",
            code="recover-from",
            field="--from",
        )
    async with aiohttp.ClientSession() as session:
        mirrors = Mirrors(session, urls, tokens)
        for log, policy in policies.items():
            # A checkpoint counts only if both countries' witnesses cosigned it: the one that lags is shown what the other has.
            for url, answer in (await _caught_up(session, mirrors, log, policy)).items():
                if not isinstance(answer, Cosigned):
                    say(
                        f"{log}: {url} does not catch up: {answer}",
                        f"{log}: {url} no se pone al día: {answer}",
                        err=True,
                    )
        yield mirrors


async def _caught_up(
    session: aiohttp.ClientSession, mirrors: Mirrors, log: str, policy: Policy
) -> Mapping[str, object]:
    try:
        return await catch_up(session, mirrors, log, policy)
    except SourceFault as fault:  # who signed last does not give its entries: the plan says what that means
        return {mirrors.address: fault}


@command("approve", es="Firma, como persona aprobadora, lo que se va a hacer con un registro. No necesita el centro.")
@argument("statement", type=a_file, help="As the command wrote it.", es="Tal como lo escribió el comando.")
@option("--key", type=a_file, required=True, help="The approver's key.", es="La clave de quien aprueba.")
@option("--cert", type=a_file, required=True, help="Its certificate.", es="Su certificado.")
@option("--output", "-o", type=new_file, required=True, help="The approval.", es="La aprobación.")
def approve(statement: Path, key: Path, cert: Path, output: Path) -> None:
    """Sign, as an approver, what is to be done to a log. Needs no hub."""
    words = load(statement.read_bytes(), max_bytes=LIMIT_BYTES)
    typ = TYPES.get(str(words.get("act"))) if isinstance(words, dict) else None
    if typ is None:
        raise Malformed(
            "This is not a statement about a log.",
            "Esto no es una declaración sobre un registro.",
            code="statement-form",
            field="statement",
        )
    signed = sign(
        words, decision="approve", key=load_key(key), certificate=read_certificate(cert.read_bytes()), typ=typ
    )
    replace_file(output, signed.encode() + b"\n")
    said = signed.words
    say(f"Signed as {said['approver']}: {output}", f"Firmado como {said['approver']}: {output}")


COMMANDS: tuple[click.Command, ...] = (recover, approve)
"""Of `puente ledger`."""
