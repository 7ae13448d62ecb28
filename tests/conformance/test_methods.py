"""What every method must do, for every method and each choice of each of its options. A new method needs no test code here."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.hypotheses import rank
from ambiseg.models.core.method import Method, Player, build, methods, options_model
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.store.store_writer import Crop, StoreInfo, write_store

NARROW = {
    "widths": (6, 8, 8),
    "convs": 1,
    "members": 3,
    "heads": 3,
    "codes": 8,
    "code_dim": 4,
    "latent_widths": (8,),
    "refiner_width": 4,
    "discriminator_width": 4,
    "gate_width": 4,
    "masks": 10,
    "samples": 3,
}
STORED = {"segmenter": "stored"}  # an option of methods that read another segmenter's class probabilities
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


def reads_probabilities(options: dict[str, Any]) -> bool:
    return STORED.items() <= options.items()


def make(name: str, options: dict[str, Any], channels: int = 1, classes: int = 2) -> Method:
    torch.manual_seed(0)
    return build(name, channels + (classes if reads_probabilities(options) else 0), classes, options)


def make_images(
    options: dict[str, Any], batch: int = 3, channels: int = 1, classes: int = 2, size: tuple[int, int] = (21, 18)
) -> torch.Tensor:
    """Random images, with random class probabilities where the options ask for them."""
    images = torch.rand(batch, channels, *size, generator=generator_for("images"))
    if not reads_probabilities(options):
        return images
    logits = torch.randn(batch, classes, *size, generator=generator_for("probabilities"))
    return torch.cat((images, (2 * logits).softmax(1)), 1)


def make_masks(batch: int = 3, readers: int = 2, classes: int = 2) -> torch.Tensor:
    return torch.randint(0, classes, (batch, readers, 21, 18), generator=generator_for("masks"))


def make_batch(options: dict[str, Any], channels: int = 1, classes: int = 2, readers: int = 2) -> Batch:
    """A batch from late in a stage, when all terms of a loss are in."""
    images = make_images(options, channels=channels, classes=classes)
    return Batch(images, make_masks(readers=readers, classes=classes), progress=0.9)


def players(method: Method) -> list[Player]:
    return [player for stage in method.stages() for player in stage.players]


@every_variant
def test_gradients_reach_every_parameter(name: str, options: dict[str, Any]) -> None:
    """Each parameter belongs to a player whose loss moves it."""
    method, moved = make(name, options), set()
    for player in players(method):
        method.zero_grad(set_to_none=True)
        player.loss(make_batch(options), generator_for(0)).total.backward()
        moved |= {id(p) for p in player.parameters if p.grad is not None and p.grad.abs().sum() > 0}
    still = [key for key, parameter in method.named_parameters() if id(parameter) not in moved]
    assert still == []


@every_variant
def test_losses_are_functions_of_batch_and_generator(name: str, options: dict[str, Any]) -> None:
    for number in range(len(players(make(name, options)))):
        losses = []
        for _ in range(2):
            player = players(make(name, options))[number]
            torch.manual_seed(1)
            losses.append(player.loss(make_batch(options), generator_for(1)).total.item())
        assert losses[0] == losses[1]


@every_variant
@pytest.mark.parametrize(("channels", "classes", "readers"), [(1, 2, 9), (3, 5, 2)])
def test_any_channels_classes_readers_and_odd_sizes(
    name: str, options: dict[str, Any], channels: int, classes: int, readers: int
) -> None:
    method = make(name, options, channels, classes)
    for player in players(method):
        loss = player.loss(make_batch(options, channels, classes, readers), generator_for(0))
        assert loss.total.isfinite()
        assert loss.terms
    predictive = method.eval()(make_images(options, 2, channels, classes, (17, 23)))
    with torch.inference_mode():
        assert predictive.sample(5, generator_for(0)).shape == (2, 5, classes, 17, 23)
        atoms = predictive.atoms(5, generator_for(0))
    assert atoms.labels.shape[2:] == (17, 23)
    assert atoms.labels.dtype == torch.uint8
    assert atoms.labels.max() < classes
    assert atoms.marginal.shape == (2, classes, 17, 23)


@every_variant
def test_ignored_pixels_have_no_say(name: str, options: dict[str, Any]) -> None:
    """Losses stay finite; where every pixel of a mask is ignored, validation's loss does not depend on what it was."""
    method, batch = make(name, options), make_batch(options)
    mask = batch.mask.clone()
    mask[:, :, :9] = IGNORE
    for player in players(method):
        assert player.loss(replace(batch, mask=mask), generator_for(0)).total.isfinite()
    mask[:] = IGNORE
    with torch.inference_mode():
        assert method.eval().loss(replace(batch, mask=mask), generator_for(0)).total.isfinite()


@every_variant
def test_atoms_are_a_distribution(name: str, options: dict[str, Any]) -> None:
    predictive = make(name, options).eval()(make_images(options))
    with torch.inference_mode():
        atoms = predictive.atoms(40, generator_for(0))
        pixelwise = predictive.pixelwise()
    assert torch.allclose(atoms.weights.sum(1), torch.ones(3), atol=1e-5)
    assert (atoms.weights >= 0).all()
    assert torch.allclose(atoms.marginal.sum(1), torch.ones(3, 21, 18), atol=1e-5)
    assert atoms.draws in (None, 40)
    if atoms.draws is None:
        assert (atoms.weights.diff(dim=1) <= 0).all()  # the most probable first
    if pixelwise is not None:
        assert torch.allclose(pixelwise.sum(1), torch.ones(3, 21, 18), atol=1e-5)


@every_variant
def test_draws_replay_from_a_seed_and_agree_with_atoms(name: str, options: dict[str, Any]) -> None:
    method = make(name, options).eval()
    with torch.inference_mode():
        predictive = method(make_images(options))
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
        copies = make_images(options, 1).expand(3, -1, -1, -1)
        atoms = method(copies).atoms(12, generator_for(0), tied=True)
    assert torch.equal(atoms.labels[0], atoms.labels[2])
    assert torch.equal(atoms.weights[0], atoms.weights[2])


@every_variant
def test_hypotheses_are_ranked_and_distinct(name: str, options: dict[str, Any]) -> None:
    with torch.inference_mode():
        atoms = make(name, options).eval()(make_images(options, 1)).atoms(60, generator_for(0))
    found = rank(atoms.labels[0].numpy(), atoms.weights[0].double().numpy(), top=5, merge=0.1, draws=atoms.draws)
    assert (np.diff(found.probabilities) <= 0).all()
    assert found.probabilities.sum() + found.residual == pytest.approx(1)
    assert len({mask.tobytes() for mask in found.masks}) == len(found.masks) <= 5


@pytest.fixture(scope="session")
def with_probabilities(tmp_path_factory: pytest.TempPathFactory, known_truth: Store) -> Store:
    """The synthetic lesions, with a segmenter's class probabilities that follow the brightness."""
    info = StoreInfo("with-probabilities", "made", known_truth.intensity)
    path = tmp_path_factory.mktemp("stored") / "store"
    with write_store(path, info, {row["patient"]: row["split"] for row in known_truth.index}) as writer:
        for number, row in enumerate(known_truth.index):
            image, masks = known_truth.images(np.array([number]))[0], known_truth.masks(np.array([number]))[0]
            lesion = image.clip(0.05, 0.95)
            probabilities = np.concatenate((1 - lesion, lesion))
            writer.add(Crop(image, masks, row["patient"], row["case"], probabilities=probabilities))
    return Store.open(path)


@pytest.fixture
def data(options: dict[str, Any], known_truth: Store, request: pytest.FixtureRequest) -> Store:
    """The data set that a variant is trained on."""
    return request.getfixturevalue("with_probabilities") if reads_probabilities(options) else known_truth


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
def test_a_resumed_run_ends_with_the_same_bits(name: str, options: dict[str, Any], data: Store, tmp_path: Path) -> None:
    whole, parted = (new_run(tmp_path / path, data, name, options) for path in ("whole", "parted"))
    assert train(whole, data, CPU)
    with pytest.raises(KeyboardInterrupt):
        train(parted, data, CPU, StopAfter(2))
    assert train(Run.open(parted.path), data, CPU)
    states = [torch.load(run.checkpoint, weights_only=True) for run in (whole, parted)]
    assert states[0]["step"] == states[1]["step"] == 6
    for part in ("method", "averaged"):
        assert all(torch.equal(states[0][part][key], states[1][part][key]) for key in states[0][part])
    assert whole.weights.read_bytes() == parted.weights.read_bytes()
    kinds = [(entry["kind"], entry["step"]) for entry in parted.read_log()]
    assert kinds == [(entry["kind"], entry["step"]) for entry in whole.read_log()]


@every_variant
def test_saved_weights_predict_the_same(name: str, options: dict[str, Any], data: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", data, name, options)
    layout = torch.channels_last  # in which a loaded model computes
    method = make(name, run.record.config.options).eval().to(memory_format=layout)
    run.save_weights(method, 0)
    rows = np.arange(2)
    stored = (data.probabilities(rows),) if data.has_probabilities else ()
    arrays = [torch.from_numpy(data.images(rows)).clamp(0, 1), *(torch.from_numpy(part) / 255 for part in stored)]
    with torch.inference_mode():
        expected = method(torch.cat(arrays, 1).to(memory_format=layout)).sample(6, generator_for(0))
        found = load_trained(run.path, CPU).predictive(data.images(rows), *stored).sample(6, generator_for(0))
    assert torch.equal(expected, found)
