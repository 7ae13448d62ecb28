"""The digits of MNIST, read from its four IDX files, and digits held out of others.

IDX is the format in which MNIST is distributed (yann.lecun.com/exdb/mnist). A file begins with two zero bytes, the code of
its number type and the number n of its axes. Then come n big-endian 32-bit lengths and the numbers themselves, the last
axis running fastest. Only unsigned bytes (code 8) are read here.
"""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, InputError
from ...names import GZIP, has_suffix

UNSIGNED_BYTES = 8
Part = Literal["train", "t10k"]


@dataclass(frozen=True)
class Digits:
    """Grey digits [N, H, W] (uint8, 0 background), what each shows, [N] in 0..9, and its position in its file, [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    positions: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, which: NDArray[np.intp]) -> "Digits":
        """Those at the given indices."""
        return Digits(self.images[which], self.labels[which], self.positions[which])


def read_digits(folder: Path, part: Part) -> Digits | None:
    """MNIST's training ("train") or test ("t10k") digits from a folder; None when both files of the part are missing.

    A file may be compressed or not, and be named `train-images-idx3-ubyte` or `train-images.idx3-ubyte`. Raises
    `InputError` when one of the two is missing, `DataError` when they are damaged or do not belong together.
    """
    images_file, labels_file = _find(folder, f"{part}-images", "idx3"), _find(folder, f"{part}-labels", "idx1")
    if images_file is None and labels_file is None:
        return None
    if images_file is None or labels_file is None:
        lacking = f"{part}-images-idx3-ubyte" if images_file is None else f"{part}-labels-idx1-ubyte"
        raise InputError(f"{folder} lacks {lacking}(.gz): digits need both images and labels; add that file.")
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or labels.ndim != 1:
        raise DataError(
            f"{images_file.name} and {labels_file.name} have {images.ndim} and {labels.ndim} axes: expected 3 and 1."
        )
    if len(images) != len(labels):
        raise DataError(
            f"{images_file.name} holds {len(images)} digits, {labels_file.name} {len(labels)} labels: expected as many "
            "of both; get the two files of one data set."
        )
    found = np.unique(labels).tolist()
    if found != list(range(10)):
        raise DataError(f"{labels_file.name} holds the labels {found}: expected every digit from 0 to 9, and no other.")
    return Digits(images, labels, np.arange(len(labels)))


def hold_out(digits: Digits, share: float, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Digits divided at random into the rest and the held out: a `share` of each of the ten, one at least.

    Both keep the order of the file. Raises `DataError` when a digit occurs only once.
    """
    held = np.zeros(len(digits), bool)
    for digit in range(10):
        here = rng.permutation(np.flatnonzero(digits.labels == digit))
        if len(here) < 2:
            raise DataError(f"There are too few examples of the digit {digit} to hold some out: give more digits.")
        held[here[: max(1, round(share * len(here)))]] = True
    return digits.at(np.flatnonzero(~held)), digits.at(np.flatnonzero(held))


def _find(folder: Path, stem: str, kind: str) -> Path | None:
    """The first of a file's usual names that is there."""
    names = (f"{stem}{dot}{kind}-ubyte{packed}" for packed in ("", GZIP) for dot in ("-", "."))
    found = {path.name.lower(): path for path in folder.iterdir() if path.is_file()}
    return next((found[name] for name in names if name in found), None)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, also of one compressed by gzip (named `*.gz`).

    Raises `DataError` when the file is of another format, holds other numbers, or has more or fewer than it says.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path} does not begin as an IDX file does: expected MNIST's files as they are distributed.")
    kind, axes = content[2], content[3]
    if kind != UNSIGNED_BYTES:
        raise DataError(
            f"{path} holds numbers of the IDX type {kind}: expected unsigned bytes (type {UNSIGNED_BYTES})."
        )
    begin = 4 + 4 * axes
    if len(content) < begin:
        raise DataError(f"{path} is cut off within its header: get it again.")
    shape = struct.unpack(f">{axes}I", content[4:begin])
    whole = begin + math.prod(shape)
    if len(content) != whole:
        raise DataError(f"{path} has {len(content)} bytes where its header says {whole}: it is damaged, get it again.")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not has_suffix(path, GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: it is damaged, get it again.") from error
