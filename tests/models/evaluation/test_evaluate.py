"""Evaluating models whose scores are known: oracles that draw from the readers or from the population of readers."""

import csv
import json
import math
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ambiseg.models.core.calibration import Calibration, Reweighting
from ambiseg.models.core.predictive import Atoms, SampledPredictive
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.evaluation import Evaluation
from ambiseg.models.evaluation.rows import data_for
from ambiseg.models.metrics.catalogue import CASE_MEASURES, CATALOGUE, MEASURES
from ambiseg.models.metrics.reliability import pixel_reliability, together
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.store.flips import Flip
from ambiseg.preprocessing.store.intensity import HOUNSFIELD
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store
from ambiseg.preprocessing.volumes.planes import centre_crop
from tests.models.metrics.ged_floor import floor

CASES, READERS, SIZE = 240, 4, 12
POPULATION = np.array([0.3, 0.4, 0.3])  # empty, small, large


def document(evaluation: Evaluation) -> dict[str, Any]:
    """What an evaluation's summary.json holds."""
    return evaluation.summary().model_dump(mode="json")


def population_masks():
    """What a reader may draw: nothing, a small square, a large square."""
    masks = np.zeros((3, SIZE, SIZE), np.uint8)
    masks[1, 4:8, 4:8] = 1
    masks[2, 2:10, 2:10] = 1
    return masks


def write_cases(path, name="squares", cases=CASES, split="test"):
    """Crops whose image holds their row, read by four readers of the population; three crops per patient."""
    rng = np.random.default_rng(0)
    patients = [f"p{row // 3:03d}" for row in range(cases)]
    with write_store(path, StoreInfo(name, "test", HOUNSFIELD), dict.fromkeys(patients, split)) as writer:
        for row, patient in enumerate(patients):
            masks = population_masks()[rng.choice(3, READERS, p=POPULATION)]
            present = np.array([True, True, True, row % 5 > 0])
            writer.add(Crop(np.full((1, SIZE, SIZE), row, np.int16), masks, patient, f"c{row}", present))
    return Store.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("evaluate") / "data")


class Oracle:
    """Knows each image's support: `known(row) -> masks [A, H, W], weights [A]`; exact, or drawn from.

    stated: `row -> probability of foreground [H, W]` that it gives without a draw.
    """

    def __init__(self, store, known, exact=False, crop=SIZE, stated=None):
        self.known, self.exact, self.stated = known, exact, stated
        self.record = SimpleNamespace(data=DataRecord.of(store), crop=crop)
        self.record.crops = partial(RunRecord.crops, self.record)
        self.method = SimpleNamespace(name="oracle")
        self.reader = ""
        self.name, self.weights_hash, self.calibration = "oracle-001", "0" * 64, None

    def trained_on(self):
        return None

    def predictive(self, images, probabilities=None):
        self.side, self.probabilities = images.shape[-1], probabilities
        assert images.shape[1:] == (1, self.side, self.side)
        self.row = int(images[0, 0, 0, 0])
        return self

    def pixelwise(self):
        if self.stated is None:
            return None
        lesion = torch.as_tensor(centre_crop(self.stated(self.row), self.side))
        return torch.stack((1 - lesion, lesion))[None]

    def atoms(self, n, generator):
        known, weights = self.known(self.row)
        masks, weights = torch.as_tensor(centre_crop(known, self.side)), torch.as_tensor(weights)
        if not self.exact:
            masks = masks[torch.multinomial(weights.double(), n, True, generator=generator)]
            weights = torch.full((n,), 1 / n)
        marginal = torch.einsum("n,knyx->kyx", weights.float(), torch.stack((masks == 0, masks == 1)).float())
        return Atoms(masks[None], weights[None], marginal[None], None if self.exact else n)


def readers_oracle(store, **options):
    def known(row):
        masks = store.masks(np.array([row]))[0][store.present[row]]
        return masks, np.full(len(masks), 1 / len(masks))

    return Oracle(store, known, **options)


def population_oracle(store, **options):
    return Oracle(store, lambda row: (population_masks(), POPULATION), **options)


def write_modes(path, *, size=SIZE, cases=40, **info):
    """Crops whose image holds their row, with the population's masks and their odds; the odds of "sure" ones differ."""
    names = [f"p{row // 3:03d}" for row in range(cases)]
    told = StoreInfo("modes", "test", HOUNSFIELD, group="cue", **info)
    with write_store(path, told, dict.fromkeys(names, "test")) as writer:
        for row, patient in enumerate(names):
            odds = SURE if row % 4 == 0 else POPULATION
            provenance = {"cue": "sure" if row % 4 == 0 else "unsure"}
            image = np.full((1, SIZE, SIZE), row, np.int16)
            writer.add(
                Crop(image, population_masks(), patient, f"c{row}", mask_probabilities=odds, provenance=provenance)
            )
    return Store.open(path)


SURE = np.array([0.0, 0.1, 0.9])


@pytest.fixture(scope="module")
def modes(tmp_path_factory):
    return write_modes(tmp_path_factory.mktemp("modes") / "data")


def truth_oracle(store, **options):
    return Oracle(
        store, lambda row: (store.masks(np.array([row]))[0], store.truth.probabilities(np.array([row]))[0]), **options
    )


def standard_error(evaluation, name):
    figure = evaluation.figures[name]
    return figure.sd / math.sqrt(figure.cases)


def test_an_oracle_that_draws_from_the_readers_scores_its_floor(store):
    """E[GED_V] = 2D - D (1 - 1/N) - D = D / N, with D the readers' diversity."""
    found = evaluate(readers_oracle(store), store, "test", samples=50)
    diversity = found.figures["reader_diversity"].mean
    assert found.figures["ged100_v"].cases == 0
    for name, n in (("ged16_v", 16), ("ged50_v", 50), ("ged_v", 50)):
        assert found.figures[name].mean == pytest.approx(diversity / n, abs=4 * standard_error(found, name))
    assert found.figures["ged16_u"].mean < 0


def test_an_oracle_that_knows_the_population_scores_its_floor(store):
    """E[GED_V] = d_SS / N + d_YY / M, and E[GED_U] = 0."""
    found = evaluate(population_oracle(store), store, "test")
    distance = np.array([[0, 1, 1], [1, 0, 0.75], [1, 0.75, 0]])
    diversity = POPULATION @ distance @ POPULATION
    readers = store.present.sum(1)
    floor = diversity / 16 + np.mean(diversity / readers)
    assert found.figures["ged16_v"].mean == pytest.approx(floor, abs=4 * standard_error(found, "ged16_v"))
    assert found.figures["ged16_u"].mean == pytest.approx(0, abs=4 * standard_error(found, "ged16_u"))
    assert floor > 8 * standard_error(found, "ged16_v")


def test_exact_weights_have_no_share_of_the_draws(store):
    found = evaluate(readers_oracle(store, exact=True), store, "test")
    assert found.about.weights == "exact"
    assert found.figures["ged_v"].mean == pytest.approx(0, abs=1e-7)
    diversity = found.figures["reader_diversity"].mean
    floor = 4 * standard_error(found, "ged16_v")
    assert found.figures["ged16_v"].mean == pytest.approx(diversity / 16, abs=floor)
    assert found.figures["empty_error"].mean == pytest.approx(0, abs=1e-7)
    assert found.figures["empty_accuracy"].mean == 1


def test_an_oracle_of_known_odds_scores_the_exact_floor(modes):
    found = evaluate(truth_oracle(modes), modes, "test", samples=64)
    assert found.about.floor["ged16_v"] == pytest.approx(floor(modes, samples=16))
    assert found.about.floor["ged_v"] == pytest.approx(floor(modes, samples=64))
    for name in ("ged16_v", "ged_v"):
        margin = 4 * standard_error(found, name)
        assert found.figures[name].mean == pytest.approx(found.about.floor[name], abs=margin)
    for name in ("ged16_u", "ged_u"):
        assert found.figures[name].mean == pytest.approx(0, abs=4 * standard_error(found, name))
    exact = evaluate(truth_oracle(modes, exact=True), modes, "test")
    assert exact.about.floor["ged_v"] == 0
    assert exact.about.floor["ged100_v"] == pytest.approx(floor(modes, samples=100))
    assert set(found.about.floor) == {"ged16_v", "ged50_v", "ged_v"}
    for name in ("ged_v", "ged_u", "mode_error", "empty_error", "hypothesis_ece", "top_ece", "pixel_ece"):
        assert exact.figures[name].mean == pytest.approx(0, abs=1e-7), name
    assert exact.figures["ot_iou"].mean == pytest.approx(1, abs=1e-7)
    for n in (16, 50, 100):
        name = f"ged{n}_v"
        margin = 4 * standard_error(exact, name)
        assert exact.figures[name].mean == pytest.approx(exact.about.floor[name], abs=margin)


def test_mode_probabilities_are_reported_by_group(modes):
    """A model that gives every image the population's odds is right for one group and wrong for the other."""
    found = evaluate(Oracle(modes, lambda row: (population_masks(), POPULATION), exact=True), modes, "test")
    assert {name: group.cases for name, group in found.modes.items()} == {"sure": 10, "unsure": 30}
    np.testing.assert_allclose(found.modes["sure"].truth, SURE)
    np.testing.assert_allclose(found.modes["sure"].model, POPULATION, atol=1e-7)
    assert found.modes["sure"].error == pytest.approx((0.3 + 0.3 + 0.6) / 3)
    assert found.modes["unsure"].error == pytest.approx(0, abs=1e-7)
    assert found.figures["mode_error"].mean == pytest.approx(0.4 / 4)
    summary = document(found)
    assert summary["modes"]["sure"] == {
        "cases": 10,
        "truth": pytest.approx(SURE.tolist()),
        "model": pytest.approx(POPULATION.tolist()),
        "mean_absolute_error": pytest.approx(0.4),
    }
    assert summary["group"] == "cue"


def test_every_figure_of_the_catalogue_is_there(store):
    found = evaluate(population_oracle(store, exact=True), store, "test", limit=20)
    assert set(found.figures) == {measure.name for measure in CATALOGUE}
    for measure in CATALOGUE:
        figure = found.figures[measure.name]
        if measure.name.startswith("stated"):
            assert (figure.cases, math.isnan(figure.mean)) == (0, True)
        elif measure.pooled:
            assert figure.low <= figure.mean <= figure.high, measure.name
            assert math.isnan(figure.sd)
    assert set(found.reliability) == {"hypotheses", "top", "pixels", "marked_pixels"}
    assert found.reliability["top"].counts.sum() == 20
    assert found.reliability["pixels"].counts.sum() == 20 * SIZE * SIZE
    assert found.reliability["marked_pixels"].counts.sum() == 20 * 8 * 8  # where the large square is likely


def test_pixels_stated_without_draws_have_figures_of_their_own(modes):
    """A model that draws but one mask, and states each pixel's true probability beside it: F of a collapsed `refine`."""

    def true_shares(row):
        return np.tensordot(
            modes.truth.probabilities(np.array([row]))[0], modes.masks(np.array([row]))[0].astype(float), 1
        )

    collapsed = Oracle(modes, lambda row: (population_masks(), np.array([0.0, 1.0, 0.0])), stated=true_shares)
    found = evaluate(collapsed, modes, "test", samples=16)
    assert found.figures["stated_pixel_ece"].mean == pytest.approx(0, abs=1e-7)
    assert found.figures["stated_marked_pixel_ece"].mean == pytest.approx(0, abs=1e-7)
    assert found.figures["marked_pixel_ece"].mean > 0.3
    assert set(found.reliability) > {"stated_pixels", "stated_marked_pixels"}
    assert found.reliability["stated_marked_pixels"].counts.sum() == 40 * 8 * 8


def test_the_error_of_stated_pixels_by_hand(modes):
    """Probability .2 everywhere: in images of the population .7 of readers mark the small square, .3 the ring about it."""
    dull = truth_oracle(modes, exact=True, stated=lambda row: np.full((SIZE, SIZE), 0.2))
    found = evaluate(dull, modes, "test")
    inner, outer = 16 * (0.25 * 1.0 + 0.75 * 0.7), 48 * (0.25 * 0.9 + 0.75 * 0.3)
    assert found.figures["pixel_ece"].mean == pytest.approx(0, abs=1e-7)
    assert found.figures["stated_pixel_ece"].mean == pytest.approx(abs(0.2 - (inner + outer) / SIZE**2), abs=1e-6)
    json.dumps(document(found), allow_nan=False)


def test_refine_states_its_calibration_net(known_truth, made_run):
    """The figures of F are those of its own probabilities, which need no draw."""
    trained = load_trained(made_run("refine", data=known_truth), torch.device("cpu"))
    rows = known_truth.rows("test")
    found = evaluate(trained, known_truth, "test", samples=16)
    bins = []
    for row in rows:
        image = centre_crop(known_truth.images(np.array([row])), 16)
        with torch.inference_mode():
            stated = trained.predictive(image, None).pixelwise()[0].numpy()
        masks = centre_crop(known_truth.masks(np.array([row]))[0], 16)
        bins.append(pixel_reliability(stated, masks, np.full(len(masks), 1 / len(masks)))[0])
    assert found.figures["stated_pixel_ece"].mean == pytest.approx(together(bins).ece)
    assert found.figures["stated_pixel_ece"].cases == len(rows)


def test_the_ece_of_a_list_falls_with_its_length(store):
    """Masks that nobody draws, each at the least probability that is listed: nearly the same is said, yet the ECE is lower.

    So it is no measure by which one model is better than another.
    """
    wrong = np.array([0.6, 0.2, 0.2])
    noise = np.random.default_rng(1).integers(2, size=(5, SIZE, SIZE), dtype=np.uint8)

    def longer(row):
        return np.concatenate((population_masks(), noise)), np.append(0.9 * wrong, np.full(5, 0.02))

    short = evaluate(Oracle(store, lambda row: (population_masks(), wrong), exact=True), store, "test")
    long = evaluate(Oracle(store, longer, exact=True), store, "test")
    assert long.figures["hypothesis_ece"].mean < 0.6 * short.figures["hypothesis_ece"].mean
    assert long.figures["top_ece"].mean == pytest.approx(short.figures["top_ece"].mean, abs=0.07)
    assert MEASURES["hypothesis_ece"].better is None


def test_hypotheses_of_known_reliability(store):
    """Readers of the population agree with its probabilities; a model certain of its favourite errs by what it omits."""
    honest = evaluate(population_oracle(store, exact=True), store, "test")
    assert honest.figures["hypothesis_ece"].mean < 0.05
    assert honest.figures["top_ece"].mean < 0.05
    mode = np.array([0.03, 0.94, 0.03])
    sure = evaluate(Oracle(store, lambda row: (population_masks(), mode), exact=True), store, "test")
    assert sure.figures["top_ece"].mean == pytest.approx(0.54, abs=0.07)
    assert sure.figures["hypothesis_nll"].mean > honest.figures["hypothesis_nll"].mean
    assert sure.figures["hypothesis_brier"].mean > honest.figures["hypothesis_brier"].mean
    log_odds = -np.log(POPULATION)
    shares = np.array([case.outcome.hits[:3] for case in honest.cases]).mean(0)
    expected = shares @ np.sort(log_odds)
    assert honest.figures["hypothesis_nll"].mean == pytest.approx(expected, rel=0.02)


def test_ambiguity_tells_where_readers_disagree(store):
    """The oracle of the readers is ambiguous just where they differ; one with the same masks everywhere knows nothing."""
    found = evaluate(readers_oracle(store, exact=True), store, "test")
    disagreeing = [case.disagree for case in found.cases]
    for case, disagree in zip(found.cases, disagreeing, strict=True):
        read = case.scores["empty_readers"]
        assert disagree == (0 < read < 1)
    assert found.figures["ambiguity_auroc"].mean > 0.95
    assert found.about.notes == []
    blind = evaluate(population_oracle(store, exact=True), store, "test")
    assert blind.figures["ambiguity_auroc"].mean == 0.5


def test_a_split_without_disagreement_says_so(tmp_path):
    """All readers draw the same; everything works, and what nobody can know is not defined."""
    with write_store(tmp_path / "data", StoreInfo("same", "test", HOUNSFIELD), {"p": "test", "q": "test"}) as writer:
        for row, patient in enumerate("ppq"):
            image = np.full((1, SIZE, SIZE), row, np.int16)
            writer.add(Crop(image, population_masks()[[1, 1, 1]], patient, f"c{row}"))
    same = Store.open(tmp_path / "data")
    found = evaluate(population_oracle(same), same, "test")
    assert math.isnan(found.figures["ambiguity_auroc"].mean)
    assert found.about.notes == [
        "In no case two readers' masks share nothing, so the AUROC of the ambiguity is not defined."
    ]
    assert found.figures["reader_diversity"].mean == 0
    found.write(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["figures"]["ambiguity_auroc"]["mean"] is None


def test_surface_distances_are_in_the_data_sets_mm(tmp_path):
    """One pixel size for all crops, or each scan's own (y, x) where crops kept their scans' pixels."""
    large, small = population_masks()[2], population_masks()[1]

    def distance(name, spacing, own):
        told = StoreInfo(name, "test", HOUNSFIELD, spacing_mm=spacing)
        with write_store(tmp_path / name, told, {"p": "test"}) as writer:
            writer.add(Crop(np.zeros((1, SIZE, SIZE), np.int16), small[None], "p", "c", spacing_mm=own))
        data = Store.open(tmp_path / name)
        found = evaluate(Oracle(data, lambda row: (large[None], np.ones(1)), exact=True), data, "test")
        return found.figures["top_surface_mm"].mean

    unit = distance("one", 1.0, None)
    assert unit > 1
    assert distance("two", 2.0, (7.0, 9.0)) == pytest.approx(2 * unit)
    assert distance("own", None, (3.0, 3.0)) == pytest.approx(3 * unit)
    assert 3 * unit < distance("unlike", None, (3.0, 5.0)) < 5 * unit
    assert math.isnan(distance("none", None, None))


def test_evaluations_of_draws_and_of_exact_weights_share_their_estimators(store):
    oracles = (population_oracle(store), population_oracle(store, exact=True))
    draws, exact = (evaluate(oracle, store, "test", limit=3).about for oracle in oracles)
    assert (draws.weights, exact.weights) == ("draws", "exact")
    assert draws.estimators == exact.estimators
    assert draws.calibrated is None


def test_a_runs_calibration_is_used_and_told(store):
    fitted = {"samples": 100, "seed": 0, "split": "val", "data_hash": "", "weights_hash": ""}
    oracle = population_oracle(store, exact=True)
    plain = evaluate(oracle, store, "test", limit=30)
    oracle.calibration = Calibration(slices=Reweighting(presence_shift=2), **fitted)
    found = evaluate(oracle, store, "test", limit=30)
    assert found.about.calibrated.slices.presence_shift == 2
    assert (empty_of(found) < empty_of(plain)).all()
    assert found.figures["ged16_v"] == plain.figures["ged16_v"]
    json.dumps(document(found))


def empty_of(evaluation):
    """The stated probability of the empty mask of each case."""
    return np.array([case.outcome.probabilities[case.outcome.empty].sum() for case in evaluation.cases])


def test_readers_have_no_modes(store):
    found = evaluate(population_oracle(store), store, "test", limit=3)
    assert (found.modes, "modes" in document(found), "floor" in document(found)) == ({}, False, False)
    assert found.figures["mode_error"].cases == 0


def test_modes_by_the_hundred_are_not_reported_one_by_one(tmp_path):
    flips = tuple(Flip(label, label + 7, 0.5) for label in range(1, 8))
    names = ("none", *map(str, range(1, 15)))
    mask = np.full((1, SIZE, SIZE), 1, np.uint8)
    with write_store(
        tmp_path / "data", StoreInfo("f", "test", HOUNSFIELD, names, flips=flips), {"p": "test"}
    ) as writer:
        writer.add(Crop(np.zeros((1, SIZE, SIZE), np.int16), mask, "p", "c"))
    flipping = Store.open(tmp_path / "data")
    found = evaluate(Oracle(flipping, lambda row: (mask, np.ones(1)), exact=True), flipping, "test")
    assert (flipping.readers, found.modes) == (128, {})
    assert found.figures["mode_error"].mean == pytest.approx(0.5)  # two distinct modes, of which it knows one


def test_whole_images_are_evaluated_when_asked_for(store):
    centre = evaluate(readers_oracle(store, crop=4, exact=True), store, "test", limit=5)
    oracle = readers_oracle(store, exact=True)
    oracle.record.crop = 4
    whole = evaluate(oracle, store, "test", limit=5, whole=True)
    same = evaluate(readers_oracle(store, exact=True), store, "test", limit=5)
    assert (centre.about.crop, whole.about.crop) == ([4, 4], [SIZE, SIZE])
    assert [case.scores for case in whole.cases] == [pytest.approx(case.scores, nan_ok=True) for case in same.cases]


def test_probabilities_of_another_segmenter_reach_the_model(tmp_path):
    rng = np.random.default_rng(0)
    given = rng.dirichlet(np.ones(2), (2, SIZE, SIZE)).transpose(0, 3, 1, 2)
    with write_store(tmp_path / "data", StoreInfo("p", "test", HOUNSFIELD), {"p": "test"}) as writer:
        for row in range(2):
            image = np.full((1, SIZE, SIZE), row, np.int16)
            writer.add(Crop(image, population_masks(), "p", f"c{row}", class_probabilities=given[row]))
    black_box = Store.open(tmp_path / "data")
    oracle = population_oracle(black_box, crop=6)
    evaluate(oracle, black_box, "test")
    assert np.array_equal(oracle.probabilities[0], np.rint(given[1][:, 3:9, 3:9] * 255).astype(np.uint8))
    oracle.record.data = oracle.record.data.model_copy(update={"probabilities": False})
    evaluate(oracle, black_box, "test")
    assert oracle.probabilities is None


def test_a_case_does_not_depend_on_the_other_cases(store):
    whole, few = (evaluate(population_oracle(store), store, "test", limit=limit) for limit in (None, 40))
    by_row = {case.index["row"]: case for case in whole.cases}
    assert len(few.cases) == 40
    assert few.cases[-1].index["row"] == "234"
    for case in few.cases:
        assert repr(case.scores) == repr(by_row[case.index["row"]].scores)
    other = evaluate(population_oracle(store), store, "test", limit=40, seed=1)
    assert other.figures["ged16_v"] != few.figures["ged16_v"]


def test_large_crops_are_cut_to_the_training_crop(store):
    oracle = readers_oracle(store, crop=4)
    found = evaluate(oracle, store, "test", limit=30)
    assert oracle.side == 4
    assert found.about.crop == [4, 4]
    for case in found.cases:  # the small and the large square both fill these four pixels: one mask or none is left
        share = case.scores["empty_readers"]
        assert case.scores["reader_diversity"] == pytest.approx(2 * share * (1 - share))


def test_what_is_written_can_be_read(store, tmp_path):
    steps = []
    found = evaluate(population_oracle(store), store, "test", limit=9, on_progress=lambda *step: steps.append(step))
    assert (steps[0], steps[-1], len(steps)) == ((0, 9), (9, 9), 10)
    for folder in ("a", "b"):
        found.write(tmp_path / folder)
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["data_hash"] == store.content_hash
    assert {
        "split": "test",
        "samples": 16,
        "seed": 0,
        "method": "oracle",
        "run": "oracle-001",
    }.items() <= summary.items()
    with (tmp_path / "a" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    facts = ("row", "patient", "case", "lesion", "slice", "readers", "disagree", "ambiguity", "group")
    assert tuple(rows[0]) == facts + CASE_MEASURES
    for row, case in zip(rows, found.cases, strict=True):
        assert (row["patient"], row["readers"], row["group"]) == (case.index["patient"], str(case.readers), "all")
        assert (row["disagree"], float(row["ambiguity"])) == (str(int(case.disagree)), pytest.approx(case.ambiguity))
    for name, bins in found.reliability.items():
        assert summary["reliability"][name] == {key: values.tolist() for key, values in vars(bins).items()}
    assert [row["row"] for row in rows] == [case.index["row"] for case in found.cases]
    mean = np.mean([float(row["ged16_v"]) for row in rows])
    assert summary["figures"]["ged16_v"]["mean"] == pytest.approx(mean, abs=1e-8)
    for name in ("cases.csv", "summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_parquet_table_holds_what_the_csv_holds(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    evaluate(population_oracle(store), store, "test", limit=9).write(tmp_path, parquet=True)
    table = parquet.read_table(tmp_path / "cases.parquet").to_pydict()
    with (tmp_path / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(table) == list(rows[0])
    assert table["row"] == [int(row["row"]) for row in rows]
    assert table["case"] == [row["case"] for row in rows]
    for name in CASE_MEASURES:
        expected = [float(row[name]) if row[name] else None for row in rows]
        assert [value is None for value in table[name]] == [value is None for value in expected]
        assert [value for value in table[name] if value is not None] == pytest.approx(
            [value for value in expected if value is not None], rel=1e-8
        )


def test_a_parquet_table_without_pyarrow_says_what_to_do(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = evaluate(population_oracle(store), store, "test", limit=2)
    with pytest.raises(UsageError, match=r'pip install "ambiseg\[parquet\]"'):
        found.write(tmp_path / "out", parquet=True)
    assert not (tmp_path / "out").exists()
    found.write(tmp_path / "out")


def test_figures_that_are_not_defined_are_blank_and_null(tmp_path):
    store = write_cases(tmp_path / "one", cases=1)
    evaluate(population_oracle(store), store, "test").write(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["figures"]["ged16_v"]["low"] is None
    assert summary["figures"]["ged16_v"]["cases"] == 1


def test_bad_requests_are_told(store):
    oracle = population_oracle(store)
    with pytest.raises(InputError, match=r"The split 'val' of .* has no case"):
        evaluate(oracle, store, "val")
    with pytest.raises(InputError, match="No split 'dev'"):
        evaluate(oracle, store, "dev")
    with pytest.raises(UsageError, match="at least 16 draws per image, got `samples` 1"):
        evaluate(oracle, store, "test", samples=1)
    with pytest.raises(UsageError, match="`limit` must be at least 1, got 0"):
        evaluate(oracle, store, "test", limit=0)


def test_data_unlike_the_models_are_told(store):
    oracle = population_oracle(store)
    oracle.record.data = oracle.record.data.model_copy(update={"channels": 3})
    with pytest.raises(DataError, match=r"reads 3 channels, .* have 1"):
        evaluate(oracle, store, "test")
    for change, message in (
        ({"class_names": ("background", "liver", "tumour")}, "knows the classes background, liver, tumour"),
        ({"class_names": ("background", "tumour")}, "classes background, tumour, .* has background, lesion"),
        ({"class_names": ("background",)}, "classes background, .* has background, lesion: evaluate on data like"),
        ({"probabilities": True}, "reads the class probabilities of another segmenter, .* holds none"),
    ):
        oracle = population_oracle(store)
        oracle.record.data = oracle.record.data.model_copy(update=change)
        with pytest.raises(DataError, match=message):
            evaluate(oracle, store, "test")


def test_logits_that_are_not_numbers_are_told(store):
    class Broken(SampledPredictive):
        def chunks(self, n, generator, tied):
            yield torch.full((1, n, 2, SIZE, SIZE), torch.nan)

    oracle = population_oracle(store)
    oracle.predictive = lambda images, probabilities=None: Broken()
    with pytest.raises(DataError, match="no finite probabilities for row 0"):
        evaluate(oracle, store, "test")


def test_masks_of_a_broken_model_are_told(store):
    oracle = Oracle(store, lambda row: (population_masks(), np.array([np.nan, 0.5, 0.5])), exact=True)
    with pytest.raises(DataError, match="no finite probabilities for row 0"):
        evaluate(oracle, store, "test")


def test_a_runs_own_data_must_be_unchanged(tmp_path):
    store = write_cases(tmp_path / "data", cases=3)
    record = population_oracle(store).record
    assert data_for(record).content_hash == store.content_hash
    write_cases(tmp_path / "data", cases=6)
    with pytest.raises(DataError, match="has changed since the run was trained on it"):
        data_for(record)
    assert len(data_for(record, tmp_path / "data")) == 6
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"no longer at .*: give its place as `data`"):
        data_for(record)
    assert len(data_for(record, tmp_path / "moved")) == 6
