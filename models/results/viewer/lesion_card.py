"""What the page shows about one lesion: its figures as text, and its hypotheses."""

from dataclasses import dataclass

from ambiseg.preprocessing.exports.segments import COLOURS

from ...core.hypotheses import source_words
from ...core.size import Length
from ...figures.drawing import percent
from ...prediction.document import HypothesisEntry, LesionEntry, SizeForecastEntry
from . import words
from .size_plot import SizePlot
from .voxels import Voxels


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis as the page lists it: `probability` and `interval` from 0 to 1 for its bar, everything else as text."""

    rank: int
    colour: str
    probability: float
    interval: tuple[float, float] | None
    says: str
    interval_says: str
    facts: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SizeRow:
    """A measure of size: its name, median, and 50 and 90 % intervals, as text."""

    name: str
    median: str
    half: str
    most: str


@dataclass(frozen=True)
class SizeCard:
    """A lesion's size as a distribution: rows of measures, probabilities of thresholds as (what, probability), and a plot."""

    rows: tuple[SizeRow, ...]
    thresholds: tuple[tuple[str, str], ...]
    note: str
    plot: SizePlot | None


@dataclass(frozen=True)
class Card:
    """A lesion as the page shows it. `picture`: a PNG as a data URL; `voxels`: what the viewer draws; None if left out."""

    number: int
    title: str
    place: str
    score: str
    no_lesion: str
    ambiguity: str
    level: str
    residual: str
    source: str
    notes: tuple[str, ...]
    size: SizeCard | None
    hypotheses: tuple[Hypothesis, ...]
    picture: str | None
    voxels: Voxels | None


def card(
    lesion: LesionEntry,
    picture: str | None,
    voxels: Voxels | None,
    plot: SizePlot | None = None,
    length: Length = "mm",
) -> Card:
    """The card of a lesion in hypotheses.json, whose lengths have this unit."""
    return Card(
        number=lesion.number,
        title=lesion.name or f"Lesion {lesion.number}",
        place=words.place(lesion.settled_mm or lesion.centre_mm, length),
        score="" if lesion.score is None else f"{lesion.score:.2f}",
        no_lesion=percent(lesion.no_lesion),
        ambiguity="–" if lesion.ambiguity is None else f"{lesion.ambiguity:.2f}",
        level=words.ambiguity(lesion.ambiguity),
        residual=percent(lesion.residual) if lesion.residual >= 0.0005 else "",
        source=("" if lesion.draws is None else "from ") + source_words(lesion.draws, lesion.left_out),
        notes=_notes(lesion),
        size=None if lesion.size is None else _size(lesion.size, plot, length),
        hypotheses=tuple(_hypothesis(entry, length) for entry in lesion.hypotheses),
        picture=picture,
        voxels=voxels,
    )


def _notes(lesion: LesionEntry) -> tuple[str, ...]:
    names = " and ".join(f"lesion {number}" for number in lesion.overlaps)
    overlap = (f"Its masks overlap those of {names}: they may be one lesion.",) if names else ()
    return (*lesion.notes, *overlap)


def _size(size: SizeForecastEntry, plot: SizePlot | None, length: Length) -> SizeCard:
    measures = {
        "Volume": (size.if_marked.volume_mm3, f"{length}³"),
        "Area": (size.if_marked.area_mm2, f"{length}²"),
        "Mean diameter": (size.if_marked.mean_diameter_mm, length),
        "Long axis": (size.if_marked.long_axis_mm, length),
        "Short axis": (size.if_marked.short_axis_mm, length),
    }
    rows = [
        SizeRow(
            f"{name}, {unit}",
            words.number(spread, "median"),
            f"{words.number(spread, 'low_50')} to {words.number(spread, 'high_50')}",
            f"{words.number(spread, 'low_90')} to {words.number(spread, 'high_90')}",
        )
        for name, (spread, unit) in measures.items()
        if spread is not None
    ]
    thresholds = [(words.threshold(entry, length), percent(entry.probability)) for entry in size.thresholds]
    note = f"{percent(size.cut)} of the masks reach a border: numbers with ≥ are lower bounds." if size.cut else ""
    return SizeCard(tuple(rows), tuple(thresholds), note, plot)


def _hypothesis(entry: HypothesisEntry, length: Length) -> Hypothesis:
    return Hypothesis(
        rank=entry.rank,
        colour=COLOURS[(entry.rank - 1) % len(COLOURS)],
        probability=entry.probability,
        interval=entry.interval,
        says=percent(entry.probability),
        interval_says=words.interval(entry.interval),
        facts=("no lesion: nothing is marked",) if entry.empty else _facts(entry, length),
        notes=_warnings(entry),
    )


def _facts(entry: HypothesisEntry, length: Length) -> tuple[str, ...]:
    """Size, axes, slices and agreement, and each class's size if there are several."""
    single = entry.area_mm2 is not None
    facts = [words.extent(entry.size, length), words.axes(entry.size, length)]
    facts += [] if single else [words.slices(entry.slices)]
    facts += [] if entry.rank == 1 else [f"agreement with 1: {percent(entry.agreement)}"]
    facts += [f"{name} {words.extent(size, length)}" for name, size in (entry.classes or {}).items() if size.slices]
    return tuple(facts)


def _warnings(entry: HypothesisEntry) -> tuple[str, ...]:
    notes = []
    if entry.cut_off:
        notes.append("Reaches the border of the region that the model looked at: more may lie outside.")
    if entry.at_border:
        notes.append("Reaches the border of the scan: more may lie outside.")
    return tuple(notes)
