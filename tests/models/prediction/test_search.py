"""The search of a whole chest: candidates in order, with scores, and errors where there is nothing to search."""

from collections.abc import Callable
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

import ambiseg
from ambiseg.models.prediction.blobs import find_blobs
from ambiseg.models.prediction.search import foreground, search, weigh
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.volumes.volume import Volume

SPACING_MM = (2.5, 1.6, 1.6)
SHAPE = (60, 120, 160)
AFFINE = np.array([[-1.6, 0, 0, 120.0], [0, -1.6, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1]])
NODULES = ((25, 55, 45, 12), (38, 70, 112, 7))  # voxels (z, y, x) and diameter in mm, the plainer one first

ModelMaker = Callable[..., Trained]


def ellipsoid(centre: tuple[float, ...], radii_mm: float | tuple[float, ...]) -> np.ndarray:
    places = (np.indices(SHAPE).T - centre) * SPACING_MM / np.broadcast_to(radii_mm, 3)
    return (places**2).sum(-1).T <= 1


@pytest.fixture(scope="module")
def chest() -> Volume:
    """A body with two lungs, a vessel in each, and the two nodules."""
    middle = (30, 60, 80)
    array = np.full(SHAPE, -1000.0)
    array[ellipsoid(middle, (1e6, 85, 115))] = 20
    lungs = ellipsoid((30, 60, 48), (60, 60, 40)) | ellipsoid((30, 60, 112), (60, 60, 40))
    array[lungs] = -850
    for x in (38, 120):
        array[ellipsoid((30, 50, x), (60, 2.5, 2.5)) & lungs] = 30
    for *centre, diameter in NODULES:
        array[ellipsoid(tuple(centre), diameter / 2)] = 30
    array += np.random.default_rng(0).normal(0, 20, SHAPE)
    return Volume(np.rint(array).astype(np.int16), AFFINE)


def test_nodules_come_first_and_in_order(chest: Volume, threshold_model: ModelMaker) -> None:
    lesions = search(threshold_model(crop=32, spacing_mm=1.0), chest, limit=4)
    for lesion, (*centre, _) in zip(lesions, NODULES, strict=False):
        assert np.linalg.norm(np.subtract(lesion.centre_mm, chest.world(tuple(centre)))) < 1.5
        assert lesion.roi is None
        assert not lesion.whole
    scores = [lesion.score for lesion in lesions]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1
    assert len(lesions) <= 4
    assert all(score < scores[1] / 2 for score in scores[2:])


def test_the_same_scan_gives_the_same_candidates(chest: Volume, threshold_model: ModelMaker) -> None:
    trained = threshold_model(crop=32, spacing_mm=1.0)
    once = search(trained, chest)
    torch.rand(3)
    assert search(trained, chest) == once
    assert search(trained, chest, limit=1) == once[:1]


@pytest.mark.parametrize("spacing_mm", [None, 1.0])
def test_who_points_at_the_printed_centre_gets_what_the_search_gave(
    chest: Volume, threshold_model: ModelMaker, spacing_mm: float | None
) -> None:
    """To the last digit: the place is the same, and so are the crop, the slices and the draws."""
    trained = threshold_model(crop=32, spacing_mm=spacing_mm)
    image = nib.Nifti1Image(chest.array.T, AFFINE)
    searched = ambiseg.predict(image, trained, candidates=3, draws=32)
    assert searched.figures["found_by"] == "search"
    assert len(searched.lesions) > 1
    for lesion, result in zip(searched.figures["lesions"], searched.lesions, strict=True):
        printed = tuple(float(f"{value:.1f}") for value in lesion["centre_mm"])
        assert list(printed) == lesion["centre_mm"]
        pointed = ambiseg.predict(image, trained, at=[printed], draws=32)
        (own,) = pointed.figures["lesions"]
        assert pointed.lesions[0].box == result.box
        assert np.array_equal(pointed.lesions[0].hypotheses.masks, result.hypotheses.masks)
        for key in ("no_lesion", "ambiguity", "residual"):
            assert own[key] == lesion[key]
        assert [entry["probability"] for entry in own["hypotheses"]] == [
            entry["probability"] for entry in lesion["hypotheses"]
        ]


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 0.0, np.nan])
def test_voxels_that_cannot_be_meant_are_refused_at_once(
    chest: Volume, threshold_model: ModelMaker, scale: float
) -> None:
    """Metres taken for millimetres: what is counted in mm would never end."""
    affine = AFFINE @ np.diag([scale, scale, scale, 1])
    for lungs in (None, np.ones(SHAPE, bool)):
        with pytest.raises(
            DataError, match=r"voxels measure .* mm: expected 0.01 to 100 mm along each axis; its units"
        ):
            search(threshold_model(), Volume(chest.array, affine), lungs=lungs)


def test_a_part_much_larger_than_a_chest_is_refused_at_once(chest: Volume, threshold_model: ModelMaker) -> None:
    wide = Volume(chest.array, AFFINE @ np.diag([30, 30, 30, 1]))
    with pytest.raises(DataError, match=r"The part of the scan to be searched measures .* mm, more than a chest"):
        search(threshold_model(), wide, lungs=np.ones(SHAPE, bool))


def test_a_scan_larger_than_a_body_is_refused_before_its_lungs_are_looked_for(
    threshold_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Centimetres taken for millimetres: one such scan would hold a process for minutes."""
    monkeypatch.setattr("ambiseg.models.prediction.lungs.block_means", lambda *_: pytest.fail("it was looked at"))
    scan = Volume(np.zeros((120, 256, 256), np.int16), np.diag([-7, -7, 12.5, 1.0]))
    with pytest.raises(DataError, match=r"The scan measures 1792 x 1792 x 1500 mm: expected at most 2500 mm along"):
        search(threshold_model(), scan)


def test_given_lungs_say_where_to_look(chest: Volume, threshold_model: ModelMaker) -> None:
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[:, :, 80:] = 1
    lungs[chest.array > 100] = 0
    (lesion,) = search(threshold_model(crop=32, spacing_mm=1.0), chest, lungs=lungs, limit=1)
    assert np.linalg.norm(np.subtract(lesion.centre_mm, chest.world(NODULES[1][:3]))) < 1.5


@pytest.mark.parametrize("spacing_mm", [None, 0.8])
@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_the_model_sees_the_nodules(
    chest: Volume, threshold_model: ModelMaker, spacing_mm: float | None, unit: str
) -> None:
    """The threshold model says lesion to what is bright, in four draws of five."""
    trained = threshold_model(32, spacing_mm, unit, *((-1024, 3071) if unit == "HU" else (0, 255)))
    blobs = find_blobs(chest, np.ones(SHAPE, bool) & ellipsoid((30, 60, 48), (60, 55, 35)), 5)
    said = foreground(trained, chest, blobs)
    assert said.shape == (len(blobs),)
    assert 0.5 < said[0] <= 1
    assert (said >= 0).all()


def test_the_models_word_changes_a_score_by_two_at_most(chest: Volume, threshold_model: ModelMaker) -> None:
    trained = threshold_model(crop=32, spacing_mm=1.0)
    blobs = find_blobs(chest, np.ones(SHAPE, bool), 20)
    likeness = np.array([blob.likeness for blob in blobs])
    np.testing.assert_allclose(weigh(trained, chest, blobs), likeness * (1 + foreground(trained, chest, blobs)) / 2)
    record = trained.record
    refines = record.model_copy(update={"data": record.data.model_copy(update={"probabilities": True})})
    np.testing.assert_array_equal(weigh(replace(trained, record=refines), chest, blobs), likeness)
    assert weigh(trained, chest, []).shape == (0,)


def test_progress_reaches_its_end(chest: Volume, threshold_model: ModelMaker) -> None:
    seen: list[tuple[int, int]] = []
    search(threshold_model(crop=32, spacing_mm=1.0), chest, on_progress=lambda *both: seen.append(both))
    assert [done for done, _ in seen] == list(range(1, seen[0][1] + 1))
    assert len({total for _, total in seen}) == 1


def test_a_scan_without_lungs_says_what_to_do_instead(chest: Volume, threshold_model: ModelMaker) -> None:
    trained = threshold_model(crop=32, spacing_mm=1.0)
    ways = "give `lung_mask`, or say where to look with `at` .*`points` .*`roi`"
    with pytest.raises(InputError, match=f"No lungs were found in the scan .*chest CT in HU.*{ways}"):
        search(trained, Volume(np.full(SHAPE, 40, np.int16), AFFINE))
    with pytest.raises(InputError, match=f"The lung mask is empty.*{ways}"):
        search(trained, chest, lungs=np.zeros(SHAPE, bool))
    with pytest.raises(
        InputError, match="160 x 120 x 59 voxels, but the scan has 160 x 120 x 60: draw the mask on this scan"
    ):
        search(trained, chest, lungs=np.ones((59, 120, 160), bool))


def test_lungs_without_a_blob_have_no_candidates(threshold_model: ModelMaker) -> None:
    even = Volume(np.full(SHAPE, -850, np.int16), AFFINE)
    assert search(threshold_model(crop=32, spacing_mm=1.0), even, lungs=np.ones(SHAPE, bool)) == []
