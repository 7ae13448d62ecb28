"""Volumes whose truth is known: the probabilities that a trained and calibrated model states of whole lesions hold."""

import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[2] / "examples" / "studies" / "known_truth" / "volumes_truth.py"


@pytest.mark.learning
@pytest.mark.slow
def test_stated_probabilities_of_volumes_hold(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(STUDY), "-o", str(tmp_path / "made")], capture_output=True, text=True, check=True
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| calibrated")]
    (presence, hypotheses, first, inner, outer) = map(float, rows[0][1:])
    assert presence <= 0.05
    assert hypotheses <= 0.03
    assert first <= 0.05
    assert inner == pytest.approx(0.5, abs=0.05)
    assert outer == pytest.approx(0.9, abs=0.04)
