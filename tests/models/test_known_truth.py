"""A trained mixture recovers known mode probabilities and how they depend on a visible cue; a collapsed model is caught."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ambiseg.models.config import make_config
from ambiseg.models.metrics.overlap import pairwise_iou
from ambiseg.models.randomness import generator_for
from ambiseg.models.run import DataRecord, Run, RunRecord, Trained, load_trained
from ambiseg.models.training import train
from ambiseg.preprocessing.sources.known_truth import MODES, PROBABILITIES, lesion_of, write_known_truth
from ambiseg.preprocessing.store import Store

pytestmark = pytest.mark.slow

DRAWS = 256
SETTINGS = [
    "data.crop=32",
    "data.readers=4",
    "options.widths=[8,16,32]",
    "options.convs=2",
    "steps=500",
    "validation.every=250",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_known_truth(tmp_path_factory.mktemp("known") / "store", crops=800)


def trained_on(store: Store, folder: Path, *settings: str) -> Trained:
    config = make_config("generalized", "demo", None, [*SETTINGS, *settings])
    record = RunRecord(version="test", torch=torch.__version__, device="cpu", config=config, data=DataRecord.of(store))
    run = Run.create(folder / "run", record)
    train(run, store, torch.device("cpu"))
    return load_trained(run.path, torch.device("cpu"))


def frequencies(trained: Trained, store: Store) -> dict[str, NDArray[np.float64]]:
    """For each cue the mean frequencies [3] of the modes nearest to the model's draws, on the test split."""
    found: dict[str, list[NDArray[np.float64]]] = {cue: [] for cue in PROBABILITIES}
    for row in store.rows("test"):
        lesion = lesion_of(store.index[row])
        atoms = trained.predictive(store.images(np.array([row]))).atoms(DRAWS, generator_for(int(row)))
        nearest = pairwise_iou(atoms.labels[0].numpy(), lesion.modes(32)).argmax(1)
        found[lesion.cue].append(np.bincount(nearest, minlength=len(MODES)) / DRAWS)
    return {cue: np.mean(rows, 0) for cue, rows in found.items()}


def worst_error(found: dict[str, NDArray[np.float64]]) -> float:
    return max(float(np.abs(found[cue] - PROBABILITIES[cue]).max()) for cue in PROBABILITIES)


def test_a_mixture_recovers_the_mode_probabilities(store: Store, tmp_path: Path) -> None:
    assert worst_error(frequencies(trained_on(store, tmp_path), store)) < 0.15


def test_a_collapsed_model_is_caught(store: Store, tmp_path: Path) -> None:
    """With a weight of 1000 on the KL divergence z carries nothing: the log shows it, and the check above fails."""
    trained = trained_on(store, tmp_path, "options.beta=1000", "steps=250")
    assert worst_error(frequencies(trained, store)) > 0.3
    last = Run.open(tmp_path / "run").read_log()[-1]
    assert max(last["kl"], last["kl_dim_0"], last["kl_dim_1"]) < 0.05
