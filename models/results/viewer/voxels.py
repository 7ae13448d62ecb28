"""What the viewer draws of one lesion: the voxels around it, and where the views start."""

import base64
import gzip
from collections.abc import Sequence

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.store.intensity import LUNG_WINDOW
from ambiseg.preprocessing.volumes.volume import Volume

from ...prediction.inference import LesionHypotheses
from ...prediction.neighbourhood import Box, within
from .region import likeliest_voxel, region

NATS = float(np.log(2))  # the entropy of a fair coin: the most that one class and the background have
FIELD_MM, MOST_ZOOM = 32.0, 4.0  # of the views at the start
HU = {"Lung": LUNG_WINDOW, "Soft tissue": (-160.0, 240.0), "Bone": (-500.0, 1300.0)}

INT16 = np.iinfo(np.int16)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Window(_Part):
    """A window's name, and the values that it shows in black and white."""

    name: str
    range: tuple[float, float]


class Most(_Part):
    """The largest values of the maps."""

    probability: float
    entropy: float


class Voxels(_Part):
    """The region around a lesion as `voxels.js` reads it: NIfTI files in base64, and where the views start.

    Attributes:
        windows: the first one is shown at the start.
        first: (`from` in JavaScript) the scan's slice that is the first of the region.
        slices: the number of slices of the scan.
        looked: the region's voxels that the model looked at, first and end along x, y, z in RAS order.
        start: the voxel of the cross, in the same order.
        zoom: how many times larger than the whole region the views are at the start.
        classes: the labels' names without the background.
    """

    scan: str
    masks: str
    probability: str
    entropy: str
    windows: tuple[Window, ...]
    most: Most
    first: int = Field(alias="from")
    slices: int
    looked: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    start: tuple[int, int, int]
    zoom: float
    classes: tuple[str, ...]


def voxels(result: LesionHypotheses, volume: Volume, classes: Sequence[str], unit: str) -> Voxels:
    """What the viewer draws of a lesion; `classes`: the labels' names, background first."""
    shown = region(result, volume)
    affine = ras_affine(volume, shown)
    most = max(NATS, float(result.entropy.max()))
    return Voxels(
        scan=scan_nifti(volume.array[shown], affine),
        masks=nifti(within(result.hypotheses.masks, result.box, shown), affine),
        probability=map_nifti(within(result.probability, result.box, shown), 1.0, affine),
        entropy=map_nifti(within(result.entropy, result.box, shown), most, affine),
        windows=tuple(Window(name=name, range=ends) for name, ends in windows(volume.array[shown], unit).items()),
        most=Most(probability=1.0, entropy=most),
        **{"from": shown[0].start},
        slices=len(volume.array),
        looked=_looked(result.box, shown),
        start=_start(result, shown),
        zoom=_zoom(result, shown, volume.spacing_mm),
        classes=tuple(classes[1:]),
    )


def windows(values: NDArray, unit: str) -> dict[str, tuple[float, float]]:
    """Windows by name: those of CT for "HU", otherwise from the values themselves."""
    if unit == "HU":
        return HU
    ends = {"Auto": np.nanpercentile(values, (0.5, 99.5)), "Full range": (np.nanmin(values), np.nanmax(values))}
    return {name: (float(low), float(high) if high > low else float(low) + 1) for name, (low, high) in ends.items()}


def _looked(box: Box, shown: Box) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    z, y, x = ((_clamped(have.start, want), _clamped(have.stop, want)) for have, want in zip(box, shown, strict=True))
    return _turned(x, shown[2]), _turned(y, shown[1]), z


def _clamped(edge: int, side: slice) -> int:
    """An edge between voxels of the scan, counted from the first of `side`."""
    return min(max(edge, side.start), side.stop) - side.start


def _turned(edges: tuple[int, int], side: slice) -> tuple[int, int]:
    """First and end along an axis that is counted from the other end."""
    count = side.stop - side.start
    return count - edges[1], count - edges[0]


def _start(result: LesionHypotheses, shown: Box) -> tuple[int, int, int]:
    """The most marked voxel of the slice on which the hypotheses mark most, in RAS order of the region."""
    z, y, x = (
        min(max(at + have.start - want.start, 0), want.stop - want.start - 1)
        for at, have, want in zip(likeliest_voxel(result), result.box, shown, strict=True)
    )
    return shown[2].stop - shown[2].start - 1 - x, shown[1].stop - shown[1].start - 1 - y, z


def _zoom(result: LesionHypotheses, shown: Box, spacing_mm: tuple[float, float, float]) -> float:
    """The zoom at which the marked part fills a third of the axial view, within `FIELD_MM` and `MOST_ZOOM`."""
    marked = np.argwhere(result.hypotheses.masks.any((0, 1)))
    pixels = np.ptp(marked, 0) + 1 if len(marked) else np.ones(2)
    field = max(FIELD_MM, 3 * float((pixels * spacing_mm[1:]).max()))
    reach = min((side.stop - side.start) * step for side, step in zip(shown[1:], spacing_mm[1:], strict=True))
    return round(min(max(reach / field, 1.0), MOST_ZOOM), 2)


def ras_affine(volume: Volume, shown: Box) -> NDArray[np.float64]:
    """The affine [4, 4] to mm in RAS of the `shown` voxels of a scan in the order x to the right, y front, z head."""
    z, y, x = shown
    affine = volume.affine @ np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:, 3] = volume.affine @ [x.stop - 1, y.stop - 1, z.start, 1.0]
    return affine


def scan_nifti(values: NDArray, affine: NDArray[np.float64]) -> str:
    """A scan's values [Z, Y, X] as int16: as they are if they are whole numbers in its range, else in 65534 steps."""
    finite = np.nan_to_num(np.asarray(values, np.float64))
    whole, low, high = np.rint(finite), float(finite.min()), float(finite.max())
    if np.array_equal(whole, finite) and low >= INT16.min and high <= INT16.max:
        return nifti(whole.astype(np.int16), affine)
    slope, middle = (high - low) / (2 * INT16.max) or 1.0, (low + high) / 2
    return nifti(np.rint((finite - middle) / slope).astype(np.int16), affine, slope, middle)


def map_nifti(values: NDArray[np.float32], most: float, affine: NDArray[np.float64]) -> str:
    """A map's values [Z, Y, X] from 0 to `most` as uint8 in 255 steps."""
    return nifti(np.rint((values / most).clip(0, 1) * 255).astype(np.uint8), affine, most / 255)


def nifti(values: NDArray, affine: NDArray[np.float64], slope: float = 1.0, intercept: float = 0.0) -> str:
    """Stored values [..., Z, Y, X] in the order of a Volume as base64 of a gzipped NIfTI-1 file [x, y, z, ...]."""
    stored = values[..., ::-1, ::-1].T
    header = nib.Nifti1Header()
    header.set_data_shape(stored.shape)
    header.set_data_dtype(stored.dtype)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["scl_slope"], header["scl_inter"] = slope, intercept
    content = header.binaryblock + bytes(4) + stored.tobytes(order="F")
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()
