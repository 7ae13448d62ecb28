"""Finished parts of a long preprocessing: a file a case, whole or absent, from which a killed run goes on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .files import whole_file
from .store_writer import Crop

FORMAT = 1  # raise it when the same input and settings give other crops


def part_name(case: str, *made_from: Any) -> str:
    """A file name for the crops of `case`: another one whenever what they are made from differs."""
    text = json.dumps([FORMAT, case, *made_from], sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


def save_part(path: Path, crops: Sequence[Crop], notes: Mapping[str, Any]) -> None:
    """Write a case's crops (binary masks, images of one shape) and what else is to be kept of it."""
    rows = [{key: value for key, value in vars(crop).items() if key not in ("image", "masks")} for crop in crops]
    arrays: dict[str, Any] = {}
    if crops:
        masks = np.stack([crop.masks for crop in crops])
        arrays = {"images": np.stack([crop.image for crop in crops]), "masks": np.packbits(masks, axis=-1)}
    with whole_file(path) as aside:
        np.savez(aside, text=json.dumps({"rows": rows, "notes": dict(notes)}), **arrays)


def load_part(path: Path) -> list[Crop]:
    """The crops of a part."""
    with np.load(path, allow_pickle=False) as part:
        rows = json.loads(part["text"].item())["rows"]
        if not rows:
            return []
        images = part["images"]
        masks = np.unpackbits(part["masks"], axis=-1, count=images.shape[-1])
    return [Crop(image, mask, **row) for image, mask, row in zip(images, masks, rows, strict=True)]


def load_notes(path: Path) -> dict[str, Any]:
    """The notes of a part."""
    with np.load(path, allow_pickle=False) as part:
        return json.loads(part["text"].item())["notes"]
