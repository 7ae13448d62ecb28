"""Every figure of one image by hand, and an independent slow implementation over thousands of random sets."""

import math
from functools import cache
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from ambiseg.models.core.calibration import Reweighting
from ambiseg.models.metrics.catalogue import CASE_MEASURES, DRAWS
from ambiseg.models.metrics.scores import image_scores
from ambiseg.models.metrics.sides import both_sides
from ambiseg.preprocessing.store.store import IGNORE


def rows(*masks):
    return np.array(masks, np.uint8)[:, None]


EMPTY, ONE, TWO = [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]


def scores(labels, weights, masks, *, draws, present=None, spacing_mm=None, seed=0, **known):
    sides = both_sides(labels, np.array(weights), masks, present, draws=draws, **known)
    return SimpleNamespace(**image_scores(sides, rng=np.random.default_rng(seed), spacing_mm=spacing_mm))


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
    assert found.d_max16 == pytest.approx((2 / 3 + 1 + 1 + 1) / 4)  # the best of TWO and EMPTY for each reader
    assert found.ot_iou == pytest.approx(found.hm_iou16)
    assert found.best_dice == found.top_dice  # EMPTY, the other hypothesis, has 1/4
    assert found.hypothesis_nll == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert found.hypothesis_brier == pytest.approx(0.75 * 0.25 + 0.25 * 0.75)


def test_names_are_the_catalogues_in_its_order():
    found = scores(rows(*[ONE] * 16), [1 / 16] * 16, rows(TWO), draws=16)
    assert tuple(vars(found)) == CASE_MEASURES


def test_fewer_draws_than_a_figure_needs_leave_it_undefined():
    for count, defined in ((16, (16,)), (50, (16, 50)), (99, (16, 50)), (100, (16, 50, 100))):
        found = scores(rows(*[ONE] * count), [1 / count] * count, rows(ONE, TWO), draws=count)
        for n, kind in product(DRAWS, ("ged{}_v", "ged{}_u", "overlap{}", "sample_diversity{}")):
            assert math.isnan(getattr(found, kind.format(n))) == (n not in defined), (count, kind, n)


def test_first_draws_are_nested():
    """Of 100 draws the first 16 are ONE, the next 34 TWO, the others EMPTY."""
    labels = rows(*[ONE] * 16, *[TWO] * 34, *[EMPTY] * 50)
    found = scores(labels, [1 / 100] * 100, rows(ONE), draws=100)
    assert (found.overlap16, found.sample_diversity16) == (0, 0)
    assert found.overlap50 == pytest.approx(0.68 * 0.5)
    assert found.sample_diversity50 == pytest.approx(2 * 0.32 * 0.68 * 0.5)
    assert found.overlap100 == pytest.approx(0.34 * 0.5 + 0.5)
    assert (found.ged_v, found.overlap) == pytest.approx((found.ged100_v, found.overlap100))
    assert (found.hm_iou16, found.d_max16) == (1, 1)
    assert found.ot_iou == pytest.approx(0.16 + 0.34 * 0.5)


def test_exact_weights_are_resampled_once_for_all_numbers_of_draws():
    """Means over seeds meet the expectations, and the sets are nested: 16 draws that agree come with 100 that hold them."""
    labels, masks, weights = rows(ONE, EMPTY), rows(ONE, ONE, EMPTY), [0.75, 0.25]
    found = [scores(labels, weights, masks, draws=None, seed=seed) for seed in range(400)]
    for n in DRAWS:
        drawn = np.array([getattr(one, f"sample_diversity{n}") for one in found])
        expected = 2 * 0.75 * 0.25 * (1 - 1 / n)
        assert drawn.mean() == pytest.approx(expected, abs=4 * drawn.std() / 20)
    overlap16, overlap50 = (np.array([getattr(one, f"overlap{n}") for one in found]) for n in (16, 50))
    assert np.corrcoef(overlap16, overlap50)[0, 1] == pytest.approx(math.sqrt(16 / 50), abs=0.15)
    assert len({one.ged_v for one in found}) == 1


def test_best_dice_is_of_the_hypothesis_that_readers_like_best():
    found = scores(rows(EMPTY, TWO, ONE), [0.5, 0.3, 0.2], rows(ONE, TWO, TWO), draws=None)
    assert found.top_dice == 0
    assert found.best_dice == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_surface_distance_of_the_top_hypothesis_is_to_readers_who_marked_something():
    labels, masks = (np.zeros((n, 6, 6), np.uint8) for n in (1, 3))
    labels[0, 1, 1] = masks[0, 1, 3] = 1  # two pixels of 2 mm apart along x
    masks[1, 4, 1] = 2  # three pixels of .5 mm apart along y, of another class
    given = {"draws": None, "spacing_mm": (0.5, 2.0)}
    assert scores(labels, [1.0], masks, **given).top_surface_mm == pytest.approx((4 + 1.5) / 2)
    odds = np.array([0.1, 0.3, 0.6])
    assert scores(labels, [1.0], masks, odds=odds, **given).top_surface_mm == pytest.approx((0.1 * 4 + 0.3 * 1.5) / 0.4)
    assert math.isnan(scores(labels, [1.0], masks[2:], **given).top_surface_mm)
    assert math.isnan(scores(0 * labels, [1.0], masks, **given).top_surface_mm)
    assert math.isnan(scores(labels, [1.0], masks, draws=None).top_surface_mm)


def test_calibration_changes_what_hypotheses_say_and_nothing_of_the_draws():
    """With the empty mask's odds halved, the hypotheses change places."""
    labels, masks = rows(*[EMPTY] * 9, *[TWO] * 7), rows(TWO, TWO, EMPTY)
    plain = scores(labels, [1 / 16] * 16, masks, draws=16)
    shifted = Reweighting(presence_shift=math.log(2))
    found = scores(labels, [1 / 16] * 16, masks, draws=16, calibration=shifted)
    assert (plain.top_dice, found.top_dice) == pytest.approx((1 / 3, 2 / 3))
    changed = {name for name in CASE_MEASURES if repr(getattr(plain, name)) != repr(getattr(found, name))}
    assert changed == {"top_iou", "top_dice", "hypothesis_nll", "hypothesis_brier"}


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
    for name in set(CASE_MEASURES) - {"ged16_u", "ged_u", "mode_error"}:
        assert getattr(known, name) == pytest.approx(getattr(readers, name), nan_ok=True), name
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


def slow_score(a, b, dice):
    return slow_score_of_bytes(a.tobytes(), b.tobytes(), dice)


@cache
def slow_score_of_bytes(a, b, dice):
    """IoU or Dice of two label maps, by sets of pixels and classes one by one."""
    found = []
    for label in set(a + b) - {0}:
        first, second = ({i for i, value in enumerate(mask) if value == label} for mask in (a, b))
        both = len(first & second)
        found.append(2 * both / (len(first) + len(second)) if dice else both / len(first | second))
    return sum(found) / len(found) if found else 1.0


def slow_scores(labels, weights, masks, truth, readers):
    """What the definitions say, read once more: loops over pairs, nothing shared."""

    def expected(left, p, right, q):
        return sum(
            v * w * (1 - slow_score(a, b, False))
            for a, v in zip(left, p, strict=True)
            for b, w in zip(right, q, strict=True)
        )

    found = {}
    sets = {"16": (labels[:16], np.full(16, 1 / 16)), "": (labels, weights)}
    own = expected(masks, truth, masks, truth)
    for name, (some, p) in sets.items():
        overlap, diversity = expected(some, p, masks, truth), expected(some, p, some, p)
        found[f"overlap{name}"], found[f"sample_diversity{name}"] = overlap, diversity
        found[f"ged{name}_v"] = 2 * overlap - diversity - own
        unbiased = own if readers is None else own * readers / (readers - 1) if readers > 1 else math.nan
        found[f"ged{name}_u"] = 2 * overlap - diversity * len(some) / (len(some) - 1) - unbiased
    found["reader_diversity"] = own
    found["d_max16"] = sum(
        w * max(slow_score(s, y, True) for s in labels[:16]) for y, w in zip(masks, truth, strict=True)
    )
    for name, sides in (("empty_model", (labels, weights)), ("empty_readers", (masks, truth))):
        found[name] = sum(w for mask, w in zip(*sides, strict=True) if not mask.any())
    found["empty_error"] = abs(found["empty_model"] - found["empty_readers"])
    return found


@pytest.mark.parametrize("classes", [2, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_agrees_with_slow_definitions_over_thousands_of_random_sets(classes):
    """Every set of 16 to 20 draws has up to four masks, of which many are empty; with odds and without."""
    rng = np.random.default_rng(classes)
    for _ in range(1200):
        support = rng.integers(classes, size=(rng.integers(1, 5), 2, 2), dtype=np.uint8)
        support[rng.random(len(support)) < 0.3] = 0
        count = rng.integers(16, 21)
        labels = support[rng.integers(len(support), size=count)]
        masks = rng.integers(classes, size=(rng.integers(1, 4), 2, 2), dtype=np.uint8)
        masks[rng.random(len(masks)) < 0.3] = 0
        odds = rng.dirichlet(np.ones(len(masks))) if rng.random() < 0.5 else None
        weights = np.full(count, 1 / count)
        found = vars(scores(labels, weights, masks, draws=int(count), odds=odds))
        truth = np.full(len(masks), 1 / len(masks)) if odds is None else odds
        expected = slow_scores(labels, weights, masks, truth, len(masks) if odds is None else None)
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_images_and_volumes_of_one_lesion_score_alike():
    rng = np.random.default_rng(0)
    labels, masks = (rng.integers(2, size=(n, 2, 4, 4), dtype=np.uint8) for n in (16, 3))
    found = scores(labels, [1 / 16] * 16, masks, draws=16)
    flat = scores(labels.reshape(16, 8, 4), [1 / 16] * 16, masks.reshape(3, 8, 4), draws=16)
    assert vars(found) == pytest.approx(vars(flat), nan_ok=True)
