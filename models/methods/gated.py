"""Gated mixture: the probability that a reader marks nothing, and a distribution over shapes for those who mark.

A method of this project. Its parts are the Generalized Probabilistic U-Net (Bhat et al. 2022), which here learns only from
masks with a lesion, and a classifier. In the last stage the prior is trained by the energy score of its masks. The support
is finite, so probabilities are explicit.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ambiseg.preprocessing.errors import UsageError

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_CHANNELS, MOST_PARTS
from ..core.method import Method, Player, Stage
from ..core.named_readers import POOL
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
    Condition,
    Convs,
    KLDraws,
    LatentFamily,
    LatentOptions,
    NetShape,
    Norm,
    Widths,
)
from .ssn import SSN

CERTAIN = 12.0  # logit by which background leads in the empty mask
SCORED = 15  # masks per image, approximately, whose energy is scored


class Gated(Method):
    """p(y|x) = gate(x) for the empty mask, and (1 - gate(x)) times a latent U-Net's p(y|x, lesion) for the others.

    The support of the latter has about `masks` masks: each component of the prior at the same standard normal points of low
    discrepancy, which are part of the model. With shapes "ssn" it is a Gaussian over all logits (Monteiro et al. 2020) at
    such points; the options of the latent variable and of the energy then mean nothing. In data without empty masks the
    gate learns that there are none.
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
        shapes: Annotated[
            Literal["latent", "ssn"],
            Field(
                description="where shapes come from: a latent variable, or a low-rank Gaussian over all logits (ssn)"
            ),
        ] = "latent",
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
        condition: Condition = "none",
        readers: int = 0,
    ):
        super().__init__()
        self.shape_readers, self.score = shape_readers, score if shapes == "latent" else 0.0
        self.channels, self.classes = channels, classes
        self.shapes: LatentUNet | SSN
        if shapes == "latent":
            latent = LatentShape(family, dim=latent_dim, components=components, rank=rank, tau=tau)
            options = LatentOptions(beta, kl_draws, readers=readers)
            net = NetShape(widths, convs, norm)
            self.shapes = LatentUNet(channels, classes, net=net, latent=latent, options=options)
            count, size = components if latent.mixture else 1, latent.noise_size
        elif readers:
            raise UsageError(
                "options.condition is reader, but shapes of ssn know no readers: leave options.shapes out."
            )
        else:
            self.shapes = SSN(channels, classes, rank=rank, widths=widths, convs=convs, norm=norm)
            count, size = 1, rank
        self.gate = LesionGate(channels, gate_width, gate_dropout, gate_views, readers)
        self.points: Tensor
        self.register_buffer("points", normal_points(max(1, masks // count), size))
        self.support = 1 + count * len(self.points)
        self.nothing: Tensor
        certain = torch.tensor([CERTAIN, *[0.0] * (classes - 1)])
        self.register_buffer("nothing", certain[:, None, None], persistent=False)

    def forward(self, image: Tensor, readers: Tensor | None = None) -> GatedPredictive:
        """The predictive distribution for images [B, C, H, W]; number 0 is the empty mask.

        readers: whose masks, by the readers' numbers [B]; None: the pool's.
        """
        odds = self.gate(image, readers)
        if isinstance(self.shapes, LatentUNet):
            shapes, decode = self.shapes.support(image, self.points, readers)
        else:
            shapes, decode = self.shapes.support(image, self.points)

        def decoded(index: Tensor) -> Tensor:
            logits = decode((index - 1).clamp_min(0))
            return torch.where((index == 0)[:, :, None, None, None], self.nothing.to(logits.dtype), logits)

        empty, marked = F.logsigmoid(odds).unsqueeze(1), F.logsigmoid(-odds).unsqueeze(1)
        return GatedPredictive(torch.cat((empty, marked + shapes), 1), decoded, run=len(self.points))

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """A bound on -log p(y|x), mean over images and readers: the gate's loss and the shapes'. The energy is a term, too."""
        gate, shapes = self.gate_loss(batch, generator), self.shape_loss(batch, generator)
        energy = self.score_loss(batch, generator).terms if isinstance(self.shapes, LatentUNet) else {}
        return Loss(gate.total + shapes.total, {**gate.terms, **shapes.terms, **energy})

    def gate_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """-log of the probability that the gate gave to what readers did: marked nothing, or something."""
        marked = _marked(batch.mask).float()
        odds = -self.gate(batch.image, batch.readers)
        odds = odds if odds.dim() == 2 else odds.unsqueeze(1).expand_as(marked)
        surprise = F.binary_cross_entropy_with_logits(odds, marked)
        return Loss(surprise, {"gate": surprise.detach()})

    def shape_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """As of `LatentUNet` or `SSN`, but an empty mask counts 0: what the gate answers for teaches the shapes nothing.

        It is the mean over all readers of the batch, estimated by some of those who marked something.
        """
        marked = _marked(batch.mask)
        count = min(self.shape_readers, marked.shape[1])
        chosen = present_readers(marked | ~marked.any(1, keepdim=True), count, generator)
        who = None if batch.readers is None else batch.readers.gather(1, chosen)
        shown = Batch(batch.image, chosen_masks(batch.mask, chosen, ()), batch.progress, readers=who)
        share = marked.float().mean(1).repeat_interleave(count)
        return self.shapes.shared_loss(shown, share, generator)

    def score_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Energy score of masks drawn from the prior, mean over the masks with a lesion; it moves the prior alone.

        A named reader's prior is scored against that reader's mask. One reader of those who marked something is asked for
        each image, so that masks are drawn once for an image.
        """
        assert isinstance(self.shapes, LatentUNet)
        marked = _marked(batch.mask)
        asked, against = _asked(batch, marked, generator)
        prior = self.shapes.prior_of(batch.image, asked)
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
        mean = (score * against).sum() / against.sum().clamp_min(1)
        return Loss(mean, {"energy": mean.detach()})

    def _frozen(self, image: Tensor, z: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] as prediction has them, with gradients for z [B, S, D] and for no weight."""
        assert isinstance(self.shapes, LatentUNet)
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
        if not self.score:
            return (Stage("train", (shapes, gate)),)
        assert isinstance(self.shapes, LatentUNet)
        assert self.shapes.prior is not None  # as it is learned
        of_prior = [*self.shapes.prior.parameters(), *(self.shapes.by_reader or nn.Module()).parameters()]
        prior = Player("prior", of_prior, self.score_loss, learning_rate=0.5)
        return Stage("train", (shapes, gate), share=1 - self.score), Stage("score", (prior, gate), share=self.score)


def normal_points(count: int, dim: int) -> Tensor:
    """Standard normal points [count, dim] that cover the plane evenly: a scrambled Sobol sequence (Owen 1998) with a fixed
    seed through the normal quantile function.
    """
    uniform = torch.quasirandom.SobolEngine(dim, scramble=True, seed=0).draw(count, dtype=torch.float64)
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)).float()


def _asked(batch: Batch, marked: Tensor, generator: torch.Generator) -> tuple[Tensor | None, Tensor]:
    """Whose prior is scored, the reader's number for each image [B] or None for the pool, and against which masks [B, M]."""
    if batch.readers is None:
        return None, marked.float()
    chosen = present_readers(marked | ~marked.any(1, keepdim=True), 1, generator)
    asked = batch.readers.gather(1, chosen)
    own = torch.zeros_like(marked).scatter(1, chosen, value=True)
    return asked.squeeze(1), (marked & (own | (asked == POOL))).float()


def _marked(mask: Tensor) -> Tensor:
    """Whether any pixel that counts is no background, of label maps [..., H, W]."""
    return ((mask > 0) & counted(mask)).flatten(-2).any(-1)
