"""What bright or dark things at the border of a crop do to models whose training crops were scaled by their own extremes.

    python examples/studies/lost_units.py lidc-gated chest.nii.gz LIDC-IDRI-0001 --places 20

Each scan is a CT in HU. The places are those that `predict` finds to look at. At each, the model's answer to the scan is
compared with its answers to the scan with one thing in it that should not matter: a column of 8 x 8 pixels through all slices,
in a corner of the square over which a slice is scaled, outside the crop that the model sees. It is filled with

    contrast   400 HU, a vessel full of contrast medium
    bone       1,000 HU
    metal      3,071 HU
    filling    -2,048 HU, what some scanners put where they saw nothing

The script prints the mean over places of the measures of `ambiseg evaluate --stability`, with the 95th percentile: with the
limits of `used_ends`, and without them.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from ambiseg.models.bundle.find import find_model
from ambiseg.models.lesions.stability import MEASURES, Answer, compared
from ambiseg.models.prediction.draws import draw_masks
from ambiseg.models.prediction.neighbourhood import Neighbourhood, neighbourhood
from ambiseg.models.prediction.search import search
from ambiseg.models.runs import normalise
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.scans.scan import open_scan
from ambiseg.preprocessing.volumes.volume import Volume
from ambiseg.terminal.console import plain_errors

THINGS = {"contrast": 400, "bone": 1000, "metal": 3071, "filling": -2048}  # HU
SIDE = 8  # pixels
DEPTH_MM = 8.0
WAYS = {"with the limits": normalise.TISSUE_HU, "without them": (-math.inf, math.inf)}


def with_thing(volume: Volume, place: Neighbourhood, wide: int, value: float) -> Volume | None:
    """The scan with a column of a value in the first corner of the square of `wide` training pixels; None: outside the scan."""
    centre, step = place.plane.centre, place.plane.step
    corner = [round(middle - (wide / 2 - 1) * pixel) for middle, pixel in zip(centre, step, strict=True)]
    if min(corner) < 0:
        return None
    array = volume.array.copy()
    array[place.box[0], corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE] = value
    return replace(volume, array=array)


def moved(trained: Trained, volume: Volume, places: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Way, thing and measures, of each place of a scan and each thing that fits there."""
    data = trained.record.data
    for lesion in search(trained, volume, limit=places):
        place = neighbourhood(volume, lesion, trained.record.crop, data.spacing_mm, depth_mm=DEPTH_MM)

        def answer(shown: Volume, lesion=lesion, place=place) -> Answer:
            drawn = draw_masks(trained, shown, None, lesion, 0, place, 128)
            return Answer.of(drawn.labels > 0, drawn.weights, drawn.draws, None)

        for way, limits in WAYS.items():
            with patch.object(normalise, "TISSUE_HU", limits):
                before = answer(volume)
                for thing, value in THINGS.items():
                    changed = with_thing(volume, place, data.scaled_over or trained.record.crop, value)
                    if changed is not None:
                        yield way, thing, compared(before, answer(changed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--places", type=int, default=20, help="of each scan, at most")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_trained(find_model(asked.model), torch.device("cpu"))
    found = []
    for path in asked.scans:
        with open_scan(path) as scan:
            found += list(moved(trained, scan.volume, asked.places))
    print("| thing | | places | " + " | ".join(MEASURES) + " |")
    print("|---" * (3 + len(MEASURES)) + "|")
    for thing in THINGS:
        for way in WAYS:
            rows = np.array([[row[measure] for measure in MEASURES] for w, t, row in found if (w, t) == (way, thing)])
            cells = [
                f"{mean:.3f} ({high:.3f})"
                for mean, high in zip(np.nanmean(rows, 0), np.nanquantile(rows, 0.95, 0), strict=True)
            ]
            print(f"| {thing} | {way} | {len(rows)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    with plain_errors():
        main()
