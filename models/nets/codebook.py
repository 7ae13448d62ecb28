"""The codebook: vectors that follow, by exponential moving averages, the outputs nearest to them.

van den Oord et al. 2017 and Razavi et al. 2019, as Modal Uncertainty Estimation (Qiu and Lui 2020, section 3.1) uses them:
one code for a whole mask. All of it is computed in float32.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.collective import of_all_processes, of_first_process, over_processes
from ..core.randomness import TINY, gumbel, normal
from .latents import full_precision

LEAST_SHARE = 0.1  # of an equal share of the outputs: a code that gets less is out of use
RECYCLED_SHARE = 0.5  # the same, for recycling: at a decay of .99 a code unused for 69 batches gets less
FAR = 0.01  # of the outputs' variance: an output is far from its code if the squared distance is more
RECYCLED_FOR = 8  # outputs of a batch, for each code that may be recycled


@dataclass(frozen=True)
class Quantised:
    """Outputs replaced by their nearest codes: vectors [P, D] whose gradient goes straight to the outputs, the codes'
    numbers [P], and the commitment, the mean over outputs and their numbers of the squared difference to their codes (whose
    gradient moves the outputs alone).
    """

    vectors: Tensor
    index: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """`size` vectors of `dim` numbers, with moving averages of the number and the sum of the outputs that each gets per batch.

    Like the statistics of BatchNorm these are buffers, which move only in training with gradients. A code begins with the
    count of an equal share, as though it had long been used as often as the others, so that its first outputs draw it
    towards them and do not carry it off to their mean. One that falls out of use can be recycled: it is put on an output of
    the batch, far ones first, and begins anew.
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

    def forward(self, outputs: Tensor, generator: torch.Generator, *, recycle: bool = False) -> Quantised:
        """The nearest codes of outputs [P, D]; in training the codes then move towards the outputs, and with `recycle`
        some of those out of use are put on outputs.
        """
        with full_precision(outputs):
            outputs = outputs.float()
            moves = self.training and torch.is_grad_enabled()
            if moves and not self.begun:
                self._begin(outputs.detach(), generator)
            distances = self._distances(outputs.detach())
            index = distances.argmin(1)
            codes = self.codes[index]
            if moves:
                self._follow(outputs.detach(), index)
            if moves and recycle:
                self._recycle(outputs.detach(), distances.amin(1), generator)
            commitment = (outputs - codes).square().mean()
            return Quantised(outputs + (codes - outputs).detach(), index, commitment)

    @property
    def live(self) -> Tensor:
        """Which codes [N] are in use: all of them before any training, later those whose moving count is at least a tenth
        of an equal share (at a decay of .99 an unused code falls below it within 230 batches).
        """
        return self.counts >= LEAST_SHARE * self.counts.mean()

    @property
    def perplexity(self) -> Tensor:
        """The number of equally frequent codes that would have the entropy of the moving counts."""
        shares = self.counts / self.counts.sum().clamp_min(TINY)
        return torch.special.entr(shares).sum().exp()

    def _distances(self, outputs: Tensor) -> Tensor:
        """Euclidean distances [P, N] of outputs [P, D] from the codes."""
        return torch.cdist(outputs, self.codes, compute_mode="donot_use_mm_for_euclid_dist")

    def _begin(self, outputs: Tensor, generator: torch.Generator) -> None:
        """Initialise the codes unless they are, as in a run that was resumed."""
        if not self.initialised:
            self._initialise(outputs, generator)
        self.begun = True

    @torch.no_grad()
    def _initialise(self, outputs: Tensor, generator: torch.Generator) -> None:
        """Codes drawn from the normal distribution that has the mean and the standard deviation of the outputs."""
        count = over_processes(outputs.new_full((), len(outputs)))
        mean = over_processes(outputs.sum(0)) / count
        deviation = (over_processes((outputs - mean).square().sum(0)) / count).sqrt()
        codes = mean + deviation * normal(self.codes.shape, generator, outputs)
        self.codes.copy_(of_first_process(codes))
        self.counts.copy_((count / len(codes)).expand(len(codes)))
        self.sums.copy_(self.codes * self.counts[:, None])
        self.initialised.fill_(True)

    @torch.no_grad()
    def _follow(self, outputs: Tensor, index: Tensor) -> None:
        """Move the averages; a code that got no output keeps its vector."""
        counts = over_processes(torch.zeros_like(self.counts).index_add_(0, index, torch.ones_like(outputs[:, 0])))
        sums = over_processes(torch.zeros_like(self.sums).index_add_(0, index, outputs))
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        means = self.sums / self.counts.clamp_min(TINY)[:, None]
        self.codes.copy_(torch.where(counts[:, None] > 0, means, self.codes))

    @torch.no_grad()
    def _recycle(self, outputs: Tensor, distances: Tensor, generator: torch.Generator) -> None:
        """Put some codes that are out of use on outputs, drawn with odds in proportion to their squared `distances` from the
        nearest code (as k-means++ does), at most one for RECYCLED_FOR outputs, so that the next batch sees where they are.
        """
        outputs, distances = of_all_processes(outputs), of_all_processes(distances)
        count = min(-(-len(outputs) // RECYCLED_FOR), len(self.codes))
        keys = 2 * distances.clamp_min(TINY).log() + gumbel(distances.shape, generator, distances)
        picked = keys.topk(count).indices
        far = distances[picked].square() > FAR * (outputs - outputs.mean(0)).square().sum(1).mean()
        drawn, far = of_first_process(outputs[picked]), of_first_process(far)
        least = self.counts.topk(count, largest=False).indices
        share = self.counts.new_tensor(len(outputs) / len(self.codes))
        unused = far & (self.counts[least] < RECYCLED_SHARE * share)
        self.codes[least] = torch.where(unused[:, None], drawn, self.codes[least])
        self.sums[least] = torch.where(unused[:, None], drawn * share, self.sums[least])
        self.counts[least] = torch.where(unused, share, self.counts[least])
