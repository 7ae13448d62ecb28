"""Method: the contract that every generative segmentation model keeps, built in or from a plug-in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from .batch import Batch, Loss
from .predictive import Predictive


@dataclass(frozen=True)
class Player:
    """Parameters with a loss and an optimiser of their own: one player in most stages, two in adversarial ones.

    Attributes:
        name: of the player in the log and in checkpoints; unique within its stage.
        parameters: what the player's optimiser (Adam) changes.
        loss: a function of a batch and a generator. All of its randomness comes from the generator.
        learning_rate: a factor on the learning rate of the run.
        active: whether the player moves in a step, given the step's number within its stage, from 0. At least one player
            moves in each step.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Batch, torch.Generator], Loss]
    learning_rate: float = 1.0
    active: Callable[[int], bool] = lambda step: True


@dataclass(frozen=True)
class Stage:
    """A part of the training schedule, in which its players move one after the other in each step.

    Attributes:
        name: of the stage, unique within the method.
        players: who moves, in this order.
        share: the part of all steps that the stage takes, relative to the other stages.
        prepare: called once per step, before any player moves, with the batch and a generator. It returns the batch,
            and may put into its `shared` what several players need. Gradients pass through it.
    """

    name: str
    players: tuple[Player, ...]
    share: float = 1.0
    prepare: Callable[[Batch, torch.Generator], Batch] = lambda batch, generator: batch


class Method(nn.Module, ABC):
    """A network that gives a distribution over whole masks.

    A subclass is found by its name once its package declares it in the entry-point group `ambiseg.methods`
    (docs/how-to/add-a-method.md). It keeps this contract, which `check_method` of `ambiseg.models.training.conformance`
    verifies:

    - The constructor takes `channels` and `classes`, then keyword-only options. Each option has a default and a type,
      `Annotated[type, Field(...)]` of pydantic; bounds, descriptions, the configuration schema, the listing of
      `ambiseg methods NAME` and the messages for bad values all follow from this signature. A count should have an upper
      bound (`le`), because run records may come from strangers.
    - `forward` and `loss` keep nothing of a batch on `self`, except running statistics in buffers, as BatchNorm does.
    - All randomness comes from the generators that are passed in. Dropout layers are the one exception: the training
      loop seeds torch's own generator for them in each step.
    - A method that tells readers apart has an option `condition` with the choices "none" and "reader", and a constructor
      parameter `readers`, which says how many have a name; it is 0 for "none". Its losses then ask `Batch.readers`, and its
      `forward` takes their numbers [B] as a second argument; without them it gives the pool's distribution.
    - Every parameter belongs to at least one player, and the loss of a player moves it.

    Attributes:
        name: what the method is called in commands and records; equal to the name of its entry point.
        summary: one line that says what the method is, with its paper.
        aliases: other names under which the method can be requested.
        references: the papers behind the method, as a model card cites them.
        channels: how many channels the network reads: C of the image, plus K where the class probabilities of another
            segmenter come with it.
        classes: K, background included.

    Example:
        >>> from .predictive import FinitePredictive
        >>> class Constant(Method):
        ...     name, summary = "constant", "the same two masks for every image"
        ...     def __init__(self, channels: int, classes: int):
        ...         super().__init__()
        ...         self.channels, self.classes = channels, classes
        ...         self.logits = nn.Parameter(torch.randn(2, classes))
        ...     def forward(self, image: Tensor) -> Predictive:
        ...         masks = self.logits[:, :, None, None].expand(-1, -1, *image.shape[2:])
        ...         return FinitePredictive(torch.zeros(len(image), 2), lambda index: masks[index])
        ...     def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        ...         square = self.logits.square().mean()
        ...         return Loss(square, {"square": square.detach()})
        >>> model = Constant(channels=1, classes=3)
        >>> tuple(model(torch.zeros(5, 1, 8, 8)).sample(4).shape)
        (5, 4, 3, 8, 8)
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[tuple[str, ...]] = ()
    channels: int
    classes: int

    @abstractmethod
    def forward(self, image: Tensor) -> Predictive:
        """The predictive distribution of masks.

        Args:
            image: images [B, C, H, W] in 0..1, normalised as in training; where another segmenter's class probabilities
                are read they follow as K further channels.

        Returns:
            A distribution for each image of the batch. What does not depend on the draw should be computed here, once.
        """

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """The training loss of a batch; with several players, the objective that validation reports.

        Args:
            batch: images with masks of M readers each.
            generator: the source of all randomness, on the device of the batch.

        Returns:
            The scalar to minimise, and its terms for the log.
        """

    def stages(self) -> tuple[Stage, ...]:
        """The training schedule: one stage with one player that moves all parameters, unless a method overrides this."""
        return (Stage("train", (Player("model", list(self.parameters()), self.loss),)),)
