"""Trials of a benchmark: entries x seeds with equal settings, each in its own run folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import DataError, PartialError, UsageError
from ambiseg.preprocessing.store.store import Store

from ...runs.config import TrainConfig
from ...runs.run_folder import Run
from ...runs.run_record import RunRecord
from .entries import ENTRIES, Entry

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
    others: Sequence[Entry] = ENTRIES,
) -> list[Trial]:
    """The trials of entries x seeds with their run folders in `folder`, all entries of a seed before the next seed.

    settings, flags: over the preset, as of `make_config`; others: entries whose runs may lie in the folder, too.
    Raises UsageError for an entry whose method or options do not exist, and when the folder holds a run with other settings:
    one folder holds one budget.
    """
    trials = [
        Trial(entry, seed, entry.config(preset, seed, settings, flags or {}), folder / f"{entry.name}-seed{seed}")
        for seed in seeds
        for entry in entries
    ]
    planned = {trial.path: trial.config for trial in trials}
    for file in sorted(folder.glob("*/run.json")):
        held = Run.open(file.parent).record.config
        wanted = planned.get(file.parent) or _as_begun(file.parent.name, held, others).config(
            preset, held.seed, settings, flags or {}
        )
        if differs := _difference(held, wanted):
            raise UsageError(
                f"{file.parent} was begun with other settings ({differs}): choose another folder as `output`, or remove "
                "this run."
            )
    return trials


def _as_begun(run: str, held: TrainConfig, others: Sequence[Entry]) -> Entry:
    """The entry that a run folder is named by; where none is known by this name, one with the options that it holds."""
    name = run.removesuffix(f"-seed{held.seed}")
    return next((entry for entry in others if entry.name == name), Entry(name, held.method, held.options))


def _difference(held: TrainConfig, wanted: TrainConfig) -> str:
    """The first setting that differs, and both values; empty where none does."""
    one, other = (_by_key(config.model_dump(mode="json")) for config in (held, wanted))
    differing = [key for key in other | one if one.get(key) != other.get(key)]
    return f"{differing[0]} {one.get(differing[0])}, expected {other.get(differing[0])}" if differing else ""


def _by_key(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _by_key(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found


def attempts(trials: Sequence[Trial], work: Callable[[Trial], T]) -> Iterator[T]:
    """The results of `work` on the trials, one by one; a trial that cannot be trained or measured is left out.

    Raises PartialError at the end, which names all that failed.
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
        raise PartialError(
            f"{len(failures)} of {counted(len(trials), 'entry', 'entries')} failed: {' '.join(failures)}"
        )
