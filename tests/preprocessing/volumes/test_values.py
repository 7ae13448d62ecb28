"""Values of masks: labels, and the effects of resampling on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.sources.packed.crop_values import label_values
from ambiseg.preprocessing.volumes.values import mask_labels


@given(seed=st.integers(0, 10**6), labels=st.sampled_from([1, 2, 5, 255]), dust=st.floats(0, 0.009))
def test_dust_changes_no_label(seed: int, labels: int, dust: float) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, labels + 1, (3, 4, 5))
    assert np.array_equal(mask_labels((mask + rng.uniform(-dust, dust, mask.shape)).astype(np.float32)), mask)


@pytest.mark.parametrize("order", [1, 3])
def test_an_interpolated_mask_is_taken_at_one_half(order: int) -> None:
    mask = np.zeros((8, 20, 20), np.float32)
    mask[2:6, 5:15, 5:15] = 1
    fine = ndimage.zoom(mask, 2, order=order)
    assert len(np.unique(fine)) > 2
    labels = mask_labels(fine)
    assert np.array_equal(labels, fine >= 0.5)
    assert ndimage.label(labels, np.ones((3, 3, 3)))[1] == 1
    assert np.array_equal(label_values(fine, 2, "a mask"), fine >= 0.5)


@pytest.mark.parametrize(
    "array", [np.full((2, 2), 0.5), np.array([0, 0.3]), np.array([0, 1.3, 2]), np.array([-0.7, 1])]
)
def test_what_is_neither_labels_nor_a_resampled_mask_is_left_as_it_is(array: np.ndarray) -> None:
    assert mask_labels(array) is array
    with pytest.raises(DataError, match=r"a mask holds the label -?[\d.]+: expected 0..2 for 3 classes"):
        label_values(array, 3, "a mask")


def test_whole_numbers_and_truths_stay() -> None:
    for array in (np.array([0, 7], np.int16), np.array([True, False]), np.zeros(0, np.float32)):
        assert mask_labels(array) is array
