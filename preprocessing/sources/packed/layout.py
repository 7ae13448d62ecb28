"""Patterns that say which files of a folder are images and which are readers' masks of them.

    {split}/{patient}/image_{slice}.png      an image
    {split}/{patient}/mask_{slice}_{reader}.png      a reader's mask of it

A field in braces stands for any text within one name of the path; `{slice:[0-9]+}` for what fits a regular expression; `*`
for anything. `{split}` fits train, val and test alone (also training, validation, testing, and after `_` or `-`). A mask
belongs to the image that has the same fields.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...counted import counted
from ...documents import shown
from ...errors import DataError, InputError, UsageError
from ...names import is_hidden
from .pack import natural

FIELDS = ("split", "patient", "case", "lesion", "slice", "z", "reader", "task")
SPLIT = r"(?:[^/]*[-_])?(?i:train|training|val|valid|validation|test|testing)"
# What stands in {reader}'s place in an image's name, where one pattern says both.
IMAGE = ("image", "images", "img", "scan")
_WORD = re.compile(rf"(?<![^/_.-])(?:{'|'.join(IMAGE)})(?![^/_.-])")
MOST_FILES = 2_000_000
Where = tuple[Path, tuple[str, ...]]  # a folder, and the fields by which masks find their image


@dataclass(frozen=True)
class Layout:
    """A layout: its name for messages, and the expressions that images' and masks' places below the top must fit."""

    name: str
    image: re.Pattern[str]
    mask: re.Pattern[str]

    @property
    def shared(self) -> tuple[str, ...]:
        """The fields by which masks find their image."""
        both = self.image.groupindex.keys() & self.mask.groupindex.keys()
        return tuple(name for name in FIELDS if name in both and name != "reader")


@dataclass(frozen=True)
class Found:
    """An image with its readers' masks, None for an absent reader; `fields` are those of its place below `top`."""

    top: Path
    file: Path
    fields: Mapping[str, str]
    masks: tuple[Path | None, ...]


@dataclass(frozen=True)
class Matches:
    """All images of a layout that have masks, in their natural order, the readers' names, and what was left out."""

    images: Sequence[Found]
    readers: Sequence[str]
    without_mask: Sequence[str]
    without_image: Sequence[str]


def layout_of(patterns: Sequence[str]) -> Layout:
    """The layout that a user's patterns say: of images and of masks, in one text with `;` or in two.

    A single pattern with `{reader}` fits both: what has the word image in that place is the image. So does a single one
    with that word and without `{reader}`.

    Raises `UsageError` when they cannot be understood.
    """
    parts = [part.strip() for pattern in patterns for part in pattern.split(";") if part.strip()]
    if len(parts) == 1 and "{reader" not in parts[0]:
        parts = [_WORD.sub("{reader}", parts[0], count=1)]
    if len(parts) == 1 and "{reader" in parts[0]:
        image = re.sub(r"\{reader(:[^{}]*)?\}", "{image!}", parts[0])
        return Layout("`layout`", compiled(image), compiled(parts[0], no_image=True))
    masks = [part for part in parts if "{reader" in part]
    images = [part for part in parts if part not in masks]
    if len(masks) != 1 or len(images) != 1:
        raise UsageError(
            f"`layout` {shown(repr('; '.join(parts)))} is not understood: expected one pattern of the images and one of the "
            "masks with {reader}, such as '{patient}/image_{slice}.png;{patient}/mask_{slice}_{reader}.png'."
        )
    return Layout("`layout`", compiled(images[0]), compiled(masks[0]))


def compiled(pattern: str, no_image: bool = False, split_first: bool = False) -> re.Pattern[str]:
    """A pattern as a regular expression; `split_first` allows a folder `{split}` before it."""
    parts, seen = [f"(?:(?P<split>{SPLIT})/)?"] if split_first else [], set()
    for token in _tokens(pattern):
        if token == "*":
            parts.append("[^/]*")
        elif token == "{image!}":
            parts.append(f"(?i:{'|'.join(IMAGE)})")
        elif token.startswith("{"):
            name, _, own = token[1:-1].partition(":")
            if name not in FIELDS:
                raise UsageError(f"`layout` has a field {shown(repr(name))}: expected one of {', '.join(FIELDS)}.")
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{own or _usual(name, no_image)})")
            seen.add(name)
        else:
            parts.append(re.escape(token))
    try:
        return re.compile("".join(parts))
    except re.error as error:
        raise UsageError(
            f"`layout` {shown(repr(pattern))} has an expression that is none ({error}): correct it."
        ) from error


def _usual(name: str, no_image: bool) -> str:
    if name == "split":
        return SPLIT
    if name == "reader":
        return (rf"(?!(?i:{'|'.join(IMAGE)})(?![^/_.]))" if no_image else "") + "[^/]+?"
    return r"-?\d+(?:\.\d+)?" if name == "z" else "[^/]+"


def _tokens(pattern: str) -> list[str]:
    """Fields with their braces, stars, and the text between them."""
    tokens, depth = [""], 0
    for letter in pattern:
        if not depth and letter in "{*":
            tokens.append("")
        tokens[-1] += letter
        depth += (letter == "{") - (letter == "}")
        if not depth and letter in "}*":
            tokens.append("")
    if depth:
        raise UsageError(
            f"`layout` {shown(repr(pattern))} has a brace without its partner: write fields as {{patient}}."
        )
    return [token for token in tokens if token]


def files_below(top: Path) -> list[str]:
    """The places of all files below a folder, in their natural order, without the system's own."""
    found: list[str] = []
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not is_hidden(Path(name))]
        within = Path(folder).relative_to(top)
        found += [(within / name).as_posix() for name in files if not is_hidden(Path(name))]
        if len(found) > MOST_FILES:
            raise UsageError(f"{top} holds more than {MOST_FILES:,} files: give a folder of the images alone.")
    return sorted(found, key=natural)


def fits(layout: Layout, places: Sequence[str]) -> bool:
    """Whether a folder with these files has images and masks of a layout."""
    return any(map(layout.image.fullmatch, places)) and any(map(layout.mask.fullmatch, places))


def match(layout: Layout, tops: Mapping[Path, Sequence[str]]) -> Matches:
    """The images below some folders, each with the places of its files, and their masks.

    Raises:
        InputError: No file is an image of the layout, or none a mask.
        UsageError: A file could be both, or two files the same.
    """
    _check_some(layout, tops)
    _check_one_task(layout, tops)
    images: dict[Where, tuple[str, Mapping[str, str]]] = {}
    masks: dict[Where, dict[str, str]] = {}
    for top, places in tops.items():
        for place in places:
            image, mask = layout.image.fullmatch(place), layout.mask.fullmatch(place)
            if image and mask:
                raise UsageError(
                    f"{place} fits both patterns of {layout.name}, that of the images and that of the masks: tell them apart, "
                    "as by {slice:[0-9]+}."
                )
            if image:
                _add_image(layout, images, (top, _key(layout, image)), place, image)
            if mask:
                _add_mask(layout, masks.setdefault((top, _key(layout, mask)), {}), place, mask)
    readers = sorted({reader for drawn in masks.values() for reader in drawn}, key=natural)
    found = [
        Found(top, top / place, fields, tuple(_within(top, masks[top, key].get(reader)) for reader in readers))
        for (top, key), (place, fields) in images.items()
        if (top, key) in masks
    ]
    alone = [place for where, (place, _) in images.items() if where not in masks]
    lost = [place for where, drawn in masks.items() if where not in images for place in drawn.values()]
    if not found:
        raise InputError(
            f"Under {next(iter(tops))} no mask belongs to an image by {layout.name}: the image {alone[0]} and the mask "
            f"{lost[0]} differ in {' or '.join(layout.shared) or 'all fields'}."
        )
    return Matches(found, readers, alone, lost)


def _key(layout: Layout, found: re.Match[str]) -> tuple[str, ...]:
    return tuple(found[name] or "" for name in layout.shared)


def _within(top: Path, place: str | None) -> Path | None:
    return None if place is None else top / place


def _add_image(
    layout: Layout,
    images: dict[Where, tuple[str, Mapping[str, str]]],
    where: Where,
    place: str,
    found: re.Match[str],
) -> None:
    if where in images:
        raise DataError(
            f"{images[where][0]} and {place} have the same {', '.join(layout.shared) or 'fields'} by {layout.name}, so masks "
            "would belong to both: add a field that tells them apart."
        )
    images[where] = place, {name: value for name, value in found.groupdict().items() if value}


def _add_mask(layout: Layout, drawn: dict[str, str], place: str, found: re.Match[str]) -> None:
    reader = found["reader"]
    if reader in drawn:
        raise DataError(f"{drawn[reader]} and {place} are both the mask of reader {reader} by {layout.name}: keep one.")
    drawn[reader] = place


def _check_one_task(layout: Layout, tops: Mapping[Path, Sequence[str]]) -> None:
    if "task" not in layout.mask.groupindex:
        return
    tasks = sorted(
        {found["task"] for places in tops.values() for place in places if (found := layout.mask.fullmatch(place))}
    )
    if len(tasks) > 1:
        raise UsageError(
            f"The masks are of the tasks {', '.join(tasks)}, which are different things: choose one with `layout`, such as "
            f"'{{case}}/image.nii.gz;{{case}}/task{tasks[0]}_seg{{reader}}.nii.gz'."
        )


def _check_some(layout: Layout, tops: Mapping[Path, Sequence[str]]) -> None:
    for what, pattern in (("images", layout.image), ("masks", layout.mask)):
        if any(pattern.fullmatch(place) for places in tops.values() for place in places):
            continue
        top, places = next(iter(tops.items()))
        first = f"the first of its {counted(len(places), 'file')} is {places[0]}" if places else "it holds no files"
        raise InputError(f"No file under {top} fits the pattern of the {what} in {layout.name}: {first}.")
