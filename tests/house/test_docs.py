"""The documentation is correct: links lead somewhere, commands exist with the options shown, Python snippets run."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from ambiseg.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def shown_commands(page: Path) -> list[list[str]]:
    """Every `ambiseg ...` command on a page: in shell blocks and in code within a line, continuation lines joined."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(ambiseg [^`]+)`", FENCE.sub("", text))
    found = [re.search(r"(?:^|[\s/&])ambiseg (.*)$", line.split("#")[0].strip()) for line in lines]
    return [shlex.split(match[1]) for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_shown_commands_exist(page: Path) -> None:
    for words in shown_commands(page):
        check_command(words, page.name)


def check_command(words: list[str], where: str) -> None:
    """Follow the words to a command and look up every option they name."""
    command = typer.main.get_command(app)
    words = [word for word in words if word != "..."]
    while hasattr(command, "commands") and words:
        if words[0].startswith("-"):
            break
        names = words.pop(0).split("|")
        for name in names:
            assert name in command.commands, f"{where}: no command {name}"
        command = command.commands[names[0]]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if re.match(r"^--?[A-Za-z]", word):
            assert word.split("=")[0] in known | {"--help", "-h"}, f"{where}: {command.name} has no option {word}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippets of a page run one after the other in one empty folder, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__docs__"}
    for snippet in blocks(page, "python"):
        exec(compile(snippet, page.name, "exec"), names)


def test_there_are_commands_to_check() -> None:
    assert sum(len(shown_commands(page)) for page in PAGES) > 20


def test_every_method_has_its_page() -> None:
    from ambiseg.models.methods.registry import methods

    assert {page.stem for page in (ROOT / "docs" / "methods").glob("*.md")} >= set(methods())


@pytest.mark.parametrize("example", sorted((ROOT / "examples").rglob("*.py")), ids=lambda example: example.stem)
def test_what_an_example_imports_is_there(example: Path) -> None:
    found = [
        node for node in ast.walk(ast.parse(example.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    for node in (node for node in found if (node.module or "").startswith("ambiseg")):
        module = importlib.import_module(str(node.module))
        for alias in node.names:
            assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}"), alias.name
