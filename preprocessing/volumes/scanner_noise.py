"""The noise of a CT scanner.

Calibrated on a real scan of LIDC-IDRI (GE LightSpeed, standard kernel): its standard deviation is 24 HU in lung and 14 HU in
soft tissue, and neighbouring pixels have a correlation of .58.
"""

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating]  # single precision throughout, for speed

LUNG_HU = 24.0  # standard deviation in lung
TAP = 0.369  # of the kernel (TAP, 1, TAP): 2 TAP / (1 + 2 TAP^2) = .58 at a lag of one pixel


def scanner_noise(rng: np.random.Generator, shape: tuple[int, int]) -> Plane:
    """Noise [rows, columns] of unit variance, with the correlation of a reconstructed CT slice; independent a slice."""
    white = rng.standard_normal((shape[0] + 2, shape[1] + 2), dtype=np.float32)
    rows = white[1:-1] + TAP * (white[:-2] + white[2:])
    return (rows[:, 1:-1] + TAP * (rows[:, :-2] + rows[:, 2:])) / (1 + 2 * TAP**2)
