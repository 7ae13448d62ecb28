"""The scan in a DICOM folder: its slices as one volume, and notes on what was passed over."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from ...errors import DataError
from ...volumes.grid import Grid
from ...volumes.volume import Volume
from .dicom_elements import elements_of
from .dicom_files import FileIdentity, SeriesIndex, read_header
from .dicom_pixels import read_hounsfield, read_rescaled
from .series import fitting_slices, series_grid, stack
from .series_images import Image
from .slices import Slice
from .study import check_classic, choose_series, image_series
from .suspects import cannot_be_read, check_other_series, check_unread

DATES = ("AcquisitionDate", "SeriesDate", "StudyDate")  # of the scan, the first that is given
WRITTEN = ("%Y%m%d", "%Y.%m.%d")  # how DICOM writes a date, now and before 1993


@dataclass(frozen=True)
class DicomScan:
    """The origin of a scan's voxels: the slices in use, in the order of the grid's third axis, and their series."""

    slices: Sequence[Slice]
    series_uid: str
    modality: str


@dataclass(frozen=True)
class Examination:
    """Whose scan it is, and of which day. It is read when scans are compared, and no result keeps it.

    Attributes:
        patient: The PatientID, "" where there is none.
        day: The day of the scan, None where no date is given or none can be read.
    """

    patient: str
    day: date | None


def examination(dicom: DicomScan) -> Examination:
    """Whose scan it is and of which day, from the header of its first slice.

    Raises:
        AmbisegError: The file is gone or damaged.
    """
    path = dicom.slices[0].path
    names = ("PatientID", *DATES)
    elements = elements_of(read_header(path, names), path, names)
    days = (_day(elements.text(name)) for name in DATES)
    return Examination(elements.text("PatientID"), next((day for day in days if day is not None), None))


def _day(text: str) -> date | None:
    for form in WRITTEN:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


def read_dicom(
    called: str, index: SeriesIndex[Image], wanted: str | None = None
) -> tuple[Volume, Grid, DicomScan, tuple[str, ...]]:
    """The series `wanted`, or the only one that can be a scan, and notes on what was passed over beside it.

    `called` is how messages call the folder. Raises `InputError` where there is no such series, `DataError` where a file
    that may be one of its slices is damaged, or slices are missing or do not fit.
    """
    series = image_series(index)
    if not series and index.broken:
        raise cannot_be_read(called, index.broken)
    chosen = choose_series(called, series, wanted)
    check_unread(called, index, chosen)
    check_classic(chosen)
    found = chosen.sorted_out
    check_other_series(series, chosen, found.slices)
    notes = _notes(found.left_out, index)
    read = read_hounsfield if chosen.modality == "CT" else read_rescaled
    slices = fitting_slices(found.slices, read)
    try:
        grid = series_grid(slices, called)
    except DataError as error:
        if not notes:
            raise
        raise DataError(f"{error} {' '.join(notes)}") from error
    volume = replace(stack(slices, grid, read), modality=chosen.modality)
    return volume, grid, DicomScan(slices, chosen.uid, chosen.modality), notes


def _notes(left_out: Sequence[tuple[Path, str]], index: SeriesIndex[Image]) -> tuple[str, ...]:
    """Sentences on files that lie in the series, or cannot be read, and are not in the scan."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path, kind in left_out:
        kinds[kind].append(path)
    notes = []
    if kinds:
        listed = ", ".join(f"{kind} ({_named(paths)})" for kind, paths in kinds.items())
        notes.append(f"Left out of the series, as no slices of the scan: {listed}.")
    if index.broken:
        notes.append(
            f"Passed over, as files of no known series and unlike slices of the scan: {_named(_paths(index.broken))}."
        )
    if index.nameless:
        notes.append(f"Passed over, as DICOM objects of no series: {_files(index.nameless)}.")
    return tuple(notes)


def _paths(files: Sequence[FileIdentity]) -> list[Path]:
    return [each.path for each in files]


def _named(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{_files(len(paths))}, {paths[0].name} first"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
