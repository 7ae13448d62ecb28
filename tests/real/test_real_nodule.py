"""The model that comes with ambiseg on a real scan in HU: its hypotheses are on the nodule, as large as the readers'."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.drawn, pytest.mark.real, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "examples" / "real_nodule.py"


def test_the_default_models_hypotheses_are_like_the_readers(study: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(EXAMPLE),
        str(study / "LIDC-IDRI-0001"),
        "--model",
        "lidc-gated",
        "-o",
        "nodule.png",
    ]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    said = re.search(r"Readers drew ([\d, ]+) mm³. GED of the volumes ([\d.]+)", process.stdout)
    assert said is not None
    readers, distance = [float(size) for size in said[1].split(", ")], float(said[2])
    found = [(float(p), float(v)) for p, v in re.findall(r"hypothesis \d+: ([\d.]+)%, (\d+) mm3", process.stdout)]
    assert len(readers) == 4
    likeliest = found[0]
    assert likeliest[0] > 15  # of a list of six or so: the likeliest one is a mask of the nodule
    assert 0.7 * min(readers) < likeliest[1] < 1.3 * max(readers)
    assert distance < 0.4  # of volumes that do not overlap it would be above 1
    assert (tmp_path / "nodule.png").stat().st_size > 50_000
