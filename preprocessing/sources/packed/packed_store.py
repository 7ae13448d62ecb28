"""Crops that were cut by others, as a dataset store: shards of the repackaged LIDC-IDRI, npz files, folders of PNG files.

Nothing is resampled: the crops keep their pixels. See `packed_shards`, `packed_npz` and `packed_png` for the layouts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...counted import counted
from ...errors import InputError, UsageError
from ...names import NPZ
from ...store.intensity import BYTES, HOUNSFIELD
from ...store.splits import USUAL_SPLIT, assign_splits
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import check_place
from .crop_values import SourceReport, write_crops
from .pack import Pack, PackSettings, load_npz, named_files
from .packed_npz import npz_pack
from .packed_png import image_folders, png_pack
from .packed_shards import shard_pack


def open_pack(inputs: Sequence[Path], settings: PackSettings) -> Pack:
    """Find out which layout the inputs (folders, or npz files) have, and whose crops they hold; reads no image yet."""
    missing = [path for path in inputs if not path.exists()]
    if missing or not inputs:
        raise InputError(f"No such file or folder: {missing[0] if missing else 'none given'}; expected packed crops.")
    name = inputs[0].resolve().stem
    pictured = [path for path in inputs if path.is_dir() and image_folders(path)]
    if pictured:
        if len(pictured) < len(inputs):
            raise UsageError(
                "Folders of PNG files and other inputs are given together: import them one after the other."
            )
        return png_pack(inputs, settings, name)
    files = [file for path in inputs for file in (_npz_files(path) if path.is_dir() else [path])]
    sharded = [_is_shard(file) for file in files]
    if not any(sharded):
        return npz_pack(files, settings, name)
    if not all(sharded):
        raise UsageError("Shards and plain npz files are given together: import them one after the other.")
    return shard_pack(files, settings)


def write_packed(
    pack: Pack,
    output: Path,
    settings: PackSettings,
    *,
    name: str | None = None,
    seed: int = 0,
    sizes: tuple[int, int, int] = USUAL_SPLIT,
    split_file: Path | None = None,
    absent_when_empty: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> SourceReport:
    """Make a dataset store from a pack.

    Args:
        pack: The crops (see `open_pack`).
        output: The store to make.
        settings: How the pack was opened.
        name: The data set's name; None: the pack's.
        seed: By it patients are split, in the proportions `sizes`.
        sizes: Proportions of train, val and test.
        split_file: A CSV of patients and splits, used instead of `seed`.
        absent_when_empty: Whether a reader with an empty mask counts as absent, not as one who saw no lesion. Crops
            without any reader are then left out.
        on_progress: Called as `on_progress(done, crops)` after each crop.

    Raises:
        InputError: There is no crop, or something other than a store stands at `output`.
        DataError: A file of the pack or the split file is not as expected.
    """
    check_place(output)
    splits = assign_splits(pack.patients, seed, sizes, split_file)
    info = StoreInfo(
        name=name or pack.name,
        source=pack.source,
        intensity=HOUNSFIELD if settings.intensity == "hu" else BYTES,
        class_names=settings.class_names,
        settings={
            "seed": seed,
            "split": split_file.name if split_file else "/".join(map(str, sizes)),
            "absent_when_empty": absent_when_empty,
        },
        attribution=pack.attribution,
        same_readers=pack.same_readers
        and not absent_when_empty,  # a reader absent from some slices has no known volume
    )
    crops = _reported(pack, on_progress)
    rows = write_crops(output, info, splits, _readers_who_drew(crops) if absent_when_empty else crops)
    left_out = len(pack.patients) - rows
    notes = [*pack.notes, *[f"Left out: {counted(left_out, 'crop')} that no reader marked."] * bool(left_out)]
    return SourceReport(output, rows, {"patients": len(set(pack.patients)), "crops left out": left_out}, notes)


def _npz_files(folder: Path) -> list[Path]:
    files = named_files(folder, NPZ)
    if not files:
        raise InputError(
            f"No packed crops in {folder}: expected npz files, or folders images/ and mask-0/, mask-1/, ..."
        )
    return files


def _is_shard(path: Path) -> bool:
    """Whether the images of an npz file are one compressed stream."""
    with load_npz(path) as opened:
        names = set(opened.files)
        return {"images", "masks", "patient", "nodule", "slice"} <= names and opened["images"].ndim == 1


def _reported(pack: Pack, on_progress: Callable[[int, int], None] | None) -> Iterator[Crop]:
    for done, crop in enumerate(pack.crops(), 1):
        yield crop
        if on_progress is not None:
            on_progress(done, len(pack.patients))


def _readers_who_drew(crops: Iterator[Crop]) -> Iterator[Crop]:
    """The crops with every reader whose mask is empty made absent; without those that have no reader then."""
    for crop in crops:
        drew = np.asarray(crop.masks.any((1, 2)))
        present = drew & crop.readers
        if present.any():
            yield replace(crop, present=present)
