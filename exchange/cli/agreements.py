"""Sharing agreements at a terminal: check and try a document, read those at the hub, explain who gets an object and why."""

import sys
from pathlib import Path
from typing import Any

import click

from exchange.api.agreements import clauses
from exchange.cli import agreeing, comparing, profile
from exchange.cli.admin import at_hub
from exchange.cli.agreeing import as_read, the_document
from exchange.cli.asking import as_whom, at_network, yes
from exchange.cli.output import language, listing, machine, plain, say, spanish, spoken, table, word
from exchange.cli.profile import Profile
from exchange.cli.words import as_json, command, group, in_home, option
from exchange.clock import SystemClock
from exchange.errors import Text
from exchange.release.explain import explain as explained
from exchange.rules import agreement_of
from exchange.store.changes import AgreementRow
from exchange.times import as_text
from exchange.web.services import Services
from policies.agreement import Agreement, run_tests
from policies.warnings import warnings

_HELD, _BROKEN = Text("held", "se respeta"), Text("exceeded", "se rebasa")


@group(es="Quién puede recibir qué, tal como lo firmaron ambos países.")
def agreement() -> None:
    """Who may have what, as both countries signed it."""


@agreement.command(
    "check", es="Lee un documento, nombra cada error con su línea y ejecuta las pruebas del propio documento."
)
@the_document
def check(file: Path) -> None:
    """Read a document, name every mistake with its line, and run the document's own tests."""
    found = as_read(file)
    failed = [result for result in run_tests(found) if not result.passed]
    for result in failed:
        say(f"✗ {result.name.en}", f"✗ {result.name.es}", err=True)
    if failed:
        sys.exit(1)
    passed = len(run_tests(found))
    say(
        f"{found.agreement_id} version {found.version} is well-formed; {passed} of its own tests pass. sha256 {found.sha256}",
        f"{found.agreement_id} versión {found.version} está bien formado; pasan {passed} de sus pruebas. sha256 {found.sha256}",
    )
    for one in warnings(found, now=as_text(SystemClock().now_us()), text=file.read_text("utf-8")):
        say(f"Note: {file}:{one.line}: {one.en}", f"Aviso: {file}:{one.line}: {one.es}")
    say(
        f"Next, at a hub: puente agreement diff in-force {file}; puente agreement propose {file} -o impact.json",
        f"Después, en un centro: puente agreement diff in-force {file}; puente agreement propose {file} -o impact.json",
        err=True,
    )


@agreement.command("test", es="Ejecuta las pruebas del propio documento y muestra qué se decidió en cada una.")
@the_document
@as_json
def test(file: Path, as_json: bool) -> None:
    """Run the document's own tests and show what was decided in each."""
    results = run_tests(as_read(file))
    if as_json:
        machine([
            {
                "passed": one.passed, "effect": one.decision.effect, "clause": one.decision.clause,
                "name": {"en": one.name.en, "es": one.name.es}, "unmet": [unmet._asdict() for unmet in one.unmet],
            }
            for one in results
        ])  # fmt: skip
    else:
        tongue = language()
        table(("passed", "effect", "clause", "name", "fault"), [
            (
                yes(one.passed), word(one.decision.effect), one.decision.clause, getattr(one.name, tongue),
                "; ".join(getattr(unmet, tongue) for unmet in one.unmet),
            )
            for one in results
        ])  # fmt: skip
    if not all(one.passed for one in results):
        sys.exit(1)


@agreement.command("show", es="El acuerdo en vigor en el centro, cláusula por cláusula.")
@in_home
@as_json
def show(home: Path, as_json: bool) -> None:
    """The agreement in force at the hub, clause by clause."""

    async def ask(services: Services) -> tuple[Agreement, list[str]]:
        rules = await services.rulebook.current()
        return rules.in_force, [f"{one.overlay_id} ({one.expires})" for one in rules.overlays]

    found, overlays = at_hub(home, ask)
    facts = {
        "agreement": found.agreement_id, "version": found.version, "sha256": found.sha256,
        "effective_from": found.effective_from, "expires": found.expires, "tightened_by": ", ".join(overlays),
    }  # fmt: skip
    if as_json:
        machine({**facts, "clauses": clauses(found)})
        return
    table(("what", "value"), [(word(name), value) for name, value in facts.items() if value != ""])
    click.echo()
    texts = [*found.permits, *found.forbids]
    table(("clause", "kind", "text"), [(one.id, word(one.kind), one.es if spanish() else one.en) for one in texts])


@agreement.command("list", es="Todo lo que ha estado en vigor, y por qué dejó de estarlo.")
@in_home
@as_json
def history(home: Path, as_json: bool) -> None:
    """Everything that was ever in force, in order."""

    async def ask(services: Services) -> list[AgreementRow]:
        return await services.store.agreements()

    rows = [
        (
            row.number,
            row.name,
            row.cause if as_json else word(row.cause),
            as_text(row.adopted_us),
            agreement_of(row.document).sha256,
        )
        for row in at_hub(home, ask)
    ]
    listing(("number", "agreement", "cause", "since", "sha256"), rows, as_json=as_json)


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
    """Whether a member may have an object, by which clause, and what every other clause said; if not, what was nearest.

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
        rows = [(one["rule"], word(one["kind"]), _said(one), one["text"]) for one in placed["trace"]]
        table(("clause", "kind", "applies", "what it said"), rows)
        if placed["ends"]:
            table(("object", "what it said"), [(one["id"], one["text"]) for one in placed["ends"]])


def _said(step: dict[str, Any]) -> str:
    """What a clause did: of a ceiling, whether it held, for it applies to everything."""
    if step["kind"] == "ceiling":
        return spoken(_HELD if step["matched"] else _BROKEN)
    return yes(step["matched"])


@command(es="Qué puedo ver ahora y según qué cláusula.")
@in_home
@as_whom(required=True)
@as_json
def access(home: Path, who: str, as_json: bool) -> None:
    """What I may see now, and by which clause."""
    answer = at_network(Profile.load(profile.find(home, who)), lambda client: client.access())
    if as_json:
        machine(answer)
        return
    rows = [
        (one["collection"], clause["clause"], " ".join(clause["country"]), " ".join(clause["tlp"]),
         " ".join(clause["object_class"]), yes(clause["may_block"]), clause["text"])
        for one in answer["collections"]
        for clause in one["clauses"]
    ]  # fmt: skip
    table(("collection", "clause", "country", "tlp", "type", "may block", "what it said"), rows)


for _command in (*agreeing.COMMANDS, *comparing.COMMANDS, explain):
    agreement.add_command(_command)

COMMANDS: tuple[click.Command, ...] = (agreement, explain, access)
