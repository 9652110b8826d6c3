"""Sharing agreements at a terminal: check a document, explain who gets an object and by which clause."""

import sys
from pathlib import Path

import click

from exchange.cli.admin import as_json, at_hub, in_home
from exchange.cli.output import machine, say, spanish, table
from exchange.errors import NotFound
from exchange.release.grants import Grants
from exchange.web.services import Services
from policies.agreement import load
from policies.decide import Decision, run_tests
from policies.findings import AgreementError
from policies.label import Label


@click.group()
def agreement() -> None:
    """Who may have what, as both countries signed it."""


@agreement.command("check")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def check(file: Path) -> None:
    """Read a document, name every mistake with its line, and run the document's own tests."""
    try:
        found = load(file.read_bytes())
    except AgreementError as error:
        for one in error.findings:
            say(f"{file}:{one.line or '-'}: {one.where}: {one.en}", f"{file}:{one.line or '-'}: {one.where}: {one.es}")
        sys.exit(1)
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


@click.command()
@in_home
@click.option("--object", "object_id", required=True, help="Id of an object that the hub holds.")
@click.option("--to", "slug", required=True, help="The member who would receive it.")
@as_json
def explain(home: Path, object_id: str, slug: str, as_json: bool) -> None:
    """Whether a member may have an object, by which clause, and what every other clause said."""

    async def ask(services: Services) -> list[tuple[Label, Decision]]:
        rules, epochs = await services.rulebook.glance()
        member = rules.registry.members.get(slug)
        rows = {row.id: row for row in await services.store.labels()}
        held = await services.store.held(object_id)
        if member is None or not held:
            raise NotFound("There is no such member or object.", "No existe ese miembro u objeto.")
        grants = Grants(services.store)
        labels = sorted({label for one in held for _, label in one.placements})
        found = [(grants.label(rows[one]), await grants.decision(rules, epochs, member, one)) for one in labels]
        return [(label, decision) for label, decision in found if decision is not None]

    answers = at_hub(home, ask)
    language = "es" if spanish() else "en"
    if as_json:
        machine([
            {"collection": label.collection, "effect": d.effect, "view": d.view, "clause": d.clause, "reason": d.reason(language)}
            for label, d in answers
        ])  # fmt: skip
        return
    for label, decision in answers:
        click.echo(f"{label.collection}: {decision.reason(language)}")
        rows = [(step.rule, step.kind, step.es if spanish() else step.en) for step in decision.trace]
        table(("clause", "kind", "what it said"), rows)


COMMANDS: tuple[click.Command, ...] = (agreement, explain)
