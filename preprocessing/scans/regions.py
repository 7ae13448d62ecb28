"""Where others drew the lesions: a mask, a DICOM segmentation or a DICOM structure set, each on the scan's own grid."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..documents import shown
from ..errors import DataError, InputError, UsageError
from ..names import ITK, NIFTI, has_suffix
from .dicom.dicom_files import identify
from .dicom.structures import read_structures, structure_voxels
from .scan import Scan, read_own_mask

MOST_LABELS = 255
LISTED = 20  # names of structures that a message repeats
LABEL = re.compile(
    r'<Label\b[^>]*\bKey="(\d+)"[^>]*>\s*(?:<!\[CDATA\[)?([^<\]]*)'
)  # as Connectome Workbench writes them


@dataclass(frozen=True)
class Region:
    """What one label or structure marks.

    Attributes:
        name: of the structure; "" for a mask's label without a name.
        voxels: [n, 3], voxel indices (z, y, x) of the scan.
    """

    name: str
    voxels: NDArray[np.intp]


def read_regions(path: Path, scan: Scan, structures: Sequence[str] = ()) -> list[Region]:
    """The regions of a file.

    Args:
        path: a mask (NIfTI, NRRD or MetaImage) whose labels are whole numbers, with names where TotalSegmentator wrote them;
            or a DICOM SEG or RTSTRUCT.
        scan: the scan on which they were drawn.
        structures: which ones: numbers, or names with wildcards, capitals or not. Empty: all labels of a mask, and the only
            structure of a DICOM file.

    Raises:
        InputError: there is no such file, it is empty, or no structure is so named.
        UsageError: a DICOM file has several structures and none is chosen.
        DataError: it is damaged, or does not lie on the scan.
    """
    if not has_suffix(path, (*NIFTI, *ITK)) and path.is_file() and identify(path) is not None:
        return list(_of_dicom(path, scan, structures))
    return list(_of_mask(path, scan, structures))


def _of_dicom(path: Path, scan: Scan, structures: Sequence[str]) -> Iterator[Region]:
    found = read_structures(path)
    if len(found.names) > 1 and not structures:
        raise UsageError(
            f"{path.name} holds {len(found.names)} structures: choose some with `structures` (a number, a name, or a pattern "
            f"as 'Nodule*'; '*' for all): {_listed(found.names)}."
        )
    frame = scan.dicom.slices[0].elements.text("FrameOfReferenceUID") if scan.dicom else ""
    for number in _chosen(path, found.names, structures):
        yield Region(found.names[number], structure_voxels(path, found, number, scan.volume, frame))


def _of_mask(path: Path, scan: Scan, structures: Sequence[str]) -> Iterator[Region]:
    mask = read_own_mask(path, scan)
    values = np.unique(mask.array)
    marked = [int(value) for value in values if value]
    if not marked:
        raise InputError(f"{path.name} is empty: expected a mask with at least one voxel in each lesion.")
    if len(marked) > MOST_LABELS:
        raise DataError(
            f"{path.name} has {len(values)} different values: expected a mask with 0 outside the lesions and whole numbers "
            "inside."
        )
    known = _label_names(path)
    names = {value: known.get(value, "") for value in marked}
    for value in _chosen(path, names, structures):
        yield Region(names[value], np.argwhere(mask.array == value))


def _chosen(path: Path, names: Mapping[int, str], structures: Sequence[str]) -> list[int]:
    """The numbers of the structures that are named, in the order of the file."""
    chosen: set[int] = set()
    for wanted in structures:
        numbers = {
            number
            for number, name in names.items()
            if wanted == str(number) or fnmatch(name.casefold(), wanted.strip().casefold())
        }
        if not numbers:
            raise InputError(f"{path.name} has no structure {shown(wanted)}: expected one of {_listed(names)}.")
        chosen |= numbers
    return [number for number in names if number in chosen or not structures]


def _listed(names: Mapping[int, str]) -> str:
    listed = [f"{number} {shown(name)}" if name else str(number) for number, name in names.items()]
    return ", ".join(listed[:LISTED]) + (f" and {len(listed) - LISTED} more" if len(listed) > LISTED else "")


def _label_names(path: Path) -> dict[int, str]:
    """The names of a NIfTI file's labels, as TotalSegmentator writes them into its header."""
    if not has_suffix(path, NIFTI):
        return {}
    header = nib.load(path).header
    extensions = header.extensions if isinstance(header, nib.Nifti1Header) else ()
    texts = [extension.get_content() for extension in extensions if extension.get_code() == 0]
    found = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in texts]
    return {int(number): name.strip() for text in found for number, name in LABEL.findall(text)}
