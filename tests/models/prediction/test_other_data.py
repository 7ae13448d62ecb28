"""Nothing assumes CT, four readers, one channel or two classes: all steps on data that has none of these."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.methods.registry import methods
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.checkpoint import initial_state
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.store.intensity import Intensity
from ambiseg.preprocessing.store.splits import split_patients
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

CPU = torch.device("cpu")
READERS, SIZE = 7, 22


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two-channel images of a ring (class 2) about a core (class 1), seven readers of whom some did not read an image."""
    rng = np.random.default_rng(0)
    patients = [f"p{number:02d}" for number in range(30)]
    y, x = np.ogrid[:SIZE, :SIZE]
    info = StoreInfo("rings", "made", Intensity("relative", 0, 1), class_names=("background", "core", "ring"))
    path = tmp_path_factory.mktemp("rings") / "store"
    with write_store(path, info, split_patients(patients, 0, (60, 20, 20))) as writer:
        for patient in patients:
            distance = np.hypot(y - rng.uniform(8, 14), x - rng.uniform(8, 14))
            truth = np.where(distance < 3, 1, np.where(distance < 6, 2, 0)).astype(np.uint8)
            image = np.stack([truth == 1, truth == 2]) + rng.normal(0, 0.1, (2, SIZE, SIZE))
            masks = np.stack([truth * (rng.random() < 0.7) for _ in range(READERS)]).astype(np.uint8)
            present = np.arange(READERS) < rng.integers(2, READERS + 1)
            masks[~present] = 0
            writer.add(Crop(image.astype(np.float32), masks, patient, patient, present=present))
    return Store.open(path)


@pytest.mark.parametrize("method", methods())
def test_the_whole_way(method: str, store: Store, tmp_path: Path) -> None:
    settings = ["data.crop=20", "data.readers=3", "options.widths=[8,12]", "steps=60", "batch=6"]
    settings += ["options.noise_steps=6" if method == "ccdm" else "options.convs=1"]
    settings += ["validation.every=30", "optimiser.warmup=0", "optimiser.learning_rate=5e-3", "augment.rotate_deg=20"]
    config = make_config(method, "small", None, settings)
    record = RunRecord(version="test", torch=torch.__version__, device="cpu", config=config, data=DataRecord.of(store))
    run = Run.create(tmp_path / "run", record)
    assert train(run, store, CPU)
    players = [player for stage in initial_state(config, store, CPU).method.stages() for player in stage.players]
    entries = [entry for entry in run.read_log() if entry["kind"] == "validation"]
    # Where a loss counts the naming of codes too, it grows as more of them come into use; what they draw gets better.
    losses = [entry.get("reconstruction", entry["loss"]) for entry in entries]
    assert len(losses) == 2
    assert losses[1] < losses[0] or len(players) > 1  # what one player loses, another wins
    evaluation = evaluate(load_trained(run.path, CPU), store, "test")
    assert {case.readers for case in evaluation.cases} <= set(range(2, READERS + 1))
    assert 0 <= evaluation.figures["hm_iou16"].mean <= 1
