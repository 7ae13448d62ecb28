"""The reference of the command line, read from the typer application."""

from collections.abc import Iterator
from typing import Any

import typer
from markup import code, plain, table

from ambiseg.main import app


def command_line() -> str:
    """Every command with its usage, arguments and options, as Markdown."""
    return "\n".join(_sections(typer.main.get_command(app), "ambiseg", None))


def _sections(command: Any, name: str, parent: typer.Context | None) -> Iterator[str]:
    context = typer.Context(command, info_name=command.name if parent else name, parent=parent)
    yield f"## `{name}`\n"
    yield from (plain(paragraph) + "\n" for paragraph in (command.help or "").split("\n\n"))
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    if not command.help:
        raise ValueError(f"The command `{name}` has no help text: give its function a docstring.")
    subcommands = {key: value for key, value in getattr(command, "commands", {}).items() if not value.hidden}
    if subcommands:
        rows = ([_link(f"{name} {key}"), _first(one)] for key, one in subcommands.items())
        yield table(["command", "what it does"], rows)
    for kind in ("argument", "option"):
        yield from _parameters(command, context, kind)
    for key, value in subcommands.items():
        yield from _sections(value, f"{name} {key}", context)


def _parameters(command: Any, context: typer.Context, kind: str) -> Iterator[str]:
    chosen = [one for one in command.get_params(context) if one.param_type_name == kind]
    records = [(one, one.get_help_record(context)) for one in chosen if not getattr(one, "hidden", False)]
    for one, record in records:
        if record is None or not one.help:
            raise ValueError(f"`{one.name}` of `{context.command_path}` has no help text.")
    if records:
        yield table([kind, "meaning"], ([code(record[0]), plain(record[1])] for _, record in records))


def _first(command: Any) -> str:
    return plain((command.help or "").split("\n\n")[0])


def _link(name: str) -> str:
    return f"[{code(name)}](#{name.replace(' ', '-')})"
