"""Predictions without a model: small documents of known content."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def made_lesion(number: int = 1, *, diameter: float = 8.0, several: bool = False, **other: Any) -> dict[str, Any]:
    """A lesion as in hypotheses.json, with two hypotheses; `other` replaces parts of it."""
    folder = f"lesion_{number:02d}" if several else ""
    place = f"{folder}/" if folder else ""
    volume = round(diameter**3 / 2, 3)

    def spread(middle: float) -> dict[str, Any]:
        numbers = {"median": middle, "low_50": 0.95 * middle, "high_50": 1.05 * middle}
        return {"mean": middle, **numbers, "low_90": 0.9 * middle, "high_90": 1.1 * middle, "lower_bounds": []}

    sizes = {"volume_mm3": spread(volume), **{name: spread(diameter) for name in DIAMETERS}}
    hypotheses = [
        {
            "rank": rank, "file": f"{place}hyp_{rank:02d}.nii.gz", "probability": probability,
            "interval": [probability - 0.1, probability + 0.1], "volume_mm3": volume / rank,
            "long_axis_mm": diameter + 1, "short_axis_mm": diameter - 1, "slices": 3, "agreement": 1 / rank,
            "empty": False, "cut_off": rank == 2, "at_border": False,
        }
        for rank, probability in ((1, 0.7), (2, 0.2))
    ]  # fmt: skip
    thresholds = [
        {"measure": "mean_diameter_mm", "at_least": 6.0, "probability": 0.8, "if_marked": 0.9},
        {"measure": "volume_mm3", "at_least": 100.0, "probability": 0.7, "if_marked": 0.8},
    ]
    return {
        "number": number, "folder": folder, "name": "", "centre_mm": [1.0, -2.5, 30.0], "score": None, "no_lesion": 0.1,
        "ambiguity": 0.1, "residual": 0.1, "draws": 256, "probability": f"{place}probability.nii.gz",
        "entropy": f"{place}entropy.nii.gz", "aleatoric": None, "preview": f"{place}preview.png",
        "size": {"if_marked": sizes, "overall": sizes, "thresholds": thresholds, "cut": 0.0}, "sizes": f"{place}sizes.csv",
        "hypotheses": hypotheses, "overlaps": [], **other,
    }  # fmt: skip


DIAMETERS = ("mean_diameter_mm", "long_axis_mm", "short_axis_mm")


def made_document(lesions: Sequence[dict[str, Any]] = (made_lesion(),), **other: Any) -> dict[str, Any]:
    """The content of hypotheses.json; `other` replaces parts of it."""
    return {
        "schema": 4, "program": "ambiseg 9.8.7", "calibration": None, "warnings": [], "notes": [], "found_by": "given",
        "model": {"name": "made-001", "method": "probunet", "weights_sha256": "a1" * 32, "data_sha256": "b2" * 32},
        "settings": {"top": 8, "draws": 256, "depth_mm": None, "seed": 0}, "classes": ["background", "lesion"],
        "scan": {"voxels": [9, 9, 9], "spacing_mm": [1, 1, 1]}, "lesions": list(lesions), **other,
    }  # fmt: skip


def write_made(
    folder: Path, batch_sha256: str, content: dict[str, Any] | None = None, missing: Sequence[str] = ()
) -> None:
    """What counts as a prediction of a batch."""
    folder.mkdir(parents=True)
    (folder / "hypotheses.json").write_text(json.dumps(content or made_document()))
    (folder / "run.json").write_text(json.dumps({"batch_sha256": batch_sha256, "missing": list(missing)}))
