"""Figures of one image by hand, and the cheap ones for validation."""

import math
import time

import numpy as np
import pytest

from ambiseg.models.metrics.scores import SCORE_NAMES, image_scores, validation_scores
from ambiseg.preprocessing.store import IGNORE


def rows(*masks):
    return np.array(masks, np.uint8)[:, None]


EMPTY, ONE, TWO = [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]


def scores(labels, weights, masks, *, draws, present=None, **known):
    return image_scores(labels, np.array(weights), masks, present, draws=draws, rng=np.random.default_rng(0), **known)


def test_sixteen_draws_by_hand():
    labels = np.concatenate((rows(*[TWO] * 12), rows(*[EMPTY] * 4)))
    found = scores(labels, [1 / 16] * 16, rows(ONE, TWO, TWO, EMPTY), draws=16)
    assert found.overlap16 == pytest.approx((0.75 * (0.5 + 0 + 0 + 1) + 0.25 * (1 + 1 + 1 + 0)) / 4)
    assert found.sample_diversity16 == pytest.approx(2 * 0.75 * 0.25)
    assert found.reader_diversity == pytest.approx(2 * (0.5 + 0.5 + 1 + 0 + 1 + 1) / 16)
    assert found.ged16_v == pytest.approx(2 * found.overlap16 - found.sample_diversity16 - found.reader_diversity)
    unbiased = 2 * found.overlap16 - found.sample_diversity16 * 16 / 15 - found.reader_diversity * 4 / 3
    assert found.ged16_u == pytest.approx(unbiased)
    assert found.hm_iou16 == pytest.approx((8 * 1 + 4 * 0.5 + 4 * 1) / 16)
    assert (found.ged_v, found.ged_u) == (found.ged16_v, found.ged16_u)
    assert found.top_iou == pytest.approx((0.5 + 1 + 1 + 0) / 4)
    assert found.top_dice == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)
    assert (found.empty_model, found.empty_readers, found.empty_error) == (0.25, 0.25, 0)
    assert found.empty_accuracy == 1


def test_absent_readers_do_not_count():
    labels, masks = rows(*[ONE] * 16), rows(ONE, ONE, EMPTY, TWO)
    found = scores(labels, [1 / 16] * 16, masks, draws=16, present=np.array([True, True, False, False]))
    assert (found.ged16_v, found.hm_iou16, found.empty_readers) == (0, 1, 0)


def test_exact_support_is_weighted_and_resampled():
    masks = rows(ONE, TWO, EMPTY, EMPTY)
    found = scores(rows(ONE, TWO, EMPTY), [0.25, 0.25, 0.5], masks, draws=None)
    assert found.ged_v == pytest.approx(0, abs=1e-15)
    assert found.ged_u == pytest.approx(found.reader_diversity * (1 - 4 / 3))
    assert found.ged16_v > 0
    assert found.sample_diversity == pytest.approx(found.reader_diversity)
    assert (found.empty_model, found.top_iou) == (0.5, 0.5)


def test_more_draws_than_sixteen_give_both():
    labels = rows(*[ONE] * 16, *[EMPTY] * 16)
    found = scores(labels, [1 / 32] * 32, rows(ONE, EMPTY), draws=32)
    assert found.ged_v == 0
    assert found.ged16_v == 2 * 0.5 - 0 - 0.5


def test_what_nobody_can_know_is_nan():
    assert math.isnan(scores(rows(*[ONE] * 16), [1 / 16] * 16, rows(TWO), draws=16).ged16_u)
    assert math.isnan(scores(rows(*[ONE] * 16), [1 / 16] * 16, rows(TWO, EMPTY), draws=16).empty_accuracy)


def test_known_odds_stand_for_as_many_readers():
    """Odds 3/4 and 1/4 are the same truth as three readers and one, but nothing of it is a sample."""
    labels = rows(*[ONE] * 12, *[EMPTY] * 4)
    known = scores(labels, [1 / 16] * 16, rows(TWO, EMPTY), draws=16, odds=np.array([0.75, 0.25]))
    readers = scores(labels, [1 / 16] * 16, rows(TWO, TWO, TWO, EMPTY), draws=16)
    for name in set(SCORE_NAMES) - {"ged16_u", "ged_u", "mode_error"}:
        assert getattr(known, name) == pytest.approx(getattr(readers, name)), name
    assert known.ged16_u == pytest.approx(2 * known.overlap16 - known.sample_diversity16 * 16 / 15 - 2 * 0.75 * 0.25)
    assert known.mode_error == pytest.approx(0)
    assert math.isnan(readers.mode_error)
    off = scores(rows(ONE, EMPTY), [0.5, 0.5], rows(TWO, EMPTY), draws=None, odds=np.array([0.75, 0.25]))
    assert off.mode_error == pytest.approx(0.25)
    assert (off.empty_readers, off.empty_error, off.empty_accuracy) == (0.25, 0.25, 1)


def test_exact_odds_are_perfect():
    odds = np.array([0.1, 0.2, 0.7])
    found = scores(rows(EMPTY, ONE, TWO), odds, rows(EMPTY, ONE, TWO), draws=None, odds=odds)
    for name in ("ged_v", "ged_u", "mode_error", "empty_error"):
        assert getattr(found, name) == pytest.approx(0, abs=1e-15), name
    assert found.top_iou == pytest.approx(0.2 * 0.5 + 0.7)


def test_ignored_pixels_and_other_classes_change_no_figure():
    """Noise where a mask is ignored, and in classes without score, is not seen by any figure."""
    rng = np.random.default_rng(3)
    labels, masks = (rng.integers(3, size=(n, 5, 6), dtype=np.uint8) for n in (16, 3))
    found = scores(labels, [1 / 16] * 16, masks, draws=16)
    wider = [
        np.concatenate((each, rng.integers(3, size=(len(each), 5, 2), dtype=np.uint8)), 2) for each in (labels, masks)
    ]
    wider[1][0, :, 6:] = IGNORE
    noisy = [np.where((each == 0) & (rng.random(each.shape) < 0.5), 4, each).astype(np.uint8) for each in wider]
    again = scores(noisy[0], [1 / 16] * 16, noisy[1], draws=16, scored=(1, 2))
    assert vars(again) == pytest.approx(vars(found), nan_ok=True)


def test_validation_knows_odds_and_scored_classes():
    rng = np.random.default_rng(4)
    labels, masks = (rng.integers(4, size=(5, n, 6, 6), dtype=np.uint8) for n in (16, 3))
    masks[0, 0, 0] = IGNORE
    odds = rng.dirichlet(np.ones(3), 5)
    present = np.ones((5, 3), bool)
    given = {"draws": 16, "scored": (1, 3)}
    found = validation_scores(labels, np.full((5, 16), 1 / 16), masks, present, odds=odds, **given)
    cases = [scores(labels[i], [1 / 16] * 16, masks[i], odds=odds[i], **given) for i in range(5)]
    expected = {
        "ged": np.mean([case.ged16_v for case in cases]),
        "ged_u": np.mean([case.ged16_u for case in cases]),
        "hm_iou": np.mean([case.hm_iou16 for case in cases]),
        "overlap": np.mean([case.overlap16 for case in cases]),
        "diversity": np.mean([case.sample_diversity16 for case in cases]),
        "mode_error": np.mean([case.mode_error for case in cases]),
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_validation_scores_are_the_means_of_the_cases():
    rng = np.random.default_rng(1)
    labels, masks = (
        rng.integers(2, size=(5, 16, 6, 6), dtype=np.uint8),
        rng.integers(2, size=(5, 3, 6, 6), dtype=np.uint8),
    )
    present = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1]], bool)
    found = validation_scores(labels, np.full((5, 16), 1 / 16, np.float32), masks, present, draws=16)
    cases = [scores(labels[i], [1 / 16] * 16, masks[i], draws=16, present=present[i]) for i in range(5)]
    expected = {
        "ged": np.mean([case.ged16_v for case in cases]),
        "ged_u": np.nanmean([case.ged16_u for case in cases]),
        "hm_iou": np.mean([case.hm_iou16 for case in cases]),
        "overlap": np.mean([case.overlap16 for case in cases]),
        "diversity": np.mean([case.sample_diversity16 for case in cases]),
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_validation_with_one_reader_has_no_unbiased_ged():
    found = validation_scores(
        rows(ONE, TWO)[None], np.full((1, 2), 0.5), rows(ONE)[None], np.ones((1, 1), bool), draws=2
    )
    assert math.isnan(found["ged_u"])
    assert found["ged"] == pytest.approx(2 * 0.25 - 0.25)


def test_validation_is_fast_enough_to_run_often():
    """Measured: .2 s on one core for 200 images of 128x128, 100 samples, 4 readers; here a tenth of it, with a loose limit."""
    rng = np.random.default_rng(2)
    centre = np.hypot(*(np.mgrid[:128, :128] - 64))
    labels = (centre < rng.uniform(8, 24, (20, 100, 1, 1))).astype(np.uint8)
    start = time.perf_counter()
    validation_scores(labels, np.full((20, 100), 0.01), labels[:, :4], np.ones((20, 4), bool), draws=100)
    assert time.perf_counter() - start < 1
