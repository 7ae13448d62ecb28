"""The curves of a run: numbers along their axes are written in full, at round values, whatever the data."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from ambiseg.models.training.progress_figure import _draw, draw_progress

pytestmark = pytest.mark.drawn

PLAIN = re.compile(r"-?[\d,]+(\.\d+)?")


def labels_in_sight(values: list[float], name: str = "kl") -> list[str]:
    """The tick labels between the ends of the y axis of a curve of these values."""
    figure = Figure()
    axis = figure.subplots()
    _draw(axis, name, [{"kind": "train", "step": step, name: value} for step, value in enumerate(values)])
    figure.draw_without_rendering()
    low, high = axis.get_ylim()
    ticks = zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)
    return [label.get_text() for place, label in ticks if low <= place <= high]


@pytest.mark.parametrize(
    "values",
    [[1.86338, 1.9], [0.61, 0.48, 0.52], [0.5, 3.0], [8.0, 0.6, 2.4], [0.0, 0.1, -0.01, 2, 40], [0.0, 0.0]],
)
def test_a_narrow_range_has_plain_numbers(values: list[float]) -> None:
    labels = labels_in_sight(values)
    assert len(labels) >= 2
    assert all(PLAIN.fullmatch(label) for label in labels), labels


def test_a_wide_range_has_powers_of_ten() -> None:
    assert labels_in_sight([1500.0, 80.0, 3.0]) == ["10", "100", "1,000"]
    assert labels_in_sight([60.0, 2.5]) == ["5", "10", "20", "50"]


def test_a_panel_without_a_curve_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three curves in a grid of four."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **kind: (drawn.append(figure), file.touch()))
    log = [{"kind": "validation", "step": step, "loss": 2.0, "ged": 0.3, "hm_iou": 0.5} for step in (1, 2)]
    config = SimpleNamespace(method="refine", seed=0)
    record = SimpleNamespace(config=config, data=SimpleNamespace(name="made"))
    draw_progress(SimpleNamespace(path=tmp_path, record=record, read_log=lambda: log))
    assert [panel.get_visible() for panel in drawn[0].axes] == [True, True, True, False]


@settings(max_examples=25)
@given(
    values=st.lists(st.floats(1e-3, 1e6).map(lambda value: float(f"{value:.5g}")), min_size=2, max_size=5, unique=True),
    name=st.sampled_from(["loss", "kl"]),
)
def test_numbers_are_written_out_for_any_values(values: list[float], name: str) -> None:
    labels = labels_in_sight(values, name)
    assert labels
    assert all(PLAIN.fullmatch(label) for label in labels), labels
