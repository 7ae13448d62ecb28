"""Another segmenter's class probabilities in, ranked hypotheses out, with a model whose answer follows from them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ambiseg.models.core.batch import Batch, Loss
from ambiseg.models.core.method import Method
from ambiseg.models.core.predictive import SampledPredictive
from ambiseg.models.prediction.inference import Ranking, predict_volume
from ambiseg.models.prediction.lesion import at_point
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.scans.formats.nifti_volume import read_volume
from ambiseg.preprocessing.volumes.volume import Volume

Make = Callable[..., Trained]
Command = Callable[..., tuple[int, str, str]]
CLASSES = ("background", "core", "oedema", "necrosis")
AFFINE = np.diag([-0.7, -0.9, 2.0, 1.0])
SHAPE = (12, 40, 44)
CENTRE = (-14.7, -18.0, 12.0)  # voxel (6, 20, 21)


class Levels(SampledPredictive):
    """Draws that mark, where some foreground class is more probable than a level from .2 to .6, the likeliest one."""

    def __init__(self, image: torch.Tensor):
        self.stored = image[:, 1:]

    def pixelwise(self) -> torch.Tensor:
        """The stored probabilities."""
        return self.stored

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[torch.Tensor]:
        """All n at once."""
        chance = torch.rand((1 if tied else len(self.stored), n, 1, 1, 1), generator=generator)
        background = (0.2 + 0.4 * chance).expand(len(self.stored), -1, -1, *self.stored.shape[2:])
        foreground = self.stored[:, None, 1:].expand(-1, n, -1, -1, -1)
        yield 1000 * torch.cat((background, foreground), 2)


class Refiner(Method):
    """Reads an image and stored probabilities; nothing in it is trained."""

    def __init__(self, classes: int):
        super().__init__()
        self.channels, self.classes = 1 + classes, classes

    def forward(self, image: torch.Tensor) -> Levels:
        """Levels of the stored probabilities, which must be there."""
        assert image.shape[1] == self.channels
        return Levels(image)

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """There is nothing to train."""
        raise NotImplementedError


@pytest.fixture
def refiner(threshold_model: Make) -> Make:
    """A function that gives a `Trained` refiner of some classes."""

    def make(classes: tuple[str, ...] = ("background", "lesion"), spacing_mm: float | None = None) -> Trained:
        trained = threshold_model(crop=40, spacing_mm=spacing_mm, classes=classes)
        record = trained.record.model_copy(
            update={"data": trained.record.data.model_copy(update={"probabilities": True})}
        )
        return replace(trained, method=Refiner(len(classes)), record=record, name="refine-001")

    return make


def scan() -> Volume:
    """Air and noise in HU: what there is to find is in the probabilities alone."""
    values = np.random.default_rng(2).normal(-600, 200, SHAPE)
    return Volume(np.rint(values).clip(-1000, 400).astype(np.int16), AFFINE)


def chances(classes: int = 2) -> NDArray[np.float32]:
    """Class probabilities [K, Z, Y, X]: of foreground .8 at the centre, 0 at 9 mm from it; the classes are sectors."""
    z, y, x = np.indices(SHAPE)
    offset = np.stack([(z - 6) * 2.0, (y - 20) * 0.9, (x - 21) * 0.7])
    foreground = np.clip(0.8 * (1 - np.linalg.norm(offset, axis=0) / 9), 0, 1)
    sector = 1 + (((np.arctan2(offset[1], offset[2]) / np.pi + 1) / 2) * (classes - 1)).astype(int).clip(0, classes - 2)
    result = np.stack([1 - foreground, *(np.where(sector == label, foreground, 0) for label in range(1, classes))])
    return result.astype(np.float32)


def entropy(p: NDArray) -> NDArray:
    return -(p * np.log(np.where(p > 0, p, 1))).sum(0)


def test_hypotheses_are_level_sets_of_the_given_probabilities(refiner: Make) -> None:
    volume, stored = scan(), chances()
    (result,) = predict_volume(
        refiner(), volume, [at_point(volume, CENTRE)], Ranking(draws=100, top=9), probabilities=stored
    )
    lesion = stored[1][result.box]
    for mask in result.hypotheses.masks:
        assert lesion[mask > 0].min() > lesion[mask == 0].max() - 1 / 255
    in_255ths = np.rint(stored[(slice(None), *result.box)] * 255) / 255
    assert result.aleatoric is not None
    np.testing.assert_allclose(result.aleatoric, entropy(in_255ths), atol=1e-3)
    assert result.aleatoric.dtype == np.float32
    assert np.abs(result.aleatoric - result.entropy).max() > 0.1


def test_probabilities_are_resampled_like_the_image(refiner: Make) -> None:
    """Crops of half the scan's pixel size: the stated entropy, put back on the voxels, is still that of the input."""
    volume, stored = scan(), chances()
    (result,) = predict_volume(
        refiner(spacing_mm=0.4), volume, [at_point(volume, CENTRE)], Ranking(draws=10), probabilities=stored
    )
    expected = entropy(stored[(slice(None), *result.box)])
    assert result.aleatoric is not None
    error, shifted = (np.abs(result.aleatoric - np.roll(expected, by, 2))[:, 3:-3, 3:-3] for by in (0, 1))
    assert error.max() < 0.08  # entropy is steep near 0
    assert error.mean() < 0.2 * shifted.mean()


def test_a_model_wants_probabilities_or_does_not(refiner: Make, threshold_model: Make) -> None:
    volume = scan()
    with pytest.raises(UsageError, match="refine-001 refines another segmenter's class probabilities, but none were"):
        predict_volume(refiner(), volume, [at_point(volume, CENTRE)])
    with pytest.raises(UsageError, match="threshold-001 was trained without another segmenter's class probabilities"):
        predict_volume(threshold_model(), volume, [at_point(volume, CENTRE)], probabilities=chances())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refiner: Make) -> Path:
    """A folder with a scan, turned, nnU-Net's probabilities of four classes for it, and the refiner as the model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", lambda name: Path("runs/refine-001"))
    monkeypatch.setattr("ambiseg.models.runs.trained.load_trained", lambda path, device, **choice: refiner(CLASSES))
    image = nib.Nifti1Image(scan().array.transpose(2, 1, 0), AFFINE)
    turn = np.array([[2, -1], [0, 1], [1, -1]])
    nib.save(image.as_reoriented(turn), "scan.nii.gz")
    own = [nib.orientations.apply_orientation(each.transpose(2, 1, 0), turn) for each in chances(4)]
    np.savez_compressed("scan.npz", probabilities=np.stack(own).transpose(0, 3, 2, 1))
    return tmp_path


AT = ("--at=-14.7,-18,12", "--draws", "60", "-o", "out")


def test_from_an_npz_to_hypotheses_of_several_classes(ambiseg: Command, folder: Path) -> None:
    code, _, err = ambiseg("predict", "scan.nii.gz", "--probabilities", "scan.npz", *AT)
    assert code == 0, err
    (lesion,) = json.loads((folder / "out/hypotheses.json").read_text())["lesions"]
    assert lesion["aleatoric"] == "aleatoric.nii.gz"
    assert "aleatoric.nii.gz: the entropy that the model states" in err
    stored = chances(4)
    likeliest = 1 + stored[1:].argmax(0)
    for entry in lesion["hypotheses"]:
        mask = read_volume(folder / "out" / entry["file"]).array
        assert mask.any()
        np.testing.assert_array_equal(mask[mask > 0], likeliest[mask > 0])
        assert list(entry["classes"]) == list(CLASSES[1:])
        for label, size in enumerate(entry["classes"].values(), 1):
            assert size["volume_mm3"] == pytest.approx((mask == label).sum() * 0.7 * 0.9 * 2, abs=1e-3)
            assert size["slices"] == (mask == label).any((1, 2)).sum()
            assert 0 < size["long_axis_mm"] <= entry["long_axis_mm"]
        volumes = [size["volume_mm3"] for size in entry["classes"].values()]
        assert sum(volumes) == pytest.approx(entry["volume_mm3"], abs=1e-2)
    stated = read_volume(folder / "out/aleatoric.nii.gz")
    near = stated.array > 0.2
    np.testing.assert_allclose(stated.array[near], entropy(stored)[near], atol=0.02)
    assert near.sum() > 500


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "refines another segmenter's class probabilities, but none were given: give --probabilities"),
        (("--probabilities", "gone.npz"), 3, "No file gone.npz"),
        (("--probabilities", "scan.nii.gz"), 4, "holds the probabilities of 1 classes: expected 4"),
        (("--probabilities", "two.npz"), 4, "two.npz holds the probabilities of 2 classes: expected 4"),
    ],
)
def test_bad_probabilities_are_named(
    ambiseg: Command, folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    turned = np.load("scan.npz")["probabilities"]
    np.savez("two.npz", probabilities=turned[:2])
    left, _, err = ambiseg("predict", "scan.nii.gz", *arguments, *AT)
    assert (left, message in " ".join(err.split())) == (code, True), err
    assert not (folder / "out").exists()


def test_a_model_that_reads_none_is_given_some(
    ambiseg: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, threshold_model: Make
) -> None:
    monkeypatch.setattr("ambiseg.models.runs.trained.load_trained", lambda path, device, **choice: threshold_model())
    code, _, err = ambiseg("predict", "scan.nii.gz", "--probabilities", "scan.npz", *AT)
    assert (code, "leave out --probabilities" in " ".join(err.split())) == (2, True)
