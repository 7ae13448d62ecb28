"""Scores on a fixed part of the validation split: always the same crops, draws and readers."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

from ..core.arrays import Masks, on_host
from ..core.batch import Batch
from ..core.method import Method
from ..core.overlap import comparable, marked_counts, overlaps_of, pairwise_iou
from ..core.randomness import generator_for, seed_of
from ..core.readers import chosen_masks, likely_modes, present_readers
from ..metrics.distances import equal_weights, ged
from ..metrics.modes import mode_error
from ..metrics.scores import PAPERS_DRAWS, drawn_masks, matched
from ..metrics.summary import NAN
from ..runs.normalise import stored_input
from ..runs.run_record import RunRecord

IMAGES_AT_ONCE = 16
READERS_AT_ONCE = 4


class Validation:
    """The validation crops, read once: the inputs of the networks, the readers' masks, and the probability of each reader."""

    def __init__(self, store: Store, record: RunRecord, device: torch.device):
        rows = store.rows("val")
        self.seed, self.samples = record.config.seed, record.config.validation.samples
        chosen = np.random.default_rng(seed_of(self.seed, "validation")).permutation(rows)
        rows = np.sort(chosen[: record.config.validation.limit])
        self.images = stored_input(record.crops(store, rows), record.window, record.centre, device)
        self.masks = centre_crop(store.masks(rows), record.crop)
        self.present, self.scored = store.present[rows], store.manifest.scored_labels
        self.odds = store.truth.probabilities(rows) if store.manifest.known_odds else None

    @torch.inference_mode()
    def scores(self, method: Method) -> dict[str, float]:
        """The mean training loss over readers and its terms, and the figures of `validation_scores`."""
        method.eval()
        losses: dict[str, float] = {}
        labels, weights, draws = [], [], None
        for start in range(0, len(self.images), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            generator = generator_for(self.seed, "validation", start)
            for name, value in self._losses(method, part, generator).items():
                losses[name] = losses.get(name, 0.0) + value
            atoms = method(self.images[part]).atoms(self.samples, generator)
            labels.append(
                on_host(atoms.labels)
            )  # once per part: image by image, the host would wait for the GPU each time
            weights.append(on_host(atoms.weights))
            draws = atoms.draws
        figures = validation_scores(
            np.concatenate(labels),
            np.concatenate(weights),
            self.masks,
            self.present,
            odds=self.odds,
            scored=self.scored,
            draws=draws,
            seed=seed_of(self.seed, "validation", "draws"),
        )
        return figures | {name: value / len(self.images) for name, value in losses.items()}

    def _losses(self, method: Method, part: slice, generator: torch.Generator) -> dict[str, float]:
        """The loss and its terms, summed over the images of a part, each with READERS_AT_ONCE of its readers at most."""
        count = min(self.present.shape[1], READERS_AT_ONCE)
        if self.odds is None:
            chosen = present_readers(torch.from_numpy(self.present[part]), count, generator)
        else:
            chosen = likely_modes(torch.from_numpy(self.odds[part]), count, generator)
        masks = chosen_masks(torch.from_numpy(self.masks[part]), chosen, ()).long()
        images = self.images[part]
        loss = method.loss(Batch(images, masks.to(images.device), progress=1.0), generator)
        terms = {"loss": loss.total, **loss.terms}
        return {name: value.item() * len(images) for name, value in terms.items()}


def validation_scores(
    labels: Masks,
    weights: NDArray[np.float64],
    masks: NDArray[np.uint8],
    present: NDArray[np.bool_],
    *,
    draws: int | None,
    odds: NDArray[np.float64] | None = None,
    scored: Sequence[int] | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Means over images of a few figures that are cheap enough for every validation.

    Args:
        labels: the model's masks [B, S, H, W].
        weights: of the masks [B, S].
        masks: of the readers [B, R, H, W].
        present: which readers read each image [B, R].
        draws: as in `Atoms`.
        odds: probabilities of the readers' masks [B, R], where they are known.
        scored: the foreground classes that count; None: all.
        seed: for draws from an exact support.

    Returns:
        `ged` (V-statistic at S draws, weighted), `ged_u` (unbiased, over images with at least two readers), `overlap`,
        `overlap_elsewhere` (the same with the readers of the next image), `diversity` (the model's), `reader_diversity`,
        `empty` and `reader_empty` (probabilities of an empty mask) and their standard deviations over images,
        `empty_spread` and `reader_empty_spread`, `hm_iou` (of 16 draws, as in `image_scores`) and, with odds, `mode_error`.
    """
    rows = []
    for number, weight in enumerate(weights.astype(np.float64)):
        known = None if odds is None else odds[number]
        model, readers = comparable(labels[number], masks[number], present[number], scored=scored)
        iou = overlaps_of(model, readers)
        weight /= weight.sum()
        found = ged(iou, weight, draws=draws, reader_weights=known)
        row = {"ged": found.v, "ged_u": found.u, "overlap": found.overlap, "diversity": found.sample_diversity}
        truth = equal_weights(len(readers)) if known is None else known
        row["reader_diversity"] = found.reader_diversity
        row |= {"empty": _empty(model, weight), "reader_empty": _empty(readers, truth)}
        other = (number + 1) % len(labels)
        model, readers = comparable(labels[number], masks[other], present[other], scored=scored)
        truth = equal_weights(len(readers)) if odds is None else odds[other]
        row["overlap_elsewhere"] = float(weight @ (1 - pairwise_iou(model, readers)) @ truth)
        drawn = drawn_masks(weight, draws, PAPERS_DRAWS, np.random.default_rng((seed, number)))
        row["hm_iou"] = matched(iou.cross[drawn], known)
        if known is not None:
            row["mode_error"] = mode_error(iou, weight, known)
        rows.append(row)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    spreads = {f"{name}_spread": float(columns[name].std()) for name in ("empty", "reader_empty")}
    return {name: defined_mean(values) for name, values in columns.items()} | spreads


def _empty(masks: Masks, weights: NDArray[np.float64]) -> float:
    """The probability of an empty mask, of masks [N, ...] with weights [N]."""
    return float(weights[marked_counts(on_host(masks)) == 0].sum())


def defined_mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not nan; nan when none is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else NAN
