"""Trains and measures ablations, and writes `ablations.csv`, with one row per run, and `ablations.md`, with one table per base.

    python examples/studies/lidc_page/ablations_page.py -d data/lidc-128-repack -o benchmarks/lidc [-m gated]

The folder is that of `ambiseg benchmark lidc`, whose runs are the bases; a base that is missing is trained. It may be stopped
at any time, and the same command resumes.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ablations import ABLATIONS, STUDIES, Study, choose_studies, plan_ablations
from results_page import title, write_text
from winners import over_seeds

from ambiseg.models.benchmarks.trials.lidc_tables import HEADINGS, missing_section
from ambiseg.models.benchmarks.trials.lidc_trials import SEED, Work, run_benchmark
from ambiseg.models.benchmarks.trials.measured import Measured, read_measured, run_folders
from ambiseg.models.benchmarks.trials.table_text import by_entry, markdown_table, short
from ambiseg.models.calibration.calibrate_run import SPLIT
from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.comparison.comparison import Difference
from ambiseg.models.evaluation.stored import StoredEvaluation
from ambiseg.models.metrics.summary import summarise
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.tables import write_table
from ambiseg.terminal.console import plain_errors

FIGURES = ("ged16_v", "ged16_u", "hm_iou16")
UNCHANGED = "nothing"
READING = """\
One thing is changed at a time, everything else is as in the base. All are judged on the validation split alone. In brackets:
95 % bootstrap interval by patient. A difference is the change's figure minus the base's, case by case. Its interval is that
of the mean difference when whole patients are resampled. It is **bold** where Wilcoxon's test of the patients' mean
differences, corrected by Holm for the table, has p < .05. With several seeds, each case counts with its mean over them. The
intervals do not include the effect of training from another seed."""


def write_ablations(folder: Path, *, limit: int | None = None, command: str = "") -> str:
    """Make table and page from the run folders, and return the page.

    limit: the number of cases on which the runs were measured, None for all; command: what made the runs, for the page.
    """
    bases = read_measured(folder, SPLIT, limit)
    entries = by_entry([*bases, *read_measured(folder, SPLIT, limit, runs=ABLATIONS)])
    found = {study.base.name: own for study in STUDIES if (own := _of_study(study, entries))}
    rows: list[dict[str, str | int | None]] = [
        {"base": base, "changed": words} | run.row()
        for base, own in found.items()
        for words, runs in own.items()
        for run in runs
    ]
    if rows:
        write_table(folder / "ablations.csv", rows, list(rows[0]), for_people=True)
    changed = run_folders(folder, ABLATIONS)
    begun = [*run_folders(folder), *changed][0]
    sections = [f"{title('Ablations', begun, bases, command)}\n{READING}\n"]
    sections += [_section(base, own) for base, own in found.items()]
    page = "\n".join([*sections, *missing_section(changed)])
    write_text(folder / "ablations.md", page)
    return page


def _of_study(study: Study, entries: Mapping[str, Sequence[Measured]]) -> dict[str, list[Measured]]:
    """The runs of the base and of each change by its words, from the seeds that all of them have; empty without any."""
    names = {UNCHANGED: study.base.name} | {words: entry.name for words, entry in study.changed.items()}
    own = {words: entries[name] for words, name in names.items() if name in entries}
    if UNCHANGED not in own or len(own) < 2:
        return {}
    seeds = set.intersection(*({run.seed for run in runs} for runs in own.values()))
    return {words: [run for run in runs if run.seed in seeds] for words, runs in own.items()} if seeds else {}


def _section(base: str, own: Mapping[str, Sequence[Measured]]) -> str:
    """The table of a base and its changes."""
    evaluations = [over_seeds(words, [run.evaluation for run in runs]) for words, runs in own.items()]
    differences = {(one.second, one.figure): one for one in compare(evaluations, FIGURES).differences}
    rows = [["changed", *(heading for figure in FIGURES for heading in (HEADINGS[figure], "difference"))]]
    for one in evaluations:
        cells = [(_figure(one, figure), _difference(differences.get((one.name, figure)))) for figure in FIGURES]
        rows.append([one.name, *(cell for pair in cells for cell in pair)])
    seeds = sorted({run.seed for run in own[UNCHANGED]})
    listed = f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
    return f"## `{base}`\n\n{len(evaluations[0].rows):,} crops; {listed}.\n\n{markdown_table(rows)}\n"


def _figure(one: StoredEvaluation, name: str) -> str:
    figure = summarise(one.scores[name], one.patients, np.random.default_rng(SEED))
    return f"{short(figure.mean)} ({short(figure.low)} to {short(figure.high)})"


def _difference(one: Difference | None) -> str:
    """A difference with its interval; nothing for the base itself."""
    if one is None:
        return ""
    mean = f"**{_signed(one.difference)}**" if one.significant else _signed(one.difference)
    return f"{mean} ({_signed(one.low)} to {_signed(one.high)})"


def _signed(value: float) -> str:
    """Three decimals with their sign; what rounds to 0 has none."""
    rounded = round(value, 3) + 0.0
    return ("+" if rounded > 0 else "") + short(rounded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--data", type=Path, required=True, help="dataset store")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/lidc"), help="the benchmark's folder")
    parser.add_argument("-m", "--only", default="", help="these ablations or bases, separated by commas")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seeds", default="0", help="seeds, separated by commas")
    parser.add_argument("--steps", type=int, help="training steps of every entry; default: the preset's")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="one setting of all entries")
    parser.add_argument("--limit", type=int, help="measure only this many cases of a split")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    store = Store.open(asked.data)
    trials = plan_ablations(
        asked.output,
        choose_studies([name.strip() for name in asked.only.split(",") if name.strip()]),
        store,
        asked.preset,
        seeds=[int(seed) for seed in asked.seeds.split(",")],
        steps=asked.steps,
        settings=asked.settings,
    )
    command = shlex.join(["python", *sys.argv])
    for trial, split in run_benchmark(trials, Work(store, resolve_device(asked.device), asked.limit)):
        print(f"{trial.path.name}: measured on {split}.", flush=True)
        write_ablations(asked.output, limit=asked.limit, command=command)
    print(write_ablations(asked.output, limit=asked.limit, command=command))


if __name__ == "__main__":
    with plain_errors():
        main()
