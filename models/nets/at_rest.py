"""Networks that a loss passes through and leaves as they are: their parameters, or their BatchNorm and dropout, at rest."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within, gradients pass through the module but its parameters collect none."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within, the module is in eval mode."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
