"""The report of a prediction: one file with its voxels, its viewer and its style, which loads nothing.

The reports of a batch may share the viewer and the style, which then lie in a folder of their own, once for all of them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.files import scratch_folder, whole_file
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.size import Length
from ..prediction.document import Document, LesionEntry
from ..prediction.inference import LesionHypotheses
from ..report.template import render, whole_style
from .preview import save_preview
from .three_planes import data_url, outlined, three_planes
from .viewer import words
from .viewer.lesion_card import Card, card
from .viewer.lesion_summary import Summary, summary
from .viewer.size_plot import size_plot
from .viewer.voxels import voxels

PARTS = ("page", "voxels", "shown", "window", "place", "borders", "paint", "lesion", "input", "viewer")  # of the script
PROGRAMS = ("niivue.umd.js", *(f"{part}.js" for part in PARTS))
STYLE, ALONE, LICENCE = "viewer.css", "alone.css", "LICENSE-niivue.txt"
SHARED = "report-files"  # the folder of what reports share
LIVE = 24  # lesions whose voxels are on the page; all have a picture and their figures


@dataclass(frozen=True)
class Viewer:
    """What the scripts need to know: the hypotheses' colours, the `unit` of the scan's values, and that of lengths."""

    colours: Sequence[str]
    unit: str
    length: Length


def write_report(
    path: Path,
    volume: Volume,
    results: Sequence[LesionHypotheses],
    document: Document,
    unit: str,
    *,
    shared: str = "",
) -> None:
    """Write the report of a scan, whole or not at all. The same results give the same bytes.

    Args:
        path: the file to write.
        volume: the scan.
        results: the hypotheses of each lesion, for their voxels.
        document: the content of hypotheses.json, for all figures.
        unit: "HU" for the windows of CT, "relative" for windows from the scan's own values.
        shared: the folder that `write_shared` fills, as seen from the page; empty: viewer and style are in the page.
    """
    cards, summaries, length = [], [], document.scan.length_unit
    for number, (lesion, result) in enumerate(zip(document.lesions, results, strict=True)):
        picture = _picture(path.parent, lesion, result, volume, unit, length)
        live = voxels(result, volume, document.classes, unit) if number < LIVE else None
        cards.append(card(lesion, picture, live, size_plot(result.size, lesion), length))
        planes = data_url(three_planes(result, volume, unit, length))
        summaries.append(summary(lesion, outlined(result), planes, length))
    with whole_file(path) as aside:
        aside.write_text(_page(cards, summaries, document, unit, shared), encoding="utf-8")


def write_shared(folder: Path) -> None:
    """Write what reports share to a folder, as far as it is not there yet.

    The names hold a hash of the content, so that reports of several versions of the program can share a folder.
    """
    for name, text in _shared_files().items():
        if not (folder / name).is_file():
            with whole_file(folder / name) as aside:
                aside.write_text(text, encoding="utf-8")


@cache
def _shared_files() -> Mapping[str, str]:
    """The names and texts of what reports share."""
    package = files(words.__package__)
    niivue, *parts = (package.joinpath(name).read_text("utf-8") for name in PROGRAMS)
    style = whole_style(words.__package__, [STYLE]) + ".apart { display: none; }\n"
    texts = (("style", ".css", style), ("niivue", ".js", niivue), ("viewer", ".js", "".join(parts)))
    named = {f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}{end}": text for name, end, text in texts}
    return named | {LICENCE: package.joinpath(LICENCE).read_text("utf-8")}


def _page(cards: Sequence[Card], summaries: Sequence[Summary], document: Document, unit: str, shared: str) -> str:
    linked = [f"{shared}/{name}" for name in _shared_files() if name != LICENCE] if shared else []
    return render(
        "prediction.html",
        package=words.__package__,
        styles=[ALONE if linked else STYLE],
        scripts=[] if linked else PROGRAMS,
        linked=linked,
        shared=shared,
        cards=cards,
        summaries=summaries,
        live=LIVE,
        found_by=document.found_by,
        warnings=document.warnings,
        notes=document.notes,
        calibration=words.calibration(document.calibration),
        calibrated=document.calibration is not None,
        model=document.model.name,
        facts=words.model_facts(document),
        viewer=Viewer(COLOURS, unit, document.scan.length_unit),
    )


def _picture(
    folder: Path, lesion: LesionEntry, result: LesionHypotheses, volume: Volume, unit: str, length: Length
) -> str | None:
    """The lesion's preview as a data URL: the file in `folder` if it is there already."""
    if lesion.preview is None:
        return None
    drawn = folder / lesion.preview
    if drawn.exists():
        png = drawn.read_bytes()
    else:
        with scratch_folder() as aside:
            save_preview(aside / "preview.png", result, volume, unit, length)
            png = (aside / "preview.png").read_bytes()
    return data_url(png)
