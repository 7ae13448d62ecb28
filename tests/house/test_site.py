"""The site's generated sections are complete, and every page can be reached from the README of its folder."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer

import ambiseg
from ambiseg.main import app

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = sorted({page.parent for page in DOCS.rglob("*.md")})


@pytest.fixture(scope="module")
def site() -> Iterator[dict[str, ModuleType]]:
    """The modules that write the generated sections."""
    sys.path.insert(0, str(DOCS / "site"))
    names = ("command_pages", "method_pages", "python_pages", "schema_pages")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(DOCS / "site"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_readme_of_a_folder_names_each_of_its_pages(folder: Path) -> None:
    """The navigation of the site is made of these links."""
    linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert linked >= {page.name for page in folder.glob("*.md")} - {"README.md"}


def test_the_first_page_names_each_folder() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    for folder in FOLDERS:
        assert folder == DOCS or f"({folder.name}/README.md)" in text, folder.name


def test_every_command_is_in_the_reference(site: dict[str, ModuleType]) -> None:
    text = site["command_pages"].command_line()

    def check(command: typer.core.TyperCommand | typer.core.TyperGroup, name: str) -> None:
        assert f"\n## `{name}`\n" in f"\n{text}"
        for key, value in getattr(command, "commands", {}).items():
            check(value, f"{name} {key}")

    check(typer.main.get_command(app), "ambiseg")
    assert "`--lung-mask" in text


def test_every_method_and_option_is_in_the_reference(site: dict[str, ModuleType]) -> None:
    text = site["method_pages"].all_methods()
    for name in site["method_pages"].methods():
        section = text.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        for option in site["method_pages"].options_model(site["method_pages"].methods()[name]).model_fields:
            assert f"| `{option}` |" in section, (name, option)


def test_every_public_name_is_in_the_reference(site: dict[str, ModuleType]) -> None:
    text = site["python_pages"].public_names()
    for name in set(ambiseg.__all__) - {"__version__"}:
        assert f"### `ambiseg.{name}`\n" in text
    assert "### `Method`\n" in site["python_pages"].names_for_methods()


def test_a_public_name_without_a_docstring_ends_the_build(site: dict[str, ModuleType]) -> None:
    def bare() -> None: ...

    def half(first: int, second: int) -> None:
        """Half documented.

        Args:
            first: a number.
        """

    with pytest.raises(ValueError, match=r"`ambiseg\.bare` has no docstring"):
        site["python_pages"]._entry("ambiseg.bare", bare)
    with pytest.raises(ValueError, match=r"`ambiseg\.half` and its signature differ: \['second'\]"):
        site["python_pages"]._entry("ambiseg.half", half)


def test_documents_are_shown_key_by_key(site: dict[str, ModuleType]) -> None:
    pages = site["schema_pages"]
    found = re.findall(r"<!-- site: document (\S+) -->", (DOCS / "reference" / "schemas.md").read_text("utf-8"))
    assert found == list(pages.DOCUMENTS)
    for name in found:
        for key in pages.json_schema(name)["properties"]:
            assert f"| `{key}` |" in pages.document(name)
