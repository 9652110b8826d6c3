"""What a mistake in an agreement document is, and where it stands: the line, and the place in words."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake in a document."""

    code: str
    """Stable, kebab-case."""
    line: int | None
    """Counted from 1; None when it is in no one place."""
    where: str
    """The path in the document, tables of one name counted from 1: "permit 2, when.tlp.max"."""
    en: str
    es: str


class AgreementError(ValueError):
    """The document is not a sound agreement. `findings` has at least one entry."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(f"{one.where}: {one.en}" for one in findings))
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Mistake:
    """A finding before its line is known."""

    code: str
    path: Path
    en: str
    es: str


def locate(mistakes: Iterable[Mistake], text: str) -> list[Finding]:
    """The mistakes with their lines, in the order of the file, each once."""
    told = list(mistakes)
    lines = line_index(text) if told else {}  # a sound document is read often, and its lines are of no interest
    found = [Finding(one.code, _line(lines, one.path), _where(one.path), one.en, one.es) for one in told]
    return sorted(dict.fromkeys(found), key=lambda one: (one.line or 0, one.where, one.code))


_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY: Final = re.compile(r"\s*([\w.\"'> -]+?)\s*=")
_QUOTES: Final = re.compile(r'"""|\'\'\'')


def line_index(text: str) -> dict[Path, int]:
    """Where each table and key of a TOML text begins, by its path. Inline tables count with the key they stand at.

    A scan of lines, not a parser: good enough to point a person to the place, and never used to judge.
    """
    found: dict[Path, int] = {}
    arrays: dict[str, int] = {}
    table: Path = ()
    in_string = False
    for number, line in enumerate(text.splitlines(), 1):
        was_in_string = in_string
        in_string ^= len(_QUOTES.findall(line)) % 2 == 1
        if was_in_string:
            continue
        if header := _HEADER.match(line):
            table = _table_path(header[2], arrays, opens=header[1] == "[[")
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            path = table
            for part in _split(key[1]):
                path = (*path, part)
                found.setdefault(path, number)
    return found


def _table_path(name: str, arrays: dict[str, int], *, opens: bool) -> Path:
    parts = _split(name)
    if opens:
        arrays[parts[0]] = arrays.get(parts[0], -1) + 1
    if parts[0] in arrays:
        return (parts[0], arrays[parts[0]], *parts[1:])
    return parts


def _split(name: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _line(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of the path, or of the nearest thing around it."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _where(path: Path) -> str:
    words: list[str] = []
    for part in path:
        if isinstance(part, int):
            words[-1] += f" {part + 1}"
        else:
            words.append(part)
    if len(words) > 1 and len(path) > 1 and isinstance(path[1], int):
        return f"{words[0]}, {'.'.join(words[1:])}"
    return ".".join(words) or "document"
