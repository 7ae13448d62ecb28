"""Evaluating models whose scores are known: oracles that draw from the readers or from the population of readers."""

import csv
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ambiseg.models.metrics.data import data_for
from ambiseg.models.metrics.evaluate import evaluate
from ambiseg.models.metrics.floor import floor
from ambiseg.models.predictive import Atoms
from ambiseg.models.run import DataRecord
from ambiseg.preprocessing.crops import centre_crop
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.flips import Flip
from ambiseg.preprocessing.store import HOUNSFIELD, Store
from ambiseg.preprocessing.store_writer import Crop, StoreInfo, write_store

CASES, READERS, SIZE = 240, 4, 12
POPULATION = np.array([0.3, 0.4, 0.3])  # empty, small, large


def population_masks():
    """What a reader may draw: nothing, a small square, a large square."""
    masks = np.zeros((3, SIZE, SIZE), np.uint8)
    masks[1, 4:8, 4:8] = 1
    masks[2, 2:10, 2:10] = 1
    return masks


def write_cases(path, name="squares", cases=CASES, split="test"):
    """Crops whose image holds their row, read by four readers of the population; three crops a patient."""
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
    """Knows each image's support: `known(row) -> masks [A, H, W], weights [A]`; exact, or drawn from."""

    def __init__(self, store, known, exact=False, crop=SIZE):
        self.known, self.exact = known, exact
        self.record = SimpleNamespace(data=DataRecord.of(store), crop=crop)
        self.method = SimpleNamespace(name="oracle")
        self.name, self.weights_hash = "oracle-001", "0" * 64

    def predictive(self, images, probabilities=None):
        self.side, self.probabilities = images.shape[-1], probabilities
        assert images.shape[1:] == (1, self.side, self.side)
        self.row = int(images[0, 0, 0, 0])
        return self

    def atoms(self, n, generator):
        known, weights = self.known(self.row)
        masks, weights = torch.as_tensor(centre_crop(known, self.side)), torch.as_tensor(weights)
        if not self.exact:
            masks = masks[torch.multinomial(weights.double(), n, True, generator=generator)]
            weights = torch.full((n,), 1 / n)
        marginal = torch.stack((masks == 0, masks == 1)).float().mean(1)
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
            writer.add(Crop(image, population_masks(), patient, f"c{row}", odds=odds, provenance=provenance))
    return Store.open(path)


SURE = np.array([0.0, 0.1, 0.9])


@pytest.fixture(scope="module")
def modes(tmp_path_factory):
    return write_modes(tmp_path_factory.mktemp("modes") / "data")


def truth_oracle(store, **options):
    return Oracle(store, lambda row: (store.masks(np.array([row]))[0], store.odds(np.array([row]))[0]), **options)


def standard_error(evaluation, name):
    figure = evaluation.figures[name]
    return figure.sd / math.sqrt(figure.cases)


def test_an_oracle_that_draws_from_the_readers_scores_its_floor(store):
    """E[GED_V] = 2D - D (1 - 1/N) - D = D / N, with D the readers' diversity."""
    found = evaluate(readers_oracle(store), store, "test", samples=50)
    diversity = found.figures["reader_diversity"].mean
    for name, n in (("ged16_v", 16), ("ged_v", 50)):
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
    assert found.about["weights"] == "exact"
    assert found.figures["ged_v"].mean == pytest.approx(0, abs=1e-7)
    diversity = found.figures["reader_diversity"].mean
    floor = 4 * standard_error(found, "ged16_v")
    assert found.figures["ged16_v"].mean == pytest.approx(diversity / 16, abs=floor)
    assert found.figures["empty_error"].mean == pytest.approx(0, abs=1e-7)
    assert found.figures["empty_accuracy"].mean == 1


def test_an_oracle_of_known_odds_scores_the_exact_floor(modes):
    found = evaluate(truth_oracle(modes), modes, "test", samples=64)
    assert found.about["floor"]["ged16_v"] == pytest.approx(floor(modes, samples=16))
    assert found.about["floor"]["ged_v"] == pytest.approx(floor(modes, samples=64))
    for name in ("ged16_v", "ged_v"):
        margin = 4 * standard_error(found, name)
        assert found.figures[name].mean == pytest.approx(found.about["floor"][name], abs=margin)
    for name in ("ged16_u", "ged_u"):
        assert found.figures[name].mean == pytest.approx(0, abs=4 * standard_error(found, name))
    exact = evaluate(truth_oracle(modes, exact=True), modes, "test")
    assert exact.about["floor"]["ged_v"] == 0
    for name in ("ged_v", "ged_u", "mode_error", "empty_error"):
        assert exact.figures[name].mean == pytest.approx(0, abs=1e-7), name


def test_mode_probabilities_are_reported_by_group(modes):
    """A model that gives every image the population's odds is right for one group and wrong for the other."""
    found = evaluate(Oracle(modes, lambda row: (population_masks(), POPULATION), exact=True), modes, "test")
    assert {name: group.cases for name, group in found.modes.items()} == {"sure": 10, "unsure": 30}
    np.testing.assert_allclose(found.modes["sure"].truth, SURE)
    np.testing.assert_allclose(found.modes["sure"].model, POPULATION, atol=1e-7)
    assert found.modes["sure"].error == pytest.approx((0.3 + 0.3 + 0.6) / 3)
    assert found.modes["unsure"].error == pytest.approx(0, abs=1e-7)
    assert found.figures["mode_error"].mean == pytest.approx(0.4 / 4)
    summary = json.loads(json.dumps(found.summary()))
    assert summary["modes"]["sure"] == {
        "cases": 10,
        "truth": pytest.approx(SURE.tolist()),
        "model": pytest.approx(POPULATION.tolist()),
        "mean_absolute_error": pytest.approx(0.4),
    }
    assert summary["group"] == "cue"


def test_readers_have_no_modes(store):
    found = evaluate(population_oracle(store), store, "test", limit=3)
    assert (found.modes, "modes" in found.summary(), "floor" in found.about) == ({}, False, False)
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
    assert (centre.about["crop"], whole.about["crop"]) == ([4, 4], [SIZE, SIZE])
    assert [vars(case.scores) for case in whole.cases] == [
        pytest.approx(vars(case.scores), nan_ok=True) for case in same.cases
    ]


def test_probabilities_of_another_segmenter_reach_the_model(tmp_path):
    rng = np.random.default_rng(0)
    given = rng.dirichlet(np.ones(2), (2, SIZE, SIZE)).transpose(0, 3, 1, 2)
    with write_store(tmp_path / "data", StoreInfo("p", "test", HOUNSFIELD), {"p": "test"}) as writer:
        for row in range(2):
            image = np.full((1, SIZE, SIZE), row, np.int16)
            writer.add(Crop(image, population_masks(), "p", f"c{row}", probabilities=given[row]))
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
    assert found.about["crop"] == [4, 4]
    for case in found.cases:  # the small and the large square both fill these four pixels: one mask or none is left
        share = case.scores.empty_readers
        assert case.scores.reader_diversity == pytest.approx(2 * share * (1 - share))


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
    assert [row["row"] for row in rows] == [case.index["row"] for case in found.cases]
    mean = np.mean([float(row["ged16_v"]) for row in rows])
    assert summary["figures"]["ged16_v"]["mean"] == pytest.approx(mean, abs=1e-8)
    for name in ("cases.csv", "summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


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
    with pytest.raises(UsageError, match="at least 16 samples an image, came 1"):
        evaluate(oracle, store, "test", samples=1)
    with pytest.raises(UsageError, match="at least one case, came 0"):
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
        ({"unit": "relative"}, "intensities in relative, .* holds HU"),
    ):
        oracle = population_oracle(store)
        oracle.record.data = oracle.record.data.model_copy(update=change)
        with pytest.raises(DataError, match=message):
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
    with pytest.raises(InputError, match=r"no longer at .*: say with --data where it is"):
        data_for(record)
    assert len(data_for(record, tmp_path / "moved")) == 6
