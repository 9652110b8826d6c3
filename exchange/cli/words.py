"""Help in both languages: English is the docstring and `help`; Spanish stands beside it as `es`, and must be there.

click's own words (“Usage”, “Missing option”) come from locale/es/LC_MESSAGES/puente.po. After a change there, run
`msgfmt -o puente.mo puente.po` beside it; a test compares the two.
"""

import gettext
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from exchange.cli.output import spoken
from exchange.errors import Text

F = TypeVar("F", bound=Callable[..., Any])

LOCALE = Path(__file__).parent / "locale"
DOMAIN = "puente"

gettext.bindtextdomain(DOMAIN, str(LOCALE))
gettext.textdomain(DOMAIN)


class Command(click.Command):
    """A command whose help is in the reader's language. `es` is the Spanish of its docstring."""

    def __init__(self, *args: Any, es: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.text = Text(inspect.cleandoc(self.help or ""), es)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.help = spoken(self.text)
        super().format_help_text(ctx, formatter)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        found = super().get_help_option(ctx)
        if found is not None:
            found.help = gettext.gettext(
                "Show this message and exit."
            )  # click keeps the first language it was asked in
        return found

    def get_short_help_str(self, limit: int = 45) -> str:
        self.help = spoken(self.text)
        return super().get_short_help_str(limit)


class Group(Command, click.Group):
    """A group whose commands are of our kind, too."""

    command_class = Command


class FrontDoor(Group):
    """A group whose commands are loaded when they are asked for: each needs little of all that there is.

    `where`: by the name of a command, the module of this package whose COMMANDS have it.
    """

    def __init__(self, *args: Any, where: Mapping[str, str], **more: Any) -> None:
        super().__init__(*args, **more)
        self.where = where

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.where:
            return None
        module = import_module(f"exchange.cli.{self.where[cmd_name]}")
        commands: tuple[click.Command, ...] = module.COMMANDS
        return next(one for one in commands if one.name == cmd_name)


class Option(click.Option):
    """An option whose help is in the reader's language."""

    def __init__(self, *args: Any, es: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.text = Text(self.help or "", es)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = spoken(self.text)
        return super().get_help_record(ctx)


class Argument(click.Argument):
    """An argument whose help is in the reader's language."""

    def __init__(self, *args: Any, es: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.text = Text(self.help or "", es)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        self.help = spoken(self.text)
        return super().get_help_record(ctx)


def command(name: str | None = None, *, es: str) -> Callable[[F], Command]:
    return click.command(name, cls=Command, es=es)


def group(name: str | None = None, *, es: str, **more: Any) -> Callable[[F], Group]:
    return click.group(name, cls=Group, es=es, **more)


def option(*names: str, help: str, es: str, **more: Any) -> Callable[[F], F]:  # noqa: A002  # click's word
    return click.option(*names, cls=Option, help=help, es=es, **more)


def argument(name: str, *, help: str, es: str, **more: Any) -> Callable[[F], F]:  # noqa: A002  # click's word
    return click.argument(name, cls=Argument, help=help, es=es, **more)


a_file = click.Path(path_type=Path, exists=True, dir_okay=False)
a_folder = click.Path(path_type=Path, exists=True, file_okay=False)
new_file = click.Path(path_type=Path, dir_okay=False)
new_folder = click.Path(path_type=Path, file_okay=False)

in_home = option(
    "--home", "home", type=new_folder, default=Path("var"), show_default=True,
    help="Directory that `puente init` made.", es="Directorio que creó `puente init`.",
)  # fmt: skip
as_json = option(
    "--json", "as_json", is_flag=True, help="One JSON value for machines.", es="Un valor JSON para máquinas."
)
of_member = argument("slug", help="The member's short name.", es="Nombre corto del miembro.")
