"""NRRD and MetaImage files (.nrrd, .nhdr, .mha, .mhd), the formats of ITK's programs.

They are read here and not by ITK, which takes header and data on trust: it passes over damaged blocks and wrong numbers in
silence, and ends the process or never comes back on some.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...names import ITK, has_suffix
from ...volumes.grid import Grid, grid_from
from ...volumes.values import check_claim, usable_values
from ...volumes.volume import Volume
from .metaimage import stored_metaimage
from .nrrd_header import stored_nrrd
from .voxel_stream import readable

if TYPE_CHECKING:
    import SimpleITK as sitk


def read_itk(path: Path) -> tuple[Volume, Grid]:
    """The scan in a file and the grid of its own voxel order; values as `read_volume` gives them.

    (X, Y) is one slice. Raises `InputError` when there is no such file, `DataError` when it is broken or its geometry or
    voxels cannot be used.
    """
    if not path.is_file():
        raise InputError(f"No file {path}: expected a scan ({', '.join(ITK)}); check the path.")
    nrrd = has_suffix(path, (".nrrd", ".nhdr"))
    with readable(path, "NRRD" if nrrd else "MetaImage"):
        stored = stored_nrrd(path) if nrrd else stored_metaimage(path)
        check_claim(path.name, stored.size, stored.data.stat().st_size)
        grid = grid_from(stored.affine, stored.shape, path.name)
        values = usable_values(path.name, stored.read())
    return Volume(np.ascontiguousarray(grid.display(values)), grid.display_affine), grid


def itk_affine(image: "sitk.Image") -> NDArray[np.float64]:
    """Voxel indices (i, j, k, 1) to mm in RAS; ITK's own are LPS."""
    count = image.GetDimension()
    axes = min(count, 3)
    affine = np.eye(4)
    affine[:axes, :axes] = (np.reshape(image.GetDirection(), (count, count)) * image.GetSpacing())[:axes, :axes]
    affine[:axes, 3] = image.GetOrigin()[:axes]
    return np.diag([-1.0, -1, 1, 1]) @ affine
