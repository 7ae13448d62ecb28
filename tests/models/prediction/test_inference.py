"""From a scan to hypotheses on its voxels, with a model whose distribution is known by construction."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ambiseg.models.prediction.inference import LesionHypotheses, Ranking, predict_volume
from ambiseg.models.prediction.lesion import Lesion, at_point, centre, region_lesions
from ambiseg.models.prediction.neighbourhood import Neighbourhood, neighbourhood
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.scans.regions import Region
from ambiseg.preprocessing.store.intensity import BYTES, HOUNSFIELD
from ambiseg.preprocessing.volumes.resample import PlaneGrid
from ambiseg.preprocessing.volumes.volume import Volume

Make = Callable[..., Trained]
CENTRE = (4.0, -3.0, 12.0)
AFFINE = np.array([[-0.7, 0, 0, 40.0], [0, -0.9, 0, 30], [0, 0, 2, -20], [0, 0, 0, 1]])


def phantom(shape: tuple[int, int, int] = (32, 80, 110), extra: tuple[float, float, float] | None = None) -> Volume:
    """Balls in air: brightness falls linearly from 400 HU at the centre to -1000 HU at 10 mm from it."""
    volume = Volume(np.zeros(shape), AFFINE)
    hounsfield = np.maximum(*(ball(volume, place) for place in (CENTRE, extra or CENTRE)))
    return Volume(np.rint(hounsfield).astype(np.int16), AFFINE)


def distances(volume: Volume, place: tuple[float, float, float]) -> np.ndarray:
    """Distance in mm [Z, Y, X] of all voxels from a place, by the affine alone."""
    z, y, x = np.indices(volume.array.shape)
    return np.linalg.norm(np.stack([x, y, z, np.ones_like(z)], -1) @ volume.affine.T - [*place, 1], axis=-1)


def ball(volume: Volume, place: tuple[float, float, float]) -> np.ndarray:
    return np.maximum(400 - 140 * distances(volume, place), -1000)


def whole(result: LesionHypotheses, volume: Volume) -> np.ndarray:
    masks = np.zeros((len(result.hypotheses.masks), *volume.array.shape), np.uint8)
    masks[:, *result.box] = result.hypotheses.masks
    return masks


def test_hypotheses_are_level_sets_of_the_whole_lesion_with_their_probabilities(threshold_model: Make) -> None:
    """With the scan's own pixels, each mask must be exactly what is brighter than one level, on all slices at once."""
    volume = phantom()
    (result,) = predict_volume(
        threshold_model(spacing_mm=None), volume, [at_point(volume, CENTRE)], Ranking(draws=300, top=40)
    )
    found = result.hypotheses
    assert found.draws == 300
    assert found.probabilities.sum() + found.residual == pytest.approx(1)
    assert result.no_lesion == pytest.approx(0.2, abs=0.07)
    assert found.probabilities[~found.masks.any((1, 2, 3))] == pytest.approx([result.no_lesion])
    for mask in whole(result, volume)[found.masks.any((1, 2, 3))] > 0:
        assert volume.array[mask].min() > volume.array[~mask].max()


def test_hypotheses_lie_over_the_lesion_in_mm(threshold_model: Make) -> None:
    volume = phantom()
    (result,) = predict_volume(threshold_model(), volume, [at_point(volume, CENTRE)], Ranking(draws=60))
    place = distances(volume, CENTRE)
    for mask in whole(result, volume):
        if mask.any():  # levels .3 and .6 of the window lie 7 and 4 mm from the centre
            radius = (3 * mask.sum() * 0.7 * 0.9 * 2 / (4 * np.pi)) ** (1 / 3)
            assert 3.9 < radius < 7.1
            assert place[mask > 0].max() < radius + 0.7
            assert place[mask == 0].min() > radius - 0.7


def test_probability_and_entropy_are_those_of_the_draws(threshold_model: Make) -> None:
    volume = phantom()
    (result,) = predict_volume(threshold_model(32, None), volume, [at_point(volume, CENTRE)], Ranking(draws=1000))
    height = np.clip((volume.array[result.box] + 1000) / 1400, 0, 1)
    expected = 0.8 * np.clip((height - 0.3) / 0.3, 0, 1)
    assert np.abs(result.probability - expected).max() < 0.06
    p = np.clip(result.probability.astype(float), 1e-9, 1 - 1e-9)
    assert result.entropy == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p), abs=1e-4)
    assert result.entropy.dtype == result.probability.dtype == np.float32


def test_what_lies_apart_is_taken_off(threshold_model: Make) -> None:
    other = (4.0, -3.0, 32.0)
    volume = phantom(extra=other)
    lesion = at_point(volume, CENTRE)
    (result,) = predict_volume(threshold_model(), volume, [lesion], Ranking(depth_mm=30, draws=60))
    (alone,) = predict_volume(threshold_model(), phantom(), [lesion], Ranking(depth_mm=30, draws=60))
    assert np.array_equal(result.hypotheses.masks, alone.hypotheses.masks)
    assert np.array_equal(result.hypotheses.probabilities, alone.hypotheses.probabilities)
    far = distances(volume, other)[result.box] < 3
    assert result.probability[far].min() > 0.7  # the maps speak of all that the model sees


@pytest.mark.parametrize(("beside_mm", "found"), [(4.0, True), (14.0, True), (24.0, False)])
def test_a_point_beside_the_lesion_finds_it_within_limits(threshold_model: Make, beside_mm: float, found: bool) -> None:
    volume = phantom()
    x, y, z = CENTRE
    (result,) = predict_volume(
        threshold_model(96), volume, [at_point(volume, (x - beside_mm, y, z))], Ranking(draws=40)
    )
    assert (result.no_lesion < 0.5) is found
    assert bool(result.hypotheses.masks.any()) is found


def test_a_region_keeps_all_that_it_touches(threshold_model: Make) -> None:
    other = (4.0, -3.0, 32.0)
    volume = phantom(extra=other)
    region = (distances(volume, other) < 2.5) | (distances(volume, CENTRE) < 2.5)
    region[:, 36, 51] |= (np.arange(32) >= 16) & (np.arange(32) <= 26)  # a line that ties the two balls together
    (lesion,) = region_lesions([Region("", np.argwhere(region))], Volume(region, AFFINE), "roi")
    (result,) = predict_volume(threshold_model(), volume, [lesion], Ranking(depth_mm=2, draws=60))
    masks = whole(result, volume).any(0)
    assert masks[distances(volume, other) < 3].all()
    assert masks[distances(volume, CENTRE) < 3].all()
    drawn = np.flatnonzero(region.any((1, 2)))
    assert (result.box[0].start, result.box[0].stop - 1) == (drawn[0], drawn[-1])


def test_a_crop_keeps_everything_on_all_its_slices(threshold_model: Make) -> None:
    volume = phantom(extra=(4.0, 15.0, 30.0))
    crop = Volume(volume.array[:, 5:65, 30:90], AFFINE)
    trained = threshold_model(64, None)
    (result,) = predict_volume(trained, crop, [centre(crop, 64, None)], Ranking(draws=64))
    assert result.box == (slice(0, 32), slice(0, 60), slice(0, 60))
    for mask in result.hypotheses.masks:
        if mask.any():
            assert crop.array[mask > 0].min() > crop.array[mask == 0].max()


def test_a_lesions_result_does_not_depend_on_the_others(threshold_model: Make) -> None:
    volume = phantom(extra=(-20.0, -20.0, 0.0))
    lesions = [at_point(volume, CENTRE), at_point(volume, (-20.0, -20.0, 0.0))]
    seen: list[tuple[int, int]] = []
    both = predict_volume(
        threshold_model(),
        volume,
        lesions,
        Ranking(draws=40),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    (alone,) = predict_volume(threshold_model(), volume, lesions[1:], Ranking(draws=40))
    assert np.array_equal(both[1].hypotheses.masks, alone.hypotheses.masks)
    assert np.array_equal(both[1].probability, alone.probability)
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_seeds_change_the_draws_and_nothing_else_does(threshold_model: Make) -> None:
    volume = phantom()
    runs = [
        predict_volume(threshold_model(), volume, [at_point(volume, CENTRE)], Ranking(seed=seed, draws=50))[0]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(runs[0].probability, runs[1].probability)
    assert not np.array_equal(runs[0].probability, runs[2].probability)


def test_a_model_of_several_channels_is_refused(threshold_model: Make) -> None:
    volume = phantom()
    with pytest.raises(DataError, match="reads 3 channels, but the scan has 1"):
        predict_volume(threshold_model(channels=3), volume, [at_point(volume, CENTRE)])


def test_three_classes(threshold_model: Make) -> None:
    volume = phantom()
    trained = threshold_model(classes=("background", "lesion", "never"))
    (result,) = predict_volume(trained, volume, [at_point(volume, CENTRE)], Ranking(draws=40))
    (two,) = predict_volume(threshold_model(), volume, [at_point(volume, CENTRE)], Ranking(draws=40))
    assert np.array_equal(result.hypotheses.masks, two.hypotheses.masks)
    assert result.probability == pytest.approx(two.probability, abs=1e-5)


def test_slices_are_looked_at_as_far_as_the_lesion_reaches(threshold_model: Make) -> None:
    volume = phantom((60, 80, 110))
    small = Volume(np.where(distances(volume, CENTRE) < 8, 0, -1000).astype(np.int16), AFFINE)
    long = Volume(np.where(np.hypot(*(volume_xy(volume) - np.array(CENTRE[:2])[:, None, None])) < 6, 0, -1000), AFFINE)
    long = Volume(np.broadcast_to(long.array, volume.array.shape).astype(np.int16), AFFINE)
    deep = [
        predict_volume(threshold_model(96), each, [at_point(each, CENTRE)], Ranking(draws=20))[0].box[0]
        for each in (small, long)
    ]
    assert [each.stop - each.start for each in deep] == [
        9,
        21,
    ]  # 2 mm apart: 7 slices and 3 mm more; a vessel is not followed


def volume_xy(volume: Volume) -> np.ndarray:
    """World x and y [2, Y, X] of the voxels of a scan whose axes are the world's."""
    y, x = np.indices(volume.array.shape[1:])
    return np.stack([volume.affine[0, 0] * x + volume.affine[0, 3], volume.affine[1, 1] * y + volume.affine[1, 3]])


def test_ambiguity_and_agreement_are_those_of_level_sets(threshold_model: Make) -> None:
    volume = phantom()
    (result,) = predict_volume(
        threshold_model(spacing_mm=None), volume, [at_point(volume, CENTRE)], Ranking(draws=400, top=400)
    )
    found = result.hypotheses
    sets = [mask > 0 for mask in found.masks]
    iou = np.array([[(a & b).sum() / max((a | b).sum(), 1) if (a | b).any() else 1 for a in sets] for b in sets])
    assert result.agreement == pytest.approx(iou[0])
    assert result.agreement[0] == 1
    expected = 1 - found.probabilities @ iou @ found.probabilities
    assert result.ambiguity == pytest.approx(expected, abs=0.08)  # the hypotheses stand for the draws
    assert 0.3 < result.ambiguity < 0.8
    certain = Volume(np.where(distances(volume, CENTRE) < 6, 400, -1000).astype(np.int16), AFFINE)
    (result,) = predict_volume(
        threshold_model(spacing_mm=None), certain, [at_point(certain, CENTRE)], Ranking(draws=40)
    )
    marked = 1 - result.no_lesion
    assert result.ambiguity == pytest.approx(2 * marked * (1 - marked) * 40 / 39, abs=1e-6)


def place_of(volume: Volume, **changes: object) -> Neighbourhood:
    settings = {"crop": 48, "spacing_mm": 0.5, "depth_mm": 6.0} | changes
    return neighbourhood(volume, Lesion(CENTRE), **settings)  # type: ignore[arg-type]


def test_the_crop_is_made_as_in_training() -> None:
    volume = phantom()
    place = place_of(volume)
    z, y, x = volume.voxel(CENTRE)
    grid = PlaneGrid(48, (y, x), (0.5 / 0.9, 0.5 / 0.7))
    expected = np.rint(grid.image(volume.array[13:20], fill=-1024))
    images = place.images(volume, [HOUNSFIELD])
    assert images.shape == (7, 1, 48, 48)
    assert np.abs(images[:, 0] - expected).max() <= 1  # the centre is rounded to a thousandth of a voxel
    assert place.box[0] == slice(13, 20)
    assert z == 16


def test_padding_and_the_outside_are_air() -> None:
    volume = Volume(np.full((3, 20, 20), -3024, np.int16), AFFINE)
    corner = volume.world((1, 0, 0))
    place = neighbourhood(volume, Lesion(corner), 32, 0.5, 0)
    assert np.all(place.images(volume, [HOUNSFIELD]) == -1024)
    assert place.box[1].start == place.box[2].start == 0


def test_without_a_spacing_pixels_are_taken_as_they_are() -> None:
    volume = phantom()
    place = place_of(volume, spacing_mm=None, crop=33)
    z, y, x = (round(index) for index in volume.voxel(CENTRE))
    expected = volume.array[z, y - 16 : y + 17, x - 16 : x + 17]
    assert np.array_equal(place.images(volume, [HOUNSFIELD])[3, 0], expected)
    assert place.shape[1:] == (33, 33)


def test_relative_crops_fill_the_training_range_unless_the_scan_has_it() -> None:
    volume = phantom()
    place = place_of(volume)
    images = place.images(volume, [BYTES])
    assert np.all(images.min((1, 2, 3)) == 0)
    assert images.max((1, 2, 3)) == pytest.approx(255)
    as_bytes = Volume(np.clip((volume.array + 1000) / 1400 * 255, 0, 255).astype(np.uint8), AFFINE)
    images = place.images(as_bytes, [BYTES])
    assert images[0].max() < images[3].max() < 255


def test_relative_crops_are_scaled_over_as_much_as_the_training_sets_were() -> None:
    """A bright pixel outside the crop, inside the square over which the training crops were scaled, counts."""
    volume = phantom()
    place = place_of(volume, spacing_mm=None, crop=21)
    z, y, x = (round(index) for index in volume.voxel(CENTRE))
    volume.array[z, y - 25, x + 25] = 1500
    alone = place.images(volume, [BYTES])[3, 0]
    wide = place.images(volume, [BYTES], scaled_over=64)[3, 0]
    assert alone.max() == pytest.approx(255)
    expected = (volume.array[z, y - 10 : y + 11, x - 10 : x + 11] + 1000.0) / 2500 * 255
    assert wide == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("value", [3071, 30_000, -2048, -32_768])
def test_metal_and_filling_take_no_contrast_from_a_lesion(value: int) -> None:
    """They count as dense bone and as air."""
    seen = []
    for beside in (value, 1500 if value > 0 else -1024):
        volume = phantom()
        z, y, x = (round(index) for index in volume.voxel(CENTRE))
        volume.array[z, y - 25 : y - 20, x + 20 : x + 25] = beside
        seen.append(place_of(volume, spacing_mm=None, crop=21).images(volume, [BYTES], scaled_over=64)[3, 0])
    assert np.array_equal(*seen)


def test_what_is_no_ct_keeps_its_extremes() -> None:
    volume = replace(phantom(), modality="MR")
    z, y, x = (round(index) for index in volume.voxel(CENTRE))
    volume.array[z, y - 25, x + 25] = 3000
    wide = place_of(volume, spacing_mm=None, crop=21).images(volume, [BYTES], scaled_over=64)[3, 0]
    assert wide == pytest.approx((volume.array[z, y - 10 : y + 11, x - 10 : x + 11] + 1000.0) / 4000 * 255, abs=1e-3)


def test_masks_come_back_to_the_voxels_that_they_came_from() -> None:
    volume = phantom()
    place = place_of(volume, crop=96)
    disc = distances(volume, CENTRE)[16] < 8
    on_grid = (place.plane.coverage(disc) >= 0.5).astype(np.uint8)
    back = place.labels_back(on_grid, 2)
    assert back.sum() == pytest.approx(disc.sum(), rel=0.03)
    assert (back != disc[place.box[1:]]).sum() < 0.1 * disc.sum()


def test_the_class_that_covers_most_of_a_voxel_wins() -> None:
    """Voxels of 1 mm, crop pixels of .5 mm: two by two to a voxel."""
    volume = Volume(np.zeros((1, 3, 3)), np.diag([-1.0, -1, 1, 1]))
    place = neighbourhood(volume, Lesion(volume.world((0, 1, 1))), 6, 0.5, 0)
    labels = np.array(
        [
            [1, 1, 1, 1, 2, 2],
            [1, 1, 0, 0, 2, 1],
            [1, 0, 1, 2, 1, 2],
            [0, 0, 0, 0, 2, 2],
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ],
        np.uint8,
    )
    assert np.array_equal(place.labels_back(labels, 3), [[1, 1, 2], [0, 0, 2], [0, 0, 0]])


def test_marginals_stay_probabilities_at_the_border_of_the_crop() -> None:
    volume = phantom()
    place = place_of(volume, crop=21)
    marginal = np.stack([np.full((7, 21, 21), 0.4), np.full((7, 21, 21), 0.6)], 1).astype(np.float32)
    back = place.marginal_back(marginal)
    assert back.sum(1) == pytest.approx(1, abs=1e-5)
    assert back[:, 1, 3:-3, 3:-3] == pytest.approx(0.6, abs=1e-5)
    assert back[:, 1].max() <= 0.6 + 1e-5
