"""Fitting a calibration: known distortions are corrected, honest models are left alone, extents are found again."""

import numpy as np
import pytest
from scipy.special import expit, logit

from ambiseg.models.calibration.fitting import Event, Slices, fit, fit_extent
from ambiseg.models.core.lesion_slices import Extent
from ambiseg.preprocessing.errors import DataError

GRID = np.exp(np.linspace(-1.6, 1.6, 41))


def made(
    cases: int, *, shift: float = 0.0, slope: float = 1.0, bias: float = 0.0, wide: float = 1.0, seed: int = 0
) -> list[Event]:
    """Lesions whose readers mark them with a known probability and log-normal sizes (sd .3 nats).

    The model's log-odds are (truth - shift) / slope; its sizes are `wide` times as wide, and off by `bias` nats.
    """
    rng = np.random.default_rng(seed)
    events = []
    for case in range(cases):
        chance, middle = expit(rng.normal(0.5, 1.2)), rng.normal(5, 1)
        logs = np.log(GRID) * wide + bias
        inside = np.exp(-0.5 * (np.log(GRID) / 0.3) ** 2)
        stated = expit((logit(chance) - shift) / slope)
        weights = np.append(inside / inside.sum() * stated, 1 - stated)
        sizes = np.append(np.rint(np.exp(middle + logs)), 0).astype(np.intp)
        readers = np.rint(np.exp(middle + rng.normal(0, 0.3, 4)) * (rng.random(4) < chance)).astype(np.intp)
        events.append(Event(f"p{case // 2}", weights, sizes, readers, np.full(4, 0.25)))
    return events


def test_a_bias_of_presence_is_found() -> None:
    found = fit(made(1500, shift=-0.8, slope=0.6))
    assert found.numbers.presence_shift == pytest.approx(-0.8, abs=0.1)
    assert found.numbers.presence_slope == pytest.approx(0.6, abs=0.08)
    before, after = found.held_out["presence"]
    assert after < before - 0.02


def test_sizes_that_are_biased_and_too_wide_are_corrected() -> None:
    """The corrected set has the truth's mean and spread of log size."""
    events = made(800, bias=0.25, wide=2.0)
    found = fit(events)
    numbers = found.numbers
    assert numbers.size_sharpness > 1
    assert found.held_out["size"][0] == pytest.approx(0, abs=1e-12)
    assert found.held_out["size"][1] < -0.2
    errors, spreads = [], []
    for event in events:
        marked = event.sizes > 0
        weights = numbers.weights(event.weights, event.sizes)[marked]
        logs, weights = np.log(event.sizes[marked]), weights / weights.sum()
        mean = weights @ logs
        spreads.append(np.sqrt(weights @ (logs - mean) ** 2))
        errors += list(mean - np.log(event.readers[event.readers > 0]))
    assert np.mean(errors) == pytest.approx(0, abs=0.04)
    assert np.mean(spreads) == pytest.approx(0.3, abs=0.06)  # .6 before


def test_an_honest_model_is_left_nearly_alone() -> None:
    numbers = fit(made(1500)).numbers
    assert (numbers.presence_shift, numbers.presence_slope - 1) == pytest.approx((0, 0), abs=0.1)
    assert numbers.size_shift == pytest.approx(0, abs=0.4)
    assert numbers.size_sharpness == pytest.approx(0, abs=0.3)


def test_what_does_not_help_patients_left_out_is_not_kept() -> None:
    for seed in range(6):
        found = fit(made(12, seed=seed))
        for part, names in (
            ("presence", ("presence_shift", "presence_slope")),
            ("size", ("size_shift", "size_sharpness")),
        ):
            if part in found.held_out and found.held_out[part][1] >= found.held_out[part][0]:
                assert [getattr(found.numbers, name) for name in names] == [0, int(part == "presence")]


def test_readers_who_never_differ_give_finite_numbers() -> None:
    events = [
        Event(f"p{number}", np.array([0.3, 0.7]), np.array([0, 9]), np.full(4, 9), np.full(4, 0.25))
        for number in range(30)
    ]
    assert fit(events).numbers.size_sharpness == 0
    assert "presence" not in fit(events).held_out


def test_one_patient_is_not_enough() -> None:
    with pytest.raises(DataError, match="at least two patients, got 1"):
        fit(made(2))


@pytest.mark.parametrize("among", [4, None])
def test_an_extent_is_found_again(among: int | None) -> None:
    """Readers who mark the lesion mark its slices by known probabilities; slices nobody marks are not seen if `among`."""
    truth = Extent(intercept=1.5, slope=1.3, peak=0.4, among=among)
    rng = np.random.default_rng(1)
    lesions = []
    for _ in range(1500):
        q = np.clip(rng.beta(2, 2, 7), 0.05, 0.95)
        stated = q if among is None else q / (1 - (1 - q) ** 4)
        chances = truth.given(stated)
        marked = rng.random((7, 3)) < chances[:, None]
        seen = marked.any(1) | (among is None)
        lesions.append(Slices(stated[seen], marked[seen]))
    found = fit_extent([one for one in lesions if len(one.stated)], among)
    assert found is not None
    for name in ("intercept", "slope", "peak"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), abs=0.25)


def test_an_extent_needs_lesions_that_two_readers_marked() -> None:
    assert fit_extent([Slices(np.array([0.5] * 20), np.eye(20, 4, dtype=bool) & False)], 4) is None
