"""Which kind of packed crops the inputs are, judged by what they hold, and which splits their folders name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from ...errors import InputError, UsageError
from ...lfs import check_no_pointer
from ...names import NPZ
from ...store.store_crop import Crop
from ..split_choice import split_folders
from .pack import Pack, PackSettings, broken_npz, load_npz, named_files
from .packed_hdf5 import hdf5_pack, is_hdf5
from .packed_layout import known_layouts, layout_pack
from .packed_npz import npz_pack
from .packed_pickle import pickle_pack
from .packed_png import image_folders, png_pack
from .packed_shards import shard_pack
from .pickle_reader import is_pickle
from .seats import check_all_named, seated, seats_for

SUFFIXES = (NPZ, ".pickle", ".pkl", ".hdf5", ".h5")
OTHERS = {
    b"\x93NUMPY": "is a single array: expected images and masks in one npz.",
    b"\x1f\x8b": "is packed by gzip: unpack it.",
    b"\xfd7zXZ\0": "is packed by xz: unpack it.",
}
FilePack = Callable[[Sequence[Path], PackSettings, str], Pack]


def open_pack(inputs: Sequence[Path], settings: PackSettings) -> Pack:
    """Find out which layout the inputs (folders, or files) have, and whose crops they hold; reads no image yet.

    Raises:
        InputError: An input does not exist, or is sound but of no kind that is known.
        DataError: An input is damaged.
        UsageError: The inputs are of several kinds.
    """
    missing = [path for path in inputs if not path.exists()]
    if missing or not inputs:
        raise InputError(f"No such file or folder: {missing[0] if missing else 'none given'}; expected packed crops.")
    name, splits = inputs[0].resolve().stem, split_folders(inputs)
    folders = [path for path in inputs if path.is_dir()]
    if settings.layout and len(folders) < len(inputs):
        raise UsageError("`layout` says where images lie in a folder: give folders alone.")
    if settings.layout:
        return layout_pack(inputs, settings, name, splits)
    layouts = known_layouts(folders)
    pictured = [path for path in folders if image_folders(path)]
    if not layouts and not pictured:
        return _file_pack(inputs, settings, name, splits)
    if len(folders if layouts else pictured) < len(inputs):
        raise UsageError("Folders of images and other inputs are given together: import them one after the other.")
    by_folder = any(any(images.parent.glob("mask-*")) for path in pictured for images in image_folders(path))
    names = [layout.name for layout in layouts] + ["images/ and mask-0/, mask-1/, ..."] * by_folder
    if len(names) > 1:
        raise UsageError(f"The folders fit {' and '.join(names)}: say with `layout` which is meant.")
    return (
        layout_pack(inputs, settings, name, splits, layouts[0]) if layouts else png_pack(inputs, settings, name, splits)
    )


def _file_pack(inputs: Sequence[Path], settings: PackSettings, name: str, splits: Mapping[Path, str]) -> Pack:
    files = {file: splits.get(top) for top in inputs for file in ([top] if top.is_file() else _files(top))}
    files |= {file: split for top, split in splits.items() if top.is_dir() for file in _files(top)}
    if not files:
        raise InputError(
            f"No packed crops in {inputs[0]}: expected npz, pickle or HDF5 files, or folders images/ and mask-0/, mask-1/, "
            "...; or say with `layout` where its images and masks lie."
        )
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        given = " and ".join(sorted(NAMES[kind] for kind in kinds))
        raise UsageError(f"Inputs of several kinds are given together, {given}: import them one after the other.")
    (kind,) = kinds
    by_split: dict[str | None, list[Path]] = {}
    for file, split in files.items():
        by_split.setdefault(split, []).append(file)
    return _joined({split: kind(paths, settings, name) for split, paths in by_split.items()})


def _files(folder: Path) -> list[Path]:
    return [file for suffix in SUFFIXES for file in named_files(folder, suffix)]


def _kind(file: Path) -> FilePack:
    check_no_pointer(file)
    if is_hdf5(file):
        return hdf5_pack
    with file.open("rb") as opened:
        begin = opened.read(6)
    if begin in OTHERS or begin[:2] in OTHERS:
        raise InputError(f"{file} {OTHERS.get(begin) or OTHERS[begin[:2]]}")
    if begin[:2] == b"PK" or file.suffix.lower() == NPZ:
        return shard_pack if _is_shard(file) else npz_pack
    if is_pickle(file):
        return pickle_pack
    if file.suffix.lower() in SUFFIXES and file.stat().st_size == 0:
        raise InputError(f"{file} is empty: get it again.")
    raise InputError(
        f"{file} is of no kind that is known here: expected npz, a pickle, HDF5, or folders of images; save its arrays as "
        "npz."
    )


def _is_shard(path: Path) -> bool:
    """Whether the images of an npz file are one compressed stream."""
    with load_npz(path) as opened:
        names = set(opened.files)
        if not {"images", "masks", "patient", "nodule", "slice"} <= names:
            return False
        try:
            return bool(opened["images"].ndim == 1)
        except ValueError as error:
            raise broken_npz(path) from error


def _joined(packs: Mapping[str | None, Pack]) -> Pack:
    """Packs of the same kind as one; where there are several splits, they are the crops' own."""
    if len(packs) == 1:
        return next(iter(packs.values()))
    first, *_ = packs.values()
    splits = [split or "" for split, pack in packs.items() for _ in pack.patients]

    check_all_named([bool(pack.readers) for pack in packs.values()], "files")
    seats = seats_for(("A file", pack.readers) for pack in packs.values())

    def crops() -> Iterator[Crop]:
        return chain.from_iterable(
            (seated(crop, pack.readers, seats) for crop in pack.crops()) if seats else pack.crops()
            for pack in packs.values()
        )

    return replace(
        first,
        patients=[patient for pack in packs.values() for patient in pack.patients],
        crops=crops,
        notes=[note for pack in packs.values() for note in pack.notes],
        attribution=next((pack.attribution for pack in packs.values() if pack.attribution), ""),
        same_readers=all(pack.same_readers for pack in packs.values()),
        readers=seats,
        splits=splits,
        published={},
    )


NAMES: dict[FilePack, str] = {
    npz_pack: "plain npz files",
    shard_pack: "shards",
    pickle_pack: "pickles",
    hdf5_pack: "HDF5 files",
}
