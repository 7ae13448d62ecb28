"""`import ambiseg`: what it offers, that it is light, that it is documented, and that type checkers see it."""

import ast
import inspect
import os
import shutil
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
TYPED = """
from pathlib import Path

import ambiseg
from ambiseg import AmbisegError, Evaluation, Run, ScanHypotheses, Store, Trained


def work(store: Store) -> float:
    run: Run = ambiseg.train(store, "probunet", steps=2)
    model: Trained = ambiseg.load_model(run.path)
    found: ScanHypotheses = ambiseg.predict("scan.nii.gz", model, at=[(1.0, 2.0, 3.0)])
    evaluation: Evaluation = ambiseg.evaluate(model, store, samples=16)
    try:
        ambiseg.calibrate(run.path).fit.calibration.slices.presence_shift
    except AmbisegError as error:
        return float(error.exit_code)
    return found.lesions[0].no_lesion + evaluation.figures["ged16_v"].mean


work(ambiseg.open_store(Path("data/lidc")))
ambiseg.predict("scan.nii.gz", topp=3)
"""


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


@pytest.mark.slow
def test_type_checkers_see_the_signatures(tmp_path: Path) -> None:
    """In an installed copy: without it, mypy cannot tell where the packages of an editable install lie."""
    pytest.importorskip("mypy")
    for name in ("ambiseg_cli", "models", "preprocessing", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / "source").mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / "source" / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(tmp_path / "source")], check=True)
    (tmp_path / "typed.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    command += ["--cache-dir", str(tmp_path / "cache"), "typed.py"]
    found = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"MYPYPATH": str(tmp_path / "site")}, capture_output=True, text=True
    )
    assert [line.split(": ", 1)[1] for line in found.stdout.splitlines() if ": error: " in line] == [
        'error: Unexpected keyword argument "topp" for "predict"; did you mean "top"?  [call-arg]'
    ], found.stdout + found.stderr
