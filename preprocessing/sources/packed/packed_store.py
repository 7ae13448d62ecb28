"""Crops that were cut by others, as a dataset store.

Nothing is resampled: the crops keep their pixels, unless images of different sizes are brought to one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...counted import counted
from ...errors import DataError, InputError, UsageError
from ...store.intensity import BYTES, HOUNSFIELD
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import check_place
from ...volumes.planes import Fit, crop_labels, fit_grid
from ..duplicates import Duplicates
from ..split_choice import Brought, SplitChoice, choose_split
from .crop_values import SourceReport, unmeasured, write_crops
from .pack import Naming, Pack, PackSettings
from .seats import names_of, naming_note

RESIZED = 128  # pixels to which images are resized when no size is given


def write_packed(
    pack: Pack,
    output: Path,
    settings: PackSettings,
    *,
    name: str | None = None,
    seed: int = 0,
    split: tuple[int, int, int] | str | None = None,
    split_file: Path | None = None,
    absent_when_empty: bool = False,
    allow_duplicates: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> SourceReport:
    """Make a dataset store from a pack.

    Args:
        pack: The crops (see `kinds.open_pack`).
        output: The store to make.
        settings: How the pack was opened.
        name: The data set's name; None: the pack's.
        seed: By it patients are split.
        split: Shares of train, val and test; "own" for the split that the data bring, or the name of a paper's split.
            None: the data's own where they bring one, else shares of 70, 10 and 20.
        split_file: A CSV of patients and splits, used instead.
        absent_when_empty: Whether a reader with an empty mask counts as absent, not as one who saw no lesion. Crops
            without any reader are then left out.
        allow_duplicates: Whether one image may lie under two patients in different splits.
        on_progress: Called as `on_progress(done, crops)` after each crop.

    Raises:
        InputError: There is no crop, or something other than a store stands at `output`.
        UsageError: The data have no split of that name.
        DataError: A file of the pack or the split file is not as expected, or one image lies under two patients in
            different splits.
    """
    check_place(output)
    if settings.size is not None and settings.fit is None:
        raise UsageError("`size` is that to which images are made to fit: give `fit` too.")
    size = None
    if settings.fit is not None:
        size, fitting = fitted(pack.crops, settings.fit, settings.size, len(settings.class_names))
        pack = replace(pack, crops=fitting)
    pack = replace(pack, patients=[patient.strip() for patient in pack.patients])
    readers = _names(pack, settings.readers)
    chosen = choose_split(Brought(pack.patients, pack.splits, pack.published), split, seed, split_file)
    info = StoreInfo(
        name=name or pack.name,
        source=pack.source,
        intensity=HOUNSFIELD if settings.intensity == "hu" else BYTES,
        class_names=settings.class_names,
        settings={
            "seed": seed,
            "split": chosen.text,
            "absent_when_empty": absent_when_empty,
            **({} if settings.fit is None else {"fit": settings.fit, "size": size}),
        },
        counts={"patients on both sides of the split": chosen.divided} if chosen.divided else {},
        channels=unmeasured(settings.channel_names),
        fit=settings.fit,
        attribution=pack.attribution,
        reader_names=readers,
        same_readers=(pack.same_readers or (bool(readers) and all(readers)))
        and not absent_when_empty,  # a reader absent from some slices has no known volume
    )
    duplicates = Duplicates(chosen.by_patient)
    crops = duplicates.watched(_placed(_of_one_size(_reported(pack, on_progress)), chosen), allow_duplicates)
    rows = write_crops(output, info, chosen.by_patient, _readers_who_drew(crops) if absent_when_empty else crops)
    left_out = len(pack.patients) - rows
    notes = [
        *pack.notes,
        *naming_note(readers, settings.readers == "named"),
        *chosen.notes,
        *[f"Left out: {counted(left_out, 'crop')} that no reader marked."] * bool(left_out),
    ]
    counts = {"patients": len(set(pack.patients)), "crops left out": left_out}
    return SourceReport(output, rows, counts, notes, warnings=[*chosen.warnings, *duplicates.warnings])


def _names(pack: Pack, naming: Naming) -> tuple[str, ...]:
    """The readers' names that the store keeps."""
    if naming == "anonymous" or (naming == "auto" and pack.numbered):
        return ()
    if naming == "auto" or pack.readers:
        return tuple(pack.readers)
    first = next(pack.crops(), None)
    return names_of([str(number) for number in range(1, 1 + (0 if first is None else len(first.masks)))], "")


def _reported(pack: Pack, on_progress: Callable[[int, int], None] | None) -> Iterator[Crop]:
    for done, crop in enumerate(pack.crops(), 1):
        yield crop
        if on_progress is not None:
            on_progress(done, len(pack.patients))


def _of_one_size(crops: Iterator[Crop]) -> Iterator[Crop]:
    """The crops. Raises `DataError` at the first that has another size than those before it."""
    first = None
    for crop in crops:
        size = crop.image.shape[1:]
        first = first or size
        if size != first:
            raise DataError(
                f"Case {crop.case} has {size[0]} x {size[1]} pixels, those before it {first[0]} x {first[1]}: set `fit` to "
                "bring images of different sizes to one."
            )
        yield crop


def _placed(crops: Iterator[Crop], chosen: SplitChoice) -> Iterator[Crop]:
    """The crops with their patients' names trimmed, and the splits that the data gave them."""
    splits = chosen.by_crop or repeat(None)
    for crop, split in zip(crops, splits, strict=bool(chosen.by_crop)):
        yield replace(crop, patient=crop.patient.strip(), split=split)


def _readers_who_drew(crops: Iterator[Crop]) -> Iterator[Crop]:
    """The crops with every reader whose mask is empty made absent; without those that have no reader then."""
    for crop in crops:
        drew = np.asarray(crop.masks.any((1, 2)))
        present = drew & crop.readers
        if present.any():
            yield replace(crop, present=present)


def fitted(
    crops: Callable[[], Iterable[Crop]], fit: Fit, size: int | None, classes: int
) -> tuple[int, Callable[[], Iterator[Crop]]]:
    """The side in pixels, and crops of that size.

    Args:
        crops: Reads the images one after the other; "pad" and "crop" without a size read them once more.
        fit: "pad" puts an image in the middle of a larger square, beyond its border its least value; "crop" takes its middle;
            "resize" changes height and width to that of the square, each by itself.
        size: The square's side; None: the largest side of an image ("pad"), the smallest ("crop"), or 128.
        classes: How many classes the masks have.

    Raises:
        UsageError: An image is larger than the size to which it shall be padded, or smaller than that to be cut.
    """
    if size is None and fit != "resize":
        sides = [side for crop in crops() for side in crop.image.shape[1:]]
        if not sides:
            raise InputError("There is no image.")
        size = max(sides) if fit == "pad" else min(sides)
    side = size or RESIZED
    return side, lambda: (_fitted(crop, fit, side, classes) for crop in crops())


def _fitted(crop: Crop, fit: Fit, size: int, classes: int) -> Crop:
    height, width = crop.image.shape[1:]
    wrong = {"pad": max(height, width) > size, "crop": min(height, width) < size, "resize": False}[fit]
    if wrong:
        raise UsageError(
            f"Case {crop.case} has {counted(height, 'row')} and {counted(width, 'column')}: `fit` {fit} needs a `size` "
            f"{'not below' if fit == 'pad' else 'not above'} these."
        )
    if crop.masks.shape[1:] != (height, width):
        got = " x ".join(map(str, crop.masks.shape[1:]))
        raise DataError(f"Case {crop.case}: masks of {got} pixels do not fit an image of {height} x {width}.")
    grid = fit_grid(fit, (height, width), size)
    image = np.stack([grid.image(plane, fill=float(plane.min())) for plane in crop.image])
    return replace(crop, image=_as(image, crop.image.dtype), masks=crop_labels(crop.masks, grid, classes))


def _as(image: NDArray[np.float32], kind: np.dtype) -> NDArray:
    """An image with the type of numbers that it had."""
    return image if kind.kind == "f" else np.rint(image).astype(kind)
