"""The declared Python versions are those on which the forge runs the suite."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_declared_python_is_run() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "tests.yml").read_text())
    assert matrix is not None
    assert re.findall(r"3\.\d+", matrix[1]) == declared
    assert project["requires-python"] == f">={declared[0]},<3.{int(declared[-1].split('.')[1]) + 1}"
