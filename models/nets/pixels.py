"""Masks as networks see them, pixel by pixel: one-hot planes and cross-entropy, with ignored pixels counting for nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ambiseg.preprocessing.store.store import IGNORE


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy [B] in nats, summed over the pixels that count, of logits [B, K, H, W] and labels [B, H, W] (long).

    Computed in float32 whatever the logits' type.
    """
    return F.cross_entropy(logits.float(), mask, reduction="none", ignore_index=IGNORE).sum((1, 2))


def mean_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """As `cross_entropy`, but the mean over the pixels that count [B] (0 for an image without any)."""
    return cross_entropy(logits, mask) / counted(mask).sum((1, 2)).clamp_min(1)


def pairwise_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy [B, S, M], as `cross_entropy`, of each of the S logits [B, S, K, H, W] of an image with each of its M
    label maps [B, M, H, W]: one log-softmax a map of logits, then a matrix product.
    """
    with torch.autocast(logits.device.type, enabled=False):
        surprise = -logits.float().log_softmax(2)
        return surprise.flatten(2) @ one_hot(masks, logits.shape[2]).flatten(2).mT


def counted(mask: Tensor) -> Tensor:
    """Which pixels of labels [..., H, W] count."""
    return mask != IGNORE


def one_hot(mask: Tensor, classes: int) -> Tensor:
    """Labels [..., H, W] as planes [..., K, H, W] of 0 and 1, float32; an ignored pixel is 0 in all of them."""
    return (mask.unsqueeze(-3) == torch.arange(classes, device=mask.device)[:, None, None]).float()
