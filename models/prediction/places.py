"""Where to look in a scan: at the places that the user gives, at the whole of a lesion's crop, or where a search leads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ambiseg.preprocessing.errors import InputError, NothingFound, UsageError
from ambiseg.preprocessing.scans.point_files import Point, read_points
from ambiseg.preprocessing.scans.regions import read_regions
from ambiseg.preprocessing.scans.scan import Scan, read_own_mask
from ambiseg.preprocessing.volumes.planes import fit_grid

from ..runs.trained import Trained
from .lesion import WAYS, Lesion, at_point, centre, is_crop, region_lesions, whole_plane

FoundBy = Literal["given", "crop", "search"]

LEAST_SCORE = 0.1  # of what a search proposes: below it are vessels (docs/decisions/0011)
SPARE = 3  # places found for each that is wanted, as several may be of the same lesion


@dataclass(frozen=True)
class Places:
    """Where the user says the lesions are.

    If there is neither `at` nor `points` nor `roi`, a scan that is not a lesion's crop is searched.

    Args:
        at: points (x, y, z) in mm (RAS).
        points: a CSV table of points (see `read_points`).
        roi: a mask on the scan's grid, a DICOM SEG or RTSTRUCT; each connected piece is a lesion.
        structures: which labels of the mask, or which structures (see `read_regions`); empty: all labels, or the only
            structure.
        voxel: `at` and `points` are voxel indices (i, j, k) of the file, from 0, instead of mm.
        lung_mask: a mask on the scan's grid to search in; None: the lungs are found.
        candidates: the largest number of lesions that a search gives.
        min_score: leave out what a search, or another program's list of detections, scores lower; None: `LEAST_SCORE` for a
            search, nothing for detections.
        of_many: the table lists the points of many scans, so that only the rows with this scan's name count.
    """

    at: Sequence[Point] = ()
    points: Path | None = None
    roi: Path | None = None
    structures: Sequence[str] = ()
    voxel: bool = False
    lung_mask: Path | None = None
    candidates: int = 5
    min_score: float | None = None
    of_many: bool = False


def find_lesions(
    trained: Trained, scan: Scan, places: Places, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[Lesion], FoundBy]:
    """The lesions to look at, and how they were found.

    A search gives more than `candidates`, the best first, since several may turn out to be the same lesion.

    Raises:
        InputError: for a place outside the scan.
        NothingFound: when the search finds nothing, or the table has no point of this scan.
        UsageError: when both places and a lung mask are given.
    """
    named = named_lesions(scan, places)
    if named and trained.record.data.fit == "resize":
        raise UsageError("The model looks at whole images, resized as its training images were: leave out the places.")
    if named:
        if places.lung_mask is not None:
            raise UsageError("`lung_mask` says where to search, but places are given too: leave out one of them.")
        return named, "given"
    volume, crop, data = scan.volume, trained.record.crop, trained.record.data
    if data.fit is not None and data.scaled_over is not None and len(volume.array) == 1:
        height, width = volume.array.shape[1:]
        return [whole_plane(volume, fit_grid(data.fit, (height, width), data.scaled_over, crop))], "crop"
    if is_crop(volume, crop, data.spacing_mm, data.scaled_over) and places.lung_mask is None:
        return [centre(volume, crop, data.spacing_mm)], "crop"
    if len(volume.array) == 1:
        raise InputError(f"A single slice larger than a lesion's crop is not searched: say where to look with {WAYS}.")
    if data.channels > 1:
        raise InputError(
            f"Only a CT of one channel is searched, and the model reads {data.channels}: say where to look with {WAYS}."
        )
    return _searched(trained, scan, places, on_progress), "search"


def named_lesions(scan: Scan, places: Places) -> list[Lesion]:
    """The lesions that the user gives; none if no place is given."""
    named = [(point, "") for point in places.at]
    if places.points is not None:
        names = (scan.name, scan.dicom.series_uid) if scan.dicom else (scan.name,)
        least = places.min_score or 0.0
        named += read_points(places.points, names, voxels=places.voxel, of_many=places.of_many, min_score=least)
    if places.voxel:
        affine = scan.grid.affine
        named = [(tuple((affine @ [*point, 1.0])[:3].tolist()), name) for point, name in named]
    lesions = [at_point(scan.volume, point, name) for point, name in named]
    if places.roi is not None:
        regions = read_regions(places.roi, scan, places.structures)
        lesions += region_lesions(regions, scan.volume, places.roi.name)
    elif places.structures:
        raise UsageError("`structures` chooses among the labels or structures of `roi`, which is not given.")
    return lesions


def _searched(trained: Trained, scan: Scan, places: Places, on_progress: Callable[[int, int], None]) -> list[Lesion]:
    from .search import search

    lungs = None
    if places.lung_mask is not None:
        lungs = read_own_mask(places.lung_mask, scan).array != 0
    limit = SPARE * places.candidates
    found = search(trained, scan.volume, lungs=lungs, limit=limit, on_progress=on_progress)
    if not found:
        raise NothingFound(f"Nothing in the lungs looks like a lesion: say where to look with {WAYS}.")
    least = LEAST_SCORE if places.min_score is None else places.min_score
    likely = [lesion for lesion in found if lesion.score is None or lesion.score >= least]
    if not likely:
        raise NothingFound(
            f"Nothing in the lungs looks enough like a lesion (the best place scores {found[0].score:g}, `min_score` is "
            f"{least:g}): lower `min_score`, or say where to look with {WAYS}."
        )
    return likely
