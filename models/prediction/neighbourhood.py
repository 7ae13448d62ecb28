"""The slices around a lesion, cropped as the training crops were, and masks of these crops put back on the scan."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.scans.class_probabilities import Probabilities, crop_probabilities
from ambiseg.preprocessing.store.intensity import BYTES, Intensity
from ambiseg.preprocessing.store.store_crop import in_255ths
from ambiseg.preprocessing.volumes.resample import PlaneGrid, most_covering
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.lesion_slices import Extent, LesionSlices
from ..runs.normalise import scaled, used_ends
from .lesion import Lesion

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Neighbourhood:
    """The scan's slices `box[0]`, the crop's grid `plane` laid on each, and the voxels `box[1:]` that it covers.

    The crop's pixels are `zoom` times as large as in training.
    """

    plane: PlaneGrid
    box: Box
    zoom: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (Z, Y, X) of the scan in the box."""
        depth, height, width = (side.stop - side.start for side in self.box)
        return depth, height, width

    @property
    def local(self) -> PlaneGrid:
        """The crop's grid over the box alone."""
        y, x = self.plane.centre
        return PlaneGrid(self.plane.size, (y - self.box[1].start, x - self.box[2].start), self.plane.step)

    def between(self, low: int, high: int) -> "Neighbourhood":
        """The same crop, on only those of its slices from `low` to `high`."""
        slices = slice(max(low, self.box[0].start), min(high + 1, self.box[0].stop))
        return replace(self, box=(slices, *self.box[1:]))

    def images(
        self, volume: Volume, intensities: Sequence[Intensity], scaled_over: int | None = None
    ) -> NDArray[np.float32]:
        """The slices as training crops [Z, C, H, W] in the unit of the training set.

        HU are clipped to the training range, with air outside the scan. Relative values are used as they are if the scan has
        the training range, or both are bytes. Otherwise each slice is scaled, as in the training set: the range that it uses
        within the square of `scaled_over` training pixels around the lesion (None: within the crop) becomes that range. A
        crop that is wider than this square is scaled over itself.

        Args:
            volume: the scan.
            intensities: unit and range of each channel of the training set [C].
            scaled_over: side of a square in training pixels.
        """
        each = [self._channel(volume, *channel, scaled_over) for channel in enumerate(intensities)]
        return np.stack(each, 1)

    def _channel(
        self, volume: Volume, channel: int, intensity: Intensity, scaled_over: int | None
    ) -> NDArray[np.float32]:
        """The slices of one channel as training crops [Z, H, W]."""
        slices = volume.channels[channel, self.box[0]].astype(np.float32)
        if intensity.unit == "HU":
            return np.rint(self.plane.image(np.clip(slices, intensity.low, intensity.high), fill=intensity.low))
        crops = np.stack([self.plane.image(plane, fill=float(plane[self.box[1:]].min())) for plane in slices])
        if in_range(volume, channel, intensity):
            return crops
        seen = crops
        if scaled_over is not None:
            wide = replace(self.plane, size=max(round(scaled_over / self.zoom), self.plane.size))
            seen = slices[:, *(_reach(wide, axis, count) for axis, count in enumerate(slices.shape[1:]))]
        ends = [used_ends(plane, intensity, hounsfield=volume.hounsfield) for plane in seen]
        low, high = np.array(ends, np.float32).T[..., None, None]
        return scaled(crops, low, high, intensity)

    def probabilities(self, stored: Probabilities) -> NDArray[np.uint8]:
        """Another segmenter's class probabilities of the scan [K, Z, Y, X] as training crops [Z, K, H, W] in 255ths."""
        slices = np.moveaxis(stored[:, self.box[0]], 1, 0)
        return in_255ths(np.stack([crop_probabilities(planes, self.plane) for planes in slices]))

    def slices(self, volume: Volume, lesion: Lesion, extent: Extent | None) -> LesionSlices:
        """Where the slices lie in the lesion, along the axis across slices."""
        step = volume.spacing_mm[0]
        middle = None if lesion.whole else volume.voxel(lesion.place_mm)[0] * step
        return LesionSlices([number * step for number in range(self.box[0].start, self.box[0].stop)], middle, extent)

    def labels_back(self, labels: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
        """Label maps of the crops [..., H, W] on the scan's voxels [..., Y, X]: each gets the class that covers most of it."""
        shape = self.shape[1:]
        result = np.zeros((*labels.shape[:-2], *shape), np.uint8)
        marked = labels.any((-2, -1))  # most slices of most draws are empty
        some = labels[marked]
        shares = [self.local.coverage_back(some == label, shape) for label in range(1, classes)]
        result[marked] = most_covering(np.stack(shares))
        return result

    def marginal_back(self, marginal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities of the crops [Z, K, H, W] on the scan's voxels [Z, K, Y, X]; background outside."""
        foreground = self.local.coverage_back(marginal[:, 1:], self.shape[1:])
        return np.concatenate((np.clip(1 - foreground.sum(1, keepdims=True), 0, 1), foreground), 1)

    def distance(self, volume: Volume, lesion: Lesion) -> NDArray[np.float32]:
        """Distance in mm [Z, Y, X] of the box's voxels from the lesion's mask, or from its centre if it has none."""
        from scipy import ndimage

        corner = np.array([side.start for side in self.box])
        drawn = np.empty((0, 3), np.intp) if lesion.roi is None else lesion.roi - corner
        drawn = drawn[((drawn >= 0) & (drawn < self.shape)).all(1)]
        if len(drawn):
            outside = np.ones(self.shape, bool)
            outside[tuple(drawn.T)] = False
            return ndimage.distance_transform_edt(outside, volume.spacing_mm).astype(np.float32)
        offsets = np.indices(self.shape).T + corner - volume.voxel(lesion.place_mm)
        return np.linalg.norm(offsets * volume.spacing_mm, axis=-1).T.astype(np.float32)


def within(values: NDArray, box: Box, shown: Box) -> NDArray:
    """Values [..., Z, Y, X] of a `box` of the scan on the voxels of another box `shown`, zero where that lies outside."""
    result = np.zeros((*values.shape[:-3], *(side.stop - side.start for side in shown)), values.dtype)
    common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, shown, strict=True)]
    if all(side.start < side.stop for side in common):
        (z, y, x), (z_there, y_there, x_there) = _from(common, shown), _from(common, box)
        result[..., z, y, x] = values[..., z_there, y_there, x_there]
    return result


def _from(part: list[slice], box: Box) -> list[slice]:
    """A part of the scan in indices of a box of it."""
    return [slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, box, strict=True)]


def in_range(volume: Volume, channel: int, intensity: Intensity) -> bool:
    """Whether the values of a scan's channel are used as they are.

    They are bytes as those of the training set; or those that it uses lie in the training set's range, and fill at least
    half of it.
    """
    if intensity == BYTES and volume.channels.dtype == np.uint8:
        return True
    low, high = volume.range if intensity == BYTES else volume.used[channel]
    return intensity.low <= low and high <= intensity.high and high - low >= (intensity.high - intensity.low) / 2


def centre_index(volume: Volume, lesion: Lesion) -> tuple[float, float, float]:
    """The voxel index (z, y, x) of the lesion's centre, rounded to a thousandth: a turned copy of a scan gives the same."""
    z, y, x = (round(index, 3) for index in volume.voxel(lesion.place_mm))
    return z, y, x


def neighbourhood(
    volume: Volume,
    lesion: Lesion,
    crop: int,
    spacing_mm: float | None,
    depth_mm: float,
    *,
    zoom: float = 1.0,
) -> Neighbourhood:
    """The crop of `crop` pixels of `spacing_mm` (None: the scan's own) around the lesion.

    With `zoom`, its pixels are so many times as large. Pixels of the scan's own size are laid pixel on
    pixel. The crop lies on every slice within `depth_mm` of the lesion's centre or through its mask, and on all slices if the
    scan is the lesion's crop.

    The centre is rounded to a thousandth of a voxel, so that a turned copy of the scan gives the same crop to the bit.
    """
    z, y, x = centre_index(volume, lesion)
    depth, height, width = volume.array.shape
    step_z, step_y, step_x = volume.spacing_mm
    if spacing_mm is None:
        if zoom == 1:
            inside = (min(max(index, 0.0), count - 1.0) for index, count in ((y, height), (x, width)))
            y, x = (round(index - (crop - 1) / 2) + (crop - 1) / 2 for index in inside)  # pixel on pixel
        step_y = step_x = spacing_mm = 1.0
    plane = lesion.plane or PlaneGrid(crop, (y, x), (zoom * spacing_mm / step_y, zoom * spacing_mm / step_x))
    low, high = z - depth_mm / step_z, z + depth_mm / step_z
    if lesion.roi is not None:
        low, high = min(low, lesion.roi[:, 0].min()), max(high, lesion.roi[:, 0].max())
    nearest = min(max(round(z), 0), depth - 1)
    slices = slice(min(max(math.ceil(low), 0), nearest), max(min(math.floor(high), depth - 1), nearest) + 1)
    if lesion.whole:
        slices = slice(0, depth)
    return Neighbourhood(plane, (slices, _reach(plane, 0, height), _reach(plane, 1, width)), zoom)


def _reach(plane: PlaneGrid, axis: int, count: int) -> slice:
    """The pixels of the plane that the grid touches along an axis."""
    half = plane.size * plane.step[axis] / 2
    low, high = plane.centre[axis] - half, plane.centre[axis] + half
    return slice(max(math.floor(low + 0.5), 0), min(math.ceil(high - 0.5) + 1, count))
