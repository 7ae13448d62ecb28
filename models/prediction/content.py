"""Hypotheses in numbers: the lesions of hypotheses.json, and the same as a table.

The document holds no path and nothing about the patient. The same results give the same content.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.tables import table_text
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.arrays import AnyArray
from ..core.size import at_border, cut_off, measure
from ..metrics.size_forecast import SizeForecast, Spread, thresholds
from .cautions import lesion_notes
from .document import (
    Document,
    HypothesisEntry,
    LesionEntry,
    ScanEntry,
    SizeEntry,
    SizeForecastEntry,
    SizesEntry,
    SpreadEntry,
    ThresholdEntry,
)
from .inference import LesionHypotheses, Ranking
from .neighbourhood import within

MAPS = {  # names of the maps, and their descriptions in the file headers
    "probability": "ambiseg probability of lesion",
    "entropy": "ambiseg entropy in nats",
    "aleatoric": "ambiseg entropy in nats, stated without draws",
}
OF_LESION = ("name", "score", "no_lesion", "ambiguity", "residual")
SETTLED = ("settled_x_mm", "settled_y_mm", "settled_z_mm")
OF_HYPOTHESIS = (
    *("rank", "probability", "low", "high", "area_mm2", "volume_mm3", "long_axis_mm", "short_axis_mm", "slices"),
    *("agreement", "empty", "cut_off", "at_border", "file"),
)


def scan_entry(volume: Volume, picture: bool = False) -> ScanEntry:
    """The scan's grid as in hypotheses.json; the pixels of a `picture` have no size."""
    z, y, x = volume.array.shape
    entry = ScanEntry(voxels=(x, y, z), spacing_mm=_rounded(volume.spacing_mm[::-1], 6))
    return entry.model_copy(update={"length_unit": "px"}) if picture else entry


def lesion_entries(
    found: Sequence[LesionHypotheses], volume: Volume, classes: Sequence[str], ranking: Ranking
) -> list[LesionEntry]:
    """The lesions as in hypotheses.json; `classes` are the labels' names, background first.

    Lesion number n has its files in `lesion_0n/`; a single lesion has them directly in the folder.
    """
    shared = _overlaps(found)
    return [
        _lesion(number, result, volume, classes, several=len(found) > 1, overlaps=shared[number], ranking=ranking)
        for number, result in enumerate(found, start=1)
    ]


def table(document: Document) -> str:
    """The hypotheses of all lesions as CSV for people, one row each."""
    columns = ("lesion", *OF_LESION, "x_mm", "y_mm", "z_mm", *SETTLED, "draws", *OF_HYPOTHESIS)
    rows = (_row(lesion, entry) for lesion in document.lesions for entry in lesion.hypotheses)
    return table_text(rows, columns, for_people=True)


def size_table(document: Document) -> str:
    """The sizes of all lesions as CSV for people, one row each: distributions, and probabilities of thresholds."""
    rows = [dict(_size_row(lesion)) for lesion in document.lesions]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return table_text(rows, columns, for_people=True)


def _size_row(lesion: LesionEntry) -> Iterator[tuple[str, Any]]:
    yield from (("lesion", lesion.number), ("name", lesion.name), ("no_lesion", lesion.no_lesion))
    if lesion.size is None:
        return
    for name, spread in lesion.size.if_marked.plain().items():
        yield from ((f"{name}_{number}", value) for number, value in spread.items() if number != "lower_bounds")
        yield f"{name}_lower_bounds", " ".join(spread["lower_bounds"])
    for name, spread in lesion.size.overall.plain().items():
        yield f"{name}_mean_overall", spread["mean"]
    for entry in lesion.size.thresholds:
        yield f"p_{entry.measure}_at_least_{entry.at_least:g}", entry.probability
    yield "cut", lesion.size.cut


def masks_table(forecast: SizeForecast) -> str:
    """The sizes of all of a model's masks of a lesion as CSV, one row each: weight, measures, and whether it may be larger."""
    columns: dict[str, AnyArray] = {"weight": forecast.weights.round(9)}
    columns |= {str(name): values.round(3) for name, values in forecast.numbers.items()}
    columns["cut"] = forecast.cut
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return table_text((dict(zip(columns, row, strict=True)) for row in rows), list(columns))


def _row(lesion: LesionEntry, entry: HypothesisEntry) -> dict[str, Any]:
    x, y, z = lesion.centre_mm
    low, high = entry.interval or (None, None)
    shared = {name: getattr(lesion, name) for name in (*OF_LESION, "draws")}
    place = {"lesion": lesion.number, "x_mm": x, "y_mm": y, "z_mm": z}
    settled = dict(zip(SETTLED, lesion.settled_mm or (None, None, None), strict=True))
    return {**entry.plain(), "low": low, "high": high, **shared, **place, **settled}


def _lesion(
    number: int,
    result: LesionHypotheses,
    volume: Volume,
    classes: Sequence[str],
    *,
    several: bool,
    overlaps: list[int],
    ranking: Ranking,
) -> LesionEntry:
    folder = f"lesion_{number:02d}" if several else ""
    place = f"{folder}/" if folder else ""
    found, lesion = result.hypotheses, result.lesion
    return LesionEntry(
        number=number,
        folder=folder,
        name=lesion.name,
        centre_mm=_rounded(lesion.centre_mm, 3),
        settled_mm=None if lesion.settled_mm is None else _rounded(lesion.settled_mm, 3),
        zoom=result.zoom,
        notes=lesion_notes(result, volume, ranking),
        score=None if lesion.score is None else round(lesion.score, 6),
        no_lesion=round(result.no_lesion, 6),
        ambiguity=None if math.isnan(result.ambiguity) else round(result.ambiguity, 6),
        residual=round(found.residual, 6),
        draws=found.draws,
        left_out=round(result.left_out, 6),
        **{name: f"{place}{name}.nii.gz" if getattr(result, name) is not None else None for name in MAPS},
        preview=f"{place}preview.png",
        size=size_entry(result.size, ranking),
        sizes=f"{place}sizes.csv",
        hypotheses=[_hypothesis(index, place, volume, result, classes) for index in range(len(found.masks))],
        overlaps=overlaps,
    )


def size_entry(forecast: SizeForecast, ranking: Ranking) -> SizeForecastEntry | None:
    """A lesion's size as in hypotheses.json; None where nothing is marked."""
    if not forecast.presence:
        return None
    flat = "area_mm2" in forecast.numbers
    return SizeForecastEntry(
        if_marked=_sizes(forecast, if_marked=True),
        overall=_sizes(forecast, if_marked=False),
        thresholds=[
            ThresholdEntry(
                measure=of,
                at_least=value,
                probability=round(forecast.at_least(of, value, if_marked=False), 6),
                if_marked=round(forecast.at_least(of, value), 6),
            )
            for of, value in thresholds(ranking.diameters_mm, ranking.volumes_mm3, flat=flat)
        ],
        cut=round(forecast.share_cut, 6),
    )


def _sizes(forecast: SizeForecast, *, if_marked: bool) -> SizesEntry:
    spreads = {name: forecast.spread(name, if_marked=if_marked) for name in forecast.numbers}
    return SizesEntry(**{name: _spread(spread) for name, spread in spreads.items() if spread is not None})


def _spread(spread: Spread) -> SpreadEntry:
    numbers = {name: round(value, 1) for name, value in asdict(spread).items() if name != "lower_bounds"}
    return SpreadEntry(**numbers, lower_bounds=list(spread.lower_bounds))


def _hypothesis(
    index: int, place: str, volume: Volume, result: LesionHypotheses, classes: Sequence[str]
) -> HypothesisEntry:
    found, mask, shape = result.hypotheses, result.hypotheses.masks[index], volume.array.shape
    sizes = {name: _size(mask == label, volume) for label, name in enumerate(classes) if label}
    return HypothesisEntry(
        rank=index + 1,
        file=f"{place}hyp_{index + 1:02d}.nii.gz",
        probability=round(float(found.probabilities[index]), 6),
        interval=None if found.intervals is None else _rounded(found.intervals[index], 6),
        **_size(mask, volume).plain(),
        **({"classes": sizes} if len(sizes) > 1 else {}),
        agreement=round(float(result.agreement[index]), 6),
        empty=not mask.any(),
        cut_off=cut_off(mask, result.box, shape),
        at_border=at_border(mask, result.box, shape),
    )


def _size(mask: NDArray, volume: Volume) -> SizeEntry:
    """The size of a mask [Z, Y, X]: an area if the scan is a single slice, else a volume."""
    size = measure(mask, volume.spacing_mm)
    flat = len(volume.array) == 1
    return SizeEntry(
        **({"area_mm2": round(size.area_mm2, 3)} if flat else {"volume_mm3": round(size.volume_mm3, 3)}),
        long_axis_mm=round(size.long_axis_mm, 3),
        short_axis_mm=round(size.short_axis_mm, 3),
        slices=size.slices,
    )


def _overlaps(found: Sequence[LesionHypotheses]) -> dict[int, list[int]]:
    """For each lesion's number, the others whose most probable non-empty mask shares voxels with its own."""
    marked = [np.asarray(result.hypotheses.masks[~result.hypotheses.empty][:1].any(0)) for result in found]
    shared = {number: list[int]() for number in range(1, len(found) + 1)}
    for (a, first), (b, second) in combinations(enumerate(found), 2):
        if (marked[a] & within(marked[b], second.box, first.box)).any():
            shared[a + 1].append(b + 1)
            shared[b + 1].append(a + 1)
    return shared


def _rounded(values: Sequence[float] | NDArray[np.float64], digits: int) -> Any:
    return tuple(round(float(value), digits) + 0.0 for value in values)
