"""Warnings about a prediction: why a model may not suit a scan, or a mask may not be what the user meant.

Beside them, notes: what was done to fit the scan to the model, where nothing is wrong.
"""

from collections.abc import Sequence
from typing import Literal

from ambiseg.preprocessing.scans.scan import Scan
from ambiseg.preprocessing.volumes.hounsfield import CHEST_HU
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.hypotheses import Hypotheses
from ..core.size import cut_off
from ..runs.trained import Trained
from .inference import LesionHypotheses, Ranking
from .lesion import Lesion
from .neighbourhood import in_range

PIXEL_MM = (0.2, 2.5)  # the pixels of CTs of a body lie between these
SLICE_MM = 6.0  # at a larger distance, a nodule is on one slice or none
SPECK = 2  # voxels; a lesion's own piece of a mask has more


def cautions(trained: Trained, scan: Scan, lesions: Sequence[Lesion] = ()) -> list[str]:
    """The `warnings` of hypotheses.json: sentences, none when nothing is wrong.

    Args:
        trained: the model.
        scan: the scan, with notes on what was left out of it.
        lesions: the lesions to predict; those taken from a mask may be specks.

    Returns:
        One sentence per warning: about the scan's kind, its values, its spacing, the calibration and the mask.
    """
    found = (
        _of_modality(trained, scan),
        _of_intensity(trained, scan),
        _of_spacing(scan),
        _of_calibration(trained, scan),
        _of_specks(lesions),
    )
    return [*scan.notes, *(caution for caution in found if caution)]


def notes(trained: Trained, scan: Scan) -> list[str]:
    """The `notes` of hypotheses.json: how the scan was fitted to the model where that is usual and needs no action."""
    asked = f"The hypotheses are those for the reader {trained.reader}, as the model states them: a calibration holds for all "
    asked += "readers together and is not used."
    of_reader = [asked] if trained.reader else []
    if scan.picture:
        return [
            *of_reader,
            "The size of a pixel is not known: lengths, areas and places count pixels (px). In files whose names or keys say "
            "mm, each pixel counts as 1 mm wide and high.",
        ]
    if _is_scaled(trained, scan) and scan.volume.hounsfield:
        return [*of_reader, f"{_scaling(trained, scan)} This is usual for a CT in HU."]
    return of_reader


def lesion_notes(result: LesionHypotheses, volume: Volume, ranking: Ranking) -> list[str]:
    """The `notes` of a lesion in hypotheses.json: why its list is short, and what limited the model's view of it."""
    found = result.hypotheses
    cut = any(cut_off(mask, result.box, volume.array.shape) for mask in found.masks)
    wide = (
        f"The lesion is wider than the model's crops, so that it was looked at in crops {result.zoom:g} times as wide"
    )
    sentences = {
        f"{len(found.masks)} of {ranking.top}: {_why_few(found)}": len(found.masks) < ranking.top,
        f"{wide}, and as much coarser.": result.zoom > 1,
        f"Slices farther than {ranking.depth_mm:g} mm from its centre (`depth_mm`) were not looked at; masks end there."
        if ranking.depth_mm is not None
        else "Masks go on beyond the largest region that the model looks at.": cut and not ranking.fast,
        "Masks reach the border of the region that was looked at once (`fast`); more may lie outside.": cut
        and ranking.fast,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _why_few(found: Hypotheses) -> str:
    """Why there are fewer hypotheses than were asked for."""
    few = "a further mask would hardly bring the list nearer to all that the model draws"
    return f"{few}." if found.residual <= 0 else f"{few}; {found.residual:.1%} is not represented."


def shown_unit(scan: Scan) -> Literal["HU", "relative"]:
    """The unit of the values that pictures and pages show."""
    return "HU" if scan.volume.hounsfield else "relative"


def _of_modality(trained: Trained, scan: Scan) -> str | None:
    if trained.record.data.unit != "HU" or scan.dicom is None or scan.dicom.modality == "CT":
        return None
    return f"The model was trained on CT in HU, but the modality of this series is {scan.dicom.modality}."


def _of_intensity(trained: Trained, scan: Scan) -> str | None:
    intensity = trained.record.data.intensity
    low, high = scan.volume.range
    if intensity.unit == "HU" and (low > CHEST_HU[0] or high < CHEST_HU[1]):
        return (
            f"The model was trained on CT in HU, but the scan's values only range from {low:g} to {high:g}. It has no air, "
            "or nothing but air. Is it a CT in HU?"
        )
    if _is_scaled(trained, scan) and not scan.volume.hounsfield:
        return f"{_scaling(trained, scan)} Is this the kind of scan that the model was trained on?"
    return None


def _is_scaled(trained: Trained, scan: Scan) -> bool:
    """Whether the scan's values are scaled to the range of a model without a unit."""
    return trained.record.data.unit != "HU" and not all(
        in_range(scan.volume, channel, intensity) for channel, intensity in enumerate(trained.record.data.intensities)
    )


def _scaling(trained: Trained, scan: Scan) -> str:
    intensity, (low, high) = trained.record.data.intensity, _used(scan)
    return (
        f"The model was trained on values from {intensity.low:g} to {intensity.high:g} without a unit, and the scan's "
        f"values range from {low:g} to {high:g}. Each slice was scaled to the model's range by the "
        "range that it uses around the lesion."
    )


def _used(scan: Scan) -> tuple[float, float]:
    """The range that all channels of a scan use."""
    lows, highs = zip(*scan.volume.used, strict=True)
    return min(lows), max(highs)


def _of_spacing(scan: Scan) -> str | None:
    if scan.picture:
        return None
    z, y, x = scan.volume.spacing_mm
    flat = len(scan.volume.array) == 1
    odd = not PIXEL_MM[0] <= min(y, x) <= max(y, x) <= PIXEL_MM[1] or (z > SLICE_MM and not flat)
    if not odd:
        return None
    return (
        f"The scan's voxels measure {x:.3g} x {y:.3g} x {z:.3g} mm, which is unusual for a chest CT (pixels of "
        f"{PIXEL_MM[0]:g} to {PIXEL_MM[1]:g} mm, slices at most {SLICE_MM:g} mm apart). Are its units right?"
    )


def _of_calibration(trained: Trained, scan: Scan) -> str | None:
    fitted = trained.calibration
    if fitted is None or fitted.lesions is not None or len(scan.volume.array) == 1:
        return None
    return (
        "The calibration was fitted on single slices, and is used for volumes: run `ambiseg calibrate` on data with whole "
        "lesions."
    )


def _of_specks(lesions: Sequence[Lesion]) -> str | None:
    sizes = {number: len(lesion.roi) for number, lesion in enumerate(lesions, 1) if lesion.roi is not None}
    specks = [number for number, size in sizes.items() if size <= SPECK]
    if not specks or len(specks) == len(sizes):
        return None
    return (
        f"The mask has {len(specks)} pieces of one or two voxels beside larger ones (the first is lesion {specks[0]}). Each "
        "was taken for a lesion. If they are specks, remove them from the mask."
    )
