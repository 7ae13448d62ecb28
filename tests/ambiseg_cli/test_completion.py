"""Shell completion: typer's own, for every command and option, without loading anything heavy."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Ambiseg = Callable[..., tuple[int, str, str]]


def completions(words: str, count: int, folder: Path) -> list[str]:
    """What bash is offered for the last of the `words`, of which there are `count` before it."""
    code = (
        "import sys\nfrom ambiseg.main import main\nsys.argv = ['ambiseg']\n"
        "try:\n    main()\nfinally:\n"
        "    assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    asked = {"_AMBISEG_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    environment = os.environ | asked | {"HOME": str(folder)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return found.stdout.split()


@pytest.mark.parametrize(
    ("words", "count", "offered"),
    [
        ("ambiseg pre", 1, {"predict", "preprocess"}),
        ("ambiseg preprocess n", 2, {"nifti"}),
        ("ambiseg predict --lung", 2, {"--lung-mask"}),
        ("ambiseg preprocess nifti x --intensity ", 5, {"auto", "hu", "relative"}),
    ],
)
def test_words_are_completed(words: str, count: int, offered: set[str], tmp_path: Path) -> None:
    assert set(completions(words, count, tmp_path)) == offered


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_completion_is_installed_for_a_shell(shell: str, file: str | None, tmp_path: Path) -> None:
    """In a home of its own, as the shell that is running asks for it."""
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-c", "from ambiseg.main import main; main()", "--install-completion", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{shell} completion installed in {tmp_path}" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file() and "AMBISEG_COMPLETE" in path.read_text()]
    assert file is None or (tmp_path / file).is_file()


def test_help_shows_how_to_get_it(ambiseg: Ambiseg) -> None:
    code, out, _ = ambiseg("--help")
    assert code == 0
    assert "--install-completion" in out
    assert "--show-completion" in out
