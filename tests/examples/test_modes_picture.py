"""The picture and the page of the known-truth benchmark, of results made by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from modes_picture import draw_results, main
from numpy.typing import NDArray
from PIL import Image

from ambiseg.models.benchmarks.trials.results import Result, markdown

pytestmark = pytest.mark.drawn

BAR = (0xE0, 0x7A, 0x3F)  # of a mode


def result(seed: int = 0) -> Result:
    scores = dict.fromkeys(
        ("ged16", "ged16_floor", "ged", "hm_iou16", "mode_error", "empty_error", "diversity", "true_diversity"), 0.3
    )
    costs = dict.fromkeys(("training_seconds", "step_ms", "sampling_ms"), 1.0)
    modes = {"bright": {"truth": [0.2, 0.5, 0.3], "model": [0.25, 0.45, 0.25]}}
    return Result(
        entry="probunet", method="probunet", seed=seed, data="40 crops", steps=5, batch=2, **scores, **costs,
        parameters=7, machine="m", modes=modes,
    )  # fmt: skip


def picture(path: Path) -> NDArray[np.uint8]:
    """Its pixels [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_bars_of_one_seed_and_of_two(tmp_path: Path) -> None:
    draw_results(tmp_path / "one.png", [result()])
    assert (picture(tmp_path / "one.png") == BAR).all(-1).sum() > 100
    draw_results(tmp_path / "two.png", [result(), replace(result(1), mode_error=0.1)])
    assert (picture(tmp_path / "two.png") == BAR).all(-1).any()


def test_the_script_writes_picture_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["modes_picture.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no results"):
        main()
    (tmp_path / "probunet-seed0").mkdir()
    result().write(tmp_path / "probunet-seed0")
    main()
    assert (tmp_path / "results.md").read_text() == markdown([result()])
    assert (picture(tmp_path / "results.png") == BAR).all(-1).any()
