"""Library messages name parameters as Python does; the terminal names the options of the command that runs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from ambiseg.main import app
from ambiseg.preprocessing.errors import UsageError
from ambiseg.terminal.option_names import names_of, spoken

Ambiseg = Callable[..., tuple[int, str, str]]


def commands() -> Iterator[Any]:
    """Every command that does something."""
    waiting = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        inner = getattr(command, "commands", None)
        waiting += (inner or {}).values()
        if inner is None:
            yield command


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.name)
def test_every_parameter_becomes_what_its_user_writes(command: Any) -> None:
    names = names_of(command)
    assert names
    for parameter in command.params:
        said = spoken(f"Give `{parameter.name}`.", names)
        if parameter.param_type_name == "argument":
            assert said == f"Give {parameter.metavar or parameter.name.upper()}."
        else:
            assert said.removeprefix("Give ").removesuffix(".") in parameter.opts
            assert said.startswith("Give --")


def test_other_text_in_backticks_stays() -> None:
    names = {"data": "--data", "lung_mask": "--lung-mask"}
    for text in (
        "run `ambiseg data info`",
        "`masks` is no parameter here",
        "data and lung_mask without backticks",
        "a document of another version: `data`: expected a text",
    ):
        assert spoken(text, names) == text
    assert spoken("`lung_mask` and `data`", names) == "--lung-mask and --data"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate",), "Error: Give --device or MODEL, not `lung_mask`."),
        (("model", "onnx"), "Error: Give `device` or `model`, not `lung_mask`."),
    ],
)
def test_errors_are_worded_for_the_command_that_failed(
    ambiseg: Ambiseg, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise UsageError("Give `device` or `model`, not `lung_mask`.")

    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", fail)
    monkeypatch.setattr("ambiseg.models.bundle.find_model", fail)
    code, _, err = ambiseg(*words)
    assert (code, err) == (2, f"{said}\n")
