"""The energy score of a distribution over masks, with gradients: half the squared energy distance to the readers' masks, up
to a term that no model can change.

For a metric d of negative type, E d(S, Y) - E d(S, S') / 2 is least, in expectation over Y, when S is distributed as Y is:
it is a proper score (Gneiting and Raftery 2007, section 5). d = 1 - IoU is such a metric; GED is built on the same d.
"""

import torch
from torch import Tensor

from .pixels import counted, one_hot

SHARPNESS = 4.0  # of the soft masks through which hard ones get their gradient


def hard_planes(logits: Tensor) -> Tensor:
    """Masks [B, S, K, H, W] of logits as foreground planes [B, S, (K - 1) H W] of 0 and 1; their gradient is that of softmax
    at `SHARPNESS` times the logits.
    """
    soft = (SHARPNESS * logits.float()).softmax(2)
    hard = one_hot(logits.argmax(2), logits.shape[2])
    return (hard + soft - soft.detach())[:, :, 1:].flatten(2)


def reader_planes(masks: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Label maps [B, M, H, W] as foreground planes [B, M, (K - 1) H W], and which of their pixels count for every reader
    of an image [B, 1, (K - 1) H W].
    """
    counts = counted(masks).all(1, keepdim=True).unsqueeze(2).expand(-1, -1, classes - 1, -1, -1)
    return one_hot(masks, classes)[:, :, 1:].flatten(2), counts.flatten(2).float()


def jaccard_distances(left: Tensor, right: Tensor) -> Tensor:
    """1 - IoU [B, S, T] of each of the planes left [B, S, P] with each of right [B, T, P]; 0 where both are empty."""
    common = left @ right.mT
    union = left.sum(2).unsqueeze(2) + right.sum(2).unsqueeze(1) - common
    return torch.where(union > 0.5, 1 - common / union.clamp_min(0.5), 0.0)


def energy_score(masks: Tensor, weights: Tensor, pairs: Tensor, readers: Tensor) -> Tensor:
    """Energy score of weighted masks against the mask of each reader (Gneiting and Raftery 2007).

    Args:
        masks: as foreground planes [B, S, P].
        weights: of the masks [B, S].
        pairs: weights of the distances between two masks [B, S, S]; the caller decides which pairs are independent.
        readers: the readers' masks [B, M, P].

    Returns:
        [B, M]; smaller is better.
    """
    nearness = (weights.unsqueeze(2) * jaccard_distances(masks, readers)).sum(1)
    spread = (pairs * jaccard_distances(masks, masks)).sum((1, 2))
    return nearness - spread.unsqueeze(1) / 2


def pair_weights(components: Tensor, draws: int) -> Tensor:
    """Weights [B, N S, N S] of the pairs among S draws of each of N components, which have probabilities [B, N].

    Two draws of one component represent two independent ones. A draw is never paired with itself. The weights of an image
    sum to 1.
    """
    count = components.shape[1]
    both = components.unsqueeze(2) * components.unsqueeze(1)
    own = torch.eye(count, device=both.device)
    shares = both * (own / (draws * (draws - 1)) + (1 - own) / draws**2)
    spread = shares.repeat_interleave(draws, 1).repeat_interleave(draws, 2)
    return spread * (1 - torch.eye(count * draws, device=both.device))
