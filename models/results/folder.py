"""The folder of a prediction: masks and maps on the scan's own grid, tables, pictures and a report.

A single lesion has its files directly in the folder; several have theirs in `lesion_01`, `lesion_02`, ... The same results
give the same bytes in every file except run.json, which records when and how fast they were made, and the DICOM files, whose
UIDs are new each time.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ambiseg.preprocessing.documents import json_text
from ambiseg.preprocessing.errors import AmbisegError, Interrupted, ResourceError, UsageError
from ambiseg.preprocessing.files import check_place, disk_errors, is_leftover, make_folder, only_writer, whole_folder
from ambiseg.preprocessing.scans.channels import with_files
from ambiseg.preprocessing.scans.formats.nifti_volume import write_on_grid
from ambiseg.preprocessing.scans.scan import Scan, open_scan

from ..prediction.cautions import shown_unit
from ..prediction.content import MAPS, masks_table
from ..prediction.document import LesionEntry
from ..prediction.predict_scan import Exports, Prediction, Progress, Request, predict_scan, silent
from ..prediction.stopwatch import Stopwatch
from ..runs.trained import Trained
from .bids import FILES as BIDS
from .bids import as_bids, write_dataset
from .exports import FORMATS, check_exports, suited, wanted
from .prediction_page import SHARED, write_report, write_shared
from .preview import save_preview
from .result_documents import INDEX, write_numbers, write_run

REPORT = "report.html"
NOT_PREDICTED = "not-predicted.json"  # of a batch: why this case has no prediction
OURS = re.compile(
    r"(lesion_\d+/)?((hyp_\d+|probability|entropy|aleatoric)\.nii\.gz|(hyp_\d+|preview)\.png|sizes\.csv|(hypotheses|hyp_\d+|probability|probability_map|key_image)\.dcm"
    r"|hypotheses\.seg\.nrrd)|lesion_\d+|hypotheses\.(json|csv)|measurements\.dcm|lesions\.csv|run\.json|report\.html|not-predicted\.json"
)


@dataclass(frozen=True)
class OfBatch:
    """The batch that a scan is one of: its `folder`, in which reports share their viewer, and the hash of its request."""

    folder: Path
    asked_sha256: str


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise `UsageError` unless `folder` may be written: it is absent, empty, or an earlier prediction.

    An earlier prediction that also holds other files needs `overwrite`. A folder of anything else is never replaced.
    """
    if not folder.exists():
        return
    inside = (file.relative_to(folder) for file in folder.rglob("*")) if folder.is_dir() else (Path("a file"),)
    held = [file.as_posix() for file in inside if not any(map(is_leftover, file.parts))]
    if held and INDEX not in held and held != [NOT_PREDICTED]:
        raise UsageError(f"{folder} exists and is not an earlier prediction: choose another folder.")
    others = [name for name in held if not OURS.fullmatch(name) and not BIDS.fullmatch(name)]
    if others and not overwrite:
        raise UsageError(
            f"{folder} is an earlier prediction that also holds {others[0]}, which would be lost: choose another folder, or "
            "replace everything with `overwrite`."
        )


def predict_to_folder(
    trained: Trained,
    path: Path,
    folder: Path,
    request: Request = Request(),
    *,
    name: str | None = None,
    overwrite: bool = False,
    batch: OfBatch | None = None,
    patience: float = 0.0,
    watch: Stopwatch | None = None,
    on_search: Progress = silent,
    on_lesion: Progress = silent,
) -> Prediction:
    """Predict a scan and write the results to a folder, whole or not at all. An earlier prediction there is replaced.

    Args:
        trained: the model.
        path: the scan: a file, a DICOM folder, or a zip of one of these.
        folder: the folder to write.
        request: where to look, how hypotheses are made, and what is written.
        name: the scan's name in tables of points; None: that of its file or folder.
        overwrite: replace an earlier prediction even if it also holds other files.
        batch: the batch that the scan is one of.
        patience: how long to wait, in seconds, for another process that writes the same folder.
        watch: where the time of each part is added up.
        on_search: called with the number of steps of a search done and their total.
        on_lesion: called with the number of lesions done and their total.

    Returns:
        The prediction, with what is missing in the folder.

    Raises:
        UsageError: before the work, if the folder may not be replaced or another process is writing it, and for formats
            that do not suit the scan.
        AmbisegError: as `open_scan` and `predict_scan` do.
    """
    check_folder(folder, overwrite)
    check_place(folder)
    watch = watch or Stopwatch()
    with ExitStack() as held:
        with watch("reading"):
            scan = held.enter_context(open_scan(path, series=request.series))
            scan = replace(scan, name=name or scan.name)
            if request.channels:
                scan = with_files(scan, request.channels, trained.record.data.channel_names)
        return predict_open_scan(
            trained,
            scan,
            folder,
            request,
            batch=batch,
            patience=patience,
            watch=watch,
            on_search=on_search,
            on_lesion=on_lesion,
        )


def predict_open_scan(
    trained: Trained,
    scan: Scan,
    folder: Path,
    request: Request = Request(),
    *,
    batch: OfBatch | None = None,
    patience: float = 0.0,
    watch: Stopwatch | None = None,
    on_search: Progress = silent,
    on_lesion: Progress = silent,
) -> Prediction:
    """As `predict_to_folder`, for a scan that is open, and a folder that `check_folder` allows."""
    check_exports(scan, request.exports)
    make_folder(folder.parent)
    with only_writer(folder, patience):
        prediction = predict_scan(trained, scan, request, watch=watch, on_search=on_search, on_lesion=on_lesion)
        return write_prediction(folder, scan, prediction, trained, request.exports, batch=batch, watch=watch)


def write_prediction(
    folder: Path,
    scan: Scan,
    prediction: Prediction,
    trained: Trained,
    exports: Exports = Exports(),
    *,
    batch: OfBatch | None = None,
    watch: Stopwatch | None = None,
) -> Prediction:
    """Write a prediction, whole or not at all, and return it with what is missing.

    Masks, maps and numbers come first. If a picture, a report or an export cannot be made, for whatever reason, it alone is
    missing. If the disk is full, nothing is written.
    """
    watch = watch or Stopwatch()
    unit, exports = shown_unit(scan), suited(scan, exports)
    if exports.layout == "bids":
        prediction = replace(prediction, document=as_bids(prediction.document, scan.name))
    with whole_folder(folder) as aside:
        with watch("writing"):
            if exports.layout == "bids":
                write_dataset(aside, prediction.document)
            _write_masks(aside, scan, prediction)
            write_numbers(aside, prediction.document)
            prediction = _write_pictures(aside, scan, prediction, unit)
            prediction = _with(aside, prediction, list(_exports(aside, scan, prediction, exports)))
        with watch("report"):
            page = Extra(
                REPORT,
                [REPORT],
                partial(
                    _write_report, aside, folder, batch.folder if batch else folder.parent, scan, prediction, exports
                ),
            )
            prediction = _with(aside, prediction, [page] if exports.report != "none" else [])
        write_run(aside, prediction, trained, wanted(exports), watch, batch.asked_sha256 if batch else None)
    return prediction


@dataclass(frozen=True)
class Extra:
    """What is made from masks and numbers: its name in messages, the patterns of its `files`, and how to `make` it."""

    what: str
    files: Sequence[str]
    make: Callable[[], None]


def _with(folder: Path, prediction: Prediction, extras: Sequence[Extra]) -> Prediction:
    """Make the extras. One that cannot be made is missing, with the reason, and leaves no file."""
    failed = [why for extra in extras if (why := _made(folder, extra)) is not None]
    return replace(prediction, missing=[*prediction.missing, *failed])


def _made(folder: Path, extra: Extra) -> str | None:
    """Make an extra. Returns why it could not be made, None if it was."""
    try:
        with disk_errors(folder):
            extra.make()
    except (ResourceError, Interrupted):  # if this cannot be written here, neither can the rest
        raise
    except Exception as error:  # a bug in a picture must not cost the masks
        for pattern in extra.files:
            for file in folder.glob(pattern):
                file.unlink()
        return f"{extra.what} could not be made: {_reason(error)}"
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, AmbisegError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory."
    return f"{type(error).__name__}, a bug in ambiseg; please report it."


def _write_masks(folder: Path, scan: Scan, prediction: Prediction) -> None:
    for lesion, result in zip(prediction.document.lesions, prediction.lesions, strict=True):
        for place in (folder / lesion.folder, (folder / lesion.probability).parent):
            place.mkdir(parents=True, exist_ok=True)
        if lesion.sizes is not None:
            (folder / lesion.sizes).write_text(masks_table(result.size), encoding="utf-8")
        for entry, mask in zip(lesion.hypotheses, result.hypotheses.masks, strict=True):
            count = len(lesion.hypotheses)
            title = f"ambiseg hypothesis {entry.rank} of {count}, probability {entry.probability:.4f}"
            facts = {"rank": entry.rank, "probability": entry.probability, "interval": entry.interval}
            whole = scan.volume.filled(mask, result.box)
            write_on_grid(folder / entry.file, whole, scan.grid, title, json_text(facts, indent=None).strip())
        for name, title in MAPS.items():
            if (file := getattr(lesion, name)) is not None:
                write_on_grid(folder / file, scan.volume.filled(getattr(result, name), result.box), scan.grid, title)


def _write_pictures(folder: Path, scan: Scan, prediction: Prediction, unit: str) -> Prediction:
    """The lesions' pictures. The document names those that could be made."""
    drawn = _with(folder, prediction, list(_pictures(folder, scan, prediction, unit)))
    if not drawn.missing:
        return drawn
    lesions = [_as_drawn(folder, lesion) for lesion in drawn.document.lesions]
    document = drawn.document.model_copy(update={"lesions": lesions})
    write_numbers(folder, document)
    return replace(drawn, document=document)


def _pictures(folder: Path, scan: Scan, prediction: Prediction, unit: str) -> Iterator[Extra]:
    length = prediction.document.scan.length_unit
    for lesion, result in zip(prediction.document.lesions, prediction.lesions, strict=True):
        if lesion.preview is not None:
            draw = partial(save_preview, folder / lesion.preview, result, scan.volume, unit, length)
            yield Extra(lesion.preview, [lesion.preview], draw)


def _as_drawn(folder: Path, lesion: LesionEntry) -> LesionEntry:
    there = lesion.preview is not None and (folder / lesion.preview).is_file()
    return lesion if there else lesion.model_copy(update={"preview": None})


def _write_report(
    aside: Path, folder: Path, shared: Path, scan: Scan, prediction: Prediction, exports: Exports
) -> None:
    """The report, in the folder `aside` that is to become `folder`; in `shared` lies what reports share."""
    seen = ""
    if exports.report == "shared":
        make_folder(shared / SHARED)
        write_shared(shared / SHARED)
        seen = Path(os.path.relpath(shared / SHARED, folder)).as_posix()
    write_report(aside / REPORT, scan.volume, prediction.lesions, prediction.document, shown_unit(scan), shared=seen)


def _exports(folder: Path, scan: Scan, prediction: Prediction, exports: Exports) -> Iterator[Extra]:
    """The formats that are wanted in addition to NIfTI."""
    for name in wanted(exports):
        yield Extra(name, FORMATS[name].files, partial(FORMATS[name].write, folder, scan, prediction, exports))
