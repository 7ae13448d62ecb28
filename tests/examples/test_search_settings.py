"""The search of settings: what a trial tries, what it is judged by, and when it is ended; without optuna."""

from collections.abc import Callable
from pathlib import Path

import pytest
from search_settings import Ended, proposed, validation_ged

from ambiseg.models.runs.run_folder import Run
from ambiseg.preprocessing.store.store import Store

TINY = """
batch = 2
data.crop = 16
validation = {every = 2, limit = 2}
options = {widths = [4, 6], convs = 1}
"""


class Stub:
    """A trial that proposes the least of everything."""

    number = 3

    def __init__(self, ends: Callable[[int], bool] = lambda reports: False):
        self.reports: list[tuple[int, float]] = []
        self.ends = ends

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return low

    def suggest_float(self, name: str, low: float, high: float) -> float:
        return low

    def report(self, value: float, step: int) -> None:
        self.reports.append((step, value))

    def should_prune(self) -> bool:
        return self.ends(len(self.reports))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Settings of a run that takes a moment."""
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path / "tiny.toml"


def test_a_family_is_searched_for_what_it_has() -> None:
    assert set(proposed(Stub(), "axis")) == {"options.family", "options.latent_dim"}
    assert set(proposed(Stub(), "mixture-full")) == {
        "options.family",
        "options.latent_dim",
        "options.components",
        "options.tau",
    }
    assert "options.rank" in proposed(Stub(), "low-rank")


def test_a_trial_is_judged_by_its_best_validation(known_truth: Store, tmp_path: Path, tiny: Path) -> None:
    trial = Stub()
    found = validation_ged(trial, known_truth.path, tmp_path, "mixture-axis", preset="demo", config=tiny, steps=4)
    assert [step for step, _ in trial.reports] == [2, 4]
    assert found == min(value for _, value in trial.reports)
    options = Run.open(tmp_path / "mixture-axis-3").record.config.options
    assert (options["latent_dim"], options["components"], options["tau"]) == (2, 2, 0.1)


def test_a_bad_trial_is_ended(known_truth: Store, tmp_path: Path, tiny: Path) -> None:
    trial = Stub(lambda reports: reports == 1)
    with pytest.raises(Ended):
        validation_ged(trial, known_truth.path, tmp_path, "axis", preset="demo", config=tiny, steps=4)
    assert len(trial.reports) == 1
