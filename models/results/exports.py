"""Hypotheses as segments, in formats that PACS and 3D Slicer read."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from ambiseg.preprocessing.exports.segments import Segment, SegSeries
from ambiseg.preprocessing.scans.scan import Scan

from ..figures.drawing import percent
from ..prediction.document import LesionEntry
from ..prediction.inference import LesionHypotheses
from ..prediction.predict_scan import Prediction


def write_dicom(folder: Path, scan: Scan, prediction: Prediction) -> None:
    """For each lesion `hypotheses.dcm` (one segment per hypothesis) and `probability.dcm` (fractional), in one new series."""
    from ambiseg.preprocessing.exports.dicom_seg import write_dicom_seg

    document = prediction.document
    made_by = {"model": document.model.name, "version": version("ambiseg")}
    series = SegSeries.new()
    instance = 0
    for lesion, result in _pairs(prediction):
        for name, segments in (
            ("hypotheses", _masks(document.classes, lesion, result)),
            ("probability", _marginal(lesion, result)),
        ):
            instance += 1
            write_dicom_seg(
                folder / lesion.folder / f"{name}.dcm",
                scan,
                list(segments),
                fractional=name == "probability",
                series=series,
                instance=instance,
                lesion=lesion.number,
                **made_by,
            )


def write_nrrd(folder: Path, scan: Scan, prediction: Prediction) -> None:
    """For each lesion `hypotheses.seg.nrrd`, with one segment per hypothesis."""
    from ambiseg.preprocessing.exports.seg_nrrd import write_seg_nrrd

    for lesion, result in _pairs(prediction):
        segments = list(_masks(prediction.document.classes, lesion, result))
        write_seg_nrrd(folder / lesion.folder / "hypotheses.seg.nrrd", scan, segments)


def _pairs(prediction: Prediction) -> Iterator[tuple[LesionEntry, LesionHypotheses]]:
    return zip(prediction.document.lesions, prediction.lesions, strict=True)


def _masks(names: Sequence[str], lesion: LesionEntry, result: LesionHypotheses) -> Iterator[Segment]:
    """One segment per hypothesis and, if there are several, per foreground class."""
    for entry, mask in zip(lesion.hypotheses, result.hypotheses.masks, strict=True):
        for label, name in enumerate(names[1:], start=1):
            which = f", {name}" if len(names) > 2 else ""
            yield Segment(
                f"{_called(lesion)} hypothesis {entry.rank}{which}, {percent(entry.probability)}",
                f"Hypothesis {entry.rank} of {len(lesion.hypotheses)}{which}, probability {entry.probability:.4f}",
                result.box,
                mask == label,
            )


def _marginal(lesion: LesionEntry, result: LesionHypotheses) -> Iterator[Segment]:
    yield Segment(
        f"{_called(lesion)} probability",
        "Probability that a voxel is lesion, the mean over the model's draws",
        result.box,
        result.probability,
    )


def _called(lesion: LesionEntry) -> str:
    """A lesion by its number: a name that the user gave might be a patient's."""
    return f"Lesion {lesion.number}"
