"""Boxes around lesions that MONAI's detection bundles and tutorials wrote (lung_nodule_ct_detection; retina net on LUNA16).

They give one entry per image: boxes as centre and size (MONAI's "cccwhd") in mm in the world coordinates of ITK, which are
LPS, as LUNA16's annotations are, and a score for each. Names of keys differ between bundle, tutorial and versions.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, FiniteFloat

from ..counted import counted
from ..documents import checked, parse_json
from ..errors import DataError, InputError, NothingFound
from ..names import scan_name
from .slicer_points import NamedPoint

EXPECTED = 'expected the "box" (centre and size, cccwhd) and the scores of each image, as MONAI writes them'
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class Detections(BaseModel):
    """The boxes of one image."""

    model_config = ConfigDict(extra="ignore")

    boxes: list[Box] = Field(validation_alias=AliasChoices("box", "pred_box"))
    scores: list[FiniteFloat] | None = Field(None, validation_alias=AliasChoices("score", "label_scores", "pred_score"))
    image: str = ""


def is_detections(content: bytes) -> bool:
    """Whether a file is JSON, and no list of 3D Slicer.

    Example:
        >>> is_detections(b'[{"box": []}]'), is_detections(b'{"markups": []}'), is_detections(b"x,y,z")
        (True, False, False)
    """
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith((b"[", b"{")) and b'"markups"' not in content


def detected_points(
    content: bytes, name: str, scan: Sequence[str], *, min_score: float = 0.0, of_many: bool = False
) -> list[NamedPoint]:
    """The centres of the boxes of a scan, in mm (RAS), the highest score first.

    Args:
        content: of the file: an entry, a list of entries, or lists of entries under keys such as "validation".
        name: of the file, for messages.
        scan: the scan's names, one of which an entry's "image" must have if the file has several.
        min_score: boxes with a lower score are left out.
        of_many: the file is for many scans: an only entry must name its image too.

    Raises:
        DataError: the file is damaged, or is no list of detections.
        InputError: it does not say which scan its boxes belong to.
        NothingFound: it has none for this scan.

    Example:
        >>> file = b'[{"image": "a.nii.gz", "box": [[1, 2, 3, 9, 9, 9]], "label_scores": [0.8]}]'
        >>> detected_points(file, "result.json", ["a"])
        [((-1.0, -2.0, 3.0), '')]
    """
    images, named = _images(content, name)
    own: Sequence[Detections] = [each for each, of in zip(images, named, strict=True) if of in scan]
    if not own and len(images) == 1 and not of_many:
        own = images
    if not own and not any(each.image for each in images):
        raise InputError(
            f'{name} does not say which scan its boxes belong to: add the key "image" with the scan\'s file.'
        )
    found = [(box, score) for each in own for box, score in _scored(each, name) if score >= min_score]
    if not found:
        raise NothingFound(
            f"{name} has boxes for {counted(len(images), 'image')}, but none for this scan"
            + (f" with a score of {min_score:g} or more." if own else '; its key "image" must name this scan.')
        )
    return [((-box[0], -box[1], box[2]), "") for box, _ in sorted(found, key=lambda each: -each[1])]


@lru_cache(maxsize=1)  # of the file of a batch, which asks once per scan
def _images(content: bytes, name: str) -> tuple[Sequence[Detections], Sequence[str]]:
    """The entries of a file, and the names of their scans."""
    images = [checked(each, Detections, name, EXPECTED) for each in _entries(content, name)]
    return images, [scan_name(Path(each.image)) for each in images]


def _entries(content: bytes, name: str) -> list[object]:
    """The entries of a file, whatever lists they stand in."""
    value = parse_json(content, Any, name, EXPECTED)
    entries: list[object] = value if isinstance(value, list) else [value]
    if isinstance(value, dict) and not {"box", "pred_box"} & set(value):
        entries = [entry for listed in value.values() if isinstance(listed, list) for entry in listed]
    if not entries:
        raise DataError(f"{name} holds no detections: {EXPECTED}.")
    return entries


def _scored(image: Detections, name: str) -> list[tuple[Box, float]]:
    scores = [1.0] * len(image.boxes) if image.scores is None else image.scores
    if len(scores) != len(image.boxes):
        raise DataError(f"{name} has {len(image.boxes)} boxes and {len(scores)} scores of an image: {EXPECTED}.")
    for box in image.boxes:
        if min(box[3:]) <= 0:
            raise DataError(f"{name} has a box of the size {', '.join(f'{side:g}' for side in box[3:])}: {EXPECTED}.")
    return list(zip(image.boxes, scores, strict=True))
