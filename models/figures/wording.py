"""Words for the data and the masks behind evaluations and comparisons."""

from ambiseg.preprocessing.counted import counted

from ..comparison.comparison import ComparedRun, Comparison
from ..evaluation.summary_document import CalibrationUsed, EvaluationAbout


def data_facts(about: EvaluationAbout | Comparison) -> dict[str, str]:
    """The facts of the data: name, split, pixels, classes, truth."""
    crop = " × ".join(map(str, about.crop))
    spacing = about.spacing_mm
    return {
        "Data": f"{about.data}, {short_hash(about.data_hash)}",
        "Split": about.split,
        "Pixels compared": f"the central {crop} of each crop" + ("" if spacing is None else f", {spacing:g} mm each"),
        "Scored classes": "all foreground" if about.scored is None else ", ".join(about.scored),
        "Truth": "known probabilities of all masks" if about.known_odds else "the masks of the readers of each image",
    }


def short_hash(value: str) -> str:
    """The beginning of a hash, enough to distinguish it."""
    return f"SHA-256 {value[:12]}…"


def calibration(calibrated: CalibrationUsed | None) -> str:
    """How a model's probabilities were calibrated."""
    if calibrated is None:
        return "none: probabilities as the model states them"
    if calibrated.slices is None:
        return f"as an earlier version fitted it on {calibrated.split}"
    return f"{calibrated.slices}, fitted on {calibrated.split}"


def model_masks(about: EvaluationAbout | ComparedRun) -> str:
    """The number of masks behind the model's distribution, or that their weights are exact."""
    return weights_of(about) + (f", at most {about.samples}" if about.weights == "exact" else " per image")


def weights_of(about: EvaluationAbout | ComparedRun) -> str:
    """A short form of `model_masks`, for labels of figures."""
    return "exact weights" if about.weights == "exact" else counted(about.samples, "draw")


def perfect_model(figure: str, about: EvaluationAbout) -> float | None:
    """A perfect model's mean of a figure where the truth is known; None where it is not."""
    unbiased = about.known_odds and figure.startswith("ged") and figure.endswith("_u")
    return 0.0 if unbiased else (about.floor or {}).get(figure)
