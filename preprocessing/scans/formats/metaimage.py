"""The header of a MetaImage file (.mha, .mhd): all of it is checked, and nothing is taken on trust."""

import difflib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .stored_image import Encoding, StoredImage, no_distances, several_values, three_axes
from .text_header import TextHeader, beside, read_header, shown
from .voxel_stream import broken

FIELD = re.compile(r"(\S[^=:]*?)\s*[=:]\s*(.*?)")
NEEDED = {"ndims", "dimsize", "elementtype", "elementdatafile"}
MATRIX = ("transformmatrix", "rotation", "orientation")  # three names of one thing
ORIGIN = ("offset", "position", "origin")
SPACING = ("elementspacing", "elementsize")
MSB = ("binarydatabyteordermsb", "elementbyteordermsb")
SCALING = {"elementtointensityfunctionslope": 1.0, "elementtointensityfunctionoffset": 0.0}  # values that change none
KNOWN = {
    *NEEDED, *MATRIX, *ORIGIN, *SPACING, *MSB, *SCALING, "headersize", "elementnumberofchannels", "distanceunits",
    "binarydata", "compresseddata", "compresseddatasize", "compressionlevel", "objecttype", "objectsubtype", "comment",
    "transformtype", "name", "id", "parentid", "color", "modality", "elementmin", "elementmax", "centerofrotation",
    "anatomicalorientation", "sequenceid", "acquisitiondate",
}  # fmt: skip
TYPES = {
    "met_char": "i1", "met_uchar": "u1", "met_short": "i2", "met_ushort": "u2", "met_int": "i4", "met_uint": "u4",
    "met_long": "i4", "met_ulong": "u4", "met_long_long": "i8", "met_ulong_long": "u8", "met_float": "f4",
    "met_double": "f8",
}  # fmt: skip
ROTATION = 0.05  # by how much the length of an axis' direction may differ from 1


def stored_metaimage(path: Path) -> StoredImage:
    """The image that a MetaImage header describes. Raises `DataError` where a field is missing, unknown or out of range."""
    header = read_header(path, FIELD, last="elementdatafile")
    if not header.fields.keys() >= NEEDED or header.fields.get("objecttype", "Image").lower() != "image":
        raise DataError(broken(path, "MetaImage"))
    _check_names(header)
    axes = header.whole("ndims", 2, 4)
    sizes = header.wholes("dimsize", axes)
    if min(sizes) < 1:
        raise header.wrong("dimsize", "numbers of 1 or more")
    if (channels := header.whole("elementnumberofchannels", 1, 10**6, default=1)) > 1:
        raise several_values(path.name, channels)
    if any(header.numbers(name, 1)[0] != none for name, none in SCALING.items() if name in header):
        raise DataError(f"The values of {path.name} are to be scaled (ElementToIntensityFunction): export it unscaled.")
    kind = TYPES.get(header.fields["elementtype"].lower())
    if kind is None:
        raise header.wrong("elementtype", "one of MET_CHAR, MET_UCHAR, MET_SHORT, ... MET_DOUBLE")
    order = ">" if any(header.truth(name, False) for name in MSB) else "<"
    name = header.fields["elementdatafile"]
    local, encoding = name.lower() == "local", _encoding(header)
    skip = header.whole("headersize", -1 if encoding == "raw" else 0, 0 if local else 10**9, default=0)
    return StoredImage(
        data=path if local else beside(path, name),
        encoding=encoding,
        dtype=np.dtype(order + kind),
        shape=three_axes(path.name, sizes),
        affine=_affine(header, axes),
        begin=header.end if local else max(skip, 0),
        skip=min(skip, 0),
    )


def _check_names(header: TextHeader) -> None:
    """Refuse a field that is nearly one of MetaImage's which is not there; other programs pass it over without a word.

    Fields of other names are the user's own: ITK writes all that it knows of a NIfTI file, `toffset` among it.
    """
    absent = KNOWN - header.fields.keys()
    for names in (MATRIX, ORIGIN, SPACING, MSB):
        absent -= set(names) if header.fields.keys() & set(names) else set()
    for name in header.fields.keys() - KNOWN:
        if near := difflib.get_close_matches(name, absent, 1, 0.85):
            raise DataError(f"The header of {header.name} says {shown(name)}: expected {near[0]}; correct it.")


def _encoding(header: TextHeader) -> Encoding:
    if not header.truth("binarydata", True):
        return "text"
    return "packed" if header.truth("compresseddata", False) else "raw"


def _affine(header: TextHeader, axes: int) -> NDArray[np.float64]:
    """Voxel indices (i, j, k, 1) to mm in RAS; the header's own are LPS, a row of its matrix for each axis."""
    if header.fields.get("distanceunits", "mm").lower() not in ("mm", "?"):
        raise DataError(
            f"{header.name} gives lengths in {shown(header.fields['distanceunits'])}: expected mm; export it again."
        )
    matrix = np.eye(axes) if (name := _one_of(header, MATRIX)) is None else header.numbers(name, axes**2)
    directions = matrix.reshape(axes, axes)[:3, :3]
    if name is not None and (np.abs(np.linalg.norm(directions, axis=1) - 1) > ROTATION).any():
        raise header.wrong(name, "directions of length 1, at right angles")
    spacing = np.ones(axes)
    if (name := next((name for name in SPACING if name in header), None)) is not None:
        spacing = header.numbers(name, axes)
        if spacing.min() <= 0:
            raise header.wrong(name, "distances above 0 mm")
    elif axes > 2:
        raise no_distances(header.name, "ElementSpacing = 0.7 0.7 1.25")
    origin = np.zeros(axes) if (name := _one_of(header, ORIGIN)) is None else header.numbers(name, axes)
    count = min(axes, 3)
    affine = np.eye(4)
    affine[:count, :count] = directions.T * spacing[:count]
    affine[:count, 3] = origin[:count]
    return np.diag([-1.0, -1, 1, 1]) @ affine


def _one_of(header: TextHeader, names: tuple[str, ...]) -> str | None:
    """The one of several names of a field that the header has, None for none. Raises `DataError` for several."""
    found = [name for name in names if name in header]
    if len(found) > 1:
        raise DataError(f"The header of {header.name} says both {' and '.join(found)}: leave the right one.")
    return found[0] if found else None
