"""Predictions written by hand: a bright block in a dark scan, hypotheses of known position and size, without a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ambiseg.models.core.hypotheses import Hypotheses
from ambiseg.models.core.size import measure
from ambiseg.models.prediction.document import Document
from ambiseg.models.prediction.inference import LesionHypotheses
from ambiseg.models.prediction.lesion import Lesion
from ambiseg.models.results.prediction_page import write_report
from ambiseg.preprocessing.volumes.volume import Volume

SHAPE, SPACING = (30, 90, 100), (2.5, 0.7, 0.8)  # z, y, x
BLOCK = (slice(16, 20), slice(30, 42), slice(60, 70))  # towards head, front and left of the lesion's box
BOX = (slice(4, 26), slice(10, 80), slice(12, 88))


@dataclass(frozen=True)
class Made:
    """A scan, its results, and the content of hypotheses.json."""

    volume: Volume
    results: list[LesionHypotheses]
    content: dict[str, Any]

    def write(self, path: Path, unit: str = "HU", shared: str = "") -> Path:
        """The page of this prediction."""
        write_report(path, self.volume, self.results, Document.model_validate(self.content), unit, shared=shared)
        return path


def made_volume(shape: tuple[int, int, int] = SHAPE, block: tuple[slice, ...] = BLOCK, *, tilt: float = 0.0) -> Volume:
    """A scan of -900 HU with a block of 60 HU, turned by `tilt` degrees about the patient's long axis."""
    array = np.full(shape, -900, np.int16)
    array[block] = 60
    z, y, x = SPACING
    cosine, sine = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-x, -y, z])
    affine[:3, 3] = (51.0, 44.0, -310.0)
    return Volume(array, affine)


def block_masks(shape: Sequence[int], block: tuple[slice, ...], labels: int = 1) -> np.ndarray:
    """Three hypotheses [3, Z, Y, X]: the block, the block without its first two columns, nothing."""
    masks = np.zeros((3, *shape), np.uint8)
    masks[(0, *block)] = 1
    masks[(1, *block[:2], slice(block[2].start + 2, block[2].stop))] = labels
    return masks


def made_result(volume: Volume, box: tuple[slice, ...], masks: np.ndarray, name: str = "") -> LesionHypotheses:
    """Masks [N, Z, Y, X] of the whole scan as the result of a lesion; the probability is their share."""
    chances = np.array([0.6, 0.3, 0.1, 0.0])[: len(masks)] if len(masks) > 1 else np.ones(1)
    inside = masks[(slice(None), *box)]
    probability = np.tensordot(chances, inside > 0, 1).astype(np.float32)
    safe = np.clip(probability, 1e-6, 1 - 1e-6)
    entropy = -(safe * np.log(safe) + (1 - safe) * np.log(1 - safe))
    marked = np.argwhere(masks.any(0)) if masks.any() else np.array(volume.array.shape)[None] // 2
    centre = volume.world(tuple(marked.mean(0)))
    hypotheses = Hypotheses(inside, chances, np.clip(np.stack((chances - 0.1, chances + 0.1), 1), 0, 1), 0.0, 256)
    return LesionHypotheses(
        Lesion(centre, name), box, hypotheses, probability, entropy.astype(np.float32), 0.1, 0.3, np.ones(len(masks))
    )


def made_entry(volume: Volume, result: LesionHypotheses, index: int, classes: Sequence[str]) -> dict[str, Any]:
    """What hypotheses.json says of a hypothesis."""
    mask, found = result.hypotheses.masks[index], result.hypotheses

    def size(of: np.ndarray) -> dict[str, Any]:
        measured = measure(of, volume.spacing_mm)
        flat = len(volume.array) == 1
        extent = {"area_mm2": measured.area_mm2} if flat else {"volume_mm3": measured.volume_mm3}
        return {**extent, "long_axis_mm": measured.long_axis_mm, "short_axis_mm": 5.25, "slices": measured.slices}

    several = {name: size(mask == label) for label, name in enumerate(classes) if label and len(classes) > 2}
    return {
        "rank": index + 1, "file": f"hyp_{index + 1:02d}.nii.gz", "probability": float(found.probabilities[index]),
        "interval": None if found.intervals is None else found.intervals[index].tolist(), **size(mask),
        **({"classes": several} if several else {}), "agreement": 1.0 if index == 0 else 0.8,
        "empty": not mask.any(), "cut_off": False, "at_border": False,
    }  # fmt: skip


def made_content(
    volume: Volume, results: Sequence[LesionHypotheses], classes: Sequence[str] = ("background", "lesion"), **other: Any
) -> dict[str, Any]:
    """The content of hypotheses.json; `other` replaces parts of it."""
    lesions = [
        {
            "number": number, "folder": "", "name": result.lesion.name, "centre_mm": list(result.lesion.centre_mm),
            "score": None, "no_lesion": result.no_lesion, "ambiguity": 0.3, "residual": 0.02, "draws": 256,
            "probability": "probability.nii.gz", "entropy": "entropy.nii.gz", "aleatoric": None,
            "preview": f"lesion_{number:02d}/preview.png", "overlaps": [],
            "hypotheses": [made_entry(volume, result, i, classes) for i in range(len(result.hypotheses.masks))],
        }
        for number, result in enumerate(results, start=1)
    ]  # fmt: skip
    return {
        "schema": 3, "program": "ambiseg 9.8.7", "calibration": None, "warnings": [], "notes": [], "found_by": "given",
        "model": {"name": "made-001", "method": "probunet", "weights_sha256": "a1" * 32, "data_sha256": "b2" * 32},
        "settings": {"top": 8, "draws": 256, "depth_mm": None, "seed": 0}, "classes": list(classes),
        "scan": {"voxels": list(volume.array.shape[::-1]), "spacing_mm": list(volume.spacing_mm[::-1])},
        "lesions": lesions, **other,
    }  # fmt: skip


@pytest.fixture
def made() -> Callable[..., Made]:
    """A function that makes a prediction: `kind` "block", "tilted", "flat", "classes", "two" or "one"."""

    def make(kind: str = "block", **other: Any) -> Made:
        if kind == "flat":
            volume = made_volume((1, 90, 100), (slice(0, 1), *BLOCK[1:]))
            results = [
                made_result(volume, (slice(0, 1), *BOX[1:]), block_masks((1, 90, 100), (slice(0, 1), *BLOCK[1:])))
            ]
        elif kind == "two":
            volume = made_volume()
            second = (slice(8, 11), slice(20, 26), slice(24, 34))
            masks = [block_masks(SHAPE, BLOCK), block_masks(SHAPE, second)[:1]]
            results = [made_result(volume, BOX, m, n) for m, n in zip(masks, ("", "apex"), strict=True)]
        else:
            volume = made_volume(tilt=25.0 if kind == "tilted" else 0.0)
            masks = block_masks(SHAPE, BLOCK, 2 if kind == "classes" else 1)
            results = [made_result(volume, BOX, masks[:1] if kind == "one" else masks)]
        classes = ("background", "core", "rim") if kind == "classes" else ("background", "lesion")
        return Made(volume, results, made_content(volume, results, classes, **other))

    return make
