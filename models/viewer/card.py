"""What the page says of one lesion: its figures in words and its hypotheses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ambiseg.preprocessing.segments import COLOURS

from ..preview import percent
from . import words


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis as the page lists it; `probability` and `interval` in 0..1 for its bar, all else in words."""

    rank: int
    colour: str
    probability: float
    interval: tuple[float, float] | None
    says: str
    interval_says: str
    facts: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """A lesion as the page shows it. `picture`: a PNG in an address; `voxels`: what the viewer draws, None if left out."""

    number: int
    title: str
    place: str
    score: str
    no_lesion: str
    ambiguity: str
    level: str
    residual: str
    draws: str
    notes: tuple[str, ...]
    hypotheses: tuple[Hypothesis, ...]
    picture: str
    voxels: dict[str, Any] | None


def card(lesion: Mapping[str, Any], picture: str, voxels: dict[str, Any] | None) -> Card:
    """The card of an entry of `lesions` in hypotheses.json."""
    score, draws, residual = lesion["score"], lesion["draws"], lesion["residual"]
    return Card(
        number=lesion["number"],
        title=lesion["name"] or f"Lesion {lesion['number']}",
        place=words.place(lesion["centre_mm"]),
        score="" if score is None else f"{score:.2f}",
        no_lesion=percent(lesion["no_lesion"]),
        ambiguity="–" if lesion["ambiguity"] is None else f"{lesion['ambiguity']:.2f}",
        level=words.ambiguity(lesion["ambiguity"]),
        residual=percent(residual) if residual >= 0.0005 else "",
        draws="exact" if draws is None else f"{draws} draws",
        notes=_notes(lesion),
        hypotheses=tuple(_hypothesis(entry) for entry in lesion["hypotheses"]),
        picture=picture,
        voxels=voxels,
    )


def _notes(lesion: Mapping[str, Any]) -> tuple[str, ...]:
    others = lesion["overlaps"]
    if not others:
        return ()
    names = " and ".join(f"lesion {number}" for number in others)
    return (f"Its masks overlap those of {names}: both may be one lesion.",)


def _hypothesis(entry: Mapping[str, Any]) -> Hypothesis:
    interval = entry["interval"]
    return Hypothesis(
        rank=entry["rank"],
        colour=COLOURS[(entry["rank"] - 1) % len(COLOURS)],
        probability=entry["probability"],
        interval=None if interval is None else (interval[0], interval[1]),
        says=percent(entry["probability"]),
        interval_says=words.interval(interval),
        facts=("no lesion: nothing is marked",) if entry["empty"] else _facts(entry),
        notes=_warnings(entry),
    )


def _facts(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Size, axes, slices and agreement; the classes' own sizes where there are several."""
    single = "area_mm2" in entry
    facts = [words.extent(entry), words.axes(entry)]
    facts += [] if single else [words.slices(entry["slices"])]
    facts += [] if entry["rank"] == 1 else [f"agreement with 1: {percent(entry['agreement'])}"]
    facts += [f"{name} {words.extent(size)}" for name, size in entry.get("classes", {}).items() if size["slices"]]
    return tuple(facts)


def _warnings(entry: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if entry["cut_off"]:
        notes.append("Reaches the border of what the model looked at: more may lie outside.")
    if entry["at_border"]:
        notes.append("Reaches the border of the scan: more may lie outside.")
    return tuple(notes)
