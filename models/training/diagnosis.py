"""What went wrong in a training, read from its log: one sentence each, with a remedy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

from ..core.symptoms import MaskSets, symptoms

EXPLODES = 1000.0  # nats of the KL divergence, in the mean over LOG_EVERY steps; a latent that works takes a few
SETTLED = 0.01  # share of that which it must have come down to: latent maps take many nats from first to last
WORSE = 0.1  # share by which the last validation must be worse than the first
ENOUGH = 3  # validations before a trend is one
APART = 0.97  # distance to an image's own readers, as a share of that to another image's, from which it is ignored
UNUSED = 0.01  # nats of the KL divergence below which a latent carries nothing

Entry = Mapping[str, Any]


def diagnosis(log: Sequence[Entry], monitor: str = "ged") -> list[str]:
    """What went wrong in a training.

    Args:
        log: the entries of its log, as `Run.read_log` gives them.
        monitor: the figure that decides which weights are best.

    Returns:
        A sentence for each sign, with what to do; none for a training that went well.

    Example:
        >>> log = [{"kind": "train", "step": 75, "kl": 11656.0}, {"kind": "train", "step": 100, "kl": 3.0}]
        >>> print(*diagnosis(log))
        The KL divergence reached 11,656 nats at step 75: lower `optimiser.learning_rate`, lengthen `optimiser.warmup`, or set \
`optimiser.clip`.
    """
    steps = [entry for entry in log if entry["kind"] == "train"]
    validations = [entry for entry in log if entry["kind"] == "validation"]
    best = kept(validations, monitor)
    return [*_explosion(steps), *_trend(validations, monitor), *([] if best is None else _masks(best))]


def kept(validations: Sequence[Entry], monitor: str) -> Entry | None:
    """The validation of the weights that were kept: the best by the monitored figure, or the last one with monitor "none"."""
    if monitor == "none":
        return validations[-1] if validations else None
    return min(validations, key=lambda entry: entry.get(monitor, math.inf), default=None)


def _explosion(steps: Sequence[Entry]) -> list[str]:
    known = [entry for entry in steps if "kl" in entry]
    worst = max(known, key=lambda entry: entry["kl"], default=None)
    if worst is None or worst["kl"] < EXPLODES or known[-1]["kl"] > SETTLED * worst["kl"]:
        return []
    return [
        f"The KL divergence reached {worst['kl']:,.0f} nats at step {worst['step']}: lower `optimiser.learning_rate`, lengthen "
        "`optimiser.warmup`, or set `optimiser.clip`."
    ]


def _trend(validations: Sequence[Entry], monitor: str) -> list[str]:
    """Whether the validations only got worse after the first."""
    scores = [entry[monitor] for entry in validations if monitor in entry]
    if len(scores) < ENOUGH or any(later < earlier for earlier, later in pairwise(scores)):
        return []
    if scores[-1] < scores[0] + WORSE * abs(scores[0]):
        return []
    return [
        f"The validation only got worse after the first, {monitor} {scores[0]:.3f} to {scores[-1]:.3f}: the model learns its "
        "training crops by heart. Lower `optimiser.learning_rate` or `steps`, raise the augmentation, or add patients."
    ]


def _masks(best: Entry) -> list[str]:
    """What is wrong with the masks of the weights that were kept."""
    if "empty_spread" not in best:  # the log of an earlier version
        return []
    found = symptoms(MaskSets(**{figure.name: best[figure.name] for figure in fields(MaskSets)}))
    if not found and best["overlap"] > APART * best["overlap_elsewhere"]:
        found = [
            f"The masks fit other images' readers as well as their own (distance {best['overlap_elsewhere']:.2f} and "
            f"{best['overlap']:.2f}): the model ignores the image. Train longer, or choose a `method` whose prior sees "
            "the image."
        ]
    if not found and best.get("kl", math.inf) < UNUSED and best["reader_diversity"] > 0:
        found = [
            f"The latent carries nothing (KL divergence {best['kl']:.4f} nats), so its draws say nothing about the readers: "
            "lower `options.beta`."
        ]
    return found
