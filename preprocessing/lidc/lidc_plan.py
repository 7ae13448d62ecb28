"""The plan for a folder of LIDC-IDRI: where it lies, which scans are in it, and their names."""

import configparser
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..counted import counted
from ..errors import InputError
from ..lfs import pointers_among
from ..scans.dicom.dicom_files import FileIdentity, SeriesIndex
from ..store.resume import part_name
from .annotations import ScanRecord, marks, nodules, scans
from .lidc_crops import CropSettings, ScanTask

ROOT_VARIABLE = "AMBISEG_LIDC_ROOT"


def default_root() -> Path:
    """The DICOM root when none is given: $AMBISEG_LIDC_ROOT, the path in an existing pylidc configuration, ./LIDC-IDRI."""
    variable = os.environ.get(ROOT_VARIABLE)
    if variable:
        return Path(variable)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read([Path.home() / ".pylidcrc", Path.home() / "pylidc.conf"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        parser.clear()
    configured = parser.get("dicom", "path", fallback="")
    for path in (Path(configured) if configured else None, Path("LIDC-IDRI")):
        if path is not None and path.is_dir():
            return path
    raise InputError(
        f"No DICOM folder given: expected `ambiseg preprocess lidc DICOM_ROOT`, the variable {ROOT_VARIABLE}, "
        "a path in ~/.pylidcrc, or a folder LIDC-IDRI here; the data are at https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX."
    )


def plan(
    root: Path, index: SeriesIndex[FileIdentity], settings: CropSettings, partial: Path
) -> tuple[list[ScanTask], dict[str, int | str]]:
    """The scans that have nodules, by id, and counts of what was found."""
    records = scans()
    names = case_names(records)
    found = [scan for scan in records if scan.series_uid in index.files]
    if not found and index.pointers:
        raise pointers_among(root.name, index.pointers, index.total)
    if not found:
        raise InputError(
            f"No LIDC-IDRI scan under {root}: found {len(index.files)} other DICOM series and {index.other} files that are "
            "not DICOM images; give the folder that holds LIDC-IDRI's CT series."
        )
    tasks = []
    for scan in found:
        grouped = nodules(scan, marks(scan.id))
        if grouped:
            files = tuple(index.files[scan.series_uid])
            part = partial / part_name(scan.series_uid, vars(settings), _fingerprint(files, root))
            tasks.append(ScanTask(scan, tuple(grouped), files, names[scan.id], settings, part))
    if not tasks:
        raise InputError(
            f"Of {counted(len(found), 'LIDC-IDRI scan')} under {root} none has a nodule of 3 mm or more: add scans."
        )
    return tasks, {
        "scans found": len(found),
        "scans of LIDC-IDRI not found": len(records) - len(found),
        "scans without a nodule": len(found) - len(tasks),
        "series not of LIDC-IDRI": len(index.files) - len(found),
        "files that are not DICOM images": index.other,
    }


def case_names(records: Sequence[ScanRecord]) -> dict[int, str]:
    """A name for every scan id: the patient's, with a number where the patient has more than one scan."""
    by_patient = defaultdict(list)
    for scan in records:
        by_patient[scan.patient].append(scan.id)
    return {
        scan_id: patient if len(ids) == 1 else f"{patient}-{number}"
        for patient, ids in by_patient.items()
        for number, scan_id in enumerate(ids, 1)
    }


def _fingerprint(files: Sequence[Path], root: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a scan's files: when they change, the scan is done again."""
    stats = [(path, path.stat()) for path in files]
    return [(path.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
