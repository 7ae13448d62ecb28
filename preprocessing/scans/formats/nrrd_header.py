"""The header of an NRRD file (.nrrd, .nhdr; teem.sourceforge.net/nrrd/format.html): all of it is checked."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .stored_image import Encoding, StoredImage, no_distances, several_values, three_axes
from .text_header import TextHeader, beside, read_header, shown
from .voxel_stream import broken

MAGIC = re.compile(rb"NRRD000[1-6]\r?\n")
FIELD = re.compile(r"([^#=:][^=:]*?)\s*:(?!=)\s*(.*?)")
NEEDED = {"type", "dimension", "sizes", "encoding"}
SAME = {  # shorter names of fields
    "centers": "centerings", "datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip",
    "axismins": "axis mins", "axismaxs": "axis maxs", "blocksize": "block size", "oldmin": "old min",
    "oldmax": "old max", "sampleunits": "sample units",
}  # fmt: skip
KNOWN = {
    *NEEDED, *SAME.values(), "endian", "content", "number", "min", "max", "spacings", "thicknesses", "kinds", "labels",
    "units", "space", "space dimension", "space units", "space origin", "space directions", "measurement frame",
}  # fmt: skip
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
ENCODINGS: dict[str, Encoding] = {
    "raw": "raw", "gzip": "packed", "gz": "packed", "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
SPACES = {  # the signs that turn a space into RAS; what NRRD does not tie to the patient is taken as LPS, as ITK does
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (-1, -1, 1)),
    **dict.fromkeys(("scanner-xyz", "3d-right-handed", "3d-left-handed"), (-1, -1, 1)),
}
IN_SPACE = {"domain", "space", "???", "none"}  # kinds of axes along which voxels lie
TIME = "time"


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of the array: its size and kind; its step in space, its distance and first place (texts), or None."""

    size: int
    kind: str
    step: NDArray[np.float64] | None
    distance: str | None
    first: str | None


def stored_nrrd(path: Path) -> StoredImage:
    """The image that an NRRD header describes. Raises `DataError` where a field is missing, unknown or out of range."""
    header = _header(path)
    axes = _axes(header)
    lying = [axis for axis in axes if axis.step is not None or axis.kind in IN_SPACE]
    values = math.prod(axis.size for axis in axes if axis not in lying and axis.kind != TIME)
    if values > 1:
        raise several_values(path.name, values)
    lying += [axis for axis in axes if axis.kind == TIME and axis not in lying]
    kind = next((kind for kind, names in TYPES.items() if header.fields["type"].lower() in names), None)
    if kind is None:
        raise header.wrong("type", "the type of one grey value, as int16 or float")
    encoding = ENCODINGS.get(header.fields["encoding"].lower())
    if encoding is None:
        raise header.wrong("encoding", "raw, gzip or ascii")
    name = header.fields.get("data file")
    return StoredImage(
        data=path if name is None else beside(path, name),
        encoding=encoding,
        dtype=np.dtype(_order(header, kind, encoding) + kind),
        shape=three_axes(path.name, [axis.size for axis in lying]),
        affine=_affine(header, lying),
        begin=header.end if name is None else 0,
        lines=header.whole("line skip", 0, 10**6, default=0),
        skip=header.whole("byte skip", -1 if encoding == "raw" else 0, 0 if encoding == "text" else 10**9, default=0),
    )


def _header(path: Path) -> TextHeader:
    """The fields by their usual names; each is one of the format's."""
    read = read_header(path, FIELD)
    with path.open("rb") as file:
        if not MAGIC.match(file.read(16)):
            raise DataError(broken(path, "NRRD"))
    header = TextHeader(path.name, {SAME.get(name, name): value for name, value in read.fields.items()}, read.end)
    if not header.fields.keys() >= NEEDED:
        raise DataError(broken(path, "NRRD"))
    if unknown := header.fields.keys() - KNOWN:
        raise DataError(
            f"The header of {path.name} has a field {shown(min(unknown))}, which NRRD does not know: it is damaged, or was "
            "written by hand; correct it, or export the scan again."
        )
    return header


def _order(header: TextHeader, kind: str, encoding: Encoding) -> str:
    """The order of a value's bytes: "<" or ">"; where a value is one byte, or text, it does not matter."""
    if "endian" not in header and (kind.endswith("1") or encoding == "text"):
        return "<"
    order = {"little": "<", "big": ">"}.get(header.fields.get("endian", "").lower())
    if order is None:
        raise DataError(
            f"The header of {header.name} does not say endian: little or big: add it, or export the scan again."
        )
    return order


def _axes(header: TextHeader) -> list[_Axis]:
    count = header.whole("dimension", 1, 16)
    sizes = header.wholes("sizes", count)
    if min(sizes) < 1:
        raise header.wrong("sizes", "numbers of 1 or more")
    kinds = [kind.lower() for kind in header.words("kinds", count)] if "kinds" in header else ["none"] * count
    distances, firsts = (
        header.words(name, count) if name in header else [None] * count for name in ("spacings", "axis mins")
    )
    steps = _steps(header, count)
    if "space directions" in header:  # these alone say which axes lie in space
        kinds = [
            "layer" if step is None and kind in IN_SPACE else kind for kind, step in zip(kinds, steps, strict=True)
        ]
    return [_Axis(*each) for each in zip(sizes, kinds, steps, distances, firsts, strict=True)]


def _steps(header: TextHeader, count: int) -> list[NDArray[np.float64] | None]:
    """The vector [space] from voxel to voxel along each axis; None for an axis that has none."""
    if "space directions" not in header:
        return [None] * count
    texts = re.findall(r"none|\([^()]*\)", header.fields["space directions"], re.IGNORECASE)
    if len(texts) != count:
        raise header.wrong("space directions", f"{count} vectors or none")
    return [None if text.lower() == "none" else _vector(header, "space directions", text) for text in texts]


def _vector(header: TextHeader, field: str, text: str) -> NDArray[np.float64]:
    """A vector "(x,y,z)" in space."""
    found = header.parsed(field, [part.strip() for part in text.strip("()").split(",")])
    if len(found) not in (2, 3, 4) or (
        "space dimension" in header and len(found) != header.whole("space dimension", 2, 4)
    ):
        raise header.wrong(field, "vectors of two or three numbers")
    return found


def _affine(header: TextHeader, axes: list[_Axis]) -> NDArray[np.float64]:
    """Voxel indices (i, j, k, 1) to mm in RAS."""
    units = set(re.findall(r'"([^"]*)"', " ".join(header.fields.get(name, "") for name in ("space units", "units"))))
    if units := {unit for unit in units if unit.lower() not in ("mm", "millimeter", "millimeters", "")}:
        raise DataError(f"{header.name} gives lengths in {shown(units.pop())}: expected mm; export it again.")
    signs = SPACES.get(header.fields.get("space", "lps").lower().removesuffix("-time"))
    if signs is None:
        raise header.wrong("space", "left-posterior-superior, right-anterior-superior or another of NRRD's spaces")
    affine = _along(header, axes[:3]) if "space directions" in header else _upright(header, axes[:3])
    if "space origin" in header:
        affine[:3, 3] = (*_vector(header, "space origin", header.fields["space origin"]), 0)[:3]
    return np.diag([*signs, 1.0]) @ affine


def _along(header: TextHeader, axes: list[_Axis]) -> NDArray[np.float64]:
    """The affine, without its origin, of axes with steps in space; of a slice, the third is perpendicular to it."""
    affine = np.eye(4)
    for number, axis in enumerate(axes):
        if axis.step is None or axis.step[3:].any():
            raise header.wrong("space directions", "a vector in space for every axis of the image")
        affine[:3, number] = (*axis.step, 0)[:3]
    if len(axes) == 2 and affine[2, :2].any():
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1)
    return affine


def _upright(header: TextHeader, axes: list[_Axis]) -> NDArray[np.float64]:
    """The affine of axes that have distances, and first places, without directions; a picture may do without."""
    affine = np.eye(4)
    count = len(axes)
    if "spacings" in header:
        distances = header.parsed("spacings", [axis.distance or "" for axis in axes])
        if distances.min() <= 0:
            raise header.wrong("spacings", "distances above 0 mm")
        affine[range(count), range(count)] = distances
    elif count > 2:
        raise no_distances(header.name, "spacings: 0.7 0.7 1.25")
    if "axis mins" in header:
        edges = header.parsed("axis mins", [axis.first or "" for axis in axes])
        at_nodes = "node" in header.fields.get("centerings", "").lower()
        affine[:count, 3] = edges if at_nodes else edges + affine[range(count), range(count)] / 2
    return affine
