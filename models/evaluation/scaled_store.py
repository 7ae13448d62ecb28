"""CT in HU as a model without a unit reads it: each crop scaled to the model's range, as `predict` scales the slices of a scan.

The shipped models learned from crops whose HU were lost: each had been scaled by its own extremes. A data set in HU is read
by them in the same way, so that they can be evaluated on it, and calibrated to its readers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.store.intensity import Intensity
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

from ..runs.normalise import scaled, used_ends
from ..runs.run_record import DataRecord


@dataclass(frozen=True)
class ScaledStore(Store):
    """A store whose images have another unit and range than the stored ones.

    Attributes:
        target: The unit and the range of what `images` gives.
        side: The side in pixels of the square in the middle of a crop whose values become that range.
    """

    target: Intensity
    side: int

    @property
    def intensity(self) -> Intensity:
        """The unit and the range that the images are scaled to."""
        return self.target

    @property
    def note(self) -> str:
        """What was done, for the notes of an evaluation."""
        return (
            f"The images are in HU and the model has no unit: each crop was scaled to the model's range, {self.target.low:g} "
            f"to {self.target.high:g}, by the values of its {self.side} pixels in the middle."
        )

    def images(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Images [N, C, H, W] of the given rows, float32, each channel of a crop scaled for itself."""
        stored = super().images(rows).astype(np.float32)
        ends = [
            [used_ends(plane, self.target, hounsfield=True) for plane in image]
            for image in centre_crop(stored, self.side)
        ]
        low, high = np.moveaxis(np.array(ends, np.float32), -1, 0)[..., None, None]
        return scaled(stored, low, high, self.target)


def as_the_model_reads(data: DataRecord, store: Store) -> Store:
    """A store as a model of these data reads it: scaled if it is in HU and the model has no unit, else the store itself."""
    if data.unit != "relative" or store.intensity.unit != "HU":
        return store
    side = data.scaled_over or max(store.size)
    if data.spacing_mm is not None and store.spacing_mm is not None:
        side = max(round(side * data.spacing_mm / store.spacing_mm), 1)
    return ScaledStore(store.path, store.manifest, data.intensity, min(side, max(store.size)), seat=store.seat)
