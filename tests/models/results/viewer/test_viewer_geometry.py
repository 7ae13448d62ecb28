"""What the page shows, over all geometries: Python integers, within the scan, including everything that is marked."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ambiseg.models.core.hypotheses import Hypotheses
from ambiseg.models.prediction.inference import LesionHypotheses
from ambiseg.models.prediction.lesion import Lesion
from ambiseg.models.prediction.neighbourhood import Box, neighbourhood, within
from ambiseg.models.results.viewer.region import best_slice, likeliest_voxel, region
from ambiseg.models.results.viewer.voxels import voxels
from ambiseg.preprocessing.documents import json_text
from ambiseg.preprocessing.volumes.volume import Volume

SIDE = st.integers(1, 40)
STEP = st.floats(0.05, 12)


@st.composite
def places(draw: st.DrawFn) -> tuple[Volume, LesionHypotheses]:
    """A scan, a box in it, and hypotheses that mark blocks in the box, or nothing."""
    shape = draw(st.tuples(SIDE, SIDE, SIDE))
    z, y, x = draw(st.tuples(STEP, STEP, STEP))
    signs = draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    affine = np.eye(4)
    affine[:3, :3] = np.diag(signs) @ np.diag([x, y, z])
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    volume = Volume(np.full(shape, -900, np.int16), affine)
    box = tuple(draw(part(count)) for count in shape)
    size = tuple(side.stop - side.start for side in box)
    count = draw(st.integers(1, 3))
    masks = np.zeros((count, *size), np.uint8)
    for mask in masks:
        if draw(st.booleans()):
            mask[tuple(draw(part(side)) for side in size)] = 1
    chances = np.full(count, 1 / count)
    probability = np.tensordot(chances, masks, 1).astype(np.float32)
    centre = volume.world(draw(st.tuples(*[st.floats(-0.5, side - 0.5) for side in shape])))
    found = Hypotheses(masks, chances, None, 0.0, None)
    return volume, LesionHypotheses(
        Lesion(centre), box, found, probability, np.zeros(size, np.float32), 0.1, 0.3, np.ones(count)
    )


@st.composite
def part(draw: st.DrawFn, count: int) -> slice:
    start = draw(st.integers(0, count - 1))
    return slice(start, draw(st.integers(start + 1, count)))


def inside(box: Box, volume: Volume) -> bool:
    return all(0 <= side.start < side.stop <= count for side, count in zip(box, volume.array.shape, strict=True))


@given(places())
@settings(max_examples=300)
def test_a_region_lies_in_the_scan_and_holds_all_that_is_marked(place: tuple[Volume, LesionHypotheses]) -> None:
    volume, result = place
    shown = region(result, volume)
    assert inside(shown, volume)
    assert all(type(edge) is int for side in shown for edge in (side.start, side.stop))
    assert within(result.hypotheses.masks, result.box, shown).sum() == result.hypotheses.masks.sum()


@given(places())
@settings(max_examples=100)
def test_the_views_begin_in_the_slice_and_on_the_voxel_that_are_marked_most(
    place: tuple[Volume, LesionHypotheses],
) -> None:
    volume, result = place
    found = json.loads(json_text(voxels(result, volume, ("background", "lesion"), "HU")))
    shown = region(result, volume)
    depth, height, width = (side.stop - side.start for side in shown)
    x, y, z = found["start"]
    assert (0 <= x < width, 0 <= y < height, 0 <= z < depth) == (True, True, True)
    assert found["from"] == shown[0].start
    for (first, end), count in zip(found["looked"], (width, height, depth), strict=True):
        assert 0 <= first <= end <= count
    masks = within(result.hypotheses.masks, result.box, shown)[..., ::-1, ::-1]  # as the page counts
    if masks.any():
        assert masks.sum(0)[z, y, x] == masks[:, z].sum(0).max()
    assert found["zoom"] >= 1


@given(places())
@settings(max_examples=100)
def test_of_slices_that_are_marked_alike_the_middle_one_is_shown(place: tuple[Volume, LesionHypotheses]) -> None:
    _, result = place
    masks = result.hypotheses.masks
    assert likeliest_voxel(result)[0] == best_slice(result)
    if masks.any() and len(masks) == 1:  # a block: all of its slices are alike
        marked = np.flatnonzero(masks[0].any((1, 2)))
        assert best_slice(result) == marked[len(marked) // 2]


def test_a_hypothesis_counts_by_its_probability_and_not_by_its_size() -> None:
    masks = np.zeros((2, 9, 30, 30), np.uint8)
    masks[0, 2, 10:13, 10:13] = 1
    masks[1, 7] = 1
    found = Hypotheses(masks, np.array([0.7, 0.3]), None, 0.0, None)
    box = (slice(0, 9), slice(0, 30), slice(0, 30))
    maps = np.zeros((9, 30, 30), np.float32)
    result = LesionHypotheses(Lesion((0, 0, 0)), box, found, maps, maps, 0.0, 0.5, np.ones(2))
    assert likeliest_voxel(result) == (2, 11, 11)


@given(
    shape=st.tuples(SIDE, SIDE, SIDE),
    steps=st.tuples(STEP, STEP, STEP),
    share=st.tuples(*[st.floats(0, 1)] * 3),
    crop=st.integers(1, 64),
    spacing=st.none() | st.floats(0.1, 3),
    depth_mm=st.floats(0, 60),
)
@settings(max_examples=300)
def test_a_neighbourhood_lies_in_the_scan_about_its_point(
    shape: tuple[int, int, int],
    steps: tuple[float, float, float],
    share: tuple[float, float, float],
    crop: int,
    spacing: float | None,
    depth_mm: float,
) -> None:
    z, y, x = steps
    volume = Volume(np.zeros(shape, np.int16), np.diag([-x, -y, z, 1.0]))
    index = tuple(part * count - 0.5 for part, count in zip(share, shape, strict=True))
    place = neighbourhood(volume, Lesion(volume.world(index)), crop, spacing, depth_mm)
    assert inside(place.box, volume)
    assert all(type(edge) is int for side in place.box for edge in (side.start, side.stop))
    nearest = min(max(round(round(index[0], 3)), 0), shape[0] - 1)  # a thousandth of a voxel, as `neighbourhood`
    assert place.box[0].start <= nearest < place.box[0].stop
