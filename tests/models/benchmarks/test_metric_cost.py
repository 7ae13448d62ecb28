"""The metrics' benchmark: what it times agrees with its double loop, on masks that replay from the seed."""

import pytest
import torch

from ambiseg.models.benchmarks.cost.metric_cost import metric_cost
from ambiseg.preprocessing.errors import UsageError

CPU = torch.device("cpu")


@pytest.mark.parametrize("readers", [2, 3, 4])
def test_agrees_with_its_double_loop(readers: int) -> None:
    cost = metric_cost(20, 20, readers, 16, device=CPU, seed=readers, naive=True)
    assert cost.difference is not None
    assert cost.difference < 1e-12
    assert cost.ratio is not None
    assert cost.ratio > 2


def test_without_the_double_loop_there_is_no_ratio() -> None:
    cost = metric_cost(2, 16, 1, 16, device=CPU)
    assert cost.seconds > 0
    assert (cost.ratio, cost.difference) == (None, None)


def test_nothing_to_time_is_told() -> None:
    with pytest.raises(UsageError, match="must be at least 1"):
        metric_cost(0, 16, 4, 16, device=CPU)


@pytest.mark.slow
def test_two_hundred_images_take_seconds() -> None:
    """200 images of 128 x 128, 100 samples, 4 readers: measured .4 s on one core, here with a loose limit."""
    assert any(metric_cost(200, 100, 4, 128, device=CPU).seconds < 6 for _ in range(3))
