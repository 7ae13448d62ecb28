"""Class probabilities that another segmenter gave for a scan: nnU-Net's npz files, or NIfTI.

nnU-Net v2 (options `save_probabilities` and `npz`) stores `probabilities` [K, Z, Y, X] on the voxels of the image as its reader
gave it: x fastest, as in the file, unless it was a reader that turns images to RAS. nnU-Net v1 stores `softmax` in the same
order, all zero where it had cropped the image away. The .pkl beside either is never unpickled.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..archive import BROKEN_ARRAY
from ..errors import DataError, InputError
from ..lfs import check_no_pointer
from ..names import NIFTI, NPZ, has_suffix
from ..volumes.grid import Grid, check_same_grid, times
from ..volumes.resample import PlaneGrid
from ..volumes.volume import Volume
from .formats.nifti_volume import read_volumes

Probabilities = NDArray[np.float32]
KEYS = ("probabilities", "softmax")  # of nnU-Net v2 and v1
TURNED = (
    b"reoriented_affine",
    b"original_orientation",
)  # notes in the .pkl of those of nnU-Net's readers that turn to RAS
TOLERANCE = 0.01  # probabilities are often stored as float16 or in 255ths


def read_class_probabilities(path: Path, scan: str, volume: Volume, grid: Grid, classes: int) -> Probabilities:
    """Class probabilities [K, Z, Y, X] of a scan, in the orientation of its volume.

    Args:
        path: An npz of nnU-Net, or a NIfTI file with the classes along its fourth axis. For two classes, also a NIfTI file
            without that axis, of the foreground's probability.
        scan: What messages call the scan.
        volume: The scan's voxels.
        grid: The grid on which they lie in the scan's file.
        classes: Number of classes K, background first.

    Raises:
        InputError: There is no such file, or it is of another kind.
        DataError: It is damaged, on another grid, of another number of classes, or holds no probabilities.
    """
    if has_suffix(path, NPZ):
        array = _from_npz(path, scan, volume, grid)
    elif has_suffix(path, NIFTI):
        array = _from_nifti(path, scan, volume, classes)
    else:
        raise InputError(f"{path.name} is not read: expected class probabilities as .npz (nnU-Net), .nii or .nii.gz.")
    if len(array) != classes:
        raise DataError(
            f"{path.name} holds the probabilities of {len(array)} classes: expected {classes}, background first."
        )
    for number in range(array.shape[1]):
        _check(path, array[:, number])
    return array


def crop_probabilities(planes: Probabilities, grid: PlaneGrid) -> Probabilities:
    """Class probabilities [K, Y, X] of a plane on the grid [K, size, size], linear as images are; outside is background.

    They sum to 1 in every pixel.
    """
    crops = [grid.image(plane, fill=float(label == 0)) for label, plane in enumerate(planes)]
    shares = np.clip(np.stack(crops), 0, 1)
    return shares / shares.sum(0)


def _from_npz(path: Path, scan: str, volume: Volume, grid: Grid) -> Probabilities:
    key, array = _load(path)
    turned = _turned(path)
    expected = volume.array.shape if turned else grid.shape[::-1]
    if array.shape[1:] != expected:
        raise DataError(
            f"{path.name} holds {key} of shape {times(array.shape)}: expected classes x {times(expected)} (Z x Y x X), the "
            f"voxels of {scan}; give the probabilities of the whole scan, neither cropped nor resampled."
        )
    array = array.astype(np.float32, copy=False)
    if key == "softmax":
        array[0][~array.any(0)] = 1  # v1 leaves zeros where it had cropped the image away
    if turned:
        return array[:, :, ::-1, ::-1]  # from RAS
    return np.stack([grid.display(each.transpose(2, 1, 0)) for each in array])


def _load(path: Path) -> tuple[str, NDArray]:
    """The key and the array [K, Z, Y, X] of an npz; nothing pickled is loaded."""
    if not path.is_file():
        raise InputError(f"No file {path}: expected class probabilities, an npz of nnU-Net or NIfTI; check the path.")
    check_no_pointer(path)
    if not zipfile.is_zipfile(path):
        raise DataError(_broken(path))
    try:
        with np.load(path, allow_pickle=False) as file:
            key = next((key for key in KEYS if key in file.files), None)
            if key is None:
                raise DataError(
                    f"{path.name} holds {', '.join(file.files) or 'nothing'}: expected an array named "
                    f"{' or '.join(KEYS)}, as nnU-Net saves it."
                )
            array: NDArray = file[key]
    except BROKEN_ARRAY as error:
        if "pickle" in str(error):
            raise DataError(
                f"{path.name} holds pickled Python objects, which are never loaded: expected a plain array; save it again."
            ) from error
        raise DataError(_broken(path)) from error
    if array.ndim != 4 or array.dtype.kind != "f":
        raise DataError(
            f"{path.name} holds {key} of shape {times(array.shape) or 'none'} and type {array.dtype}: expected floating "
            "point numbers, classes x Z x Y x X."
        )
    return key, array


def _broken(path: Path) -> str:
    return f"{path.name} is not a whole npz file (wrong format, or cut short or damaged): copy or save it again."


def _turned(path: Path) -> bool:
    """Whether nnU-Net's reader turned the image to RAS, by the words in the .pkl beside the npz, which is not unpickled."""
    notes = path.with_suffix(".pkl")
    content = notes.read_bytes() if notes.is_file() else b""
    return any(word in content for word in TURNED)


def _from_nifti(path: Path, scan: str, volume: Volume, classes: int) -> Probabilities:
    found = read_volumes(path)
    check_same_grid(path.name, found[0], scan, volume)
    array = np.stack([each.array.astype(np.float32, copy=False) for each in found])
    return np.concatenate((1 - array, array)) if len(array) == 1 and classes == 2 else array


def _check(path: Path, planes: Probabilities) -> None:
    low, high = float(planes.min()), float(planes.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # also where either is no number
        raise DataError(
            f"{path.name} holds values from {low:g} to {high:g}: expected probabilities from 0 to 1, not logits or labels."
        )
    total = planes.sum(0)
    worst = float(total.flat[np.abs(total - 1).argmax()])
    if abs(worst - 1) > TOLERANCE:
        raise DataError(
            f"{path.name} holds class probabilities that sum to {worst:.3g} in a voxel: expected 1; overlapping regions "
            "(nnU-Net's region-based training) have no class probabilities."
        )
