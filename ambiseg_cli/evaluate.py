"""`ambiseg evaluate`: how close a run's masks come to the readers' masks."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Meter, console, emit_json, out, progress

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.metrics.evaluation import Evaluation
    from ambiseg.models.metrics.summary import Figure

AT_16 = {
    "ged16_v": "GED16 (V-statistic, as in papers)",
    "ged16_u": "GED16, unbiased (0: perfect)",
    "overlap16": "  distance to readers",
    "sample_diversity16": "  diversity of draws",
    "reader_diversity": "  diversity of readers",
    "hm_iou16": "HM-IoU16",
}
AT_ALL = {
    "ged_v": "GED, {weights}",
    "ged_u": "GED, {weights}, unbiased",
    "overlap": "  distance to readers",
    "sample_diversity": "  diversity of masks",
}
OTHERS = {
    "top_iou": "IoU of the top hypothesis",
    "top_dice": "Dice of the top hypothesis",
    "empty_model": "P(empty mask), model",
    "empty_readers": "P(empty mask), readers",
    "empty_error": "  absolute difference",
    "empty_accuracy": "Accuracy on empty masks",
}
KNOWN = {"mode_error": "Mode probabilities, abs. error"}
WIDEST = 8  # modes that the table of mode probabilities shows one by one


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder, as `ambiseg train` makes it. Default: the newest.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to evaluate on: train, val, test or all.")] = "test",
    samples: Annotated[int, typer.Option(help="Masks drawn for each image, 16 at least.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Dataset store. Default: the run's own, unchanged.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Evaluate only so many cases, spread over the split.", show_default=False)
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Evaluate whole stored images, not their centre of the training crop's size."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the results. Default: RUN/evaluation-SPLIT.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of a table.")] = False,
) -> None:
    """Compare a run's masks with the readers' masks: GED, HM-IoU, the top hypothesis, empty masks."""
    from ambiseg.models.device import resolve_device
    from ambiseg.models.metrics.data import data_for
    from ambiseg.models.metrics.evaluate import evaluate as evaluate_run
    from ambiseg.models.run import load_trained, newest_run

    run = run or newest_run()
    trained = load_trained(run, resolve_device(device))
    store = data_for(trained.record, data)
    if store.content_hash != trained.record.data.content_hash:
        console.print(f"Note: {store.path} is not the data that {trained.name} was trained on.")
    with progress() as display:
        evaluation = evaluate_run(
            trained,
            store,
            split,
            samples=samples,
            seed=seed,
            limit=limit,
            whole=whole,
            on_progress=Meter(display, "Evaluating", "cases"),
        )
    folder = output or run / f"evaluation-{split}"
    evaluation.write(folder)
    if as_json:
        emit_json(evaluation.summary())
    else:
        out(_table(evaluation))
        if evaluation.modes:
            out(_modes_table(evaluation))
    console.print(f"Written: {folder / 'cases.csv'}, {folder / 'summary.json'}")


def _table(evaluation: "Evaluation") -> "Table":
    """The figures as a table; the block of all samples only where it says more than the block of 16."""
    from rich.table import Table

    about = evaluation.about
    exact = about["weights"] == "exact"
    weights = "exact weights" if exact else f"{about['samples']} samples"
    table = Table(
        title=f"{about['run']} ({about['method']}) on {about['data']}, {about['split']}: {about['cases']} cases",
        caption=f"data {about['data_hash'][:12]}, seed {about['seed']}; 95 % bootstrap intervals of the mean by patient",
    )
    table.add_column("figure")
    for heading in ("mean", "sd", "95 % interval", "cases"):
        table.add_column(heading, justify="right")
    blocks = [AT_16, AT_ALL, OTHERS] if exact or about["samples"] > 16 else [AT_16, OTHERS]
    for block in [*blocks, KNOWN] if about["known_odds"] else blocks:
        for name, label in block.items():
            table.add_row(label.format(weights=weights), *_cells(evaluation.figures[name]))
            if name in about.get("floor", {}):
                table.add_row("  of a perfect model", f"{about['floor'][name]:.3f}")
        table.add_section()
    return table


def _modes_table(evaluation: "Evaluation") -> "Table":
    """The model's mode probabilities beneath the true ones, group by group; their mean error alone for many modes."""
    from rich.table import Table

    group = evaluation.about["group"] or "cases"
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


def _cells(figure: "Figure") -> tuple[str, str, str, str]:
    """Mean, standard deviation, interval and cases as text; a dash where nothing can be said."""
    mean, sd, low, high = (
        "-" if math.isnan(value) else f"{value:.3f}" for value in (figure.mean, figure.sd, figure.low, figure.high)
    )
    return mean, sd, "-" if low == "-" else f"{low} to {high}", str(figure.cases)
