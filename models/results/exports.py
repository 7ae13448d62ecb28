"""What a prediction's folder holds in addition to NIfTI, on request: formats that PACS and 3D Slicer read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.exports.segments import NewSeries, Segment
from ambiseg.preprocessing.scans.scan import Scan

from ..figures.drawing import percent
from ..prediction.cautions import shown_unit
from ..prediction.document import LesionEntry
from ..prediction.inference import LesionHypotheses
from ..prediction.predict_scan import Exports, Prediction

LAYOUTS = ("plain", "bids")
REPORTS = ("single", "shared", "none")
SEGS = ("all", "each")  # one SEG for all hypotheses of a lesion, or one for each


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        files: The patterns of its files in a prediction's folder.
        write: Writes it.
        dicom: Whether it is DICOM.
        needs: Formats that it refers to, which are written with it and before it.
    """

    files: Sequence[str]
    write: Callable[[Path, Scan, Prediction, Exports], None]
    dicom: bool = True
    needs: Sequence[str] = ()


def write_dicom(folder: Path, scan: Scan, prediction: Prediction, exports: Exports) -> None:
    """SEGs in one new series: for each lesion its hypotheses, one segment each, and `probability.dcm` (fractional).

    The hypotheses are in `hypotheses.dcm`, or each in its own `hyp_01.dcm`, ...
    """
    from ambiseg.preprocessing.exports.dicom_seg import write_dicom_seg

    document = prediction.document
    series, instance = NewSeries.of("SEG"), 0
    for lesion, result in _pairs(prediction):
        masks = list(_masks(document.classes, lesion, result))
        files = {"hypotheses": masks} if exports.seg == "all" else _each(masks, lesion)
        for name, segments in (files | {"probability": [_marginal(lesion, result)]}).items():
            instance += 1
            write_dicom_seg(
                folder / lesion.folder / f"{name}.dcm",
                scan,
                segments,
                fractional=name == "probability",
                series=series,
                instance=instance,
                lesion=lesion.number,
                model=document.model.name,
                version=version("ambiseg"),
            )


def _each(masks: Sequence[Segment], lesion: LesionEntry) -> dict[str, list[Segment]]:
    """The segments of each hypothesis, by the name of its file."""
    classes = len(masks) // len(lesion.hypotheses)
    return {
        f"hyp_{entry.rank:02d}": list(masks[index * classes : (index + 1) * classes])
        for index, entry in enumerate(lesion.hypotheses)
    }


def write_map(folder: Path, scan: Scan, prediction: Prediction, exports: Exports) -> None:
    """For each lesion `probability_map.dcm`, a parametric map of the probability, in one new series."""
    from ambiseg.preprocessing.exports.dicom_pm import write_dicom_pm

    series = NewSeries.of("PM")
    for instance, (lesion, result) in enumerate(_pairs(prediction), 1):
        write_dicom_pm(
            folder / lesion.folder / "probability_map.dcm",
            scan,
            _marginal(lesion, result),
            series=series,
            instance=instance,
            model=prediction.document.model.name,
            version=version("ambiseg"),
        )


def write_capture(folder: Path, scan: Scan, prediction: Prediction, exports: Exports) -> None:
    """For each lesion `key_image.dcm`, a secondary capture with the outlines and the table, in one new series."""
    from ambiseg.preprocessing.exports.dicom_sc import write_dicom_sc

    from .key_image import draw_key_image, shown_slice

    series, document = NewSeries.of("SC"), prediction.document
    for instance, (lesion, result) in enumerate(_pairs(prediction), 1):
        write_dicom_sc(
            folder / lesion.folder / "key_image.dcm",
            scan,
            draw_key_image(document, lesion, result, scan.volume, shown_unit(scan)),
            (shown_slice(result), *result.box[1:]),
            title=f"{_called(lesion)}, possible outlines",
            series=series,
            instance=instance,
            model=document.model.name,
            version=version("ambiseg"),
        )


def write_nrrd(folder: Path, scan: Scan, prediction: Prediction, exports: Exports) -> None:
    """For each lesion `hypotheses.seg.nrrd`, with one segment per hypothesis."""
    from ambiseg.preprocessing.exports.seg_nrrd import write_seg_nrrd

    for lesion, result in _pairs(prediction):
        segments = list(_masks(prediction.document.classes, lesion, result))
        write_seg_nrrd(folder / lesion.folder / "hypotheses.seg.nrrd", scan, segments)


def write_pictures(folder: Path, scan: Scan, prediction: Prediction, exports: Exports) -> None:
    """For each lesion `hyp_01.png`, ...: its masks on the pixels of the scan's one slice."""
    from ambiseg.preprocessing.scans.formats.raster import write_mask_picture

    for lesion, result in _pairs(prediction):
        for entry, mask in zip(lesion.hypotheses, result.hypotheses.masks, strict=True):
            whole = scan.volume.filled(mask, result.box)[0]
            file = folder / lesion.folder / f"hyp_{entry.rank:02d}.png"
            write_mask_picture(file, whole, len(prediction.document.classes))


def write_report(folder: Path, scan: Scan, prediction: Prediction, exports: Exports) -> None:
    """The structured report `measurements.dcm` of all lesions, which refers to the SEGs in the folder."""
    from ambiseg.preprocessing.exports.dicom_sr import read_seg_series, write_dicom_sr

    from .measurements import measured

    groups = list(measured(prediction.document, folder, each=exports.seg == "each"))
    segs = [group.seg for group in groups if group.seg is not None]
    if not all(seg.is_file() for seg in segs):
        raise UsageError("It refers to the SEG, which could not be made either.")
    write_dicom_sr(
        folder / "measurements.dcm",
        scan,
        groups,
        series=NewSeries.of("SR"),
        tracked=read_seg_series(segs[0]),
        model=prediction.document.model.name,
        version=version("ambiseg"),
    )


FORMATS: Mapping[str, Format] = {
    "dicom-seg": Format(("**/hypotheses.dcm", "**/hyp_*.dcm", "**/probability.dcm"), write_dicom),
    "dicom-sr": Format(("measurements.dcm",), write_report, needs=("dicom-seg",)),
    "dicom-pm": Format(("**/probability_map.dcm",), write_map),
    "dicom-sc": Format(("**/key_image.dcm",), write_capture),
    "seg-nrrd": Format(("**/hypotheses.seg.nrrd",), write_nrrd, dicom=False),
    "png": Format(("**/hyp_*.png",), write_pictures, dicom=False),
}


def suited(scan: Scan, exports: Exports) -> Exports:
    """The exports with those that the kind of scan asks for: masks of a picture are pictures too, under plain names."""
    if not scan.picture or exports.layout != "plain":
        return exports
    return replace(exports, formats=tuple(dict.fromkeys((*exports.formats, "png"))))


def wanted(exports: Exports) -> list[str]:
    """The formats to write, in order, with those that they need."""
    asked = {*exports.formats, *(needed for name in exports.formats for needed in FORMATS[name].needs)}
    return [name for name in FORMATS if name in asked]


def check_exports(scan: Scan, exports: Exports) -> None:
    """Raise `UsageError` for an export that does not exist, or that does not suit the scan."""
    unknown = [each for each in exports.formats if each not in FORMATS]
    if unknown:
        raise UsageError(f"There is no format {unknown[0]!r}: expected {', '.join(FORMATS)}.")
    if exports.seg not in SEGS:
        raise UsageError(f"`seg` is {exports.seg!r}: expected {' or '.join(SEGS)}.")
    if exports.layout not in LAYOUTS:
        raise UsageError(f"`layout` is {exports.layout!r}: expected {' or '.join(LAYOUTS)}.")
    if exports.report not in REPORTS:
        raise UsageError(f"`report` is {exports.report!r}: expected {', '.join(REPORTS)}.")
    dicom = [each for each in exports.formats if FORMATS[each].dicom]
    if dicom and scan.dicom is None:
        raise UsageError(
            f"The format {dicom[0]} refers to the scan's DICOM images, but the scan is not DICOM: leave out this format."
        )
    if dicom and scan.dicom is not None and not all(each.path.is_file() for each in scan.dicom.slices):
        raise UsageError(
            f"The format {dicom[0]} needs the scan's files, but they are gone (a zip is unpacked only while it is predicted): "
            "unpack the zip first, or use the command `ambiseg predict`."
        )
    if "dicom-sr" in exports.formats and len(scan.volume.array) == 1:
        raise UsageError("The format dicom-sr states volumes, but the scan is a single slice: leave out this format.")
    if "png" in exports.formats and (len(scan.volume.array) > 1 or exports.layout != "plain"):
        raise UsageError(
            "The format png holds one slice, under plain names: leave it out for volumes and other layouts."
        )
    if "seg-nrrd" in exports.formats and find_spec("slicerio") is None:
        raise UsageError("The format seg-nrrd needs slicerio: run `pip install 'ambiseg[slicer]'`.")


def _pairs(prediction: Prediction) -> Iterator[tuple[LesionEntry, LesionHypotheses]]:
    return zip(prediction.document.lesions, prediction.lesions, strict=True)


def _masks(names: Sequence[str], lesion: LesionEntry, result: LesionHypotheses) -> Iterator[Segment]:
    """One segment per hypothesis and, if there are several, per foreground class, in order of rank."""
    for entry, mask in zip(lesion.hypotheses, result.hypotheses.masks, strict=True):
        for label, name in enumerate(names[1:], start=1):
            which = f", {name}" if len(names) > 2 else ""
            yield Segment(
                f"{_called(lesion)} hypothesis {entry.rank}{which}, {percent(entry.probability)}",
                f"Hypothesis {entry.rank} of {len(lesion.hypotheses)}{which}, probability {entry.probability:.4f}",
                result.box,
                mask == label,
                colour=(entry.rank - 1) * (len(names) - 1) + label - 1,
            )


def _marginal(lesion: LesionEntry, result: LesionHypotheses) -> Segment:
    return Segment(
        f"{_called(lesion)} probability",
        "Probability that a voxel is lesion, the mean over the model's draws",
        result.box,
        result.probability,
    )


def _called(lesion: LesionEntry) -> str:
    """A lesion by its number: a name that the user gave might be a patient's."""
    return f"Lesion {lesion.number}"
