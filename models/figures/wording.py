"""What evaluations say about the data behind them, in words."""

from ambiseg.preprocessing.counted import counted

from ..comparison.comparison import ComparedRun, Comparison
from ..evaluation.summary_document import CalibrationUsed, EvaluationAbout


def data_facts(about: EvaluationAbout | Comparison) -> dict[str, str]:
    """What was compared with what: data, split, pixels, classes, truth."""
    crop = " × ".join(map(str, about.crop))
    spacing = about.spacing_mm
    return {
        "Data": f"{about.data}, {short_hash(about.data_hash)}",
        "Split": about.split,
        "Pixels compared": f"the central {crop} of each crop" + ("" if spacing is None else f", {spacing:g} mm each"),
        "Scored classes": "all foreground" if about.scored is None else ", ".join(about.scored),
        "Truth": "known odds of all masks" if about.known_odds else "the masks of those who read each image",
    }


def short_hash(value: str) -> str:
    """A hash's beginning, enough to tell it from others."""
    return f"SHA-256 {value[:12]}…"


def calibration(calibrated: CalibrationUsed | None) -> str:
    """How a model's probabilities were calibrated."""
    if calibrated is None:
        return "none: probabilities are as the model states them"
    return f"temperature {calibrated.temperature:.3f}, fitted on {calibrated.split}"


def model_masks(about: EvaluationAbout | ComparedRun) -> str:
    """What stands behind the model's weighted set of masks."""
    return weights_of(about) + (f", {about.samples} at most" if about.weights == "exact" else " per image")


def weights_of(about: EvaluationAbout | ComparedRun) -> str:
    """The same in short, for labels of figures."""
    return "exact weights" if about.weights == "exact" else counted(about.samples, "draw")


def perfect_model(figure: str, about: EvaluationAbout) -> float | None:
    """A perfect model's mean of a figure where the truth is known; None where it is not."""
    unbiased = about.known_odds and figure.startswith("ged") and figure.endswith("_u")
    return 0.0 if unbiased else (about.floor or {}).get(figure)
