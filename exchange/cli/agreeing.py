"""The life of an agreement at a terminal: propose it with its impact, approve that, bring it into force; tighten at once."""

import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from certs.jcs import canonical, load
from certs.keys import load_key, read_certificate, replace_file
from exchange.api.agreements import pending as as_told
from exchange.cli import setup
from exchange.cli.admin import at_hub
from exchange.cli.output import listing, machine, say, table, word
from exchange.cli.words import a_file, argument, as_json, command, in_home, new_file, option
from exchange.errors import Malformed
from exchange.governance.approvals import Words, of_agreement, of_overlay, sign
from exchange.governance.drafts import Draft
from exchange.rules import Rules
from exchange.web.services import Services
from policies.agreement import Agreement, AgreementError, parse_toml
from policies.agreement import load as load_agreement
from policies.overlay import SCHEMA as OVERLAY
from policies.overlay import Overlay, parse_overlay

IMPACT_LIMIT_BYTES = 20_000_000

the_document = argument("file", type=a_file, help="The agreement, TOML.", es="El acuerdo, en TOML.")
the_approvals = option(
    "--approval", "approvals", type=a_file, multiple=True, required=True,
    help="A file that `agreement approve` wrote; repeatable.", es="Un archivo que escribió `agreement approve`; puede repetirse.",
)  # fmt: skip
LINE = ("direction", "recipient", "kind", "clause", "labels", "objects")


def as_read(file: Path) -> Agreement:
    """The agreement, or every mistake in it and the end."""
    try:
        return load_agreement(file.read_bytes())
    except AgreementError as error:
        _told(file, error)


def _told(file: Path, error: AgreementError) -> NoReturn:
    for one in error.findings:
        say(f"{file}:{one.line or '-'}: {one.where}: {one.en}", f"{file}:{one.line or '-'}: {one.where}: {one.es}")
    sys.exit(1)


@command("propose", es="Presenta una versión al centro y calcula su impacto, que se aprueba junto con ella.")
@in_home
@the_document
@option(
    "--output", "-o", type=new_file,
    help="Write the impact here, and each country's opening beside it.",
    es="Escribe aquí el impacto, y junto a él la apertura de cada país.",
)  # fmt: skip
def propose(home: Path, file: Path, output: Path | None) -> None:
    """Put a version to the hub as a draft and compute its impact, which is approved with it."""
    as_read(file)
    document = file.read_bytes()

    async def work(services: Services) -> Draft:
        return await services.agreements.propose(setup.OPERATOR, document)

    draft = at_hub(home, work)
    impact, openings = orjson.loads(draft.row.impact), orjson.loads(draft.row.openings)
    lines = [*impact["cross_border"], *(line for one in openings.values() for line in one["lines"])]
    shown = [{**line, "kind": word(line["kind"])} for line in lines]
    table(LINE, [tuple(line[name] for name in LINE) for line in shown])
    if output is not None:
        replace_file(output, draft.row.impact)
        for country, opening in openings.items():
            replace_file(output.with_suffix(f".{country.lower()}{output.suffix}"), canonical(opening))
    say(
        f"{draft.name} is a draft. sha256 {draft.row.sha256}, impact {draft.row.impact_sha256}",
        f"{draft.name} queda como proyecto. sha256 {draft.row.sha256}, impacto {draft.row.impact_sha256}",
    )
    what = output or "IMPACT"
    say(
        f"Next, by approvers of both countries: puente agreement approve {file} --impact {what} --key … --cert … -o …",
        f"Después, por personas aprobadoras de ambos países: puente agreement approve {file} --impact {what} --key … --cert … -o …",
        err=True,
    )


@command("approve", es="Firma una versión con su impacto, o una restricción de urgencia, como persona aprobadora.")
@the_document
@option(
    "--impact", type=a_file, help="As `agreement propose` wrote it.", es="Tal como lo escribió `agreement propose`."
)
@option("--key", type=a_file, required=True, help="The approver's key.", es="La clave de quien aprueba.")
@option("--cert", type=a_file, required=True, help="Its certificate.", es="Su certificado.")
@option(
    "--refuse",
    is_flag=True,
    help="Sign a refusal: it takes back one's approval.",
    es="Firma un rechazo: retira la aprobación propia.",
)
@option(
    "--lift",
    is_flag=True,
    help="Sign that a tightening in force ends before its time.",
    es="Firma que una restricción en vigor termina antes de plazo.",
)
@option("--output", "-o", type=new_file, help="Default: standard output.", es="Si falta: la salida estándar.")
def approve(
    file: Path, impact: Path | None, key: Path, cert: Path, refuse: bool, lift: bool, output: Path | None
) -> None:
    """Sign a version with its impact, or a tightening, as an approver: these bytes, from this date. Needs no hub."""
    words, decision = _words(file, impact)
    if lift and decision != "tighten":
        raise _not_a_tightening()
    signed = sign(
        words,
        decision="refuse" if refuse else "lift" if lift else decision,
        key=load_key(key),
        certificate=read_certificate(cert.read_bytes()),
    )
    if output is None:
        click.echo(signed.encode().decode())
        return
    replace_file(output, signed.encode() + b"\n")
    said = signed.words
    say(
        f"Signed “{said['decision']}” as {said['approver']}: {output}",
        f"Firmado «{said['decision']}» como {said['approver']}: {output}",
    )


def _not_a_tightening() -> Malformed:
    return Malformed(
        "Only a tightening can be lifted; this is an agreement.",
        "Solo puede levantarse una restricción; esto es un acuerdo.",
        field="--lift",
    )


def _words(file: Path, impact: Path | None) -> tuple[Words, str]:
    """What there is to sign, and the word for it."""
    data = file.read_bytes()
    try:
        if parse_toml(data)[1].get("schema") == OVERLAY:
            return of_overlay(parse_overlay(data)), "tighten"
        found = load_agreement(data)
    except AgreementError as error:
        _told(file, error)
    if impact is None:
        raise Malformed(
            "A version is approved with its impact; give --impact.",
            "Una versión se aprueba con su impacto; indique --impact.",
            field="--impact",
        )
    return of_agreement(found, _impact_of(found, impact)), "approve"


def _impact_of(found: Agreement, file: Path) -> str:
    data = file.read_bytes()
    value = load(data, max_bytes=IMPACT_LIMIT_BYTES)
    if not isinstance(value, dict) or value.get("policy_sha256") != found.sha256:
        raise Malformed(
            "This is the impact of another document.",
            "Este es el impacto de otro documento.",
            code="impact-other",
            field="--impact",
        )
    return sha256(canonical(value)).hexdigest()


@command(
    "activate", es="Entrega aprobaciones al centro; con las de ambos países, la versión entra en vigor en su fecha."
)
@in_home
@the_document
@the_approvals
def activate(home: Path, file: Path, approvals: tuple[Path, ...]) -> None:
    """Hand approvals to the hub, which keeps them; with those of both countries the version comes into force on its date."""
    found = as_read(file)

    given = [path.read_bytes() for path in approvals]

    async def work(services: Services) -> tuple[Draft, Rules]:
        draft = await services.agreements.approve(setup.OPERATOR, found.sha256, given)
        return draft, await services.rulebook.current()

    draft, rules = at_hub(home, work)
    if rules.agreed == draft.agreement:
        say(f"{draft.name} is in force.", f"{draft.name} está en vigor.")
        return
    standing = draft.standing(rules)
    kept = ", ".join(name for names in standing.approved.values() for name in names)
    say(f"Kept the approvals of: {kept}", f"Se guardaron las aprobaciones de: {kept}")
    standing.must_be_enough()
    since = draft.agreement.effective_from
    say(f"{draft.name} is scheduled for {since}.", f"{draft.name} está programado para {since}.")


@command(
    "tighten", es="Pone en vigor de inmediato una restricción de un solo país: solo prohibiciones, por poco tiempo."
)
@in_home
@the_document
@the_approvals
def tighten(home: Path, file: Path, approvals: tuple[Path, ...]) -> None:
    """Put one country's restriction in force at once: forbids only, for a short while, signed by its own threshold."""
    document = file.read_bytes()

    async def work(services: Services) -> Overlay:
        return await services.agreements.tighten(setup.OPERATOR, document, [path.read_bytes() for path in approvals])

    made = at_hub(home, work)
    say(
        f"{made.overlay_id} of {made.country} is in force until {made.expires}.",
        f"{made.overlay_id} de {made.country} está en vigor hasta {made.expires}.",
    )


@command("lift", es="Levanta antes de plazo una restricción de un solo país, con las firmas de ese mismo país.")
@in_home
@the_document
@the_approvals
def lift(home: Path, file: Path, approvals: tuple[Path, ...]) -> None:
    """End one country's restriction before its time, signed by that country's own threshold (`agreement approve --lift`)."""
    document = file.read_bytes()

    async def work(services: Services) -> Overlay:
        return await services.agreements.lift(setup.OPERATOR, document, [path.read_bytes() for path in approvals])

    ended = at_hub(home, work)
    say(f"{ended.overlay_id} of {ended.country} is lifted.", f"{ended.overlay_id} de {ended.country} queda levantada.")


@command("pending", es="Las versiones en camino: quién las ha aprobado y desde cuándo regirán.")
@in_home
@as_json
def pending(home: Path, as_json: bool) -> None:
    """Versions on their way: who has approved them, and from when they will hold."""

    async def ask(services: Services) -> list[dict[str, Any]]:
        rules = await services.rulebook.current()
        return [as_told(one, rules, None) for one in await services.agreements.pending()]

    found = at_hub(home, ask)
    if as_json:
        machine(found)
        return
    rows = [
        (
            one["agreement"],
            word(one["state"]),
            one["effective_from"],
            " ".join(name for names in one["approved"].values() for name in names),
            one["sha256"],
        )
        for one in found
    ]
    listing(("agreement", "state", "since", "approved by", "sha256"), rows, as_json=False)


COMMANDS: tuple[click.Command, ...] = (propose, approve, activate, tighten, lift, pending)
