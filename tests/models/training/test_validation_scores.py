"""The cheap figures of a validation: means over single images, and fast enough to be computed often."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ambiseg.models.metrics.scores import image_scores
from ambiseg.models.metrics.sides import both_sides
from ambiseg.models.training.validation import validation_scores
from ambiseg.preprocessing.store.store import IGNORE


def scores(labels, weights, masks, present=None, **known):
    sides = both_sides(labels, np.array(weights), masks, present, **known)
    return SimpleNamespace(**image_scores(sides, rng=np.random.default_rng(0)))


def of_both_sides(cases):
    """How diverse the readers are, and how often both sides' masks are empty."""
    empty, reader_empty = ([getattr(case, name) for case in cases] for name in ("empty_model", "empty_readers"))
    return {
        "reader_diversity": np.mean([case.reader_diversity for case in cases]),
        "empty": np.mean(empty),
        "reader_empty": np.mean(reader_empty),
        "empty_spread": np.std(empty),
        "reader_empty_spread": np.std(reader_empty),
    }


def test_validation_knows_odds_and_scored_classes():
    rng = np.random.default_rng(4)
    labels, masks = (rng.integers(4, size=(5, n, 6, 6), dtype=np.uint8) for n in (16, 3))
    masks[0, 0, 0] = IGNORE
    odds = rng.dirichlet(np.ones(3), 5)
    present = np.ones((5, 3), bool)
    given = {"draws": 16, "scored": (1, 3)}
    found = validation_scores(labels, np.full((5, 16), 1 / 16), masks, present, odds=odds, **given)
    cases = [scores(labels[i], [1 / 16] * 16, masks[i], odds=odds[i], **given) for i in range(5)]
    elsewhere = [scores(labels[i], [1 / 16] * 16, masks[i - 4], odds=odds[i - 4], **given) for i in range(5)]
    expected = {
        **of_both_sides(cases),
        "overlap_elsewhere": np.mean([case.overlap16 for case in elsewhere]),
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
    elsewhere = [scores(labels[i], [1 / 16] * 16, masks[i - 4], draws=16, present=present[i - 4]) for i in range(5)]
    expected = {
        **of_both_sides(cases),
        "overlap_elsewhere": np.mean([case.overlap16 for case in elsewhere]),
        "ged": np.mean([case.ged16_v for case in cases]),
        "ged_u": np.nanmean([case.ged16_u for case in cases]),
        "hm_iou": np.mean([case.hm_iou16 for case in cases]),
        "overlap": np.mean([case.overlap16 for case in cases]),
        "diversity": np.mean([case.sample_diversity16 for case in cases]),
    }
    assert found == pytest.approx(expected, abs=1e-12)
    tensors = validation_scores(
        torch.from_numpy(labels), np.full((5, 16), 1 / 16, np.float32), masks, present, draws=16
    )
    assert tensors == found


def test_an_exact_support_is_drawn_from_as_in_evaluation():
    """HM-IoU16 of exact weights is of 16 independent draws: over many seeds its mean is the evaluation's, and draws spread.

    Two masks at odds .5 against readers who drew each of them twice: with B draws of one mask out of 16, at least |B - 8| pairs
    do not match. Masks taken just as often as they weigh would always score 1.
    """
    labels = np.array([[[[1, 0]], [[0, 1]]]], np.uint8)
    masks = labels[:, [0, 0, 1, 1]]
    weights = np.array([[0.5, 0.5]])
    sides = both_sides(labels[0], weights[0], masks[0], draws=None)
    evaluated = [image_scores(sides, rng=np.random.default_rng(seed))["hm_iou16"] for seed in range(300)]
    validated = [
        validation_scores(labels, weights, masks, np.ones((1, 4), bool), draws=None, seed=seed)["hm_iou"]
        for seed in range(300)
    ]
    expected = sum(math.comb(16, b) * (16 - abs(b - 8)) / 16 for b in range(17)) / 2**16
    assert expected < 0.91
    assert np.mean(validated) == pytest.approx(expected, abs=0.015)
    assert np.mean(evaluated) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("draws", [None, 20])
def test_validation_takes_the_masks_that_evaluation_takes(draws):
    rng = np.random.default_rng(6)
    labels, masks = (rng.integers(2, size=(1, n, 5, 5), dtype=np.uint8) for n in (20, 4))
    weights = rng.dirichlet(np.ones(20), 1) if draws is None else np.full((1, 20), 1 / 20)
    found = validation_scores(labels, weights, masks, np.ones((1, 4), bool), draws=draws, seed=3)
    sides = both_sides(labels[0], weights[0], masks[0], draws=draws)
    assert found["hm_iou"] == image_scores(sides, rng=np.random.default_rng((3, 0)))["hm_iou16"]
    again = validation_scores(labels, weights, masks, np.ones((1, 4), bool), draws=draws, seed=3)
    assert again == found


def test_validation_with_one_reader_has_no_unbiased_ged():
    found = validation_scores(
        np.array([[[[1, 0]], [[1, 1]]]], np.uint8),
        np.full((1, 2), 0.5),
        np.array([[[[1, 0]]]], np.uint8),
        np.ones((1, 1), bool),
        draws=2,
    )
    assert math.isnan(found["ged_u"])
    assert found["ged"] == pytest.approx(2 * 0.25 - 0.25)


def test_validation_is_fast_enough_to_run_often():
    """Measured: .2 s on one core for 200 images of 128x128, 100 samples, 4 readers; here a tenth of it, with a loose limit."""
    rng = np.random.default_rng(2)
    centre = np.hypot(*(np.mgrid[:128, :128] - 64))
    labels = (centre < rng.uniform(8, 24, (20, 100, 1, 1))).astype(np.uint8)
    start = time.process_time()
    validation_scores(labels, np.full((20, 100), 0.01), labels[:, :4], np.ones((20, 4), bool), draws=100)
    assert time.process_time() - start < 1
