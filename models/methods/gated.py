"""Gated mixture: the probability that a reader marks nothing, and a distribution over shapes for those who mark.

A method of this project. Its parts are the Generalized Probabilistic U-Net (Bhat et al. 2022), which here learns only from
masks with a lesion, and a classifier. In the last stage the prior is trained by the energy score of its masks. The support
is finite, so probabilities are explicit.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_CHANNELS, MOST_PARTS
from ..core.method import Method, Player, Stage
from ..core.predictive import GatedPredictive
from ..core.randomness import normal
from ..core.readers import chosen_masks, present_readers
from ..nets.at_rest import evaluating, frozen
from ..nets.combine import Combine
from ..nets.energy_score import energy_score, hard_planes, pair_weights, reader_planes
from ..nets.latents import LatentShape, full_precision
from ..nets.lesion_gate import LesionGate, Views
from ..nets.pixels import counted
from .latent_unet import LatentUNet
from .shared_options import (
    BHAT,
    COMPONENTS,
    KOHL,
    LATENT_DIM,
    RANK,
    TAU,
    Beta,
    Convs,
    KLDraws,
    LatentFamily,
    LatentOptions,
    NetShape,
    Norm,
    Widths,
)

CERTAIN = 12.0  # logit by which background leads in the empty mask
SCORED = 15  # masks per image, approximately, whose energy is scored


class Gated(Method):
    """p(y|x) = gate(x) for the empty mask, and (1 - gate(x)) times a latent U-Net's p(y|x, lesion) for the others.

    The support of the latter has about `masks` masks: each component of the prior at the same standard normal points of low
    discrepancy, which are part of the model. In data without empty masks the gate learns that there are none.
    """

    name = "gated"
    summary = "Gated mixture: chance of no lesion, and a mixture of shapes with explicit probabilities"
    references = (
        BHAT,
        KOHL,
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        family: LatentFamily = "mixture-full",
        widths: Widths = (32, 64, 128, 512),
        convs: Convs = 3,
        norm: Norm = True,
        latent_dim: Annotated[int, LATENT_DIM] = 2,
        components: Annotated[int, COMPONENTS] = 5,
        rank: Annotated[int, RANK] = 1,
        tau: Annotated[float, TAU] = 0.28,
        beta: Beta = 1.0,
        kl_draws: KLDraws = 8,
        masks: Annotated[
            int, Field(ge=1, le=MOST_CHANNELS, description="masks with a lesion in the support, approximately")
        ] = 60,
        shape_readers: Annotated[
            int,
            Field(
                ge=1,
                le=MOST_PARTS,
                description="readers per image that train the shapes, of those who mark something",
            ),
        ] = 2,
        gate_width: Annotated[
            int, Field(ge=1, le=MOST_CHANNELS, description="channels of the gate's first level")
        ] = 24,
        gate_dropout: Annotated[float, Field(ge=0, lt=1, description="dropout before the gate's last layer")] = 0.3,
        gate_views: Annotated[
            Views, Field(description="views the gate averages in prediction, as in augment.flip")
        ] = "all",
        score: Annotated[
            float, Field(ge=0, lt=1, description="share of the steps that train the prior by energy")
        ] = 0.2,
    ):
        super().__init__()
        self.score, self.shape_readers = score, shape_readers
        self.channels, self.classes = channels, classes
        latent = LatentShape(family, dim=latent_dim, components=components, rank=rank, tau=tau)
        options = LatentOptions(beta, kl_draws)
        self.shapes = LatentUNet(channels, classes, net=NetShape(widths, convs, norm), latent=latent, options=options)
        self.gate = LesionGate(channels, gate_width, gate_dropout, gate_views)
        count = components if latent.mixture else 1
        self.points: Tensor
        self.register_buffer("points", normal_points(max(1, masks // count), latent.noise_size))
        self.support = 1 + count * len(self.points)
        self.nothing: Tensor
        certain = torch.tensor([CERTAIN, *[0.0] * (classes - 1)])
        self.register_buffer("nothing", certain[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> GatedPredictive:
        """The predictive distribution for images [B, C, H, W]; number 0 is the empty mask."""
        prior, odds = self.shapes.prior_of(image), self.gate(image)
        shapes = prior.logits.log_softmax(1).repeat_interleave(len(self.points), 1) - math.log(len(self.points))
        z, decode = prior.points(self.points), self.shapes.decoder(image)

        def decoded(index: Tensor) -> Tensor:
            place = (index - 1).clamp_min(0).unsqueeze(2).expand(-1, -1, z.shape[2])
            logits = decode(z.gather(1, place))
            return torch.where((index == 0)[:, :, None, None, None], self.nothing.to(logits.dtype), logits)

        empty, marked = F.logsigmoid(odds).unsqueeze(1), F.logsigmoid(-odds).unsqueeze(1)
        return GatedPredictive(torch.cat((empty, marked + shapes), 1), decoded)

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """A bound on -log p(y|x), mean over images and readers: the gate's loss and the shapes'. The energy is a term, too."""
        gate, shapes = self.gate_loss(batch, generator), self.shape_loss(batch, generator)
        energy = self.score_loss(batch, generator)
        return Loss(gate.total + shapes.total, {**gate.terms, **shapes.terms, **energy.terms})

    def gate_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """-log of the probability that the gate gave to what readers did: marked nothing, or something."""
        marked = _marked(batch.mask).float()
        odds = -self.gate(batch.image).unsqueeze(1).expand_as(marked)
        surprise = F.binary_cross_entropy_with_logits(odds, marked)
        return Loss(surprise, {"gate": surprise.detach()})

    def shape_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """As of `LatentUNet`, but an empty mask counts 0: what the gate answers for teaches the shapes nothing.

        It is the mean over all readers of the batch, estimated by some of those who marked something.
        """
        marked = _marked(batch.mask)
        count = min(self.shape_readers, marked.shape[1])
        chosen = present_readers(marked | ~marked.any(1, keepdim=True), count, generator)
        shown = Batch(batch.image, chosen_masks(batch.mask, chosen, ()))
        surprise, divergence, by_dimension = self.shapes.bound(shown, generator)
        share = marked.float().mean(1).repeat_interleave(count)
        return self.shapes.weighted((surprise * share).mean(), (divergence * share).mean(), by_dimension)

    def score_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Energy score of masks drawn from the prior, mean over the masks with a lesion; it moves the prior alone."""
        prior = self.shapes.prior_of(batch.image)
        components = prior.logits.softmax(1)
        draws = max(2, round(SCORED / components.shape[1]))
        noise = normal((draws, self.shapes.latent.noise_size), generator, prior.loc)
        logits = self._frozen(batch.image, prior.points(noise))
        with full_precision(logits):
            readers, counts = reader_planes(batch.mask, self.classes)
            weights = components.repeat_interleave(draws, 1) / draws
            score = energy_score(
                hard_planes(logits) * counts, weights, pair_weights(components, draws), readers * counts
            )
        marked = _marked(batch.mask).float()
        mean = (score * marked).sum() / marked.sum().clamp_min(1)
        return Loss(mean, {"energy": mean.detach()})

    def _frozen(self, image: Tensor, z: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] as prediction has them, with gradients for z [B, S, D] and for no weight."""
        unet, head = self.shapes.unet, self.shapes.head
        assert isinstance(head, Combine)  # as z comes late
        with torch.no_grad(), evaluating(unet):
            prepared = head.prepare(unet(image))
        with frozen(head):
            logits: Tensor = head(prepared, z)
        return logits

    def stages(self) -> tuple[Stage, ...]:
        """Gate and shapes, which share no weights and so move by a loss each; then the prior by the masks that it gives, while
        the gate learns on.
        """
        shapes = Player("shapes", list(self.shapes.parameters()), self.shape_loss)
        gate = Player("gate", list(self.gate.parameters()), self.gate_loss)
        assert self.shapes.prior is not None  # as it is learned
        prior = Player("prior", list(self.shapes.prior.parameters()), self.score_loss, learning_rate=0.5)
        stages = Stage("train", (shapes, gate), share=1 - self.score), Stage("score", (prior, gate), share=self.score)
        return stages if self.score else stages[:1]


def normal_points(count: int, dim: int) -> Tensor:
    """Standard normal points [count, dim] that cover the plane evenly: a scrambled Sobol sequence (Owen 1998) with a fixed
    seed through the normal quantile function.
    """
    uniform = torch.quasirandom.SobolEngine(dim, scramble=True, seed=0).draw(count, dtype=torch.float64)
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)).float()


def _marked(mask: Tensor) -> Tensor:
    """Whether any pixel that counts is no background, of label maps [..., H, W]."""
    return ((mask > 0) & counted(mask)).flatten(-2).any(-1)
