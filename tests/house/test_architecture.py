"""The house rules that a machine can check: which package may import which, and what may not be imported at all."""

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"ambiseg_cli": "ambiseg", "models": "ambiseg.models", "preprocessing": "ambiseg.preprocessing"}
MAY_IMPORT = {
    "ambiseg_cli": {"ambiseg", "ambiseg.models", "ambiseg.preprocessing"},
    "models": {"ambiseg.models", "ambiseg.preprocessing"},
    "preprocessing": {"ambiseg.preprocessing"},
}
FILES = sorted(file for folder in PACKAGES for file in (ROOT / folder).rglob("*.py"))


def imports(file: Path, *, top_only: bool = False) -> Iterator[str]:
    """Full names of the modules that a file imports; relative ones resolved to their installed names."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    folder, *inner = file.relative_to(ROOT).with_suffix("").parts
    module = [*PACKAGES[folder].split("."), *inner]
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module[: len(module) - node.level] if node.level else []
            yield ".".join([*base, *filter(None, [node.module])])


def owner(name: str) -> str | None:
    """Which of our packages a module belongs to."""
    return next(
        (package for package in sorted(PACKAGES.values(), reverse=True) if f"{name}.".startswith(f"{package}.")), None
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_run_one_way(file: Path) -> None:
    folder = file.relative_to(ROOT).parts[0]
    for name in imports(file):
        assert name.split(".")[0] not in PACKAGES, f"{file} imports {name}: use its installed name under ambiseg"
        assert owner(name) is None or owner(name) in MAY_IMPORT[folder], f"{file} imports {name}"


def test_preprocessing_knows_no_torch() -> None:
    for file in (ROOT / "preprocessing").rglob("*.py"):
        assert not any(name.split(".")[0] == "torch" for name in imports(file)), file


def test_training_stays_light() -> None:
    """A training machine needs no medical file formats, also for the benchmarks."""
    code = (
        "import sys, ambiseg.models.training.loop, ambiseg.models.evaluation.evaluate_run\n"
        "formats = {'nibabel', 'SimpleITK', 'pydicom', 'pylidc', 'highdicom', 'tomlkit', 'jinja2'}\n"
        "heavy = (formats | {'matplotlib'}) & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "import ambiseg.models.benchmarks.trials.lidc_tables, ambiseg.models.benchmarks.cost.step_cost\n"
        "import ambiseg.models.report.evaluation_folder\n"
        "assert not formats & set(sys.modules), formats & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom ambiseg.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'nibabel', 'SimpleITK', 'pydicom', 'pylidc', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_the_wheel_holds_the_tree_and_nothing_else(tmp_path: Path) -> None:
    """Every module is in the wheel under its installed name, and nothing lies outside `ambiseg`."""
    source = tmp_path / "source"
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"ambiseg"}
    wanted = {
        f"{PACKAGES[f.relative_to(ROOT).parts[0]].replace('.', '/')}/{'/'.join(f.relative_to(ROOT).parts[1:])}"
        for f in FILES
    }
    assert wanted <= names
    assert {name for name in names if name.endswith(".py")} == wanted
    assert "ambiseg/models/runs/presets/paper.toml" in names
    assert "ambiseg/py.typed" in names
