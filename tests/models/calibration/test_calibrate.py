"""Calibrating a model: only val is used, the check judges the same cases before and after, and documents hold both."""

import pytest

from ambiseg.models.calibration.calibrate_run import Check, Pair, calibrate, check, check_split
from ambiseg.models.calibration.judgement import Judgement
from ambiseg.models.metrics.summary import Figure
from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.store.store import Store


def test_a_model_is_fitted_on_val_alone(known_truth: Store, threshold_model) -> None:
    """A check on what was fitted is refused, as are splits without cases."""
    data = known_truth.intensity
    trained = threshold_model(crop=max(known_truth.size), unit=data.unit, low=data.low, high=data.high)
    seen = []
    fitted = calibrate(trained, known_truth, samples=32, limit=12, on_progress=lambda *done: seen.append(done))
    assert (fitted.slices.events, seen[-1]) == (12, (12, 12))
    assert (fitted.calibration.split, fitted.calibration.data_hash) == ("val", known_truth.content_hash)
    assert fitted.lesions is fitted.calibration.lesions is None  # single images with known truth are no lesions
    for split in ("val", "all"):
        with pytest.raises(UsageError, match="fitted on 'val', so a check on"):
            check_split(known_truth, split)
    with pytest.raises(InputError, match="No split 'tset'"):
        check_split(known_truth, "tset")
    check_split(known_truth, "test")
    with pytest.raises(UsageError, match="no calibration to check"):
        check(trained, known_truth, "test")


@pytest.mark.parametrize(
    ("name", "before", "after", "worse"),
    [
        ("top_ece", 0.067, 0.114, True),
        ("top_ece", 0.030, 0.034, False),
        ("nll", 1.0, 1.02, True),
        ("nll", 1.0, 1.002, False),
    ],
)
def test_a_check_that_got_worse_names_its_figures(name: str, before: float, after: float, worse: bool) -> None:
    def judged(value: float) -> Judgement:
        figures = dict.fromkeys(("nll", "brier", "ece", "top_ece"), 0.5) | {name: value}
        return Judgement({one: Figure(mean, 0.0, 0.0, 1.0, 9) for one, mean in figures.items()}, {}, ())

    pair = Pair(judged(before), judged(after), 9, 9)
    assert pair.worse() == [name] * worse
    assert Check("test", pair, None).worse() == ({"slices": [name]} if worse else {})
