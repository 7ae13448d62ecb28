"""The crops of a store by lesion: which are slices of one lesion, in which order, and how large their voxels are.

Crops with one patient, case and lesion are slices of one lesion, on one grid. If the store keeps readers in their places
(`same_readers`), mask r of the slices stacks to the volume that one reader marked.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .store import Store
from .store_index import IndexRow

MARKS, THICKNESS = "marks", "slice_thickness_mm"  # columns of few indexes


@dataclass(frozen=True)
class LesionRows:
    """The crops of one lesion, as consecutive slices.

    Attributes:
        patient: The patient's name.
        case: The case's name.
        lesion: The lesion's name in its case.
        rows: Row numbers [Z] of the slices, by ascending z, or by slice number where z is not known.
        step_mm: Distance of the slices, in mm; None where it is not known.
        pixel_mm: Pixel size (y, x) of the crops, in mm; None where it is not known.
    """

    patient: str
    case: str
    lesion: str
    rows: NDArray[np.intp]
    step_mm: float | None
    pixel_mm: tuple[float, float] | None

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Size of a voxel (z, y, x), in mm; None where it is not known."""
        return None if self.step_mm is None or self.pixel_mm is None else (self.step_mm, *self.pixel_mm)

    @property
    def voxel_mm3(self) -> float | None:
        """Volume of a voxel, in mm3; None where it is not known."""
        return None if self.spacing_mm is None else math.prod(self.spacing_mm)


def keeps_readers(store: Store) -> bool:
    """Whether mask r of all crops of a lesion is one reader's.

    Args:
        store: The store.

    Returns:
        What the manifest says. Stores written before it said so are recognised by the index column `marks`, the marks of
        LIDC-IDRI's database behind masks 0, 1, ...: they are those of LIDC-IDRI, whose crops always kept this order.
    """
    if store.manifest.known_odds:
        return False
    said = store.manifest.same_readers
    return MARKS in store.index[0] if said is None else said


def lesions_of(store: Store, rows: NDArray[np.intp]) -> list[LesionRows]:
    """Group crops into lesions.

    Args:
        store: The store.
        rows: Row numbers [N] of the crops, such as those of a split.

    Returns:
        The lesions in the order of their first rows.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from ambiseg.preprocessing.store.intensity import BYTES
        >>> from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
        >>> from ambiseg.preprocessing.store.store_writer import write_store
        >>> image, masks = np.zeros((1, 8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_store(Path(folder, "mine"), StoreInfo("mine", "made", BYTES), {"p": "train"}) as writer:
        ...         for z in (5.0, 0.0, 2.5):
        ...             writer.add(Crop(image, masks, patient="p", case="c", z_mm=z, spacing_mm=(0.5, 0.5)))
        ...     (found,) = lesions_of(Store.open(Path(folder, "mine")), np.arange(3))
        >>> found.rows.tolist(), found.step_mm, found.voxel_mm3
        ([1, 2, 0], 2.5, 0.625)
    """
    members: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for row in rows:
        members[store.index[row].lesion].append(int(row))
    return [_lesion(store, found) for found in members.values()]


def pixel_mm(store: Store, row: int) -> tuple[float, float] | None:
    """Pixel size (y, x) of a crop in mm: that of all crops, or the scan's own where crops keep their scans' pixels.

    Args:
        store: The store.
        row: Number of the crop's row.
    """
    if store.spacing_mm is not None:
        return store.spacing_mm, store.spacing_mm
    return store.index[row].spacing_mm


def _lesion(store: Store, members: Sequence[int]) -> LesionRows:
    index = {row: store.index[row] for row in members}
    places = {row: found.z_mm for row, found in index.items()}
    z = {row: place for row, place in places.items() if place is not None}
    known = len(z) == len(members)
    ordered = sorted(members, key=lambda row: z[row] if known else int(index[row]["slice"]))
    patient, case, lesion = index[ordered[0]].lesion
    step_mm = _step_mm([z[row] for row in ordered], index[ordered[0]]) if known else None
    return LesionRows(patient, case, lesion, np.array(ordered, np.intp), step_mm, pixel_mm(store, ordered[0]))


def _step_mm(z_mm: Sequence[float], first: IndexRow) -> float | None:
    """Distance of slices at ascending z; that of a single slice is taken from its scan's thickness, where it is known."""
    if len(z_mm) > 1:
        step = float(np.median(np.diff(z_mm)))
        return step if step > 0 else None
    thickness = first.get(THICKNESS, "")
    try:
        found = float(thickness)
    except ValueError:
        return None
    return found if math.isfinite(found) and found > 0 else None
