"""Crops per second from LIDC-IDRI's DICOM: ambiseg against the usual script with pylidc and scipy.

    python examples/studies/cost/benchmark_preprocessing.py DICOM_ROOT [--workers N]

DICOM_ROOT holds one folder per patient with whole scans, as pylidc expects it. Both produce the same crops (180 x 180 pixels
of 0.5 mm, four masks, every slice on which a reader drew); ambiseg writes its store as well. The second pass of each is
timed, so that both find the files in the system's cache.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pylidc_compat import load_pylidc
from scipy.ndimage import zoom

from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc
from ambiseg.preprocessing.scans.dicom.dicom_files import find_series
from ambiseg.terminal.console import plain_errors

SIZE, SPACING = 180, 0.5


def with_pylidc(root: Path) -> int:
    """The usual way: query, cluster, read the whole volume, masks of the whole nodule, zoom, crop."""
    pylidc = load_pylidc(root)
    crops = 0
    for uid in find_series(root).files:
        for scan in pylidc.query(pylidc.Scan).filter(pylidc.Scan.series_instance_uid == uid):
            volume = scan.to_volume(verbose=False)
            for cluster in scan.cluster_annotations(verbose=False):
                crops += len(pylidc_crops(scan, cluster[:4], volume))
    return crops


def pylidc_crops(scan: Any, cluster: list[Any], volume: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images [180, 180] and masks [4, 180, 180] of one nodule."""
    boxes = np.array([mark.bbox_matrix() for mark in cluster])
    low, high = boxes[..., 0].min(0), boxes[..., 1].max(0)
    masks = np.zeros((4, *(high - low + 1)), bool)
    for reader, mark in enumerate(cluster):
        masks[reader] = mark.boolean_mask(bbox=np.stack([low, high], axis=1))
    scale = scan.pixel_spacing / SPACING
    centre = np.rint((low + high)[:2] / 2 * scale).astype(int) + SIZE // 2
    window = np.s_[..., centre[0] - SIZE // 2 : centre[0] + SIZE // 2, centre[1] - SIZE // 2 : centre[1] + SIZE // 2]
    crops = []
    for k in np.flatnonzero(masks.any((0, 1, 2))):
        image = np.pad(zoom(volume[..., low[2] + k], scale, order=1), SIZE // 2, constant_values=-1024)
        plane = np.zeros((4, *volume.shape[:2]), np.float32)
        plane[:, low[0] : high[0] + 1, low[1] : high[1] + 1] = masks[..., k]
        drawn = np.pad(zoom(plane, (1, scale, scale), order=1) >= 0.5, ((0, 0), (SIZE // 2,) * 2, (SIZE // 2,) * 2))
        crops.append((image[window], drawn[window]))
    return crops


def with_ambiseg(root: Path, workers: int) -> int:
    """The whole of `ambiseg preprocess lidc`."""
    with tempfile.TemporaryDirectory() as folder:
        return preprocess_lidc(root, Path(folder, "lidc"), size=SIZE, spacing_mm=SPACING, workers=workers).crops


def rate(make: Callable[[], int]) -> tuple[int, float]:
    """Number of crops from the second of two passes, and crops per second."""
    make()
    start = time.perf_counter()
    crops = make()
    return crops, crops / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dicom_root", type=Path)
    parser.add_argument("--workers", type=int, default=1, help="processes for ambiseg; the pylidc script has one")
    arguments = parser.parse_args()
    theirs, slow = rate(lambda: with_pylidc(arguments.dicom_root))
    ours, fast = rate(lambda: with_ambiseg(arguments.dicom_root, arguments.workers))
    print(f"pylidc and scipy: {theirs} crops, {slow:.1f} per second")
    print(
        f"ambiseg, {arguments.workers} process(es): {ours} crops, {fast:.1f} per second: {fast / slow:.1f} times as many"
    )


if __name__ == "__main__":
    with plain_errors():
        main()
