"""The centre crop."""

import numpy as np
import pytest

from ambiseg.preprocessing.volumes.planes import centre_crop


@pytest.mark.parametrize(("length", "size", "expected"), [(6, 2, [2, 3]), (7, 3, [2, 3, 4]), (7, 4, [1, 2, 3, 4])])
def test_takes_the_middle(length, size, expected):
    line = np.arange(length)
    cropped = centre_crop(np.broadcast_to(line, (2, 3, length, length)), size)
    assert cropped.shape == (2, 3, size, size)
    np.testing.assert_array_equal(cropped[0, 0, 0], expected)


def test_leaves_a_short_side_as_it_is():
    assert centre_crop(np.zeros((1, 5, 20)), 8).shape == (1, 5, 8)
