"""The two sides of an image: who disagrees, how ambiguous the model is, and one ranking from the overlaps at hand."""

import numpy as np
import pytest
import torch

from ambiseg.models.core.hypotheses import LEAST, rank
from ambiseg.models.metrics.sides import both_sides
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.store import IGNORE

LEFT, RIGHT, WIDE, EMPTY = [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]


def rows(*masks):
    return np.array(masks, np.uint8)[:, None]


def sides(labels, weights, masks, **given):
    return both_sides(labels, np.array(weights), masks, **{"draws": None, **given})


@pytest.mark.parametrize(
    ("masks", "disagree"),
    [
        ((LEFT, WIDE), False),
        ((LEFT, RIGHT), True),
        ((LEFT, EMPTY, LEFT), True),
        ((EMPTY, EMPTY), False),
        ((LEFT,), False),
        ((LEFT, [2, 2, 0, 0]), True),
    ],
)
def test_readers_disagree_when_two_share_nothing(masks, disagree):
    found = sides(rows(LEFT), [1.0], rows(*masks))
    assert found.disagree is disagree
    np.testing.assert_allclose(found.truth, np.full(len(masks), 1 / len(masks)))


def test_masks_that_nobody_can_draw_and_absent_readers_disagree_with_none():
    odds = np.array([0.4, 0.6, 0.0])
    assert not sides(rows(LEFT), [1.0], rows(LEFT, WIDE, RIGHT), odds=odds).disagree
    assert not sides(rows(LEFT), [1.0], rows(LEFT, WIDE, RIGHT), present=np.array([True, True, False])).disagree


def test_ambiguity_leaves_out_the_self_pairs_of_draws_only():
    labels = rows(LEFT, LEFT, EMPTY, EMPTY)
    assert sides(labels, [0.25] * 4, rows(LEFT), draws=4).ged.ambiguity == pytest.approx(0.5 * 4 / 3)
    assert sides(labels, [0.25] * 4, rows(LEFT)).ged.ambiguity == pytest.approx(0.5)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_hypotheses_are_ranked_from_the_overlaps_at_hand(kind):
    """As if masks were ranked by themselves; ignored pixels and classes without score are seen by no ranking."""
    rng = np.random.default_rng(0)
    for classes in (2, 4):
        for _ in range(30):
            labels = rng.integers(classes, size=(12, 3, 3), dtype=np.uint8)[rng.integers(12, size=12)]
            masks = rng.integers(classes, size=(2, 3, 3), dtype=np.uint8)
            masks[0, 0] = IGNORE
            weights = rng.dirichlet(np.ones(12))
            found = sides(kind(labels), weights, masks, draws=12, scored=(1,))
            seen = np.where(labels == 1, labels, 0)
            seen[:, 0] = 0
            np.testing.assert_array_equal(found.labels, seen)
            expected = rank(seen, weights, draws=12)
            for name, value in vars(expected).items():
                np.testing.assert_array_equal(getattr(found.hypotheses, name), value)
            assert found.hypotheses.residual < 12 * LEAST


def test_an_image_that_nobody_read_is_told():
    with pytest.raises(DataError, match="No reader read this image"):
        sides(rows(LEFT), [1.0], rows(LEFT), present=np.array([False]))
