"""What every method must do, run on every method and on each choice of each of its options: a new method needs no test
code of its own here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch

from ambiseg.models.batch import Batch
from ambiseg.models.config import make_config
from ambiseg.models.hypotheses import rank
from ambiseg.models.method import Method, build, methods, options_model
from ambiseg.models.randomness import generator_for
from ambiseg.models.run import DataRecord, Run, RunRecord, load_trained
from ambiseg.models.training import train
from ambiseg.preprocessing.store import Store

NARROW = {"widths": (6, 8, 8), "convs": 1}
CPU = torch.device("cpu")


def variants() -> Iterator[Any]:
    """Every method as it comes, and with each other choice of each option that is a choice."""
    for name, method in methods().items():
        fields = options_model(method).model_fields
        narrow = {key: value for key, value in NARROW.items() if key in fields}
        yield pytest.param(name, narrow, id=name)
        for key, field in fields.items():
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            for choice in (choice for choice in choices if choice != field.default):
                yield pytest.param(name, narrow | {key: choice}, id=f"{name}-{choice}")


every_variant = pytest.mark.parametrize(("name", "options"), list(variants()))


def make(name: str, options: dict[str, Any], channels: int = 1, classes: int = 2) -> Method:
    torch.manual_seed(0)
    return build(name, channels, classes, options)


def make_images(batch: int = 3, channels: int = 1, height: int = 21, width: int = 18) -> torch.Tensor:
    return torch.rand(batch, channels, height, width, generator=generator_for("images"))


def make_masks(batch: int = 3, readers: int = 2, classes: int = 2, height: int = 21, width: int = 18) -> torch.Tensor:
    return torch.randint(0, classes, (batch, readers, height, width), generator=generator_for("masks"))


@every_variant
def test_gradients_reach_every_parameter(name: str, options: dict[str, Any]) -> None:
    method = make(name, options)
    moved = set()
    for stage in method.stages():
        for player in stage.players:
            method.zero_grad(set_to_none=True)
            player.loss(Batch(make_images(), make_masks()), generator_for(0)).total.backward()
            moved |= {id(p) for p in player.parameters if p.grad is not None and p.grad.abs().sum() > 0}
    still = [key for key, parameter in method.named_parameters() if id(parameter) not in moved]
    assert still == []


@every_variant
def test_the_loss_is_a_function_of_batch_and_generator(name: str, options: dict[str, Any]) -> None:
    batch = Batch(make_images(), make_masks())
    losses = [make(name, options).loss(batch, generator_for(seed)).total.item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@every_variant
@pytest.mark.parametrize(("channels", "classes", "readers"), [(1, 2, 9), (3, 5, 2)])
def test_any_channels_classes_readers_and_odd_sizes(
    name: str, options: dict[str, Any], channels: int, classes: int, readers: int
) -> None:
    method = make(name, options, channels, classes)
    loss = method.loss(
        Batch(make_images(channels=channels), make_masks(readers=readers, classes=classes)), generator_for(0)
    )
    assert loss.total.isfinite()
    assert loss.terms
    predictive = method.eval()(make_images(2, channels, 17, 23))
    with torch.inference_mode():
        assert predictive.sample(5, generator_for(0)).shape == (2, 5, classes, 17, 23)
        atoms = predictive.atoms(5, generator_for(0))
    assert atoms.labels.shape[2:] == (17, 23)
    assert atoms.labels.dtype == torch.uint8
    assert atoms.labels.max() < classes
    assert atoms.marginal.shape == (2, classes, 17, 23)


@every_variant
def test_atoms_are_a_distribution(name: str, options: dict[str, Any]) -> None:
    predictive = make(name, options).eval()(make_images())
    with torch.inference_mode():
        atoms = predictive.atoms(40, generator_for(0))
    assert torch.allclose(atoms.weights.sum(1), torch.ones(3), atol=1e-5)
    assert (atoms.weights >= 0).all()
    assert torch.allclose(atoms.marginal.sum(1), torch.ones(3, 21, 18), atol=1e-5)
    assert atoms.draws in (None, 40)


@every_variant
def test_draws_replay_from_a_seed_and_agree_with_atoms(name: str, options: dict[str, Any]) -> None:
    method = make(name, options).eval()
    with torch.inference_mode():
        predictive = method(make_images())
        first, again, other = (predictive.sample(20, generator_for(seed)) for seed in (1, 1, 2))
        atoms = predictive.atoms(20, generator_for(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    if atoms.draws is not None:
        assert torch.equal(atoms.labels, first.argmax(2).to(torch.uint8))
        assert torch.allclose(atoms.marginal, first.softmax(2).mean(1), atol=1e-5)


@every_variant
def test_tied_images_share_their_story(name: str, options: dict[str, Any]) -> None:
    """Copies of one image in a batch get the same masks with the same weights when tied."""
    method = make(name, options).eval()
    with torch.inference_mode():
        atoms = method(make_images(1).expand(3, -1, -1, -1)).atoms(12, generator_for(0), tied=True)
    assert torch.equal(atoms.labels[0], atoms.labels[2])
    assert torch.equal(atoms.weights[0], atoms.weights[2])


@every_variant
def test_hypotheses_are_ranked_and_distinct(name: str, options: dict[str, Any]) -> None:
    with torch.inference_mode():
        atoms = make(name, options).eval()(make_images(1)).atoms(60, generator_for(0))
    found = rank(atoms.labels[0].numpy(), atoms.weights[0].double().numpy(), top=5, merge=0.1, draws=atoms.draws)
    assert (np.diff(found.probabilities) <= 0).all()
    assert found.probabilities.sum() + found.residual == pytest.approx(1)
    assert len({mask.tobytes() for mask in found.masks}) == len(found.masks) <= 5


def new_run(path: Path, store: Store, name: str, options: dict[str, Any]) -> Run:
    settings = ["data.crop=16", "steps=6", "batch=4", "validation.every=2", "validation.limit=4", "optimiser.ema=0.5"]
    config = make_config(name, "small", None, settings, {f"options.{key}": value for key, value in options.items()})
    record = RunRecord(version="test", torch=torch.__version__, device="cpu", config=config, data=DataRecord.of(store))
    return Run.create(path, record)


class StopAfter:
    """An observer that interrupts training once it has seen a validation at `step`."""

    def __init__(self, step: int):
        self.step = step

    def __call__(self, progress: Any) -> None:
        if progress.scores and progress.step >= self.step:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)


@every_variant
def test_a_resumed_run_ends_with_the_same_bits(
    name: str, options: dict[str, Any], known_truth: Store, tmp_path: Path
) -> None:
    whole, parted = (new_run(tmp_path / path, known_truth, name, options) for path in ("whole", "parted"))
    assert train(whole, known_truth, CPU)
    with pytest.raises(KeyboardInterrupt):
        train(parted, known_truth, CPU, StopAfter(2))
    assert train(Run.open(parted.path), known_truth, CPU)
    states = [torch.load(run.checkpoint, weights_only=True) for run in (whole, parted)]
    assert states[0]["step"] == states[1]["step"] == 6
    for part in ("method", "averaged"):
        assert all(torch.equal(states[0][part][key], states[1][part][key]) for key in states[0][part])
    assert whole.weights.read_bytes() == parted.weights.read_bytes()
    kinds = [(entry["kind"], entry["step"]) for entry in parted.read_log()]
    assert kinds == [(entry["kind"], entry["step"]) for entry in whole.read_log()]


@every_variant
def test_saved_weights_predict_the_same(name: str, options: dict[str, Any], known_truth: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", known_truth, name, options)
    method = make(name, run.record.config.options).eval()
    run.save_weights(method, 0)
    images = known_truth.images(np.arange(2))
    with torch.inference_mode():
        expected = method(torch.from_numpy(images).clamp(0, 1)).sample(6, generator_for(0))
        found = load_trained(run.path, CPU).predictive(images).sample(6, generator_for(0))
    assert torch.equal(expected, found)
