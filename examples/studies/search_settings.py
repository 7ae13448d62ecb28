"""Search the settings of a latent distribution with optuna, as for table 2 of the Generalized Probabilistic U-Net.

    pip install optuna
    python examples/studies/search_settings.py data/lidc --family mixture-full --trials 20 --preset small --steps 600

Bhat et al. (2022) search, for each family, the dimensions of z, the components of a mixture and the temperature of its
Gumbel-softmax, by the validation GED. So does this script: each trial trains a run in --output, optuna's sampler (TPE)
proposes the next settings, and a trial whose validation GED is worse than the median of the earlier ones at that step is ended
(--no-pruning: none is). The validation split chooses; the test split is not read. The search is kept in --output/search.db, and
the same command continues it.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import ambiseg
from ambiseg.models.training.loop import Progress
from ambiseg.preprocessing.errors import ResourceError
from ambiseg.preprocessing.store.store import Store
from ambiseg.terminal.console import plain_errors

FAMILIES = ("axis", "full", "low-rank", "mixture-axis", "mixture-full", "mixture-low-rank")
DIMENSIONS, COMPONENTS, RANKS, TAU = (2, 8), (2, 10), (1, 4), (0.1, 0.5)


class Trial(Protocol):
    """What is needed of `optuna.Trial`."""

    @property
    def number(self) -> int:
        """Which trial it is, from 0."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number to try."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """A number to try."""

    def report(self, value: float, step: int) -> None:
        """Tell an interim result."""

    def should_prune(self) -> bool:
        """Whether it is not worth going on."""


class Ended(Exception):
    """A trial that is worse than the others so far."""


def proposed(trial: Trial, family: str) -> dict[str, object]:
    """The options that a trial tries for a family: only those that the family has."""
    options: dict[str, object] = {"options.family": family}
    options["options.latent_dim"] = trial.suggest_int("latent_dim", *DIMENSIONS)
    if family.startswith("mixture-"):
        options["options.components"] = trial.suggest_int("components", *COMPONENTS)
        options["options.tau"] = round(trial.suggest_float("tau", *TAU), 3)
    if family.endswith("low-rank"):
        options["options.rank"] = trial.suggest_int("rank", *RANKS)
    return options


def validation_ged(
    trial: Trial,
    data: Path,
    folder: Path,
    family: str,
    *,
    preset: str,
    config: Path | None = None,
    steps: int | None = None,
) -> float:
    """Train a trial's run, and return its lowest validation GED, as the run keeps the weights of that step.

    Raises `Ended` when the trial is not worth going on.
    """
    best = float("inf")

    def watch(progress: Progress) -> None:
        nonlocal best
        if progress.scores:
            best = min(best, progress.scores["ged"])
            trial.report(progress.scores["ged"], progress.step)
            if trial.should_prune() and progress.step < progress.steps:
                raise Ended

    chosen = proposed(trial, family) | {"validation.monitor": "ged", "validation.patience": 0}
    ambiseg.train(
        data, "generalized", output=folder / f"{family}-{trial.number}", preset=preset, config=config, settings=chosen,
        steps=steps, seed=0, observe=watch,
    )  # fmt: skip
    return best


def objective(given: argparse.Namespace) -> Callable[[Trial], float]:
    """What optuna makes small."""
    import optuna

    def of(trial: Trial) -> float:
        try:
            how = {"preset": given.preset, "config": given.config, "steps": given.steps}
            return validation_ged(trial, given.data, given.output, given.family, **how)
        except Ended:
            raise optuna.TrialPruned from None

    return of


def main() -> None:
    """Search, and print the trials, the best first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--family", choices=FAMILIES, default="mixture-full")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--config", type=Path, help="a TOML file of settings of all trials")
    parser.add_argument("--no-pruning", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("search"))
    given = parser.parse_args()
    Store.open(given.data)
    if find_spec("optuna") is None:
        raise ResourceError("optuna is not installed, and it chooses the settings: run `pip install optuna`.")
    import optuna

    given.output.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{given.output / 'search.db'}", study_name=given.family, load_if_exists=True,
        pruner=optuna.pruners.NopPruner() if given.no_pruning else optuna.pruners.MedianPruner(n_startup_trials=5),
    )  # fmt: skip
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # a search that goes on does not begin anew
    study.optimize(objective(given), n_trials=given.trials)
    done = [trial for trial in study.trials if trial.value is not None]
    for trial in sorted(done, key=lambda trial: trial.value):
        print(f"{trial.value:.3f}", *(f"{name} {value:.3g}" for name, value in trial.params.items()), sep="  ")
    print(f"{len(study.trials) - len(done)} of {len(study.trials)} trials were ended early or failed")


if __name__ == "__main__":
    with plain_errors():
        main()
