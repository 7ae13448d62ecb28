"""What goes into an ONNX file: the way from an image in the data's unit to class logits, with all randomness as an input."""

import torch
from torch import Tensor, nn

from ambiseg.preprocessing.errors import UsageError

from ..core.method import Method
from ..core.randomness import gumbel, normal, uniform
from ..methods.baselines.ensemble import Ensemble
from ..methods.baselines.mheads import MHeads
from ..methods.ccdm import CCDM
from ..methods.gated import Gated
from ..methods.hpu import HPU
from ..methods.latent_unet import LatentUNet
from ..methods.modal import Modal
from ..methods.mose import MoSE
from ..methods.phiseg import PHiSeg
from ..methods.refine import Refine
from ..methods.ssn import SSN
from ..nets.latents import LatentShape, Noise
from ..runs.normalise import Centre, Window, network_input, normalise
from ..runs.trained import Trained

MAPPED = (PHiSeg, HPU)
DRAWN = (LatentUNet, Refine, SSN, *MAPPED)
FINITE = (Gated, MoSE, Modal, MHeads, Ensemble)


class Graph(nn.Module):
    """A trained model as a function of tensors alone.

    image [B, C, H, W] in the data's unit; probabilities [B, K, H, W] uint8, in 255ths, of another segmenter, for a model
    that reads them. A model that draws also takes normal [B, S, E], standard normal numbers, and if its latent is a mixture
    gumbel [B, S, N], standard Gumbel numbers; it gives logits [B, S, K, H, W]. A model with finitely many masks gives their
    log_probabilities [B, N] and logits [B, N, K, H, W].
    """

    atoms: Tensor

    def __init__(self, method: Method, window: Window, centre: Centre):
        super().__init__()
        if not isinstance(method, DRAWN + FINITE):
            why = (
                "each of its draws takes many passes of its network"
                if isinstance(method, CCDM)
                else "its randomness sits inside its layers and cannot be an input"
            )
            raise UsageError(f"The method {method.name} has no ONNX form, as {why}: export a model of another method.")
        self.method, self.window, self.centre = method, window, centre
        self.register_buffer("atoms", _atoms(method), persistent=False)

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` gives."""
        return ["logits"] if isinstance(self.method, DRAWN) else ["log_probabilities", "logits"]

    def forward(
        self,
        image: Tensor,
        probabilities: Tensor | None = None,
        normal: Tensor | None = None,
        gumbel: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits, or log probabilities and logits."""
        inputs = network_input(normalise(image, self.window), self.centre, probabilities)
        if normal is None:
            return self._support(inputs)
        if isinstance(self.method, (SSN, *MAPPED)):
            return self.method(inputs).drawn(normal)
        predictive = self.method(inputs)
        return predictive.decode(predictive.prior.draw(Noise(normal, gumbel)))

    def _support(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities [B, N] and logits [B, N, K, H, W] of all masks that a finite model can give."""
        if isinstance(self.method, Ensemble):
            logits = torch.stack([member(inputs) for member in self.method.members], 1)
            return logits.new_zeros(logits.shape[:2]).log_softmax(1), logits
        if isinstance(self.method, MHeads):
            logits, gate = self.method.heads_of(inputs)
            return gate.log_softmax(1), logits
        predictive = self.method(inputs)
        return predictive.log_probabilities[:, self.atoms], predictive.decode(self.atoms.expand(inputs.shape[0], -1))


def _atoms(method: Method) -> Tensor:
    """The numbers of the masks that a model decodes one by one. Which codes are in use is a matter of the weights alone, so
    the others are left out once and for all.
    """
    if isinstance(method, Modal):
        return method.codebook.live.nonzero().squeeze(1)
    return torch.arange(method.support if isinstance(method, Gated | MoSE) else 0)


def random_inputs(trained: Trained, size: int, batch: int, draws: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Inputs of a `Graph` by name: noise for images of `size` pixels, over the whole range of the data's intensities."""
    data, like = trained.record.data, torch.zeros(())
    image = data.low + (data.high - data.low) * uniform((batch, data.channels, size, size), generator, like)
    inputs = {"image": image}
    if data.probabilities:
        planes = uniform((batch, len(data.class_names), size, size), generator, like)
        inputs["probabilities"] = (planes / planes.sum(1, keepdim=True) * 255).to(torch.uint8)
    if isinstance(trained.method, SSN):
        numbers = trained.method.rank + trained.method.classes * size**2
        inputs["normal"] = normal((batch, draws, numbers), generator, like)
    if isinstance(trained.method, MAPPED):
        numbers = trained.method.shape_for(image).numbers
        inputs["normal"] = normal((batch, draws, numbers), generator, like)
    shape = latent_shape(trained.method)
    if shape is not None:
        inputs["normal"] = normal((batch, draws, shape.noise_size), generator, like)
    if shape is not None and shape.mixture:
        inputs["gumbel"] = gumbel((batch, draws, shape.components), generator, like)
    return inputs


def latent_shape(method: Method) -> LatentShape | None:
    """The latent distribution that a method draws from; None where it has none."""
    if isinstance(method, LatentUNet):
        return method.latent
    return method.shape if isinstance(method, Refine) else None
