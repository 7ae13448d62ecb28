"""The results of a benchmark on real readers: `results.csv` (and `results-test.csv`), `results.md` and `curves.png`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ...audit.published_figures import Published
from ...evaluation.calibrate_run import SPLIT
from ...metrics.catalogue import DRAWS
from ...runs.run_folder import Run
from ..trials.entries import LIDC_ENTRIES
from ..trials.measured import GED, Measured, perfect, read_measured, run_folders
from ..trials.notes import read_notes
from ..trials.winners import winners
from .curves import draw_curves, read_curves
from .markdown_tables import by_entry, markdown_table, mean_and_spread, short, write_rows, write_text
from .published import COMPARED, beside_published

TITLES = {SPLIT: "Validation", "test": "Test"}
FILES = {SPLIT: "results.csv", "test": "results-test.csv"}
JUDGED = (*GED, "hm_iou16")
INTERVALS = ("ged16_v", "ged16_u", "hm_iou16")  # shown with their interval where there is one seed
HEADINGS = {
    **{f"ged{n}_v": f"GED{n}" for n in DRAWS},
    **{f"ged{n}_u": f"GED{n}, unbiased" for n in DRAWS},
    "hm_iou16": "HM-IoU16",
}
READING = """\
GED is squared; its first columns are V-statistics, as in papers. In brackets: 95 % bootstrap interval by patient; ±: standard
deviation over seeds. **Bold**: better than every other entry by the paired comparison of cases (Wilcoxon's test of the
patients' mean differences, corrected by Holm, p < .05); columns without bold have no such entry. A perfect model draws as
readers do. Its figures assume readers who are independent given the image. If crops were selected because one reader marked
something, the best possible figures are lower. ECE is for the listed hypotheses, before and after calibration. Compare it
only within a row: it falls with the length of a list. AUROC measures how well the ambiguity predicts that readers disagree."""
PERFECT = "a perfect model, if readers are independent"


@dataclass(frozen=True)
class Column:
    """A column of the second table: its heading, what it shows of a run, and how."""

    heading: str
    value: Callable[[Measured], float]
    text: Callable[[float], str]


CALIBRATION = (
    Column("ECE", lambda run: run.figure("ece_before").mean, short),
    Column("ECE, calibrated", lambda run: run.figure("ece_after").mean, short),
    Column("AUROC", lambda run: run.figure("ambiguity_auroc").mean, short),
)
COSTS = (
    Column("parameters", lambda run: run.training.parameters, "{:,.0f}".format),
    Column("steps", lambda run: run.training.steps, "{:,.0f}".format),
    Column("training min", lambda run: run.training.seconds / 60, "{:.1f}".format),
    Column("16 masks ms", lambda run: run.sampling_ms(16), "{:.1f}".format),
    Column("100 masks ms", lambda run: run.sampling_ms(100), "{:.1f}".format),
)


def write_results(
    folder: Path, *, limit: int | None = None, published: Sequence[Published] = (), command: str = ""
) -> str:
    """Make tables, page and picture anew from the run folders, and return the page.

    limit: of the cases on which the runs were measured; command: what makes the results, for the page.
    """
    measured = {split: _sorted(read_measured(folder, split, limit)) for split in TITLES}
    for split, runs in measured.items():
        if runs:
            write_rows(folder / FILES[split], [run.row() for run in runs])
    curves = read_curves(folder)
    if curves:
        draw_curves(folder / "curves.png", curves, _curves_note(folder))
    page = "\n".join(_page(folder, measured, published, command))
    write_text(folder / "results.md", page)
    return page


def _sorted(runs: Sequence[Measured]) -> list[Measured]:
    """By entry, that of the lowest mean GED16 first, then by seed."""
    means = {name: fmean(run.figure("ged16_v").mean for run in own) for name, own in by_entry(runs).items()}
    return sorted(runs, key=lambda run: (means[run.entry], run.entry, run.seed))


def _page(
    folder: Path, measured: Mapping[str, Sequence[Measured]], published: Sequence[Published], command: str
) -> list[str]:
    """The page's sections."""
    sections = [f"{title('Methods', run_folders(folder)[0], measured[SPLIT], command)}\n{READING}\n"]
    for split, runs in measured.items():
        if runs:
            sections.append(_section(split, runs))
    if (folder / "curves.png").is_file():
        sections.append("## Curves\n\n![Validation GED of each entry while training](curves.png)\n")
    if measured[SPLIT]:
        sections.append(_runs_section(measured[SPLIT]))
    sections += not_in_the_tables(run_folders(folder))
    best_known = measured["test"] or measured[SPLIT]
    if published and best_known:
        sections.append(_published_section(best_known, published))
    return sections


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


def _section(split: str, runs: Sequence[Measured]) -> str:
    """The tables of a split."""
    entries, about = by_entry(runs), runs[0].evaluation
    best = winners({name: [run.evaluation for run in own] for name, own in entries.items()}, JUDGED)
    rows = [["entry", "seeds", *HEADINGS.values()], _perfect_row(runs[0])]
    rows += [
        [f"`{name}`", str(len(own)), *(_cell(own, figure, bold=best.get(figure) == name) for figure in HEADINGS)]
        for name, own in entries.items()
    ]
    columns = CALIBRATION + (COSTS if split == SPLIT else ())
    second = [["entry", *(column.heading for column in columns)]]
    second += [
        [f"`{name}`", *(mean_and_spread([column.value(run) for run in own], column.text) for column in columns)]
        for name, own in entries.items()
    ]
    cases = f"{len(about.rows):,} crops of {len(set(about.patients))} patients"
    of_fit = " Calibration was fitted on these same cases." if split == SPLIT else ""
    return (
        f"## {TITLES[split]}\n\n{cases}, {about.about.samples} draws each or exact weights.{of_fit}\n\n"
        f"{markdown_table(rows)}\n\n{markdown_table(second)}\n"
    )


def _perfect_row(run: Measured) -> list[str]:
    known = perfect(run)
    label = PERFECT.split(",")[0] if run.evaluation.about.known_odds else PERFECT
    return [label, "", *(short(known[name]) if name in known else "" for name in HEADINGS)]


def _cell(own: Sequence[Measured], figure: str, *, bold: bool) -> str:
    figures = [run.figure(figure) for run in own]
    text = mean_and_spread([one.mean for one in figures], short)
    text = f"**{text}**" if bold else text
    if len(own) == 1 and figure in INTERVALS:
        text += f" ({short(figures[0].low)} to {short(figures[0].high)})"
    return text


def _runs_section(runs: Sequence[Measured]) -> str:
    entries = {entry.name: entry for entry in LIDC_ENTRIES}
    rows = [["run", "method", "its options", "steps", "weights"]]
    for run in runs:
        own = entries[run.entry].options if run.entry in entries else {}
        options = ", ".join(f"{name} {value}" for name, value in own.items())
        steps, weights = run.training.steps, run.evaluation.about.weights_hash[:12]
        rows.append([f"`{run.name}`", run.record.method, options, f"{steps:,}", weights])
    return f"## Runs\n\n{markdown_table(rows, left=3)}\n"


def not_in_the_tables(paths: Sequence[Path]) -> list[str]:
    """A section that says what is missing of these run folders and why; none where nothing is."""
    left = [line for path in paths if (line := _left(path))]
    return ["## Not in the tables\n\n" + "\n".join(left) + "\n"] if left else []


def _left(path: Path) -> str | None:
    """Why a run is not in the tables; None for one that is."""
    notes = read_notes(path)
    if notes.failed is not None:
        return f"- `{path.name}` failed: {notes.failed}"
    if notes.evaluation_val is not None:
        return None
    run = Run.open(path)
    steps = max((entry["step"] for entry in run.read_log()), default=0)
    return f"- `{path.name}` is not finished: {steps:,} of {run.record.config.steps:,} steps."


def _published_section(runs: Sequence[Measured], published: Sequence[Published]) -> str:
    about = runs[0].evaluation.about
    ours = {
        name: {key: fmean(run.figure(key).mean for run in own) for key in COMPARED}
        for name, own in by_entry(runs).items()
    }
    where = f"{about.data}, {about.split}, {' x '.join(map(str, about.crop))} pixels"
    return beside_published(published, ours, where)


def _curves_note(folder: Path) -> str:
    configs = [Run.open(run).record.config for run in run_folders(folder)]
    samples = " or ".join(map(str, sorted({config.validation.samples for config in configs})))
    return (
        f"V-statistic of {samples} draws at most on {configs[0].validation.limit} fixed crops; preset {configs[0].preset}; "
        "grey: the other entries"
    )
