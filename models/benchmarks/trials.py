"""Trials of a benchmark: entries x seeds with equal settings, each in a run folder of its own, begun or gone on with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ambiseg.preprocessing.errors import DataError, PartialError, UsageError
from ambiseg.preprocessing.store import Store

from ..config import TrainConfig, make_config
from ..run import Run, RunRecord
from .entries import Entry

T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """One entry trained from one seed, in the run folder `path`."""

    entry: Entry
    seed: int
    config: TrainConfig
    path: Path

    def run(self, store: Store, device: torch.device) -> Run:
        """The trial's run, created where it is not there."""
        if (self.path / "run.json").is_file():
            return Run.open(self.path)
        return Run.create(self.path, RunRecord.of(self.config, store, str(device)))


def plan_trials(
    folder: Path,
    entries: Sequence[Entry],
    preset: str,
    *,
    seeds: Sequence[int] = (0,),
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> list[Trial]:
    """The trials of entries x seeds with their run folders in `folder`, all entries of a seed before the next seed.

    settings, flags: over the preset, as of `make_config`. Raises UsageError for an entry whose method or options do not
    exist, and when the folder holds a run with other settings: one folder holds one budget.
    """

    def config(method: str, options: Mapping[str, Any], seed: int) -> TrainConfig:
        own = {f"options.{key}": value for key, value in options.items()}
        return make_config(method, preset, settings=settings, flags={**own, **(flags or {}), "seed": seed})

    trials = [
        Trial(entry, seed, config(entry.method, entry.options, seed), folder / f"{entry.name}-seed{seed}")
        for seed in seeds
        for entry in entries
    ]
    planned = {trial.path: trial.config for trial in trials}
    for file in sorted(folder.glob("*/run.json")):
        held = Run.open(file.parent).record.config
        wanted = planned.get(file.parent) or config(held.method, held.options, held.seed)
        if held.model_dump(mode="json") != wanted.model_dump(mode="json"):
            raise UsageError(
                f"{file.parent} was begun with other settings ({held.steps} steps, asked for are {wanted.steps}): choose "
                "another folder with -o, or remove this run."
            )
    return trials


def attempts(trials: Sequence[Trial], work: Callable[[Trial], T]) -> Iterator[T]:
    """What `work` makes of the trials, one by one; one that cannot be trained or measured is left out.

    Raises PartialError at the end, which names all such.
    """
    failures = []
    for trial in trials:
        try:
            result = work(trial)
        except (UsageError, DataError) as error:
            failures.append(f"{trial.path.name}: {error}")
            continue
        yield result
    if failures:
        raise PartialError(f"{len(failures)} of {len(trials)} entries failed: {' '.join(failures)}")
