"""What every method must do, as checks that its author can run: `check_method`.

The checks build the method for small images, ask it for losses, draws and weighted masks, and train it for a few steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

from ambiseg.preprocessing.files import scratch_folder
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

from ..core.batch import Batch
from ..core.hypotheses import rank
from ..core.lesion_slices import LesionSlices
from ..core.method import Method, Player
from ..core.predictive import Atoms, Predictive
from ..core.randomness import generator_for
from ..methods.constructor import Options, by_reader, checked_options, constructed, options_model, outline
from ..methods.registry import find_method, known_as
from ..runs.config import make_config
from ..runs.normalise import network_input, normalise
from ..runs.run_folder import Run
from ..runs.run_record import RunRecord
from ..runs.trained import load_trained
from .loop import BudgetSpent, Progress, train

CPU = torch.device("cpu")
SIZE, OTHER_SIZE = (21, 18), (17, 23)  # odd sizes of images, which no pooling divides evenly
CROPS = 60
READERS = ("anna", "ben", "carl", "dora")
STEPS, STOPPED = 6, 2


class ContractBroken(AssertionError):
    """A method does not do what every method must do; the message says what."""


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Attributes:
        method: the class.
        options: those that differ from its defaults; small networks make the checks fast.
        probabilities: whether the method, with these options, reads the class probabilities of another segmenter.
    """

    method: type[Method]
    options: Options = field(default_factory=dict)
    probabilities: bool = False

    def make(self, channels: int = 1, classes: int = 2) -> Method:
        """The method with weights that are always the same."""
        torch.manual_seed(0)
        inputs = channels + (classes if self.probabilities else 0)
        checked = checked_options(self.method, self.options)
        outline(self.method, inputs, classes, checked, len(READERS))
        return constructed(self.method, inputs, classes, checked, len(READERS))

    def images(self, batch: int = 3, channels: int = 1, classes: int = 2, size: tuple[int, int] = SIZE) -> Tensor:
        """Random images [B, C, H, W], with random class probabilities [B, C + K, H, W] where these are read."""
        images = torch.rand(batch, channels, *size, generator=generator_for("images"))
        if not self.probabilities:
            return images
        logits = torch.randn(batch, classes, *size, generator=generator_for("probabilities"))
        return torch.cat((images, (2 * logits).softmax(1)), 1)

    def batch(self, channels: int = 1, classes: int = 2, readers: int = 2) -> Batch:
        """A batch of three from late in a stage, when all terms of a loss are in."""
        masks = torch.randint(0, classes, (3, readers, *SIZE), generator=generator_for("masks"))
        asked = torch.randint(0, 1 + len(READERS), masks.shape[:2], generator=generator_for("readers"))
        who = asked if by_reader(self.options) else None
        return Batch(self.images(channels=channels, classes=classes), masks, progress=0.9, readers=who)

    def predictive(self, batch: int = 3) -> Predictive:
        """The distribution that the untrained method gives for random images."""
        found: Predictive = self.make().eval()(self.images(batch))
        return found


TensorCheck = Callable[[Subject], None]
RunCheck = Callable[[Subject, Store, Path], None]


def check_method(method: str | type[Method], options: Options | None = None, *, probabilities: bool = False) -> None:
    """Check that a method keeps the contract of `Method`, with one set of options.

    `variants` lists the sets of options that are worth checking.

    Args:
        method: the class, or the name or alias of an installed method.
        options: those that differ from the defaults. Choose small networks: the checks then take seconds on a CPU.
        probabilities: whether the method, with these options, reads the class probabilities of another segmenter.

    Raises:
        ContractBroken: the method does not do what every method must do.
        UsageError: an option is unknown or has a bad value.

    Example:
        >>> check_method("ensemble", {"members": 2, "widths": [4, 6], "convs": 1})
    """
    subject = Subject(find_method(method) if isinstance(method, str) else method, options or {}, probabilities)
    with torch.random.fork_rng(devices=[]):
        for check in TENSOR_CHECKS:
            check(subject)
        with scratch_folder() as folder:
            store = made_store(folder / "store", probabilities=probabilities)
            for run_check in RUN_CHECKS:
                run_check(subject, store, folder / run_check.__name__)


def variants(method: type[Method], options: Options | None = None) -> Mapping[str, Options]:
    """Sets of options that are worth checking.

    Args:
        method: the class.
        options: those that every set has.

    Returns:
        `options` as they are, under an empty name, and with each other choice of each option that is a choice, under the
        name of the choice.

    Example:
        >>> from ..methods.baselines.mheads import MHeads
        >>> variants(MHeads, {"heads": 2})
        {'': {'heads': 2}, 'learned': {'heads': 2, 'gate': 'learned'}}
    """
    given = dict(options or {})
    found: dict[str, Options] = {"": given}
    for key, one in options_model(method).model_fields.items():
        choices = get_args(one.annotation) if get_origin(one.annotation) is Literal else ()
        found |= {str(choice): given | {key: choice} for choice in choices if choice != one.default}
    return found


def made_store(path: Path, *, probabilities: bool = False) -> Store:
    """60 synthetic lesions of 24 x 24 pixels with four readers, and with the class probabilities of a segmenter if required."""
    place = path if not probabilities else path.with_name(f"{path.name}-plain")
    plain = write_known_truth(place, crops=CROPS, size=24, names=READERS)
    return _with_probabilities(path, plain) if probabilities else plain


def gradients_reach_every_parameter(subject: Subject) -> None:
    """Each parameter belongs to a player whose loss moves it."""
    method, moved = subject.make(), set[int]()
    for player in _players(method):
        method.zero_grad(set_to_none=True)
        player.loss(subject.batch(), generator_for(0)).total.backward()
        moved |= {id(one) for one in player.parameters if one.grad is not None and one.grad.abs().sum() > 0}
    still = [key for key, parameter in method.named_parameters() if id(parameter) not in moved]
    _require(not still, f"no player's loss moves {', '.join(still)}")


def losses_are_functions_of_batch_and_generator(subject: Subject) -> None:
    """The same batch, generator and seed of torch give the same loss."""
    for number in range(len(_players(subject.make()))):
        losses = []
        for _ in range(2):
            player = _players(subject.make())[number]
            torch.manual_seed(1)
            losses.append(player.loss(subject.batch(), generator_for(1)).total.item())
        _require(
            losses[0] == losses[1], f"the loss of the player {player.name!r} is {losses[0]} once and {losses[1]} then"
        )


def any_channels_classes_readers_and_sizes(subject: Subject) -> None:
    """Losses and predictions work for other numbers of channels, classes and readers, and for odd sizes."""
    for channels, classes, readers in ((1, 2, 9), (3, 5, 2)):
        case = f"with {channels} channels, {classes} classes and {readers} readers"
        method = subject.make(channels, classes)
        for player in _players(method):
            loss = player.loss(subject.batch(channels, classes, readers), generator_for(0))
            _require(bool(loss.total.isfinite()), f"the loss of the player {player.name!r} is not finite {case}")
            _require(bool(loss.terms), f"the loss of the player {player.name!r} has no terms")
        predictive = method.eval()(subject.images(2, channels, classes, OTHER_SIZE))
        with torch.inference_mode():
            drawn = predictive.sample(5, generator_for(0))
            _require(drawn.shape == (2, 5, classes, *OTHER_SIZE), f"5 draws are {tuple(drawn.shape)} {case}")
            _check_shapes(predictive.atoms(5, generator_for(0)), classes, case)


def ignored_pixels_have_no_say(subject: Subject) -> None:
    """Losses stay finite where pixels are ignored; so does validation's loss where all are, whatever they were."""
    method, batch = subject.make(), subject.batch()
    mask = batch.mask.clone()
    mask[:, :, :9] = IGNORE
    for player in _players(method):
        loss = player.loss(replace(batch, mask=mask), generator_for(0)).total
        _require(bool(loss.isfinite()), f"the loss of the player {player.name!r} is not finite with ignored pixels")
    mask[:] = IGNORE
    with torch.inference_mode():
        loss = method.eval().loss(replace(batch, mask=mask), generator_for(0)).total
        _require(bool(loss.isfinite()), "the loss is not finite if all pixels are ignored")


def weighted_masks_are_a_distribution(subject: Subject) -> None:
    """Weights and class probabilities sum to 1; a finite support comes in descending order of probability."""
    with torch.inference_mode():
        predictive = subject.predictive()
        atoms, pixelwise = predictive.atoms(40, generator_for(0)), predictive.pixelwise()
    ones = torch.ones(3, *SIZE)
    _require(_close(atoms.weights.sum(1), torch.ones(3)), "the weights of an image's masks do not sum to 1")
    _require(bool((atoms.weights >= 0).all()), "a weight is negative")
    _require(_close(atoms.marginal.sum(1), ones), "the class probabilities of a pixel (`marginal`) do not sum to 1")
    _require(atoms.draws in (None, 40), f"40 draws were requested, and `draws` is {atoms.draws}")
    if atoms.draws is None:
        _require(
            bool((atoms.weights.diff(dim=1) <= 0).all()), "a finite support does not start with its most probable mask"
        )
    if pixelwise is not None:
        _require(_close(pixelwise.sum(1), ones), "the class probabilities of a pixel (`pixelwise`) do not sum to 1")


def draws_replay_from_a_seed(subject: Subject) -> None:
    """The same seed gives the same draws, another seed others; `atoms` of a sampler are its draws."""
    with torch.inference_mode():
        predictive = subject.predictive()
        first, again, other = (predictive.sample(20, generator_for(seed)) for seed in (1, 1, 2))
        atoms = predictive.atoms(20, generator_for(1))
    _require(torch.equal(first, again), "the same seed gives other draws")
    _require(not torch.equal(first, other), "another seed gives the same draws")
    if atoms.draws is not None:
        labels = first.argmax(2).to(torch.uint8)
        _require(torch.equal(atoms.labels, labels), "the masks of `atoms` are not those of `sample` from the same seed")
        _require(
            _close(atoms.marginal, first.softmax(2).mean(1)), "`marginal` is not the mean of the draws' probabilities"
        )


def readers_are_told_apart_and_the_pool_is_number_0(subject: Subject) -> None:
    """A method with the option `condition` gives the pool without a reader's number and for number 0, and another distribution
    for a reader once that reader's weights have moved.
    """
    if not by_reader(subject.options):
        return
    method = subject.make().eval()
    asked = [param for name, param in method.named_parameters() if ".by_reader." in f".{name}"]
    _require(bool(asked), "no parameter belongs to a reader by its name: expected a `ReaderShift` called `by_reader`")
    with torch.no_grad():
        for parameter in asked:
            parameter.normal_(generator=generator_for("readers"))
    images = subject.images()
    with torch.inference_mode():
        pool = method(images).sample(8, generator_for(0))
        zero, one, two = (method(images, torch.full((3,), number)).sample(8, generator_for(0)) for number in (0, 1, 2))
    _require(torch.equal(pool, zero), "reader number 0 gets other draws than the pool")
    _require(not torch.equal(pool, one), "a reader gets the same draws as the pool")
    _require(not torch.equal(one, two), "two readers get the same draws")


def tied_images_share_their_latent_sample(subject: Subject) -> None:
    """Copies of one image, as slices of one lesion, get the same masks with the same weights."""
    method = subject.make().eval()
    with torch.inference_mode():
        copies = subject.images(1).expand(3, -1, -1, -1)
        atoms = method(copies).lesion(12, LesionSlices((0.0, 2.0, 4.0)), generator_for(0))
    _require(torch.equal(atoms.labels[0], atoms.labels[2]), "copies of one image get different masks when tied")
    _require(torch.equal(atoms.weights[0], atoms.weights[2]), "copies of one image get different weights when tied")


def hypotheses_are_ranked_and_distinct(subject: Subject) -> None:
    """The masks can be ranked as hypotheses."""
    with torch.inference_mode():
        atoms = subject.predictive(1).atoms(60, generator_for(0))
    found = rank(atoms.labels[0].numpy(), atoms.weights[0].double().numpy(), top=5, draws=atoms.draws)
    _require(bool((np.diff(found.probabilities) <= 0).all()), "hypotheses are not in descending order of probability")
    _require(abs(found.probabilities.sum() + found.residual - 1) < 1e-6, "hypotheses and residual do not sum to 1")
    _require(len({mask.tobytes() for mask in found.masks}) == len(found.masks) <= 5, "two hypotheses are the same mask")


def a_resumed_run_ends_with_the_same_bits(subject: Subject, store: Store, folder: Path) -> None:
    """A run that is stopped and resumed has the weights and the log of one that is not."""
    with known_as(subject.method):
        whole, parted = (_new_run(folder / name, subject, store) for name in ("whole", "parted"))
        _require(train(whole, store, CPU), "a run does not train to its end")
        _train_in_two_parts(parted, store)
        states = [torch.load(run.checkpoint, weights_only=True) for run in (whole, parted)]
    _require(states[0]["step"] == states[1]["step"] == STEPS, "a resumed run does not train to its end")
    for part in ("method", "averaged"):
        for key, value in states[0][part].items():
            _require(torch.equal(value, states[1][part][key]), f"{key} of a resumed run differs from an unbroken run's")
    same = whole.weights.read_bytes() == parted.weights.read_bytes()
    _require(same, "the best weights of a resumed run differ from an unbroken run's")
    logs = [[(entry["kind"], entry["step"]) for entry in run.read_log()] for run in (whole, parted)]
    _require(logs[0] == logs[1], "the log of a resumed run has other entries than an unbroken run's")


def saved_weights_predict_the_same(subject: Subject, store: Store, folder: Path) -> None:
    """A method that is loaded from its run folder draws what it drew before."""
    with known_as(subject.method):
        run = _new_run(folder / "run", subject, store)
        layout = torch.channels_last  # in which a loaded model computes
        method = subject.make().eval()
        method.to(memory_format=layout)  # type: ignore[call-overload]  # torch's own stub lacks it
        run.save_weights(method, 0)
        rows = np.arange(2)
        stored = (store.class_probabilities(rows),) if store.manifest.has_class_probabilities else ()
        image, *others = (torch.from_numpy(part) for part in (store.images(rows), *stored))
        seen = network_input(normalise(image, run.record.window), run.record.centre, *others)
        with torch.inference_mode():
            expected = method(seen.to(memory_format=layout)).sample(6, generator_for(0))
            found = load_trained(run.path, CPU).predictive(store.images(rows), *stored).sample(6, generator_for(0))
    _require(torch.equal(expected, found), "a method loaded from its run folder draws other masks")


TENSOR_CHECKS: tuple[TensorCheck, ...] = (
    gradients_reach_every_parameter,
    losses_are_functions_of_batch_and_generator,
    any_channels_classes_readers_and_sizes,
    ignored_pixels_have_no_say,
    weighted_masks_are_a_distribution,
    draws_replay_from_a_seed,
    readers_are_told_apart_and_the_pool_is_number_0,
    tied_images_share_their_latent_sample,
    hypotheses_are_ranked_and_distinct,
)
RUN_CHECKS: tuple[RunCheck, ...] = (a_resumed_run_ends_with_the_same_bits, saved_weights_predict_the_same)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ContractBroken(f"{otherwise[0].upper()}{otherwise[1:]}.")


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-5)


def _players(method: Method) -> list[Player]:
    return [player for stage in method.stages() for player in stage.players]


def _check_shapes(atoms: Atoms, classes: int, case: str) -> None:
    """Of weighted masks of two images of OTHER_SIZE."""
    _require(atoms.labels.shape[2:] == OTHER_SIZE, f"labels are {tuple(atoms.labels.shape)} {case}")
    _require(atoms.labels.dtype == torch.uint8, f"labels are {atoms.labels.dtype}, expected uint8")
    _require(int(atoms.labels.max()) < classes, f"a label is {int(atoms.labels.max())} {case}")
    _require(atoms.marginal.shape == (2, classes, *OTHER_SIZE), f"`marginal` is {tuple(atoms.marginal.shape)} {case}")


def _train_in_two_parts(run: Run, store: Store) -> None:
    """Train a run, stopped once after a validation, to its end."""
    seen = [0]

    def observe(progress: Progress) -> None:
        seen[0] = progress.step if progress.scores else seen[0]

    try:
        train(run, store, CPU, observe, enough=lambda: seen[0] >= STOPPED)
    except BudgetSpent:
        train(Run.open(run.path), store, CPU)


def _new_run(path: Path, subject: Subject, store: Store) -> Run:
    settings = ["data.crop=16", f"steps={STEPS}", "batch=4", "optimiser.ema=0.5"]
    settings += [f"validation.every={STOPPED}", "validation.limit=4"]
    options = checked_options(subject.method, subject.options)  # all of them, as a preset may set some
    flags: dict[str, Any] = {f"options.{key}": value for key, value in options.items()}
    config = make_config(subject.method.name, "small", None, settings, flags)
    return Run.create(path, RunRecord.of(config, store, "cpu"))


def _with_probabilities(path: Path, plain: Store) -> Store:
    """A store's crops, with class probabilities of a segmenter that follow the brightness."""
    info = StoreInfo("with-probabilities", "made", plain.intensity)
    with write_store(path, info, {row["patient"]: row["split"] for row in plain.index}) as writer:
        for number, row in enumerate(plain.index):
            image, masks = plain.images(np.array([number]))[0], plain.masks(np.array([number]))[0]
            lesion = image.clip(0.05, 0.95)
            probabilities = np.concatenate((1 - lesion, lesion))
            writer.add(Crop(image, masks, row["patient"], row["case"], class_probabilities=probabilities))
    return Store.open(path)
