"""The scores of a training run on a fixed part of its validation split: always the same crops, draws and readers."""

import numpy as np
import torch

from ambiseg.preprocessing.crops import centre_crop
from ambiseg.preprocessing.store import Store

from .batch import Batch
from .method import Method
from .metrics.scores import validation_scores
from .normalise import normalise
from .randomness import generator_for, seed_of
from .run import RunRecord

IMAGES_AT_ONCE = 16


class Validation:
    """The validation crops, read once: normalised images, readers' masks, and which readers are present."""

    def __init__(self, store: Store, record: RunRecord, device: torch.device):
        rows = store.rows("val")
        self.seed, self.samples = record.config.seed, record.config.validation.samples
        chosen = np.random.default_rng(seed_of(self.seed, "validation")).permutation(rows)
        rows = np.sort(chosen[: record.config.validation.limit])
        images = torch.from_numpy(centre_crop(store.images(rows), record.crop).copy())
        self.images = normalise(images, record.window).to(device)
        self.masks = centre_crop(store.masks(rows), record.crop)
        self.present = store.present[rows]

    @torch.inference_mode()
    def scores(self, method: Method) -> dict[str, float]:
        """The mean training loss over all readers and its terms, and the figures of `validation_scores`."""
        method.eval()
        losses: dict[str, float] = {}
        labels, weights, draws = [], [], None
        for start in range(0, len(self.images), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            generator = generator_for(self.seed, "validation", start)
            for name, value in self._losses(method, part, generator).items():
                losses[name] = losses.get(name, 0.0) + value
            atoms = method(self.images[part]).atoms(self.samples, generator)
            labels.append(atoms.labels.cpu().numpy())
            weights.append(atoms.weights.cpu().numpy())
            draws = atoms.draws
        figures = validation_scores(
            np.concatenate(labels), np.concatenate(weights), self.masks, self.present, draws=draws
        )
        return figures | {name: value / len(self.images) for name, value in losses.items()}

    def _losses(self, method: Method, part: slice, generator: torch.Generator) -> dict[str, float]:
        """The loss and its terms, summed over the images of a part; an absent reader's mask is replaced by a present one's."""
        present = torch.from_numpy(self.present[part])
        first = present.int().argmax(1, keepdim=True)
        readers = torch.where(present, torch.arange(present.shape[1]), first)
        masks = torch.from_numpy(self.masks[part]).long()
        masks = masks.gather(1, readers[:, :, None, None].expand_as(masks))
        images = self.images[part]
        loss = method.loss(Batch(images, masks.to(images.device), progress=1.0), generator)
        terms = {"loss": loss.total, **loss.terms}
        return {name: value.item() * len(images) for name, value in terms.items()}
