"""Commands that write, killed before each file operation, or stopped there while a second one writes to the same place.

After a kill either the old or the new result is in place, and the same command gives the result of an uninterrupted one. Of two
commands at a time one is refused with one sentence, or both give the same result. Nothing is left behind, not in the temporary
folder either. In the project's folder

    PYTHONPATH=tests python -m damage.kills                          cuts every command at every operation
    PYTHONPATH=tests python -m damage.kills --only train --at 12     cuts one once

New commands go into `writings.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
EXHAUSTIVE = [pytest.mark.exhaustive, pytest.mark.slow]


@pytest.mark.parametrize(
    ("choice", "commands"),
    [
        pytest.param(["--quick", "--most", "3"], 13, id="killed, quick", marks=pytest.mark.shortened),
        pytest.param(["--quick", "--most", "3", "--meet"], 13, id="met, quick"),
        pytest.param(["--most", "1"], 35, id="killed", marks=pytest.mark.slow),
        pytest.param(["--most", "1", "--meet"], 35, id="met", marks=EXHAUSTIVE),
        pytest.param(["--most", "12"], 35, id="killed more often", marks=EXHAUSTIVE),
        pytest.param(["--most", "4", "--meet"], 35, id="met more often", marks=EXHAUSTIVE),
    ],
)
def test_a_command_that_is_cut_makes_the_same_when_it_is_started_again(
    tmp_path: Path, choice: list[str], commands: int
) -> None:
    environment = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-m", "damage.kills", *choice], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count(": 0 faults") == commands
