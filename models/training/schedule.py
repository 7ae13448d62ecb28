"""Which stage a step belongs to, and the learning rate of each step."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..core.method import Stage
from ..runs.config import OptimiserSettings, TrainConfig


class Span(NamedTuple):
    """A stage with its first step and the step after its last one."""

    stage: Stage
    begin: int
    end: int
    again: bool = False  # whether it continues a stage that had ended


def placed(stages: Sequence[Stage], steps: int) -> list[Span]:
    """The stages of a method in their order, laid out over all steps of a run by their shares.

    Example:
        >>> [(span.begin, span.end) for span in placed([Stage("a", (), 1.0), Stage("b", (), 3.0)], 100)]
        [(0, 25), (25, 100)]
    """
    total, spans, begin, done = sum(stage.share for stage in stages), list[Span](), 0, 0.0
    for stage in stages:
        done += stage.share
        end = round(steps * done / total)
        spans.append(Span(stage, begin, end))
        begin = end
    return spans


def laid_out(stages: Sequence[Stage], config: TrainConfig) -> list[Span]:
    """The stages of a run; where it goes on longer than it was planned, the last stage is continued for each stretch.

    Example:
        >>> config = TrainConfig(method="modal", steps=150, continued=({"planned": 100, "begin": 100},))
        >>> [(span.begin, span.end, span.again) for span in laid_out([Stage("a", (), 1.0)], config)]
        [(0, 100, False), (100, 150, True)]
    """
    stretches = config.continued
    if not stretches:
        return placed(stages, config.steps)
    first = stretches[0].begin
    spans = [
        span._replace(end=min(span.end, first)) for span in placed(stages, stretches[0].planned) if span.begin < first
    ]
    ends = [*(one.begin for one in stretches[1:]), config.steps]
    return spans + [Span(stages[-1], one.begin, end, True) for one, end in zip(stretches, ends, strict=True)]


def span_of(step: int, spans: Sequence[Span]) -> Span:
    """The stage that a step belongs to."""
    return next(span for span in spans if step < span.end)


def learning_rate(settings: OptimiserSettings, step: int, steps: int) -> float:
    """The learning rate of one step of a stage.

    Args:
        settings: the base rate and the schedule: a linear warm-up, then constant, a half cosine down to a hundredth, or the
            factors of the milestones.
        step: the step's number within its stage, from 0.
        steps: how many steps the stage has.
    """
    rate = settings.learning_rate * min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.schedule == "cosine":
        rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
    elif settings.schedule == "steps":
        rate *= next((factor for share, factor in reversed(settings.milestones) if step >= share * steps), 1.0)
    return rate
