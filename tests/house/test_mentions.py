"""Modules that are named in text exist: in docs, and in the scripts that tests and examples hold in strings."""

import importlib
import importlib.util
import re

import pytest

from .layout import PACKAGES, ROOT

IMPORT = re.compile(r"from (ambiseg(?:\.\w+)*) import (\w+)")
FOLDERS = (*PACKAGES, "docs", "examples", "tests")
FILES = [
    ROOT / "README.md",
    *(file for folder in FOLDERS for kind in ("*.py", "*.md") for file in (ROOT / folder).rglob(kind)),
]
NAMED = {
    str(file.relative_to(ROOT)): found for file in FILES if (found := IMPORT.findall(file.read_text(encoding="utf-8")))
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_imported_in_text_exists(name: str) -> None:
    for module, attribute in NAMED[name]:
        found = importlib.import_module(module)
        assert hasattr(found, attribute) or importlib.util.find_spec(f"{module}.{attribute}"), f"{module}.{attribute}"
