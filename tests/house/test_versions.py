"""The declared Python versions are those on which the forge runs the suite."""

import re
import tomllib
from pathlib import Path

import pytest

from ambiseg import __version__

ROOT = Path(__file__).parents[2]


def test_every_declared_python_is_run() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "tests.yml").read_text())
    assert matrix is not None
    assert re.findall(r"3\.\d+", matrix[1]) == declared
    assert project["requires-python"] == f">={declared[0]},<3.{int(declared[-1].split('.')[1]) + 1}"


def pinned(package: str) -> str:
    """The version of a package in constraints.txt."""
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_hooks_before_a_commit_use_the_pinned_ruff() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"ruff-pre-commit\n    rev: v{pinned('ruff')}\n" in text


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/install.md"])
def test_pages_install_the_pinned_torch(page: str) -> None:
    assert set(re.findall(r"torch==(\S+)", (ROOT / page).read_text(encoding="utf-8"))) == {pinned("torch")}


def test_the_citation_names_the_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
