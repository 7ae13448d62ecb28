"""The lesion that the demo predicts: one that its readers dispute, with a piece of its scan around it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ambiseg.preprocessing.store.store import Store
    from ambiseg.preprocessing.volumes.volume import Volume

CUT_MM = 16.0  # half the side of the piece of scan that is predicted


@dataclass(frozen=True)
class Target:
    """The lesion that the demo predicts: its row in the store, the piece of scan around it, its centre (z, y, x) therein."""

    row: int
    volume: "Volume"
    voxel: tuple[int, float, float]


def choose_target(folder: Path, store: "Store", crop: int) -> Target:
    """The test lesion about which its readers disagree most, with the piece of its scan around it."""
    from ambiseg.preprocessing.scans.dicom.series import read_series

    row = _most_disputed(store, crop)
    facts = store.index[row]
    (series,) = (folder / "LIDC-IDRI" / facts["patient"]).glob(f"*/{facts['series_uid']}")
    scan = read_series(_slices_about(series, float(facts["z_mm"])))
    z = scan.voxel((0.0, 0.0, float(facts["z_mm"])))[0]
    centre = (round(z), float(facts["centre_y_px"]), float(facts["centre_x_px"]))
    volume, start = _cut_out(scan, centre)
    return Target(row, volume, (centre[0] - start[0], centre[1] - start[1], centre[2] - start[2]))


def _cut_out(scan: "Volume", centre: tuple[int, float, float]) -> tuple["Volume", tuple[int, int, int]]:
    """The part of a scan about a voxel, small enough to need no further word of where its lesion is; and its first voxel."""
    from ambiseg.preprocessing.volumes.volume import Volume

    z, y, x = (
        slice(max(round(middle - CUT_MM / step), 0), round(middle + CUT_MM / step) + 1)
        for middle, step in zip(centre, scan.spacing_mm, strict=True)
    )
    start, affine = (z.start, y.start, x.start), scan.affine.copy()
    affine[:3, 3] = scan.world(start)
    return Volume(scan.array[z, y, x], affine), start


def _slices_about(series: Path, z_mm: float) -> list[Path]:
    """The files of the equally spaced slices around a height: the cohort has slices about its lesions only."""
    import numpy as np

    from ambiseg.preprocessing.scans.dicom.series_images import read_slices

    slices = read_slices(series.glob("*.dcm"))
    heights = np.array([one.height_mm for one in slices])
    steps = np.diff(heights)
    run = np.concatenate(([0], np.cumsum(steps > 1.5 * steps.min())))
    here = run == run[np.abs(heights - z_mm).argmin()]
    return [one.path for one, near in zip(slices, here, strict=True) if near]


def _most_disputed(store: "Store", crop: int) -> int:
    """The largest slice (row) of the test lesion whose readers' volumes are farthest apart on average.

    Lesions that do not fit a crop of `crop` pixels come last.
    """
    import numpy as np

    from ambiseg.models.core.overlap import pairwise_iou

    rows = store.rows("test")
    names = np.array([f"{store.index[row]['case']}/{store.index[row]['lesion']}" for row in rows])
    found = []
    for name in np.unique(names):
        own = rows[names == name]
        masks = store.masks(own)  # [slices, R, H, W]
        y, x = np.nonzero(masks.any((0, 1)))
        large = bool(max(np.ptp(y), np.ptp(x)) > 0.75 * crop)
        agreement = pairwise_iou(masks.transpose(1, 0, 2, 3)).mean()
        found.append((large, agreement, int(own[masks.sum((1, 2, 3)).argmax()])))
    return min(found)[2]
