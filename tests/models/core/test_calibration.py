"""The calibration of hypotheses: what its three numbers do, and its file in a run's folder."""

import math
from pathlib import Path

import numpy as np
import pytest

from ambiseg.models.core.calibration import FLOOR, Calibration, read_calibration
from ambiseg.models.core.hypotheses import Hypotheses, rank
from ambiseg.preprocessing.errors import DataError

HASH = "f" * 64


def calibration(**numbers: float) -> Calibration:
    about = {"merge": 0.3, "samples": 64, "seed": 0, "split": "val", "data_hash": "0" * 64, "weights_hash": HASH}
    return Calibration(**{"temperature": 1.0, **numbers}, **about)


def hypotheses(*, draws: int | None = 64) -> Hypotheses:
    """A square at .5, nothing at .375, another square at .125."""
    masks = np.zeros((64, 8, 8), np.uint8)
    masks[:32, 1:4, 1:4] = 1
    masks[56:, 5:8, 5:8] = 1
    return rank(masks, np.full(64, 1 / 64), top=64, draws=draws)


def test_a_temperature_of_one_changes_nothing_but_for_the_floor() -> None:
    before = hypotheses()
    after = calibration().calibrated(before)
    np.testing.assert_allclose(after.probabilities, before.probabilities / (1 + FLOOR))
    assert after.residual == pytest.approx(FLOOR / (1 + FLOOR))
    np.testing.assert_allclose(after.intervals, before.intervals, atol=2 * FLOOR)
    np.testing.assert_array_equal(after.masks, before.masks)


def test_the_numbers_do_what_the_formula_says() -> None:
    found = calibration(temperature=2.0, empty=0.7, none=-2.0).calibrated(hypotheses())
    square, nothing, other, none = math.sqrt(0.5), math.sqrt(0.375) * math.exp(0.7), math.sqrt(0.125), math.exp(-2)
    total = square + nothing + other + none
    np.testing.assert_allclose(found.probabilities, [nothing / total, square / total, other / total])
    assert found.residual == pytest.approx(none / total)
    assert found.probabilities.sum() + found.residual == pytest.approx(1)
    assert not found.masks[0].any()  # the empty mask has come first


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_intervals_hold_their_probabilities_and_move_with_the_temperature(temperature: float) -> None:
    found = calibration(temperature=temperature).calibrated(hypotheses())
    assert found.intervals is not None
    assert ((found.intervals[:, 0] < found.probabilities) & (found.probabilities < found.intervals[:, 1])).all()
    assert ((found.intervals >= 0) & (found.intervals <= 1)).all()
    assert calibration().calibrated(hypotheses(draws=None)).intervals is None


def test_what_is_left_out_of_the_list_joins_the_residual() -> None:
    found = calibration(temperature=1.5).calibrated(hypotheses())
    assert found.first(1).residual == pytest.approx(found.residual + found.probabilities[1:].sum())


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    assert read_calibration(tmp_path, HASH) is None
    written = calibration(temperature=1.25, none=-3.5)
    written.write(tmp_path)
    assert read_calibration(tmp_path, HASH) == written


def test_a_calibration_of_other_weights_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    calibration().write(tmp_path)
    with pytest.raises(DataError, match="belongs to other weights than the run has now: run `ambiseg calibrate"):
        read_calibration(tmp_path, "e" * 64)
    (tmp_path / "calibration.json").write_text('{"temperature": -1}', encoding="utf-8")
    with pytest.raises(DataError, match="`temperature`: expected greater than 0, got -1; run `ambiseg calibrate"):
        read_calibration(tmp_path, HASH)


def test_a_hypothesis_that_all_draws_are_keeps_an_interval_below_one() -> None:
    masks = np.ones((64, 4, 4), np.uint8)
    found = calibration(temperature=1.5).calibrated(rank(masks, np.full(64, 1 / 64), draws=64))
    assert found.intervals is not None
    low, high = found.intervals[0]
    assert 0.9 < low < found.probabilities[0] <= high <= 1
