"""Training crops with a teacher's masks in the place of the readers', or mixed with theirs."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.store.store import IGNORE
from ambiseg.preprocessing.volumes.planes import centre_start

from .crop_source import Crops, CropSource, Share


@dataclass(frozen=True)
class TaughtMasks:
    """The masks that a teacher drew for training crops.

    Attributes:
        masks: labels [rows, N, h, w] (uint8), of the middle of each crop.
        readers: share of the masks that still are readers'.
    """

    masks: NDArray[np.uint8]
    readers: float

    def instead(self, crops: Crops, which: NDArray[np.intp]) -> Crops:
        """Crops of the training rows `which`, with these masks in the readers' place, or mixed with theirs.

        What lies outside of the middle is ignored.
        """
        own = torch.from_numpy(np.ascontiguousarray(self.masks[which])).to(crops.images.device)
        shape = (*own.shape[:2], *crops.images.shape[-2:])
        masks = torch.full(shape, IGNORE, dtype=torch.uint8, device=own.device)
        row, column = (centre_start(*sides) for sides in zip(shape[-2:], own.shape[-2:], strict=True))
        masks[..., row : row + own.shape[-2], column : column + own.shape[-1]] = own
        chances = crops.chances.new_full(own.shape[:2], (1 - self.readers) / own.shape[1])
        if not self.readers:
            return replace(crops, masks=masks, chances=chances, known=False, flips=())
        theirs = self.readers * crops.chances / crops.chances.sum(1, keepdim=True).clamp_min(1e-9)
        both, odds = torch.cat((masks, crops.masks), 1), torch.cat((chances, theirs), 1)
        return replace(crops, masks=both, chances=odds, known=True)


class TaughtSource:
    """The crops of another source, with the masks of a teacher."""

    def __init__(self, source: CropSource, taught: TaughtMasks, share: Share):
        self.source, self.taught, self.share = source, taught, share

    def fetch(self, step: int) -> Crops:
        """The crops of a step."""
        which = self.share.positions(step, len(self.taught.masks))
        return self.taught.instead(self.source.fetch(step), which)

    def settle(self) -> None:
        """Wait until nothing is being read."""
        self.source.settle()
