"""`puente audit`: the auditor's questions, asked of a verified copy, of the hub as an auditor, or at the hub's own files."""

import asyncio
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import orjson

from exchange.auditing.answers import QUESTIONS, Answer, Mark, answer, seal, unseal
from exchange.auditing.copies import Unverified, compare, open_copy
from exchange.auditing.folds import Question
from exchange.auditing.rows import Asked, moment
from exchange.cli import profile
from exchange.cli.admin import at_hub
from exchange.cli.asking import as_whom, at_network
from exchange.cli.desk_pages import csv_text, foundation, html_text, remarks
from exchange.cli.ledger import read_policies
from exchange.cli.output import advance, listing, machine, progress, say, spanish, spoken, table
from exchange.cli.profile import Profile
from exchange.cli.setup import OPERATOR
from exchange.cli.words import Command, Group, a_folder, argument, as_json, in_home, option
from exchange.clock import SystemClock
from exchange.errors import Malformed, Text, Unavailable
from exchange.ledger.entry import LOGS
from exchange.ledger.events import QUESTIONS as TEXTS
from exchange.ledger.generations import current, in_order
from exchange.ledger.note import Policy
from exchange.times import as_text
from exchange.web.services import Services

PAGE = "1000"
_BACK = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Place:
    """Where a question is asked."""

    home: Path
    copy: Path | None
    who: str | None
    policy: Path | None

    def policies(self) -> dict[str, Policy]:
        if self.policy is None:
            raise Malformed(
                "An answer is checked with your own witness policies: give --policy.",
                "La respuesta se verifica con sus propias políticas de testigos: indique --policy.",
                code="policy-missing",
                field="--policy",
            )
        return read_policies(self.policy)


# --- where answers come from ---


def answered(place: Place, asked: Asked) -> tuple[list[Answer], list[str], list[bytes]]:
    """The answer's pages, what vouches for each, and their bytes. Raises Unverified for a copy that does not verify."""
    if place.copy is not None:
        return _of_copy(place.copy, place.policies(), asked)
    if place.who is not None:
        return _of_hub(Profile.load(profile.find(place.home, place.who)), place.policies(), asked)
    return at_hub(place.home, lambda services: _of_home(services, asked))


def _of_copy(directory: Path, policies: dict[str, Policy], asked: Asked) -> tuple[list[Answer], list[str], list[bytes]]:
    source, marks = open_copy(directory, policies)
    with progress(asked.question) as bar:
        found = asyncio.run(answer(asked, source, marks, on_progress=lambda done, total: advance(bar, done, total)))
    return [found], [], [found.encode()]


async def _of_home(services: Services, asked: Asked) -> tuple[list[Answer], list[str], list[bytes]]:
    """All logs, as they are on the hub's own machine up to their newest signed checkpoints, or closed. It is an operator's act."""
    trees, origins = await services.store.trees(), services.publisher.origins
    rows = [trees[log] if trees[log].closed else await services.store.checkpoint(log) for log in in_order(trees)]
    marks = [Mark(row.log, origins[row.log], row.size, row.root.hex()) for row in rows if row is not None]
    found = await answer(asked, services.store, marks)
    body = seal(found.encode(), await services.publisher.voucher())
    words = {"asked": asked.told, "rows": len(found.rows), "sha256": sha256(body).hexdigest()}
    await services.records.read_here(OPERATOR, asked.question, [mark.log for mark in marks], words=words)
    return [found], _seal_lines(body), [body]


def _of_hub(me: Profile, policies: dict[str, Policy], asked: Asked) -> tuple[list[Answer], list[str], list[bytes]]:
    """Page after page, each under the hub's seal, which is checked before anything in it is used."""
    keys = policies[current(policies)["both"]].logs
    query = {name: str(value) for name, value in asked.told.items()} | {"limit": PAGE}
    pages: list[Answer] = []
    seals: list[str] = []
    bodies: list[bytes] = []
    following: dict[str, str] = {}
    while True:
        body = at_network(me, lambda client: client.audit(asked.question, query | following))  # noqa: B023  # run at once
        page = unseal(body, keys)
        if page.head["asked"] != asked.told or page.head["question"] != asked.question:
            raise Unavailable(
                "The hub answered another question.", "El centro respondió otra consulta.", code="hub-answer"
            )
        pages.append(page)
        bodies.append(body)
        seals += _seal_lines(body)
        if not page.end["next"]:
            return pages, seals, bodies
        following = {"next": page.end["next"]}


def _seal_lines(body: bytes) -> list[str]:
    note: str = orjson.loads(body.splitlines()[-1])["note"]
    return [line for line in note.splitlines() if line]


def _joined(pages: Sequence[Answer]) -> Answer:
    rows = [row for page in pages for row in page.rows]
    return Answer(pages[0].head, rows, {**pages[-1].end, "rows": len(rows)})


# --- how they are shown ---


def show(place: Place, asked: Asked, form: str) -> None:
    """Ask, and print the answer in one of its forms."""
    try:
        pages, seals, bodies = answered(place, asked)
    except Unverified as refused:
        _tell_unverified(refused)
        sys.exit(1)
    whole = _joined(pages)
    if form == "jsonl":
        click.echo(b"".join(bodies).decode(), nl=False)
    elif form == "json":
        machine({**whole.head, "rows": whole.rows, "end": whole.end, "seals": seals})
    elif form == "csv":
        click.echo(csv_text(whole, seals), nl=False)
    elif form == "html":
        click.echo(html_text(whole, seals), nl=False)
    else:
        _print(whole, seals)


def _print(whole: Answer, seals: Sequence[str]) -> None:
    table(whole.columns, [[_short(name, row[name]) for name in whole.columns] for row in whole.rows])
    totals = whole.end["totals"]
    if totals:
        click.echo()
        table(tuple(totals[0]), [tuple(one.values()) for one in totals])
    click.echo()
    for one in remarks(whole):
        say(f"· {one}", f"· {one}")
    for fact in _judged(whole):
        say(fact, fact)
    for line in foundation(whole, seals):
        say(line, line)


def _short(name: str, value: Any) -> str:
    """Digests and times are cut for the eye; the other forms have them whole."""
    text = str(value)
    if name in ("sha256", "items_root", "signer", "key", "transform") and len(text) > 16:
        return f"{text[:15]}…"
    return text[:19] + "Z" if name in ("time", "available", "seen", "acknowledged", "had") and len(text) == 27 else text


def _judged(whole: Answer) -> list[str]:
    """What `why` says of today: the clauses of the agreement in force."""
    found = whole.end.get("judgement") or {}
    head = "today, by" if not spanish() else "hoy, según"
    return [
        f"{head} {found['agreement']}: {one['collection']} {one['version']}: {one['effect']} ({one['clause']}): {one['reason']}"
        for one in found.get("placements", ())
    ]


def _tell_unverified(refused: Unverified) -> None:
    for one in refused.findings:
        say(f"✗ {one.file}: {one.code}: {one.en}", f"✗ {one.file}: {one.code}: {one.es}", err=True)
    say(
        "This copy does not verify. Nothing is answered from it.",
        "Esta copia no se verifica. Con ella no se responde nada.",
        err=True,
    )


# --- the commands ---


class _InOrder(Group):
    """Lists its commands as they were added: in the order of the questions."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    es="Las consultas de quien audita, respondidas con el registro. Los números son los de docs/auditing.es.md.",
)
def audit() -> None:
    """The auditor's questions, answered from the log. The numbers are those of docs/auditing.md."""


def _back(text: str | None, field: str) -> str:
    """A time, or one so long ago: 24h, 30d."""
    if text is None:
        return ""
    match = _BACK.fullmatch(text)
    if match is None:
        return moment(text, field)
    return as_text(SystemClock().now_us() - int(match[1]) * _SECONDS[match[2]] * 1_000_000)


def _seed(sample: int, seed: str) -> str:
    return seed or (secrets.token_hex(8) if sample else "")


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    in_home,
    as_whom(required=False),
    option("--copy", type=a_folder, help="Ask this copy, once it verifies; no hub is needed.", es="Consulta esta copia, una vez verificada; no requiere el centro."),
    option("--policy", type=a_folder, help="Your own witness policies: needed with --copy and --as.", es="Sus propias políticas de testigos: necesarias con --copy y --as."),
    option("--since", help="At or after: 2026-11-24T12:00:00Z, 24h, 30d.", es="Desde: 2026-11-24T12:00:00Z, 24h, 30d."),
    option("--until", help="Before.", es="Antes de."),
    option("--log", type=click.Choice(LOGS), help="Entries of this log.", es="Asientos de este registro."),
    option("--collection", default="", help="Of this collection, by id or alias.", es="De esta colección, por id o alias."),
    option("--sample", default=0, type=click.IntRange(0, 10_000), help="So many rows, drawn by --seed.", es="Tantas filas, sorteadas según --seed."),
    option("--seed", default="", help="What the sample is drawn by; without it one is made. It is shown and recorded.", es="Semilla del sorteo; si falta, se genera. Se muestra y se asienta."),
    option("--format", "form", default="table", show_default=True, type=click.Choice(("table", "csv", "jsonl", "html")), help="How it is written.", es="Cómo se escribe."),
    as_json,
)  # fmt: skip


def _run(question: Question) -> Callable[..., None]:
    def run(
        home: Path, who: str | None, copy: Path | None, policy: Path | None, since: str | None, until: str | None,
        form: str, as_json: bool, sample: int, seed: str, log: str | None, **words: str,
    ) -> None:  # fmt: skip
        asked = Asked(
            question.name, since=_back(since, "--since"), until=_back(until, "--until"), sample=sample,
            seed=_seed(sample, seed), log=log or "", **words,
        )  # fmt: skip
        show(Place(home, copy, who, policy), asked, "json" if as_json else form)

    return run


_SUBJECTS = {
    "object": Text("The object's STIX id.", "El id STIX del objeto."),
    "to": Text("The member it is asked about.", "El miembro por el que se pregunta."),
    "member": Text("The member's short name.", "Nombre corto del miembro."),
}


def _command(question: Question) -> Command:
    number = f"({question.number}) " if question.number else ""
    run = _run(question)
    for decorate in reversed(_OPTIONS):
        run = decorate(run)
    if "member" not in question.takes:
        run = option("--member", default="", help="About this member.", es="Sobre este miembro.")(run)
    for name in question.may_take:
        run = option(f"--{name}", default="", help=_SUBJECTS[name].en, es=_SUBJECTS[name].es)(run)
    for name in reversed(question.takes):
        run = argument(name, help=_SUBJECTS[name].en, es=_SUBJECTS[name].es)(run)
    run.__doc__ = f"{number}{question.about.en}"
    return click.command(question.name, cls=Command, es=f"{number}{question.about.es}")(run)


for _question in QUESTIONS.values():
    audit.add_command(_command(_question))


_VERDICTS = {
    "same": Text("the same", "iguales"),
    "earlier": Text("theirs is an earlier head of yours", "la otra es un estado anterior de la suya"),
    "later": Text("yours is an earlier head of theirs", "la suya es un estado anterior de la otra"),
    "fork": Text("NOT of one history: keep both, they are signed evidence", "NO son de una misma historia: conserve ambas, son evidencia firmada"),
    "unproved": Text("theirs is larger, and does not show its entries", "la otra es mayor y no muestra sus asientos"),
}  # fmt: skip


@audit.command("compare", help=f"(15) {TEXTS[15].en}", es=f"(15) {TEXTS[15].es}")
@argument("copy", type=a_folder, help="Your copy.", es="Su copia.")
@argument(
    "other",
    type=a_folder,
    help="The other copy, or a folder with no more than LOG/checkpoint files.",
    es="La otra copia, o una carpeta que solo tenga archivos LOG/checkpoint.",
)
@option(
    "--policy", type=a_folder, required=True, help="Your own witness policies.", es="Sus propias políticas de testigos."
)
@as_json
def compare_copies(copy: Path, other: Path, policy: Path, as_json: bool) -> None:
    try:
        found = compare(copy, other, read_policies(policy))
    except Unverified as refused:
        _tell_unverified(refused)
        sys.exit(1)
    rows = [
        (one.log, one.size, one.other_size, one.verdict if as_json else spoken(_VERDICTS[one.verdict]), "" if one.first is None else one.first)
        for one in found
    ]  # fmt: skip
    listing(("log", "entries", "other entries", "verdict", "first difference"), rows, as_json=as_json)
    sys.exit(0 if all(one.agrees for one in found) else 1)


COMMANDS: tuple[click.Command, ...] = (audit,)
