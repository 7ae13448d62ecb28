"""Fitting a calibration: known distortions are corrected, shifts are fitted only where they help, and only val is used."""

import numpy as np
import pytest

from ambiseg.models.core.calibration import FLOOR, Calibration
from ambiseg.models.evaluation.calibrate_run import CHOICES, Events, calibrate, check_split, choices, choose, fitted
from ambiseg.models.evaluation.check_document import JudgementSummary
from ambiseg.models.evaluation.judgement import judge, recalibrated
from ambiseg.models.metrics.outcomes import Outcome
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.store.store import Store


def made_cases(
    cases: int, *, temperature: float = 1.0, empty: float = 0.0, none: float = 0.0, seed: int = 0, readers: int = 4
) -> tuple[list[Outcome], list[str]]:
    """Cases whose model states p^temperature of the truth's p, exp(-empty) too little or much of the empty mask, and
    nothing of the share `none` of readers who draw something else; two cases a patient.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(cases):
        truth = rng.dirichlet(np.ones(4)) * (1 - none)
        is_empty = np.array([True, False, False, False])
        stated = truth**temperature * np.exp(-empty * is_empty)
        hits = rng.multinomial(readers, np.append(truth, none)) / readers
        order = np.argsort(-stated)
        found.append(
            Outcome(
                np.append(stated[order] / stated.sum(), 0),
                np.append(hits[:4][order], hits[4]),
                np.append(is_empty[order], False),
            )
        )
    return found, [f"p{case // 2}" for case in range(cases)]


def test_a_temperature_is_found() -> None:
    found, patients = made_cases(1500, temperature=2.0)
    chosen, (inverse, empty, none), held_out = choose(found, patients)
    assert chosen == "temperature"
    assert 1 / inverse == pytest.approx(2, abs=0.1)
    assert (empty, none) == (0, np.log(FLOOR))
    assert held_out["temperature"] < held_out["nothing"] - 0.05


def test_shifts_are_found_where_they_are() -> None:
    found, patients = made_cases(2000, empty=1.0, none=0.1)
    chosen, (inverse, empty, none), _ = choose(found, patients)
    assert chosen == "temperature, empty, none"
    assert 1 / inverse == pytest.approx(1, abs=0.07)
    assert empty == pytest.approx(1, abs=0.15)
    shares = believed_none(found, inverse, empty, none)
    assert shares == pytest.approx(0.1, abs=0.02)


def believed_none(found: list[Outcome], inverse: float, empty: float, none: float) -> float:
    weights = [one.probabilities[:-1] ** inverse * np.exp(empty * one.empty[:-1]) for one in found]
    return float(np.mean([np.exp(none) / (one.sum() + np.exp(none)) for one in weights]))


def test_an_honest_model_is_left_alone() -> None:
    found, patients = made_cases(1500)
    chosen, numbers, _ = choose(found, patients)
    assert chosen == "nothing" or 1 / numbers[0] == pytest.approx(1, abs=0.06)


def test_the_gradient_is_that_of_the_likelihood() -> None:
    events = Events.of(made_cases(50, temperature=1.5, none=0.2)[0])
    numbers = np.array([0.8, 0.3, -1.0])
    _, gradient = events.nll(numbers)
    for place in range(3):
        step = np.eye(3)[place] * 1e-6
        slope = (events.nll(numbers + step)[0] - events.nll(numbers - step)[0]) / 2e-6
        assert gradient[place] == pytest.approx(slope, abs=1e-6)


def test_the_fit_is_the_best_there_is() -> None:
    events = Events.of(made_cases(300, temperature=1.7, empty=-0.8, none=0.05)[0])
    best = fitted(events, CHOICES["temperature, empty, none"])
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert events.nll(best)[0] <= events.nll(best + rng.normal(0, 0.2, 3).clip(min=[-0.3, -9, 0]))[0] + 1e-9


def test_cases_of_different_length_stand_side_by_side() -> None:
    short = Outcome(np.array([1.0, 0]), np.array([0.5, 0.5]), np.zeros(2, bool))
    long = Outcome(np.array([0.5, 0.3, 0.2, 0]), np.array([0.5, 0.25, 0.25, 0]), np.zeros(4, bool))
    numbers = np.array([1.0, 0.0, -1.0])
    together = Events.of([short, long]).nll(numbers)[0]
    assert together == pytest.approx(np.mean([Events.of([one]).nll(numbers)[0] for one in (short, long)]))


def test_one_patient_is_not_enough() -> None:
    with pytest.raises(DataError, match="at least two patients, got 1"):
        choose(made_cases(4)[0], ["p"] * 4)


def test_the_check_sees_the_gain() -> None:
    """Fitted on some cases, judged on others: likelihood and errors fall, and the credible sets hold what they state."""
    (found, patients), (others, of_others) = (
        made_cases(1500, temperature=2.5),
        made_cases(1500, temperature=2.5, seed=1),
    )
    _, (inverse, empty, none), _ = choose(found, patients)
    calibration = calibrated(1 / inverse, empty, none)
    before, after = judge(others, of_others), judge(recalibrated(others, calibration), of_others)
    for name in ("nll", "brier", "ece", "top_ece"):
        assert after.figures[name].mean < before.figures[name].mean
    assert after.figures["ece"].mean < 0.02 < before.figures["ece"].mean
    for one in after.coverage:
        assert one.held == pytest.approx(one.stated, abs=0.03)
    assert before.coverage[0].stated > before.coverage[0].held + 0.05
    assert set(JudgementSummary.of(before).model_dump()) == {"figures", "reliability", "credible_sets"}


def calibrated(temperature: float, empty: float, none: float) -> Calibration:
    about = {"merge": 0.3, "samples": 8, "seed": 0, "split": "val", "data_hash": "0", "weights_hash": "f"}
    return Calibration(temperature=temperature, empty=empty, none=none, **about)


def test_a_model_is_fitted_on_val_alone(known_truth: Store, threshold_model) -> None:
    """The choices of val give the fit; a check on what was fitted is refused, as are splits without cases."""
    data = known_truth.intensity
    trained = threshold_model(crop=max(known_truth.size), unit=data.unit, low=data.low, high=data.high)
    fit = calibrate(trained, known_truth, samples=32, limit=12)
    found, patients = choices(trained, known_truth, "val", samples=32, limit=12)
    assert fit.calibration == fit.calibration.model_copy(update={"temperature": 1 / choose(found, patients)[1][0]})
    assert (fit.cases, fit.patients) == (len(found), len(set(patients)))
    assert (fit.calibration.split, fit.calibration.data_hash) == ("val", known_truth.content_hash)
    for split in ("val", "all"):
        with pytest.raises(UsageError, match="fitted on 'val', so a check on"):
            check_split(known_truth, split)
    with pytest.raises(InputError, match="No split 'tset'"):
        check_split(known_truth, "tset")
    check_split(known_truth, "test")
