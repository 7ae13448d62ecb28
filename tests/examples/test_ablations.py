"""Ablations: what each change changes, that a base is trained once, and the differences in their table."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from ablations import STUDIES, Study, choose_studies, plan_ablations
from ablations_page import write_ablations
from results_page import write_page

from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.models.benchmarks.trials.lidc_trials import Work, plan, run_benchmark
from ambiseg.models.benchmarks.trials.trials import Trial
from ambiseg.models.evaluation.stored import read_evaluation
from ambiseg.models.runs.config import TrainConfig
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import Store

CPU = torch.device("cpu")
SMALL = ["data.crop=16", "options.widths=[4,6]", "options.convs=1", "batch=4", "validation.every=15"]
HEADS = Study(
    Entry("mheads", "mheads", {"heads": 3}), {"heads 2": {"options.heads": 2}, "readers 4": {"data.readers": 4}}
)


def planned(folder: Path, store: Store, *studies: Study, **changes: object) -> list[Trial]:
    return plan_ablations(folder, studies, store, "small", **{"steps": 15, "settings": SMALL, **changes})


def measure(trials: list[Trial], store: Store) -> list[str]:
    """Run the trials; the names of those that were trained."""
    trained: list[str] = []

    def watch(trial: Trial, part: str) -> object:
        trained.extend([trial.entry.name] if part == "training" else [])
        return lambda done, total: None

    for _ in run_benchmark(trials, Work(store, CPU, limit=6, watch=watch)):
        pass
    return trained


def flat(config: TrainConfig) -> dict[str, object]:
    """The settings of a training by dotted keys."""
    tree = config.model_dump()
    return {
        **{
            f"{group}.{key}": value
            for group, own in tree.items()
            if isinstance(own, dict)
            for key, value in own.items()
        },
        **{key: value for key, value in tree.items() if not isinstance(value, dict)},
    }


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.base.name)
def test_each_trial_changes_what_its_words_say_and_nothing_else(
    study: Study, known_truth: Store, tmp_path: Path
) -> None:
    base, *others = planned(tmp_path, known_truth, study)
    assert base.entry == study.base
    assert base.path == tmp_path / "runs" / f"{study.base.name}-seed0"
    assert len({trial.path for trial in others}) == len(others) > 0
    for trial in others:
        assert trial.path.parent == tmp_path / "ablations"
        before, after = flat(base.config), flat(trial.config)
        changed = {key: after[key] for key in after if after[key] != before[key]}
        assert changed
        assert changed.items() <= dict(trial.entry.settings).items()


def test_what_changes_nothing_is_left_out(known_truth: Store, tmp_path: Path) -> None:
    """Preset small has two readers per step and 32 codes."""
    names = [trial.entry.name for trial in planned(tmp_path, known_truth, *choose_studies(["modal"]))]
    assert names == ["modal", "modal-codes-8", "modal-codes-128", "modal-codes-512"]
    again = planned(tmp_path, known_truth, *choose_studies(["modal"]), settings=[*SMALL, "options.codes=8"])
    assert "modal-codes-8" not in [trial.entry.name for trial in again]


def test_studies_are_chosen_by_base_or_by_change() -> None:
    assert choose_studies() == STUDIES
    assert choose_studies(["modal"]) == tuple(study for study in STUDIES if study.base.name == "modal")
    (one,) = choose_studies(["generalized-mixture-full-kl-weight-0.1"])
    assert one.base.name == "generalized-mixture-full"
    assert one.changes == {"KL weight 0.1": {"options.beta": 0.1}}
    with pytest.raises(UsageError, match=r"No ablation 'probunet': expected .*modal-codes-8"):
        choose_studies(["modal", "probunet"])


def test_a_base_comes_first_and_seed_by_seed(known_truth: Store, tmp_path: Path) -> None:
    trials = planned(tmp_path, known_truth, HEADS, seeds=(0, 1))
    names = ["mheads", "mheads-heads-2", "mheads-readers-4"]
    assert [(trial.seed, trial.entry.name) for trial in trials] == [(seed, name) for seed in (0, 1) for name in names]


def test_a_run_begun_for_a_change_is_known_by_its_name(known_truth: Store, tmp_path: Path) -> None:
    """Its settings are the change's own, also where it is not planned; what else differs is refused."""
    study = choose_studies(["generalized-mixture-full-readers-a-step-4", "generalized-mixture-full-no-augmentation"])
    for trial in planned(tmp_path, known_truth, *study):
        trial.run(known_truth, CPU)
    others = choose_studies(["generalized-mixture-full-components-2", "modal-codes-8"])
    assert len(planned(tmp_path, known_truth, *others)) == 4
    assert len(planned(tmp_path, known_truth, *study)) == 3
    with pytest.raises(UsageError, match=r"was begun with other settings \(options.norm each, expected False\)"):
        planned(tmp_path, known_truth, *choose_studies(["modal"]), settings=[*SMALL, "options.norm=false"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, known_truth: Store) -> Path:
    """A folder where a base was trained by the benchmark itself, then two of its changes."""
    folder = tmp_path_factory.mktemp("ablations")
    base = STUDIES[-1].base
    narrow = [*SMALL, "options.latent_widths=[8]", "options.code_dim=6"]
    measure(plan(folder, [base], known_truth, "small", steps=15, settings=narrow), known_truth)
    study = choose_studies(["modal-codes-8", "modal-codes-128"])
    trials = planned(folder, known_truth, *study, settings=narrow)
    assert measure(trials, known_truth) == ["modal-codes-8", "modal-codes-128"]  # not the base
    write_ablations(folder, limit=6, command="ambiseg benchmark lidc --ablations")
    return folder


def test_the_table_shows_paired_differences(finished: Path) -> None:
    page = (finished / "ablations.md").read_text()
    assert "Made by `ambiseg benchmark lidc --ablations`." in page
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    assert [line[0] for line in lines if line[0].strip("-")] == ["changed", "nothing", "codes 8", "codes 128"]
    headings = lines[0]
    nothing, eight = (next(line for line in lines if line[0] == name) for name in ("nothing", "codes 8"))
    base = read_evaluation(finished / "runs/modal-seed0", "val").scores
    changed = read_evaluation(finished / "ablations/modal-codes-8-seed0", "val").scores
    for figure, heading in (("ged16_v", "GED16"), ("ged16_u", "GED16, unbiased"), ("hm_iou16", "HM-IoU16")):
        place = headings.index(heading)
        assert headings[place + 1] == "difference"
        assert nothing[place + 1] == ""
        assert float(nothing[place].split()[0]) == pytest.approx(np.nanmean(base[figure]), abs=0.0006)
        assert float(eight[place].split()[0]) == pytest.approx(np.nanmean(changed[figure]), abs=0.0006)
        difference = float(eight[place + 1].split()[0].strip("*"))
        assert difference == pytest.approx(np.nanmean(changed[figure] - base[figure]), abs=0.0006)


def test_its_rows_say_what_was_changed(finished: Path) -> None:
    with (finished / "ablations.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["base"], row["changed"], row["entry"]) for row in rows] == [
        ("modal", "nothing", "modal"),
        ("modal", "codes 8", "modal-codes-8"),
        ("modal", "codes 128", "modal-codes-128"),
    ]
    assert '"codes": 8' in rows[1]["options"]


def test_the_benchmarks_own_page_leaves_changes_out(finished: Path) -> None:
    page = write_page(finished, limit=6)
    assert "`modal`" in page
    assert "modal-codes" not in page


def test_only_seeds_that_all_have_count(finished: Path, known_truth: Store) -> None:
    narrow = [*SMALL, "options.latent_widths=[8]", "options.code_dim=6"]
    study = choose_studies(["modal-codes-8"])
    before = (finished / "ablations.md").read_text()
    base = next(trial for trial in planned(finished, known_truth, *study, settings=narrow, seeds=(1,)))
    measure([base], known_truth)
    page = write_ablations(finished, limit=6, command="ambiseg benchmark lidc --ablations")
    assert page == before


def test_what_is_not_finished_is_listed(known_truth: Store, tmp_path: Path) -> None:
    for trial in planned(tmp_path, known_truth, *choose_studies(["modal-codes-8"])):
        trial.run(known_truth, CPU)
    page = write_ablations(tmp_path)
    assert "- `modal-codes-8-seed0` is not finished: 0 of 15 steps." in page
    assert not (tmp_path / "ablations.csv").exists()
