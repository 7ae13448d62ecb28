"""The examples in docstrings run and give what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"ambiseg_cli": "ambiseg", "models": "ambiseg.models", "preprocessing": "ambiseg.preprocessing"}
FILES = [
    file
    for folder in PACKAGES
    for file in sorted((ROOT / folder).rglob("*.py"))
    if "    >>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples_give_what_they_show(file: Path) -> None:
    folder, *inner = file.relative_to(ROOT).with_suffix("").parts
    found = doctest.testmod(importlib.import_module(".".join([PACKAGES[folder], *inner])))
    assert found.attempted
    assert not found.failed


def test_there_are_examples_in_every_package() -> None:
    assert len(FILES) >= 15
    assert {file.relative_to(ROOT).parts[0] for file in FILES} == set(PACKAGES)
