"""`ambiseg evaluate`: how close a model's masks are to the readers' masks."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, console, emit_json, out, progress, warn
from ..terminal.options import Cluster, Data, Device, FoldRuns, Jobs, Model, Workers, workplace

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.evaluation.evaluation import Evaluation


class By(StrEnum):
    """What a case of an evaluation is."""

    auto = "auto"
    slice = "slice"
    lesion = "lesion"


WIDEST = 8  # so many modes are shown one by one in the table of mode probabilities


def evaluate(
    model: Model = None,
    split: Annotated[str, typer.Option(help="Split to evaluate on: train, val, test or all.")] = "test",
    samples: Annotated[
        int, typer.Option(help="Number of masks drawn per image, at least 16; GED50 and GED100 need as many.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the draws.", min=0)] = 0,
    data: Data = None,
    limit: Annotated[
        int | None, typer.Option(help="Evaluate only this number of cases, spread over the split.", show_default=False)
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Evaluate whole stored images instead of their centre of the training crop's size."
        ),
    ] = False,
    by: Annotated[
        By,
        typer.Option(
            help="Evaluate each slice alone (slice), or also whole lesions as volumes (lesion); auto: also whole lesions "
            "where the data have them."
        ),
    ] = By.auto,
    stability: Annotated[
        int,
        typer.Option(
            help="Also measure how far the answer moves when images are shifted, mirrored, resampled or noisier, on this "
            "number of lesions and slices; 60 take a few minutes.",
            min=0,
        ),
    ] = 0,
    reader: Annotated[
        str | None,
        typer.Option(
            help="Compare the hypotheses for this reader with this reader's masks, for a model that knows readers by name.",
            metavar="NAME",
            show_default="all readers together",
        ),
    ] = None,
    fold_runs: FoldRuns = None,
    device: Device = "auto",
    workers: Workers = None,
    cluster: Cluster = None,
    jobs: Jobs = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the results. Default: RUN/evaluation-SPLIT, or NAME-evaluation-SPLIT of a model with a name.",
            show_default=False,
        ),
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="Also write the table of cases as Parquet.")] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Write numbers only, without pictures and report.html; this is faster.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of a table.")] = False,
) -> None:
    """Compare a model's masks with the readers' masks: GED, HM-IoU, hypotheses, empty masks and calibration, with a report."""
    from ambiseg.models.bundle.find import find_model, results_of
    from ambiseg.models.evaluation.case_table import check_parquet
    from ambiseg.models.evaluation.folds import FOLDS
    from ambiseg.models.evaluation.rows import data_for
    from ambiseg.models.evaluation.summary_document import SUMMARY
    from ambiseg.models.report.evaluation_folder import write_numbers, write_report
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.trained import load_trained
    from ambiseg.preprocessing.files import check_place, only_writer

    from ..api import evaluate as judge

    if parquet:
        check_parquet()
    place = find_model(model)
    trained = load_trained(place, resolve_device(device), keep_memory=True)
    store = None if fold_runs is not None else data_for(trained.record, data)
    if store is not None and store.content_hash != trained.record.data.content_hash:
        console.print(f"Note: {store.path} is not the data that {trained.name} was trained on.")
    asked = split if store is not None else FOLDS
    if store is not None and reader is not None:
        trained, store = trained.as_reader(reader), store.read_by(reader)
        asked += f"-reader-{1 + trained.record.data.reader_names.index(reader)}"
    folder = output or results_of(place, f"evaluation-{asked}")
    check_place(folder)
    with only_writer(folder / SUMMARY, what=str(folder)), progress() as display:
        evaluation = judge(
            trained,
            data if store is None else store,
            split,
            samples=samples,
            seed=seed,
            limit=limit,
            whole=whole,
            by=by.value,
            stability=stability,
            reader=None if store is not None else reader,
            fold_runs=fold_runs,
            device=device,
            workers=workplace(workers, cluster, jobs),
            on_progress=Meter(display, "Evaluating", "cases"),
        )
        if no_report or store is None:
            write_numbers(folder, evaluation, parquet=parquet)
        else:
            drawing = Meter(display, "Drawing", "pictures")
            write_report(folder, evaluation, trained, store, parquet=parquet, on_progress=drawing)
    _say(evaluation, folder / (SUMMARY if no_report or store is None else "report.html"), as_json=as_json)


def _say(evaluation: "Evaluation", written: Path, *, as_json: bool) -> None:
    """Print the figures, the notes, and which file was written."""
    if evaluation.about.seen_before:
        warn(evaluation.about.notes[0])
    if as_json:
        emit_json(evaluation.summary())
    else:
        out(_table(evaluation))
        if evaluation.modes:
            out(_modes_table(evaluation))
        if evaluation.lesions:
            out(_lesion_table(evaluation))
        for kind in evaluation.stability:
            out(_stability_table(evaluation, kind))
        for note in evaluation.about.notes[bool(evaluation.about.seen_before) :]:
            out(note)
    console.print(f"Written: {written} and the files beside it")


def _table(evaluation: "Evaluation") -> "Table":
    """The figures as a table, block by block, each with the figure of a perfect model where that is known."""
    from rich.table import Table

    from ambiseg.models.figures.numbers import decimals, interval
    from ambiseg.models.report.table import table

    about = evaluation.about
    asked = f", as {about.reader}" if about.reader else ""
    shown = Table(
        title=f"{about.run} ({about.method}){asked} on {about.data}, {about.split}: {counted(about.cases, 'case')}",
        caption=f"data {about.data_hash[:12]}, seed {about.seed}; 95 % bootstrap intervals by patient"
        + ("; calibrated" if about.calibrated else ""),
    )
    shown.add_column("figure")
    for heading in ("mean", "sd", "95 % interval", "cases"):
        shown.add_column(heading, justify="right")
    for rows in table(evaluation).values():
        for row in rows:
            figure = row.figure
            cells = decimals(figure.mean), decimals(figure.sd), interval(figure), str(figure.cases)
            shown.add_row(row.label, *cells)
            if row.floor is not None:
                shown.add_row("  of a perfect model", decimals(row.floor))
        shown.add_section()
    return shown


def _lesion_table(evaluation: "Evaluation") -> "Table":
    """The chief figures of whole lesions, with the means of the baselines. The page has all."""
    from rich.table import Table

    from ambiseg.models.figures.numbers import decimals, interval
    from ambiseg.models.lesions.by_lesion import BASELINES
    from ambiseg.models.metrics.catalogue import LESION_CHIEF
    from ambiseg.models.report.table import lesion_table

    assert evaluation.lesions is not None
    about = evaluation.lesions.summary()
    shown = Table(
        title=f"Whole lesions: {counted(about.lesions, 'lesion')} of {counted(about.patients, 'patient')}, "
        f"{counted(about.slices, 'slice')}",
        caption="each reader's volume is one outcome, 0 where nothing was marked; at the right, means of simpler answers",
    )
    shown.add_column("figure")
    for heading in ("mean", "95 % interval", *BASELINES):
        shown.add_column(heading, justify="right")
    for rows in lesion_table(evaluation).values():
        for row in rows:
            if row.measure.name in LESION_CHIEF:
                cells = decimals(row.figure.mean), interval(row.figure), *map(decimals, row.baselines)
                shown.add_row(row.label, *cells)
        shown.add_section()
    return shown


def _stability_table(evaluation: "Evaluation", kind: str) -> "Table":
    """How far the model's answer moves under each change: means, and 95th percentiles in parentheses."""
    from rich.table import Table

    from ambiseg.models.figures.numbers import decimals
    from ambiseg.models.report.table import MOVES, stability_rows

    stability = evaluation.stability[kind]
    shown = Table(
        title=f"How far the answer moves: {counted(len(stability.cases), kind.removesuffix('s'))}",
        caption="mean absolute change (95th percentile)",
    )
    shown.add_column("change")
    for heading in MOVES.values():
        shown.add_column(heading, justify="right")
    for row in stability_rows(stability):
        shown.add_row(row.change, *(f"{decimals(one.mean)} ({decimals(high)})" for one, high in row.moves))
    return shown


def _modes_table(evaluation: "Evaluation") -> "Table":
    """The model's mode probabilities below the true ones, group by group; only their mean error if there are many modes."""
    from rich.table import Table

    group = evaluation.about.group or "cases"
    count = max(len(found.truth) for found in evaluation.modes.values())
    shown = range(count if count <= WIDEST else 0)
    table = Table(title=f"Mode probabilities of {count} modes")
    table.add_column(group)
    for heading in ("cases", *(["", *map(str, shown)] if shown else []), "mean abs. error"):
        table.add_column(heading, justify="right")
    for name, found in evaluation.modes.items():
        truth, model = ([f"{value:.3f}" for value in values[: len(shown)]] for values in (found.truth, found.model))
        if shown:
            table.add_row(name, str(found.cases), "truth", *truth)
            table.add_row("", "", "model", *model, f"{found.error:.3f}", end_section=True)
        else:
            table.add_row(name, str(found.cases), f"{found.error:.4f}")
    return table
