"""A part of a scan on an isotropic grid, with the right values, positions and masks."""

import numpy as np
import pytest

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.volumes.resample import isotropic
from ambiseg.preprocessing.volumes.volume import Volume

SPACING_MM = (3.0, 0.75, 1.5)
ALL = (-5000.0, 5000.0)


def ramp() -> Volume:
    """HU that rise by 10 a mm along z, 4 along y and -6 along x."""
    z, y, x = np.indices((12, 48, 30)) * np.reshape(SPACING_MM, (3, 1, 1, 1))
    return Volume((10 * z + 4 * y - 6 * x).astype(np.float32), np.diag([1.5, 0.75, 3.0, 1]))


def test_a_ramp_stays_a_ramp_and_points_lead_back_to_voxels() -> None:
    volume = ramp()
    part = isotropic(volume, (slice(2, 9), slice(10, 40), slice(8, 20)), 1.0, margin=0, multiple=4, window=ALL)
    assert [(count - 1) % 4 for count in part.array.shape] == [0, 0, 0]
    points = np.array([(3, 5, 6), (8, 20, 9), (12, 2, 13)])
    expected = (part.voxels(points) * SPACING_MM) @ [10, 4, -6]
    np.testing.assert_allclose(part.array[tuple(points.T)], expected, atol=0.1)  # smoothing along y is not exact
    steps_mm = np.diff(part.voxels(np.array([(3, 5, 6), (4, 6, 7)])), axis=0) * SPACING_MM
    np.testing.assert_allclose(steps_mm, 1)


def test_the_grid_holds_the_box_and_its_margin_and_repeats_the_border() -> None:
    volume = ramp()
    part = isotropic(volume, (slice(0, 12), slice(0, 48), slice(0, 30)), 1.0, margin=8, multiple=4, window=(0, 100))
    for axis, count in zip(part.positions, volume.array.shape, strict=True):
        assert axis[0] == axis[7] == 0
        assert axis[-1] == axis[-8] == count - 1
    assert part.array.min() >= 0
    assert part.array.max() <= 100.001


def test_a_mask_is_taken_at_the_nearest_voxels() -> None:
    volume = ramp()
    box = (slice(2, 9), slice(10, 40), slice(8, 20))
    mask = np.zeros(volume.array.shape, bool)
    mask[box] = True
    part = isotropic(volume, box, 1.0, margin=8, multiple=4, window=ALL)
    inside = part.nearest(mask)
    assert inside.shape == part.array.shape
    volume_mm3 = np.prod([(side.stop - side.start) * step for side, step in zip(box, SPACING_MM, strict=True)])
    assert abs(inside.sum() - volume_mm3) < 0.15 * volume_mm3


def test_a_grid_beyond_all_bounds_is_refused_before_any_work() -> None:
    """Centimetres taken for millimetres make a kilometre of grid; an unlikely voxel makes a scan without end."""
    whole = (slice(0, 12), slice(0, 48), slice(0, 30))
    for scale, says in ((30.0, r"measures 13.. x 1... x 1... mm, more than a chest"), (1e-4, "its units are wrong")):
        volume = Volume(ramp().array, ramp().affine @ np.diag([scale, scale, scale, 1]))
        with pytest.raises(DataError, match=says):
            isotropic(volume, whole, 1.0, margin=8, multiple=4, window=ALL)
