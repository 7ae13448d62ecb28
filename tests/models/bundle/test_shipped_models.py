"""The models that come with the package: whole, small, loadable, and saying what they are."""

import numpy as np
import pytest
import torch

from ambiseg.models.bundle import shipped_models, verify_model
from ambiseg.models.bundle.installed import DEFAULT, Installed
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.runs.trained import load_trained

MODELS = shipped_models()
MOST_BYTES = 40e6  # together


def test_they_are_there_and_small() -> None:
    assert DEFAULT in {model.name for model in MODELS}
    assert sum(model.size for model in MODELS) < MOST_BYTES


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_each_is_whole_and_calibrated(model: Installed) -> None:
    assert "model.safetensors" in verify_model(model.path)
    assert model.calibrated
    assert model.metadata is not None
    assert model.metadata.name == model.name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_each_card_names_data_licence_metrics_and_limits(model: Installed) -> None:
    card = (model.path / "README.md").read_text(encoding="utf-8")
    for words in ("LIDC-IDRI", "patients", "95 % interval", "GED16", "Limits", "For research use only"):
        assert words in card, words
    licence = (model.path / "LICENSE").read_text(encoding="utf-8")
    for words in ("CC BY 3.0", "Armato", "Clark"):
        assert words in licence, words
    assert '"path": ""' in (model.path / "run.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_each_marks_a_bright_spot_in_the_middle_and_little_else(model: Installed) -> None:
    trained = load_trained(model.path, torch.device("cpu"))
    size = trained.record.crop
    y, x = np.indices((size, size)) - (size - 1) / 2
    radius = np.hypot(y, x)
    image = 30 + 150 / (1 + np.exp(radius - 7)) + np.random.default_rng(0).normal(0, 4, (size, size))
    atoms = trained.predictive(image[None, None].clip(0, 255).astype(np.float32)).atoms(64, generator_for(0))
    lesion = atoms.marginal[0, 1].numpy()
    assert lesion[radius < 4].mean() > 0.4
    assert lesion[radius > 16].mean() < 0.03
