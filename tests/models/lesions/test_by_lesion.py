"""Evaluating whole lesions: oracles that know the readers' volumes, readers beyond the model's view, and the files."""

import csv
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.core.lesion_slices import LesionSlices
from ambiseg.models.core.predictive import Atoms
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.stored import read_evaluation, read_evaluations
from ambiseg.models.evaluation.summary_document import EvaluationSummary
from ambiseg.models.lesions.by_lesion import BASELINES, chosen_lesions, evaluated_lesions, has_lesions, lesion_case
from ambiseg.models.lesions.case_work import CaseWork
from ambiseg.models.lesions.lesion_masks import on_one_frame
from ambiseg.models.metrics.catalogue import LESION_CASE_MEASURES, LESION_CATALOGUE
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.store.intensity import HOUNSFIELD
from ambiseg.preprocessing.store.lesion_rows import lesions_of
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store
from ambiseg.preprocessing.volumes.planes import centre_crop

SIZE, SLICES, READERS = 12, 3, 4
STEP, PIXEL = 2.0, 0.5
VOXEL = STEP * PIXEL**2
POPULATION = np.array([0.3, 0.5, 0.2])  # nothing, small, large


def volumes() -> NDArray[np.uint8]:
    """What a reader may mark [3, Z, Y, X]: nothing, 2 x 2 pixels on the middle slice, 8 x 8 pixels on all slices."""
    masks = np.zeros((3, SLICES, SIZE, SIZE), np.uint8)
    masks[1, 1, 5:7, 5:7] = 1
    masks[2, :, 2:10, 2:10] = 1
    return masks


SMALL, LARGE = 4 * VOXEL, 64 * SLICES * VOXEL


def write_lesions(path: Path, lesions: int = 60, *, known_z: bool = True, **info: Any) -> Store:
    """Lesions of three slices each, two per patient; an image holds its lesion's number. Slices are stored top first."""
    rng = np.random.default_rng(0)
    patients = [f"p{number // 2:03d}" for number in range(lesions)]
    told = StoreInfo("volumes", "test", HOUNSFIELD, **{"same_readers": True} | info)
    with write_store(path, told, dict.fromkeys(patients, "test")) as writer:
        for number, patient in enumerate(patients):
            masks = volumes()[rng.choice(3, READERS, p=POPULATION)]
            for z in reversed(range(SLICES)):
                image = np.full((1, SIZE, SIZE), number, np.int16)
                crop = Crop(
                    image, masks[:, z], patient, f"c{number}", lesion="0", slice=z,
                    z_mm=z * STEP if known_z else None, spacing_mm=(PIXEL, PIXEL),
                )  # fmt: skip
                writer.add(crop)
    return Store.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_lesions(tmp_path_factory.mktemp("volumes") / "data")


class Oracle:
    """Knows each lesion's weighted volumes: `known(number of the lesion) -> masks [S, Z, H, W], weights [S]`."""

    def __init__(self, store: Store, known: Any = None, *, crop: int = SIZE, exact: bool = True) -> None:
        self.known = known or (lambda number: (volumes(), POPULATION))
        self.exact = exact
        self.record = SimpleNamespace(data=DataRecord.of(store), crop=crop)
        self.record.crops = partial(RunRecord.crops, self.record)
        self.method = SimpleNamespace(name="oracle")
        self.reader = ""
        self.name, self.weights_hash, self.calibration, self.extent = "oracle-001", "0" * 64, None, None

    def trained_on(self) -> None:
        return None

    def predictive(self, images: NDArray[Any], probabilities: object = None) -> "Oracle":
        self.images = images
        return self

    def pixelwise(self) -> None:
        return None

    def atoms(self, n: int, generator: torch.Generator) -> Atoms:
        return self.lesion(n, LesionSlices((0.0,)), generator)

    def lesion(self, n: int, slices: LesionSlices, generator: torch.Generator) -> Atoms:
        masks, weights = self.known(int(self.images[0, 0, 0, 0]))
        labels = torch.as_tensor(centre_crop(masks, self.images.shape[-1])).swapaxes(0, 1)  # [Z, S, H, W]
        chosen = torch.as_tensor(weights).double()
        if len(slices.place_mm) == 1:
            labels = labels[1:2]  # a slice alone is taken to be the middle one
        if not self.exact:
            labels = labels[:, torch.multinomial(chosen, n, True, generator=generator)]
            chosen = torch.full((n,), 1 / n, dtype=torch.float64)
        marginal = torch.einsum("s,kzsyx->zkyx", chosen, torch.stack((labels == 0, labels == 1)).double())
        weight = chosen.float().expand(len(labels), -1)
        return Atoms(labels, weight, marginal.float(), None if self.exact else n)


def evaluated(oracle: Oracle, store: Store, **options: Any) -> Any:
    work = CaseWork(oracle, store, **{"samples": 100, "size": oracle.record.crop} | options)  # type: ignore[arg-type]
    return evaluated_lesions([lesion_case(work, lesion) for lesion in chosen_lesions(store, "test")])


def readers_volumes(store: Store) -> NDArray[np.uint8]:
    """[lesions, R, Z, H, W], slices by ascending z."""
    return np.stack([store.masks(lesion.rows).swapaxes(0, 1) for lesion in lesions_of(store, store.rows("test"))])


def test_a_model_that_knows_the_readers_is_perfect(store: Store) -> None:
    masks = readers_volumes(store)
    found = evaluated(Oracle(store, lambda number: (masks[number], np.full(READERS, 1 / READERS))), store)
    assert found.exact
    for name in ("ged_v", "empty_error", "presence_ece", "volume_bias", "hypothesis_ece"):
        assert found.figures[name].mean == pytest.approx(0, abs=1e-6), name
    assert found.figures["ot_iou"].mean == pytest.approx(1)
    assert found.figures["volume_in_90"].mean == 1
    means = [case.readers_mm3.mean() for case in found.cases]
    assert means == pytest.approx((masks.sum((2, 3, 4)) * VOXEL).mean(1).tolist())


def test_a_model_that_knows_the_population_is_calibrated(store: Store) -> None:
    """Its presence, volumes and intervals are those from which readers were drawn."""
    found = evaluated(Oracle(store), store)
    marked = 1 - POPULATION[0]
    assert found.figures["empty_model"].mean == pytest.approx(POPULATION[0])
    assert found.figures["presence_brier"].mean == pytest.approx(marked * (1 - marked), abs=0.02)
    assert found.figures["presence_ece"].mean <= 0.05
    assert found.figures["presence_auroc"].mean == pytest.approx(0.5)
    assert found.figures["ged_u"].low <= 0 <= found.figures["ged_u"].high
    assert found.figures["volume_bias"].low <= 0 <= found.figures["volume_bias"].high
    shares = POPULATION[1:] / marked
    case = found.cases[0]
    assert case.forecast_mm3["expected_mm3"] == pytest.approx(shares @ [SMALL, LARGE])
    assert (case.forecast_mm3["median_mm3"], case.forecast_mm3["high_90_mm3"]) == (SMALL, LARGE)
    assert found.figures["volume_width_90"].mean == pytest.approx(LARGE / SMALL)
    assert found.figures["volume_in_90"].mean == 1


def test_the_baselines_answer_the_same_questions(store: Store) -> None:
    found = evaluated(Oracle(store), store)
    masks = readers_volumes(store)
    mm3 = masks.sum((2, 3, 4)) * VOXEL
    likeliest = found.baselines["likeliest mask"]
    assert likeliest["volume_crps"].mean == pytest.approx(np.abs(mm3 - SMALL).mean())
    assert likeliest["presence_brier"].mean == pytest.approx((mm3 == 0).mean())
    assert found.baselines["mean map"]["volume_crps"].mean == pytest.approx(np.abs(mm3 - SMALL).mean())  # .7 of all
    own, others = found.figures["volume_crps"].mean, found.baselines["other readers"]["volume_crps"].mean
    assert own < others
    assert own < likeliest["volume_crps"].mean
    assert likeliest["hypothesis_nll"].cases == 0
    assert set(found.baselines) == set(BASELINES)


def test_readers_beyond_the_models_view_count_against_it(store: Store) -> None:
    """A model that sees the central 4 pixels gives the large mask 4 x 4 pixels of each slice; the readers' keep 8 x 8."""
    found = evaluated(Oracle(store, crop=4), store)
    whole = evaluated(Oracle(store), store)
    for case, other in zip(found.cases, whole.cases, strict=True):
        assert case.readers_mm3.tolist() == other.readers_mm3.tolist()
    assert found.cases[0].forecast_mm3["high_90_mm3"] == 16 * SLICES * VOXEL
    assert found.figures["volume_bias"].mean < whole.figures["volume_bias"].mean
    large = next(case for case in found.cases if case.readers_mm3.max() == LARGE)
    assert large.own.scores["best_dice"] < 1


def test_one_frame_holds_all_marks_in_their_places() -> None:
    rng = np.random.default_rng(0)
    labels, masks = rng.integers(0, 2, (3, 2, 4, 5), np.uint8), np.zeros((2, 2, 9, 11), np.uint8)
    masks[0, 1, 0, 7] = masks[1, 0, 6, 10] = 1
    wide, readers = on_one_frame(labels, masks)
    full = np.zeros((3, 2, 9, 11), np.uint8)
    full[:, :, 2:6, 3:8] = labels
    assert wide.shape[1:] == readers.shape[1:]
    assert np.array_equal(wide, full[:, :, 0:7, 3:11])
    assert np.array_equal(readers, masks[:, :, 0:7, 3:11])


def test_one_frame_of_nothing_is_one_pixel() -> None:
    wide, readers = on_one_frame(np.zeros((2, 3, 4, 4), np.uint8), np.zeros((1, 3, 8, 8), np.uint8))
    assert (wide.shape, readers.shape) == ((2, 3, 1, 1), (1, 3, 1, 1))
    assert not wide.any()


def test_a_lesion_does_not_depend_on_the_others(store: Store) -> None:
    oracle = Oracle(store, exact=False)
    every = evaluated(oracle, store)
    lesions = chosen_lesions(store, "test")[7:9]
    work = CaseWork(oracle, store, samples=100, size=SIZE)  # type: ignore[arg-type]
    some = evaluated_lesions([lesion_case(work, lesion) for lesion in lesions])
    assert not every.exact
    assert dict(some.cases[1].own.scores) == pytest.approx(dict(every.cases[8].own.scores), nan_ok=True)


def test_without_z_there_are_figures_of_masks_but_not_of_volumes(tmp_path: Path) -> None:
    blind = write_lesions(tmp_path / "data", 8, known_z=False)
    assert not has_lesions(blind, "test")
    found = evaluated(Oracle(blind), blind)
    assert found.figures["ged16_u"].cases == found.figures["presence_brier"].cases == 8
    for name in ("volume_crps", "volume_in_50", "volume_bias", "top_surface_mm"):
        assert found.figures[name].cases == 0, name
    assert found.summary().with_volume == 0
    assert found.columns()["readers_mm3"] == [""] * 8


def test_every_figure_of_the_catalogue_is_there(store: Store) -> None:
    found = evaluated(Oracle(store), store)
    names = {measure.name for measure in LESION_CATALOGUE}
    assert set(found.figures) == names
    assert all(set(figures) == names for figures in found.baselines.values())
    for name, figure in found.figures.items():
        if figure.cases and not math.isnan(figure.low):
            assert figure.low <= figure.high, name
    assert found.reliability["presence"].counts.sum() == 60 * READERS


def test_about_as_many_slices_as_the_limit(store: Store) -> None:
    lesions = chosen_lesions(store, "test", limit=30)
    assert len(lesions) == 10
    assert {len(lesion.rows) for lesion in lesions} == {SLICES}
    assert len(chosen_lesions(store, "test", limit=1)) == 1
    assert len(chosen_lesions(store, "test", limit=10**6)) == 60


def test_readers_who_change_places_have_no_volumes(tmp_path: Path) -> None:
    mixed = write_lesions(tmp_path / "data", 4, same_readers=False)
    with pytest.raises(DataError, match="change their places from slice to slice"):
        chosen_lesions(mixed, "test")
    assert evaluate(Oracle(mixed), mixed, "test").lesions is None
    with pytest.raises(DataError, match="evaluate by slice"):
        evaluate(Oracle(mixed), mixed, "test", by="lesion")


def test_a_split_without_lesions(store: Store) -> None:
    with pytest.raises(InputError, match="has no lesion"):
        chosen_lesions(store, "val")


def test_lesions_are_evaluated_beside_slices_unless_only_slices_are_wanted(store: Store, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = evaluate(Oracle(store), store, "test", limit=30, on_progress=lambda *step: steps.append(step))
    assert (len(found.cases), len(found.lesions.cases)) == (30, 10)
    assert (steps[0], steps[-1]) == ((0, 40), (40, 40))
    found.write(tmp_path)
    summary = EvaluationSummary.read(tmp_path)
    assert summary.lesions is not None
    assert (summary.lesions.lesions, summary.lesions.slices, summary.lesions.with_volume) == (10, 30, 10)
    assert set(summary.lesions.figures) == {measure.name for measure in LESION_CATALOGUE}
    assert evaluate(Oracle(store), store, "test", limit=30, by="slice").lesions is None


def test_the_table_of_lesions(store: Store, tmp_path: Path) -> None:
    found = evaluate(Oracle(store), store, "test", limit=30)
    found.write(tmp_path)
    with (tmp_path / "lesions.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert set(LESION_CASE_MEASURES) <= set(rows[0])
    first = found.lesions.cases[0]
    assert [float(value) for value in rows[0]["readers_mm3"].split(";")] == first.readers_mm3.tolist()
    assert (rows[0]["slices"], rows[0]["voxel_mm3"], rows[0]["readers"]) == ("3", "0.5", "4")
    assert float(rows[0]["median_mm3"]) == SMALL


def test_a_summary_from_before_lesions_is_read(store: Store, tmp_path: Path) -> None:
    evaluate(Oracle(store), store, "test", limit=3, by="slice").write(tmp_path)
    assert '"lesions"' not in (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert EvaluationSummary.read(tmp_path).lesions is None


def test_runs_are_compared_by_lesion(store: Store, tmp_path: Path) -> None:
    """A model that knows the readers beats one that knows the population."""
    masks = readers_volumes(store)
    models = {
        "population": Oracle(store),
        "readers": Oracle(store, lambda number: (masks[number], np.full(READERS, 1 / READERS))),
    }
    for name, oracle in models.items():
        oracle.name = name
        (tmp_path / name).mkdir()
        evaluate(oracle, store, "test", by="lesion").write(tmp_path / name)
    stored = read_evaluations([tmp_path / name for name in models], "test", "lesion")
    assert {len(one.rows) for one in stored} == {60}
    found = compare(stored, ["presence_brier", "log1p_volume_crps", "hm_iou16"])
    assert (found.by, found.cases) == ("lesion", 60)
    assert {row.better for row in found.differences} == {"readers"}
    with pytest.raises(UsageError, match="presence_ece is a figure of the whole split"):
        compare(stored, ["presence_ece"])
    with pytest.raises(UsageError, match="empty_accuracy is a figure that no lesion has"):
        compare(stored, ["empty_accuracy"])


def test_runs_without_lesions_are_not_compared_by_lesion(store: Store, tmp_path: Path) -> None:
    evaluate(Oracle(store), store, "test", limit=3, by="slice").write(tmp_path)
    with pytest.raises(InputError, match="holds no whole lesions: evaluate the run again"):
        read_evaluation(tmp_path, "test", "lesion")
