"""NRRD and MetaImage files (.nrrd, .nhdr, .mha, .mhd), read by SimpleITK.

What ITK passes over in silence or tells only to the terminal is looked at first: data cut short, a damaged compressed
block, a data file elsewhere, lengths that are not in mm.
"""

import math
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, InputError
from .nifti_grid import Grid, grid_from, times
from .scan_names import ITK, has_suffix
from .values import check_claim, usable_values
from .volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

HEADER = 1 << 16  # bytes in which a header must end
FIELD = re.compile(r"([\w ]+?)\s*(?:=|:(?!=))\s*(.*?)\s*")
CHUNK = 1 << 20
NEEDED = {  # what a header must say, by whether it is of NRRD
    True: {"type", "dimension", "sizes"},
    False: {"ndims", "dimsize", "elementtype", "elementdatafile"},
}


def read_itk(path: Path) -> tuple[Volume, Grid]:
    """The scan in a file and the grid of its own voxel order; values as `nifti.read_volume` gives them.

    (X, Y) is one slice. Raises `InputError` when there is no such file, `DataError` when it is broken or its geometry or
    voxels cannot be used.
    """
    import SimpleITK as sitk

    if not path.is_file():
        raise InputError(f"No file {path}: expected a scan ({', '.join(ITK)}); check the path.")
    fields, start = _header(path)
    data = _data_file(path, fields)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if _is_nrrd(path) else "MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_image(path.name, reader)
        _check_data(path, reader, fields, data, start if data == path else 0)
        image = reader.Execute()
    except (EOFError, OSError, RuntimeError, ValueError, zlib.error) as error:
        raise DataError(_broken(path)) from error
    shape = (*image.GetSize(), 1)[:3]
    grid = grid_from(itk_affine(image), shape, path.name)
    values = usable_values(path.name, sitk.GetArrayViewFromImage(image).T)  # lives as long as the image
    return Volume(np.array(grid.display(values), order="C"), grid.display_affine), grid


def _is_nrrd(path: Path) -> bool:
    return has_suffix(path, (".nrrd", ".nhdr"))


def _broken(path: Path) -> str:
    kind = "NRRD" if _is_nrrd(path) else "MetaImage"
    return f"{path.name} is not a whole {kind} file (wrong format, or cut short or damaged): copy or export it again."


def itk_affine(image: "sitk.Image") -> NDArray[np.float64]:
    """Voxel indices (i, j, k, 1) to mm in RAS; ITK's own are LPS."""
    count = image.GetDimension()
    axes = min(count, 3)
    affine = np.eye(4)
    affine[:axes, :axes] = (np.reshape(image.GetDirection(), (count, count)) * image.GetSpacing())[:axes, :axes]
    affine[:axes, 3] = image.GetOrigin()[:axes]
    return np.diag([-1.0, -1, 1, 1]) @ affine


def _check_image(name: str, reader: "sitk.ImageFileReader") -> None:
    import SimpleITK as sitk

    size, kind = reader.GetSize(), sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if any(count > 1 for count in size[3:]):
        raise DataError(
            f"{name} holds several volumes ({times(size)}): expected one volume (X x Y x Z); "
            "save the one that is meant as a file of its own."
        )
    if reader.GetNumberOfComponents() > 1 or "vector" in kind or "complex" in kind:
        raise DataError(
            f"{name} holds {reader.GetNumberOfComponents()} values a voxel (colours, vectors or layers): expected one "
            "grey value a voxel; convert it to one channel."
        )


def _check_data(path: Path, reader: "sitk.ImageFileReader", fields: dict[str, str], data: Path, start: int) -> None:
    """Refuse voxels that are not all in the file `data` from `start` on, or not in mm; `reader` has read the header."""
    import SimpleITK as sitk

    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"mm", ""}
    if units:
        raise DataError(f"{path.name} gives lengths in {units.pop()}: expected mm; export it again.")
    voxel = sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    claimed = voxel * math.prod(int(count) for count in reader.GetSize())
    stored = data.stat().st_size - start
    check_claim(path.name, claimed, stored)
    if fields.get("encoding") in ("gzip", "gz") or fields.get("compresseddata", "").lower() == "true":
        stored = _unpacked_size(data, start)
    elif fields.get("encoding", "raw") != "raw" or fields.get("binarydata", "True").lower() != "true":
        return  # numbers as text
    if stored < claimed:
        raise DataError(_broken(path))


def _header(path: Path) -> tuple[dict[str, str], int]:
    """The fields of a header, by their names in lower case, and where in the file it ends."""
    try:
        with path.open("rb") as file:
            lines = file.read(HEADER).splitlines(keepends=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions and the disk.") from error
    fields: dict[str, str] = {}
    end = 0
    for line in lines:
        end += len(line)
        text = line.decode("latin-1").strip()
        if found := FIELD.fullmatch(text):
            fields[found[1].lower()] = found[2]
        if not text or "elementdatafile" in fields:
            break
    if not NEEDED[_is_nrrd(path)] <= fields.keys():
        raise DataError(_broken(path))
    return fields, end


def _data_file(path: Path, fields: dict[str, str]) -> Path:
    """The file of the voxels: the header's own, or one beside or below it."""
    name = next((fields[field] for field in ("data file", "datafile", "elementdatafile") if field in fields), "LOCAL")
    if name.upper() == "LOCAL":
        return path
    data = path.parent / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not data.is_file():
        raise DataError(
            f"{path.name} names its voxels' file {name}, and that is no file beside it: put it there, or save the scan "
            "as one file."
        )
    return data


def _unpacked_size(path: Path, start: int) -> int:
    """How many bytes a gzip or zlib stream holds; reading it through proves its checksum."""
    unpacker, size = zlib.decompressobj(zlib.MAX_WBITS | 32), 0
    with path.open("rb") as file:
        file.seek(start)
        while not unpacker.eof and (packed := file.read(CHUNK)):
            while packed and not unpacker.eof:
                size += len(unpacker.decompress(packed, CHUNK))
                packed = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise EOFError
    return size
