"""A prediction's numbers as in a clinical report: with units, few digits, and words beside the figures."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...core.size import Length
from ...figures.drawing import percent
from ...figures.numbers import true_minus
from ...figures.wording import short_hash
from ...prediction.document import CalibrationEntry, Document, ScanEntry, SizeEntry, SpreadEntry, ThresholdEntry

MILLILITRES = 1000.0  # mm3, from which a volume is also given in mL
LEVELS = ((0.2, "low"), (0.4, "moderate"), (1.0, "high"))  # of ambiguity, each up to its number


def place(point_mm: Sequence[float], length: Length = "mm") -> str:
    """A point in mm RAS: "x −57.9, y −85.3, z −117.5 mm"."""
    return true_minus(
        ", ".join(f"{axis} {value + 0.0:.1f}" for axis, value in zip("xyz", point_mm, strict=True)) + f" {length}"
    )


def ambiguity(value: float | None) -> str:
    """How much masks differ, in a word that agrees with the figure's two digits; unknown for a single draw."""
    return "unknown" if value is None else next(word for most, word in LEVELS if round(value, 2) <= most)


def interval(bounds: Sequence[float] | None) -> str:
    """A 95 % interval in percent: "37 to 49 %"; empty without one."""
    return "" if bounds is None else f"{percent(bounds[0]).removesuffix(' %')} to {percent(bounds[1])}"


def extent(size: SizeEntry, length: Length = "mm") -> str:
    """The volume of a mask or of one of its classes, or its area if the scan is a single slice."""
    if size.area_mm2 is not None:
        return f"{_few(size.area_mm2)} {length}²"
    volume = size.volume_mm3 or 0.0
    millilitres = volume >= MILLILITRES and length == "mm"
    return f"{_few(volume)} {length}³" + (f" ({volume / MILLILITRES:.3g} mL)" if millilitres else "")


def axes(size: SizeEntry, length: Length = "mm") -> str:
    """Long and short axis."""
    return f"{size.long_axis_mm:.1f} × {size.short_axis_mm:.1f} {length}"


def number(spread: SpreadEntry, name: str) -> str:
    """A number of a distribution of size in three digits, with ≥ if it is a lower bound."""
    return "≥\u00a0" * (name in spread.lower_bounds) + _few(getattr(spread, name))


def threshold(entry: ThresholdEntry, length: Length = "mm") -> str:
    """A threshold in words: "mean diameter ≥ 6 mm"."""
    name, power = {"mean_diameter_mm": ("mean diameter", ""), "volume_mm3": ("volume", "³")}[entry.measure]
    return f"{name} ≥ {entry.at_least:g} {length}{power}"


def slices(count: int) -> str:
    """The number of slices that a mask covers."""
    return f"{count} slice{'' if count == 1 else 's'}"


def calibration(found: CalibrationEntry | None) -> str:
    """Whether and how the probabilities were corrected."""
    if found is None:
        return (
            "Not calibrated. The probabilities are the model's own: how often it drew each mask. They were not compared with "
            "what readers draw."
        )
    what = "whole lesions" if found.fitted_on == "lesions" else "single slices"
    return (
        f"Calibrated on {what}. The model's own probabilities were corrected by the masks of readers, on scans that it was "
        "not trained on."
    )


def model_facts(document: Document) -> dict[str, str]:
    """The model that made the hypotheses and its settings, by name."""
    model, settings = document.model, asdict(document.settings)
    return {
        "Model": f"{model.name}, method {model.method}",
        "Weights": short_hash(model.weights_sha256),
        "Training data": short_hash(model.data_sha256),
        "Classes": ", ".join(document.classes[1:]),
        "Scan": _scan(document.scan),
        "Settings": "; ".join(f"{name.replace('_', ' ')} {_setting(value)}" for name, value in settings.items()),
        "Version": document.program,
    }


def _scan(scan: ScanEntry) -> str:
    if scan.length_unit == "px":
        return " × ".join(str(count) for count in scan.voxels[:2]) + " pixels of unknown size"
    voxels = " × ".join(str(count) for count in scan.voxels)
    return f"{voxels} voxels of {' × '.join(f'{step:.3g}' for step in scan.spacing_mm)} mm"


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(f"{number:g}" for number in value) or "none"
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _few(value: float) -> str:
    """A size with three digits, or with as many as it has before the decimal point."""
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
