"""What `ambiseg predict` prints about a prediction: one table per lesion, and notes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from .console import console, out, warn

if TYPE_CHECKING:
    from ambiseg.models.prediction.document import Document, LesionEntry, SpreadEntry

NOTES = {
    "cut_off": "masks marked with * reach the border of the region that was looked at.",
    "at_border": "masks marked with | touch the scan's border; part of the lesion may lie outside.",
}
POWERS = {"mean_diameter_mm": "", "volume_mm3": "³"}  # of the unit of length


def show(document: "Document") -> None:
    """Print the lesions of a prediction, with warnings and notes."""
    lesions, length = document.lesions, document.scan.length_unit
    for warning in document.warnings:
        warn(warning)
    if document.found_by == "search":
        console.print(
            "Experimental: no place was given, so the lungs were searched. Candidates are listed by score. Lesions may be "
            "missed, and candidates may not be lesions."
        )
    for lesion in lesions:
        out(_table(lesion, length))
    if any(lesion.size for lesion in lesions):
        out(_sizes(lesions, length))
        out(_thresholds(lesions, length))
    for mark, note in NOTES.items():
        if any(getattr(entry, mark) for lesion in lesions for entry in lesion.hypotheses):
            console.print(f"Note: {note}")
    for lesion in lesions:
        for note in lesion.notes:
            console.print(f"Note: lesion {lesion.number}: {note}")
    for lesion in lesions:
        if any(other > lesion.number for other in lesion.overlaps):
            shared = ", ".join(str(other) for other in lesion.overlaps)
            console.print(f"Note: lesion {lesion.number} overlaps lesion {shared}: they may be one lesion.")
    if any(lesion.aleatoric for lesion in lesions):
        console.print(
            "aleatoric.nii.gz: the entropy that the model states without a draw; entropy.nii.gz: that of its draws."
        )
    if document.model.reader:
        console.print(
            f"The probabilities are the model's own for the reader {document.model.reader}. A calibration is "
            "that of all readers together, and is not used."
        )
    elif document.calibration is None:
        console.print(
            "The probabilities are the model's own. They are not calibrated; `ambiseg calibrate` fits them to readers."
        )


def time_split(seconds: Mapping[str, float], peak_memory_mb: float) -> Table:
    """The time spent in each part."""
    table = Table("part", "seconds", title="Time")
    for part, spent in seconds.items():
        table.add_row(part, f"{spent:.1f}")
    table.add_row("total", f"{sum(seconds.values()):.1f}", style="bold")
    table.caption = f"peak memory {peak_memory_mb / 1000:.2f} GB"
    table.columns[1].justify = "right"
    return table


def _place(point_mm: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in point_mm)


def _table(lesion: "LesionEntry", length: str) -> Table:
    """A lesion's hypotheses, the most probable first; `length`: the unit of lengths."""
    from ambiseg.models.core.hypotheses import source_words

    place = _place(lesion.centre_mm)
    settled = "" if lesion.settled_mm in (None, lesion.centre_mm) else f", settled at ({_place(lesion.settled_mm)})"
    drawn = source_words(lesion.draws, lesion.left_out).removesuffix(" probabilities")
    score = "" if lesion.score is None else f", score {lesion.score:.2f}"
    ambiguity = "" if lesion.ambiguity is None else f"ambiguity {lesion.ambiguity:.2f}, "
    flat = lesion.hypotheses[0].volume_mm3 is None
    table = Table(
        title=f"{lesion.folder or 'Lesion'} {lesion.name}".strip() + f" at ({place}) {length}{settled}{score}",
        caption=f"P(no lesion) {lesion.no_lesion:.1%}, {ambiguity}not listed {lesion.residual:.1%}, {drawn}",
    )
    for column in ("rank", "probability", "95 %", f"area {length}²" if flat else f"volume {length}³", f"axes {length}"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("file", no_wrap=True)
    for entry in lesion.hypotheses:
        size = entry.area_mm2 if flat else entry.volume_mm3
        table.add_row(
            str(entry.rank),
            f"{entry.probability:.1%}",
            "{:.0%} to {:.0%}".format(*entry.interval) if entry.interval else ("-" if lesion.left_out else "exact"),
            "no lesion" if entry.empty else f"{size:.0f}",
            "" if entry.empty else f"{entry.long_axis_mm:.1f} x {entry.short_axis_mm:.1f}",
            Path(entry.file).name + " *" * entry.cut_off + " |" * entry.at_border,
        )
    return table


def _sizes(lesions: Sequence["LesionEntry"], length: str) -> Table:
    """The lesions' sizes given that they are marked, one row each."""
    flat = lesions[0].hypotheses[0].volume_mm3 is None
    table = Table(
        title="Size if marked: median and 90 % interval",
        caption="over all of the model's masks; diameter: mean of long and short axis",
    )
    for column in ("lesion", f"area {length}²" if flat else f"volume {length}³", "90 %", f"diameter {length}", "90 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for lesion in lesions:
        if lesion.size is not None:
            sizes = lesion.size.if_marked
            extent = _median_and_interval(sizes.extent, ".0f")
            table.add_row(str(lesion.number), *extent, *_median_and_interval(sizes.mean_diameter_mm, ".1f"))
    return table


def _thresholds(lesions: Sequence["LesionEntry"], length: str) -> Table:
    """The probabilities that the lesions are marked and reach thresholds of size, one row each."""
    table = Table(title="P(marked, and at least so large)")
    table.add_column("lesion", justify="right")
    first = next(lesion.size for lesion in lesions if lesion.size)
    for entry in first.thresholds:
        table.add_column(f"{entry.at_least:g} {length}{POWERS[entry.measure]}", justify="right")
    for lesion in lesions:
        if lesion.size is not None:
            table.add_row(str(lesion.number), *(f"{entry.probability:.1%}" for entry in lesion.size.thresholds))
    return table


def _median_and_interval(spread: "SpreadEntry", digits: str) -> tuple[str, str]:
    """As text; what could be larger begins with ≥."""
    median, low, high = (
        "≥ " * (name in spread.lower_bounds) + format(getattr(spread, name), digits)
        for name in ("median", "low_90", "high_90")
    )
    return median, f"{low} to {high}"
