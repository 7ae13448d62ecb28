"""Sizes of masks, computed by hand."""

import numpy as np
import pytest

from ambiseg.models.core.size import Size, at_border, cut_off, measure


def test_an_empty_mask_has_no_size() -> None:
    assert measure(np.zeros((3, 4, 4), np.uint8), (2, 1, 1)) == Size(0, 0, 0, 0, 0)


def test_a_bar_of_three_voxels() -> None:
    mask = np.zeros((2, 5, 6), np.uint8)
    mask[1, 2, 1:4] = 1
    size = measure(mask, (2.5, 0.7, 0.5))
    assert size.volume_mm3 == pytest.approx(3 * 2.5 * 0.7 * 0.5)
    assert size.area_mm2 == pytest.approx(3 * 0.7 * 0.5)
    assert size.long_axis_mm == pytest.approx(1.5)
    assert size.short_axis_mm == pytest.approx(0.7)
    assert size.slices == 1


def test_the_long_axis_is_that_of_a_disc_and_lies_within_one_slice() -> None:
    y, x = np.indices((80, 120)) * np.array([0.5, 0.3])[:, None, None]
    disc = np.hypot(y - 20, x - 18) <= 12
    mask = np.stack([disc, np.roll(disc, 10, 1)]).astype(np.uint8) * 2
    size = measure(mask, (9.0, 0.5, 0.3))
    assert size.long_axis_mm == pytest.approx(24, abs=0.5)
    assert size.short_axis_mm == pytest.approx(24, abs=0.5)


@pytest.mark.parametrize("degrees", [0, 25, 90, 130])
def test_the_short_axis_lies_across_the_long_one_however_an_ellipse_is_turned(degrees: float) -> None:
    y, x = np.indices((120, 200)) * np.array([0.5, 0.3])[:, None, None] - np.array([30, 30])[:, None, None]
    along, across = (
        np.cos(np.radians(degrees)) * x + np.sin(np.radians(degrees)) * y,
        np.cos(np.radians(degrees)) * y - np.sin(np.radians(degrees)) * x,
    )
    size = measure((np.hypot(along / 20, across / 8) <= 1)[None], (1.0, 0.5, 0.3))
    assert size.long_axis_mm == pytest.approx(40, abs=0.6)
    assert size.short_axis_mm == pytest.approx(16, abs=0.8)


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


@pytest.mark.parametrize(
    ("voxel", "start", "touches"),
    [((1, 5, 5), 2, False), ((0, 5, 5), 0, True), ((3, 5, 5), 2, True), ((1, 0, 5), 2, False), ((1, 5, 9), 2, True)],
)
def test_a_mask_at_the_scans_own_border_is_told(voxel: tuple[int, int, int], start: int, touches: bool) -> None:
    mask = np.zeros((4, 10, 10), np.uint8)
    mask[voxel] = 1
    assert at_border(mask, (slice(start, start + 4), slice(3, 13), slice(10, 20)), (6, 20, 20)) is touches
    assert not at_border(mask * 0, (slice(start, start + 4), slice(3, 13), slice(10, 20)), (6, 20, 20))


def test_a_single_slice_has_no_border_above_and_below() -> None:
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, 5, 5] = 1
    assert not at_border(mask, (slice(0, 1), slice(0, 10), slice(0, 10)), (1, 10, 10))
