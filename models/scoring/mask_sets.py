"""Sets of masks in folders: which files belong to which case, whatever program wrote them.

    FOLDER/CASE/NAME.nii.gz   one folder for each case, one file for each mask
    FOLDER/NAME/CASE.nii.gz   one folder for each reader or draw, one file for each case
    FOLDER/CASE_NAME.png      all files in one folder; the name follows the last "_"
    FOLDER/CASE.npz           one file for each case with an array `masks` [N, H, W] or [N, Z, H, W]
    FOLDER/NAME.nii.gz        one case

Which of these a folder is follows from the cases: those of the readers and of the other masks must have the same names. Where
that tells two ways, `layout` names one: "case/mask", "mask/case", "case_mask", "case" (also of npz) or "mask".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.scans.formats.nifti_volume import read_volume
from ambiseg.preprocessing.scans.formats.raster import read_pixels
from ambiseg.preprocessing.sources.packed.pack import load_npz, natural
from ambiseg.preprocessing.store.store import IGNORE

KINDS = (".nii.gz", ".nii", ".png", ".npz")
GREY = dict.fromkeys(("1", "LA", "RGB", "RGBA"), "L")  # modes of PNG files that become grey values
NEAR = 1e-3  # mm, by which the places of two masks' corners may differ
Layout = Literal["case/mask", "mask/case", "case_mask", "case", "mask"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Files = Mapping[str, Mapping[str, Path]]  # the file of each mask by its name, by case


@dataclass(frozen=True)
class MaskSet:
    """The masks of one case.

    Attributes:
        case: Its name; empty where there is only one.
        names: Of the masks [N]: readers, or draws.
        masks: Label maps [N, ...], 0 background, 255 where a pixel counts for nothing.
        spacing_mm: Size of a pixel or voxel along each axis; None where files do not say.
        affine: From voxels to mm, as in NIfTI; None where files do not say.
        like: A NIfTI file on the same grid; None for other files.
    """

    case: str
    names: tuple[str, ...]
    masks: NDArray[np.uint8]
    spacing_mm: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = None
    like: Path | None = None

    @property
    def unit(self) -> str:
        """The unit of sizes: "mm²", "mm³", or "pixels" where the files do not say."""
        if self.spacing_mm is None:
            return "pixels"
        return "mm²" if len(self.spacing_mm) == 2 else "mm³"


def matched_folders(readers: Path, masks: Path, layout: Layout | None = None) -> tuple[Files, Files]:
    """The files of two folders by case: read in the one way in which their cases have the same names.

    Args:
        readers: The folder of the readers' masks.
        masks: The folder of the other masks.
        layout: How both are to be read; None: as the names tell.

    Returns:
        The files of each folder, of the cases that both have.

    Raises:
        InputError: A folder has no masks, no case is in both, or the names tell two ways.
    """
    ways = [(one, other) for one in _ways(readers, layout) for other in _ways(masks, layout)]
    pairs = [pair for pair in ways if pair[0].keys() & pair[1].keys()]
    if not pairs:
        raise InputError(
            f"No case is in both {readers} and {masks}: expected the same names of folders or files, such as CASE/NAME.png, "
            f"NAME/CASE.png, CASE_NAME.png or CASE.npz; got {_some(ways[0][0])} and {_some(ways[0][1])}."
        )
    ranked = sorted(pairs, key=_doubt)
    best = [pair for pair in ranked if _doubt(pair) == _doubt(ranked[0])]
    one, other = best[0]
    if any(pair != best[0] for pair in best):
        raise InputError(
            f"The names in {readers} and {masks} can be read in two ways ({_some(one)}, or {_some(best[1][0])}): say "
            f"which with `layout`, {', '.join(LAYOUTS)}."
        )
    common = sorted(one.keys() & other.keys(), key=natural)
    return {case: one[case] for case in common}, {case: other[case] for case in common}


def folder_cases(folder: Path, layout: Layout | None = None) -> Files:
    """The files of one folder by case; if no layout is given, in the way in which the most cases have several masks."""
    return max(_ways(folder, layout), key=lambda way: sum(len(files) > 1 or _packed(files) for files in way.values()))


def _doubt(pair: tuple[Files, Files]) -> tuple[int, int]:
    """How little speaks for a way to read two folders: cases that only one of them has, and before that single masks."""
    one, other = pair
    common = one.keys() & other.keys()
    alone = common == {""} or not any(len(way[case]) > 1 or _packed(way[case]) for way in pair for case in common)
    if alone:
        return 2, 0
    complete = one.keys() == other.keys()
    return (0, 0) if complete else (1, -len(common))


def read_masks(case: str, files: Mapping[str, Path]) -> MaskSet:
    """The masks of one case.

    Args:
        case: Its name.
        files: The file of each mask, by its name; or one npz file with all of them.

    Raises:
        DataError: A file is damaged, holds no labels, or does not lie on the grid of the others.
    """
    read: list[tuple[str, MaskSet]] = []
    for name, path in files.items():
        found = _npz(path) if _is_npz(path) else _png(path) if path.name.lower().endswith(".png") else _nifti(path)
        read.append((name, found))
    first_path, first = next(iter(files.values())), read[0][1]
    for (_, one), path in zip(read, files.values(), strict=True):
        same = one.affine is None or first.affine is None or np.allclose(one.affine, first.affine, atol=NEAR)
        if one.masks.shape[1:] != first.masks.shape[1:] or not same:
            raise DataError(
                f"{path} does not lie on the grid of {first_path}: expected masks of one image on its grid."
            )
    several = len(read) == 1 and len(first.masks) != 1
    names = [f"{n}" for n in range(len(first.masks))] if several else [name for name, _ in read]
    return MaskSet(
        case, tuple(names), np.concatenate([one.masks for _, one in read]), first.spacing_mm, first.affine, first.like
    )


def common_unit(units: Iterable[str]) -> str:
    """The unit of sizes of several cases: pixels if any has no other, mm³ if any is a volume."""
    found = set(units)
    return "pixels" if "pixels" in found else "mm³" if "mm³" in found else "mm²"


def check_labels(masks: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    """Label maps as bytes; in a mask of 0 and 255, 255 (white) is 1. Raises DataError for what are no labels."""
    values = np.unique(masks)
    if not np.isfinite(values.astype(float)).all() or (values != np.round(values.astype(float))).any():
        raise DataError(
            f"{where} holds numbers that are no labels, such as {values[-1]:g}: expected masks of whole numbers."
        )
    if values.tolist() == [0, IGNORE]:
        return (masks != 0).astype(np.uint8)
    if values[0] < 0 or values[-1] > IGNORE:
        raise DataError(
            f"{where} holds the label {values[-1] if values[0] >= 0 else values[0]:g}: expected 0 to {IGNORE}."
        )
    return masks.astype(np.uint8)


def _ways(folder: Path, layout: Layout | None = None) -> list[Files]:
    """All ways to read a folder, or the one that is asked for."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: expected one with masks.")
    flat = [(_stem(path), path) for path in _files(folder)]
    inside = {place.name: _files(place) for place in sorted(folder.iterdir()) if place.is_dir()}
    nested = {name: files for name, files in inside.items() if files}
    ways: dict[Layout, Files] = {}
    if nested:
        ways["case/mask"] = {case: {_stem(path): path for path in files} for case, files in nested.items()}
        ways["mask/case"] = _grouped((_stem(path), name, path) for name, files in nested.items() for path in files)
    if flat:
        ways["case"] = {stem: {"": path} for stem, path in flat}
        parts = [(stem.rpartition("_"), path) for stem, path in flat]
        if all(case and name for (case, _, name), _ in parts):
            ways["case_mask"] = _grouped((case, name, path) for (case, _, name), path in parts)
        ways["mask"] = {"": dict(flat)}
    if not ways:
        raise InputError(f"{folder} has no masks: expected NIfTI, PNG or npz files, in it or in folders of it.")
    if layout is not None and layout not in ways:
        raise InputError(f"{folder} cannot be read as {layout}: expected files named so; choose another `layout`.")
    return list(ways.values()) if layout is None else [ways[layout]]


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.name.lower().endswith(KINDS) and not path.name.startswith(".")]
    return sorted(found, key=lambda path: natural(path.name))


def _stem(path: Path) -> str:
    return path.name[: -len(next(kind for kind in KINDS if path.name.lower().endswith(kind)))]


def _grouped(found: Iterable[tuple[str, str, Path]]) -> Files:
    """Files by case and name."""
    cases: dict[str, dict[str, Path]] = {}
    for case, name, path in found:
        cases.setdefault(case, {})[name] = path
    return cases


def _packed(files: Mapping[str, Path]) -> bool:
    return any(_is_npz(path) for path in files.values())


def _is_npz(path: Path) -> bool:
    return path.name.lower().endswith(".npz")


def _some(files: Files) -> str:
    names: Sequence[str] = sorted(files, key=natural)
    return f"{counted(len(names), 'case')} such as {names[0]!r}"


def _nifti(path: Path) -> MaskSet:
    volume = read_volume(path)
    masks = check_labels(volume.array, str(path))
    flat = len(masks) == 1
    spacing = volume.spacing_mm[1:] if flat else volume.spacing_mm
    return MaskSet("", ("",), masks if flat else masks[None], spacing, volume.affine, path)


def _png(path: Path) -> MaskSet:
    return MaskSet("", ("",), check_labels(read_pixels(path, GREY, "mask"), str(path))[None])


def _npz(path: Path) -> MaskSet:
    with load_npz(path) as arrays:
        if "masks" not in arrays:
            raise DataError(f"{path} has no array 'masks': expected masks [N, H, W] or [N, Z, H, W].")
        masks = arrays["masks"]
    if masks.ndim not in (3, 4) or not masks.size:
        raise DataError(f"{path} holds masks of the shape {list(masks.shape)}: expected [N, H, W] or [N, Z, H, W].")
    return MaskSet("", ("",), check_labels(masks, str(path)))


Progress = Callable[[int, int], None]
