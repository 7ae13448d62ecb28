"""A simulated LIDC cohort: real UIDs, geometry and readers' contours, invented pixels, in the archive's own layout.

    <folder>/phantom.json                                         what was made, and which faults were planted
    <folder>/LIDC-IDRI-0001/<study uid>/<series uid>/000001.dcm   named by InstanceNumber, 1 at the head

The image of a lesion follows the mean of its readers' masks (see `lesions`). All is drawn from the seed: the same
call gives the same bytes. A patient's folder is whole or absent, so that a stopped call goes on where it was.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..counted import counted
from ..documents import json_text, write_json
from ..errors import InputError, UsageError
from ..files import clear_leftovers, is_free, whole_folder
from ..lidc.annotations import ScanRecord, marks, nodules, scans
from ..work.engine import Engine, always
from ..work.local_processes import engine_of
from .faults import FAULTS, describe
from .images import slice_dataset, write_slice
from .made_scan import make_scan, slice_pixels

Slices = Literal["all", "nodules"]
PATIENTS = 875  # of LIDC-IDRI's 1010 have nodules
AROUND = 2  # slices kept below and above a nodule by `nodules`
FORMAT = 1  # raise it when the same seed gives other images


@dataclass(frozen=True)
class PatientTask:
    """A patient to be made in `folder`: the scans with the indices of their slices, and the fault of the first."""

    folder: Path
    scans: tuple[tuple[ScanRecord, tuple[int, ...]], ...]
    seed: int
    fault: str | None

    @property
    def images(self) -> int:
        """How many slices are made."""
        return sum(len(indices) for _, indices in self.scans)


@dataclass(frozen=True)
class CohortScan:
    """A scan of the cohort, and how many slices of it were made."""

    patient: str
    series_uid: str
    images: int


@dataclass(frozen=True)
class PlantedFault:
    """A fault that was planted in a patient's first scan; `what` describes it."""

    fault: str
    patient: str
    series_uid: str
    what: str


@dataclass(frozen=True)
class Cohort:
    """The content of phantom.json: how the cohort was made, its scans and its faults."""

    what: str
    format: int
    seed: int
    slices: Slices
    patients: int
    images: int
    scans: tuple[CohortScan, ...]
    faults: tuple[PlantedFault, ...]


def write_phantom(
    folder: Path,
    patients: int,
    *,
    seed: int = 0,
    slices: Slices = "all",
    faults: Sequence[str] = (),
    workers: int | Engine | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Cohort:
    """Make a simulated cohort, and return the content of its phantom.json.

    Args:
        folder: The folder to write.
        patients: How many of LIDC-IDRI's patients with nodules are made.
        seed: The same seed gives the same bytes.
        slices: "all" writes whole scans and, since these are large, prefers short ones (the shortest third of a draw).
            "nodules" writes only the slices about nodules. That is enough wherever contours are mapped by z; pylidc maps
            them by index and needs "all".
        faults: Names of faults (see `faults`). Each spoils one patient's first scan.
        workers: Processes, or the engine that has them; None: as many as save time.
        on_progress: Called as `on_progress(done, total)`; it counts slices.

    Raises:
        UsageError: A choice is impossible.
        InputError: Something other than this very cohort lies in the folder.
    """
    _check(slices, faults, patients)
    chosen = choose_patients(patients, seed, slices)
    spoilt = dict(zip(reversed(chosen), faults, strict=False))
    tasks = [
        PatientTask(folder / patient, tuple((scan, _indices(scan, slices)) for scan in own), seed, spoilt.get(patient))
        for patient, own in chosen.items()
    ]
    manifest = _manifest(tasks, slices, seed)
    _claim(folder, manifest)
    clear_leftovers(folder)
    waiting = [task for task in tasks if not task.folder.exists()]
    total = sum(task.images for task in tasks)
    done = total - sum(task.images for task in waiting)
    tell = on_progress or (lambda done, total: None)
    tell(done, total)
    for outcome in engine_of(workers).outcomes(always(_write_patient), waiting):
        outcome.get()
        done += outcome.task.images
        tell(done, total)
    return manifest


def choose_patients(count: int, seed: int, slices: Slices) -> dict[str, list[ScanRecord]]:
    """`count` patients with nodules, by name, with their scans that have nodules."""
    if not 1 <= count <= PATIENTS:
        raise UsageError(f"No cohort of {count} patients: LIDC-IDRI has 1 to {PATIENTS} patients with nodules.")
    own = defaultdict(list)
    for scan in scans():
        own[scan.patient].append(scan)
    shuffled = [sorted(own)[index] for index in np.random.default_rng(seed).permutation(len(own))]
    marked = ((patient, [scan for scan in own[patient] if marks(scan.id)]) for patient in shuffled)
    drawn = list(islice((pair for pair in marked if pair[1]), count if slices == "nodules" else 3 * count))
    if slices == "all":
        drawn.sort(key=lambda pair: sum(len(scan.z_mm) for scan in pair[1]))
    return dict(sorted(drawn[:count], key=lambda pair: pair[0]))


def _check(slices: str, faults: Sequence[str], patients: int) -> None:
    if slices not in get_args(Slices):
        raise UsageError(f"No choice of slices {slices!r}: expected {' or '.join(get_args(Slices))}.")
    unknown = [fault for fault in faults if fault not in FAULTS]
    if unknown:
        raise UsageError(f"No fault {unknown[0]!r}: expected {', '.join(FAULTS)}.")
    if len(set(faults)) < len(faults) or len(faults) > patients:
        raise UsageError(
            f"{counted(len(faults), 'fault')} for {counted(patients, 'patient')}: name each once, and make a patient "
            "or more for each."
        )


def _indices(scan: ScanRecord, slices: Slices) -> tuple[int, ...]:
    """The slices to write, counted from the feet."""
    if slices == "all":
        return tuple(range(len(scan.z_mm)))
    kept = {
        index
        for drawn in _drawn(scan)
        for index in range(drawn - AROUND, drawn + AROUND + 1)
        if 0 <= index < len(scan.z_mm)
    }
    return tuple(sorted(kept))


def _drawn(scan: ScanRecord) -> Iterable[int]:
    """The slices on which a reader drew."""
    heights = {line.z_mm for mark in marks(scan.id) for line in mark.contours}
    return sorted({int(np.abs(scan.z_mm - z).argmin()) for z in heights})


def _manifest(tasks: Sequence[PatientTask], slices: Slices, seed: int) -> Cohort:
    return Cohort(
        what="SYNTHETIC images by ambiseg phantom about real LIDC-IDRI geometry and contours; not for any diagnosis",
        format=FORMAT,
        seed=seed,
        slices=slices,
        patients=len(tasks),
        images=sum(task.images for task in tasks),
        scans=tuple(
            CohortScan(scan.patient, scan.series_uid, len(indices)) for task in tasks for scan, indices in task.scans
        ),
        faults=tuple(
            PlantedFault(task.fault, task.folder.name, task.scans[0][0].series_uid, describe(task.fault))
            for task in tasks
            if task.fault
        ),
    )


def _claim(folder: Path, manifest: Cohort) -> None:
    """Write the manifest, unless it is there already; refuse a folder that holds anything else."""
    path = folder / "phantom.json"
    if path.is_file():
        if path.read_bytes() != json_text(manifest).encode():
            raise InputError(f"{folder} holds another simulated cohort: choose another `output`, or remove it.")
        return
    if not is_free(folder):
        raise InputError(f"{folder} exists and is no simulated cohort: choose another `output`.")
    write_json(path, manifest)


def _write_patient(task: PatientTask) -> None:
    with whole_folder(task.folder) as folder:
        for scan, indices in task.scans:
            series = folder / scan.study_uid / scan.series_uid
            series.mkdir(parents=True)
            phantom = make_scan(scan, nodules(scan, marks(scan.id)), task.seed)
            for index in indices:
                number = len(scan.z_mm) - index
                write_slice(series, slice_dataset(scan, number, slice_pixels(phantom, index)), f"{number:06d}")
        if task.fault:
            FAULTS[task.fault](_drawn_files(folder, task.scans[0][0]))


def _drawn_files(folder: Path, scan: ScanRecord) -> list[Path]:
    """The files of the slices on which a reader drew, from the feet."""
    series = folder / scan.study_uid / scan.series_uid
    return [series / f"{len(scan.z_mm) - index:06d}.dcm" for index in _drawn(scan)]
