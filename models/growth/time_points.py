"""What is compared: predictions, and scans that are predicted first; whether they are of one patient, and of which days."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.files import check_place
from ambiseg.preprocessing.scans.dicom.dicom_scan import Examination, examination
from ambiseg.preprocessing.scans.point_files import Point
from ambiseg.preprocessing.scans.scan import Scan, open_scan

from ..prediction.places import Places
from ..prediction.predict_scan import Progress, Request, silent
from ..results.folder import check_folder, predict_open_scan
from ..results.result_documents import INDEX
from ..runs.trained import Trained


@dataclass(frozen=True)
class TimePoints:
    """Predictions of one lesion, ready to be compared.

    Attributes:
        folders: of the predictions [T], the earliest first.
        days: from the first scan to each later one [T - 1].
        missing: sentences about pictures or reports of the predictions that could not be made.
    """

    folders: Sequence[Path]
    days: Sequence[float]
    missing: Sequence[str] = ()


def is_prediction(path: Path) -> bool:
    """Whether a path is a folder of `ambiseg predict`."""
    return (path / INDEX).is_file()


def time_points(
    paths: Sequence[Path],
    days: Sequence[float],
    folder: Path,
    load: Callable[[], Trained],
    *,
    at: Sequence[Point] = (),
    voxel: bool = False,
    different_patients: bool = False,
    on_scan: Progress = silent,
) -> TimePoints:
    """Predict the scans among `paths`, and find the days between them.

    Args:
        paths: predictions, and scans (files, DICOM folders, or zips of these), the earliest first [T].
        days: from the first to each later one [T - 1]; empty: by the scans' own dates, which all of them must have.
        folder: where the predictions of scans are written, as `time_1`, `time_2`, ... by their place in `paths`.
        load: gives the model; called if there is a scan, once all of them are known to be usable.
        at: the lesion's place in each scan, in their order, in mm (RAS); empty: each scan is a crop, or is searched.
        voxel: `at` are voxel indices (i, j, k) of the file, from 0, instead of mm.
        different_patients: compare scans whose patient identifiers differ.
        on_scan: called with the number of scans done and their total.

    Raises:
        UsageError: numbers do not fit together, patients differ, or a date is missing or too early.
        AmbisegError: as `open_scan` and `predict_open_scan` do.
    """
    scans = [path for path in paths if not is_prediction(path)]
    if at and len(at) != len(scans):
        raise UsageError(
            f"`at`: expected one place for each scan ({len(scans)}; predictions need none), got {len(at)}."
        )
    if not scans and not days:
        raise UsageError("`days`: predictions hold no dates; give the days from the first scan to each later one.")
    targets = {path: folder / f"time_{number}" for number, path in enumerate(paths, 1) if path in scans}
    if len(targets) < len(scans):
        raise UsageError("The same scan is given twice: expected scans of different days.")
    for target in targets.values():
        check_folder(target, overwrite=False)
        check_place(target)
    with ExitStack() as held:
        opened = [_opened(held, path) for path in scans]
        known = {
            path: None if scan.dicom is None else examination(scan.dicom)
            for path, scan in zip(scans, opened, strict=True)
        }
        if not different_patients:
            _check_patients([each for each in known.values() if each is not None])
        between = days or list(_days_between([(path, known.get(path)) for path in paths]))
        missing = _predicted(opened, list(targets.values()), load, at, voxel, on_scan) if scans else []
    return TimePoints([targets.get(path, path) for path in paths], between, missing)


def _opened(held: ExitStack, path: Path) -> Scan:
    scan = held.enter_context(open_scan(path))
    if len(scan.volume.array) == 1:
        raise InputError(
            f"{path} is a single slice: expected scans of several slices, since growth is that of a volume."
        )
    return scan


def _check_patients(known: Sequence[Examination]) -> None:
    if len({each.patient for each in known if each.patient}) > 1:
        raise UsageError(
            "The scans are of different patients (their PatientIDs differ): give scans of one patient, or "
            "`different_patients` if it is one patient under several identifiers."
        )


def _days_between(known: Sequence[tuple[Path, Examination | None]]) -> Iterator[float]:
    """The days from the first scan to each later one, by their dates."""
    found: list[date] = []
    for path, each in known:
        if each is None or each.day is None:
            raise UsageError(f"`days`: {path} holds no date; give the days from the first scan to each later one.")
        found.append(each.day)
    for (path, _), earlier, later in zip(known[1:], found, found[1:], strict=False):
        if later <= earlier:
            between = (earlier - later).days
            when = (
                f"{between} days before the scan in front of it" if between else "on the day of the scan in front of it"
            )
            raise UsageError(
                f"{path} was acquired {when}, by its date: give the earliest scan first, or the true `days` if dates were "
                "changed."
            )
        yield float((later - found[0]).days)


def _predicted(
    scans: Sequence[Scan],
    folders: Sequence[Path],
    load: Callable[[], Trained],
    at: Sequence[Point],
    voxel: bool,
    on_scan: Progress,
) -> list[str]:
    """Predict each scan into its folder. Returns what is missing there."""
    trained = load()
    missing: list[str] = []
    for done, (scan, folder) in enumerate(zip(scans, folders, strict=True)):
        on_scan(done, len(scans))
        places = Places(at=[at[done]] if at else [], voxel=voxel)
        found = predict_open_scan(trained, scan, folder, Request(places))
        missing += [f"{folder.name}: {each}" for each in found.missing]
    on_scan(len(scans), len(scans))
    return missing
