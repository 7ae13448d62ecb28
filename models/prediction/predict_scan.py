"""From a scan to the ranked hypotheses of its lesions: what `ambiseg predict` does for one scan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.scans.class_probabilities import read_class_probabilities
from ambiseg.preprocessing.scans.scan import Scan
from ambiseg.preprocessing.volumes.volume import check_voxel_size, of_channels

from ..runs.run_record import DataRecord
from ..runs.trained import Trained
from .cautions import cautions, notes
from .content import lesion_entries, scan_entry
from .document import About, CalibrationEntry, Document, ModelEntry
from .inference import LesionHypotheses, Ranking, check_inputs, predict_volume
from .places import Places, find_lesions
from .stopwatch import Stopwatch

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exports:
    """What is written in addition to the usual files.

    Args:
        formats: further formats: "dicom-seg", "dicom-sr" (which implies "dicom-seg"), "dicom-pm",
            "dicom-sc", "seg-nrrd", "png" (which a picture's masks have anyway).
        seg: how "dicom-seg" holds a lesion's hypotheses: "all" in one object, or "each" in its own.
        layout: "plain" names, or "bids": masks and maps under names of BIDS derivatives.
        report: "single": a report.html that needs no other file; "shared": one that shares its viewer and its style with
            others, in a folder `report-files`; "none": no report.
    """

    formats: Sequence[str] = ()
    seg: str = "all"
    layout: str = "plain"
    report: str = "single"


@dataclass(frozen=True)
class Request:
    """What to predict.

    Args:
        places: where to look.
        ranking: how hypotheses are made.
        probabilities: a file with another segmenter's class probabilities of the scan (see `read_class_probabilities`).
        series: which series of a DICOM folder: its number in the list of series, or its UID.
        exports: what is written in addition to the usual files.
        channels: files of further channels after the scan's own, each with its name, or "" for all.
    """

    places: Places = field(default_factory=Places)
    ranking: Ranking = field(default_factory=Ranking)
    probabilities: Path | None = None
    series: str | None = None
    exports: Exports = Exports()
    channels: Sequence[tuple[str, Path]] = ()


@dataclass(frozen=True)
class Prediction:
    """The hypotheses of each lesion of a scan, and the document that describes them.

    Attributes:
        lesions: one entry per lesion.
        document: the content of hypotheses.json.
        missing: once they are written, sentences about a picture, report or export that could not be made.
    """

    lesions: Sequence[LesionHypotheses]
    document: Document
    missing: Sequence[str] = ()


def silent(done: int, total: int) -> None:
    """A progress callback that does nothing."""


def predict_scan(
    trained: Trained,
    scan: Scan,
    request: Request = Request(),
    *,
    watch: Stopwatch | None = None,
    on_search: Progress = silent,
    on_lesion: Progress = silent,
) -> Prediction:
    """Find the lesions of a scan, or take those that the request gives, and predict each.

    Args:
        trained: the model.
        scan: the scan, open.
        request: where to look, and how hypotheses are made.
        watch: where the time of each part is added up.
        on_search: called with the number of steps of a search done and their total.
        on_lesion: called with the number of lesions done and their total.

    Returns:
        The hypotheses and their document. Nothing is written.

    Raises:
        AmbisegError: as `find_lesions`, `read_class_probabilities` and `predict_volume` do.
    """
    watch = watch or Stopwatch()
    check_voxel_size(scan.volume)
    scan = with_channels(scan, trained.record.data)
    check_inputs(trained, scan.volume, request.probabilities is not None)
    ranking, stored = request.ranking, None
    if request.probabilities is not None:
        classes = len(trained.record.data.class_names)
        stored = read_class_probabilities(request.probabilities, "the scan", scan.volume, scan.grid, classes)
    with watch("finding lesions"):
        lesions, found_by = find_lesions(trained, scan, request.places, on_search)
    with watch("hypotheses"):
        most = request.places.candidates if found_by == "search" else None
        found = predict_volume(
            trained, scan.volume, lesions, ranking, probabilities=stored, most=most, on_progress=on_lesion
        )
    with watch("measuring"):
        document = Document(
            **about(trained, ranking, flat=len(scan.volume.array) == 1).plain(),
            warnings=cautions(trained, scan, lesions),
            notes=notes(trained, scan),
            found_by=found_by,
            scan=scan_entry(scan.volume, scan.picture),
            lesions=lesion_entries(found, scan.volume, trained.record.data.class_names, ranking),
        )
    return Prediction(found, document)


def with_channels(scan: Scan, data: DataRecord) -> Scan:
    """The scan with its channels in the model's order, where both have names.

    Raises:
        DataError: The names differ.
    """
    wanted, found = data.channel_names, scan.channel_names
    if not wanted or not found or wanted == found:
        return scan
    if sorted(wanted) != sorted(found):
        raise DataError(
            f"The model reads the channels {', '.join(wanted)}, but the scan has {', '.join(found)}: give the model's "
            "channels, or another `model`."
        )
    order = [found.index(name) for name in wanted]
    volume = of_channels(scan.volume.channels[order], scan.volume.affine)
    return replace(scan, volume=volume, channel_names=wanted)


def about(trained: Trained, ranking: Ranking, *, flat: bool = False) -> About:
    """Which program, model and settings make the hypotheses, as in hypotheses.json; `flat`: of a single slice."""
    data, calibration = trained.record.data, trained.calibration
    return About(
        schema=4,
        program=f"ambiseg {version('ambiseg')}",
        model=ModelEntry(
            name=trained.name,
            method=trained.record.method,
            weights_sha256=trained.weights_hash,
            data_sha256=data.content_hash,
            **({"reader": trained.reader} if trained.reader else {}),
        ),
        settings=ranking,
        calibration=None if calibration is None else CalibrationEntry.of(calibration, flat),
        classes=list(data.class_names),
    )
