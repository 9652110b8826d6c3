"""The command line in both languages: every help text there, in a language of its own, and click's words with it."""

import ast
import gettext
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from exchange.cli import ledger
from exchange.cli.__main__ import WHERE, puente
from exchange.cli.output import COLUMNS
from exchange.cli.words import LOCALE, Argument, Command, Group, Option

ROOT = Path(__file__).resolve().parents[2]
SPANISH = {"LC_ALL": "es_MX.UTF-8", "LANG": "es_MX.UTF-8"}
ENGLISH = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, below in commands_of(command).items():
            yield from walk(below, (*path, name))


def commands_of(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


COMMANDS = dict(walk(puente))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_speaks_both_languages(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert isinstance(command, Command | Group), path
    spoken = [command, *command.params]
    for one in spoken:
        assert isinstance(one, Command | Option | Argument), one
        assert one.text.en and one.text.es, one
        assert one.text.en != one.text.es, one
    english, spanish = (
        CliRunner(env=env).invoke(puente, [*path, "--help"], prog_name="puente").output for env in (ENGLISH, SPANISH)
    )
    assert english.startswith("Usage: puente")
    assert spanish.startswith("Uso: puente")
    assert "Show this message and exit." not in spanish
    assert not re.search(r"\[(default|required|env var)|; required\]", spanish), spanish


def test_the_front_doors_know_every_command() -> None:
    known = {(module, name) for where in (WHERE, ledger.WHERE) for name, module in where.items()}
    modules = {module: importlib.import_module(f"exchange.cli.{module}") for module, _ in known}
    assert {(name, command.name) for name, module in modules.items() for command in module.COMMANDS} == known


def test_who_submits_does_not_load_the_hub() -> None:
    loaded = "import sys, exchange.cli.__main__ as door; door.puente.get_command(None, 'submit'); print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert "exchange.client" in names
    assert not {"exchange.hub", "exchange.store.sqlite", "exchange.intake.examine"} & set(names)


def test_clicks_own_words_are_compiled_from_their_source() -> None:
    source = (LOCALE / "es/LC_MESSAGES/puente.po").read_text()
    pairs = dict(re.findall(r'^msgid "(.+)"\nmsgstr "(.+)"$', source, re.MULTILINE))
    compiled = gettext.translation("puente", LOCALE, ["es"])
    assert len(pairs) > 25
    for english, spanish in pairs.items():
        assert compiled.gettext(english) == spanish
    for one, many, first, second in re.findall(
        r'^msgid "(.+)"\nmsgid_plural "(.+)"\nmsgstr\[0\] "(.+)"\nmsgstr\[1\] "(.+)"$', source, re.MULTILINE
    ):
        assert [compiled.ngettext(one, many, count) for count in (1, 2)] == [first, second]
    # And nothing else is in it: it was not compiled from another edition.
    plurals = len(re.findall(r"^msgid_plural", source, re.MULTILINE))
    assert len(compiled._catalog) == len(pairs) + 2 * plurals + 1  # type: ignore[attr-defined]


def test_a_mistake_is_told_in_the_readers_language() -> None:
    assert "Falta el argumento 'SLUG'" in CliRunner(env=SPANISH).invoke(puente, ["token", "create"]).output
    assert "No existe el comando 'nada'" in CliRunner(env=SPANISH).invoke(puente, ["nada"]).output
    assert "Missing argument 'SLUG'" in CliRunner(env=ENGLISH).invoke(puente, ["token", "create"]).output


def test_columns_have_spanish_names() -> None:
    same = {english for english, spanish in COLUMNS.items() if english == spanish}
    assert same == {"alias", "id", "sha256", "tlp", "token"}


def test_no_table_has_a_head_without_a_spanish_name() -> None:
    heads = [
        call.args[0]
        for module in (ROOT / "exchange" / "cli").glob("*.py")
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("table", "listing")
    ]
    words = {one.value for head in heads for one in getattr(head, "elts", ()) if isinstance(one, ast.Constant)}
    assert len(words) > 60
    assert words <= COLUMNS.keys()


PAGES = [ROOT / "README.md", ROOT / "README.es.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "docker-compose.yml"]
PAGES += [ROOT / "certs/README.md", ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_the_documents_name_exists(page: Path) -> None:
    text = page.read_text()
    found = re.findall(
        r"(?:`|dev |\n\s+|exec hub-a |\[\")puente ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)([^`\n#&|]*)", text
    )
    assert (
        len(found) > 8 or page.name not in ("README.md", "README.es.md", "operations.md") or page.parent.name == "certs"
    )
    for words, rest in found:
        command: click.Command = puente
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            below = commands_of(command)
            assert word in below, f"{page.name}: puente {words}"
            command = below[word]
        known = {name for param in command.params for name in param.opts}
        for name in re.findall(r"(?<=\s)--?[a-z][a-z0-9-]*", f" {words} {rest}"):
            assert name in known, f"{page.name}: puente {words} … {name}"
