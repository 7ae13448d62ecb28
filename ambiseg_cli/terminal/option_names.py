"""The library's messages in the command line's terms: a parameter in backticks becomes the command's option."""

import re
from collections.abc import Mapping
from typing import Any

NAME = re.compile(r"(?<!version: )`(\w+)`")  # "... of another version: `rows`" is the key of a document
running: dict[str, str] = {}  # how the user of the running command writes each of its parameters


def names_of(command: Any) -> dict[str, str]:
    """How the user of a command writes each of its parameters: `--lung-mask` for an option, `SCAN` for an argument."""
    return {parameter.name: _written(parameter) for parameter in command.params if parameter.name}


def begin(command: Any) -> None:
    """Use the names of this command from now on."""
    running.clear()
    running.update(names_of(command))


def spoken(text: str, names: Mapping[str, str] = running) -> str:
    """Text with each backticked parameter in `names` as the user writes it; all other text stays as it is.

    >>> spoken("Give `lung_mask`, or run `ambiseg data info`.", {"lung_mask": "--lung-mask"})
    'Give --lung-mask, or run `ambiseg data info`.'
    """
    return NAME.sub(lambda found: names.get(found[1], found[0]), text)


def _written(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0]))
