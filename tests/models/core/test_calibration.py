"""The calibration of a weighted set: what its numbers do, and its file in a run's folder."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from ambiseg.models.core.calibration import Calibration, Reweighting, log_sizes, read_calibration, reweighted
from ambiseg.preprocessing.errors import DataError

HASH = "f" * 64


def calibration(**numbers: float) -> Calibration:
    about = {"samples": 64, "seed": 0, "split": "val", "data_hash": "0" * 64, "weights_hash": HASH}
    return Calibration(slices=Reweighting(**numbers), **about)


SIZES = np.array([0, 10, 20, 40, 0])
STATED = np.array([0.1, 0.2, 0.3, 0.1, 0.3])


def test_the_default_changes_nothing() -> None:
    np.testing.assert_allclose(Reweighting().weights(STATED, SIZES), STATED)
    assert str(Reweighting()) == "nothing changed"


def test_presence_is_shifted_in_its_log_odds_and_shapes_keep_their_shares() -> None:
    found = Reweighting(presence_shift=0.5, presence_slope=0.8).weights(STATED, SIZES)
    assert found[1:4].sum() == pytest.approx(expit(0.5 + 0.8 * logit(0.6)))
    np.testing.assert_allclose(found[1:4] / found[1:4].sum(), STATED[1:4] / 0.6)
    assert found[0] / found[4] == pytest.approx(1 / 3)


def test_sizes_are_tilted_and_narrowed_about_the_median() -> None:
    found = Reweighting(size_shift=0.4, size_sharpness=2.0).weights(STATED, SIZES)
    assert found[[0, 4]] == pytest.approx(STATED[[0, 4]])
    x = log_sizes(SIZES[1:4], STATED[1:4])
    expected = STATED[1:4] * np.exp(0.4 * x - 2 * (np.sqrt(x**2 + 0.01) - 0.1))
    np.testing.assert_allclose(found[1:4] / found[1:4].sum(), expected / expected.sum())


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=12),
    st.floats(-5, 5),
    st.floats(0.1, 4),
    st.floats(-5, 5),
    st.floats(-3, 30),
)
def test_weights_stay_probabilities(sizes: list[int], shift: float, slope: float, tilt: float, sharp: float) -> None:
    stated = np.random.default_rng(len(sizes)).dirichlet(np.ones(len(sizes)))
    numbers = Reweighting(presence_shift=shift, presence_slope=slope, size_shift=tilt, size_sharpness=sharp)
    found = numbers.weights(stated, np.array(sizes))
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    one_kind = all(sizes) or not any(sizes)
    assert one_kind or found[np.array(sizes) > 0].sum() == pytest.approx(
        numbers.presence(float(stated[np.array(sizes) > 0].sum()))
    )


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    assert read_calibration(tmp_path, HASH) is None
    written = calibration(presence_shift=1.25, size_sharpness=3.5)
    written.write(tmp_path)
    assert read_calibration(tmp_path, HASH) == written


def test_volumes_use_the_numbers_of_lesions_where_there_are_some() -> None:
    of_slices = calibration(presence_shift=1.0)
    assert of_slices.of_volumes.presence_shift == 1
    assert of_slices.model_copy(update={"lesions": Reweighting(presence_shift=2)}).of_volumes.presence_shift == 2


def test_a_calibration_of_other_weights_or_a_damaged_or_earlier_one_is_refused(tmp_path: Path) -> None:
    calibration().write(tmp_path)
    with pytest.raises(DataError, match="belongs to other weights than the run has now: run `ambiseg calibrate"):
        read_calibration(tmp_path, "e" * 64)
    file = tmp_path / "calibration.json"
    file.write_text(file.read_text().replace('"presence_slope": 1.0', '"presence_slope": -1'), encoding="utf-8")
    with pytest.raises(DataError, match=r"presence_slope`: expected greater than 0, got -1; run `ambiseg calibrate"):
        read_calibration(tmp_path, HASH)
    for number in (1, 2):
        file.write_text(f'{{"schema_number": {number}, "temperature": 1.5}}', encoding="utf-8")
        with pytest.raises(DataError, match=f"`schema_number`: expected 3, got {number}; run `ambiseg calibrate"):
            read_calibration(tmp_path, HASH)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.9), st.floats(-3, 3), st.floats(0.2, 3))
def test_presence_does_not_depend_on_how_many_masks_were_left_out(
    empty: float, share: float, shift: float, slope: float
) -> None:
    """Three masks that mark something, of which all or one are looked at beside the empty one."""
    numbers = Reweighting(presence_shift=shift, presence_slope=slope)
    labels = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], np.uint8)
    stated = np.array([empty, *np.array([share, (1 - share) / 2, (1 - share) / 2]) * (1 - empty)])
    whole, nothing = reweighted(stated, labels, numbers)
    left_out = float(stated[2:].sum())
    some, missing = reweighted(stated[:2] / stated[:2].sum(), labels[:2], numbers, left_out)
    assert nothing == 0
    assert some.sum() == pytest.approx(1)
    np.testing.assert_allclose(some * (1 - missing), whole[:2], atol=1e-9)
    assert missing == pytest.approx(whole[2:].sum())
