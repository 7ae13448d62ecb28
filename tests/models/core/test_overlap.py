"""IoU and Dice: hand-computed cases, and an independent double loop over thousands of random sets."""

import numpy as np
import pytest
import torch

from ambiseg.models.core.overlap import comparable, overlaps, pairwise_dice, pairwise_iou
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.store import IGNORE


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


def test_ignored_pixels_and_classes_without_score_count_for_nothing_by_hand():
    labels = np.array([[[1, 1, 2, 3, 3]]], np.uint8)
    masks = np.array([[[1, 2, 2, 0, IGNORE]], [[1, 2, 2, 3, 1]], [[3, 3, 0, 3, 3]]], np.uint8)
    # without the last pixel: class 1 meets in 1 of 2 pixels, class 2 in 1 of 2, class 3 in 0 of 1 or 1 of 1 or 1 of 3
    every = overlaps(labels, masks)
    np.testing.assert_allclose(every.cross, [[(1 / 2 + 1 / 2 + 0) / 3, (1 / 2 + 1 / 2 + 1) / 3, (0 + 0 + 1 / 3) / 3]])
    some = overlaps(labels, masks, scored=(1, 2))
    np.testing.assert_allclose(some.cross, [[1 / 2, 1 / 2, 0]])
    np.testing.assert_array_equal(some.readers, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(overlaps(labels, masks, scored=(4,)).cross, 1)  # none of the scored classes in either


def slow_scored(a, b, counted, scored):
    """The mean over scored classes in either mask, of the pixels that count."""
    scores = []
    for label in scored:
        first, second = ((mask == label) & counted for mask in (a, b))
        if (first | second).any():
            scores.append((first & second).sum() / (first | second).sum())
    return np.mean(scores) if scores else 1.0


def test_scored_and_ignored_agree_with_a_double_loop():
    rng = np.random.default_rng(5)
    for _ in range(300):
        labels = rng.integers(6, size=(3, 4, 4), dtype=np.uint8)
        masks = rng.choice(np.array([0, 1, 2, 3, 4, 5, IGNORE], np.uint8), (2, 4, 4))
        scored = tuple(np.flatnonzero(rng.random(6) < 0.5)[1:])
        counted = (masks != IGNORE).all(0)
        found = overlaps(labels, masks, scored=scored)
        for block, rows, columns in (
            (found.draws, labels, labels),
            (found.cross, labels, masks),
            (found.readers, masks, masks),
        ):
            expected = [[slow_scored(a, b, counted, scored) for b in columns] for a in rows]
            np.testing.assert_allclose(block, expected, rtol=0, atol=1e-12)


def test_a_mask_that_nobody_compares_ignores_nothing():
    """What an absent reader ignores is looked at all the same."""
    labels, masks = np.ones((1, 2, 2), np.uint8), np.ones((2, 2, 2), np.uint8)
    masks[1, 0] = IGNORE
    assert comparable(labels, masks, np.array([True, False]))[0].sum() == 4
    for side in comparable(labels, masks):
        np.testing.assert_array_equal(side, np.broadcast_to([[0, 0], [1, 1]], side.shape))


def test_an_image_without_a_pixel_that_counts_says_nothing():
    ignored = np.full((2, 3, 3), IGNORE, np.uint8)
    np.testing.assert_array_equal(overlaps(np.ones((2, 3, 3), np.uint8), ignored).cross, 1)


@pytest.mark.parametrize("classes", [2, 5])
def test_tensors_give_the_same_tables_as_arrays(classes):
    rng = np.random.default_rng(classes)
    for _ in range(50):
        labels = rng.integers(classes, size=(4, 5, 6), dtype=np.uint8)
        masks = rng.choice(np.array([*range(classes), IGNORE], np.uint8), (3, 5, 6))
        masks.flags.writeable = False
        present, scored = np.array([True, False, True]), None if rng.random() < 0.5 else (1, classes - 1)
        expected = overlaps(labels, masks, present, scored=scored)
        found = overlaps(torch.from_numpy(labels), masks, present, scored=scored)
        for name, table in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, name), table)
        np.testing.assert_array_equal(pairwise_dice(torch.from_numpy(labels)), pairwise_dice(labels))


def test_no_reader_or_another_shape_is_an_error():
    labels = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(DataError, match="No reader read this image"):
        overlaps(labels, labels, np.zeros(2, bool))
    with pytest.raises(DataError, match="crop them alike"):
        overlaps(labels, np.zeros((2, 5, 4), np.uint8))
