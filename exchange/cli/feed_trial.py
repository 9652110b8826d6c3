"""`puente feed test`: one look at a source, and what would come of it; and how commands name sources."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import click

from exchange.cli.feed_showing import show_object
from exchange.cli.output import machine, say, spoken, table
from exchange.cli.words import F, a_file, argument, as_json, command, option
from exchange.clock import SystemClock
from exchange.errors import NotFound, Text
from exchange.intake.pattern import check_pattern
from exchange.intake.validate import validate
from exchange.intake.warninglists import Warninglists
from exchange.model.stix import SCO_TYPES
from exchange.times import as_millis_text
from feeds.adapter import Adapter, Fetched, Record, Skipped, load_adapter
from feeds.catalogue import Source, load, packaged, parse
from feeds.report import HELD, misshapen
from feeds.stable import stable
from feeds.values import Kind

SHOWN = 10
TRIED = 10_000
"""Objects that `feed test` looks at: enough to see what is wrong with a source, soon enough for a person."""

BLANK: dict[str, Any] = {
    "adapter": "stix", "publisher": "-", "licence": "-", "tlp": "amber", "collection": "indicators", "cadence_seconds": 3600,
    "good_for_en": "-", "good_for_es": "-",
}  # fmt: skip
"""What a source says of itself as long as nobody says more."""

in_catalogue = option(
    "--catalogue", type=a_file, help="A catalogue of one's own. Default: the one of this release.",
    es="Un catálogo propio. Si falta: el de esta versión.",
)  # fmt: skip
of_source = argument("name", metavar="SOURCE", help="Its name in the catalogue.", es="Su nombre en el catálogo.")


def sources(catalogue: Path | None) -> dict[str, Source]:
    return load(catalogue) if catalogue is not None else packaged()


def chosen(catalogue: Path | None, name: str) -> Source:
    known = sources(catalogue)
    if name not in known:
        raise NotFound(
            f"There is no source {name}; there are {', '.join(known)}.",
            f"No existe la fuente {name}; existen {', '.join(known)}.",
            code="no-source",
            field="SOURCE",
        )
    return known[name]


def named_by(catalogue: Path | None, location: str) -> str | None:
    """The source whose address that is, where the catalogue has it."""
    return next((name for name, one in sources(catalogue).items() if one.location == location), None)


def declared(function: F) -> F:
    """Options that say where a source is and how its rows are to be read; they arrive as fields and as `mapping`."""

    def with_mapping(**given: Any) -> Any:
        named = ("format", "kind", "value", "columns")
        mapping = {name: given.pop(name) for name in named}
        given["networks"] = list(given["networks"]) or None
        columns = mapping["columns"]
        mapping["columns"] = [one.strip() for one in columns.split(",")] if columns else None
        return function(**given, mapping={name: value for name, value in mapping.items() if value is not None})

    with_mapping.__name__, with_mapping.__doc__ = function.__name__, function.__doc__
    with_mapping.__dict__.update(function.__dict__)
    for add in (
        option("--columns", help="Names of its columns, by commas.", es="Nombres de sus columnas, separados por comas."),
        option("--value", help="The column with the value.", es="La columna con el valor."),
        option("--kind", type=click.Choice(get_args(Kind)), help="What its values are.", es="De qué clase son sus valores."),
        option(
            "--format", type=click.Choice(["lines", "csv", "json", "ndjson"]), help="How its rows are written.",
            es="Cómo están escritas sus filas.",
        ),
        option("--adapter", help="What reads it; with --format it is `mapped`.", es="Qué la lee; con --format es `mapped`."),
        option(
            "--network", "networks", multiple=True, metavar="CIDR",
            help="A private network it lies in, as 10.20.0.0/16; it then calls nothing else. May be repeated.",
            es="Una red privada en la que está, como 10.20.0.0/16; entonces no llama a nada más. Puede repetirse.",
        ),
        option("--location", help="An https URL, a file or a folder.", es="Una URL https, un archivo o una carpeta."),
    ):  # fmt: skip
        add(with_mapping)
    return with_mapping  # type: ignore[return-value]


@command(
    "test", es="Lee una fuente una vez y muestra qué saldría de ella y qué se retendría o rechazaría; no envía nada."
)
@in_catalogue
@argument(
    "name", metavar="[SOURCE|URL]", required=False, help="Its name in the catalogue, or its address.",
    es="Su nombre en el catálogo, o su dirección.",
)  # fmt: skip
@declared
@option(
    "--identity",
    default="identity--00000000-0000-4000-8000-000000000000",
    help="Whose objects they would be.",
    es="De quién serían los objetos.",
)
@as_json
def test(
    catalogue: Path | None, name: str | None, identity: str, as_json: bool, mapping: dict[str, Any], **given: Any
) -> None:
    """Read a source once, and show what would come of it and what would be held or refused; submits nothing.

    Judged is what an object shows by itself: STIX rules, patterns, known-good values. Signature,
    agreement and what the hub already holds are left to the hub.
    """
    if name is not None and "://" in name:
        given["location"], name = name, named_by(catalogue, name)
    row = chosen(catalogue, name).model_dump() if name is not None else {**BLANK, "name": "trial"}
    row |= {key: value for key, value in given.items() if value is not None}
    if mapping:
        row |= {"mapping": {**(row.get("mapping") or {}), **mapping}, "adapter": "mapped"}
    source = parse(row)
    adapter = load_adapter(source, identity)
    fetched = asyncio.run(adapter.fetch(source, {}))
    first: list[dict[str, Any]] = []
    wrong: list[tuple[str, str, str, str]] = []
    looked = 0
    lists, now = Warninglists.packaged(), as_millis_text(SystemClock().now_us())
    for found in islice(_objects(adapter, fetched, now), TRIED) if fetched is not None else ():
        if isinstance(found, Skipped):
            wrong.append((found.name, found.code, "", spoken(found.text)))
            continue
        looked += 1
        if looked <= SHOWN:
            first.append(found)
        wrong += [(str(found.get("id")), *one) for one in _faults(found, lists)][:1]
    _show(source.name, first, wrong, looked, as_json=as_json)
    sys.exit(1 if wrong else 0)


def _show(
    name: str, first: list[dict[str, Any]], wrong: list[tuple[str, str, str, str]], looked: int, *, as_json: bool
) -> None:
    held = Counter(row[1] for row in wrong)[HELD]
    if as_json:
        head = ("object", "code", "field", "reason")
        refused = [dict(zip(head, row, strict=True)) for row in wrong]
        machine({"source": name, "looked_at": looked, "held": held, "first": first, "refused": refused})
        return
    names = {one["id"]: f"{one['type']} {one['name']}" for one in first if "name" in one}
    for one in first:
        show_object(one, names)
    if wrong:
        table(("object", "code", "field", "reason"), wrong)
    say(
        f"{looked} objects looked at; {held} would be held, {len(wrong) - held} left out. Nothing was submitted.",
        f"{looked} objetos examinados; {held} quedarían retenidos y {len(wrong) - held} fuera. No se envió nada.",
    )


def _objects(adapter: Adapter, fetched: Fetched, now: str) -> Iterator[dict[str, Any] | Skipped]:
    for record in adapter.records(fetched):
        if isinstance(record, Skipped):
            yield record
            continue
        try:
            for obj in list(adapter.objects(Record(record.key, record.value, record.updated))):
                yield _dated(obj, now) if adapter.converts else obj
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            yield misshapen(record, error)


def _dated(obj: dict[str, Any], now: str) -> dict[str, Any]:
    """As the runner dates a first version."""
    if obj["type"] in SCO_TYPES:
        return stable(obj)
    made = {"created": now, **obj}
    if made["type"] != "marking-definition":
        made["modified"] = made["created"]
    if made["type"] == "indicator":
        made.setdefault("valid_from", made["created"])
    return stable(made)


def _faults(obj: dict[str, Any], lists: Warninglists) -> Iterator[tuple[str, str, str]]:
    """Why the hub would refuse the object, as far as it shows by itself: code, field, reason."""
    for finding in validate(obj):
        if finding.level == "reject":
            yield finding.code, finding.field, spoken(Text(finding.en, finding.es))
    if obj.get("type") != "indicator" or obj.get("pattern_type") != "stix":
        return
    for fault in check_pattern(obj["pattern"]):
        if fault.level == "reject":
            yield fault.code, "pattern", spoken(Text(fault.en, fault.es))
    for hit in lists.hits(obj["pattern"]):
        yield HELD if hit.action == "hold" else "warninglist", "pattern", f"{hit.value}: {hit.list_name}"
