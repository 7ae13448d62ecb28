"""What went wrong in a training: logs that show it, and trainings that really go wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.training.diagnosis import diagnosis
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.store.store import Store

WELL = {
    "ged": 0.3,
    "overlap": 0.4,
    "overlap_elsewhere": 0.7,
    "diversity": 0.4,
    "reader_diversity": 0.4,
    "empty": 0.3,
    "reader_empty": 0.3,
    "empty_spread": 0.3,
    "reader_empty_spread": 0.3,
    "kl": 2.0,
}


def validations(*changes: dict[str, float]) -> list[dict[str, Any]]:
    return [{"kind": "validation", "step": 10 * n, **WELL, **change} for n, change in enumerate(changes, 1)]


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ([], ""),
        (validations({}, {}), ""),
        (validations({"ged": 0.5}, {"ged": 0.3}, {"ged": 0.6}), ""),
        (validations({"ged": 0.3}, {"ged": 0.31}, {"ged": 0.31}), ""),
        (
            validations({"ged": 0.3}, {"ged": 0.31}, {"ged": 0.4}),
            "The validation only got worse after the first, ged 0.300 to",
        ),
        (validations({"diversity": 0.0}), "All masks of an image are alike"),
        (validations({"diversity": 0.0, "ged": 0.5}, {}), ""),  # the weights that are kept are sound
        (
            validations({"overlap": 0.69}),
            "The masks fit other images' readers as well as their own (distance 0.70 and 0.69)",
        ),
        (validations({"kl": 0.001}), "The latent carries nothing (KL divergence 0.0010 nats)"),
        ([{"kind": "validation", "step": 1, "ged": 0.3}], ""),  # of an earlier version
        (
            [{"kind": "train", "step": n, "kl": kl} for n, kl in ((25, 2e4), (50, 9.0))],
            "The KL divergence reached 20,000 nats",
        ),
        ([{"kind": "train", "step": n, "kl": kl} for n, kl in ((25, 2e4), (50, 9e3))], ""),  # large from first to last
    ],
)
def test_each_sign_has_its_sentence(log: list[dict[str, Any]], sentence: str) -> None:
    found = diagnosis(log)
    assert [one.startswith(sentence) for one in found] == [True] * bool(sentence), found


def test_a_training_that_learns_nothing_is_told(known_truth: Store, tmp_path: Path) -> None:
    """Hardly any learning: all masks are one, whatever the reader."""
    settings = ["data.crop=16", "options.widths=[6,8]", "options.convs=1", "steps=4", "batch=4", "validation.every=2"]
    settings += ["validation.limit=12", "optimiser.learning_rate=1e-9"]
    config = make_config("probunet", "demo", settings=settings)
    run = Run.create(tmp_path / "run", RunRecord.of(config, known_truth, "cpu"))
    assert train(run, known_truth, torch.device("cpu"))
    entry = run.read_log()[-1]
    assert 0 <= entry["reader_empty"] <= 1
    assert entry["reader_diversity"] > 0.1
    (sentence,) = diagnosis(run.read_log())
    assert sentence.startswith(("Nearly all masks", "All masks of an image", "The masks fit other images"))
