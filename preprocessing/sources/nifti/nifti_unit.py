"""The unit of a data set's images, judged from some of them: CT in HU, or grey values without a unit."""

from collections.abc import Sequence

from ...counted import counted
from ...errors import AmbisegError, DataError
from ...volumes.hounsfield import looks_like_hu
from ...workers import spread
from ..packed.crop_values import Unit
from .nifti_cases import NiftiCase
from .nifti_crops import Kind, read_image

ENOUGH = 16  # images, evenly spread over the cases
NAMES = {"hu": "HU", "relative": "relative grey values"}


def judged_unit(cases: Sequence[NiftiCase], kind: Kind, workers: int | None = None) -> tuple[Unit, list[str]]:
    """The unit of the images of all cases, and notes that say what it was judged by.

    Args:
        cases: Images that cannot be read do not count.
        kind: "hu" or "relative" is the unit, which then needs no image; "auto" lets the images say it.
        workers: Processes that read images (see `spread`).

    Raises:
        DataError: Some images look like a CT and others do not.
    """
    if kind != "auto":
        return kind, []
    found = _looks(cases[:: -(-len(cases) // ENOUGH)], workers) or _looks(cases, workers)
    units: list[Unit] = ["hu" if ct else "relative" for ct in found.values()]
    if len(set(units)) > 1:
        ct, other = (next(case for case, is_ct in found.items() if is_ct is wanted) for wanted in (True, False))
        raise DataError(
            f"{sum(found.values())} of {counted(len(found), 'image')} look like a CT in HU (case {ct} first), and the others "
            f"do not (case {other} first): set `intensity` to hu or to relative, or import each kind by itself."
        )
    unit = units[0] if units else "relative"
    why = "all have air and hardly a value outside -1024 to 3071" if unit == "hu" else "none looks like a CT in HU"
    return unit, [
        f"Intensity: {NAMES[unit]}, judged from {counted(len(found), 'image')}: {why}. Set `intensity` if this is wrong."
    ]


def _looks(cases: Sequence[NiftiCase], workers: int | None) -> dict[str, bool]:
    """Whether the image of each case, where it can be read, looks like a CT."""
    found = spread(_looks_like_ct, cases, workers, in_order=True)
    return {case.name: looks for case, looks in found if looks is not None}


def _looks_like_ct(case: NiftiCase) -> bool | None:
    try:
        return all(map(looks_like_hu, read_image(case).channels)) if case.images else None
    except AmbisegError:
        return None  # the case is reported when its crops are made
