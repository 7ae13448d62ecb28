"""The default model: which recipe is best for this data, and how good it is on patients that it has not seen.

    python examples/studies/default_model/study.py search --data data/lidc-128-repack -o default-model
    python examples/studies/default_model/study.py seeds --data data/lidc-128-repack -o default-model --recipes base deep
    python examples/studies/default_model/study.py folds --data data/lidc-128-repack -o default-model --recipes base
    python examples/studies/default_model/study.py all --data data/lidc-128-repack -o default-model --recipes base
    python examples/studies/default_model/study.py cost --data data/lidc-128-repack -o default-model

`search` looks at the validation patients of the store's own split alone. It trains all recipes of `recipes.py` for a few steps
from one seed, keeps the best and the first one, which the others are changes of, and trains these anew for more steps from two
seeds (successive halving; Jamieson & Talwalkar 2016). A recipe's score, lower is better, is its mean GED16 less its mean
HM-IoU16. Recipes that `--keep` names reach the last round whatever their score: one seed ranks few of them surely, and `seeds`
may know better.

`seeds` trains recipes from every seed, for as many steps as the first round does: how sure is what that round saw? With
`--steps` for more: does a longer training rank them alike?

`folds` trains the recipes that are named on the folds of a cross-validation by patient and tests each on its fold, slice by
slice and on whole lesions. The figures of all folds together are out of fold: every patient was judged by a model that had not
seen them. Intervals are by patient; beside them stand the least and largest figure of the folds, and of the seeds. A fold's
validation patients calibrate its model and choose nothing: weights are those of the last step, as in the model that is shipped.

`all` trains a recipe on all patients, after `folds` with the same steps. The folds' runs of the first seed calibrate it, and
their figures become its own (`calibration.json` and `evaluation-folds` in its run folder), so that `ambiseg model export` can
share it.

`cost` sums the core-hours of all runs in the output folder, one core each, and what they took from the wall socket if a core
takes `--watts`: its share of a server with everything in it. Validations within a training are not in the logs' times, and
calibrations not in the notes'; both are left out.

What the first round measured is kept beside this script, without weights. The search then trains only what is new:

    python examples/studies/records.py take examples/studies/default_model/round-1.tar.xz default-model/round-1
    python examples/studies/default_model/study.py search --data data/lidc-128-repack -o default-model --limit 400

All resume where they were stopped or killed; `search`, `seeds` and `folds` use several processes with one thread each. Tables:
search.csv, seeds.csv, folds.csv, cost.csv.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import fmean

import torch
from out_of_fold import FIGURES, out_of_fold
from recipes import RECIPES

from ambiseg.models.benchmarks.cost.timing import training_seconds
from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.models.benchmarks.trials.lidc_tables import read_results
from ambiseg.models.benchmarks.trials.lidc_trials import RUNS, Work, plan, run_benchmark
from ambiseg.models.benchmarks.trials.measured import Measured
from ambiseg.models.benchmarks.trials.notes import read_notes
from ambiseg.models.benchmarks.trials.table_text import by_entry
from ambiseg.models.benchmarks.trials.trials import Trial
from ambiseg.models.calibration.calibrate_run import calibrate_folds
from ambiseg.models.evaluation.folds import FOLDS as FOLDS_TOGETHER
from ambiseg.models.evaluation.folds import differing, evaluate_folds, open_folds
from ambiseg.models.report.calibration_folder import write_check
from ambiseg.models.report.evaluation_folder import write_numbers
from ambiseg.models.runs.run_folder import RECORD, Run
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.sources.resplit import write_folds, write_split
from ambiseg.preprocessing.store.manifest import INDEX
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.tables import read_table, write_table
from ambiseg.preprocessing.work.engine import Limits, always
from ambiseg.preprocessing.work.local_processes import LocalProcesses
from ambiseg.terminal.console import plain_errors

FOLDS = 5
WATTS = 10.0  # from the wall socket for one busy core, as a share of a server with everything in it
LAST_WEIGHTS = ["validation.monitor=none"]  # of the models that are judged out of fold and of the one that is shipped
LONGEST = Limits(minutes=48 * 60)  # of one training


@dataclass(frozen=True)
class Round:
    """A round of the search: how long each recipe is trained, from how many of the seeds, and how many recipes are kept."""

    steps: int
    seeds: int
    kept: int


@dataclass(frozen=True)
class Study:
    """What is studied: on which data, where its runs lie, from which seeds, by how many processes; limit: as of `Work`."""

    store: Store
    folder: Path
    seeds: Sequence[int] = (0, 1)
    workers: int = 2
    limit: int | None = None


LAST = 8750  # steps of the models that are judged and shipped
ROUNDS = (Round(1000, seeds=1, kept=3), Round(3000, seeds=2, kept=1))


def main() -> None:
    """Do what was asked for."""
    asked = arguments()
    study = Study(Store.open(asked.data), asked.output, asked.seeds, asked.workers, asked.limit)
    entries = [entry for entry in RECIPES if not asked.recipes or entry.name in asked.recipes]
    if asked.what == "search":
        search(study, entries, ROUNDS[: asked.rounds], keep=asked.keep)
    elif asked.what == "seeds":
        from_all_seeds(study, entries, asked.steps or ROUNDS[0].steps)
    elif asked.what == "folds":
        cross_validate(study, entries, asked.steps or LAST)
    elif asked.what == "cost":
        cost(study.folder, asked.watts)
    else:
        for entry in entries:
            train_on_all(study, entry, asked.steps or LAST)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "seeds", "folds", "all", "cost"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipes", nargs="*", default=[], help="default: all")
    parser.add_argument("--rounds", type=int, default=len(ROUNDS), help="of the search")
    parser.add_argument("--keep", nargs="*", default=[], help="recipes that reach the search's last round")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, help=f"of each training; by default of `folds` and `all` {LAST}")
    parser.add_argument("--limit", type=int, default=None, help="the most crops of a split that are measured")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--watts", type=float, default=WATTS, help="of one core; for the cost")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


def search(
    study: Study, entries: Sequence[Entry], rounds: Sequence[Round] = ROUNDS, *, keep: Sequence[str] = ()
) -> None:
    """Halve the recipes round by round; those that `keep` names reach the last one."""
    rows = list[dict[str, object]]()
    always_kept = {entries[0].name, *keep}
    if unknown := always_kept - {entry.name for entry in entries}:
        raise SystemExit(
            f"No recipe {min(unknown)!r} is searched: expected {', '.join(entry.name for entry in entries)}."
        )
    for number, each in enumerate(rounds, 1):
        scores = tried(study, f"round-{number}", each, entries)
        kept = {*list(scores)[: each.kept], *always_kept}
        entries = [entry for entry in entries if entry.name in kept]
        rows += [{"round": number, **row_of(name, runs), "kept": int(name in kept)} for name, runs in scores.items()]
        write_table(study.folder / "search.csv", rows, list(rows[0]))
        print(
            f"Round {number}, {each.steps} steps: {', '.join(name + ' *' * (name in kept) for name in scores)}",
            flush=True,
        )


def from_all_seeds(study: Study, entries: Sequence[Entry], steps: int) -> list[str]:
    """Train recipes for as many steps from all the study's seeds, and table them beside those of other numbers of steps; their
    names, the best first.
    """
    first = ROUNDS[0]
    folder = "round-1" if steps == first.steps else f"steps-{steps}"
    scores = tried(study, folder, replace(first, steps=steps, seeds=len(study.seeds)), entries)
    rows = [row_of(name, runs) for name, runs in scores.items()]
    add_rows(study.folder / "seeds.csv", rows)
    show(rows)
    return list(scores)


def tried(study: Study, folder: str, each: Round, entries: Sequence[Entry]) -> dict[str, list[Measured]]:
    """Train and measure recipes; their runs, that with the best mean score first."""
    place, seeds = study.folder / folder, study.seeds[: each.seeds]
    trials = plan(place, entries, study.store, "small", seeds=seeds, steps=each.steps, others=RECIPES)
    do_all(study, [(study.store.path, trial) for trial in trials], test=False)
    names = {entry.name for entry in entries}
    runs = read_results(place, limit=study.limit)["val"]
    return scored([run for run in runs if run.entry in names and run.seed in seeds])


def scored(runs: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The recipes' runs, that with the best mean score first."""
    return dict(sorted(by_entry(runs).items(), key=lambda item: fmean(map(score, item[1]))))


def score(run: Measured) -> float:
    """GED16 less HM-IoU16; lower is better."""
    return run.figure("ged16_v").mean - run.figure("hm_iou16").mean


def row_of(name: str, runs: Sequence[Measured]) -> dict[str, object]:
    """A row of a table: a recipe's mean figures and how far its seeds lie apart."""
    means = {figure: [run.figure(figure).mean for run in runs] for figure in FIGURES}
    figures = {figure: f"{fmean(values):.4f}" for figure, values in means.items()}
    spread = {f"{figure}_spread": f"{max(values) - min(values):.4f}" for figure, values in means.items()}
    minutes = f"{fmean(run.training.seconds for run in runs) / 60:.1f}"
    about = {"recipe": name, "steps": runs[0].training.steps, "seeds": len(runs)}
    return {**about, "score": f"{fmean(map(score, runs)):.4f}", **figures, **spread, "training_minutes": minutes}


def show(rows: Sequence[Mapping[str, object]]) -> None:
    """A table's rows, one line each."""
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def cross_validate(study: Study, entries: Sequence[Entry], steps: int) -> None:
    """Train on every fold, and give the figures of all patients, each from the model that had not seen them."""
    stores = fold_stores(study.store, study.folder / "data")
    planned = [
        (fold.path, trial)
        for fold, place in zip(stores, fold_places(study, steps), strict=True)
        for trial in plan(
            place, entries, fold, "small", seeds=study.seeds, steps=steps, settings=LAST_WEIGHTS, others=RECIPES
        )
    ]
    do_all(study, planned, test=True)
    rows = [out_of_fold(name, steps, runs) for name, runs in scored(fold_runs(study, steps)).items()]
    add_rows(study.folder / "folds.csv", rows)
    show(rows)


def train_on_all(study: Study, entry: Entry, steps: int) -> Path:
    """Train a recipe on all patients, calibrate it on the folds, and put their figures beside it; the run's folder."""
    seed, cpu = study.seeds[0], torch.device("cpu")
    torch.set_num_threads(1)
    runs = [place / RUNS / f"{entry.name}-seed{seed}" for place in fold_places(study, steps)]
    if missing := [run for run in runs if read_notes(run).evaluation_test is None]:
        raise SystemExit(f"{missing[0]} is not finished: run `folds` with this recipe, seed and steps first.")
    config = entry.config("small", seed, LAST_WEIGHTS, {"steps": steps})
    trial = Trial(entry, seed, config, study.folder / "all" / f"steps-{steps}" / f"{entry.name}-seed{seed}")
    store = whole_store(study.store, study.folder / "data" / "all")
    run = trial.run(store, cpu)
    for other in runs:  # before hours of training, not after them
        if wrong := differing(Run.open(other).record.config, run.record.config):
            raise SystemExit(
                f"{other} was trained with other settings ({wrong}) than {run.path}: choose another output."
            )
    train(run, store, cpu)
    whole = load_trained(run.path, cpu, calibrated=False)
    folds = open_folds(runs, whole, cpu)
    fit, check = calibrate_folds(whole, folds, limit=study.limit)
    write_check(run.path, whole, store, fit, check, use=True)
    found = evaluate_folds(whole, folds, limit=study.limit, workers=study.workers)
    write_numbers(run.path / f"evaluation-{FOLDS_TOGETHER}", found)
    print(f"{run.path}: " + ", ".join(f"{name} {found.figures[name].mean:.4f}" for name in FIGURES))
    return run.path


def cost(folder: Path, watts: float) -> None:
    """What the runs of each part of the study took, from their own logs and notes."""
    runs = sorted(file.parent for file in folder.rglob(RECORD))
    rows = [
        cost_row(part, list(own), watts)
        for part, own in groupby(runs, key=lambda run: run.relative_to(folder).parts[0])
    ]
    if not rows:
        raise SystemExit(f"{folder} holds no runs of this study: run `search` or `folds` first.")
    write_table(folder / "cost.csv", rows, list(rows[0]))
    show(rows)


def cost_row(part: str, runs: Sequence[Path], watts: float) -> dict[str, object]:
    """A row of cost.csv."""
    trained = sum(training_seconds(Run.open(run)) for run in runs)
    notes = map(read_notes, runs)
    judged = sum(each.seconds for note in notes for each in (note.evaluation_val, note.evaluation_test) if each)
    hours = (trained + judged) / 3600
    shares = {"training_hours": f"{trained / 3600:.2f}", "evaluation_hours": f"{judged / 3600:.2f}"}
    return {
        "part": part,
        "runs": len(runs),
        "core_hours": f"{hours:.2f}",
        **shares,
        "kwh": f"{hours * watts / 1000:.3f}",
    }


def fold_places(study: Study, steps: int) -> list[Path]:
    """Where the runs of each fold lie."""
    return [study.folder / "folds" / f"steps-{steps}" / f"fold-{number}" for number in range(1, FOLDS + 1)]


def fold_runs(study: Study, steps: int) -> list[Measured]:
    """The runs of the folds that are done."""
    return [run for place in fold_places(study, steps) for run in read_results(place, limit=study.limit)["test"]]


def fold_stores(store: Store, folder: Path) -> list[Store]:
    """The folds, made once."""
    places = [folder / f"fold-{number}" for number in range(1, FOLDS + 1)]
    if not all((place / "manifest.json").is_file() for place in places):
        return write_folds(store, folder, FOLDS)
    stores = [Store.open(place) for place in places]
    for one in stores:
        check_crops(one, store)
    return stores


def whole_store(store: Store, place: Path) -> Store:
    """The same crops with all patients in the training split, made once."""
    if not (place / "manifest.json").is_file():
        return write_split(store, place, (1, 0, 0))
    made = Store.open(place)
    check_crops(made, store)
    return made


def check_crops(one: Store, store: Store) -> None:
    """End the study where a store that it made is of other data."""
    if crops_of(one) != crops_of(store):
        raise SystemExit(f"{one.path} holds other data than {store.path}: choose another output.")


def crops_of(store: Store) -> dict[str, str]:
    """The hashes of a store's images and masks, by file."""
    return {name: content for name, content in store.manifest.hashes.items() if name != INDEX}


def add_rows(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table with these rows, and those that it held of other numbers of steps before them."""
    new = {str(row["steps"]) for row in rows}
    held = read_table(file, "one row per recipe and number of steps").rows if file.is_file() else []
    both = [*(row for row in held if row["steps"] not in new), *rows]
    write_table(file, both, list(dict.fromkeys(name for row in both for name in row)))


def do_all(study: Study, tasks: Sequence[tuple[Path, Trial]], *, test: bool) -> None:
    """Measure all trials, several at a time; the first that fails ends the study."""
    work = always(partial(measure, limit=study.limit, test=test))
    try:
        for done, outcome in enumerate(LocalProcesses(study.workers).outcomes(work, tasks, limits=LONGEST), 1):
            outcome.get()
            print(f"{done} of {len(tasks)}: {outcome.task[1].path}", flush=True)
    except KeyboardInterrupt:
        raise SystemExit("Stopped. Nothing is lost; the same command goes on.") from None


def measure(task: tuple[Path, Trial], *, limit: int | None, test: bool) -> None:
    """In a process: train a recipe and evaluate it, as far as that is not done; on validation slice by slice, and on test,
    calibrated, on whole lesions, too.
    """
    data, trial = task
    torch.set_num_threads(1)
    work = Work(Store.open(data), torch.device("cpu"), limit, brief=not test)
    for _ in run_benchmark([trial], work, test=test):
        pass


if __name__ == "__main__":
    with plain_errors():
        main()
