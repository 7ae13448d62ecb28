"""Synthetic scans of every geometry, points everywhere in them, every shipped model: a prediction writes all its files."""

import json
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import ambiseg
from ambiseg.models.bundle.installed import known_models
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.errors import DataError

Make = Callable[..., Trained]
MODELS = ("lidc-gated", "lidc-mixture")
SPACINGS = [(x, z) for x in (0.4, 0.7, 1.5, 3.0) for z in (0.5, 1.0, 2.0, 4.0, 10.0)][1:]  # in the plane, of slices
FIELD_MM = 90.0
TURNS = [np.diag(signs) for signs in product((1.0, -1.0), repeat=3)]
PLACES = ("centre", "edge", "corner", "air", "bone")


def rotation(degrees: float, axis: int) -> np.ndarray:
    one, other = {0, 1, 2} - {axis}
    turn = np.eye(3)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[[one, one, other, other], [one, other, one, other]] = cosine, -sine, sine, cosine
    return turn


def scan(shape: tuple[int, int, int], steps_mm: tuple[float, float, float], turn: np.ndarray) -> nib.Nifti1Image:
    """A thorax in small [x, y, z]: soft tissue with a lung, a nodule in its middle and a rib; centred at (10, -20, 30) mm."""
    place = (np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2) * steps_mm
    distance = np.linalg.norm(place, axis=-1)
    array = np.full(shape, 40.0)
    array[distance < 0.45 * FIELD_MM] = -850
    array += np.maximum(0, 900 - 120 * np.maximum(distance - 5, 0)) * (distance < 12)
    array[np.linalg.norm(place[..., :2] - (20, 0), axis=-1) < 4] = 900
    array += np.random.default_rng(0).normal(0, 15, shape)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(steps_mm)
    affine[:3, 3] = (10, -20, 30) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return nib.Nifti1Image(np.rint(array.clip(-1024, 3000)).astype(np.int16), affine)


def voxel(shape: tuple[int, ...], steps_mm: tuple[float, ...], where: str) -> np.ndarray:
    """A place of the scan in voxels [x, y, z]."""
    middle = (np.array(shape) - 1) / 2
    beside = np.array([20.0, 0, 0]) / steps_mm
    return {
        "centre": middle,
        "edge": np.array([0, middle[1], middle[2]]),
        "corner": np.array(shape) - 0.51,
        "air": np.maximum(middle - beside, 0),
        "bone": np.minimum(middle + beside, np.array(shape) - 1),
    }[where]


def check(image: nib.Nifti1Image, where: str, model: Trained, folder: Path, **choice: object) -> dict:
    """Predict at a place and write: everything is there, whole, plain and on the scan's grid."""
    steps = np.linalg.norm(image.affine[:3, :3], axis=0)
    point = (image.affine @ [*voxel(image.shape, tuple(steps), where), 1])[:3]
    found = ambiseg.predict(image, model, at=[tuple(point)], **choice)
    assert list(found.save(folder)) == []
    written = json.loads((folder / "hypotheses.json").read_text())
    assert written == found.figures
    (lesion,) = written["lesions"]
    total = sum(entry["probability"] for entry in lesion["hypotheses"]) + lesion["residual"]
    assert total == pytest.approx(1, abs=1e-4)
    for entry in lesion["hypotheses"]:
        mask = nib.load(folder / entry["file"])
        assert mask.shape == image.shape
        assert np.allclose(mask.affine, image.affine, atol=1e-4)
    assert {"report.html", "preview.png", "run.json", "hypotheses.csv"} <= {file.name for file in folder.iterdir()}
    assert json.loads((folder / "run.json").read_text())["missing"] == []
    return written


def counts(step_xy: float, step_z: float) -> tuple[int, int, int]:
    x, z = (max(round(FIELD_MM / step), 1) for step in (step_xy, step_z))
    return x, x, z


@cache
def shipped(name: str) -> Trained:
    return load_trained(known_models()[name], torch.device("cpu"))


@pytest.mark.parametrize(("step", "where"), [((1.5, 1.5), "centre"), ((3.0, 10.0), "corner")])
def test_the_shipped_model_at_common_voxels(tmp_path: Path, step: tuple[float, float], where: str) -> None:
    steps = (step[0], step[0], step[1])
    check(scan(counts(*step), steps, np.eye(3)), where, shipped("lidc-gated"), tmp_path / "out")


def cells() -> list:
    """Every model with every second of the spacings; of these every sixth is tried daily."""
    found = [*product(MODELS, SPACINGS)][::2]
    return [pytest.param(*cell, marks=[pytest.mark.exhaustive] * bool(n % 6)) for n, cell in enumerate(found)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "step"), cells())
def test_every_shipped_model_at_all_voxels_and_places(tmp_path: Path, name: str, step: tuple[float, float]) -> None:
    number = SPACINGS.index(step) + 7 * MODELS.index(name)
    steps = (step[0], step[0] * (1, 1.2)[number % 2], step[1])
    shape = counts(*step)
    turn = TURNS[number % len(TURNS)] @ rotation((0, 17)[number // 8 % 2], number % 3)
    where = PLACES[number % len(PLACES)]
    check(scan(shape, steps, turn), where, shipped(name), tmp_path / "out", draws=64)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "where"), [*product(range(len(TURNS)), PLACES)][::2])
def test_all_orientations(tmp_path: Path, threshold_model: Make, number: int, where: str) -> None:
    image = scan((60, 52, 20), (1.5, 1.7, 4.0), TURNS[number] @ rotation(7 * (number % 2), number % 3))
    check(image, where, threshold_model(crop=48, spacing_mm=1.0), tmp_path / "out", draws=24)


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((70, 60, 1), (1.0, 1.2, 5.0)),  # one slice
        ((40, 44, 700), (2.0, 2.0, 0.5)),
        ((9, 7, 3), (3.0, 3.0, 10.0)),  # smaller than a crop, so that all of it is looked at
        ((1, 30, 30), (3.0, 1.0, 1.0)),  # a sagittal slice
        ((500, 4, 4), (0.5, 3.0, 3.0)),  # a rod
    ],
)
@pytest.mark.parametrize("where", ["centre", "corner"])
def test_odd_shapes(
    tmp_path: Path, threshold_model: Make, shape: tuple[int, int, int], steps: tuple[float, float, float], where: str
) -> None:
    model = threshold_model(crop=32, spacing_mm=1.0)
    check(scan(shape, steps, np.diag([-1.0, -1, 1])), where, model, tmp_path / "out", draws=16, top=3)


def test_a_plane_without_a_third_axis(tmp_path: Path, threshold_model: Make) -> None:
    whole = scan((70, 60, 1), (1.0, 1.2, 5.0), np.eye(3))
    flat = nib.Nifti1Image(np.asarray(whole.dataobj)[..., 0], whole.affine)
    found = ambiseg.predict(flat, threshold_model(crop=32, spacing_mm=1.0), at=[(10, -20, 30)], draws=16)
    assert list(found.save(tmp_path / "out")) == []
    assert nib.load(tmp_path / "out" / "hyp_01.nii.gz").shape == (70, 60)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_voxels_of_another_unit_are_refused_before_any_work(threshold_model: Make, scale: float) -> None:
    """A scan in metres, or in micrometres, that says millimetres: one sentence, at once, whatever is asked."""
    image = scan((60, 60, 100), (0.9 * scale, 0.9 * scale, 0.9 * scale), np.eye(3))
    for choice in ({"at": [(10, -20, 30)]}, {}):
        with pytest.raises(
            DataError, match=r"voxels of the image measure .* mm.*: expected the size of a part of a body"
        ):
            ambiseg.predict(image, threshold_model(), **choice)
