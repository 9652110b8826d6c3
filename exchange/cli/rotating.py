"""A log's own key at a terminal: `puente ledger rotate-key`, step by step."""

from collections.abc import Iterable
from pathlib import Path

import click

from certs.keys import replace_file, save_secret
from exchange.cli.admin import at_hub
from exchange.cli.output import listing, say
from exchange.cli.setup import OPERATOR, Home
from exchange.cli.words import argument, as_json, group, in_home, option
from exchange.governance.log_keys import LogKeys, with_key
from exchange.hub import witness_policies
from exchange.ledger.entry import LOGS
from exchange.ledger.generations import current, kind
from exchange.ledger.note import Policy, new_log_key
from exchange.ledger.signing import KeyFiles
from exchange.store.answers import LogKeyRow
from exchange.web.services import Services

the_log = argument("log", type=click.Choice(LOGS), help="The log.", es="El registro.")


def _open(log: str, known: Iterable[str]) -> str:
    """The generation of a log that is signed now."""
    return current(known)[log]


def _now(services: Services, log: str) -> str:
    return _open(log, services.publisher.vkeys)


def _keys(services: Services) -> LogKeys:
    return LogKeys(services.store, services.sequencer, services.publisher, services.records)


@group("rotate-key", es="Reemplaza la llave con que se firma un registro, sin cerrar su origen: new, begin, finish.")
def rotate_key() -> None:
    """Replace the key that a log is signed with, without closing its origin: new, begin, finish."""


@rotate_key.command(
    "new", es="Crea una llave que todavía no firma nada, y la agrega a la política de testigos de este centro."
)
@in_home
@the_log
def make(home: Path, log: str) -> None:
    """Make a key that signs nothing yet, and add it to this hub's own witness policy."""
    settings = Home(home).settings()
    files, log = KeyFiles(settings.keys), _open(log, witness_policies(settings))
    key = new_log_key(files.main(log).name)
    path = files.path(log, key)
    save_secret(key.encode().encode() + b"\n", path)
    policy = settings.witness_policy / kind(log)
    new = with_key(policy.read_text(), key.verifier)
    Policy.parse(new)
    replace_file(policy, new.encode())
    click.echo(key.vkey)
    say(
        f"Kept in {path}, and listed in {policy}. Bring both files to every machine of the hub, and start its processes again; have"
        " every witness of the log trust the key (puente witness trust), and hand it to all who verify, as one more line of their"
        f" policies. Then: puente ledger rotate-key begin {kind(log)} {key.vkey}",
        f"Guardada en {path} y listada en {policy}. Lleve ambos archivos a cada máquina del centro y reinicie sus procesos; haga que"
        " cada testigo del registro confíe en la llave (puente witness trust) y entréguela a quienes verifican, como una línea más de"
        f" sus políticas. Después: puente ledger rotate-key begin {kind(log)} {key.vkey}",
        err=True,
    )


@rotate_key.command("begin", es="Desde aquí ambas llaves firman el registro.")
@in_home
@the_log
@argument("vkey", help="Of the new key, as `new` printed it.", es="De la llave nueva, como la mostró `new`.")
def begin(home: Path, log: str, vkey: str) -> None:
    """From here on both keys sign the log."""
    rotation = at_hub(home, lambda services: _keys(services).begin(OPERATOR, _now(services, log), vkey))
    click.echo(rotation.note, nl=False)
    say(
        f"Both keys sign log {log} from here on. When its witnesses know the new one: puente ledger rotate-key finish {log}",
        f"Desde aquí ambas llaves firman el registro {log}. Cuando sus testigos conozcan la nueva: puente ledger rotate-key finish {log}",
        err=True,
    )


@rotate_key.command(
    "finish", es="Desde aquí solo firma la llave nueva. Antes se pregunta a los testigos si la conocen."
)
@in_home
@the_log
def finish(home: Path, log: str) -> None:
    """From here on the new key alone signs. The witnesses are asked first whether they know it."""
    new, lacking = at_hub(home, lambda services: _keys(services).finish(OPERATOR, _now(services, log)))
    settings = Home(home).settings()
    files, log = KeyFiles(settings.keys), _open(log, witness_policies(settings))
    key = files.find(log, new)
    path = files.path(log, key) if key is not None else files.directory
    move = f"\n    mv {path} {files.place(log)}"  # to be copied: nothing may stand behind it
    say(f"{new} signs log {log} alone. Old notes need the old key's line in policies. On every machine:{move}",
        f"{new} firma sola el registro {log}. Las notas anteriores requieren la línea de la llave anterior en las políticas."
        f" En cada máquina:{move}")  # fmt: skip
    if lacking:
        names = ", ".join(lacking)
        say(f"Do not know the new key, or did not answer, and cosign no more until they do: {names}.",
            f"No conocen la llave nueva o no respondieron, y no cofirman mientras tanto: {names}.", err=True)  # fmt: skip


@rotate_key.command("abort", es="La llave anterior vuelve a firmar sola, mientras la rotación no haya terminado.")
@in_home
@the_log
def abort(home: Path, log: str) -> None:
    """The key before signs alone again, as long as the rotation is not finished."""
    new = at_hub(home, lambda services: _keys(services).abort(OPERATOR, _now(services, log)))
    say(f"Signs no more, and never did alone: {new}.", f"Ya no firma, y nunca lo hizo sola: {new}.")


@rotate_key.command("show", es="Qué llaves firman cada registro, desde qué tamaño y hasta cuál.")
@in_home
@option("--log", type=click.Choice(LOGS), help="That log alone.", es="Solo ese registro.")
@as_json
def show(home: Path, log: str | None, as_json: bool) -> None:
    """Which keys sign each log, from which size on and up to which."""

    async def ask(services: Services) -> list[LogKeyRow]:
        opened = [one for one in services.publisher.vkeys if log in (None, kind(one))]
        return [row for one in opened for row in await _keys(services).rows(one)]

    still = None if as_json else "–"
    rows = [(row.log, row.key, row.since, still if row.until is None else row.until) for row in at_hub(home, ask)]
    listing(("log", "key", "since", "until"), rows, as_json=as_json)


COMMANDS: tuple[click.Command, ...] = (rotate_key,)
"""Of `puente ledger`."""
