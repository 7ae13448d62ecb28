"""Damaged files of every format that the commands read: refused in a sentence, or read as what they are.

No traceback, no process that ends or takes over 20 seconds, nothing accepted against a checksum, nothing left behind. The
cases are made from a seed; a fault is shown with its case, `SEED:NUMBER`. In the project's folder

    PYTHONPATH=tests python -m damage --cases 100000 --seed 7     tries more
    PYTHONPATH=tests python -m damage --case 7:12345              tries one again, with its traceback, and keeps its folder

and AMBISEG_DAMAGE_CASES and AMBISEG_DAMAGE_SEED are what the slow test takes. New formats go into `subjects.py`, with a
sound input in `sound.py`; new kinds of damage into `damages.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CASES = int(os.environ.get("AMBISEG_DAMAGE_CASES", "10000"))
SEED = int(os.environ.get("AMBISEG_DAMAGE_SEED", "0"))


@pytest.mark.parametrize(
    ("choice", "least"),
    [
        pytest.param(["--cases", "300", "--quick"], 250, id="quick"),
        pytest.param(["--cases", str(CASES), "--seed", str(SEED)], CASES, id="all", marks=pytest.mark.slow),
    ],
)
def test_damaged_files_are_refused_or_read_as_they_are(tmp_path: Path, choice: list[str], least: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "damage", *choice, "--verdicts", str(tmp_path / "verdicts.jsonl")]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert len(verdicts) >= least
    assert any(one["outcome"].startswith("refused") for one in verdicts)
    assert not [one for one in verdicts if one["fault"]], process.stdout
