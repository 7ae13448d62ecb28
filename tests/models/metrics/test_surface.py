"""Surface distances: by hand, and against all pairs of surface pixels."""

import numpy as np
import pytest

from ambiseg.models.metrics.surface import mean_surface_distance_mm


def slow_surface(mask, spacing):
    """Places (mm) of the pixels with a side neighbour outside the mask or the image."""
    padded = np.pad(mask != 0, 1)
    places = []
    for place in np.argwhere(padded):
        steps = [
            tuple(place + sign * np.eye(padded.ndim, dtype=int)[axis])
            for axis in range(padded.ndim)
            for sign in (-1, 1)
        ]
        if not all(padded[step] for step in steps):
            places.append(place * spacing)
    return np.array(places)


def slow_distance(a, b, spacing):
    a, b = (slow_surface(mask, np.array(spacing)) for mask in (a, b))
    pairs = np.linalg.norm(a[:, None] - b, axis=-1)
    return (pairs.min(1).sum() + pairs.min(0).sum()) / (len(a) + len(b))


def square(start, stop):
    mask = np.zeros((12, 12), np.uint8)
    mask[start:stop, start:stop] = 1
    return mask


def test_nested_squares_by_hand():
    """The outline of 5x5 pixels about that of 3x3: 16 pixels of which 12 are 1 away and 4 by the diagonal, 8 are 1 away."""
    found = mean_surface_distance_mm(square(3, 6), square(2, 7)[None], (1, 1))
    np.testing.assert_allclose(found, [(12 + 4 * np.sqrt(2) + 8) / 24])


def test_like_masks_are_at_no_distance_and_empty_ones_at_none():
    masks = np.stack((square(3, 6), square(0, 0), 2 * square(3, 6)))
    np.testing.assert_array_equal(mean_surface_distance_mm(square(3, 6), masks, (0.7, 0.7)), [0, np.nan, 0])
    assert np.isnan(mean_surface_distance_mm(square(0, 0), masks, (0.7, 0.7))).all()


@pytest.mark.parametrize(("shape", "spacing"), [((9, 8), (0.5, 2.0)), ((4, 6, 5), (3.0, 0.7, 0.6))])
def test_agrees_with_all_pairs_of_surface_pixels(shape, spacing):
    """Random masks, some of which touch the image's edge."""
    rng = np.random.default_rng(0)
    for _ in range(150):
        mask, others = rng.random(shape) < rng.random(), rng.random((2, *shape)) < rng.random((2, *[1] * len(shape)))
        others[0, 0] = mask[-1] = True
        found = mean_surface_distance_mm(mask, others, spacing)
        expected = [slow_distance(mask, other, spacing) if other.any() else np.nan for other in others]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
