"""Finished parts of a long preprocessing: one file per case, whole or absent, from which a killed run goes on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..archive import BROKEN_ARRAY
from ..documents import json_text, parse_json
from ..errors import DataError
from ..files import whole_file
from .store_crop import Crop

AGAIN = "delete it, and the same command makes it again"
UNREADABLE = (*BROKEN_ARRAY, AttributeError)
FORMAT = 2  # raise it when the same input and settings give other crops


def part_name(case: str, *made_from: object) -> str:
    """A file name for the crops of `case`: another one whenever what they are made from differs."""
    text = json.dumps([FORMAT, case, *made_from], sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


def save_part(path: Path, crops: Sequence[Crop], notes: Mapping[str, int]) -> None:
    """Write a case's crops (binary masks, images of one shape) and its notes."""
    rows = [{key: value for key, value in vars(crop).items() if key not in ("image", "masks")} for crop in crops]
    arrays: dict[str, NDArray[Any]] = {}
    if crops:
        masks = np.stack([crop.masks for crop in crops])
        arrays = {"images": np.stack([crop.image for crop in crops]), "masks": np.packbits(masks, axis=-1)}
    with whole_file(path) as aside:
        np.savez(aside, text=np.array(json_text({"rows": rows, "notes": notes})), **arrays)  # type: ignore[arg-type]


def load_part(path: Path) -> list[Crop]:
    """The crops of a part. Raises DataError where it is damaged."""
    with _opened(path) as part:
        rows = _text(path, part).rows
        if not rows:
            return []
        images = part["images"]
        masks = np.unpackbits(part["masks"], axis=-1, count=images.shape[-1])
        return [Crop(image, mask, **row) for image, mask, row in zip(images, masks, rows, strict=True)]


def load_notes(path: Path) -> dict[str, int]:
    """The notes of a part. Raises DataError where it is damaged."""
    with _opened(path) as part:
        return _text(path, part).notes


@dataclass(frozen=True)
class _Text:
    rows: list[dict[str, Any]]
    notes: dict[str, int]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A part's arrays, for the block; what numpy says of damage becomes a DataError."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as part:
            yield part
    except UNREADABLE as error:
        raise DataError(f"{path} is damaged: {AGAIN}.") from error


def _text(path: Path, part: Any) -> _Text:
    return parse_json(part["text"].item(), _Text, str(path), AGAIN)
