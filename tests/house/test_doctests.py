"""The examples in docstrings run and give what they show."""

import doctest
import importlib

import pytest

from .layout import PACKAGES, ROOT, Module, modules

EXAMPLES = [module for module in modules() if "    >>> " in module.text]


@pytest.mark.parametrize("module", EXAMPLES, ids=lambda module: str(module.path.relative_to(ROOT)))
def test_examples_give_what_they_show(module: Module) -> None:
    found = doctest.testmod(importlib.import_module(module.name))
    assert found.attempted
    assert not found.failed


def test_there_are_examples_in_every_package() -> None:
    assert len(EXAMPLES) >= 15
    assert {module.path.relative_to(ROOT).parts[0] for module in EXAMPLES} == set(PACKAGES)
