"""One scan of the phantom: its slices, from the chest to the stored pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..lidc.annotations import Nodule, ScanRecord
from ..volumes.scanner_noise import LUNG_HU, Plane, scanner_noise
from .chest import Chest, chest_plane, make_chest
from .images import INTERCEPT, PADDING
from .lesions import Lesion, draw_lesions, lesion_room, make_lesion
from .shapes import FIELD, PIXELS
from .vessels import Vessels, draw_vessels, grow_vessels

TISSUE_NOISE, AIR_NOISE = 14, 9  # HU; that in lung is `LUNG_HU`
LOWEST, HIGHEST = -1024, 3071  # HU that a scanner stores


@dataclass(frozen=True)
class PhantomScan:
    """Everything that the slices of a scan are drawn from; `seed` and the slice's index give its noise."""

    record: ScanRecord
    chest: Chest
    vessels: Vessels
    lesions: tuple[Lesion, ...]
    seed: int
    outside: NDArray[np.bool_]


def make_scan(record: ScanRecord, nodules: Sequence[Nodule], seed: int) -> PhantomScan:
    """Invent a patient for a scan's geometry, nodules and seed."""
    rng = np.random.default_rng([seed, record.id])
    lesions = tuple(make_lesion(record, nodule) for nodule in nodules)
    chest = make_chest(record, [lesion_room(record, lesion) for lesion in lesions], rng)
    unit_mm = record.pixel_spacing_mm * PIXELS / 2
    vessels = grow_vessels(unit_mm, chest.low_mm, chest.high_mm, rng)
    u, v = FIELD.axes()
    return PhantomScan(record, chest, vessels, lesions, seed, u**2 + v**2 > 1)


def slice_hounsfield(scan: PhantomScan, index: int) -> Plane:
    """HU [512, 512] of slice `index`, counted from the feet; without the padding outside the scanner's circle."""
    z_mm = float(scan.record.z_mm[index])
    plane, lung, tissue = chest_plane(scan.chest, z_mm)
    draw_vessels(plane, lung, scan.vessels, z_mm, scan.record.pixel_spacing_mm, scan.chest.blood)
    draw_lesions(plane, tissue, scan.lesions, z_mm)
    level = np.where(plane > -980, TISSUE_NOISE + (LUNG_HU - TISSUE_NOISE) * lung, AIR_NOISE)
    rng = np.random.default_rng([scan.seed, scan.record.id, index])
    plane += level * scanner_noise(rng, plane.shape)
    return plane


def slice_pixels(scan: PhantomScan, index: int) -> NDArray[np.int16]:
    """The slice as it is stored: HU less the intercept, padded outside the scanner's circle."""
    stored = np.rint(slice_hounsfield(scan, index)).clip(LOWEST, HIGHEST).astype(np.int16) - np.int16(INTERCEPT)
    stored[scan.outside] = PADDING
    return stored
