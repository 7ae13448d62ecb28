"""On CUDA: the loop trains in half precision without waiting for the device, as CUDA graphs, and resumes after a kill.
The same noise gives the CPU's masks, and the same masks its metrics.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.benchmarks.cost.arithmetic import seconds_each
from ambiseg.models.benchmarks.cost.metric_cost import metric_cost
from ambiseg.models.benchmarks.cost.step_cost import step_cost
from ambiseg.models.core.overlap import overlaps
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.registry import methods
from ambiseg.models.metrics.scores import image_scores
from ambiseg.models.metrics.sides import both_sides
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.distributed import Processes
from ambiseg.models.training.loop import BudgetSpent, Loop, train
from ambiseg.models.training.validation import validation_scores
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import IGNORE, Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
CUDA = torch.device("cuda")


BASE = ["data.crop=16", "options.widths=[8,16]", "batch=8", "validation.every=20", "optimiser.warmup=0"]


def made(folder: Path, store: Store, method: str, *settings: str, preset: str = "demo") -> Run:
    config = make_config(method, preset, None, [*BASE, *settings] if preset == "demo" else settings)
    record = RunRecord(version="test", torch=torch.__version__, device="cuda", config=config, data=DataRecord.of(store))
    return Run.create(folder / "run", record)


def trained(folder: Path, store: Store, method: str, *settings: str) -> Run:
    run = made(folder, store, method, *settings)
    assert train(run, store, CUDA)
    return run


def loop_of(run: Run, store: Store) -> Loop:
    return Loop(run, store, CUDA, Processes(), lambda progress: None)


def losses(loop: Loop, steps: int) -> list[float]:
    """The loss of each of the next steps."""
    found = []
    for _ in range(steps):
        loop.advance()
        found.append(next(value for name, value in loop.recent[-1].items() if name.endswith("loss")))
    return torch.stack(found).tolist()


def check_masks(run: Run, store: Store) -> None:
    """The weights give the same masks on both devices from the same noise."""
    images = store.images(np.arange(4))
    masks = [
        load_trained(run.path, device).predictive(images).atoms(16, generator_for(0)).labels.cpu()
        for device in (CUDA, torch.device("cpu"))
    ]
    assert (masks[0] != masks[1]).float().mean() < 0.01


@pytest.mark.parametrize("precision", [(), ("hardware.precision=fp16",), ("hardware.precision=float32",)])
@pytest.mark.parametrize(
    "compiled",
    [
        (),
        pytest.param(  # torch.compile warns of its own parts
            ("hardware.compile=true",), marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
        ),
    ],
)
def test_training_learns_in_every_precision(
    known_truth: Store, tmp_path: Path, precision: tuple[str, ...], compiled: tuple[str, ...]
) -> None:
    if compiled and shutil.which("cc") is None:
        pytest.skip("torch.compile needs a C compiler for its kernels' launchers")
    run = trained(tmp_path, known_truth, "generalized", "steps=60", *precision, *compiled)
    validated = [entry["loss"] for entry in run.read_log() if entry["kind"] == "validation"]
    assert validated[-1] < validated[0]
    check_masks(run, known_truth)


@pytest.mark.parametrize("method", methods())
def test_every_method_trains_and_draws_as_on_the_cpu(known_truth: Store, tmp_path: Path, method: str) -> None:
    check_masks(trained(tmp_path, known_truth, method, "steps=40"), known_truth)


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Within, an operation that makes the host wait for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


WARPED = ("augment.rotate_deg=15", "augment.scale=0.1", "augment.shift_px=3", "augment.elastic_px=2")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("augment", [(), WARPED], ids=["exact", "warped"])
@pytest.mark.parametrize("method", methods())
def test_the_host_never_waits_for_the_device(
    known_truth: Store, tmp_path: Path, method: str, augment: tuple[str, ...]
) -> None:
    """After a step that initialises, and in each stage; an epoch of these data is over within the steps watched."""
    loop = loop_of(made(tmp_path, known_truth, method, "steps=40", *augment), known_truth)
    for _, begun, *_ in loop.stepper.spans:
        loop.stepper.step(begun)
        with waiting_is_an_error():
            for number in range(begun + 1, begun + 9):
                loop.stepper.step(number)


@pytest.mark.parametrize("precision", ["bf16", "fp16", "float32"])
@pytest.mark.parametrize("method", methods())
def test_graphs_give_the_losses_of_the_networks(
    known_truth: Store, tmp_path: Path, method: str, precision: str
) -> None:
    settings = ("steps=40", f"hardware.precision={precision}")
    runs = [
        made(tmp_path / flag, known_truth, method, *settings, f"hardware.graphs={flag}") for flag in ("false", "true")
    ]
    plain, graphed = (losses(loop_of(run, known_truth), 6) for run in runs)
    tolerance = 1e-2 if precision == "float32" else 5e-2
    assert graphed == pytest.approx(plain, rel=tolerance, abs=tolerance)


@pytest.fixture(scope="module")
def crops_of_128(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_known_truth(tmp_path_factory.mktemp("crops") / "store", crops=80, size=144)


def test_graphs_make_a_step_of_the_papers_size_faster(crops_of_128: Store, tmp_path: Path) -> None:
    seconds = {}
    for flag in ("false", "true"):
        run = made(tmp_path / flag, crops_of_128, "probunet", f"hardware.graphs={flag}", preset="paper")
        loop = loop_of(run, crops_of_128)
        losses(loop, 10)
        seconds[flag] = min(seconds_each(loop.advance, 20, CUDA) for _ in range(3))
    print(f"a step with graphs {1e3 * seconds['true']:.2f} ms, without {1e3 * seconds['false']:.2f} ms")
    assert seconds["true"] < seconds["false"]


def test_no_step_is_faster_than_the_device_allows(crops_of_128: Store) -> None:
    cost = step_cost(make_config("probunet", "paper"), crops_of_128, CUDA, steps=10)
    assert 0 < cost.mean.reached < 1
    assert cost.speeds.flops[torch.bfloat16] > 2 * cost.speeds.flops[torch.float32]


@pytest.mark.parametrize("method", ["probunet", "generalized", "modal"])
def test_a_resumed_curve_has_no_visible_step(known_truth: Store, tmp_path: Path, method: str) -> None:
    """The losses after a stop differ from an uninterrupted run's by less than their own noise from step to step."""
    settings = ("steps=120", "validation.every=40")
    whole = made(tmp_path / "whole", known_truth, method, *settings)
    parted = made(tmp_path / "parted", known_truth, method, *settings)
    expected = losses(loop_of(whole, known_truth), 120)
    asked = iter([False] * 59)
    with pytest.raises(BudgetSpent):
        train(parted, known_truth, CUDA, enough=lambda: next(asked, True))
    loop = loop_of(parted, known_truth)
    assert loop.state.step == 60
    after = losses(loop, 60)
    noise = np.abs(np.diff(expected[60:])).mean()
    assert np.abs(np.subtract(after[:10], expected[60:70])).mean() < noise
    assert abs(np.mean(after) - np.mean(expected[60:])) < noise


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
