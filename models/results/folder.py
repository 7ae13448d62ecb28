"""The folder that a prediction leaves: masks and maps on the scan's own grid, tables, pictures and a report.

One lesion lies directly in the folder, several in `lesion_01`, `lesion_02`, ... The same results give the same bytes in
every file but run.json, which says when and how fast they were made, and the DICOM files, whose UIDs are fresh.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ambiseg.preprocessing.documents import json_text, write_json
from ambiseg.preprocessing.errors import AmbisegError, Interrupted, ResourceError, UsageError
from ambiseg.preprocessing.files import disk_errors, is_leftover, make_folder, only_writer, whole_folder
from ambiseg.preprocessing.scans.formats.nifti_volume import write_on_grid
from ambiseg.preprocessing.scans.scan import Scan, open_scan

from ..prediction.content import MAPS, table
from ..prediction.document import Document, LesionEntry
from ..prediction.doubts import in_hounsfield
from ..prediction.predict_scan import Prediction, Progress, Request, predict_scan, silent
from ..prediction.stopwatch import Stopwatch, peak_memory_mb
from ..runs.trained import Trained
from .exports import write_dicom, write_nrrd
from .preview import save_preview
from .viewer.prediction_page import write_report

INDEX = "hypotheses.json"
FORMATS = ("dicom-seg", "seg-nrrd")  # beside NIfTI
OURS = re.compile(
    r"(lesion_\d+/)?((hyp_\d+|probability|entropy|aleatoric)\.nii\.gz|preview\.png|(hypotheses|probability)\.dcm"
    r"|hypotheses\.seg\.nrrd)|lesion_\d+|hypotheses\.(json|csv)|run\.json|report\.html"
)


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise `UsageError` unless `folder` may be written: absent, empty, or a former prediction.

    A former prediction that has got other files needs `overwrite`; a folder of anything else is never replaced.
    """
    if not folder.exists():
        return
    inside = (file.relative_to(folder) for file in folder.rglob("*")) if folder.is_dir() else (Path("a file"),)
    held = [file.as_posix() for file in inside if not any(map(is_leftover, file.parts))]
    if held and INDEX not in held:
        raise UsageError(f"{folder} exists and is no former prediction: choose another folder with -o.")
    others = [name for name in held if not OURS.fullmatch(name)]
    if others and not overwrite:
        raise UsageError(
            f"{folder} is a former prediction that also holds {others[0]}, which would be lost: choose another folder "
            "with -o, or replace it with --overwrite."
        )


def predict_to_folder(
    trained: Trained,
    path: Path,
    folder: Path,
    request: Request = Request(),
    *,
    name: str | None = None,
    patience: float = 0.0,
    watch: Stopwatch | None = None,
    on_search: Progress = silent,
    on_lesion: Progress = silent,
) -> Prediction:
    """Predict the scan at `path` and write the results to `folder`, whole or not at all. What stood there is replaced.

    `name`: what tables of points call the scan; None: as its file or folder. Raises UsageError, before the work, where
    another process writes the same folder and does not finish within `patience` seconds.
    """
    watch = watch or Stopwatch()
    with ExitStack() as held:
        with watch("reading"):
            scan = held.enter_context(open_scan(path, series=request.series))
            scan = replace(scan, name=name or scan.name)
        check_formats(scan, request.formats)
        make_folder(folder.parent)
        held.enter_context(only_writer(folder, patience))
        prediction = predict_scan(trained, scan, request, watch=watch, on_search=on_search, on_lesion=on_lesion)
        return write_prediction(folder, scan, prediction, trained, formats=request.formats, watch=watch)


def check_formats(scan: Scan, formats: Sequence[str]) -> None:
    """Raise `UsageError` for a format that there is not, or that a scan's kind does not allow."""
    unknown = [each for each in formats if each not in FORMATS]
    if unknown:
        raise UsageError(f"There is no format {unknown[0]!r}: expected {' or '.join(FORMATS)}.")
    if "dicom-seg" in formats and scan.dicom is None:
        raise UsageError("--format dicom-seg refers to the scan's DICOM images, and it is no DICOM: leave it out.")
    if "dicom-seg" in formats and scan.dicom is not None and not all(each.path.is_file() for each in scan.dicom.slices):
        raise UsageError(
            "--format dicom-seg needs the scan's files, and they are gone (a zip is unpacked only while it is predicted): "
            "unpack the zip first, or use the command."
        )
    if "seg-nrrd" in formats and find_spec("slicerio") is None:
        raise UsageError("--format seg-nrrd needs slicerio: `pip install 'ambiseg[slicer]'`.")


def write_prediction(
    folder: Path,
    scan: Scan,
    prediction: Prediction,
    trained: Trained,
    *,
    formats: Sequence[str] = (),
    watch: Stopwatch | None = None,
) -> Prediction:
    """Write what was predicted of a scan, whole or not at all, and return it with what is missing.

    Masks, maps and numbers come first. A picture, a report or an export that cannot be made, for whatever reason, costs
    itself alone; a disk without room costs all.
    """
    watch = watch or Stopwatch()
    unit = "HU" if in_hounsfield(scan) else "relative"
    with whole_folder(folder) as aside:
        with watch("writing"):
            _write_masks(aside, scan, prediction)
            _write_numbers(aside, prediction.document)
            prediction = _write_pictures(aside, scan, prediction, unit)
            prediction = _with(aside, prediction, _exports(aside, scan, prediction, formats))
        with watch("report"):
            page = partial(
                write_report, aside / "report.html", scan.volume, prediction.lesions, prediction.document, unit
            )
            prediction = _with(aside, prediction, [Extra("report.html", "report.html", page)])
        write_json(aside / "run.json", _run(prediction, trained, formats, watch))
    return prediction


@dataclass(frozen=True)
class Extra:
    """What is made of masks and numbers beside them: `what` messages call it, the pattern of its `files`, how to `make` it."""

    what: str
    files: str
    make: Callable[[], None]


def _with(folder: Path, prediction: Prediction, extras: Sequence[Extra]) -> Prediction:
    """Make the extras; what cannot be made is missing, with the reason, and leaves no file behind."""
    failed = [said for extra in extras if (said := _made(folder, extra)) is not None]
    return replace(prediction, missing=[*prediction.missing, *failed])


def _made(folder: Path, extra: Extra) -> str | None:
    """Make an extra; why it could not be made, None if it was."""
    try:
        with disk_errors(folder):
            extra.make()
    except (ResourceError, Interrupted):  # without room or right to write here there is none for the rest either
        raise
    except Exception as error:  # a fault of ours in a picture must not cost the masks
        for file in folder.glob(extra.files):
            file.unlink()
        return f"{extra.what} could not be made: {_reason(error)}"
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, AmbisegError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there was too little memory."
    return f"{type(error).__name__}, a fault in ambiseg; please report it."


def _write_masks(folder: Path, scan: Scan, prediction: Prediction) -> None:
    for lesion, result in zip(prediction.document.lesions, prediction.lesions, strict=True):
        (folder / lesion.folder).mkdir(exist_ok=True)
        for entry, mask in zip(lesion.hypotheses, result.hypotheses.masks, strict=True):
            count = len(lesion.hypotheses)
            title = f"ambiseg hypothesis {entry.rank} of {count}, probability {entry.probability:.4f}"
            said = {"rank": entry.rank, "probability": entry.probability, "interval": entry.interval}
            whole = scan.volume.filled(mask, result.box)
            write_on_grid(folder / entry.file, whole, scan.grid, title, json_text(said, indent=None).strip())
        for name, title in MAPS.items():
            if (file := getattr(lesion, name)) is not None:
                write_on_grid(folder / file, scan.volume.filled(getattr(result, name), result.box), scan.grid, title)


def _write_numbers(folder: Path, document: Document) -> None:
    write_json(folder / INDEX, document.plain())
    (folder / "hypotheses.csv").write_text(table(document), encoding="utf-8")


def _write_pictures(folder: Path, scan: Scan, prediction: Prediction, unit: str) -> Prediction:
    """The lesions' pictures; the document names those that are there."""
    drawn = _with(folder, prediction, list(_pictures(folder, scan, prediction, unit)))
    if not drawn.missing:
        return drawn
    lesions = [_as_drawn(folder, lesion) for lesion in drawn.document.lesions]
    document = drawn.document.model_copy(update={"lesions": lesions})
    write_json(folder / INDEX, document.plain())
    return replace(drawn, document=document)


def _pictures(folder: Path, scan: Scan, prediction: Prediction, unit: str) -> Iterator[Extra]:
    for lesion, result in zip(prediction.document.lesions, prediction.lesions, strict=True):
        if lesion.preview is not None:
            draw = partial(save_preview, folder / lesion.preview, result, scan.volume, unit)
            yield Extra(lesion.preview, lesion.preview, draw)


def _as_drawn(folder: Path, lesion: LesionEntry) -> LesionEntry:
    there = lesion.preview is not None and (folder / lesion.preview).is_file()
    return lesion if there else lesion.model_copy(update={"preview": None})


def _exports(folder: Path, scan: Scan, prediction: Prediction, formats: Sequence[str]) -> list[Extra]:
    """The formats that are wanted beside NIfTI."""
    ways = {
        "dicom-seg": Extra("dicom-seg", "**/*.dcm", partial(write_dicom, folder, scan, prediction)),
        "seg-nrrd": Extra("seg-nrrd", "**/*.seg.nrrd", partial(write_nrrd, folder, scan, prediction)),
    }
    return [extra for name, extra in ways.items() if name in formats]


def _run(prediction: Prediction, trained: Trained, formats: Sequence[str], watch: Stopwatch) -> dict[str, Any]:
    """How the prediction was made: what hypotheses.json has of it, and what changes from one time to the next."""
    shared = ("program", "model", "settings", "calibration", "found_by")
    return {
        "schema": 1,
        **{key: prediction.content[key] for key in shared},
        "formats": ["nifti", *formats],
        "missing": prediction.missing,
        "torch": torch.__version__,
        "device": str(trained.device),
        "threads": torch.get_num_threads(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": {part: round(seconds, 3) for part, seconds in watch.seconds.items()},
        "peak_memory_mb": round(peak_memory_mb()),
    }
