"""The house rules that a machine can check: which room may import which, and what may not be imported at all."""

import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from .layout import (
    PACKAGES,
    ROOT,
    Module,
    arrows,
    circles,
    modules,
    rooms,
    small_with_one_importer,
    stems_used_twice,
)

HOUSE = modules()
GRAPH = arrows(HOUSE)
FLOORS = (  # from the ground up: a module imports its own room and rooms of lower floors
    "preprocessing",
    "preprocessing.volumes preprocessing.work",
    "preprocessing.scans.formats preprocessing.scans.dicom",
    "preprocessing.scans",
    "preprocessing.exports preprocessing.store",
    "preprocessing.lidc",
    "preprocessing.phantom preprocessing.sources",
    "preprocessing.sources.packed",
    "preprocessing.sources.nifti preprocessing.sources.papers",
    "models models.core",
    "models.nets models.metrics",
    "models.methods",
    "models.methods.baselines",
    "models.runs models.runs.presets",
    "models.lesions",
    "models.training.crops",
    "models.training models.prediction models.evaluation",
    "models.calibration",
    "models.comparison models.audit",
    "models.figures",
    "models.report models.figures.galleries",
    "models.bundle models.scoring",
    "models.results.viewer",
    "models.results",
    "models.growth models.cohort",
    "models.benchmarks models.benchmarks.cost",
    "models.benchmarks.trials",
    "terminal",
    "api",
    "commands.preprocess commands.benchmark",
    "commands",
    "commands.demo",
    "main",
)
FLOOR = {f"ambiseg.{room}": height for height, names in enumerate(FLOORS) for room in names.split()}
MOST_MODULES = 15
# Small files with a single importer that are rooms all the same: members of a family, found under their own names, and
# ideas that would be strangers in their importer's file.
FAMILIES = ("ambiseg.commands.", "ambiseg.models.methods.", "ambiseg.models.metrics.", "ambiseg.models.report.")
IDEAS = {
    "ambiseg.terminal.streams",  # a terminal that closes while it is written to
    "ambiseg.models.comparison.paired",  # statistics with tests of their own
}


def place(module: Module) -> str:
    """The name under which a module stands in FLOORS: its room, or itself at the top of `ambiseg`."""
    return module.name if module.room == "ambiseg" and module.name != "ambiseg" else module.room


@pytest.mark.parametrize("module", HOUSE, ids=lambda module: str(module.path.relative_to(ROOT)))
def test_imports_run_one_way(module: Module) -> None:
    """Within the tree by installed names, and only downwards."""
    by_name = {other.name: other for other in HOUSE}
    for base, _ in module.imports():
        assert base.split(".")[0] not in PACKAGES, f"{module.path} imports {base}: use its installed name under ambiseg"
    if module.name == "ambiseg" or module.path.stem in {"__main__", "version"}:
        return  # the public face: it imports lazily from the top
    here = place(module)
    for target in GRAPH[module.name]:
        there = place(by_name[target])
        if there in {"ambiseg", "ambiseg.version"}:
            continue
        assert there == here or FLOOR[there] < FLOOR[here], f"{module.name} may not import {target}"


def test_every_room_has_a_floor() -> None:
    known = {*FLOOR, "ambiseg", "ambiseg.__main__", "ambiseg.version"}
    assert {place(module) for module in HOUSE} <= known
    assert set(FLOOR) <= {place(module) for module in HOUSE}


def test_there_is_no_circle() -> None:
    assert not circles(GRAPH)
    plan = rooms(HOUSE, GRAPH)
    assert not circles({room: targets - {"ambiseg"} for room, targets in plan.items() if room != "ambiseg"})


def test_a_stem_names_one_file() -> None:
    assert not stems_used_twice(HOUSE)


def test_no_room_is_crowded() -> None:
    crowd = Counter(module.room for module in HOUSE if module.path.stem != "__init__")
    assert {room: count for room, count in crowd.items() if count > MOST_MODULES} == {}


def test_a_file_is_a_room() -> None:
    """No small file has a single visitor, but for members of a family and a few ideas."""
    small = small_with_one_importer(HOUSE, GRAPH)
    strangers = {module.name for module, _ in small if not module.name.startswith(FAMILIES)}
    assert strangers - IDEAS == set()
    assert IDEAS - strangers == set(), "no longer an exception"


def test_preprocessing_knows_no_torch() -> None:
    for module in HOUSE:
        if module.name.startswith("ambiseg.preprocessing"):
            assert not any(base.split(".")[0] == "torch" for base, _ in module.imports()), module.path


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
        f"{module.name.replace('.', '/')}{'/__init__' if module.path.stem == '__init__' else ''}.py" for module in HOUSE
    }
    assert wanted <= names
    assert {name for name in names if name.endswith(".py")} == wanted
    assert "ambiseg/models/runs/presets/paper.toml" in names
    assert "ambiseg/py.typed" in names
