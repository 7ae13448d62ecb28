"""From a scan's file to a folder of ranked hypotheses: what `ambiseg predict` does."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ambiseg.preprocessing.class_probabilities import read_class_probabilities
from ambiseg.preprocessing.nifti import read_grid, read_volume, scan_name

from .hypotheses import MERGE
from .inference import LesionHypotheses, calibration_at, check_inputs, doubts, predict_volume
from .lesion import find_lesions
from .predict_files import check_folder, write_prediction
from .run import Trained


@dataclass(frozen=True)
class Ranking:
    """How hypotheses are made: see `inference.predict_volume`."""

    top: int = 8
    draws: int = 256
    merge: float = MERGE
    depth_mm: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Prediction:
    """What was predicted for a scan: each lesion's hypotheses, the content of hypotheses.json, and warnings in words."""

    lesions: Sequence[LesionHypotheses]
    content: dict[str, Any]
    warnings: Sequence[str]


def predict_scan(
    trained: Trained,
    scan: Path,
    folder: Path,
    *,
    at: Sequence[str] = (),
    points: Path | None = None,
    roi: Path | None = None,
    voxel: bool = False,
    probabilities: Path | None = None,
    ranking: Ranking = Ranking(),
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prediction:
    """Predict the lesions of a .nii or .nii.gz scan and write the results to `folder`, whole or not at all.

    `at` ("X,Y,Z"), `points` and `roi` say where the lesions are, in mm RAS or, with `voxel`, in the file's voxel
    indices; a scan as small as a training crop needs none of them. `probabilities` are another segmenter's class
    probabilities of the scan (see `class_probabilities`). Raises the errors of the functions that it calls.
    """
    check_folder(folder, overwrite)
    check_inputs(trained, probabilities is not None)
    volume, grid = read_volume(scan), read_grid(scan)
    data = trained.record.data
    lesions = find_lesions(
        volume,
        scan=scan_name(scan),
        crop=trained.record.crop,
        spacing_mm=data.spacing_mm,
        at=at,
        points=points,
        roi=roi,
        voxels=grid.affine if voxel else None,
    )
    stored = None
    if probabilities is not None:
        stored = read_class_probabilities(probabilities, scan, volume, len(data.class_names))
    warnings = doubts(trained, volume, ranking.merge)
    calibration = calibration_at(trained, ranking.merge)
    results = predict_volume(trained, volume, lesions, probabilities=stored, on_progress=on_progress, **asdict(ranking))
    about = {
        "program": f"ambiseg {version('ambiseg')}",
        "model": {
            "name": trained.name,
            "method": trained.record.method,
            "weights_sha256": trained.weights_hash,
            "data_sha256": data.content_hash,
        },
        "settings": asdict(ranking),
        "calibration": None
        if calibration is None
        else calibration.model_dump(include={"temperature", "empty", "none"}),
        "classes": list(data.class_names),
        "warnings": warnings,
    }
    return Prediction(results, write_prediction(folder, volume, grid, results, data.unit, about), warnings)
