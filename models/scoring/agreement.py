"""How far readers agree: overlaps of every pair, sizes, and Fleiss' kappa of whether there is anything at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.lesion_rows import pixel_mm
from ambiseg.preprocessing.store.store import Store

from ..core.overlap import comparable, pairwise_dice, pairwise_iou
from ..metrics.summary import NAN, mean_of_defined
from .mask_sets import Layout, MaskSet, Progress, common_unit, folder_cases, read_masks


@dataclass(frozen=True)
class Reading:
    """One image: who read it, and what they marked.

    Attributes:
        readers: Names of those who read it [R].
        sizes: What each marked, in `unit`s of the whole; 0 for an empty mask [R].
        dice: Of each pair [R, R].
        iou: Of each pair [R, R].
    """

    readers: tuple[str, ...]
    sizes: NDArray[np.float64]
    dice: NDArray[np.float64]
    iou: NDArray[np.float64]


class ReaderRow(BaseModel):
    """One reader: images read, share of them in which something was marked, mean size, mean Dice with the others."""

    model_config = ConfigDict(frozen=True)

    reader: str
    images: int
    marked: float
    mean_size: float | None
    dice: float | None


class PairRow(BaseModel):
    """Two readers on the images that both read.

    Attributes:
        first: A reader.
        second: The other one.
        images: Read by both.
        dice: Mean; 1 where both marked nothing.
        iou: The same.
        dice_if_both: Mean over the images in which both marked something.
        size_difference: Mean of second less first, over the images in which both marked something.
        relative_difference: Mean of |second - first| over their mean, over the same images.
    """

    model_config = ConfigDict(frozen=True)

    first: str
    second: str
    images: int
    dice: float | None
    iou: float | None
    dice_if_both: float | None
    size_difference: float | None
    relative_difference: float | None


class Agreement(BaseModel):
    """The content of readers.json.

    Attributes:
        data: What was read.
        images: How many, of those that two readers or more read.
        unit: Of sizes: "mm²", "mm³" or "pixels".
        named: Whether a name stands for one person throughout; else readers are numbered image by image.
        kappa: Fleiss' kappa of presence; null where readers never differ and never agree by chance.
        all_agree: Share of the images in which all readers agree on whether there is anything.
        dice: Mean over images of the mean over pairs.
        iou: The same.
        relative_difference: The same of sizes, where both marked something.
        readers: One by one.
        pairs: Two by two.
    """

    model_config = ConfigDict(frozen=True)

    data: str
    images: int
    unit: str
    named: bool
    kappa: float | None
    all_agree: float
    dice: float | None
    iou: float | None
    relative_difference: float | None
    readers: list[ReaderRow]
    pairs: list[PairRow]


def readers_agreement(
    data: Store | Path | str,
    split: str = "all",
    *,
    layout: Layout | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Agreement:
    """How far the readers of a data set agree.

    Args:
        data: A store, its folder, or a folder of masks (see `mask_sets`).
        split: "train", "val", "test" or "all" of a store.
        layout: How a folder of masks is to be read; None: as the names tell.
        on_progress: Called with (images done, images in all).

    Returns:
        Overlaps and sizes by reader and by pair, and Fleiss' kappa of presence.

    Raises:
        InputError: There is nothing to read.
        DataError: No image has two readers, or the store has modes of known probability instead of readers.
    """
    if isinstance(data, Store) or (Path(data) / "manifest.json").is_file():
        store = data if isinstance(data, Store) else Store.open(data)
        if store.manifest.known_odds:
            raise DataError(
                f"{store.path} holds all masks that can be drawn, and no readers: choose data with readers."
            )
        rows = store.rows(split)
        readings = _counted((_of_row(store, int(row)) for row in rows), len(rows), on_progress)
        unit = "pixels" if any(pixel_mm(store, int(row)) is None for row in rows) else "mm²"
        return agreement(
            store.manifest.name, list(readings), unit, named=bool(store.reader_names) and all(store.reader_names)
        )
    cases = folder_cases(Path(data), layout)
    found: list[Reading] = []
    units: set[str] = set()
    for case, files in cases.items():  # one at a time: volumes take much memory
        masks = read_masks(case, files)
        found.append(_of_set(masks))
        units.add(masks.unit)
        on_progress(len(found), len(cases))
    return agreement(Path(data).name, found, common_unit(units), named=True)


def agreement(data: str, readings: Sequence[Reading], unit: str, *, named: bool) -> Agreement:
    """The agreement of readers on some images, of which those with two readers or more count."""
    readings = [one for one in readings if len(one.readers) > 1]
    if not readings:
        raise DataError(f"No image of {data} has two readers: there is nothing to compare.")
    names = list(dict.fromkeys(name for one in readings for name in one.readers))
    presence = np.array([[(one.sizes == 0).sum(), (one.sizes > 0).sum()] for one in readings])
    kappa = fleiss_kappa(presence)
    pairs = [_pair(first, second, readings) for first, second in combinations(names, 2)]
    of_pairs = [_means(one) for one in readings]
    dice, iou, apart = (mean_of_defined(list(values)) for values in zip(*of_pairs, strict=True))
    return Agreement(
        data=data,
        images=len(readings),
        unit=unit,
        named=named,
        kappa=_known(kappa),
        all_agree=float((presence == 0).any(1).mean()),
        dice=_known(dice),
        iou=_known(iou),
        relative_difference=_known(apart),
        readers=[_reader(name, readings) for name in names],
        pairs=[pair for pair in pairs if pair.images],
    )


def fleiss_kappa(counts: NDArray[np.integer]) -> float:
    """Fleiss' kappa (Fleiss 1971): agreement beyond chance; 1 is perfect, 0 what chance gives.

    Subjects may have different numbers of raters, as where a reader is absent; those with fewer than two are left out.

    Args:
        counts: How many raters put each subject into each category [N, K].

    Returns:
        Kappa; nan where all raters always use one category.

    Example:
        >>> fleiss_kappa(np.array([[4, 0], [0, 4], [4, 0]]))
        1.0
    """
    raters = counts.sum(1)
    counts, raters = counts[raters > 1], raters[raters > 1]
    if not len(counts):
        return NAN
    observed = float((((counts**2).sum(1) - raters) / (raters * (raters - 1))).mean())
    chance = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return NAN if chance == 1 else (observed - chance) / (1 - chance)


def _counted(readings: Iterator[Reading], total: int, on_progress: Progress) -> Iterator[Reading]:
    for done, one in enumerate(readings, 1):
        yield one
        on_progress(done, total)


def _of_row(store: Store, row: int) -> Reading:
    here = np.flatnonzero(store.present[row])
    masks = store.masks(np.array([row]))[0][here]
    size = pixel_mm(store, row)
    names = store.reader_names or [""] * store.readers
    who = tuple(names[number] or f"reader {number + 1}" for number in here)
    return _reading(who, masks, 1.0 if size is None else size[0] * size[1])


def _of_set(one: MaskSet) -> Reading:
    return _reading(one.names, one.masks, 1.0 if one.spacing_mm is None else float(np.prod(one.spacing_mm)))


def _reading(readers: tuple[str, ...], masks: NDArray[np.uint8], size: float) -> Reading:
    if not readers:
        return Reading((), np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)))
    masks = np.asarray(comparable(masks, masks)[1])
    sizes = np.count_nonzero(masks.reshape(len(masks), -1), axis=1) * size
    return Reading(readers, sizes, pairwise_dice(masks), pairwise_iou(masks))


def _means(one: Reading) -> tuple[float, float, float]:
    """Mean Dice and IoU of all pairs of an image, and mean relative difference of sizes where both marked something."""
    pairs = np.triu_indices(len(one.readers), 1)
    return (
        float(one.dice[pairs].mean()),
        float(one.iou[pairs].mean()),
        mean_of_defined([_relative(one.sizes[i], one.sizes[j]) for i, j in zip(*pairs, strict=True)]),
    )


def _relative(first: float, second: float) -> float:
    return NAN if not first or not second else 2 * abs(second - first) / (first + second)


def _reader(name: str, readings: Sequence[Reading]) -> ReaderRow:
    mine = [(one, one.readers.index(name)) for one in readings if name in one.readers]
    sizes = np.array([one.sizes[place] for one, place in mine])
    others = [np.delete(one.dice[place], place).mean() for one, place in mine]
    marked = sizes > 0
    return ReaderRow(
        reader=name,
        images=len(mine),
        marked=float(marked.mean()),
        mean_size=float(sizes[marked].mean()) if marked.any() else None,
        dice=float(np.mean(others)),
    )


def _pair(first: str, second: str, readings: Sequence[Reading]) -> PairRow:
    both = [
        (one, one.readers.index(first), one.readers.index(second))
        for one in readings
        if first in one.readers and second in one.readers
    ]
    dice, iou = ([float(getattr(one, kind)[i, j]) for one, i, j in both] for kind in ("dice", "iou"))
    sizes = [(float(one.sizes[i]), float(one.sizes[j])) for one, i, j in both]
    marked = [number for number, pair in enumerate(sizes) if min(pair) > 0]
    return PairRow(
        first=first,
        second=second,
        images=len(both),
        dice=_known(mean_of_defined(dice)),
        iou=_known(mean_of_defined(iou)),
        dice_if_both=_known(mean_of_defined([dice[number] for number in marked])),
        size_difference=_known(mean_of_defined([sizes[number][1] - sizes[number][0] for number in marked])),
        relative_difference=_known(mean_of_defined([_relative(*sizes[number]) for number in marked])),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
