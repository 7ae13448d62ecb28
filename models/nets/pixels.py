"""Masks as networks see them, pixel by pixel: one-hot planes and cross-entropy, without ignored pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ambiseg.preprocessing.store.store import IGNORE

from ..core.randomness import gumbel


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy, summed over the pixels that count. It is computed in float32 whatever the type of the logits.

    Args:
        logits: [B, K, H, W].
        mask: labels [B, H, W] (long); `IGNORE` where a pixel does not count.

    Returns:
        [B], in nats.

    Example:
        >>> loss = cross_entropy(torch.zeros(1, 2, 3, 4), torch.zeros(1, 3, 4, dtype=torch.long))
        >>> round(loss.item() / 12, 4)
        0.6931
    """
    return surprise(logits, mask).sum((1, 2))


def surprise(logits: Tensor, mask: Tensor) -> Tensor:
    """As `cross_entropy`, but of every pixel [B, H, W]; 0 where it does not count."""
    return F.cross_entropy(logits.float(), mask, reduction="none", ignore_index=IGNORE)


@torch.no_grad()
def hard_pixels(surprise: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """A share of the pixels of a batch, drawn without replacement with odds in proportion to their cross-entropy (Kohl et
    al. 2019): the largest sums of its log and a Gumbel number.

    Args:
        surprise: cross-entropy of each pixel [B, H, W], 0 where it does not count; such a pixel is drawn last.
        share: of the pixels of all images, rounded down, but one pixel at least.
        generator: the source of randomness.

    Returns:
        [B, H, W] bool.

    Example:
        >>> values = torch.tensor([[[0.0, 1e-6, 3.0, 2.0]]])
        >>> hard_pixels(values, 0.5, torch.Generator().manual_seed(0)).tolist()
        [[[False, False, True, True]]]
    """
    scores = surprise.log() + gumbel(surprise.shape, generator, surprise)
    chosen = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    chosen[scores.flatten().topk(max(1, int(share * scores.numel()))).indices] = True
    return chosen.view_as(scores)


def mean_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """As `cross_entropy`, but the mean over the pixels that count [B]; 0 for an image without any."""
    return cross_entropy(logits, mask) / counted(mask).sum((1, 2)).clamp_min(1)


def pairwise_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy, summed over the pixels that count, of each prediction with each mask of an image.

    It takes one log-softmax per prediction, then a matrix product.

    Args:
        logits: of S predictions [B, S, K, H, W].
        masks: labels of M readers [B, M, H, W] (long).

    Returns:
        [B, S, M], in nats.
    """
    with torch.autocast(logits.device.type, enabled=False):
        surprise = -logits.float().log_softmax(2)
        return surprise.flatten(2) @ one_hot(masks, logits.shape[2]).flatten(2).mT


def counted(mask: Tensor) -> Tensor:
    """Which pixels of labels [..., H, W] are not ignored."""
    return mask != IGNORE


def one_hot(mask: Tensor, classes: int) -> Tensor:
    """Labels [..., H, W] as planes [..., K, H, W] of 0 and 1, float32; an ignored pixel is 0 in all of them."""
    return (mask.unsqueeze(-3) == torch.arange(classes, device=mask.device)[:, None, None]).float()
