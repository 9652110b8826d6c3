"""Sharing agreements at a terminal: check, approve and adopt a document; explain who gets an object, by which clause."""

import sys
from pathlib import Path
from typing import Any

import click

from certs.jws import sign_document, split_detached
from certs.keys import load_key, read_certificate, replace_file, thumbprint
from exchange.cli import profile, setup
from exchange.cli.admin import as_json, at_hub, in_home
from exchange.cli.asking import as_whom, at_network, yes
from exchange.cli.output import language, machine, plain, say, spanish, table
from exchange.cli.profile import Profile
from exchange.cli.words import a_file, argument, command, group, new_file, option
from exchange.clock import SystemClock
from exchange.errors import NotPermitted
from exchange.governance.registry import APPROVAL_TYPE, approval_payload
from exchange.model.member import Country
from exchange.release.explain import explain as explained
from exchange.store.contract import AgreementRow
from exchange.times import as_text
from exchange.web.services import Services
from policies.agreement import Agreement, AgreementError, load, run_tests
from policies.warnings import warnings

the_document = argument("file", type=a_file, help="The agreement, TOML.", es="El acuerdo, en TOML.")


@group(es="Quién puede recibir qué, tal como lo firmaron ambos países.")
def agreement() -> None:
    """Who may have what, as both countries signed it."""


@agreement.command(
    "check", es="Lee un documento, nombra cada error con su línea y ejecuta las pruebas del propio documento."
)
@the_document
def check(file: Path) -> None:
    """Read a document, name every mistake with its line, and run the document's own tests."""
    found = _read(file)
    failed = [result for result in run_tests(found) if not result.passed]
    for result in failed:
        click.echo(f"✗ {result.name}", err=True)
    if failed:
        sys.exit(1)
    passed = len(run_tests(found))
    say(
        f"{found.agreement_id} version {found.version} is well-formed; {passed} of its own tests pass. sha256 {found.sha256}",
        f"{found.agreement_id} versión {found.version} está bien formado; pasan {passed} de sus pruebas. sha256 {found.sha256}",
    )
    for one in warnings(found, now=as_text(SystemClock().now_us()), text=file.read_text("utf-8")):
        say(f"Note: {file}:{one.line}: {one.en}", f"Aviso: {file}:{one.line}: {one.es}")


def _read(file: Path) -> Agreement:
    try:
        return load(file.read_bytes())
    except AgreementError as error:
        for one in error.findings:
            say(f"{file}:{one.line or '-'}: {one.where}: {one.en}", f"{file}:{one.line or '-'}: {one.where}: {one.es}")
        sys.exit(1)


@agreement.command(
    "approve", es="Firma un acuerdo como persona aprobadora: este documento, estos bytes, desde esta fecha."
)
@the_document
@option("--key", type=a_file, required=True, help="The approver's key.", es="La clave de quien aprueba.")
@option("--cert", type=a_file, required=True, help="Its certificate.", es="Su certificado.")
@option("--output", "-o", type=new_file, help="Default: standard output.", es="Si falta: la salida estándar.")
def approve(file: Path, key: Path, cert: Path, output: Path | None) -> None:
    """Sign an agreement as an approver: this document, these bytes, from this date. Writes a detached JWS."""
    found = _read(file)
    payload = approval_payload(found.agreement_id, found.version, found.sha256, found.effective_from)
    certificate = read_certificate(cert.read_bytes())
    jws = sign_document(payload, typ=APPROVAL_TYPE, key=load_key(key), certificate=certificate)
    if output is None:
        click.echo(jws)
        return
    replace_file(output, jws.encode() + b"\n")
    say(f"Approved sha256 {found.sha256}: {output}", f"Aprobado sha256 {found.sha256}: {output}")


@agreement.command("adopt", es="Pone en vigor un acuerdo con las aprobaciones de ambos países.")
@in_home
@the_document
@option(
    "--approval", "approvals", type=a_file, multiple=True, required=True,
    help="A file that `agreement approve` wrote; repeatable.", es="Un archivo que escribió `agreement approve`; puede repetirse.",
)  # fmt: skip
def adopt(home: Path, file: Path, approvals: tuple[Path, ...]) -> None:
    """Take an agreement into force, with both countries' approvals."""
    document = file.read_bytes()
    _read(file)
    given = {path: path.read_text().strip() for path in approvals}

    async def work(services: Services) -> AgreementRow:
        trust = (await services.rulebook.current()).trust
        approvers = {cc.value: trust.approvers(cc) if trust is not None else [] for cc in Country}
        sorted_out: dict[str, list[str]] = {}
        for path, jws in given.items():
            name = split_detached(jws, typ=APPROVAL_TYPE)[1].thumbprint
            country = next((cc for cc, known in approvers.items() if name in map(thumbprint, known)), None)
            if country is None:
                raise NotPermitted(
                    f"{path} is by nobody whom the trust list names as an approver.",
                    f"{path} no es de nadie que la lista de confianza nombre como persona aprobadora.",
                    code="approval-unknown",
                    field="--approval",
                )
            sorted_out.setdefault(country, []).append(jws)
        return await services.governance.adopt_agreement(setup.OPERATOR, document, sorted_out)

    row = at_hub(home, work)
    say(f"{row.name} is in force.", f"{row.name} está en vigor.")


@agreement.command("show", es="El acuerdo en vigor en el centro, cláusula por cláusula.")
@in_home
@as_json
def show(home: Path, as_json: bool) -> None:
    """The agreement in force at the hub, clause by clause."""

    async def ask(services: Services) -> Agreement:
        return (await services.rulebook.current()).in_force

    found = at_hub(home, ask)
    facts = {
        "agreement": found.agreement_id, "version": found.version, "sha256": found.sha256,
        "effective_from": found.effective_from, "expires": found.expires,
    }  # fmt: skip
    clauses = [*found.permits, *found.forbids]
    if as_json:
        texts = [{"id": one.id, "kind": one.kind, "en": one.en, "es": one.es} for one in clauses]
        machine({**facts, "clauses": texts})
        return
    table(("what", "value"), facts.items())
    table(("clause", "kind", "what it said"), [(one.id, one.kind, one.es if spanish() else one.en) for one in clauses])


@command(es="Si un miembro puede recibir un objeto, según qué cláusula, y qué dijo cada una de las demás.")
@in_home
@as_whom(required=False)
@option(
    "--object",
    "object_id",
    required=True,
    help="Id of an object that the hub holds.",
    es="Id de un objeto que el centro guarda.",
)
@option("--to", "slug", required=True, help="The member who would receive it.", es="El miembro que lo recibiría.")
@as_json
def explain(home: Path, who: str | None, object_id: str, slug: str, as_json: bool) -> None:
    """Whether a member may have an object, by which clause, and what every other clause said.

    With a profile (--as) the hub is asked over the network, and tells what that member may know; without, its own files.
    """

    async def ask(services: Services) -> dict[str, Any]:
        return await explained(services.store, services.release, services.rulebook, None, object_id, slug, language())

    if who is not None:
        answer = at_network(Profile.load(profile.find(home, who)), lambda client: client.explain(object_id, slug))
    else:
        answer = at_hub(home, ask)
    if as_json:
        machine(answer)
        return
    for placed in answer["placements"]:
        click.echo(plain(f"{placed['collection']} {placed['version']}: {placed['reason']}"))
        rows = [(one["rule"], one["kind"], yes(one["matched"]), one["text"]) for one in placed["trace"]]
        table(("clause", "kind", "applies", "what it said"), rows)


COMMANDS: tuple[click.Command, ...] = (agreement, explain)
