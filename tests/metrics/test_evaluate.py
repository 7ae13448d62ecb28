"""Evaluating models whose scores are known: oracles that draw from the readers or from the population of readers."""

import csv
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ambiseg.models.metrics.evaluate import data_for, evaluate
from ambiseg.models.predictive import Atoms
from ambiseg.models.run import DataRecord
from ambiseg.preprocessing.crops import centre_crop
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
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
        self.method = SimpleNamespace(name="oracle", channels=1)
        self.name, self.weights_hash = "oracle-001", "0" * 64

    def predictive(self, images):
        assert images.shape[1:] == (1, min(self.record.crop, SIZE), min(self.record.crop, SIZE))
        self.row = int(images[0, 0, 0, 0])
        return self

    def atoms(self, n, generator):
        known, weights = self.known(self.row)
        masks, weights = torch.as_tensor(centre_crop(known, self.record.crop)), torch.as_tensor(weights)
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
    found = evaluate(readers_oracle(store, crop=4), store, "test", limit=30)
    assert found.about["crop"] == 4
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
    oracle.method.channels = 3
    with pytest.raises(DataError, match=r"reads 3 channels, .* have 1"):
        evaluate(oracle, store, "test")
    for change, message in (
        ({"class_names": ("background", "liver", "tumour")}, "knows the classes background, liver, tumour"),
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
