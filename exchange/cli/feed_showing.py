"""How sources and what comes of them are shown to people: within a terminal's width, and with what to do next."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from exchange.cli.output import language, plain, say, table, word
from exchange.times import parse_us
from feeds.catalogue import Source
from feeds.report import HELD, Papers

WIDTH_AT_MOST = 110
_WELL = ("ok", "paused")

# --- how each fares ---


def standing(papers: Papers, cadence_seconds: int, now_us: int) -> dict[str, Any]:
    """One source's row. `lag` is the time since its last good run, in seconds; what is held, refused and skipped stands so
    now, whichever run it came from."""
    one = papers.last()
    lag = (now_us - parse_us(one["last_good"])) // 1_000_000 if one.get("last_good") else None
    late = cadence_seconds and (lag is None or lag > 2 * cadence_seconds)
    status = f"failed {one['faults']}" if one["faults"] else "late" if late else "ok"
    held = one["refused"].get(HELD, 0)
    ran = {"held": held, "refused": sum(one["refused"].values()) - held, "skipped": sum(one["skipped"].values())}
    return {
        "source": one["source"], "status": "paused" if papers.pause_file.exists() else status, "last_run": one["ended"][:19],
        "last_good": one.get("last_good", "")[:19] or "-", "lag": lag if lag is not None else "-", "records": one["records"],
        "accepted": one["accepted"], "unchanged": one["unchanged"], "revoked": one["revoked"], **(one.get("left") or ran),
        "fault": one["fault"]["code"] if one["fault"] else "-", "why": one["fault"][language()] if one["fault"] else "",
        "every": cadence_seconds,
    }  # fmt: skip


def is_well(row: Mapping[str, Any]) -> bool:
    return row["status"] in _WELL


def show_standing(rows: Sequence[Mapping[str, Any]], options: str = "") -> None:
    """`options`: of the commands that are named, as ` --state DIR`."""
    head = ("source", "status", "last run", "lag", "records", "accepted", "held", "refused", "skipped")
    table(head, [(
        one["source"], _worded(one["status"]), one["last_run"][:16].replace("T", " "), _ago(one["lag"]), one["records"],
        one["accepted"], one["held"], one["refused"], one["skipped"],
    ) for one in rows])  # fmt: skip
    for one in rows:
        if one["why"]:
            tell_fault(one["source"], one["why"])
        elif one["status"] == "late":
            lag, every = _ago(one["lag"]), _ago(one["every"])
            say(
                f"{one['source']}: read well {lag} ago, and due every {every}. Does `puente feed run --forever` run?",
                f"{one['source']}: leída bien hace {lag}, y toca cada {every}. ¿Está en marcha `puente feed run --forever`?",
            )
    tell_left([one["source"] for one in rows if one["held"] or one["refused"] or one["skipped"]], options)


def tell_fault(source: str, why: str, *, err: bool = False) -> None:
    say(f"{source}: {why} Look: puente feed test {source}", f"{source}: {why} Vea: puente feed test {source}", err=err)


def tell_left(sources: Sequence[str], options: str = "", *, err: bool = False) -> None:
    """Where it is said what was left out of these."""
    if sources:
        of = (f" {sources[0]}" if len(sources) == 1 else "") + options
        say(
            f"What was left out, and why: puente feed errors{of}",
            f"Qué quedó fuera, y por qué: puente feed errors{of}",
            err=err,
        )


def _worded(status: str) -> str:
    name, _, count = status.partition(" ")
    return f"{word(name)} {count}".rstrip()


def _ago(seconds: object) -> str:
    """A span in its largest unit, in the same words in both languages."""
    if not isinstance(seconds, int):
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


# --- what there is, and what would come of it ---


def show_source(one: Source, last_run: str) -> None:
    """One source of the catalogue."""
    calls = word(one.calls) if one.calls in ("public", "this machine") else one.calls
    about = (
        one.adapter, f"TLP:{one.tlp.upper()}", f"{word('every')} {_ago(one.cadence_seconds)} → {one.collection}",
        f"{word('calls')} {calls}", f"{word('read')} {last_run[:16].replace('T', ' ')}" if last_run else word("not read yet"),
    )  # fmt: skip
    click.echo(click.style(one.name, bold=True) + "  " + plain(", ".join(about)))
    _lines(one.good_for(language()))
    _lines(f"{one.publisher}. {one.licence}.")


def show_left_out(source: str, name: str, version: str, code: str, reason: str) -> None:
    """One object or record that was left out."""
    click.echo(click.style(source, bold=True) + "  " + plain(f"{name}  {version}".rstrip(" -")))
    _lines(f"{code}: {reason}")


def show_object(obj: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """One STIX object, as whoever maps a source reads it; `--json` has all of it. `names`: of objects shown, by id."""
    title = str(obj.get("name", obj.get("value", "")))
    if obj["type"] == "relationship":
        title = f"{_name(obj['source_ref'], names)} {obj['relationship_type']} {_name(obj['target_ref'], names)}"
    click.echo(click.style(plain(obj["type"]), bold=True) + "  " + plain(title))
    for text in (obj.get("pattern"), obj.get("description"), obj.get("definition", {}).get("statement")):
        if text:
            _lines(str(text)[:500])
    facts = [f"{name} {obj[name]}" for name in ("valid_from", "valid_until", "confidence") if name in obj]
    facts += [
        ", ".join(map(str, obj[name])) for name in ("indicator_types", "labels", "malware_types") if obj.get(name)
    ]
    if facts:
        _lines("; ".join(facts))


def _name(object_id: str, names: Mapping[str, str]) -> str:
    return names.get(object_id, object_id)


def _lines(text: str) -> None:
    width = min(shutil.get_terminal_size().columns, WIDTH_AT_MOST)
    for line in _wrapped(plain(text), width):
        click.echo(line)


def _wrapped(text: str, width: int) -> Iterable[str]:
    return textwrap.wrap(text, max(width, 40), initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
