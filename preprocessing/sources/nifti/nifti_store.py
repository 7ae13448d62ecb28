"""NIfTI files with any number of readers' masks, 2D or 3D, as a dataset store of crops about the lesions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from ...counted import counted
from ...errors import AmbisegError, DataError, InputError, UsageError
from ...failures import CaseFailure, write_failures
from ...store.intensity import BYTES, HOUNSFIELD
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import check_place
from ...volumes.hounsfield import looks_like_hu
from ...work.engine import Engine, TaskLost, always
from ...work.local_processes import engine_of
from ..duplicates import Duplicates
from ..packed.crop_values import SourceReport, Unit, unmeasured, write_crops
from ..packed.pack import Naming
from ..packed.seats import naming_note
from ..split_choice import Brought, choose_split
from .nifti_cases import NiftiCase, find_cases
from .nifti_crops import Kind, NiftiSettings, Slices, case_crops, read_image

ENOUGH = 16  # images, evenly spread over the cases
NAMES = {"hu": "HU", "relative": "relative grey values"}


def preprocess_nifti(
    source: Path,
    output: Path,
    settings: NiftiSettings,
    *,
    seed: int = 0,
    split: tuple[int, int, int] | str | None = None,
    split_file: Path | None = None,
    workers: int | Engine | None = None,
    allow_duplicates: bool = False,
    readers: Naming = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> SourceReport:
    """Make a dataset store from NIfTI images and their readers' masks.

    A case that cannot be used is reported in `<output>-failures.csv`, and the rest goes on.

    Args:
        source: A folder of cases or a CSV (see `nifti_cases`).
        output: The store to make.
        settings: Which crops are cut.
        seed: By it patients are split.
        split: Shares of train, val and test, or "own" for the split that came with the data. None: the data's own where
            they bring one, else shares of 70, 10 and 20.
        split_file: A CSV of patients and splits, used instead.
        workers: Processes that read cases, or the engine that has them; None: as many as save time. They change nothing in
            the store.
        allow_duplicates: Whether one image may lie under two patients whose splits were given. Where the split is drawn
            here, such an image is a warning.
        readers: "anonymous" where the files' and columns' names do not say who drew; else the store keeps them as names.
        on_progress: Called as `on_progress(done, cases)` after each case.

    Raises:
        UsageError: A setting cannot be used.
        InputError: There are no cases, or none gave a crop.
        DataError: The CSV, the folder or the split file is not as expected, only some images look like a CT, or one image
            lies under two patients in different splits that were given.
    """
    _check(settings)
    check_place(output)
    with engine_of(workers).held() as engine:
        engine.check()
        cases = find_cases(source, readers)
        own = [case.split for case in cases] if any(case.split for case in cases) else []
        data = Brought([case.patient for case in cases], own, what="cases")
        chosen = choose_split(data, split, seed, split_file)  # a failed case moves no other
        asked = settings.intensity
        unit, notes = judged_unit(cases, asked, engine)
        settings = replace(settings, intensity=unit)
        info = StoreInfo(
            name=source.resolve().stem,
            source="NIfTI images with readers' masks",
            intensity=HOUNSFIELD if unit == "hu" else BYTES,
            class_names=settings.class_names,
            spacing_mm=settings.spacing_mm,
            settings={
                "size": settings.size,
                "spacing": "native" if settings.spacing_mm is None else f"{settings.spacing_mm:g} mm",
                "slices": settings.slices,
                "whole": settings.whole,
                "intensity": NAMES[unit] + " (judged from the images)" * (asked == "auto"),
                "seed": seed,
                "split": chosen.text,
            },
            channels=unmeasured(cases[0].channels),
            same_readers=True,  # each reader has a file
            reader_names=cases[0].readers,
        )
        failures: list[CaseFailure] = []
        unmarked: list[str] = []
        failures_file = output.with_name(f"{output.name}-failures.csv")
        duplicates = Duplicates(chosen.by_patient)
        allowed = allow_duplicates or not (chosen.by_crop or split_file)
        crops = _placed(_crops(cases, settings, engine, failures, unmarked, on_progress), cases, chosen.by_crop)
        try:
            rows = write_crops(output, info, chosen.by_patient, duplicates.watched(crops, allowed))
        except InputError as error:
            raise InputError(_nothing(source, len(cases), failures, failures_file)) from error
        finally:
            write_failures(failures_file, failures)
    failed = {failure.case for failure in failures}
    counts = {
        "cases": len(cases) - len(failed),
        "cases that failed": len(failed),
        "cases left out, no reader marked a lesion": len(unmarked),
        "patients": len({case.patient for case in cases if case.name not in failed}),
    }
    return SourceReport(
        output,
        rows,
        counts,
        [*notes, *naming_note(info.reader_names, readers == "named"), *chosen.notes],
        failures=failures,
        failures_file=failures_file,
        warnings=[*chosen.warnings, *duplicates.warnings],
    )


def _placed(crops: Iterable[Crop], cases: Sequence[NiftiCase], splits: Sequence[str]) -> Iterator[Crop]:
    """The crops in the splits of their cases, where the data brought one."""
    by_case = dict(zip((case.name for case in cases), splits, strict=True)) if splits else {}
    for crop in crops:
        yield replace(crop, split=by_case.get(crop.case))


def _check(settings: NiftiSettings) -> None:
    if settings.size < 1 or not (settings.spacing_mm is None or 0 < settings.spacing_mm < 100):
        raise UsageError(
            f"Crops of {settings.size} pixels of {settings.spacing_mm} mm are no crops: give values above 0."
        )
    if settings.slices not in get_args(Slices) or settings.intensity not in get_args(Kind):
        raise UsageError(
            f"No choice {settings.slices!r}, {settings.intensity!r}: expected slices {' or '.join(get_args(Slices))} and "
            f"intensity {' or '.join(get_args(Kind))}."
        )


def _crops(
    cases: Sequence[NiftiCase],
    settings: NiftiSettings,
    engine: Engine,
    failures: list[CaseFailure],
    unmarked: list[str],
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[Crop]:
    """The crops of all cases, a few cases at a time in memory; fills `failures` and `unmarked` (cases without a crop)."""
    attempt = always(partial(_attempt, settings=settings))
    for done, outcome in enumerate(engine.outcomes(attempt, cases, in_order=True, read=_first(cases)), 1):
        lost = isinstance(outcome.error, TaskLost)
        crops = CaseFailure(outcome.task.name, str(outcome.error)) if lost else outcome.get()
        if isinstance(crops, CaseFailure):
            failures.append(crops)
        else:
            yield from crops
            unmarked += [] if crops else [outcome.task.name]
        if on_progress is not None:
            on_progress(done, len(cases))


def _attempt(case: NiftiCase, settings: NiftiSettings) -> list[Crop] | CaseFailure:
    """The crops of a case, or why there are none."""
    try:
        return case_crops(case, settings)
    except (DataError, InputError) as error:
        return CaseFailure(case.name, str(error))


def _nothing(source: Path, cases: int, failures: Sequence[CaseFailure], failures_file: Path) -> str:
    if not failures:
        return (
            f"No reader marked anything in {counted(cases, 'case')} of {source}: set `whole`, and `slices` to all, to take "
            "all slices."
        )
    return (
        f"Of {counted(cases, 'case')} of {source} none gave a crop; the first that failed: {failures[0].reason} "
        f"All reasons are in {failures_file}."
    )


def judged_unit(cases: Sequence[NiftiCase], kind: Kind, workers: int | Engine | None = None) -> tuple[Unit, list[str]]:
    """The unit of the images of all cases, and notes that say what it was judged by.

    Args:
        cases: Images that cannot be read do not count.
        kind: "hu" or "relative" is the unit, which then needs no image; "auto" lets the images say it.
        workers: Processes that read images, or their engine.

    Raises:
        DataError: Some images look like a CT and others do not.
    """
    if kind != "auto":
        return kind, []
    found = _looks(cases[:: -(-len(cases) // ENOUGH)], workers) or _looks(cases, workers)
    units: list[Unit] = ["hu" if ct else "relative" for ct in found.values()]
    if len(set(units)) > 1:
        ct, other = (next(case for case, is_ct in found.items() if is_ct is wanted) for wanted in (True, False))
        raise DataError(
            f"{sum(found.values())} of {counted(len(found), 'image')} look like a CT in HU (case {ct} first), and the others "
            f"do not (case {other} first): set `intensity` to hu or to relative, or import each kind by itself."
        )
    unit = units[0] if units else "relative"
    why = "all have air and hardly a value outside -1024 to 3071" if unit == "hu" else "none looks like a CT in HU"
    return unit, [
        f"Intensity: {NAMES[unit]}, judged from {counted(len(found), 'image')}: {why}. Set `intensity` if this is wrong."
    ]


def _looks(cases: Sequence[NiftiCase], workers: int | Engine | None) -> dict[str, bool]:
    """Whether the image of each case, where it can be read, looks like a CT."""
    found = engine_of(workers).outcomes(always(_looks_like_ct), cases, in_order=True, read=_first(cases))
    looks = {outcome.task.name: outcome.get() for outcome in found if not isinstance(outcome.error, TaskLost)}
    return {case: ct for case, ct in looks.items() if ct is not None}


def _first(cases: Sequence[NiftiCase]) -> list[Path]:
    """An image that every process must find."""
    return [path for case in cases for path in case.images][:1]


def _looks_like_ct(case: NiftiCase) -> bool | None:
    try:
        return all(map(looks_like_hu, read_image(case).channels)) if case.images else None
    except AmbisegError:
        return None  # the case is reported when its crops are made
