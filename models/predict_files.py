"""The folder that a prediction leaves: masks and maps on the scan's own grid, a picture, and hypotheses.json.

One lesion lies directly in the folder, several in `lesion_01`, `lesion_02`, ... The content of hypotheses.json is
described in docs/reference/hypotheses-json.md; neither paths nor anything of the patient is in it. The same results give
the same bytes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import whole_folder
from ambiseg.preprocessing.nifti import write_on_grid
from ambiseg.preprocessing.nifti_grid import Grid
from ambiseg.preprocessing.volume import Volume

from .inference import LesionHypotheses
from .measure import cut_off, measure
from .preview import save_preview

SCHEMA = 1
INDEX = "hypotheses.json"
MAPS = {  # names of the maps, and what their headers say
    "probability": "ambiseg probability of lesion",
    "entropy": "ambiseg entropy in nats",
    "aleatoric": "ambiseg entropy in nats, stated without draws",
}
OURS = re.compile(
    r"(lesion_\d+/)?((hyp_\d+|probability|entropy|aleatoric)\.nii\.gz|preview\.png)|lesion_\d+|hypotheses\.json"
)


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise `UsageError` unless `folder` may be written: absent, empty, or a former prediction.

    A former prediction that has got other files needs `overwrite`; a folder of anything else is never replaced.
    """
    if not folder.exists():
        return
    held = [file.relative_to(folder).as_posix() for file in folder.rglob("*")] if folder.is_dir() else ["a file"]
    if held and INDEX not in held:
        raise UsageError(f"{folder} exists and is no former prediction: choose another folder with -o.")
    others = [name for name in held if not OURS.fullmatch(name)]
    if others and not overwrite:
        raise UsageError(
            f"{folder} is a former prediction that also holds {others[0]}, which would be lost: choose another folder "
            "with -o, or replace it with --overwrite."
        )


def write_prediction(
    folder: Path, volume: Volume, grid: Grid, results: Sequence[LesionHypotheses], unit: str, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the results of a scan with its `grid`, whole or not at all, and return the content of hypotheses.json.

    `unit` is that of the model's images ("HU" or "relative"); `about` says which model and settings made the results, and
    names the `classes`.
    """
    with whole_folder(folder) as aside:
        lesions = []
        for number, result in enumerate(results, start=1):
            place = f"lesion_{number:02d}/" if len(results) > 1 else ""
            (aside / place).mkdir(exist_ok=True)
            lesions.append(_write_lesion(aside, place, volume, grid, result, about["classes"]))
            save_preview(aside / place / "preview.png", result, volume, unit)
        content = {"schema": SCHEMA, **about, "lesions": lesions}
        text = json.dumps(content, indent=1, allow_nan=False)
        (aside / INDEX).write_text(text + "\n", encoding="utf-8")
    return content


def _write_lesion(
    folder: Path, place: str, volume: Volume, grid: Grid, result: LesionHypotheses, classes: Sequence[str]
) -> dict[str, Any]:
    found = result.hypotheses
    entries = []
    for index, mask in enumerate(found.masks):
        entry = _entry(index, place, volume, result, classes)
        title = f"ambiseg hypothesis {index + 1} of {len(found.masks)}, probability {entry['probability']:.4f}"
        comment = json.dumps({key: entry[key] for key in ("rank", "probability", "interval")})
        write_on_grid(folder / entry["file"], _whole(mask, result, volume), grid, title, comment)
        entries.append(entry)
    maps = {name: values for name in MAPS if (values := getattr(result, name)) is not None}
    for name, values in maps.items():
        write_on_grid(folder / place / f"{name}.nii.gz", _whole(values, result, volume), grid, MAPS[name])
    return {
        "name": result.lesion.name,
        "centre_mm": _rounded(result.lesion.centre_mm, 3),
        "no_lesion": round(result.no_lesion, 6),
        "residual": round(found.residual, 6),
        "draws": found.draws,
        **{name: f"{place}{name}.nii.gz" if name in maps else None for name in MAPS},
        "preview": f"{place}preview.png",
        "hypotheses": entries,
    }


def _entry(index: int, place: str, volume: Volume, result: LesionHypotheses, classes: Sequence[str]) -> dict[str, Any]:
    found, mask = result.hypotheses, result.hypotheses.masks[index]
    sizes = {name: _size(mask == label, volume) for label, name in enumerate(classes) if label}
    size = _size(mask, volume)
    return {
        "rank": index + 1,
        "file": f"{place}hyp_{index + 1:02d}.nii.gz",
        "probability": round(float(found.probabilities[index]), 6),
        "interval": None if found.intervals is None else _rounded(found.intervals[index], 6),
        **size,
        **({"classes": sizes} if len(sizes) > 1 else {}),
        "empty": size["slices"] == 0,
        "cut_off": cut_off(mask, result.box, volume.array.shape),
    }


def _size(mask: NDArray, volume: Volume) -> dict[str, Any]:
    """The size of a mask [Z, Y, X] as hypotheses.json has it: an area where the scan is a single slice, else a volume."""
    size = measure(mask, volume.spacing_mm)
    flat = len(volume.array) == 1
    return {
        **({"area_mm2": round(size.area_mm2, 3)} if flat else {"volume_mm3": round(size.volume_mm3, 3)}),
        "long_axis_mm": round(size.long_axis_mm, 3),
        "slices": size.slices,
    }


def _whole(array: NDArray, result: LesionHypotheses, volume: Volume) -> NDArray:
    """An array of the lesion's box on the whole scan [Z, Y, X], zero elsewhere."""
    whole = np.zeros(volume.array.shape, array.dtype)
    whole[result.box] = array
    return whole


def _rounded(values: Sequence[float] | NDArray[np.float64], digits: int) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]
