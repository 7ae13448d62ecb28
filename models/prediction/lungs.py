"""The lungs of a CT in HU: the air within the chest without airways and bowel gas, with what lies at the pleura and the hilum.

Everything is found on a copy with voxels of about `BLOCK_MM`, the means of blocks of the scan's own voxels.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ambiseg.preprocessing.volumes.volume import Volume, check_body, check_voxel_size

BLOCK_MM = 2.5
AIRY = -400  # HU; lung and gas are below it
GAS = -965  # HU; free air, outside the body, in airways and bowels, is below it, even an emphysematous lung rarely is
TISSUE = -200  # HU; a lung is surrounded by what is denser
THICK_MM = 8.0  # a lung holds balls of this radius, the airways do not
SMALLEST_ML = 20.0  # less than that is no piece of lung
REACH_MM = 20.0  # how far the lung's thin parts reach from its thick ones
RING_MM = (4.0, 12.0)  # where tissue must surround a lung
SURROUNDED = 0.7  # share of the ring that is tissue: at least .9 around lungs, at most half around a couch's foam
CLOSING_MM = 10.0

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]


def lung_mask(volume: Volume) -> NDArray[np.bool_]:
    """Mask [Z, Y, X] of both lungs on the scan's voxels (CT in HU); empty where the scan shows none.

    Gaps and bays of up to 20 mm are closed, so that nodules at the pleura and the vessels at the hilum lie inside. Raises
    DataError, before any work, for voxels or a scan of an impossible size.
    """
    check_voxel_size(volume)
    check_body(volume)
    blocks = block_sizes(volume.spacing_mm)
    small, spacing = block_means(volume.array, blocks), _times(volume.spacing_mm, blocks)
    lungs = closed(open_lungs(small, spacing), spacing)
    return enlarged(lungs, blocks, volume.array.shape)


def open_lungs(hounsfield: NDArray[np.float32], spacing_mm: Spacing) -> NDArray[np.bool_]:
    """The lungs' air [Z, Y, X] of a coarse CT: its pieces that hold a ball of `THICK_MM`, are no free gas and lie in tissue."""
    air = hounsfield < AIRY
    air &= ~_outside(hounsfield)
    thick = _depth(air, spacing_mm) > THICK_MM
    lungs = np.zeros_like(air)
    pieces, _ = ndimage.label(thick)
    for piece, box in enumerate(ndimage.find_objects(pieces), start=1):
        core = pieces[box] == piece
        if np.median(hounsfield[box][core]) > GAS:
            lungs[box] |= core
    if lungs.any():
        lungs = _with_thin_parts(lungs, air, spacing_mm)
    return _surrounded_by_tissue(lungs, hounsfield > TISSUE, spacing_mm)


def closed(mask: NDArray[np.bool_], spacing_mm: Spacing) -> NDArray[np.bool_]:
    """A mask [Z, Y, X] closed with a ball of `CLOSING_MM`, and its holes filled, as if a cut lung went on beyond the field."""
    if not mask.any():
        return mask
    margins = [(_steps(CLOSING_MM, step),) * 2 for step in spacing_mm]
    result = np.pad(mask, margins, mode="edge")
    box = _box(result, spacing_mm, CLOSING_MM)
    grown = ~(_depth(~result[box], spacing_mm) > CLOSING_MM)
    result[box] |= ndimage.binary_fill_holes(_depth(grown, spacing_mm) > CLOSING_MM)
    return result[tuple(slice(low, -high) for low, high in margins)]


def block_sizes(spacing_mm: Spacing) -> Shape:
    """How many voxels along each axis make a block of about `BLOCK_MM`."""
    z, y, x = (max(1, round(BLOCK_MM / step)) for step in spacing_mm)
    return z, y, x


def block_means(array: NDArray, blocks: Shape) -> NDArray[np.float32]:
    """Means over blocks of voxels; the last block along an axis may be smaller."""
    sums = array
    for axis in (2, 1, 0):  # one axis after the other: as many steps as a block has sides, not voxels
        sums = _sums(sums, axis, blocks[axis])
    for axis, size in enumerate(blocks):
        starts = np.arange(0, array.shape[axis], size)
        voxels = np.minimum(array.shape[axis] - starts, size).astype(np.float32)
        sums /= np.expand_dims(voxels, tuple(other for other in range(3) if other != axis))
    return sums


def _sums(array: NDArray, axis: int, size: int) -> NDArray[np.float32]:
    """Sums of `size` neighbours along an axis; the last may be of fewer."""
    if size == 1:
        return array.astype(np.float32)
    shape = list(array.shape)
    shape[axis] = -(-shape[axis] // size)
    sums = np.zeros(shape, np.float32)
    into, along = np.moveaxis(sums, axis, 0), np.moveaxis(array, axis, 0)
    for offset in range(min(size, len(along))):
        part = along[offset::size]
        into[: len(part)] += part
    return sums


def enlarged(mask: NDArray, blocks: Shape, shape: tuple[int, ...]) -> NDArray:
    """An array of blocks, on the voxels that the blocks were made from."""
    for axis, size in enumerate(blocks):
        mask = np.repeat(mask, size, axis)
    return np.ascontiguousarray(mask[tuple(slice(count) for count in shape)])


def _outside(hounsfield: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Free air that reaches a side of the field, and the voxels beside it, which it shares with skin or clothes."""
    pieces, _ = ndimage.label(hounsfield < GAS + 15)
    sides = np.concatenate(
        [pieces[:, side].ravel() for side in (0, -1)] + [pieces[..., side].ravel() for side in (0, -1)]
    )
    touching = np.zeros(pieces.max() + 1, bool)
    touching[sides] = True
    touching[0] = False
    return ndimage.binary_dilation(touching[pieces], np.ones((1, 3, 3)))


def _with_thin_parts(cores: NDArray[np.bool_], air: NDArray[np.bool_], spacing_mm: Spacing) -> NDArray[np.bool_]:
    """Cores grown by up to `REACH_MM` within the air: into the lung's edges, but not far into the airways."""
    steps = math.ceil(REACH_MM / min(spacing_mm))
    return ndimage.binary_dilation(cores, ndimage.generate_binary_structure(3, 1), steps, mask=air)


def _surrounded_by_tissue(
    lungs: NDArray[np.bool_], tissue: NDArray[np.bool_], spacing_mm: Spacing
) -> NDArray[np.bool_]:
    """The pieces that are large enough and surrounded by tissue, unlike a foam cushion, which is surrounded by air."""
    pieces, count = ndimage.label(lungs, np.ones((3, 3, 3)))
    kept = np.zeros(count + 1, bool)
    for piece in range(1, count + 1):
        own = pieces == piece
        box = _box(own, spacing_mm, RING_MM[1])
        if own[box].sum() * math.prod(spacing_mm) < 1000 * SMALLEST_ML:
            continue
        distance = _depth(~own[box], spacing_mm)
        ring = (distance > RING_MM[0]) & (distance < RING_MM[1]) & ~lungs[box]
        kept[piece] = tissue[box][ring].mean() > SURROUNDED if ring.any() else True
    return kept[pieces]


def _depth(mask: NDArray[np.bool_], spacing_mm: Spacing) -> NDArray[np.floating]:
    """Distance in mm of each voxel of the mask to the nearest outside it; 0 outside, infinite where there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    return ndimage.distance_transform_edt(mask, spacing_mm)


def _box(mask: NDArray[np.bool_], spacing_mm: Spacing, margin_mm: float) -> tuple[slice, ...]:
    """The voxels within `margin_mm` of the bounding box of a mask that is not empty."""
    (box,) = ndimage.find_objects(mask.view(np.uint8))
    reach = [_steps(margin_mm, step) for step in spacing_mm]
    return tuple(slice(max(side.start - more, 0), side.stop + more) for side, more in zip(box, reach, strict=True))


def _steps(length_mm: float, step_mm: float) -> int:
    return math.ceil(length_mm / step_mm) + 1


def _times(spacing_mm: Spacing, blocks: Shape) -> Spacing:
    z, y, x = (step * size for step, size in zip(spacing_mm, blocks, strict=True))
    return z, y, x
