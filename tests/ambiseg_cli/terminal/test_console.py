"""Printed text stays plain text, whatever names it contains."""

import io
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from ambiseg.preprocessing.errors import InputError
from ambiseg.terminal import console as printed
from ambiseg.terminal.console import Labels, PlainConsole, emit_json, failures_table, progress, visible

NAMES = (
    "\x1b]0;x\x07",
    "\x1b[2J",
    "[red]x[/]",
    "[link=http://a]b[/link]",
    ":smile:",
    "\u202egnp.exe",
    "a\nError: b",
    "\x9b31m",
)
NAMES = (*NAMES, "\u2066x", "a\rb", "\x00", "\udcff", "a\u2028b", "\u200fx", "\x7f")


@dataclass(frozen=True)
class Failure:
    case: str
    reason: str


def shown(*renderables: object, terminal: bool = False) -> str:
    """What a console of ours prints, with its own styles left out."""
    file = io.StringIO()
    console = PlainConsole(
        file=file, width=200, markup=False, emoji=False, soft_wrap=True, highlighter=Labels(), force_terminal=terminal
    )
    for one in renderables:
        console.print(one)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())


def is_plain(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" or category(letter) == "Zs" for letter in text)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_and_never_obeyed(name: str, terminal: bool) -> None:
    table = Table("case", title=name, caption=name)
    table.add_row(name)
    table.add_row(Text(name))
    text = shown(f"Note: {name}", table, failures_table([Failure(name, name)]), terminal=terminal)
    assert is_plain(text)
    assert text.splitlines()[0] == f"Note: {visible(name)}"
    assert text.count(visible(name)) >= 5


@given(st.text(max_size=30))
def test_any_text_is_one_printable_line(name: str) -> None:
    assert is_plain(visible(name))
    assert "\n" not in visible(name)
    assert shown(name).rstrip("\n").count("\n") == 0


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), max_size=30))
def test_readable_text_is_printed_as_it_is(name: str) -> None:
    assert visible(name) == name


def test_only_the_word_at_the_beginning_has_a_colour() -> None:
    file = io.StringIO()
    console = PlainConsole(
        file=file, width=80, markup=False, highlighter=Labels(), force_terminal=True, color_system="standard"
    )
    console.print("Error: no Note: here")
    assert file.getvalue() == "\x1b[1;31mError:\x1b[0m no Note: here\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_progress_display_obeys_no_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(printed, "console", PlainConsole(file=file, width=200, markup=False, emoji=False))
    with progress() as display:
        display.add_task(name, total=1, rate=name)
    assert is_plain(file.getvalue())
    assert "0/1" in file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_json_holds_a_name_escaped(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"name": name})
    text = capsys.readouterr().out
    assert text.isascii()
    assert is_plain(text)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_about_a_name_is_one_plain_line(
    name: str, tmp_path: Path, ambiseg: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = ambiseg("data", "info", name.replace("\x00", "\x01"))
    assert code == 3
    assert is_plain(said)
    assert said.startswith("Error: No dataset store at")
    assert said.count("\n") == 1


def test_a_table_below_an_error_has_its_lines(
    ambiseg: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise pickle.loads(pickle.dumps(InputError("Choose one:", "  1  a\nb", "  2  c")))  # as a worker sends it

    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", fail)
    code, _, said = ambiseg("evaluate")
    assert (code, said) == (3, "Error: Choose one:\n  1  a\\nb\n  2  c\n")
