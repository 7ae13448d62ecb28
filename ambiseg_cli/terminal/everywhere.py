"""Options that every command takes, before its name or after it: how much is said, and whether an error shows its traceback."""

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
        help="No progress and no notes, errors only.",
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
    """The command line: gives its own -q and --debug to each command and each group of commands in it."""

    def __init__(self, **about: Any):
        super().__init__(**about)
        shared = [option for option in self.params if option.name in ("quiet", "debug")]
        for command in self.commands.values():
            _extend(command, shared)

    def main(self, *arguments: Any, **more: Any) -> Any:
        """Run it; what was asked for holds for this run alone, whatever this process runs before or after it."""
        os.environ.pop(FRANK, None)
        option_names.running.clear()
        try:
            return super().main(*arguments, **more)
        finally:
            console.quiet = False

    def invoke(self, ctx: Any) -> Any:
        """Run the command. The end of a file where none should be is no wish to leave, as typer takes it."""
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise DataError(f"A file ends too early ({error}): get the input again.") from error


def _extend(command: Any, shared: list[Any]) -> None:
    """Add options to a command, or to a group of commands and all that is in it; errors are to be told in its terms."""
    command.params += shared
    inner = getattr(command, "commands", None)
    if inner is None:
        command.callback = _announced(command, command.callback)
    for each in (inner or {}).values():
        _extend(each, shared)


def _announced(command: Any, callback: Callable[..., Any]) -> Callable[..., Any]:
    """The callback of a command, by whose parameters messages are worded while it runs and when it has failed."""

    @wraps(callback)
    def run(*arguments: Any, **more: Any) -> Any:
        option_names.begin(command)
        return callback(*arguments, **more)

    return run
