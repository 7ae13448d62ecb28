"""The codebook: vectors that follow, by exponential moving averages, the outputs nearest to them.

van den Oord et al. 2017 and Razavi et al. 2019, as Modal Uncertainty Estimation (Qiu and Lui 2020, section 3.1) uses them:
one code for a whole mask. All of it is computed in float32.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..core.randomness import normal
from .latents import full_precision

SMOOTHING = 1e-5


@dataclass(frozen=True)
class Quantised:
    """Outputs replaced by their nearest codes: vectors [P, D] whose gradient goes straight to the outputs, the codes'
    numbers [P], and the commitment, the mean over outputs of the squared distance to their codes (whose gradient moves the
    outputs alone).
    """

    vectors: Tensor
    index: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """`size` vectors of `dim` numbers, with moving averages of the number and the sum of the outputs that each gets per batch.

    Like the statistics of BatchNorm these are buffers, which move only in training with gradients.
    """

    codes: Tensor
    sums: Tensor
    counts: Tensor
    initialised: Tensor

    def __init__(self, size: int, dim: int, decay: float):
        super().__init__()
        self.decay = decay
        self.begun = False  # whether `initialised` is known to be true: asking a CUDA tensor makes the host wait
        self.register_buffer("codes", torch.randn(size, dim))
        self.register_buffer("sums", torch.zeros(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, outputs: Tensor, generator: torch.Generator) -> Quantised:
        """The nearest codes of outputs [P, D]; in training the codes then move towards the outputs."""
        with full_precision(outputs):
            outputs = outputs.float()
            moves = self.training and torch.is_grad_enabled()
            if moves and not self.begun:
                self._begin(outputs.detach(), generator)
            index = self.nearest(outputs.detach())
            codes = self.codes[index]
            if moves:
                self._follow(outputs.detach(), index)
            commitment = (outputs - codes).square().sum(1).mean()
            return Quantised(outputs + (codes - outputs).detach(), index, commitment)

    def nearest(self, outputs: Tensor) -> Tensor:
        """Numbers [P] of the codes at the least Euclidean distance from outputs [P, D]."""
        return torch.cdist(outputs, self.codes, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)

    @property
    def live(self) -> Tensor:
        """Which codes [N] are in use: all of them before any training, later those whose moving count is at least a tenth
        of what one output adds to it (at a decay of .99: used within the last 230 batches, or often before).
        """
        live = self.counts >= 0.1 * (1 - self.decay)
        return live | ~live.any()

    @property
    def perplexity(self) -> Tensor:
        """The number of equally frequent codes that would have the entropy of the moving counts."""
        shares = self.counts / self.counts.sum().clamp_min(SMOOTHING)
        return torch.special.entr(shares).sum().exp()

    def _begin(self, outputs: Tensor, generator: torch.Generator) -> None:
        """Initialise the codes unless they are, as in a run that was resumed."""
        if not self.initialised:
            self._initialise(outputs, generator)
        self.begun = True

    @torch.no_grad()
    def _initialise(self, outputs: Tensor, generator: torch.Generator) -> None:
        """Codes drawn from the normal distribution that has the mean and the standard deviation of the outputs."""
        count = _over_processes(outputs.new_full((), len(outputs)))
        mean = _over_processes(outputs.sum(0)) / count
        deviation = (_over_processes((outputs - mean).square().sum(0)) / count).sqrt()
        codes = mean + deviation * normal(self.codes.shape, generator, outputs)
        if _several_processes():
            dist.broadcast(codes, 0)
        self.codes.copy_(codes)
        self.initialised.fill_(True)

    @torch.no_grad()
    def _follow(self, outputs: Tensor, index: Tensor) -> None:
        """Move the averages; a code that got no output keeps its vector."""
        counts = _over_processes(torch.zeros_like(self.counts).index_add_(0, index, torch.ones_like(outputs[:, 0])))
        sums = _over_processes(torch.zeros_like(self.sums).index_add_(0, index, outputs))
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + SMOOTHING) / (total + len(counts) * SMOOTHING) * total
        self.codes.copy_(torch.where(counts[:, None] > 0, self.sums / smoothed[:, None], self.codes))


def _several_processes() -> bool:
    return dist.is_available() and dist.is_initialized()


def _over_processes(tensor: Tensor) -> Tensor:
    """The sum over all processes, so that they keep one codebook."""
    if _several_processes():
        dist.all_reduce(tensor)
    return tensor
