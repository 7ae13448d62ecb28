"""Options of every command, before its name or after it: how much is printed, and whether an error shows its traceback."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ambiseg.preprocessing.errors import DataError

from . import option_names
from .console import console


def _be_quiet(wanted: bool) -> None:
    console.quiet = console.quiet or wanted


def _be_frank(wanted: bool) -> None:
    if wanted:
        os.environ[FRANK] = "1"


FRANK, PANEL = "AMBISEG_DEBUG", "Options of every command"
Quiet = Annotated[
    bool,
    typer.Option(
        "-q",
        "--quiet",
        help="Print errors only, without progress and notes.",
        callback=_be_quiet,
        expose_value=False,
        rich_help_panel=PANEL,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show the traceback of an error.",
        callback=_be_frank,
        expose_value=False,
        rich_help_panel=PANEL,
    ),
]


class Everywhere(TyperGroup):
    """The command line. It gives its own -q and --debug to each command and each group of commands in it."""

    def __init__(self, **about: Any):
        super().__init__(**about)
        shared = [option for option in self.params if option.name in ("quiet", "debug")]
        for command in self.commands.values():
            _extend(command, shared)

    def main(self, *arguments: Any, **more: Any) -> Any:
        """Run it. Its options hold for this run alone, whatever this process runs before or after it."""
        os.environ.pop(FRANK, None)
        option_names.running.clear()
        try:
            return super().main(*arguments, **more)
        finally:
            console.quiet = False

    def invoke(self, ctx: Any) -> Any:
        """Run the command. An unexpected end of a file is an error, not a request to exit, as typer takes it."""
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise DataError(f"A file ends too early ({error}): get the input again.") from error


def _extend(command: Any, shared: list[Any]) -> None:
    """Add options to a command, or to a group and all commands in it, and word messages in the command's terms."""
    command.params += shared
    inner = getattr(command, "commands", None)
    if inner is None:
        command.callback = _announced(command, command.callback)
    for each in (inner or {}).values():
        _extend(each, shared)


def _announced(command: Any, callback: Callable[..., Any]) -> Callable[..., Any]:
    """The callback of a command. While it runs, and when it has failed, messages name its options."""

    @wraps(callback)
    def run(*arguments: Any, **more: Any) -> Any:
        option_names.begin(command)
        return callback(*arguments, **more)

    return run
