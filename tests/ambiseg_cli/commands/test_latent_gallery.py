"""`ambiseg gallery --kind latent` and `reconstructions`: the masks are those of the latent variable at the places shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ambiseg.models.figures.galleries.latent_picture import FINE, GRID, REACH, latent_views
from ambiseg.models.methods.gated import Gated
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.store.store import Store

from .test_gallery import make_run

pytestmark = pytest.mark.drawn

Invoke = Callable[..., tuple[int, str, str]]
NARROW: dict[str, Any] = {"widths": [4, 6], "convs": 1}


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("probunet", {"latent_dim": 3}),
        ("probunet", {"latent_dim": 1}),
        ("generalized", {"family": "mixture-full", "latent_dim": 2, "components": 2}),
        ("gated", {"latent_dim": 2, "components": 2, "gate_width": 4}),
    ],
)
def test_masks_and_places_are_those_of_the_model(
    known_truth: Store, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    trained = load_trained(make_run(tmp_path / "run", known_truth, method, NARROW | options), torch.device("cpu"))
    net = trained.method.shapes if isinstance(trained.method, Gated) else trained.method
    views = latent_views(trained, known_truth, "val", images=2)
    assert len(views) == 2
    row = known_truth.rows("val")[0]
    image = trained.network_input(known_truth.images([row])[..., 4:20, 4:20])
    prior, view, flat = net.prior_of(image), views[0], min(2, options["latent_dim"])
    mean, variance = (part[0].detach().numpy() for part in prior.moments())
    assert np.allclose(view.axes[:, [0, -1]], mean[:flat, None] + np.sqrt(variance[:flat, None]) * [-REACH, REACH])
    assert view.grid.shape == ((1 if flat == 1 else GRID), GRID, 16, 16)
    z = torch.tensor(mean)[None, None].clone()
    z[0, 0, 0] = float(view.axes[0][5])
    if flat == 2:
        z[0, 0, 1] = float(view.axes[1][1])
    drawn = net.decoder(image)(z).argmax(2)[0, 0]
    assert np.array_equal(view.grid[1 if flat == 2 else 0, 5], drawn.numpy())
    assert view.density.shape == ((1 if flat == 1 else FINE), FINE)
    assert view.density.max() == pytest.approx(1)
    if options["latent_dim"] == 2:
        highest = np.unravel_index(view.density.argmax(), view.density.shape)
        fine = [np.linspace(axis[0], axis[-1], FINE) for axis in view.axes]
        here = torch.tensor([[[fine[0][highest[1]], fine[1][highest[0]]]]], dtype=torch.float32)
        other = torch.tensor([[[fine[0][3], fine[1][50]]]], dtype=torch.float32)
        assert prior.log_prob(here).item() >= prior.log_prob(other).item() - 1e-4
    masks = torch.from_numpy(view.masks.astype(np.int64))
    assert (method != "gated") or masks.flatten(1).any(1).all()
    posterior = net.posterior_of(image.expand(len(masks), -1, -1, -1), masks).moments()[0]
    assert np.allclose(view.posterior, posterior[:, :flat].detach().numpy(), atol=1e-5)
    assert np.array_equal(view.rebuilt[0], net.decoder(image)(posterior[None, :1]).argmax(2)[0, 0].numpy())


@pytest.mark.parametrize("kind", ["latent", "reconstructions"])
def test_the_command_writes_a_picture(ambiseg: Invoke, known_truth: Store, tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path / "run", known_truth, "generalized", NARROW | {"latent_dim": 2})
    assert ambiseg("gallery", str(run), "--data", str(known_truth.path), "--kind", kind, "--images", "2")[0] == 0
    assert len(np.unique(np.asarray(Image.open(run / "gallery.png").convert("L")))) > 50


def test_a_model_without_a_latent_variable_is_named(ambiseg: Invoke, known_truth: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path / "heads", known_truth, "mheads", NARROW)
    code, _, err = ambiseg("gallery", str(run), "--data", str(known_truth.path), "--kind", "latent")
    assert code != 0
    assert "has no latent variable to show: expected a run of probunet, generalized or gated" in " ".join(err.split())
    assert not (run / "gallery.png").exists()
