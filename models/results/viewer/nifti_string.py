"""Voxels as NIfTI files in strings: in RAS order, without anything in the header but their place and scale."""

import base64
import gzip

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.volumes.volume import Volume

from ...prediction.neighbourhood import Box

INT16 = np.iinfo(np.int16)


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
