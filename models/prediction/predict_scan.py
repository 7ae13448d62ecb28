"""From a scan to ranked hypotheses of its lesions: what `ambiseg predict` does for one scan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ambiseg.preprocessing.scans.class_probabilities import read_class_probabilities
from ambiseg.preprocessing.scans.scan import Scan
from ambiseg.preprocessing.volumes.volume import check_voxel_size

from ..runs.trained import Trained
from .content import lesion_entries, scan_entry
from .document import About, CalibrationEntry, Document, ModelEntry
from .doubts import doubts, notes
from .inference import LesionHypotheses, Ranking, calibration_at, check_inputs, predict_volume
from .places import Places, find_lesions
from .stopwatch import Stopwatch

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """What is asked of a prediction: where to look, how hypotheses are made, another segmenter's class `probabilities` of
    the scan (see `class_probabilities`), which `series` of a DICOM folder, and `formats` to write beside
    NIfTI: dicom-seg, seg-nrrd.
    """

    places: Places = field(default_factory=Places)
    ranking: Ranking = field(default_factory=Ranking)
    probabilities: Path | None = None
    series: str | None = None
    formats: Sequence[str] = ()


@dataclass(frozen=True)
class Prediction:
    """What a model says of a scan: each lesion's hypotheses, and the document that describes them.

    missing: sentences about what could not be made of them, a picture or an export, once they are written.
    """

    lesions: Sequence[LesionHypotheses]
    document: Document
    missing: Sequence[str] = ()

    @cached_property
    def content(self) -> dict[str, Any]:
        """The content of hypotheses.json in plain values."""
        return self.document.plain()


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


def predict_scan(
    trained: Trained,
    scan: Scan,
    request: Request = Request(),
    *,
    watch: Stopwatch | None = None,
    on_search: Progress = silent,
    on_lesion: Progress = silent,
) -> Prediction:
    """Find or take the lesions of a scan and predict each. Raises the errors of the functions that it calls."""
    watch = watch or Stopwatch()
    check_voxel_size(scan.volume)
    check_inputs(trained, request.probabilities is not None)
    ranking, stored = request.ranking, None
    if request.probabilities is not None:
        classes = len(trained.record.data.class_names)
        stored = read_class_probabilities(request.probabilities, "the scan", scan.volume, scan.grid, classes)
    with watch("finding lesions"):
        lesions, found_by = find_lesions(trained, scan, request.places, on_search)
    with watch("hypotheses"):
        found = predict_volume(trained, scan.volume, lesions, ranking, probabilities=stored, on_progress=on_lesion)
    with watch("measuring"):
        document = Document(
            **about(trained, ranking).plain(),
            warnings=doubts(trained, scan, ranking.merge, lesions),
            notes=notes(trained, scan),
            found_by=found_by,
            scan=scan_entry(scan.volume),
            lesions=lesion_entries(found, scan.volume, trained.record.data.class_names),
        )
    return Prediction(found, document)


def about(trained: Trained, ranking: Ranking) -> About:
    """Which program, model and settings make the hypotheses, as hypotheses.json has it."""
    data, calibration = trained.record.data, calibration_at(trained, ranking.merge)
    return About(
        schema=2,
        program=f"ambiseg {version('ambiseg')}",
        model=ModelEntry(
            name=trained.name,
            method=trained.record.method,
            weights_sha256=trained.weights_hash,
            data_sha256=data.content_hash,
        ),
        settings=ranking,
        calibration=None
        if calibration is None
        else CalibrationEntry(temperature=calibration.temperature, empty=calibration.empty, none=calibration.none),
        classes=list(data.class_names),
    )
