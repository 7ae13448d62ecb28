"""The example that shows good, bad and surprising cases: what its rules choose, and the picture of a small run."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.models.benchmarks.trials.lidc_trials import plan
from ambiseg.models.evaluation.evaluation import Case
from ambiseg.models.metrics.outcomes import Outcome
from ambiseg.models.metrics.reliability import binned
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.store.store import Store

pytestmark = pytest.mark.drawn

EXAMPLE = Path(__file__).parents[2] / "examples" / "lidc_cases.py"
SMALL = ["data.crop=16", "options.widths=[4,6]", "options.convs=1", "batch=4", "validation.every=10"]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lidc_cases", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lidc_cases"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def case(row: int, patient: str, ged: float, listed: list[float], hits: list[float], *, disagree: bool = True) -> Case:
    """A case with the probabilities of its listed masks and the shares of readers that chose them; the rest is residual."""
    none = binned(np.zeros(0), np.zeros(0))
    outcome = Outcome(
        np.array([*listed, 1 - sum(listed)]), np.array([*hits, 1 - sum(hits)]), np.zeros(len(listed) + 1, bool)
    )
    return Case(
        index={"row": str(row), "patient": patient, "case": patient},
        readers=4,
        scores={"ged_v": ged},
        outcome=outcome,
        pixels=none,
        marked_pixels=none,
        ambiguity=0.0,
        disagree=disagree,
    )


def test_each_rule_chooses_what_it_says(example: ModuleType) -> None:
    cases = [
        case(0, "a", 0.01, [0.5, 0.5], [0.5, 0.5], disagree=False),  # readers agree: not called good
        case(1, "b", 0.10, [0.6, 0.3], [0.75, 0.25]),
        case(2, "b", 0.11, [0.6, 0.3], [0.75, 0.25]),  # the same patient again
        case(3, "c", 0.12, [0.5, 0.4], [0.5, 0.5]),
        case(4, "d", 0.90, [0.5, 0.2], [0.5, 0.25]),
        case(5, "e", 0.80, [0.5, 0.2], [0.5, 0.25]),
        case(6, "f", 0.30, [0.5, 0.4], [1.0, 0.0]),
        case(7, "g", 0.30, [0.5, 0.1, 0.1, 0.1, 0.2], [0.8, 0.1, 0.1, 0.0, 0.0]),  # the fifth mask is not shown
        case(8, "h", 0.40, [0.98], [0.5]),
        case(9, "i", 0.40, [0.97], [0.5]),
        case(10, "j", 0.40, [0.99], [1.0], disagree=False),
    ]
    found = [(name, int(one.index["row"])) for name, one in example.chosen(cases, 2)]
    assert found == [
        ("good", 1), ("good", 3), ("bad", 4), ("bad", 5), ("unseen", 6), ("unseen", 7), ("sure", 8), ("sure", 9)
    ]  # fmt: skip


def test_a_case_that_two_rules_would_choose_is_shown_once(example: ModuleType) -> None:
    cases = [case(0, "a", 0.5, [0.9], [0.5]), case(1, "b", 0.4, [0.8], [0.5])]
    assert [(name, one.index["row"]) for name, one in example.chosen(cases, 1)] == [("good", "1"), ("bad", "0")]


def test_it_draws_a_picture_and_names_no_patient(
    example: ModuleType,
    known_truth: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (trial,) = plan(tmp_path, [Entry("mheads", "mheads")], known_truth, "small", steps=10, settings=SMALL)
    device = torch.device("cpu")
    train(trial.run(known_truth, device), known_truth, device)
    picture = tmp_path / "cases.png"
    words = [str(trial.path), "--data", str(known_truth.path), "-o", str(picture), "--each", "1"]
    monkeypatch.setattr(sys, "argv", ["lidc_cases.py", *words])
    example.main()
    printed = capsys.readouterr().out
    assert "bad, row" in printed
    assert not any(line["patient"] in printed for line in known_truth.index)
    with Image.open(picture) as image:
        assert np.asarray(image.convert("L")).std() > 10
