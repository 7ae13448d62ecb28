"""The report of a prediction: one file with its voxels, its viewer and its style, which loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.files import scratch_folder, whole_file
from ambiseg.preprocessing.volumes.volume import Volume

from ..prediction.document import Document, LesionEntry
from ..prediction.inference import LesionHypotheses
from ..report.template import render
from .preview import save_preview
from .three_planes import data_url, outlined, three_planes
from .viewer import words
from .viewer.lesion_card import Card, card
from .viewer.lesion_summary import Summary, summary
from .viewer.size_plot import size_plot
from .viewer.voxels import voxels

PARTS = ("page", "voxels", "shown", "window", "place", "borders", "paint", "lesion", "input", "viewer")  # of the script
LIVE = 24  # lesions whose voxels are on the page; all have a picture and their figures


@dataclass(frozen=True)
class Viewer:
    """What the scripts need to know: the hypotheses' colours, and the `unit` of the scan's values."""

    colours: Sequence[str]
    unit: str


def write_report(
    path: Path, volume: Volume, results: Sequence[LesionHypotheses], document: Document, unit: str
) -> None:
    """Write the report of a scan, whole or not at all. The same results give the same bytes.

    Args:
        path: the file to write.
        volume: the scan.
        results: the hypotheses of each lesion, for their voxels.
        document: the content of hypotheses.json, for all figures.
        unit: "HU" for the windows of CT, "relative" for windows from the scan's own values.
    """
    cards, summaries = [], []
    for number, (lesion, result) in enumerate(zip(document.lesions, results, strict=True)):
        picture = _picture(path.parent, lesion, result, volume, unit)
        live = voxels(result, volume, document.classes, unit) if number < LIVE else None
        cards.append(card(lesion, picture, live, size_plot(result.size, lesion)))
        planes = data_url(three_planes(result, volume, unit))
        summaries.append(summary(lesion, outlined(result), planes))
    with whole_file(path) as aside:
        aside.write_text(_page(cards, summaries, document, unit), encoding="utf-8")


def _page(cards: Sequence[Card], summaries: Sequence[Summary], document: Document, unit: str) -> str:
    return render(
        "prediction.html",
        package=words.__package__,
        styles=["viewer.css"],
        scripts=["niivue.umd.js", *(f"{part}.js" for part in PARTS)],
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
        viewer=Viewer(COLOURS, unit),
    )


def _picture(folder: Path, lesion: LesionEntry, result: LesionHypotheses, volume: Volume, unit: str) -> str | None:
    """The lesion's preview as a data URL: the file in `folder` if it is there already."""
    if lesion.preview is None:
        return None
    drawn = folder / lesion.preview
    if drawn.exists():
        png = drawn.read_bytes()
    else:
        with scratch_folder() as aside:
            save_preview(aside / "preview.png", result, volume, unit)
            png = (aside / "preview.png").read_bytes()
    return data_url(png)
