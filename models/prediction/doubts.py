"""Why a model may not be made for a scan, or a mask not be meant as it is, and what was done to fit the scan, in words."""

from collections.abc import Sequence

from ambiseg.preprocessing.scans.scan import Scan

from ..core.hypotheses import MERGE
from ..runs.trained import Trained
from .inference import calibration_at
from .lesion import Lesion
from .neighbourhood import in_range

LUNG_HU, TISSUE_HU = -500, -200  # a chest CT has voxels below the first and above the second, even a piece of one
PIXEL_MM = (0.2, 2.5)  # between these lie the pixels of CTs of a body
SLICE_MM = 6.0  # farther apart, a nodule is on one slice or none
SPECK = 2  # voxels; a lesion's own piece of a mask has more


def doubts(trained: Trained, scan: Scan, merge: float = MERGE, lesions: Sequence[Lesion] = ()) -> list[str]:
    """Sentences, none when nothing is amiss: what was passed over beside the scan, its kind, intensities and spacing, the
    calibration for `merge`, and specks in the mask that the `lesions` are from.
    """
    found = (
        _of_modality(trained, scan),
        _of_intensity(trained, scan),
        _of_spacing(scan),
        _of_calibration(trained, merge),
        _of_specks(lesions),
    )
    return [*scan.notes, *(doubt for doubt in found if doubt)]


def notes(trained: Trained, scan: Scan) -> list[str]:
    """Sentences about how the scan was made to fit the model, where that is as it should be and nobody need do anything."""
    if _is_scaled(trained, scan) and in_hounsfield(scan):
        return [f"{_scaling(trained, scan)} So is every CT in HU."]
    return []


def in_hounsfield(scan: Scan) -> bool:
    """Whether a scan's values are HU, as far as can be told: by its modality, or by values of air and of soft tissue."""
    if scan.dicom is not None:
        return scan.dicom.modality == "CT"
    low, high = scan.volume.range
    return low <= LUNG_HU and high >= TISSUE_HU


def _of_modality(trained: Trained, scan: Scan) -> str | None:
    if trained.record.data.unit != "HU" or scan.dicom is None or scan.dicom.modality == "CT":
        return None
    return f"The model was trained on CT in HU, and the series is of modality {scan.dicom.modality}."


def _of_intensity(trained: Trained, scan: Scan) -> str | None:
    intensity = trained.record.data.intensity
    low, high = scan.volume.range
    if intensity.unit == "HU" and (low > LUNG_HU or high < TISSUE_HU):
        return (
            f"The model was trained on CT in HU, and the scan's values reach from {low:g} to {high:g} only, without "
            "air or with nothing else: is it a CT in HU?"
        )
    if _is_scaled(trained, scan) and not in_hounsfield(scan):
        return f"{_scaling(trained, scan)} Is it a scan of the kind that the model was trained on?"
    return None


def _is_scaled(trained: Trained, scan: Scan) -> bool:
    """Whether the scan's values are put into the range of a model that knows no unit."""
    intensity = trained.record.data.intensity
    return intensity.unit != "HU" and not in_range(scan.volume, intensity)


def _scaling(trained: Trained, scan: Scan) -> str:
    intensity, (low, high) = trained.record.data.intensity, scan.volume.range
    return (
        f"The model was trained on values from {intensity.low:g} to {intensity.high:g} without a unit, and the scan's "
        f"reach from {low:g} to {high:g}: each slice was scaled to that range by its least and greatest value about the "
        "lesion."
    )


def _of_spacing(scan: Scan) -> str | None:
    z, y, x = scan.volume.spacing_mm
    flat = len(scan.volume.array) == 1
    odd = not PIXEL_MM[0] <= min(y, x) <= max(y, x) <= PIXEL_MM[1] or (z > SLICE_MM and not flat)
    if not odd:
        return None
    return (
        f"The scan's voxels measure {x:.3g} x {y:.3g} x {z:.3g} mm, unlike those of a CT of the chest "
        f"({PIXEL_MM[0]:g} to {PIXEL_MM[1]:g} mm, slices at most {SLICE_MM:g} mm apart): are its units right?"
    )


def _of_calibration(trained: Trained, merge: float) -> str | None:
    if trained.calibration is None or calibration_at(trained, merge) is not None:
        return None
    return (
        f"The calibration was fitted with masks merged at {trained.calibration.merge:g}: at {merge:g} the probabilities are "
        "the model's own."
    )


def _of_specks(lesions: Sequence[Lesion]) -> str | None:
    sizes = {number: len(lesion.roi) for number, lesion in enumerate(lesions, 1) if lesion.roi is not None}
    specks = [number for number, size in sizes.items() if size <= SPECK]
    if not specks or len(specks) == len(sizes):
        return None
    return (
        f"The mask has {len(specks)} pieces of one or two voxels beside larger ones, lesion {specks[0]} is the first: each was "
        "taken for a lesion. Take them off the mask if they are specks."
    )
