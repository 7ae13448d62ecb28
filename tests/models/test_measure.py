"""Sizes of masks, computed by hand."""

import numpy as np
import pytest

from ambiseg.models.measure import Size, cut_off, measure


def test_an_empty_mask_has_no_size() -> None:
    assert measure(np.zeros((3, 4, 4), np.uint8), (2, 1, 1)) == Size(0, 0, 0, 0)


def test_a_bar_of_three_voxels() -> None:
    mask = np.zeros((2, 5, 6), np.uint8)
    mask[1, 2, 1:4] = 1
    size = measure(mask, (2.5, 0.7, 0.5))
    assert size.volume_mm3 == pytest.approx(3 * 2.5 * 0.7 * 0.5)
    assert size.area_mm2 == pytest.approx(3 * 0.7 * 0.5)
    assert size.long_axis_mm == pytest.approx(1.5)
    assert size.slices == 1


def test_the_long_axis_is_that_of_a_disc_and_lies_within_one_slice() -> None:
    y, x = np.indices((80, 120)) * np.array([0.5, 0.3])[:, None, None]
    disc = np.hypot(y - 20, x - 18) <= 12
    mask = np.stack([disc, np.roll(disc, 10, 1)]).astype(np.uint8) * 2
    assert measure(mask, (9.0, 0.5, 0.3)).long_axis_mm == pytest.approx(24, abs=0.5)


@pytest.mark.parametrize(
    ("voxel", "cut"),
    [
        ((1, 5, 5), False),
        ((0, 5, 5), True),
        ((3, 5, 5), False),
        ((1, 1, 5), True),
        ((1, 8, 5), True),
        ((1, 5, 0), False),
    ],
)
def test_only_borders_within_the_scan_cut_a_mask_off(voxel: tuple[int, int, int], cut: bool) -> None:
    mask = np.zeros((4, 10, 10), np.uint8)
    mask[voxel] = 1
    box = (slice(2, 6), slice(3, 13), slice(0, 10))
    assert cut_off(mask, box, (6, 20, 20)) is cut
