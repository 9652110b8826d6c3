"""What people read at a terminal: tables, one-line results, progress; and JSON lines for machines."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import click
import orjson


def spanish() -> bool:
    """Whether the terminal's locale asks for Spanish."""
    return (os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or "").startswith("es")


def say(en: str, es: str) -> None:
    """One line in the reader's language."""
    click.echo(plain(es if spanish() else en))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need to be; control characters of the data are shown, not obeyed."""
    cells = [[plain(str(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def machine(value: Any) -> None:
    """One JSON value on one line."""
    click.echo(orjson.dumps(value).decode())


def plain(text: str) -> str:
    """Text with control and bidirectional signs made visible, so that data cannot steer the terminal."""
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)
