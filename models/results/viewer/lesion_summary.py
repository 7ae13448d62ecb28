"""The summary of a lesion, as a physician would print it: size, probabilities in words and figures, likeliest outlines."""

from dataclasses import dataclass

from ambiseg.preprocessing.exports.segments import COLOURS

from ...core.size import Length
from ...figures.drawing import percent, share
from ...prediction.document import HypothesisEntry, LesionEntry, SizeForecastEntry
from . import words

READERS = 20  # of whom words count how many


@dataclass(frozen=True)
class Row:
    """A line of the table: what it is, its number, and words or a range beside it; `colour` of an outline, else empty."""

    name: str
    number: str
    beside: str
    colour: str = ""


@dataclass(frozen=True)
class Summary:
    """A lesion's summary. `picture`: the outlines on three planes, a PNG as a data URL."""

    number: int
    title: str
    place: str
    rows: tuple[Row, ...]
    outlines: tuple[Row, ...]
    rest: str
    note: str
    picture: str | None


def summary(lesion: LesionEntry, outlined: list[int], picture: str | None, length: Length = "mm") -> Summary:
    """The summary of a lesion in hypotheses.json; `outlined`: the indices of the hypotheses that the picture shows;
    `length`: the unit of lengths.
    """
    shown = [lesion.hypotheses[index] for index in outlined]
    others = 1 - lesion.no_lesion - sum(entry.probability for entry in shown)
    return Summary(
        number=lesion.number,
        title=lesion.name or f"Lesion {lesion.number}",
        place=words.place(lesion.settled_mm or lesion.centre_mm, length),
        rows=(*_presence(lesion.no_lesion), *(() if lesion.size is None else _sizes(lesion.size, length))),
        outlines=tuple(_outline(entry, length) for entry in shown),
        rest=share(round(max(others, 0.0), 6)),
        note=""
        if lesion.size is None or not lesion.size.cut
        else "≥: masks reach a border, so the number is a lower bound.",
        picture=picture,
    )


def of_readers(probability: float) -> str:
    """A probability as a number of readers.

    >>> of_readers(0.85), of_readers(0.004), of_readers(1.0)
    ('about 17 of 20 readers', 'hardly any reader', 'all readers')
    """
    count = round(READERS * probability)
    if count == 0:
        return "no reader" if share(probability) == "0 %" else "hardly any reader"
    if count == READERS:
        return "all readers" if probability == 1 else "nearly all readers"
    return f"about {count} of {READERS} readers"


def _presence(no_lesion: float) -> tuple[Row, Row]:
    marked = 1 - no_lesion
    return (
        Row("Marked as a lesion", percent(marked), of_readers(marked)),
        Row("No lesion", percent(no_lesion), of_readers(no_lesion)),
    )


def _sizes(size: SizeForecastEntry, length: Length) -> list[Row]:
    measures = {
        "Volume, if marked": (size.if_marked.volume_mm3, f"{length}³"),
        "Area, if marked": (size.if_marked.area_mm2, f"{length}²"),
        "Mean diameter, if marked": (size.if_marked.mean_diameter_mm, length),
    }
    rows = [
        Row(
            name,
            f"{words.number(spread, 'median')} {unit}",
            f"90 %: {words.number(spread, 'low_90')} to {words.number(spread, 'high_90')} {unit}",
        )
        for name, (spread, unit) in measures.items()
        if spread is not None
    ]
    thresholds = [
        Row(words.threshold(entry, length).capitalize(), percent(entry.probability), of_readers(entry.probability))
        for entry in size.thresholds
    ]
    return rows + thresholds


def _outline(entry: HypothesisEntry, length: Length) -> Row:
    colour = COLOURS[(entry.rank - 1) % len(COLOURS)]
    size = f"{words.extent(entry.size, length)}, {words.axes(entry.size, length)}"
    return Row(str(entry.rank), percent(entry.probability), size, colour)
