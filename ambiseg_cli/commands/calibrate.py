"""`ambiseg calibrate`: fit on validation readers what makes a run's probabilities ones that can be calibrated."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, console, emit_json, out, progress

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.evaluation.calibrate_run import Fit
    from ambiseg.models.evaluation.judgement import Judgement

FEW = 20  # validation patients
LABELS = {
    "nll": "NLL, nats a reader",
    "brier": "Brier score",
    "ece": "ECE of hypotheses",
    "top_ece": "ECE of the top hypothesis",
}


def calibrate(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder, as `ambiseg train` makes it. Default: the newest.", show_default=False),
    ] = None,
    samples: Annotated[int, typer.Option(help="Masks drawn for each image; as many as predict draws.", min=1)] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the draws.", min=0)] = 0,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Dataset store. Default: the run's own, unchanged.", show_default=False),
    ] = None,
    check: Annotated[
        str, typer.Option(help="Split on which before and after are compared; the fit is always on val.")
    ] = "test",
    limit: Annotated[
        int | None, typer.Option(help="Use only so many cases of each split, spread over it.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print fit and check as JSON instead of tables.")] = False,
) -> None:
    """Fit a temperature, and where they help shifts of the empty mask and of "none of these", to the validation readers'
    choices; predict and evaluate use what is stored in the run.
    """
    from ambiseg.models.evaluation.calibrate_run import calibrate as fit_run
    from ambiseg.models.evaluation.calibrate_run import check_split, choices
    from ambiseg.models.evaluation.judgement import judge, recalibrated
    from ambiseg.models.evaluation.rows import data_for
    from ambiseg.models.report.calibration_folder import write_check
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.run_folder import newest_run
    from ambiseg.models.runs.trained import load_trained

    run = run or newest_run()
    trained = load_trained(run, resolve_device(device), calibrated=False, keep_memory=True)
    store = data_for(trained.record, data)
    check_split(store, check)
    with progress() as display:
        fitting, checking = Meter(display, "Fitting", "cases"), Meter(display, "Checking", "cases")
        fit = fit_run(trained, store, samples=samples, seed=seed, limit=limit, on_progress=fitting)
        found, patients = choices(trained, store, check, samples=samples, seed=seed, limit=limit, on_progress=checking)
    before = judge(found, patients, seed)
    after = judge(recalibrated(found, fit.calibration), patients, seed)
    content = write_check(run, trained, store, check, fit, before, after)
    if as_json:
        emit_json(content)
    else:
        out(_fit_table(fit))
        out(
            _check_table(
                before, after, f"On {check}: {counted(len(found), 'case')} of {counted(len(set(patients)), 'patient')}"
            )
        )
        out(_coverage_table(before, after))
    if fit.patients < FEW:
        console.print(
            f"Note: a fit on {counted(fit.patients, 'patient')} is a fit on few: another few might say otherwise."
        )
    console.print(f"Written: {run / 'calibration.json'}, {run / 'calibration'}")


def _fit_table(fit: "Fit") -> "Table":
    """What predicts patients left out best, and the numbers fitted on all."""
    from rich.table import Table

    numbers = fit.calibration
    table = Table(
        title=f"Fitted on val: {counted(fit.cases, 'case')} of {counted(fit.patients, 'patient')}",
        caption=f"temperature {numbers.temperature:.3f}, empty {numbers.empty:+.3f}, none {numbers.none:+.3f} nats",
    )
    table.add_column("what is fitted")
    table.add_column("NLL of patients left out", justify="right")
    for name, value in fit.held_out.items():
        table.add_row(name + (" (chosen)" if name == fit.chosen else ""), f"{value:.4f}")
    return table


def _check_table(before: "Judgement", after: "Judgement", title: str) -> "Table":
    from rich.table import Table

    from ambiseg.models.figures.numbers import decimals, interval

    table = Table(title=title, caption="95 % bootstrap intervals by patient")
    table.add_column("figure (lower is better)")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right")
        table.add_column("95 % interval", justify="right")
    for name, label in LABELS.items():
        figures = (before.figures[name], after.figures[name])
        table.add_row(label, *(cell for figure in figures for cell in (decimals(figure.mean), interval(figure))))
    return table


def _coverage_table(before: "Judgement", after: "Judgement") -> "Table":
    """Credible sets: what they state and what they hold."""
    from rich.table import Table

    table = Table(title="Credible sets: the first hypotheses that reach a level", caption="means over the cases")
    for heading in ("level", "stated", "held, before", "stated", "held, after"):
        table.add_column(heading, justify="right")
    for one, other in zip(before.coverage, after.coverage, strict=True):
        table.add_row(
            f"{one.level:.2f}", *(f"{value:.3f}" for value in (one.stated, one.held, other.stated, other.held))
        )
    return table
