"""The network core: sizes in and out, and the split last layers against the plain ones."""

import pytest
import torch
import torch.nn.functional as F

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.generalized import Generalized
from ambiseg.models.methods.probunet import ProbUNet
from ambiseg.models.nets.combine import TILE, Combine
from ambiseg.models.nets.unet import Block, Encoder, UNet, VectorEncoder, joined


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (1, 5)])
def test_features_have_the_images_size(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    assert UNet(3, (4, 6, 8), 2, True)(image).shape == (2, 4, *size)
    assert VectorEncoder(3, (4, 6, 8), 1, False)(image).shape == (2, 8)


def test_batchnorm_stands_where_it_is_asked_for() -> None:
    """Never, after the last ReLU of a block, or between each convolution and its ReLU."""
    kinds = {norm: [type(layer).__name__ for layer in Block(1, 4, 2, norm)] for norm in (False, True, "each")}
    assert kinds[False] == ["Conv2d", "ReLU"] * 2
    assert kinds[True] == [*kinds[False], "BatchNorm2d"]
    assert kinds["each"] == ["Conv2d", "BatchNorm2d", "ReLU"] * 2


def test_each_level_halves_rounding_up() -> None:
    levels = Encoder(1, (2, 3, 4), 1, False)(torch.rand(1, 1, 17, 8))
    assert [tuple(level.shape[1:]) for level in levels] == [(2, 17, 8), (3, 9, 4), (4, 5, 2)]


def test_the_papers_nets_have_the_papers_size() -> None:
    """Parameters in millions, as counted from the layers that the papers describe."""
    assert sum(p.numel() for p in ProbUNet(1, 2).parameters()) / 1e6 == pytest.approx(5.0, abs=0.05)
    assert sum(p.numel() for p in Generalized(1, 2).parameters()) / 1e6 == pytest.approx(18.7, abs=0.05)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_split_layers_are_the_plain_network(scaled: bool) -> None:
    """z broadcast over the pixels, concatenated with the features, through four 1x1 convolutions (Kohl et al., figure 1).
    With `scaled` it also multiplies the part of the first one that sees the features.
    """
    combine = Combine(5, 2, 3, scaled=scaled)
    features, z = torch.rand(2, 5, 60, 50, generator=generator_for(0)), torch.randn(2, 4, 2, generator=generator_for(1))
    first = torch.cat((combine.from_features.weight, combine.from_latent.weight), 1)
    expected = []
    for draw in z.unbind(1):
        planes = draw[:, :, None, None].expand(-1, -1, 60, 50)
        if combine.scale is not None:
            factor = combine.scale(draw)[:, :, None, None]
            of_features = F.conv2d(features, combine.from_features.weight[..., None, None], combine.from_features.bias)
            hidden = (factor * of_features + F.conv2d(planes, combine.from_latent.weight[..., None, None])).relu()
        else:
            hidden = F.conv2d(
                torch.cat((features, planes), 1), first[..., None, None], combine.from_features.bias
            ).relu()
        for layer in combine.hidden:
            hidden = F.conv2d(hidden, layer.weight[..., None, None], layer.bias).relu()
        expected.append(F.conv2d(hidden, combine.logits.weight[..., None, None], combine.logits.bias))
    prepared = combine.prepare(features)
    assert torch.allclose(combine(prepared, z), torch.stack(expected, 1), atol=1e-5)
    assert TILE < 60 * 50
    with torch.inference_mode():
        assert torch.allclose(combine(prepared, z), torch.stack(expected, 1), atol=1e-5)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_joining_has_the_gradients_of_interpolation_and_concatenation(form: torch.memory_format) -> None:
    torch.manual_seed(0)
    coarse, skip = (torch.randn(2, 3, 4, 5), torch.randn(2, 2, 7, 9))
    parts = [tensor.to(memory_format=form).requires_grad_() for tensor in (coarse, skip)]
    plain = [tensor.clone().requires_grad_() for tensor in (coarse, skip)]
    up = F.interpolate(plain[0], size=(7, 9), mode="bilinear", align_corners=False)
    ours, theirs = joined(*parts), torch.cat((up, plain[1]), 1)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(ours.shape)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), parts),
        torch.autograd.grad((theirs * weights).sum(), plain),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
