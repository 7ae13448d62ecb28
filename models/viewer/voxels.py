"""What the viewer draws of one lesion: the voxels about it, and where the views begin."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.store import LUNG_WINDOW
from ambiseg.preprocessing.volume import Volume

from ..prediction.inference import LesionHypotheses
from ..prediction.neighbourhood import Box, within
from ..preview import best_slice
from .nifti import map_nifti, nifti, ras_affine, scan_nifti
from .region import region

NATS = float(np.log(2))  # the entropy of a fair coin: the most that one class and the background have
FIELD_MM, MOST_ZOOM = 32.0, 4.0  # of the views at the start
HU = {"Lung": LUNG_WINDOW, "Soft tissue": (-160.0, 240.0), "Bone": (-500.0, 1300.0)}


def voxels(result: LesionHypotheses, volume: Volume, classes: Sequence[str], unit: str) -> dict[str, Any]:
    """The region about a lesion as `voxels.js` reads it: NIfTI files in base64, and where the views begin.

    `windows`: names with the values shown black and white, the first at the start; `most`: the maps' largest values;
    `from`: the scan's slice that is the first of the region; `slices`: how many the scan has; `looked`: the region's
    voxels that the model looked at, first and end along x, y, z in RAS order; `start`: the voxel of the cross; `zoom`: how
    many times larger than the region the views begin.
    """
    shown = region(result, volume)
    affine = ras_affine(volume, shown)
    most = max(NATS, float(result.entropy.max()))
    return {
        "scan": scan_nifti(volume.array[shown], affine),
        "masks": nifti(within(result.hypotheses.masks, result.box, shown), affine),
        "probability": map_nifti(within(result.probability, result.box, shown), 1.0, affine),
        "entropy": map_nifti(within(result.entropy, result.box, shown), most, affine),
        "windows": [
            {"name": name, "range": list(range_)} for name, range_ in windows(volume.array[shown], unit).items()
        ],
        "most": {"probability": 1.0, "entropy": most},
        "from": shown[0].start,
        "slices": len(volume.array),
        "looked": _looked(result.box, shown),
        "start": _start(result, shown),
        "zoom": _zoom(result, shown, volume.spacing_mm),
        "classes": list(classes[1:]),
    }


def windows(values: NDArray, unit: str) -> dict[str, tuple[float, float]]:
    """Windows by name: those of CT for "HU", else from the values themselves."""
    if unit == "HU":
        return HU
    ends = {"Auto": np.nanpercentile(values, (0.5, 99.5)), "Full range": (np.nanmin(values), np.nanmax(values))}
    return {name: (float(low), float(high) if high > low else float(low) + 1) for name, (low, high) in ends.items()}


def _looked(box: Box, shown: Box) -> list[list[int]]:
    z, y, x = (
        [min(max(edge, want.start), want.stop) - want.start for edge in (have.start, have.stop)]
        for have, want in zip(box, shown, strict=True)
    )
    return [_turned(x, shown[2]), _turned(y, shown[1]), z]


def _turned(edges: list[int], side: slice) -> list[int]:
    """First and end along an axis that is counted from its other end."""
    count = side.stop - side.start
    return [count - edges[1], count - edges[0]]


def _start(result: LesionHypotheses, shown: Box) -> list[int]:
    """The middle of all that is marked in the slice on which the hypotheses mark most, in RAS order of the region."""
    number = best_slice(result)
    marked = (result.hypotheses.masks[:, number] > 0).any(0)
    likely = np.argwhere(marked if marked.any() else result.probability[number] >= result.probability[number].max())
    middle = (number, *np.rint((likely.min(0) + likely.max(0)) / 2).astype(int))
    z, y, x = (int(at) + have.start - want.start for at, have, want in zip(middle, result.box, shown, strict=True))
    counts = [side.stop - side.start for side in shown]
    z, y, x = (min(max(at, 0), count - 1) for at, count in zip((z, y, x), counts, strict=True))
    return [counts[2] - 1 - x, counts[1] - 1 - y, z]


def _zoom(result: LesionHypotheses, shown: Box, spacing_mm: tuple[float, float, float]) -> float:
    """So large that what is marked fills a third of the axial view, but for `FIELD_MM` and `MOST_ZOOM`."""
    marked = np.argwhere(result.hypotheses.masks.any((0, 1)))
    pixels = np.ptp(marked, 0) + 1 if len(marked) else np.ones(2)
    field = max(FIELD_MM, 3 * float((pixels * spacing_mm[1:]).max()))
    reach = min((side.stop - side.start) * step for side, step in zip(shown[1:], spacing_mm[1:], strict=True))
    return round(min(max(reach / field, 1.0), MOST_ZOOM), 2)
