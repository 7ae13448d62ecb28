"""Ablations: what of an entry matters, by changing one thing of it at a time.

A change stands here once, by the words for it and by the training settings that it puts in the place of the base's. Its
name is the base's with these words. The same changes serve every preset: one that changes nothing there is left out when
trials are planned, so a list may hold a base's own value too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ambiseg.models.benchmarks.trials.entries import LIDC_ENTRIES, Entry
from ambiseg.models.benchmarks.trials.lidc_trials import plan
from ambiseg.models.benchmarks.trials.trials import Trial
from ambiseg.models.runs.config import AugmentSettings
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import Store

ABLATIONS = "ablations"  # the folder of the changed entries' runs; the bases' are those of the benchmark itself


@dataclass(frozen=True)
class Study:
    """An entry and what is changed of it: the words for each change, and its settings by dotted keys."""

    base: Entry
    changes: Mapping[str, Mapping[str, Any]]

    @property
    def changed(self) -> Mapping[str, Entry]:
        """The entry of each change, by its words."""
        return {words: self._changed(words, settings) for words, settings in self.changes.items()}

    def _changed(self, words: str, settings: Mapping[str, Any]) -> Entry:
        name = f"{self.base.name}-{words.lower().replace(' ', '-')}"
        return Entry(name, self.base.method, self.base.options, settings)


def _each(words: str, key: str, values: Sequence[float]) -> dict[str, dict[str, float]]:
    """A change for each value of one setting."""
    return {f"{words} {value:g}": {key: value} for value in values}


_NO_AUGMENTATION = {f"augment.{key}": "none" if key == "flip" else 0.0 for key in AugmentSettings.model_fields}
_AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "no augmentation": _NO_AUGMENTATION,
    "no jitter": {"augment.gain": 0.0, "augment.offset": 0.0},
    "jitter 0.2 and 0.06": {"augment.gain": 0.2, "augment.offset": 0.06},
    "rotation 30 zoom 0.1": {"augment.rotate_deg": 30.0, "augment.scale": 0.1},
}
_BASES = {entry.name: entry for entry in LIDC_ENTRIES}

STUDIES = (  # the most telling first, as a budget may end before they do
    Study(
        _BASES["gated"],
        {
            **_each("masks", "options.masks", (10, 20, 120)),
            **_each("components", "options.components", (1, 2, 9)),
            **_each("latent dimensions", "options.latent_dim", (1, 8)),
            "no energy score": {"options.score": 0.0},
            "no gate dropout": {"options.gate_dropout": 0.0},
            "no augmentation": _NO_AUGMENTATION,
        },
    ),
    Study(
        _BASES["generalized-mixture-full"],
        {
            **_each("KL weight", "options.beta", (0.1, 10.0)),
            **_each("latent dimensions", "options.latent_dim", (1, 8)),
            **_each("components", "options.components", (2, 5)),
            **_AUGMENTATIONS,
            **_each("readers-a-step", "data.readers", (1, 2, 4)),
        },
    ),
    Study(_BASES["modal"], _each("codes", "options.codes", (8, 32, 128, 512))),
)


def choose_studies(names: Sequence[str] = (), among: Sequence[Study] = STUDIES) -> tuple[Study, ...]:
    """The studies with the changes of these names; a base's name stands for all of its changes, no name for everything.

    Raises UsageError for another name.
    """
    known = [entry.name for study in among for entry in (study.base, *study.changed.values())]
    for name in names:
        if name not in known:
            raise UsageError(f"No ablation {name!r}: expected {', '.join(known)}.")
    chosen = [study if study.base.name in names or not names else _only(study, names) for study in among]
    return tuple(study for study in chosen if study.changes)


def _only(study: Study, names: Sequence[str]) -> Study:
    """The study without the changes that have other names."""
    wanted = [words for words, entry in study.changed.items() if entry.name in names]
    return Study(study.base, {words: study.changes[words] for words in wanted})


def plan_ablations(
    folder: Path,
    studies: Sequence[Study],
    store: Store,
    preset: str,
    *,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    settings: Sequence[str] = (),
) -> list[Trial]:
    """The trials of studies, as `lidc.plan` plans them: of a seed each base before its changes.

    A base is the benchmark's own run in `folder`, trained only where it is not there.
    """

    def planned(entries: Sequence[Entry], **where: Any) -> list[Trial]:
        return plan(folder, entries, store, preset, seeds=seeds, steps=steps, settings=settings, **where)

    known = [entry for study in STUDIES for entry in study.changed.values()]
    bases = planned([study.base for study in studies])
    changed = planned([e for study in studies for e in study.changed.values()], runs=ABLATIONS, others=known)
    base_of = {entry.name: study.base.name for study in studies for entry in (study.base, *study.changed.values())}
    standing = {(trial.entry.name, trial.seed): trial.config for trial in bases}
    real = [trial for trial in changed if trial.config != standing[base_of[trial.entry.name], trial.seed]]
    order = list(base_of)
    return sorted([*bases, *real], key=lambda trial: (trial.seed, order.index(trial.entry.name)))
