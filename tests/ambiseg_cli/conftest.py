"""A model whose distribution is known, for commands that predict."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ambiseg.models.runs.trained import Trained


@pytest.fixture
def known_model(
    threshold_model: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Trained]:
    """Work in an empty folder, where the model marks what is brighter than a level that it draws."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", lambda name: Path("runs/threshold-001"))
    monkeypatch.setattr("ambiseg.models.runs.trained.load_trained", lambda path, device, **choice: threshold_model())
    return threshold_model
