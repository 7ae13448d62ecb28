"""Nets that remember: fewer runs, the same outputs to the bit, and nothing kept outside of `remembering`."""

import pytest
import torch
from torch import Tensor, nn

from ambiseg.models.nets import remembered as module
from ambiseg.models.nets.lesion_gate import LesionGate
from ambiseg.models.nets.remembered import remembered, remembering
from ambiseg.models.nets.unet import UNet, VectorEncoder


class Twice(nn.Module):
    """A net that writes down how many images it is run on."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[int] = []
        self.eval()

    @remembered
    def forward(self, images: Tensor) -> Tensor:
        self.runs.append(len(images))
        return 2 * images


@pytest.fixture
def images() -> Tensor:
    return torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_images_seen_before_are_not_run_again(images: Tensor) -> None:
    net, other = Twice(), Twice()
    with remembering():
        assert torch.equal(net(images[:30]), 2 * images[:30])
        assert torch.equal(net(images[5:25]), 2 * images[5:25])
        assert torch.equal(net(images[10:]), 2 * images[10:])
        assert torch.equal(other(images[:3]), 2 * images[:3])
    assert net.runs == [30, module.LEAST_ROWS]
    assert other.runs == [3]


@torch.inference_mode()
def test_outside_and_in_training_every_image_is_run(images: Tensor) -> None:
    net = Twice()
    with remembering():
        net(images)
    net(images)
    with remembering():
        net(images)
        net.train()
        net(images)
    assert net.runs == [40, 40, 40, 40]


@torch.inference_mode()
def test_the_oldest_are_forgotten(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 20 * images[0].nbytes)
    net = Twice()
    with remembering():
        net(images[:20])
        net(images[20:])
        net(images[20:])
        assert torch.equal(net(images[:20]), 2 * images[:20])
    assert net.runs == [20, 20, 20]


@torch.inference_mode()
@pytest.mark.parametrize(
    "net",
    [UNet(1, (4, 8), 2, True), VectorEncoder(1, (4, 8), 2, True), LesionGate(1, 4, 0.3, "all")],
    ids=["unet", "encoder", "gate"],
)
def test_nets_give_the_same_as_without(images: Tensor, net: nn.Module) -> None:
    net.eval()
    plain = net(images), net(images[:30])
    with remembering():
        torch.testing.assert_close(net(images[:30]), plain[1], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(net(images), plain[0], rtol=1e-5, atol=1e-6)
