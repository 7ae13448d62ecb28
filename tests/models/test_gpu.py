"""On CUDA: the loop trains in half precision, the same noise gives the CPU's masks, and the same masks its metrics."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.benchmarks.metric_cost import metric_cost
from ambiseg.models.config import make_config
from ambiseg.models.method import methods
from ambiseg.models.metrics.overlap import overlaps
from ambiseg.models.metrics.scores import image_scores
from ambiseg.models.metrics.sides import both_sides
from ambiseg.models.metrics.validation import validation_scores
from ambiseg.models.randomness import generator_for
from ambiseg.models.run import DataRecord, Run, RunRecord, load_trained
from ambiseg.models.training import train
from ambiseg.preprocessing.store import IGNORE, Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
CUDA = torch.device("cuda")


BASE = ["data.crop=16", "options.widths=[8,16]", "batch=8", "validation.every=20", "optimiser.warmup=0"]


def trained(folder: Path, store: Store, method: str, *settings: str) -> Run:
    config = make_config(method, "demo", None, [*BASE, *settings])
    record = RunRecord(version="test", torch=torch.__version__, device="cuda", config=config, data=DataRecord.of(store))
    run = Run.create(folder / "run", record)
    assert train(run, store, CUDA)
    return run


def check_masks(run: Run, store: Store) -> None:
    """The weights give the same masks on both devices from the same noise."""
    images = store.images(np.arange(4))
    masks = [
        load_trained(run.path, device).predictive(images).atoms(16, generator_for(0)).labels.cpu()
        for device in (CUDA, torch.device("cpu"))
    ]
    assert (masks[0] != masks[1]).float().mean() < 0.01


@pytest.mark.parametrize("precision", [(), ("hardware.precision=fp16",), ("hardware.precision=float32",)])
@pytest.mark.parametrize("compiled", [(), ("hardware.compile=true",)])
def test_training_learns_in_every_precision(
    known_truth: Store, tmp_path: Path, precision: tuple[str, ...], compiled: tuple[str, ...]
) -> None:
    run = trained(tmp_path, known_truth, "generalized", "steps=60", *precision, *compiled)
    losses = [entry["loss"] for entry in run.read_log() if entry["kind"] == "validation"]
    assert losses[-1] < losses[0]
    check_masks(run, known_truth)


@pytest.mark.parametrize("method", methods())
def test_every_method_trains_and_draws_as_on_the_cpu(known_truth: Store, tmp_path: Path, method: str) -> None:
    check_masks(trained(tmp_path, known_truth, method, "steps=40"), known_truth)


@pytest.mark.parametrize("classes", [2, 4])
def test_overlaps_on_cuda_are_those_of_the_cpu(classes: int) -> None:
    """Tables of whole numbers' ratios: equal to the last bit, ignored pixels and scored classes included."""
    rng = np.random.default_rng(classes)
    for scored in (None, (1, classes - 1)):
        labels = rng.integers(classes, size=(100, 128, 128), dtype=np.uint8)
        masks = rng.choice(np.array([*range(classes), IGNORE], np.uint8), (4, 128, 128))
        found = overlaps(torch.from_numpy(labels).to(CUDA), masks, scored=scored)
        for name, table in vars(overlaps(labels, masks, scored=scored)).items():
            assert np.array_equal(getattr(found, name), table), name


def test_metrics_of_masks_on_cuda_are_those_of_the_cpu(known_truth: Store) -> None:
    masks = known_truth.masks(np.arange(6))
    present, weights = known_truth.present[:6], np.full((6, 16), 1 / 16)
    labels = masks[:, np.random.default_rng(0).integers(masks.shape[1], size=16)]
    found = validation_scores(torch.from_numpy(labels).to(CUDA), weights, masks, present, draws=16)
    assert found == validation_scores(labels, weights, masks, present, draws=16)
    sides = [
        both_sides(each, weights[0], masks[0], present[0], draws=16)
        for each in (labels[0], torch.from_numpy(labels[0]).to(CUDA))
    ]
    scores = [image_scores(side, rng=np.random.default_rng(0)) for side in sides]
    assert scores[0] == pytest.approx(scores[1], nan_ok=True, abs=0)


def test_the_metric_benchmark_runs_on_cuda() -> None:
    cost = metric_cost(2, 16, 3, 32, device=CUDA, naive=True)
    assert cost.difference is not None
    assert cost.difference < 1e-12
