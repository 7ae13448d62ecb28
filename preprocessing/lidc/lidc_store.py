"""LIDC-IDRI: from the archive's DICOM to a dataset store of lesion-centred crops with four readers' masks.

The recipe is that of Kohl et al., "A Probabilistic U-Net for Segmentation of Ambiguous Images", NeurIPS 2018, section 4.1:
axial slices resampled to 0.5 mm, 180 x 180 pixels about the lesion, one image for every slice on which a reader drew.
All crops of a nodule have one centre, that of the box about all its contours, so that they stack.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..counted import counted
from ..errors import DataError, InputError, ResourceError, UsageError
from ..failures import write_failures
from ..files import disk_errors, only_writer
from ..lfs import pointers_among
from ..scans.dicom.dicom_files import FileIdentity, SeriesIndex
from ..scans.dicom.header_cache import HeaderCache
from ..store.intensity import HOUNSFIELD
from ..store.resume import load_notes, load_part, save_part
from ..store.splits import assign_splits
from ..store.store_crop import StoreInfo
from ..store.store_writer import check_place, write_store
from ..work.engine import Engine, TaskLost, always
from ..work.local_processes import engine_of
from .annotations import READERS
from .lidc_crops import CropSettings, ScanTask, Slices, scan_crops
from .lidc_plan import plan

ATTRIBUTION = (
    "LIDC-IDRI is CC BY 3.0. Data: Armato et al., The Cancer Imaging Archive 2015, doi:10.7937/K9/TCIA.2015.LO9QL9SX; "
    "Armato et al., Medical Physics 38(2), 2011, 915-931; Clark et al., Journal of Digital Imaging 26(6), 2013, 1045-1057."
)


@dataclass(frozen=True)
class Failure:
    """A scan, or a file without one, that could not be used, and why."""

    case: str
    series_uid: str
    reason: str


@dataclass(frozen=True)
class LidcReport:
    """The outcome of `preprocess_lidc`; `failures` are also in `failures_file`, which is absent when there are none."""

    store: Path
    crops: int
    counts: Mapping[str, int | str]
    failures: Sequence[Failure]
    failures_file: Path


def preprocess_lidc(
    root: Path,
    output: Path,
    *,
    size: int = 180,
    spacing_mm: float = 0.5,
    slices: Slices = "any-reader",
    seed: int = 0,
    split_file: Path | None = None,
    workers: int | Engine | None = None,
    cache: Path | None = None,
    on_file: Callable[[int, int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LidcReport:
    """Make a dataset store from every LIDC-IDRI scan whose DICOM series lies anywhere under a folder.

    Each finished scan is kept in `<output>.partial` until the store stands. So a killed run goes on where it was, to the
    same bytes. A scan that cannot be used is reported in `<output>-failures.csv`, and the rest goes on.

    Args:
        root: The folder with DICOM files.
        output: The store to make.
        size: Height and width of a crop, in pixels.
        spacing_mm: A crop's pixel size, in mm.
        slices: Which slices of a nodule are cropped (see `CropSettings`).
        seed: By it the patients who have nodules are split, in the proportions of Kohl et al.
        split_file: A CSV of patients and splits, used instead of `seed`.
        workers: Processes that crop scans, or the engine that has them; None: as many as save time.
        cache: The file in which headers are kept for the next time (see `HeaderCache`); None: nowhere.
        on_file: Called as `on_file(done, files)` while the folder is searched.
        on_progress: Called as `on_progress(done, scans)` while scans are cropped.

    Raises:
        UsageError: A parameter cannot be used, or another process makes the same store.
        InputError: There is no scan of LIDC-IDRI with a nodule, or none can be used.
    """
    settings = _settings(size, spacing_mm, slices)
    check_place(output)
    with ExitStack() as held:
        engine = held.enter_context(engine_of(workers).held())
        engine.check()
        with HeaderCache(cache) as headers:
            index = headers.find_series(root, on_file or (lambda done, total: None), workers=engine)
        tasks, counts = plan(root, index, settings, output.with_name(f"{output.name}.partial"))
        patients = [task.scan.patient for task in tasks]  # of failed scans too
        splits = assign_splits(patients, seed, split_file=split_file)
        with disk_errors(output), only_writer(output):  # and its parts
            failures = _crop_scans(tasks, engine, root, on_progress) + _unread(root, index)
            held.close()  # no worker waits while the store is written
            failures_file = output.with_name(f"{output.name}-failures.csv")
            write_failures(failures_file, failures)
            failed = {failure.series_uid for failure in failures}
            done = [task for task in tasks if task.scan.series_uid not in failed]
            if not done and index.pointers:
                raise pointers_among(root.name, index.pointers, index.total)
            if not done:
                raise InputError(
                    f"Of {counted(len(tasks), 'scan')} with nodules under {root} none could be used; the first: "
                    f"{failures[0].reason} All reasons are in {failures_file}."
                )
            counts |= _counts(done) | {"scans that failed": len(tasks) - len(done)}
            info = StoreInfo(
                name="lidc",
                source="LIDC-IDRI, axial CT slices with the nodule masks of four readers",
                intensity=HOUNSFIELD,
                spacing_mm=spacing_mm,
                settings=vars(settings) | {"seed": seed, "split": split_file.name if split_file else "by seed"},
                counts=counts,
                attribution=ATTRIBUTION,
                same_readers=True,
            )
            with write_store(output, info, splits) as writer:
                for task in done:
                    for crop in load_part(task.part):
                        writer.add(crop)
                rows = len(writer.rows)
            shutil.rmtree(tasks[0].part.parent)
            return LidcReport(output, rows, counts, failures, failures_file)


def _settings(size: int, spacing_mm: float, slices: Slices) -> CropSettings:
    if size < 1 or not 0 < spacing_mm < 100:
        raise UsageError(f"Crops of {size} pixels of {spacing_mm:g} mm are no crops: give a size and spacing above 0.")
    if slices not in get_args(Slices):
        raise UsageError(f"No choice of slices {slices!r}: expected {' or '.join(get_args(Slices))}.")
    return CropSettings(size, spacing_mm, slices)


def _crop_scans(
    tasks: Sequence[ScanTask], engine: Engine, root: Path, on_progress: Callable[[int, int], None] | None
) -> list[Failure]:
    """Make the parts that are not there yet; the failures come in the order of the tasks."""
    waiting = [task for task in tasks if not task.part.is_file()]
    reasons: dict[str, str] = {}
    tell = on_progress or (lambda done, total: None)
    tell(len(tasks) - len(waiting), len(tasks))
    shared = [tasks[0].part.parent.parent] if waiting else []
    outcomes = engine.outcomes(always(_crop_scan), waiting, shared=shared, read=[root])
    for count, outcome in enumerate(outcomes, len(tasks) - len(waiting) + 1):
        reason = str(outcome.error) if isinstance(outcome.error, TaskLost) else outcome.get()
        if reason is not None:
            reasons[outcome.task.scan.series_uid] = reason
        tell(count, len(tasks))
    return [
        Failure(task.case, task.scan.series_uid, reasons[task.scan.series_uid])
        for task in tasks
        if task.scan.series_uid in reasons
    ]


def _crop_scan(task: ScanTask) -> str | None:
    """Crop a scan and save its part; the reason when its data cannot be used."""
    try:
        crops, notes = scan_crops(task)
    except (DataError, InputError, ResourceError) as error:
        return str(error)
    save_part(task.part, crops, notes)
    return None


def _unread(root: Path, index: SeriesIndex[FileIdentity]) -> list[Failure]:
    """The files whose series cannot be read."""
    reasons = [f"{each.path.name} is a DICOM file whose header cannot be read: get it again." for each in index.broken]
    if index.pointers:
        reasons.append(str(pointers_among(root.name, index.pointers, index.total)))
    return [Failure("", "", reason) for reason in reasons]


def _counts(done: Sequence[ScanTask]) -> dict[str, int | str]:
    """Counts of what went into the store."""
    sizes = [len(nodule.marks) for task in done for nodule in task.nodules]
    by_readers = Counter(min(size, READERS) for size in sizes)
    notes = [load_notes(task.part) for task in done]
    return {
        "scans used": len(done),
        "patients used": len({task.scan.patient for task in done}),
        "nodules": len(sizes),
        **{f"nodules marked by {readers} readers": by_readers[readers] for readers in range(1, READERS + 1)},
        "nodules with more than four marks, joined by reader": sum(size > READERS for size in sizes),
        "slices left out, their outlines enclose no pixel": sum(note["empty"] for note in notes),
        "synthetic pixels": "yes" if any(note["synthetic"] for note in notes) else "no",
    }
