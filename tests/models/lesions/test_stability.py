"""How still a model stands: the changed views and their way back, the measures by hand, and models that follow the image."""

import csv
import filecmp
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.summary_document import EvaluationSummary
from ambiseg.models.lesions.case_work import CaseWork
from ambiseg.models.lesions.perturbations import (
    BEYOND_HU,
    CHANGES,
    OFFSET_HU,
    RANGE_HU,
    SHIFTS_MM,
    Scene,
    unchanged,
)
from ambiseg.models.lesions.stability import (
    MEASURES,
    READERS,
    Answer,
    Stability,
    check_stability,
    compared,
    stability_case,
)
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.intensity import BYTES, HOUNSFIELD, Intensity
from ambiseg.preprocessing.store.lesion_rows import lesions_of
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store
from ambiseg.preprocessing.volumes.scanner_noise import LUNG_HU

SIZE, STORED, SLICES, PIXEL = 24, 40, 4, 0.75
SAME = [name for name in CHANGES if "mirrored" in name or "turned" in name]
IN_HU = [name for name in (*CHANGES, READERS) if name not in BEYOND_HU]
SHIFTED = [name for name in CHANGES if name.startswith("shift") and "slice" not in name]
RNG = np.random.default_rng(0)


def ball(y: float, x: float, radius: float) -> NDArray[np.bool_]:
    """A disc [STORED, STORED]."""
    rows, columns = np.ogrid[:STORED, :STORED]
    return np.hypot(rows - y, columns - x) <= radius


def scene(intensity: Intensity = HOUNSFIELD, pixel: float | None = PIXEL, **options: Any) -> Scene:
    """Slices with a bright disc, off the centre and of another radius on each."""
    discs = np.stack([ball(20.5, 18, radius) for radius in (3, 5, 5, 2)])
    images = np.where(discs, 0.0, -800.0) if intensity is HOUNSFIELD else np.where(discs, 180.0, 30.0)
    return Scene(images[:, None].astype(np.float32), SIZE, intensity, pixel and (pixel, pixel), **options)


def discs_of(view: Any, level: float = -400.0) -> NDArray[np.bool_]:
    """What lies above a level in a view, put back."""
    return np.asarray(view.back(view.images[None, :, 0] > level))


@pytest.mark.parametrize("name", [*SAME, *SHIFTED])
def test_marks_are_put_back_where_they_were(name: str) -> None:
    made = scene()
    before, view = discs_of(unchanged(made)), CHANGES[name](made, np.random.default_rng(1))
    assert view is not None
    assert view.images.shape == (SLICES, 1, SIZE, SIZE)
    assert not np.array_equal(view.images, unchanged(made).images)
    assert before.any((2, 3)).all()
    assert np.array_equal(discs_of(view), before)


@pytest.mark.parametrize("length", SHIFTS_MM)
def test_a_shift_is_as_long_as_it_says(length: int) -> None:
    """In pixels that are whole, so by half a pixel of each axis at most."""
    made = scene()
    for seed in range(20):
        view = CHANGES[f"shift {length} mm"](made, np.random.default_rng(seed))
        corner = np.zeros((1, SLICES, SIZE, SIZE), bool)
        corner[..., 0, 0] = True
        moved = np.argwhere(view.back(corner)[0, 0])[0] - made.reach
        assert np.hypot(*moved) * PIXEL == pytest.approx(length, abs=PIXEL * math.sqrt(0.5))


def test_without_a_pixel_size_there_are_no_millimetres() -> None:
    made = scene(BYTES, pixel=None)
    given = {name for name, change in CHANGES.items() if change(made, np.random.default_rng(0)) is not None}
    assert {name for name in CHANGES if "mm" in name} == set(CHANGES) - given
    assert made.reach == 1


def test_slices_are_left_out_at_one_end() -> None:
    made, ends = scene(), set()
    for seed in range(8):
        view = CHANGES["shift 2 slices"](made, np.random.default_rng(seed))
        assert np.array_equal(view.images, unchanged(made).images[view.slices])
        ends.add((view.slices.start, view.slices.stop))
    assert ends == {(2, None), (None, -2)}
    single = Scene(made.images[:1], SIZE, HOUNSFIELD, made.pixel_mm)
    assert CHANGES["shift 1 slice"](single, np.random.default_rng(0)) is None


def test_beyond_the_stored_crop_its_border_is_repeated() -> None:
    images = np.arange(SIZE * SIZE, dtype=np.float32).reshape(1, 1, SIZE, SIZE)
    made = Scene(images, SIZE, HOUNSFIELD, (PIXEL, PIXEL))
    assert made.padded
    assert not scene().padded
    frame = made.frame(made.side)[0, 0]
    assert np.array_equal(frame, np.pad(images[0, 0], made.reach, mode="edge"))


@pytest.mark.parametrize(("intensity", "unit"), [(HOUNSFIELD, 1.0), (BYTES, 255 / 1400)])
def test_values_change_in_the_stores_own_unit(intensity: Intensity, unit: float) -> None:
    """The whole range of relative values counts as 1,400 HU."""
    made = scene(intensity)
    plain = unchanged(made).images
    for sign in (1, -1):
        view = CHANGES[f"{sign * OFFSET_HU:+g} HU"](made, RNG)
        assert view.images - plain == pytest.approx(sign * OFFSET_HU * unit, abs=1e-3)
    noise = CHANGES["second scan"](made, np.random.default_rng(0)).images - plain
    assert noise.std() == pytest.approx(LUNG_HU * unit, rel=0.1)
    assert (noise[..., 1:] * noise[..., :-1]).mean() / noise.var() == pytest.approx(0.58, abs=0.1)


@pytest.mark.parametrize("name", BEYOND_HU)
def test_something_in_a_corner_scales_a_crop_without_a_unit_anew(name: str) -> None:
    """As scaling by the extremes would do it, with one pixel more that is so much darker or brighter."""
    made = scene(BYTES)
    darker, brighter = BEYOND_HU[name]
    hounsfield = unchanged(made).images / made.per_hu  # above the darkest value
    view = CHANGES[name](made, RNG)
    expected = (hounsfield + darker) / (RANGE_HU + darker + brighter) * 255
    assert view.images == pytest.approx(expected, abs=1e-3)
    assert np.array_equal(discs_of(view, float(view.images.mean())), discs_of(unchanged(made), 100))
    assert CHANGES[name](scene(), RNG) is None


@pytest.mark.parametrize("fixed", [None, PIXEL])
@pytest.mark.parametrize("name", [name for name in CHANGES if name.startswith("pixels")])
def test_other_pixels_keep_the_area(name: str, fixed: float | None) -> None:
    made = scene(fixed_mm=fixed)
    before, view = discs_of(unchanged(made)), CHANGES[name](made, RNG)
    assert view.images.shape == (SLICES, 1, SIZE, SIZE)
    after = discs_of(view)
    middle = (before[0, 1], after[0, 1])  # a disc of 5 pixels
    assert middle[1].sum() == pytest.approx(middle[0].sum(), rel=0.2)
    assert np.argwhere(middle[1]).mean(0) == pytest.approx(np.argwhere(middle[0]).mean(0), abs=0.5)


def answer(weights: list[float], *widths: int) -> Answer:
    """Masks of the given widths, of 8 pixels."""
    masks = np.zeros((len(widths), 1, 1, 8), bool)
    for mask, width in zip(masks, widths, strict=True):
        mask[..., :width] = True
    return Answer.of(masks, np.array(weights), None, None)


def test_the_measures_by_hand() -> None:
    """A quarter of the weight moves from "nothing" (distance 1) to the wide mask, which is half of the wider one."""
    found = compared(answer([0.5, 0.5], 0, 4), answer([0.25, 0.75], 0, 8))
    assert found["presence"] == pytest.approx(0.25)
    assert found["volume"] == pytest.approx(1.0)
    assert found["likeliest"] == pytest.approx(0.25)
    assert found["lists"] == pytest.approx(0.25 * 1 + 0.5 * 0.5)
    assert found["sets"] == pytest.approx(0.5)


def test_an_answer_of_nothing_has_no_volume() -> None:
    found = compared(answer([1.0], 0), answer([1.0], 4))
    assert math.isnan(found["volume"])
    assert (found["presence"], found["likeliest"], found["sets"]) == (1, 1, 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three lesions that lie well within the window, in crops that are larger than it."""
    info = StoreInfo("discs", "made", HOUNSFIELD, same_readers=True)
    with write_store(tmp_path / "data", info, dict.fromkeys("pqr", "test")) as writer:
        for number, patient in enumerate("pqr"):
            for z, radius in enumerate((3, 5, 5, 2)):
                disc = ball(20 - number, 20, radius)
                masks = np.stack((disc, ball(20 - number, 20, radius - 1), np.zeros_like(disc)))
                crop = Crop(
                    np.where(disc, -300, -900)[None].astype(np.int16), masks.astype(np.uint8), patient, patient,
                    lesion="1", slice=z, z_mm=2.0 * z, spacing_mm=(PIXEL, PIXEL),
                )  # fmt: skip
                writer.add(crop)
    return Store.open(tmp_path / "data")


@pytest.fixture
def model(threshold_model: Callable[..., Trained]) -> Trained:
    """Marks what is brighter than a random level: whatever moves in the image, moves in its masks."""
    trained = threshold_model(SIZE, spacing_mm=None)
    trained.method.name = "thresholds"
    return trained


def measured(model: Trained, store: Store, samples: int) -> Stability:
    work = CaseWork(model, store, samples, SIZE)
    return Stability(tuple(stability_case(work, one) for one in lesions_of(store, store.rows("test"))), 0)


def test_a_model_that_follows_the_image_stands_still(store: Store, model: Trained) -> None:
    """Its masks move with the lesion, so that nothing changes once they are put back; other draws do change it."""
    found = measured(model, store, samples=40)
    for name in (*SAME, *SHIFTED):
        for measure in MEASURES:
            assert found.values(name, measure).tolist() == pytest.approx([0, 0, 0], abs=1e-9), (name, measure)
    assert found.moved("other draws", "presence")[0].mean > 0
    assert found.moved("pixels of 0.5 mm", "presence")[0].mean == pytest.approx(0, abs=1e-9)
    assert found.names == IN_HU
    assert not any(case.padded for case in found.cases)


def test_the_yardstick_is_another_reader(store: Store, model: Trained) -> None:
    lesions = lesions_of(store, store.rows("test"))
    found = measured(model, store, samples=16)
    masks = store.masks(lesions[0].rows).sum((0, 2, 3)).astype(float)
    iou = masks[1] / masks[0]  # one disc within the other; the third reader marked nothing
    assert found.values(READERS, "sets")[0] == pytest.approx((1 - iou + 1 + 1) / 3)
    assert found.values(READERS, "lists")[0] == pytest.approx((1 - iou + 1 + 1) / 3)
    assert found.values(READERS, "presence")[0] == pytest.approx(2 / 3)
    assert found.values(READERS, "volume")[0] == pytest.approx(((1 - iou) + (1 / iou - 1)) / 2)


def test_stability_is_part_of_an_evaluation(store: Store, model: Trained, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = evaluate(model, store, "test", samples=16, stability=2, on_progress=lambda *step: steps.append(step))
    assert steps[-1] == (12 + 3 + 2 + 2, 12 + 3 + 2 + 2)
    found.write(tmp_path)
    summary = EvaluationSummary.read(tmp_path)
    assert summary.stability is not None
    assert set(summary.stability) == {"lesions", "slices"}
    lesions = summary.stability["lesions"]
    assert (lesions.cases, lesions.patients, lesions.padded) == (2, 2, 0)
    assert set(lesions.changes) == set(IN_HU)
    assert lesions.changes["mirrored left to right"]["sets"].percentile95 == pytest.approx(0, abs=1e-9)
    assert not any("slice" in name for name in summary.stability["slices"].changes)
    with (tmp_path / "stability.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"lesions", "slices"}
    assert len(rows) == 2 * len(lesions.changes) + 2 * len(summary.stability["slices"].changes)


def test_stability_is_measured_on_request_and_of_models_of_images_alone(store: Store, model: Trained) -> None:
    assert evaluate(model, store, "test", samples=16, by="slice", limit=2).stability == {}
    with pytest.raises(UsageError, match="`stability` is a number of cases"):
        evaluate(model, store, "test", samples=16, stability=-1)
    data = model.record.data.model_copy(update={"probabilities": True})
    other = replace(model, record=model.record.model_copy(update={"data": data}))
    with pytest.raises(UsageError, match="leave out `stability`"):
        check_stability(other)


@pytest.mark.slow
def test_several_processes_find_the_same(store: Store, model: Trained, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    one, two = (
        evaluate(
            model, store, "test", samples=16, stability=1, workers=workers, on_progress=lambda *step: steps.append(step)
        )
        for workers in (1, 2)
    )
    for found, folder in ((one, tmp_path / "one"), (two, tmp_path / "two")):
        folder.mkdir()
        found.write(folder)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["cases.csv", "lesions.csv", "stability.csv", "summary.json"]
    assert filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", files, shallow=False) == (files, [], [])
    assert steps == 2 * [(done, 12 + 3 + 1 + 1) for done in range(12 + 3 + 1 + 1 + 1)]


def test_a_store_travels_without_what_was_read_of_it(store: Store) -> None:
    store.images(store.rows("test"))
    sent = pickle.dumps(store)
    assert pickle.loads(sent) == store
    assert len(sent) < 4000
