"""The tables of the benchmark on real readers: `results.csv`, `results-test.csv`, and the same figures as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from ambiseg.preprocessing.tables import write_table

from ...calibration.calibrate_run import SPLIT
from ...metrics.catalogue import DRAWS
from ...runs.run_folder import Run
from .measured import Measured, perfect, read_measured, run_folders
from .notes import read_notes
from .table_text import Column, by_entry, entry_rows, markdown_table, mean_and_spread, short

TITLES = {SPLIT: "Validation", "test": "Test"}
FILES = {SPLIT: "results.csv", "test": "results-test.csv"}
INTERVALS = ("ged16_v", "ged16_u", "hm_iou16")  # shown with their interval where there is one seed
HEADINGS = {
    **{f"ged{n}_v": f"GED{n}" for n in DRAWS},
    **{f"ged{n}_u": f"GED{n}, unbiased" for n in DRAWS},
    "hm_iou16": "HM-IoU16",
}
PERFECT = "a perfect model, if readers are independent"

CALIBRATION = (
    Column[Measured]("GED, weighted", lambda run: run.weighted_ged, short),
    Column[Measured]("ECE", lambda run: run.figure("ece_before").mean, short),
    Column[Measured]("ECE, calibrated", lambda run: run.figure("ece_after").mean, short),
    Column[Measured]("AUROC", lambda run: run.figure("ambiguity_auroc").mean, short),
)
LESION_HEADINGS = {
    "ged16_u": "GED16, unbiased",
    "hm_iou16": "HM-IoU16",
    "top_dice": "Dice of the first",
    "presence_brier": "Brier, presence",
    "log1p_volume_crps": "CRPS of log(1 + mm\u00b3)",
    "volume_in_50": "in 50 %",
    "volume_in_90": "in 90 %",
    "volume_bias": "bias of volume",
}
BY_LESION = tuple(
    Column[Measured](heading, lambda run, name=name: run.lesion_figure(name).mean, short)  # type: ignore[misc]
    for name, heading in LESION_HEADINGS.items()
)
COSTS = (
    Column[Measured]("parameters", lambda run: run.training.parameters, "{:,.0f}".format, count=True),
    Column[Measured]("steps", lambda run: run.training.steps, "{:,.0f}".format, count=True),
    Column[Measured]("training min", lambda run: run.training.seconds / 60, "{:.1f}".format, timed=True),
    Column[Measured]("16 masks ms", lambda run: run.sampling_ms(16), "{:.1f}".format, timed=True),
    Column[Measured]("100 masks ms", lambda run: run.sampling_ms(100), "{:.1f}".format, timed=True),
)


def write_results(folder: Path, *, limit: int | None = None) -> str:
    """Write the CSV files anew from a benchmark's run folders, and return their figures as text.

    limit: the number of cases on which the runs were measured, None for all.
    """
    measured = read_results(folder, limit=limit)
    write_tables(folder, measured)
    sections = [split_section(split, runs) for split, runs in measured.items() if runs]
    return "\n".join([*sections, *missing_section(run_folders(folder))])


def write_tables(folder: Path, measured: Mapping[str, Sequence[Measured]]) -> None:
    """Write the CSV files of a benchmark's folder: the runs of each split, as `read_results` gives them."""
    for split, runs in measured.items():
        if runs:
            rows = [run.row() for run in runs]
            columns = list(dict.fromkeys(name for row in rows for name in row))
            write_table(folder / FILES[split], rows, columns, for_people=True)


def read_results(folder: Path, *, limit: int | None = None) -> dict[str, list[Measured]]:
    """The measured runs of each split. The entry with the lowest mean GED16 comes first, and seeds ascend."""
    return {split: _sorted(read_measured(folder, split, limit)) for split in TITLES}


def _sorted(runs: Sequence[Measured]) -> list[Measured]:
    """By entry, that of the lowest mean GED16 first, then by seed."""
    means = {name: fmean(run.figure("ged16_v").mean for run in own) for name, own in by_entry(runs).items()}
    return sorted(runs, key=lambda run: (means[run.entry], run.entry, run.seed))


def split_section(split: str, runs: Sequence[Measured], best: Mapping[str, str] | None = None) -> str:
    """The tables of a split as Markdown; `best` is the entry whose figure is bold, by figure."""
    entries, about = by_entry(runs), runs[0].evaluation
    rows = [["entry", "seeds", *HEADINGS.values()], _perfect_row(runs[0])]
    rows += [
        [
            f"`{name}`",
            str(len(own)),
            *(_cell(own, figure, bold=(best or {}).get(figure) == name) for figure in HEADINGS),
        ]
        for name, own in entries.items()
    ]
    columns = CALIBRATION + (COSTS if split == SPLIT else ())
    second = entry_rows({f"`{name}`": own for name, own in entries.items()}, columns, spread=True)
    third = lesion_section(entries)
    cases = f"{len(about.rows):,} crops of {len(set(about.patients))} patients"
    notes = " Calibration was fitted on these same cases." if split == SPLIT else ""
    if split == SPLIT and len(runs) > len(entries):
        notes += " Times are those of the first seed."
    return (
        f"## {TITLES[split]}\n\n{cases}, {about.about.samples} draws each or exact weights.{notes}\n\n"
        f"{markdown_table(rows)}\n\n{markdown_table(second)}\n{third}"
    )


def lesion_section(entries: Mapping[str, Sequence[Measured]]) -> str:
    """The table of whole lesions, of the entries all of whose runs were evaluated on them; nothing without any."""
    here = {f"`{name}`": own for name, own in entries.items() if all(run.has_lesions for run in own)}
    if not here:
        return ""
    about = next(iter(here.values()))[0].evaluation.about.lesions
    assert about is not None
    table = markdown_table(entry_rows(here, BY_LESION, spread=True))
    return f"\nBy lesion, {about.lesions:,} lesions of {about.patients} patients:\n\n{table}\n"


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


def missing_section(paths: Sequence[Path]) -> list[str]:
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
