"""`import ambiseg`: what it offers, that it is light, that it is documented, and that type checkers see it."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ambiseg

ROOT = Path(__file__).parents[2]
FUNCTIONS = {"calibrate", "evaluate", "load_model", "open_store", "predict", "read_hypotheses", "train"}
ERRORS = {
    *("AmbisegError", "DataError", "InputError", "Interrupted"),
    *("NothingFound", "PartialError", "ResourceError", "UsageError"),
}


def test_every_name_is_there_and_listed() -> None:
    for name in ambiseg.__all__:
        assert getattr(ambiseg, name) is not None
        assert name in dir(ambiseg)
    assert set(ambiseg.__all__) >= FUNCTIONS | ERRORS
    with pytest.raises(AttributeError, match="has no attribute 'segment'"):
        ambiseg.segment  # noqa: B018


def test_type_checkers_and_python_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "ambiseg_cli" / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*imported, "__version__"} == set(ambiseg.__all__)


def test_functions_stay_functions_when_the_commands_are_imported() -> None:
    code = (
        "import ambiseg.main, ambiseg.commands.evaluate, ambiseg.commands.predict, ambiseg.commands.train\n"
        "from ambiseg import calibrate, evaluate, predict, train\n"
        "assert all(map(callable, (calibrate, evaluate, predict, train)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_light() -> None:
    code = (
        "import sys, time\nbegun = time.process_time()\nimport ambiseg\nfrom ambiseg import AmbisegError, UsageError\n"
        "assert time.process_time() - begun < .2\nassert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_document_every_argument(name: str) -> None:
    function = getattr(ambiseg, name)
    text = inspect.getdoc(function) or ""
    for section in ("Args:", "Returns:", "Raises:"):
        assert section in text, section
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}: " in text, parameter
    assert name == "read_hypotheses" or "Example:" in text


def test_the_guide_names_everything() -> None:
    guide = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
    assert not [name for name in ambiseg.__all__ if name not in guide and name != "__version__"]
