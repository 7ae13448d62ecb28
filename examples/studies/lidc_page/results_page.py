"""The page of `ambiseg benchmark lidc`: `results.md`, `at-a-glance.png` and `curves.png`, and the CSV files, in its folder.

    python examples/studies/lidc_page/results_page.py benchmarks/lidc [--published published_lidc.csv]

All of it is made from the run folders, so an archive of runs (records.py) is enough. The page shows in bold which entry is
better than all others by the paired comparison of cases, and with `--published` the figures of papers beside ours.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from at_a_glance import PICTURE, at_a_glance, best_clean, draw_at_a_glance, mask_ms
from beside_published import COMPARED, Ours, beside_published
from curves import draw_curves, read_curves
from winners import winners

from ambiseg.models.audit.published_figures import Published, read_published
from ambiseg.models.benchmarks.trials.entries import LIDC_ENTRIES
from ambiseg.models.benchmarks.trials.lidc_tables import missing_section, read_results, split_section, write_tables
from ambiseg.models.benchmarks.trials.measured import GED, Measured, run_folders
from ambiseg.models.benchmarks.trials.table_text import by_entry, markdown_table
from ambiseg.models.calibration.calibrate_run import SPLIT
from ambiseg.models.runs.run_folder import Run
from ambiseg.preprocessing.files import whole_file
from ambiseg.terminal.console import plain_errors

JUDGED = (*GED, "hm_iou16")
READING = """\
GED is squared; its first columns are V-statistics, as in papers. In brackets: 95 % bootstrap interval by patient; ±: standard
deviation over seeds. **Bold**: better than every other entry by the paired comparison of cases (Wilcoxon's test of the
patients' mean differences, corrected by Holm, p < .05); columns without bold have no such entry. A perfect model draws as
readers do. Its figures assume readers who are independent given the image. If crops were selected because one reader marked
something, the best possible figures are lower. ECE is for the listed hypotheses, before and after calibration. Compare it
only within a row: it falls with the length of a list. AUROC measures how well the ambiguity predicts that readers disagree."""


def write_page(
    folder: Path, *, limit: int | None = None, published: Sequence[Published] = (), command: str = ""
) -> str:
    """Make page, pictures and CSV files from the run folders, and return the page.

    limit: the number of cases on which the runs were measured, None for all; command: what made the runs, for the page.
    """
    measured = read_results(folder, limit=limit)
    write_tables(folder, measured)
    curves = read_curves(folder)
    if curves:
        draw_curves(folder / "curves.png", curves, _curves_note(folder))
    if judged := best_known(measured):
        draw_at_a_glance(folder / PICTURE, by_entry(judged), best_clean(published), _glance_note(judged))
    page = "\n".join(_page(folder, measured, published, command))
    write_text(folder / "results.md", page)
    return page


def _page(
    folder: Path, measured: Mapping[str, Sequence[Measured]], published: Sequence[Published], command: str
) -> list[str]:
    """The page's sections."""
    sections = [f"{title('Methods', run_folders(folder)[0], measured[SPLIT], command)}\n{READING}\n"]
    judged = best_known(measured)
    if judged:
        sections.append(at_a_glance(by_entry(judged), best_clean(published)))
    for split, runs in measured.items():
        if runs:
            entries = {name: [run.evaluation for run in own] for name, own in by_entry(runs).items()}
            sections.append(split_section(split, runs, winners(entries, JUDGED)))
    if (folder / "curves.png").is_file():
        sections.append("## Curves\n\n![Validation GED of each entry while training](curves.png)\n")
    if measured[SPLIT]:
        sections.append(_runs_section(measured[SPLIT]))
    sections += missing_section(run_folders(folder))
    if published and judged:
        sections.append(_published_section(judged, published))
    return sections


def best_known(measured: Mapping[str, Sequence[Measured]]) -> Sequence[Measured]:
    """The runs on the test split, if every entry has been measured on it, else those on validation."""
    tested, validated = ({run.entry for run in measured[split]} for split in ("test", SPLIT))
    return measured["test"] if tested and tested >= validated else measured[SPLIT]


def title(what: str, begun: Path, runs: Sequence[Measured], command: str) -> str:
    """The page's title, and on which data, how and with what the runs were made, one of which was `begun`, at least."""
    record = Run.open(begun).record
    config, data = record.config, record.data
    facts = [
        f"Data `{data.name}`, content hash {data.content_hash[:12]}; preset `{config.preset}`, the central "
        f"{config.data.crop} x {config.data.crop} pixels; weights were chosen and calibrations fitted on validation patients."
    ]
    if command:
        facts.append(f"Made by `{command}`.")
    if runs:
        words = sorted({f"{run.training.device} ({run.training.machine})" for run in runs})
        facts.append(f"ambiseg {runs[0].evaluation.about.ambiseg}; {'; '.join(words)}.")
    return f"# {what} on {data.name}\n\n" + "\n".join(facts) + "\n"


def _runs_section(runs: Sequence[Measured]) -> str:
    entries = {entry.name: entry for entry in LIDC_ENTRIES}
    rows = [["run", "method", "its options", "steps", "weights"]]
    for run in runs:
        own = entries[run.entry].options if run.entry in entries else {}
        options = ", ".join(f"{name} {value}" for name, value in own.items())
        steps, weights = run.training.steps, run.evaluation.about.weights_hash[:12]
        rows.append([f"`{run.name}`", run.record.method, options, f"{steps:,}", weights])
    return f"## Runs\n\n{markdown_table(rows, left=3)}\n"


def _published_section(runs: Sequence[Measured], published: Sequence[Published]) -> str:
    about = runs[0].evaluation.about
    ours = {
        name: Ours(
            {key: fmean(run.figure(key).mean for run in own) for key in COMPARED},
            mask_ms(own[0]),
        )
        for name, own in by_entry(runs).items()
    }
    where = f"{about.data}, {about.split}, {' x '.join(map(str, about.crop))} pixels"
    return beside_published(published, ours, where)


def _glance_note(runs: Sequence[Measured]) -> str:
    found, config = runs[0].evaluation, runs[0].record.config
    crops = f"{found.about.data}, {found.about.split}, {len(found.rows):,} crops"
    return f"{crops}; preset {config.preset}, {config.steps:,} steps"


def _curves_note(folder: Path) -> str:
    configs = [Run.open(run).record.config for run in run_folders(folder)]
    samples = " or ".join(map(str, sorted({config.validation.samples for config in configs})))
    return (
        f"V-statistic of {samples} draws at most on {configs[0].validation.limit} fixed crops; preset {configs[0].preset}; "
        "grey: the other entries"
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as file:
        file.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of `ambiseg benchmark lidc`")
    parser.add_argument("--limit", type=int, help="the benchmark's --limit, if it had one")
    parser.add_argument("--published", type=Path, help="CSV of published figures, as `ambiseg audit` reads it")
    parser.add_argument("--command", default="", help="the command that made the runs, to be shown on the page")
    asked = parser.parse_args()
    if not run_folders(asked.folder):
        raise SystemExit(f"{asked.folder} holds no runs: give the folder of `ambiseg benchmark lidc`.")
    published = read_published(asked.published) if asked.published else []
    write_page(asked.folder, limit=asked.limit, published=published, command=asked.command)
    print(f"Written: {asked.folder / 'results.md'}")


if __name__ == "__main__":
    with plain_errors():
        main()
