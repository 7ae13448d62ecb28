"""IoU and Dice: hand-computed cases, and an independent double loop over thousands of random sets."""

import numpy as np
import pytest

from ambiseg.models.metrics.overlap import overlaps, pairwise_dice, pairwise_iou
from ambiseg.preprocessing.errors import DataError


def slow_score(a, b, numerator):
    """Mean over classes present in either mask, by pixel sets; an independent reading of the conventions."""
    scores = []
    for label in set(a.ravel().tolist()) | set(b.ravel().tolist()):
        if label == 0:
            continue
        first = {i for i, value in enumerate(a.ravel()) if value == label}
        second = {i for i, value in enumerate(b.ravel()) if value == label}
        scores.append(numerator(len(first & second), len(first | second), len(first) + len(second)))
    return sum(scores) / len(scores) if scores else 1.0


def slow_iou(a, b):
    return slow_score(a, b, lambda both, either, total: both / either)


def slow_dice(a, b):
    return slow_score(a, b, lambda both, either, total: 2 * both / total)


def test_binary_masks_by_hand():
    square = np.zeros((4, 4), np.uint8)
    square[:2, :2] = 1
    half = np.zeros((4, 4), np.uint8)
    half[:2, 1:3] = 1
    empty = np.zeros((4, 4), np.uint8)
    masks = np.stack((square, half, empty))
    np.testing.assert_array_equal(pairwise_iou(masks), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(pairwise_dice(masks), [[1, 1 / 2, 0], [1 / 2, 1, 0], [0, 0, 1]])


def test_all_empty_masks_agree():
    np.testing.assert_array_equal(pairwise_iou(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)), 1)


def test_a_class_absent_from_both_masks_is_left_out():
    a = np.array([[1, 1, 2, 0]], np.uint8)
    b = np.array([[1, 0, 2, 2]], np.uint8)
    c = np.array([[0, 0, 3, 0]], np.uint8)
    np.testing.assert_array_equal(pairwise_iou(a[None], np.stack((b, c))), [[(1 / 2 + 1 / 2) / 2, 0]])


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 3)])
def test_agrees_with_a_double_loop_over_random_sets(classes, shape):
    rng = np.random.default_rng(classes)
    for _ in range(500):
        a = rng.integers(classes, size=(rng.integers(1, 5), *shape), dtype=np.uint8)
        b = rng.integers(classes, size=(rng.integers(1, 4), *shape), dtype=np.uint8)
        a[rng.random(len(a)) < 0.3] = 0
        b[rng.random(len(b)) < 0.3] = 0
        np.testing.assert_allclose(pairwise_iou(a, b), [[slow_iou(x, y) for y in b] for x in a], rtol=0, atol=1e-12)
        np.testing.assert_allclose(pairwise_dice(a, b), [[slow_dice(x, y) for y in b] for x in a], rtol=0, atol=1e-12)


def test_large_areas_are_counted_exactly():
    a = np.ones((1, 2048, 2049), np.uint8)
    b = a.copy()
    b[0, 0, 0] = 0
    assert pairwise_iou(a, b)[0, 0] == 1 - 1 / (2048 * 2049)


def test_overlaps_are_the_three_blocks_without_absent_readers():
    rng = np.random.default_rng(0)
    labels, masks = (rng.integers(2, size=(n, 5, 5), dtype=np.uint8) for n in (3, 4))
    found = overlaps(labels, masks, np.array([True, False, True, True]))
    here = masks[[0, 2, 3]]
    np.testing.assert_allclose(found.draws, pairwise_iou(labels), atol=1e-15)
    np.testing.assert_allclose(found.cross, pairwise_iou(labels, here), atol=1e-15)
    np.testing.assert_allclose(found.readers, pairwise_iou(here), atol=1e-15)


def test_no_reader_or_another_shape_is_an_error():
    labels = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(DataError, match="No reader read this image"):
        overlaps(labels, labels, np.zeros(2, bool))
    with pytest.raises(DataError, match="crop them alike"):
        overlaps(labels, np.zeros((2, 5, 4), np.uint8))
