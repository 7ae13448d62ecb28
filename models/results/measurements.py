"""The numbers of hypotheses.json as coded measurements, for structured reports.

Codes of SCT, DCM and UCUM where these name a thing; docs/reference/dicom-objects.md explains those of the private scheme.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ambiseg.preprocessing.exports.dicom_sr import OWN, Coded, Evaluation, Measured, Number

from ..figures.drawing import percent
from ..metrics.size_forecast import mean_diameter
from ..prediction.document import Document, HypothesisEntry, LesionEntry, SizeEntry, SpreadEntry, ThresholdEntry

ONE, MM, MM3 = ("1", "UCUM", "no units"), ("mm", "UCUM", "mm"), ("mm3", "UCUM", "cubic millimeter")
VOLUME = ("118565006", "SCT", "Volume")
LONG_AXIS, SHORT_AXIS = ("103339001", "SCT", "Long Axis"), ("103340004", "SCT", "Short Axis")
DIAMETER = ("81827009", "SCT", "Diameter")
PROBABILITY = ("122157", "DCM", "Probability")
MEAN, MEDIAN = ("373098007", "SCT", "Mean"), ("373099004", "SCT", "Median")
DERIVATIONS: Mapping[str, Coded] = {  # of the numbers of a spread
    "mean": MEAN,
    "median": MEDIAN,
    "low_90": ("371888009", "SCT", "Fifth percentile"),
    "high_90": ("371889001", "SCT", "Ninety-fifth percentile"),
}
VOXELS = ("126030", "DCM", "Sum of segmented voxel volumes")
OF_AXES = ("MEAN_OF_AXES", OWN, "Mean of long and short axis")
RANK = ("RANK", OWN, "Rank by probability")
NO_LESION = ("NO_LESION", OWN, "Probability that nothing is marked")
UNLISTED = ("UNLISTED", OWN, "Probability of all masks that are not listed")
AMBIGUITY = ("AMBIGUITY", OWN, "Mean distance (1 - IoU) of two of the model's masks")
SIZES = Evaluation(("SIZES", OWN, "Sizes are stated"), ("IF_MARKED", OWN, "given that the lesion is marked"))
LARGER = Evaluation(("EXTENT", OWN, "Extent"), ("MAY_BE_LARGER", OWN, "reaches the border of what was looked at"))
NAMES = {"mean_diameter_mm": ("DIAM_GE", "mean diameter", "mm"), "volume_mm3": ("VOL_GE", "volume", "mm3")}


def measured(document: Document, folder: Path, *, each: bool) -> Iterator[Measured]:
    """The groups of a report: for each lesion one about the lesion, and then one for each segment of its SEGs.

    Args:
        document: hypotheses.json, of a scan with more than one slice.
        folder: where the prediction with its SEGs lies.
        each: whether each hypothesis has a SEG of its own.
    """
    for lesion in document.lesions:
        yield Measured(lesion.number, f"Lesion {lesion.number}", list(_of_lesion(lesion)), list(_said(lesion)))
        place, number = folder / lesion.folder, 0
        for entry in lesion.hypotheses:
            number = 0 if each else number
            for which, size in _parts(entry, document.classes):
                number += 1
                yield Measured(
                    lesion.number,
                    _label(lesion, entry, which),
                    list(_of_hypothesis(entry, size)),
                    [LARGER] if entry.cut_off or entry.at_border else [],
                    seg=place / (f"hyp_{entry.rank:02d}.dcm" if each else "hypotheses.dcm"),
                    segment=number,
                )


def _parts(entry: HypothesisEntry, classes: Sequence[str]) -> Iterator[tuple[str, SizeEntry]]:
    """The foreground classes of a hypothesis with their sizes; the name is empty where there is only one."""
    if entry.classes is None:
        yield "", entry.size
    else:
        yield from ((f", {name}", entry.classes[name]) for name in classes[1:])


def _label(lesion: LesionEntry, entry: HypothesisEntry, which: str) -> str:
    empty = ", no lesion" if entry.empty else ""
    return f"Lesion {lesion.number} hypothesis {entry.rank}{which}, {percent(entry.probability)}{empty}"


def _of_hypothesis(entry: HypothesisEntry, size: SizeEntry) -> Iterator[Number]:
    low, high = entry.interval or (None, None)
    below = None if low is None else round(entry.probability - low, 6)
    above = None if high is None else round(high - entry.probability, 6)
    yield Number(PROBABILITY, entry.probability, ONE, below=below, above=above)
    yield Number(RANK, entry.rank, ONE)
    yield Number(VOLUME, size.volume_mm3 or 0.0, MM3, method=VOXELS)
    if size.slices:
        yield Number(LONG_AXIS, size.long_axis_mm, MM)
        yield Number(SHORT_AXIS, size.short_axis_mm, MM)
        diameter = float(mean_diameter(size.long_axis_mm, size.short_axis_mm))
        yield Number(DIAMETER, diameter, MM, derivation=MEAN, method=OF_AXES)


def _of_lesion(lesion: LesionEntry) -> Iterator[Number]:
    yield Number(NO_LESION, lesion.no_lesion, ONE)
    yield Number(UNLISTED, lesion.residual, ONE)
    if lesion.ambiguity is not None:
        yield Number(AMBIGUITY, lesion.ambiguity, ONE)
    if lesion.size is None:
        return
    sizes = lesion.size.if_marked
    yield from _spread(sizes.extent, VOLUME, MM3, VOXELS)
    yield from _spread(sizes.mean_diameter_mm, DIAMETER, MM, OF_AXES)
    yield from _spread(sizes.long_axis_mm, LONG_AXIS, MM)
    yield from _spread(sizes.short_axis_mm, SHORT_AXIS, MM)
    yield from (Number(_reached(each), each.probability, ONE) for each in lesion.size.thresholds)


def _spread(spread: SpreadEntry, name: Coded, unit: Coded, method: Coded | None = None) -> Iterator[Number]:
    for number, derivation in DERIVATIONS.items():
        yield Number(name, getattr(spread, number), unit, derivation, method)


def _reached(entry: ThresholdEntry) -> Coded:
    """The probability that a threshold is reached, as a code: a scheme of ambiseg's own, one code per threshold."""
    code, name, unit = NAMES[entry.measure]
    return (
        f"{code}_{entry.at_least:g}",
        OWN,
        f"Probability of a lesion with a {name} of at least {entry.at_least:g} {unit}",
    )


def _said(lesion: LesionEntry) -> Iterator[Evaluation]:
    if lesion.size is not None:
        yield SIZES
        if lesion.size.cut:
            yield LARGER
