"""Seats of readers: one place among the masks of every crop for each named reader, wherever the data put that reader's mask.

Data may say who drew for each image anew. A store has one reader for mask number r of all crops, so each name gets a seat;
a reader who did not read an image is absent there. Masks without a name get seats without one, as many as an image needs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ...counted import counted
from ...documents import shown
from ...errors import DataError
from ...store.manifest import LONGEST_NAME
from ...store.store_crop import Crop
from .pack import natural

Names = Sequence[str | None]  # of an image's readers; "" for one without a name, None for one who is not there


def names_of(texts: Sequence[str], word: str) -> tuple[str, ...]:
    """Readers' names in those of files or columns, which begin with a word: what follows it, or reader_1 for a number.

    >>> names_of(["mask_anna", "mask_2"], "mask")
    ('anna', 'reader_2')
    """
    rests = [text.removeprefix(word).strip("_- .") for text in texts]
    names = tuple(rest if rest and not rest.isdigit() else f"reader_{rest}".rstrip("_") for rest in rests)
    return names if len(set(names)) == len(names) else tuple(texts)


def seats_for(images: Iterable[tuple[str, Names]]) -> tuple[str, ...]:
    """The seats that some images need: the names in their natural order, then "" for each seat without a name.

    Args:
        images: What to call each image in a message, and the names of its readers.

    Raises:
        DataError: A reader has two masks of one image, or a name is no line of at most `LONGEST_NAME` characters.
    """
    names: set[str] = set()
    unnamed = 0
    for image, readers in images:
        count = Counter(readers)
        unnamed = max(unnamed, count.pop("", 0))
        count.pop(None, None)
        for name, times in count.items():
            if times > 1:
                raise DataError(f"{image} has {times} masks of reader {shown(repr(name))}: keep one of them.")
            names.add(str(name))
    for name in names:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise DataError(
                f"The reader's name {shown(repr(name))} is not a line of at most {LONGEST_NAME} characters: correct it."
            )
    return (*sorted(names, key=natural), *[""] * unnamed)


def check_all_named(named: Sequence[bool], what: str) -> None:
    """Raise a DataError where some of several files or groups, which are `what`, say who drew and others do not."""
    if len(set(named)) > 1:
        raise DataError(f"Some of the {what} have readers' names and others none: give `readers` in all or in none.")


def places_of(readers: Names, seats: Sequence[str]) -> list[int | None]:
    """The seat of each of an image's readers; None for one who is not there."""
    free = iter([seat for seat, name in enumerate(seats) if not name])
    return [None if name is None else seats.index(name) if name else next(free) for name in readers]


def seated(crop: Crop, readers: Names, seats: Sequence[str]) -> Crop:
    """A crop whose masks [R, H, W] are put on their readers' seats; the others' are empty, and they are absent."""
    if list(readers) == list(seats):
        return crop
    masks = np.zeros((len(seats), *crop.masks.shape[1:]), crop.masks.dtype)
    present = np.zeros(len(seats), bool)
    for number, place in enumerate(places_of(readers, seats)):
        if place is not None:
            masks[place], present[place] = crop.masks[number], crop.readers[number]
    return replace(crop, masks=masks, present=present)


def naming_note(seats: Sequence[str], certain: bool = False) -> list[str]:
    """What to say of a data set whose masks have these readers; nothing where none has a name.

    certain: whether the user said that these are names.
    """
    named = [name for name in seats if name]
    if not named:
        return []
    others = len(seats) - len(named)
    more = f", and {counted(others, 'mask')} without a name" if others else ""
    doubt = " If these names or numbers are given anew in each image, set `readers` to anonymous."
    return [f"The store keeps who drew: {', '.join(named)}{more}.{'' if certain else doubt}"]
