"""What readers chose among hypotheses, and the scores of the probabilities, on cases counted by hand."""

import math

import numpy as np
import pytest

from ambiseg.models.core.hypotheses import rank
from ambiseg.models.metrics.coverage import coverage
from ambiseg.models.metrics.outcomes import FLOOR, Outcome, brier, nll, outcome


def strips(*ends: int) -> np.ndarray:
    """Masks that mark the first so many of ten pixels."""
    return np.stack([(np.arange(10) < end).astype(np.uint8)[None] for end in ends])


def test_each_reader_counts_for_the_nearest_hypothesis() -> None:
    """Of 10 draws, 5 mark two pixels, 3 nothing, 2 all ten; a reader's three pixels are nearest to the two."""
    labels = strips(*[2] * 5, *[0] * 3, *[10] * 2)
    found = outcome(rank(labels, np.full(10, 0.1), top=10), strips(3, 0, 9, 0), np.full(4, 0.25))
    np.testing.assert_allclose(found.probabilities, [0.5, 0.3, 0.2, 0], atol=1e-12)
    np.testing.assert_allclose(found.hits, [0.25, 0.5, 0.25, 0])
    assert found.empty.tolist() == [False, True, False, False]


def test_a_mask_that_overlaps_no_hypothesis_is_none_of_these() -> None:
    labels = strips(2, 2)
    right = 1 - strips(8)
    found = outcome(
        rank(labels, np.full(2, 0.5), top=2), np.concatenate((right, strips(0, 2))), np.array([0.2, 0.3, 0.5])
    )
    np.testing.assert_allclose(found.hits, [0.5, 0.5])
    np.testing.assert_allclose(found.probabilities, [1, 0])


def test_scores_by_hand() -> None:
    found = Outcome(np.array([0.7, 0.3, 0.0]), np.array([0.5, 0.25, 0.25]), np.zeros(3, bool))
    assert nll(found) == pytest.approx(-0.5 * math.log(0.7) - 0.25 * math.log(0.3) - 0.25 * math.log(FLOOR))
    by_reader = [0.3**2 + 0.3**2, 0.7**2 + 0.7**2, 0.7**2 + 0.3**2 + 1]
    assert brier(found) == pytest.approx(np.dot(found.hits, by_reader))


def test_the_truth_itself_scores_best() -> None:
    rng = np.random.default_rng(0)
    truth, other = rng.dirichlet(np.ones(5), 2)
    right, wrong = (Outcome(p, truth, np.zeros(5, bool)) for p in (truth, other))
    assert nll(right) < nll(wrong)
    assert brier(right) < brier(wrong)


def test_credible_sets_state_and_hold() -> None:
    certain = Outcome(np.array([0.9, 0.1]), np.array([1.0, 0.0]), np.zeros(2, bool))
    split = Outcome(np.array([0.4, 0.35, 0.25]), np.array([0.5, 0.25, 0.25]), np.zeros(3, bool))
    half = coverage([certain, split], 0.5)
    assert (half.stated, half.held, half.size) == pytest.approx(((0.9 + 0.75) / 2, (1 + 0.75) / 2, 1.5))
    most = coverage([certain, split], 0.95)
    assert (most.stated, most.held, most.size) == pytest.approx((1, 1, 2.5))


def test_credible_sets_of_the_truth_hold_what_they_state() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(4000):
        p = np.sort(rng.dirichlet(np.ones(6)))[::-1]
        found.append(Outcome(p, rng.multinomial(4, p) / 4, np.zeros(6, bool)))
    for level in (0.5, 0.9):
        sets = coverage(found, level)
        assert sets.held == pytest.approx(sets.stated, abs=0.01)
        assert sets.stated >= level
