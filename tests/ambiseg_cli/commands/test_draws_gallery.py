"""`ambiseg gallery --kind draws` and `ranking`: what is written on a draw is the model's own, and a ranking is measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from ambiseg.models.figures.galleries.crops import crops
from ambiseg.models.figures.galleries.draws_picture import COUNTED, draws_views
from ambiseg.models.figures.galleries.ranking_picture import (
    Ranked,
    by_place,
    correlations,
    draw_ranking,
    ranked_masks,
    said,
)
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.store.store import Store

from .test_gallery import MODAL, make_run

pytestmark = pytest.mark.drawn

Invoke = Callable[..., tuple[int, str, str]]
NARROW: dict[str, Any] = {"widths": [4, 6], "convs": 1}
REFINE = NARROW | {"refiner_width": 3, "discriminator_width": 4, "samples": 2}


def load(folder: Path, store: Store, method: str, options: dict[str, Any]) -> Trained:
    return load_trained(make_run(folder / method, store, method, options), torch.device("cpu"))


def test_draws_of_a_latent_variable_come_in_the_order_of_their_density(known_truth: Store, tmp_path: Path) -> None:
    trained = load(tmp_path, known_truth, "generalized", NARROW | {"latent_dim": 2})
    (view,) = draws_views(trained, known_truth, "val", images=1, draws=6)
    density = [float(word.removesuffix(" nats").replace("−", "-")) for word in view.words]
    assert density == sorted(density, reverse=True)
    assert len(set(density)) > 1
    assert view.draws.shape == (6, 16, 16)
    assert not view.stated
    assert (view.frequency >= 0).all()
    assert (view.frequency <= 1).all()
    assert np.allclose(view.frequency * COUNTED, np.round(view.frequency * COUNTED))


def test_masks_of_codes_tell_their_probability(known_truth: Store, tmp_path: Path) -> None:
    trained = load(tmp_path, known_truth, "modal", MODAL)
    (view,) = draws_views(trained, known_truth, "val", images=1, draws=4)
    (crop,) = crops(trained, known_truth, "val", 1)
    atoms = trained.method(crop.image).atoms(4)
    assert np.array_equal(view.draws, atoms.labels[0].numpy())
    shown = [float(word.removesuffix(" %")) for word in view.words]
    chances = trained.method(crop.image).log_probabilities.exp()[0].sort(descending=True).values[:4]
    assert np.allclose(shown, 100 * chances.detach().numpy(), atol=0.6)


def test_stated_entropy_is_that_of_the_calibration_net(known_truth: Store, tmp_path: Path) -> None:
    trained = load(tmp_path, known_truth, "refine", REFINE)
    (view,) = draws_views(trained, known_truth, "val", images=1, draws=2)
    (crop,) = crops(trained, known_truth, "val", 1)
    p = trained.method.calibrated(crop.image)[0].detach().double().numpy()
    assert view.stated
    assert view.words == ("", "")
    assert np.allclose(view.entropy, -(p * np.log2(p)).sum(0), atol=1e-5)


def test_a_ranking_is_spearmans_of_density_and_mean_iou(known_truth: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stated, agreement = rng.random(20), rng.random(20).round(1)
    assert Ranked(stated, agreement, np.ones(1)).correlation == pytest.approx(spearmanr(stated, agreement).statistic)
    assert np.isnan(Ranked(stated, np.ones(20), np.ones(1)).correlation)
    trained = load(tmp_path, known_truth, "probunet", NARROW)
    found = ranked_masks(trained, known_truth, "val", images=3)
    assert len(found) == 3
    assert all(len(one.stated) == 64 and (one.agreement <= 1).all() for one in found)


def test_equal_masks_of_a_support_count_once(known_truth: Store, tmp_path: Path) -> None:
    trained = load(tmp_path, known_truth, "modal", MODAL)
    for head in (trained.method.decoder,):
        for weight in head.parameters():
            weight.data.zero_()  # every code draws the same
    (one,) = ranked_masks(trained, known_truth, "val", images=1)
    assert one.stated.tolist() == pytest.approx([1.0])
    assert correlations([one]).size == 0
    assert "No image" in said([one])
    assert draw_ranking([one], "", "") is not None


def test_the_picture_shows_both_rankings() -> None:
    """Masks ranked as the readers would; hypotheses whose order by density is the opposite of that by probability."""
    hits, density = np.array([0.75, 0.25]), np.array([-3.0, -1.0])
    found = [Ranked(np.arange(16.0), np.arange(16) / 20, hits, density) for _ in range(3)]
    figure = draw_ranking(found, "title", "note")
    assert said(found).startswith(
        "Rank correlation with the mean IoU to the readers: median 1.00, middle half 1.00 to 1.00, 3"
    )
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights[-1] == 3
    assert sum(heights) == 3
    shown = [[bar.get_height() for bar in bars][:3] for bars in figure.axes[1].containers]
    assert shown == [[0.75, 0.25, 0], [0.25, 0.75, 0]]
    assert by_place([hits, np.ones(1)])[:2].tolist() == [0.875, 0.125]


def test_the_density_of_a_hypothesis_is_that_of_its_draw(known_truth: Store, tmp_path: Path) -> None:
    trained = load(tmp_path, known_truth, "generalized", NARROW | {"latent_dim": 2})
    for one in ranked_masks(trained, known_truth, "val", images=2):
        assert one.density is not None
        assert set(one.density) <= set(one.stated)
        assert len(one.density) == len(one.hits)


@pytest.mark.parametrize(
    ("kind", "method", "options"),
    [("draws", "refine", REFINE), ("draws", "mheads", NARROW), ("ranking", "generalized", NARROW | {"latent_dim": 2})],
)
def test_the_command_writes_a_picture(
    ambiseg: Invoke, known_truth: Store, tmp_path: Path, kind: str, method: str, options: dict[str, Any]
) -> None:
    run = make_run(tmp_path / "run", known_truth, method, options)
    code, printed, err = ambiseg("gallery", str(run), "--data", str(known_truth.path), "--kind", kind, "--images", "3")
    assert code == 0, err
    assert ("Rank correlation" in printed or "No image" in printed) == (kind == "ranking")
    assert len(np.unique(np.asarray(Image.open(run / "gallery.png").convert("L")))) > 50


def test_a_sampler_has_no_ranking(ambiseg: Invoke, known_truth: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path / "dropout", known_truth, "dropout", NARROW)
    code, _, err = ambiseg("gallery", str(run), "--data", str(known_truth.path), "--kind", "ranking")
    assert code == 2
    assert "states neither a probability nor a density of a mask" in " ".join(err.split())
