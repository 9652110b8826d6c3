"""The national gateway at a terminal: `puente gateway`. It is run with a gateway's own profile, on the gateway's own machine."""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from certs.keys import save_secret
from exchange import observe
from exchange.cli.asking import as_member
from exchange.cli.giving import read_objects
from exchange.cli.output import language, listing, say
from exchange.cli.profile import Profile
from exchange.cli.words import a_file, argument, as_json, group, new_file, new_folder, option
from exchange.clock import SystemClock
from exchange.errors import Conflict, Malformed, NotFound
from exchange.gateway.book import Book
from exchange.gateway.opening import Opening
from exchange.gateway.relay import Gateway, Run
from exchange.gateway.traces import Traces

in_state = option(
    "--state", type=new_folder, default=Path("var/gateway"), show_default=True,
    help="Where its sealed book is. Whoever has it can name every sender: back it up as you do the signing key.",
    es="Donde está su libro sellado. Quien lo tenga puede nombrar a todos los remitentes: respáldelo como la clave de firma.",
)  # fmt: skip


@group(es="La pasarela nacional: firma sin nombre lo que operadores del país no pueden firmar al otro lado.")
def gateway() -> None:
    """The national gateway: signs, without names, what its country's operators may not be named for across the border."""


@gateway.command("run", es="Lee lo nuevo y, terminado el periodo acordado, envía lo que puede cruzar sin nombre.")
@as_member
@in_state
@option("--again", is_flag=True, help="Read and judge everything anew, what is held too.", es="Lee y evalúa todo de nuevo, también lo retenido.")  # fmt: skip
@option(
    "--forever", is_flag=True, help="After every period, until stopped.", es="Tras cada periodo, hasta que se detenga."
)
@as_json
def run(me: Profile, state: Path, again: bool, forever: bool, as_json: bool) -> None:
    """Read what is new and, once the agreed period is over, send what may cross without a name. Exit status 1 for a fault."""
    me.must_sign()
    with ExitStack() as stack:
        if forever:
            observe.configure()
        else:  # a person reads the table; counts are kept
            state.mkdir(parents=True, mode=0o700, exist_ok=True)
            observe.configure(machine=True, file=stack.enter_context((state / "gateway.log").open("a")))
        done = asyncio.run(_run(me, state, again=again, forever=forever))
    head = ("read", "sent", "revoked", "waiting", "held", "left", "fault")
    listing(head, [_row(done)], as_json=as_json)
    if done.fault is not None:
        say(done.fault.text.en, done.fault.text.es, err=True)
    if done.held:
        say("See what is held: puente gateway held", "Vea lo retenido: puente gateway held", err=True)
    sys.exit(1 if done.fault is not None else 0)


async def _run(me: Profile, state: Path, *, again: bool, forever: bool) -> Run:
    clock = SystemClock()
    async with me.client(clock, language()) as client:
        mine = Gateway(client, state, clock)
        if forever:
            await mine.keep_running(on_run=lambda _: None)  # each run is logged
        return await mine.run(again=again)


def _row(one: Run) -> tuple[object, ...]:
    left = " ".join(f"{code}:{count}" for code, count in sorted(one.left.items())) or "-"
    fault = one.fault.code if one.fault is not None else "-"
    return one.read, one.sent, one.revoked, one.waiting, one.held.total(), left, fault


@gateway.command("status", es="Qué hay en el libro, sin nombrar a nadie.")
@as_member
@in_state
@as_json
def status(me: Profile, state: Path, as_json: bool) -> None:
    """What is in the book, without naming anybody."""
    with _book(me, state) as book:
        counts = book.counts()
        row = (book.agreement or "-", *counts.values())
    listing(("agreement", *(name.replace("_", " ") for name in counts)), [row], as_json=as_json)


@gateway.command("held", es="Lo que una persona debe mirar: no se envió, y por qué.")
@as_member
@in_state
@as_json
def held(me: Profile, state: Path, as_json: bool) -> None:
    """What a person has to look at: it was not sent, and why. It names senders: for the gateway's people only."""
    with _book(me, state) as book:
        rows = [(*row[:4], row[5 if language() == "es" else 4]) for row in book.held()]
    listing(("collection", "object", "version", "code", "reason"), rows, as_json=as_json)


@gateway.command("disclose", es="Revela qué original representa un objeto de la pasarela; queda asentado antes.")
@as_member
@in_state
@argument("object_id", metavar="ID", help="The gateway's object.", es="El objeto de la pasarela.")
@option("--version", "version", help="Default: the newest.", es="Si falta: la más reciente.")
@option("--reason", required=True, help="For both countries' auditors to read.", es="Para que lo lean los auditores de ambos países.")  # fmt: skip
@option(
    "--output",
    "-o",
    type=new_file,
    required=True,
    help="File to write, mode 0600.",
    es="Archivo que escribir, modo 0600.",
)
def disclose(me: Profile, state: Path, object_id: str, version: str | None, reason: str, output: Path) -> None:
    """Disclose which original an object of the gateway stands for; the disclosure is recorded first.

    The file opens the commitment of this one object. The entry names the gateway, the object and the reason only.
    """
    if output.exists():
        raise Conflict(f"{output} is there already.", f"{output} ya existe.", code="exists", field="--output")
    with _book(me, state) as book:
        sent = book.sent(object_id, version)
    if sent is None:
        raise NotFound(
            f"The book has no {object_id} of that version.",
            f"El libro no tiene {object_id} en esa versión.",
            code="no-such-object",
            field="ID",
        )
    if Traces([sent.original_id]).found_in({"reason": reason}) is not None:
        raise Malformed(
            "The reason names the original; it would be in the log for good.",
            "El motivo nombra el original; quedaría en el registro para siempre.",
            field="--reason",
        )
    opening = Opening(
        object=sent.new_id,
        object_version=sent.version,
        attestation=sent.attestation,
        original=sent.original_id,
        original_version=sent.original_version,
        original_sha256=sent.original_sha256,
        salt=sent.salt.hex(),
    )
    leaves = asyncio.run(_record(me, opening, reason))
    save_secret(opening.encode(), output)
    say(f"{output}: recorded as {leaves}.", f"{output}: asentado en {leaves}.")


async def _record(me: Profile, opening: Opening, reason: str) -> str:
    async with me.client(SystemClock(), language()) as client:
        told = await client.disclose(
            {
                "attestation": opening.attestation,
                "object": opening.object,
                "version": opening.object_version,
                "salt": opening.salt,
                "sha256": opening.original_sha256,
                "reason": reason,
            }
        )
    return ", ".join(f"{one['log']}/{one['index']}" for one in told["leaves"])


@gateway.command("check", es="Demuestra sin conexión que una revelación abre el compromiso de una atestación.")
@argument("file", type=a_file, help="What `disclose` wrote.", es="Lo que escribió `disclose`.")
@argument("attestation", type=a_file, help="A file in which the gateway's attestation is.", es="Un archivo que contenga la atestación de la pasarela.")  # fmt: skip
@option("--original", type=a_file, help="Also that this is the original.", es="También que este es el original.")
def check(file: Path, attestation: Path, original: Path | None) -> None:
    """Prove offline that a disclosure opens what an attestation committed to. Verify the attestation with `puente verify`."""
    opening = Opening.read(file.read_bytes())
    there = [one for one in read_objects(attestation) if isinstance(one, dict) and one.get("id") == opening.attestation]
    if not there:
        raise NotFound(
            f"{attestation} does not hold {opening.attestation}.",
            f"{attestation} no contiene {opening.attestation}.",
            code="no-such-object",
            field="ATTESTATION",
        )
    shown = read_objects(original) if original is not None else [None]
    origin = opening.prove(there[0], shown[0])
    say(
        f"{opening.object} stands for {opening.original} of {origin.country}.",
        f"{opening.object} representa a {opening.original} de {origin.country}.",
    )


def _book(me: Profile, state: Path) -> Book:
    if not (state / "book.sqlite").exists():
        raise NotFound(f"There is no book in {state}.", f"No hay libro en {state}.", code="no-book", field="--state")
    return Book(state, me.identity)


COMMANDS: tuple[click.Command, ...] = (gateway,)
