"""A trained mixture recovers known mode probabilities and how they depend on a visible cue; a collapsed model is caught."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.config import make_config
from ambiseg.models.evaluation.evaluate import evaluate
from ambiseg.models.run import DataRecord, Run, RunRecord, Trained, load_trained
from ambiseg.models.training import train
from ambiseg.preprocessing.sources.known_truth import PROBABILITIES, write_known_truth
from ambiseg.preprocessing.store import Store

pytestmark = pytest.mark.slow

DRAWS = 256
SETTINGS = [
    "hardware.precision=float32",  # on every machine the same training
    "data.crop=32",
    "data.readers=4",
    "options.widths=[8,16,32]",
    "options.convs=2",
    "steps=500",
    "validation.every=250",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_known_truth(tmp_path_factory.mktemp("known") / "readers", crops=800)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Other lesions of the same kind, with all their masks and the masks' odds."""
    return write_known_truth(tmp_path_factory.mktemp("known") / "truth", crops=400, readers=None, seed=1)


def trained_on(store: Store, folder: Path, *settings: str) -> Trained:
    config = make_config("generalized", "demo", None, [*SETTINGS, *settings])
    record = RunRecord(version="test", torch=torch.__version__, device="cpu", config=config, data=DataRecord.of(store))
    run = Run.create(folder / "run", record)
    train(run, store, torch.device("cpu"))
    return load_trained(run.path, torch.device("cpu"))


def worst_error(trained: Trained, truth: Store) -> float:
    """The largest error of the mean probability of a mode in the images of one cue, on the test split."""
    groups = evaluate(trained, truth, "test", samples=DRAWS).modes
    for cue, group in groups.items():
        np.testing.assert_allclose(group.truth, PROBABILITIES[cue])
    return max(float(np.abs(group.model - group.truth).max()) for group in groups.values())


def test_a_mixture_recovers_the_mode_probabilities(store: Store, truth: Store, tmp_path: Path) -> None:
    assert worst_error(trained_on(store, tmp_path), truth) < 0.15


def test_a_collapsed_model_is_caught(store: Store, truth: Store, tmp_path: Path) -> None:
    """With a weight of 1000 on the KL divergence z carries nothing: the log shows it, and the check above fails."""
    trained = trained_on(store, tmp_path, "options.beta=1000", "steps=250")
    assert worst_error(trained, truth) > 0.3
    last = Run.open(tmp_path / "run").read_log()[-1]
    assert max(last["kl"], last["kl_dim_0"], last["kl_dim_1"]) < 0.05
